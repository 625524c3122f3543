"""What the ranking of `isoloss discover` is worth where the law is known: simulated tables.

Tables of the kinds that the field has, with noise of 0.2 to 2 % of the loss (of other responses: of
three of their SDs). The largest values are held out; scored there is 1 - mean squared error /
variance of the best law and of the median of five, against the truth without noise. `oracle` is the
best of the five laws that were told: what a perfect choice among them would have had.

Run `python benchmarks/discovery_simulated.py`, with `--quick` for one noise and five kinds.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa

import isoloss
from isoloss.core.tables import write_free

HERE = Path(__file__).parent
NOISES = (0.002, 0.005, 0.02)
QUICK = ("parallel", "fine-tuning", "bump", "chinchilla", "rectified")


def crossed(**axes) -> pd.DataFrame:
    """All combinations of values."""
    grids = np.meshgrid(*axes.values(), indexing="ij")
    return pd.DataFrame({name: x.ravel() for name, x in zip(axes, grids, strict=True)})


def by_group(count: int, make: Callable[[np.random.Generator], pd.DataFrame]) -> pd.DataFrame:
    """Tables of several groups, drawn one after the other."""
    draws = np.random.default_rng(1)
    return pd.concat([make(draws).assign(group=f"g{i}") for i in range(count)], ignore_index=True)


def parallel() -> pd.DataFrame:
    """Parallel streams (Chen et al. 2025)."""

    def one(draws):
        t = crossed(params=np.geomspace(5e8, 4.5e9, 6), streams=[1, 2, 4, 8])
        share = draws.uniform(0.3, 0.5)
        t["loss"] = (2e8 / (t.params * (share * np.log(t.streams) + 1))) ** 0.19 + 0.9
        return t.assign(test=(t.streams == 8) | (t.params > 4e9))

    return by_group(2, one)


def fine_tuning() -> pd.DataFrame:
    """Fine-tuning with a start that saturates, ten models."""

    def one(draws):
        t = crossed(size=200 * 2.0 ** np.arange(14))
        e, b, d, beta = draws.uniform([1, 150, 1e3, 0.3], [3, 1500, 1e4, 0.8])
        t["loss"] = e + b / (d**beta + t["size"] ** beta)
        return t.assign(test=t["size"] > 2e5)

    return by_group(10, one)


def bump() -> pd.DataFrame:
    """A trend and a bump in a logarithm of compute, six tasks (negative Brier scores)."""

    def one(draws):
        t = crossed(log_flops=np.linspace(-1.5, 3, 30))
        low = [-0.5, 0.03, -0.15, -0.5, 0.4]
        a, b, c, m, w = draws.uniform(low, [-0.2, 0.08, -0.05, 0.5, 0.8])
        t["brier"] = a + b * t.log_flops + c * np.exp(-(((t.log_flops - m) / w) ** 2))
        return t.assign(test=t.log_flops > 1.5)

    return by_group(6, one)


def chinchilla() -> pd.DataFrame:
    """N and D, apart (Hoffmann et al. 2022)."""
    t = crossed(params=np.geomspace(1e7, 1e10, 8), tokens=np.geomspace(1e8, 1e11, 8))
    t["loss"] = 1.69 + 406 / t.params**0.34 + 410 / t.tokens**0.28
    return t.assign(test=(t.params > 2e9) | (t.tokens > 2e10))


def farseer() -> pd.DataFrame:
    """An exponent of D that depends on N (Li et al. 2025)."""
    t = crossed(params=np.geomspace(2e8, 6e9, 7), tokens=np.geomspace(2e9, 2e11, 8))
    n, d = t.params / 1e9, t.tokens / 1e10
    t["loss"] = np.exp(0.2 * n**-0.2 + 0.3) + 0.55 * n**-0.125 * d ** -(0.3 * n**0.08)
    return t.assign(test=(t.params > 3e9) | (t.tokens > 1e11))


def routed() -> pd.DataFrame:
    """Bilinear in the logarithms of N and saturated experts (Clark et al. 2022)."""
    t = crossed(params=np.geomspace(1e7, 1e9, 6), experts=2.0 ** np.arange(10))
    n, k = np.log(t.params / 1e8), np.log(1 / (1 / t.experts + 1 / 400) + 0.3)
    t["loss"] = np.exp(1.2 - 0.08 * n - 0.06 * k + 0.008 * n * k)
    return t.assign(test=(t.params > 5e8) | (t.experts > 200))


def repeated() -> pd.DataFrame:
    """Data repeated (Muennighoff et al. 2023)."""
    t = crossed(
        params=np.geomspace(1e7, 4e9, 6),
        unique_tokens=np.geomspace(1e8, 1e10, 4),
        epochs=[1, 2, 4, 8, 16, 40],
    )
    useful = t.unique_tokens * (1 + 15.4 * (1 - np.exp(-(t.epochs - 1) / 15.4)))
    t["loss"] = 1.87 + 521 / t.params**0.353 + 1488 / useful**0.353
    t["tokens"] = t.unique_tokens * t.epochs
    return t.assign(test=(t.params > 2e9) | (t.epochs > 20)).drop(columns="epochs")


def precision() -> pd.DataFrame:
    """Bits that shrink N (Kumar et al. 2024)."""
    t = crossed(
        params=np.geomspace(3e7, 4e8, 5),
        tokens=np.geomspace(1e9, 3e10, 5),
        bits=[3, 4, 5, 6, 8, 12, 16],
    )
    useful = t.params * (1 - np.exp(-t.bits / 2.7))
    t["loss"] = 1.8 + 400 / useful**0.38 + 3e3 / t.tokens**0.4
    return t.assign(test=(t.params > 3e8) | (t.tokens > 2e10))


def rectified() -> pd.DataFrame:
    """A power of a size and a head start, eight models."""

    def one(draws):
        t = crossed(size=100 * 2.0 ** np.arange(14))
        e, b, d, beta = draws.uniform([1, 3, 50, 0.2], [2, 30, 2e3, 0.5])
        t["loss"] = e + b / (d + t["size"]) ** beta
        return t.assign(test=t["size"] > 1e5)

    return by_group(8, one)


def accuracy() -> pd.DataFrame:
    """A logistic function of a size."""
    t = crossed(params=np.geomspace(1e7, 1e11, 16))
    t["accuracy"] = 0.25 + 0.7 / (1 + (t.params / 2e9) ** -0.7)
    return t.assign(test=t.params > 1e10)


def joint_accuracy() -> pd.DataFrame:
    """An accuracy that is a logistic function of a loss by N and D (Grattafiori et al. 2024)."""
    t = crossed(params=np.geomspace(1e8, 3e10, 7), tokens=np.geomspace(1e9, 1e12, 7))
    loss = 1.69 + 406 / t.params**0.34 + 410 / t.tokens**0.28
    t["accuracy"] = 0.25 + 0.75 / (1 + np.exp(6 * (loss - 2.2)))
    return t.assign(test=(t.params > 1e10) | (t.tokens > 2e11))


def hard_questions() -> pd.DataFrame:
    """A U shape: a score that falls before it rises by a logistic step (Wu and Lo 2024)."""

    def one(draws):
        t = crossed(log_flops=np.linspace(-2, 3, 30))
        low = [-0.75, 0.3, 1.5, 1.0, 0.05, -1.0, 0.6]
        high = [-0.55, 0.5, 2.5, 2.0, 0.15, -0.2, 1.0]
        e, a, k, m, c, place, w = draws.uniform(low, high)
        rise = a / (1 + np.exp(-k * (t.log_flops - m)))
        t["brier"] = e + rise - c * np.exp(-(((t.log_flops - place) / w) ** 2))
        return t.assign(test=t.log_flops > 2)

    return by_group(6, one)


def easy_questions() -> pd.DataFrame:
    """An inverted U before a steady rise (Wu and Lo 2024)."""

    def one(draws):
        t = crossed(log_flops=np.linspace(-2, 3, 24))
        low = [-0.3, 0.02, 0.05, -1.0, 0.3]
        a, b, c, m, w = draws.uniform(low, [-0.1, 0.1, 0.15, 0.5, 0.9])
        rise = b * np.maximum(t.log_flops - 1, 0) ** 1.3
        t["brier"] = a + rise + c * np.exp(-(((t.log_flops - m) / w) ** 2))
        return t.assign(test=t.log_flops > 1.8)

    return by_group(6, one)


def broken() -> pd.DataFrame:
    """A power law with one break (Caballero et al. 2023)."""
    t = crossed(tokens=np.geomspace(1e3, 1e9, 40))
    break_at = (1 + (t.tokens / 1e6) ** (1 / 0.3)) ** (-0.25 * 0.3)
    t["loss"] = 0.5 + 20 / t.tokens**0.15 * break_at
    return t.assign(test=t.tokens > 5e7)


def broken_twice() -> pd.DataFrame:
    """A power law with two breaks (Caballero et al. 2023)."""
    t = crossed(steps=np.geomspace(1e2, 1e8, 40))
    x = t.steps
    first = (1 + (x / 2e3) ** (1 / 0.2)) ** (-0.5 * 0.2)
    second = (1 + (x / 1e5) ** (1 / 0.4)) ** (0.45 * 0.4)
    t["loss"] = 0.3 + 6 / x**0.05 * first * second
    return t.assign(test=t.steps > 5e6)


def hill() -> pd.DataFrame:
    """Fine-tuning that hardly begins, falls, and levels off (Hill), eight models."""

    def one(draws):
        t = crossed(size=200 * 2.0 ** np.arange(14))
        e, a, d, h = draws.uniform([1, 1, 2e3, 0.6], [2, 3, 4e4, 1.4])
        t["loss"] = e + a / (1 + (t["size"] / d) ** h)
        return t.assign(test=t["size"] > 2e5)

    return by_group(8, one)


def many_models() -> pd.DataFrame:
    """Fine-tuning of forty models and tasks, 10 to 15 sizes each, a rectified power law."""

    def one(draws):
        sizes = 200 * 2.0 ** np.arange(draws.integers(10, 16))
        e, b, d, beta = draws.uniform([0.8, 1, 2.5, 0.3], [2.5, 4, 5, 0.9])
        t = pd.DataFrame({"size": sizes})
        t["loss"] = e + b / (1 + (t["size"] / 10**d) ** beta)
        return t.assign(test=t["size"] > sizes[-1] / 1.9)

    return by_group(40, one)


def streams() -> pd.DataFrame:
    """Parallel streams, one to eight of them, two corpora (Chen et al. 2025)."""

    def one(draws):
        t = crossed(params=np.geomspace(5e8, 5e9, 6), streams=np.arange(1, 9))
        share, e, a = draws.uniform([0.25, 0.8, 0.15], [0.5, 1.4, 0.25])
        t["loss"] = (2e8 / (t.params * (share * np.log(t.streams) + 1))) ** a + e
        return t.assign(test=(t.streams > 6) | (t.params > 4e9))

    return by_group(2, one)


def falls_and_rises() -> pd.DataFrame:
    """A score that falls, then rises to a level, eight tasks of 10 to 20 runs; no form is it."""

    def one(draws):
        t = pd.DataFrame({"log_flops": np.linspace(-2, 3, draws.integers(13, 24))})
        low, high = [-0.6, 0.1, 0.8, 1.2, 0.05, -1.2, 0.6], [-0.4, 0.25, 1.5, 2.0, 0.15, -0.2, 1.1]
        e, a, k, m, c, place, w = draws.uniform(low, high)
        rise = a * np.tanh(k * (t.log_flops - m))
        t["brier"] = e + rise - c / np.cosh((t.log_flops - place) / w) ** 2
        return t.assign(test=t.log_flops > 1.9)

    return by_group(8, one)


def tuned() -> pd.DataFrame:
    """Learning rate and batch size around their best, which N and D move (Li et al. 2025)."""
    t = crossed(
        lr=np.geomspace(2e-4, 2e-2, 6),
        batch=np.geomspace(16, 2048, 5),
        params=np.geomspace(6e7, 1e9, 5),
        tokens=np.geomspace(2e9, 1e11, 5),
    )
    lr = np.log(t.lr / (1.8 * t.params**-0.713 * t.tokens**0.307))
    batch = np.log(t.batch / (0.58 * t.tokens**0.571 / 2048))
    t["loss"] = 1.5 + 60 / t.params**0.22 + 900 / t.tokens**0.33 + 0.015 * lr**2 + 0.008 * batch**2
    return t.assign(test=(t.params > 8e8) | (t.tokens > 9e10))


def vocabulary() -> pd.DataFrame:
    """A normalised loss, below 0, by N, vocabulary and data (Tao et al. 2024)."""
    t = crossed(
        params=np.geomspace(3e7, 1e9, 6),
        vocab=np.geomspace(4e3, 6.4e4, 6),
        characters=np.geomspace(2e8, 2e11, 8),
    )
    t["loss"] = -6.5 + 2e3 / t.params**0.42 + 12 / t.vocab**0.4 + 4e3 / t.characters**0.38
    return t.assign(test=(t.vocab > 5e4) | (t.characters > 1e11))


KINDS = {
    "parallel": parallel,
    "fine-tuning": fine_tuning,
    "bump": bump,
    "chinchilla": chinchilla,
    "farseer": farseer,
    "routed": routed,
    "repeated": repeated,
    "precision": precision,
    "rectified": rectified,
    "accuracy": accuracy,
    "joint accuracy": joint_accuracy,
    "hard questions": hard_questions,
    "easy questions": easy_questions,
    "broken": broken,
    "broken twice": broken_twice,
    "hill": hill,
    "many models": many_models,
    "streams": streams,
    "falls and rises": falls_and_rises,
    "tuned": tuned,
    "vocabulary": vocabulary,
}


def scored(kind: str, noise: float) -> dict[str, object]:
    """One row: a table of a kind with noise, searched and scored."""
    table = KINDS[kind]()
    response = next(name for name in ("loss", "brier", "accuracy") if name in table)
    truth, test = table[response], table.pop("test").to_numpy()
    size = truth if (truth > 0).all() else 3 * truth.std()
    draws = np.random.default_rng(2).normal(size=len(table))
    runs = table.assign(**{response: truth + noise * size * draws})
    begin = time.process_time()
    answer = isoloss.discover(runs[~test], response=response)
    seconds = time.process_time() - begin

    def r2(made: np.ndarray) -> float:
        return max(-1.0, 1 - np.mean((made - truth[test]) ** 2) / np.var(truth[test]))

    every = [r2(law.predict(runs[test])) for law in answer.laws]
    return {
        "work": kind,
        "noise": noise,
        "best": every[0],
        "median of five": r2(answer.predict(runs[test])),
        "oracle": max(every),
        "seconds": seconds,
        "formula": answer.best.formula,
    }


def main() -> None:
    """Print a table and write it as Parquet."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="one noise, five kinds")
    given = options.parse_args()
    rows = []
    for kind in QUICK if given.quick else KINDS:
        for noise in NOISES[1:2] if given.quick else NOISES:
            rows.append(scored(kind, noise))
            row = {k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}
            print(*row.values(), sep="  ", flush=True)
    table = pd.DataFrame(rows)
    print(table.groupby("noise")[["best", "median of five", "oracle"]].mean().round(3).to_string())
    if not given.quick:
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        write_free(arrow, HERE / "results" / "discovery_simulated.parquet", {})


if __name__ == "__main__":
    main()
