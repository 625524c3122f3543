"""How well laws of mixtures predict mixtures that they have not seen.

Two works. `5mix`: 26 mixtures of five domains at four sizes of model (Ye et al., arXiv:2403.16952,
step 30000); every law is fitted to 20 of them, drawn at random, and predicts the other 6, for the
loss of every domain. `regmix`: 512 mixtures of 17 domains (Liu et al., arXiv:2407.01492, models of
1M parameters) are fitted, 256 others predicted, for 13 losses; LightGBM with RegMix's settings but
without their early stopping on the runs that are predicted.

Run `ISOLOSS_REFERENCE_DATA=... python benchmarks/mixture.py`, with `--quick` for a look.
LightGBM is a contender where it is installed (pip install lightgbm).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

from isoloss.core import registry
from isoloss.core.tables import write_free
from isoloss.fit.objectives import Objective
from isoloss.fit.scores import rank_correlation
from isoloss.fit.solve import Constraints, solve
from isoloss.laws._make import made_law

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
OURS = "mixture_power"
CARDS = [n for n in registry.names("law") if registry.of_mixtures(n)]
SIZES = ("70M", "160M", "305M", "410M")
SEEN = 20  # of 26 mixtures
PUBLISHED = Objective("huber", 0.05)  # of the exponential law, in the loss
# sail-sg/regmix, regression_fitting/regression.ipynb; metrics of its early stopping left out
LIGHTGBM = {
    "objective": "regression",
    "boosting": "gbdt",
    "num_iterations": 1000,
    "learning_rate": 1e-2,
    "seed": 42,
    "verbosity": -1,
    "num_threads": 1,
}

Shares = Mapping[str, np.ndarray]
Contender = Callable[[Shares, np.ndarray, str, Shares], tuple[np.ndarray, float]]


@dataclass(frozen=True)
class Runs:
    """Mixtures and their losses.

    Attributes:
        shares: column p_<domain> to proportions, each (n,).
        losses: column loss_<domain> to losses, each (n,).
    """

    shares: dict[str, np.ndarray]
    losses: dict[str, np.ndarray]

    def some(self, at: np.ndarray) -> dict[str, np.ndarray]:
        """Shares of some runs."""
        return {name: column[at] for name, column in self.shares.items()}


def runs_of(table: pd.DataFrame) -> Runs:
    """Runs of a table; proportions are divided by their sum (some are rounded)."""
    shares = table[[c for c in table if c.startswith("p_")]]
    shares = shares.div(shares.sum(axis=1), axis=0)
    losses = table[[c for c in table if c.startswith("loss_")]]
    return Runs(*({c: part[c].to_numpy(float) for c in part} for part in (shares, losses)))


# --- contenders -----------------------------------------------------------------------------


def card(name: str) -> Contender:
    """A law card: predictions of other mixtures, and the seconds of its fit."""

    def fitted(seen: Shares, loss: np.ndarray, response: str, unseen: Shares):
        law = made_law(name, registry.defaults("law", name), list(seen)).for_response(response)
        began, weight = time.perf_counter(), np.ones(len(loss))
        best = solve(law, seen, loss, weight, PUBLISHED, Constraints()).estimate
        seconds = time.perf_counter() - began
        return law.given(best.state).loss(best.theta, unseen), seconds

    return fitted


def lightgbm() -> Contender | None:
    """Boosted trees as in RegMix, where the package is installed."""
    try:
        import lightgbm as package
    except ImportError:
        return None

    def fitted(seen: Shares, loss: np.ndarray, response: str, unseen: Shares):
        began = time.perf_counter()
        data = package.Dataset(np.column_stack(list(seen.values())), loss)
        trees = package.train(LIGHTGBM, data)
        seconds = time.perf_counter() - began
        return trees.predict(np.column_stack(list(unseen.values()))), seconds

    return fitted


# --- works ----------------------------------------------------------------------------------


def five_domains(folder: Path, contenders: Mapping[str, Contender], splits: int) -> list[dict]:
    """R2 on 6 of 26 mixtures, over splits (seeds 0 ..), sizes and domains."""
    table = pd.read_csv(folder / "mixinglaws" / "5mix.csv")
    table = table[table["step"] == 30000]
    every = {size: runs_of(table[table["model_size"] == size]) for size in SIZES}
    rows = []
    for name, fitted in contenders.items():
        each, pooled, seconds = [], [], []
        for runs in every.values():
            domains = [p.replace("p_", "loss_", 1) for p in runs.shares]
            for response in domains:
                loss, errors, spreads = runs.losses[response], [], []
                for seed in range(splits):
                    order = np.random.default_rng(seed).permutation(len(loss))
                    seen, unseen = order[:SEEN], order[SEEN:]
                    fit_to, others = runs.some(seen), runs.some(unseen)
                    predicted, took = fitted(fit_to, loss[seen], response, others)
                    seconds.append(took)
                    errors.append(predicted - loss[unseen])
                    spreads.append(loss[unseen])
                    each.append(r2(errors[-1], spreads[-1]))
                pooled.append(r2(np.concatenate(errors), np.concatenate(spreads)))
        rows.append(
            {
                "work": f"5mix, {splits} splits of {SEEN} and 6",
                "contender": name,
                "r2_mean": np.mean(each),
                "r2_median": np.median(each),
                "r2_pooled": np.mean(pooled),
                "fits": len(each),
                "seconds": np.sum(seconds),
            }
        )
        print(shown(rows[-1]), flush=True)
    return rows


def regmix(folder: Path, contenders: Mapping[str, Contender], most: int) -> list[dict]:
    """Rank correlation on 256 mixtures, after 512, over the first losses (pile_cc among them)."""
    train, test = (
        runs_of(pd.read_csv(folder / "regmix" / f"{part}_1m.csv")) for part in ("train", "test")
    )
    responses = sorted(train.losses, key=lambda name: name != "loss_pile_cc")[:most]
    rows = []
    for name, fitted in contenders.items():
        ranks, each, seconds = [], [], []
        for response in responses:
            losses = train.losses[response]
            predicted, took = fitted(train.shares, losses, response, test.shares)
            seconds.append(took)
            ranks.append(rank_correlation(test.losses[response], predicted))
            each.append(r2(predicted - test.losses[response], test.losses[response]))
        rows.append(
            {
                "work": f"regmix, 512 to 256, {len(responses)} losses",
                "contender": name,
                "spearman_mean": np.mean(ranks),
                "spearman_pile_cc": ranks[0],
                "r2_mean": np.mean(each),
                "r2_median": np.median(each),
                "fits": len(each),
                "seconds": np.sum(seconds),
            }
        )
        print(shown(rows[-1]), flush=True)
    return rows


def r2(error: np.ndarray, loss: np.ndarray) -> float:
    """Share of the spread that is predicted."""
    return float(1 - error @ error / ((loss - loss.mean()) ** 2).sum())


def shown(row: Mapping) -> str:
    """A row for people."""
    kept = [f"{k} {v:.4f}" for k, v in row.items() if k.startswith(("r2", "spearman"))]
    pace = f"{1e3 * row['seconds'] / row['fits']:.1f} ms a fit"
    return f"{row['work']}: {row['contender']:20s} {', '.join(kept)}; {pace}"


def completed(rows: list[dict]) -> pd.DataFrame:
    """The table: milliseconds a fit, and seconds over ours."""
    table = pd.DataFrame(rows)
    ours = table[table["contender"] == OURS].set_index("work")["seconds"]
    table["ms_a_fit"] = 1e3 * table["seconds"] / table["fits"]
    table["ratio"] = table["seconds"] / table["work"].map(ours)
    return table


def main() -> None:
    """Run both works, print a table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=100, help="of the 26 mixtures")
    parser.add_argument("--quick", action="store_true", help="few splits; writes nothing")
    chosen = parser.parse_args()
    named = os.environ.get("ISOLOSS_REFERENCE_DATA")
    if not named:
        parser.error("ISOLOSS_REFERENCE_DATA names no folder with mixinglaws/ and regmix/")
    contenders = {name: card(name) for name in sorted(CARDS, key=lambda n: (n != OURS, n))}
    trees = lightgbm()
    if trees is None:
        print("lightgbm is not installed: left out")
    others = {} if trees is None else {"lightgbm, RegMix's settings": trees}
    with threadpool_limits(limits=1):
        rows = five_domains(Path(named), contenders, 4 if chosen.quick else chosen.splits)
        few = 1 if chosen.quick else 99
        rows += regmix(Path(named), contenders | others, few)
    table = completed(rows)
    print("\n" + table.drop(columns="seconds").round(4).to_string(index=False, na_rep=""))
    if not chosen.quick:
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        facts = {"splits": chosen.splits, "lightgbm": trees is not None}
        write_free(arrow, RESULTS / "mixture.parquet", facts)


if __name__ == "__main__":
    main()
