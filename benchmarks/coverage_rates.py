"""Do intervals of laws of an error rate hold what they promise? Simulated tables, `huber_scaled`.

A cell is a law (one that starts late, and a power law with an offset), a kind of noise (normal, or
that of 1000 questions with a right and a wrong answer), a design (runs between 1e7 and 1e11
parameters) and a kind of interval. Every table of a cell has a true law of its own and noise of its
own. Targets are the parameters, and the error at three times the largest N.

Run `python benchmarks/coverage_rates.py`, with `--quick` for a look that writes nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa

import isoloss
from isoloss.core.seeds import generator
from isoloss.core.tables import write_free

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "coverage_rates.parquet"
MODULE = ROOT / "workflow" / "isoloss" / "fit" / "coverage_scaled.py"

LIMITS = "0 <= error <= 1"
DRIFT = 0.1  # sd of the logarithm by which parameters differ between tables
DESIGNS = (24, 60, 240)  # runs
INTERVALS = ("bootstrap", "residual", "parametric", "profile")
NOISES = ("normal", "questions")
SD, QUESTIONS = 0.01, 1000
REPLICATES = 200
TOGETHER = 50  # tables that are one call, as its groups
MORE = {60: 3}  # times as many tables of a design: its share is near 93 %, where verdicts change
FAR, AHEAD = 3e11, "error at 3 N"  # N of the prediction, three times the largest


@dataclass(frozen=True)
class Kind:
    """A law of an error rate by N: its formula, the same as a function, and its parameters."""

    formula: str
    error: Callable[..., np.ndarray]
    truth: dict[str, float]


def late(N, top, N_half, a):
    """An error that starts late to fall."""
    return top / (1 + (N / N_half) ** a)


def power(N, E, A, alpha):
    """A power law with an offset."""
    return E + A / N**alpha


KINDS = {
    "late": Kind(
        "error = top / (1 + (N / N_half)**a); N_half > 0",
        late,
        {"top": 0.8, "N_half": 3e8, "a": 0.6},
    ),
    "power": Kind("error = E + A / N**alpha", power, {"E": 0.03, "A": 40.0, "alpha": 0.28}),
}
LOOKED_UP = '''"""What intervals of error rates covered least (by benchmarks/coverage_rates.py)."""

# Interval, delta of huber_scaled, runs of the design, seeds that share noise (none), what was
# covered less often (parameters, or a prediction), and how often it was, over laws and noises.
SIMULATED = (
{rows}
)
'''


def drawn(kind: Kind, rng) -> dict[str, float]:
    """The parameters of a true law of a kind, each near those of the kind."""
    truth = {k: v * np.exp(DRIFT * rng.standard_normal()) for k, v in kind.truth.items()}
    if "alpha" in truth:  # which moves the whole curve by a lot
        truth["alpha"] = kind.truth["alpha"] * np.exp(0.2 * DRIFT * rng.standard_normal())
    return truth


def tables_of(kind: Kind, noise: str, n: int, rng) -> tuple[pd.DataFrame, list[dict[str, float]]]:
    """Tables with a true law each, as groups of one, and the parameters of those laws."""
    N, parts, truths = np.geomspace(1e7, 1e11, n), [], []
    for at in range(TOGETHER):
        truth = drawn(kind, rng)
        error = np.clip(kind.error(N, **truth), 0, 1)
        if noise == "normal":
            seen = np.clip(error + SD * rng.standard_normal(n), 0, 1)
        else:
            seen = rng.binomial(QUESTIONS, error) / QUESTIONS
        parts.append(pd.DataFrame({"N": N, "error": seen, "table": f"{at:03}"}))
        truths.append(truth)
    return pd.concat(parts, ignore_index=True), truths


def held(kind: Kind, fit, truths: list[dict[str, float]], predicts: bool) -> dict[str, list[bool]]:
    """Which intervals of a fit hold the truth, by target."""
    counts: dict[str, list[bool]] = {}
    for at, truth in enumerate(truths):
        group = f"{at:03}"
        for row in fit.rows_of("params", group).itertuples():
            counts.setdefault(row.term, []).append(row.ci_low <= truth[row.term] <= row.ci_high)
        if predicts:
            there = fit.predict(group, N=FAR)
            inside = there["low"].item() <= kind.error(FAR, **truth) <= there["high"].item()
            counts.setdefault(AHEAD, []).append(inside)
    return counts


def cell(kind: Kind, noise: str, n: int, interval: str, tables: int, rng) -> pd.DataFrame:
    """Coverage of one cell: a row a target."""
    counts: dict[str, list[bool]] = {}
    for _ in range(-(-tables // TOGETHER)):
        table, truths = tables_of(kind, noise, n, rng)
        runs = isoloss.read_runs(table, {"N": "N", "group": "table"}, need=0)
        fit = isoloss.fit_law(
            runs,
            formula=f"{kind.formula}; {LIMITS}",
            interval=interval,
            bootstrap=0 if interval == "profile" else REPLICATES,
        )
        assert fit.summary["objective"].iloc[0] == "huber_scaled(delta=0.01)"
        for target, own in held(kind, fit, truths, interval != "profile").items():
            counts.setdefault(target, []).extend(own)
    shares = {target: float(np.mean(own)) for target, own in counts.items()}
    return pd.DataFrame({"target": shares.keys(), "coverage": shares.values()})


def survey(tables: int, seed: int, designs: Sequence[int] = DESIGNS) -> pd.DataFrame:
    """Coverage of every cell; the default interval on four times as many tables as the others."""
    parts = []
    for interval, name, noise, n in itertools.product(INTERVALS, KINDS, NOISES, designs):
        rng = generator(seed, "rates", f"{name} {noise} {n}")  # the same tables for all intervals
        many = tables * MORE.get(n, 1)
        count = many if interval == INTERVALS[0] else -(-tables // 4)
        rows = cell(KINDS[name], noise, n, interval, count, rng)
        print(interval, name, noise, n, rows.round(3).to_numpy().tolist(), flush=True)
        parts.append(rows.assign(interval=interval, law=name, noise=noise, runs=n, tables=count))
    return pd.concat(parts, ignore_index=True)


def looked_up(table: pd.DataFrame) -> str:
    """isoloss/fit/coverage_scaled.py: of parameters and prediction what is covered least.

    Laws, kinds of noise and all parameters of a law count together, since the least of many shares
    of few tables would be low by chance alone.
    """
    kinds = table.assign(kind=table["target"].where(table["target"] == AHEAD, "parameters"))
    rows = []
    for interval in INTERVALS:
        for n, design in kinds[kinds["interval"] == interval].groupby("runs"):
            shares = design.groupby(["kind", "law", "noise"])["coverage"].mean()
            shares = shares.groupby("kind").mean()
            row = f'("{interval}", 0.01, {n}, 0, "{shares.idxmin()}", {shares.min():.4f})'
            rows.append(f"    {row},")
    return LOOKED_UP.format(rows="\n".join(rows))


def main() -> None:
    """Run the cells, and write the table and what the summary of a fit looks up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=int, default=200, help="a cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few tables; writes nothing")
    asked = parser.parse_args()
    if asked.quick:
        survey(TOGETHER, asked.seed, DESIGNS[:1])
        return
    table = survey(asked.tables, asked.seed)
    write_free(pa.Table.from_pandas(table, preserve_index=False), RESULT, vars(asked))
    MODULE.write_text(looked_up(table), "utf-8")


if __name__ == "__main__":
    main()
