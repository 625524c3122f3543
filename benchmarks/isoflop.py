"""How far from the truth is the exponent of the compute-optimal frontier, by grid and estimator?

Simulated studies of a Chinchilla law, whose best N grows as C^a with a = beta / (alpha + beta):
seven budgets from 1e18 to 1e21 FLOP, normal noise of the log loss. Grids of sizes, around the best:

- `narrow`: 7 sizes within a factor of 4; `wide`: 11 within 50; `very wide`: 15 within 200;
- `off-centre`: 9 within 10, around three times the best; `drifting`: 9 within 10, around a fourth
  of the best at the smallest budget and four times the best at the largest;
- `one set of sizes`: the same 16 for all budgets, as in Porian et al. 2024: from the best of the
  smallest budget to that of the largest, so that those two have their best at an edge; models of
  less than a tenth of a token per parameter are badly trained and lose 15 %.

Estimators: `parabola` and `akima` (the methods of `isoflop_parabolas`), `envelope`, and
`chinchilla` (approach 3, by `fit_law`, of fewer studies: it is dear). `bias`, `sd` and `rmse` are
of a; `coverage` is that of 95 % intervals by 100 bootstrap replicates; `answers` is the share of
the studies with three budgets or more that have a minimum, of which the others are.
Run `python benchmarks/isoflop.py`; `--quick` takes few studies and writes nothing.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import pyarrow as pa

import isoloss
from isoloss.core import registry
from isoloss.core.tables import write_free
from isoloss.fitted import quantiles
from isoloss.laws import chinchilla

HERE = Path(__file__).parent
LAW = chinchilla.make()
TRUTH = {"E": 1.7, "A": 1200.0, "B": 300.0, "alpha": 0.45, "beta": 0.27}  # a skewed profile
BUDGETS = np.geomspace(1e18, 1e21, 7)
NOISE = (0.002, 0.01)
FRONTIERS = {
    "parabola": ("isoflop_parabolas", {"method": "parabola"}),
    "akima": ("isoflop_parabolas", {"method": "akima"}),
    "envelope": ("envelope", {}),
}
REPLICATES = 100
FEW = 3  # budgets with a minimum, at least
STARVED, LOSES = 0.1, 1.15  # tokens per parameter below which a model loses that factor


def grids(best: np.ndarray) -> dict[str, np.ndarray]:
    """Sizes of every budget, (budgets, sizes), by name.

    Args:
        best: the best size of every budget.
    """
    centre = best[:, None]
    drift = np.geomspace(1 / 4, 4, len(best))[:, None]
    return {
        "narrow": centre * np.geomspace(1 / 4, 4, 7),
        "wide": centre * np.geomspace(1 / 50, 50, 11),
        "very wide": centre * np.geomspace(1 / 200, 200, 15),
        "off-centre": 3 * centre * np.geomspace(1 / 10, 10, 9),
        "drifting": centre * drift * np.geomspace(1 / 10, 10, 9),
        "one set of sizes": np.tile(np.geomspace(best[0], best[-1], 16), (len(best), 1)),
    }


def runs_of(grid: str, sizes: np.ndarray, theta: np.ndarray) -> tuple[dict, np.ndarray]:
    """N, D and C of the runs of a grid, and their loss without noise, (n,)."""
    flops = np.repeat(BUDGETS, sizes.shape[1])
    data = {"N": sizes.ravel(), "D": flops / 6 / sizes.ravel(), "C": flops}
    loss = LAW.loss(theta, data)
    if grid == "one set of sizes":
        loss = np.where(data["D"] / data["N"] < STARVED, LOSES * loss, loss)
    return data, loss


def of_frontier(
    name: str, data: dict, loss: np.ndarray, sd: float, studies: int
) -> Iterator[tuple[float, float, float, bool]]:
    """Exponent, its interval and whether there is an answer, of every simulated study."""
    card, options = FRONTIERS[name]
    law = registry.card("law", card).make(**options)
    weight, count = np.ones(len(loss)), len(loss)
    for study in range(studies):
        rng = np.random.default_rng(study)
        observed = loss * np.exp(sd * rng.standard_normal(count))
        best = law.estimate(data, observed, weight)
        if np.isnan(best.theta).any() or law.undetermined(best):
            yield np.nan, np.nan, np.nan, False
            continue
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=REPLICATES)
        many = law.again(best, [(data, observed, one.astype(float)) for one in drawn])
        slopes = np.array([one.theta[1] for one in many])
        low, high = quantiles(slopes[np.isfinite(slopes)], 0.95, best.theta[1])
        yield best.theta[1], float(low), float(high), True


def of_joint(
    data: dict, loss: np.ndarray, sd: float, studies: int
) -> Iterator[tuple[float, float, float, bool]]:
    """The same by approach 3."""
    for study in range(studies):
        rng = np.random.default_rng(study)
        table = pd.DataFrame({**data, "loss": loss * np.exp(sd * rng.standard_normal(len(loss)))})
        runs = isoloss.read_runs(table, {name: name for name in ("N", "D", "C", "loss")})
        fit = isoloss.fit_law(runs, "chinchilla", bootstrap=REPLICATES, seed=study)
        row = fit.exponents(BUDGETS[-1]).iloc[0]
        ends = row["n_exponent"], row["n_exponent_low"], row["n_exponent_high"]
        yield *ends, fit.summary["status"].item() == "converged"


def row_of(truth: float, answers: Iterator[tuple[float, float, float, bool]]) -> dict[str, float]:
    """Bias and the others of the studies of one estimator."""
    table = pd.DataFrame(list(answers), columns=["a", "low", "high", "answers"])
    own = table[table["answers"]]
    error = own["a"] - truth
    return {
        "truth": truth,
        "studies": len(table),
        "answers": float(table["answers"].mean()),
        "bias": float(error.mean()),
        "sd": float(own["a"].std()),
        "rmse": float(np.sqrt((error**2).mean())),
        "coverage": float(((own["low"] <= truth) & (truth <= own["high"])).mean()),
    }


def rows(studies: int, dear: int) -> Iterator[dict]:
    """All rows of the table."""
    theta = LAW.theta(TRUTH)
    best = LAW.allocate(theta[None], BUDGETS)[0]
    exponent = TRUTH["beta"] / (TRUTH["alpha"] + TRUTH["beta"])
    for grid, sizes in grids(best).items():
        data, loss = runs_of(grid, sizes, theta)
        for sd in NOISE:
            for name in FRONTIERS:
                answers = of_frontier(name, data, loss, sd, studies)
                yield {"grid": grid, "noise": sd, "estimator": name, **row_of(exponent, answers)}
            if dear:
                row = row_of(exponent, of_joint(data, loss, sd, dear))
                yield {"grid": grid, "noise": sd, "estimator": "chinchilla", **row}


def main() -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--quick", action="store_true", help="few studies; writes nothing")
    quick = options.parse_args().quick
    every = []
    for row in rows(*((4, 0) if quick else (40, 8))):
        every.append(row)
        print(pd.DataFrame([row]).to_string(index=False, header=len(every) == 1), flush=True)
    table = pd.DataFrame(every)
    if not quick:
        file = HERE / "results" / "isoflop.parquet"
        write_free(pa.Table.from_pandas(table, preserve_index=False), file, {})
        print(f"written: {file}")


if __name__ == "__main__":
    main()
