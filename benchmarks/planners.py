"""What planners of adaptive rounds learn of the best model size, by the compute that they spend.

Simulated studies under the law of Hoffmann et al. (the preset `hoffmann`): 12 seeding runs, four
sizes at each of three budgets up to 1e18 FLOP, whose sizes are 1.5 times too large on average; then
three rounds of fit, choose and train. The question is the best N at 1e20 FLOP, 100 times the
largest seeding run. The log loss of every run has normal noise of 1 %. A study has the same
seeding runs for all contenders. `the seeding runs again` plans nothing: it repeats them each round.

Run `python benchmarks/planners.py`, with `--quick` for a look.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa

from isoloss.choose.choices import choices_of
from isoloss.core import tables
from isoloss.core.seeds import generator
from isoloss.fit import fit_law
from isoloss.laws import chinchilla

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
LAW, TRUTH = chinchilla.make(), chinchilla.PRESETS["hoffmann"]["values"]
THETA = LAW.theta(TRUTH)
LARGEST, TARGET = 1e18, 1e20  # FLOP, of the seeding runs and of the question
NOISE, ROUNDS, REPLICATES = 0.01, 3, 100
CONTENDERS: dict[str, tuple[str, Mapping]] = {
    "the seeding runs again": ("", {}),
    "scale_up": ("scale_up", {}),
    "scale_up, 3 runs": ("scale_up", {"runs": 3}),
    "isoflop": ("isoflop", {}),
    "isoflop, factor 1.2": ("isoflop", {"factor": 1.2}),
    "disagreement": ("disagreement", {}),
    "least_variance": ("least_variance", {}),
    "least_variance, factor 8": ("least_variance", {"factor": 8.0, "runs": 20}),
}
BEST = float(LAW.allocate(THETA, TARGET)[0])


def trained(n_params, n_samples, rng: np.random.Generator, before: int = 0) -> pd.DataFrame:
    """The `runs` table of runs under the true law, with noise; `before` runs have ids already."""
    n, d = np.asarray(n_params, dtype=float), np.asarray(n_samples, dtype=float)
    loss = LAW.loss(THETA, {"N": n, "D": d}) * np.exp(NOISE * rng.standard_normal(len(n)))
    flops = 6.0 * n * d
    runs = pd.DataFrame({"n_params": n, "n_samples": d, "n_flops": flops, "loss": loss})
    runs = runs.assign(n_flops_6nd=flops, fit_weight=1.0, status="done", group="all")
    runs["run_id"] = [f"run{before + i}" for i in range(len(n))]
    return runs.assign(**dict.fromkeys(c for c in tables.schema("runs").names if c not in runs))


def seeding_sizes() -> tuple[np.ndarray, np.ndarray]:
    """N and D of the seeding runs, (12,) each."""
    budgets = LARGEST * np.array([[0.25], [0.5], [1.0]])
    n = LAW.allocate(THETA, budgets)[0] * 1.5 * np.geomspace(0.25, 4.0, 4)
    return n.ravel(), (budgets / 6.0 / n).ravel()


def study(contender: str, number: int) -> Iterator[dict]:
    """What is known of the best N after the seeding runs and after each round of one study."""
    planner, options = CONTENDERS[contender]
    settings = {"planner": planner, "options": options, "target": TARGET}
    rng = generator(number, "noise of planners", "seeds")
    runs = trained(*seeding_sizes(), rng)
    paid = runs["n_flops"].sum()
    for round_number in range(ROUNDS + 1):
        fit = fit_law(runs, "chinchilla", delta=NOISE, bootstrap=REPLICATES, seed=number)
        best = fit.allocate(TARGET).iloc[0]
        yield {
            "contender": contender,
            "round": round_number,
            "runs": len(runs),
            "compute": (runs["n_flops"].sum() - paid) / LARGEST,
            "error": np.log(best["N"] / BEST),
            "width": best["N_high"] / best["N_low"],
            "covered": best["N_low"] <= BEST <= best["N_high"],
            "alpha": fit.values["alpha"],
            "beta": fit.values["beta"],
        }
        if round_number < ROUNDS:
            n, d = seeding_sizes()
            if planner:
                chosen = choices_of(fit, runs, settings, round_number + 1).dropna(subset="choice")
                n, d = chosen["n_params"], chosen["n_samples"]
            runs = pd.concat([runs, trained(n, d, rng, len(runs))], ignore_index=True)


def summarised(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a contender and round, over studies; errors are of ln N at the target."""
    by = rows.groupby(["contender", "round"], sort=False)
    return by.agg(
        studies=("error", "size"),
        runs=("runs", "median"),
        compute=("compute", "median"),
        error_rms=("error", lambda error: float(np.sqrt(np.mean(error**2)))),
        error_median=("error", lambda error: float(error.abs().median())),
        no_optimum=("error", lambda error: int(error.isna().sum())),
        interval_ratio=("width", "median"),
        coverage=("covered", "mean"),
        alpha_sd=("alpha", "std"),
        beta_sd=("beta", "std"),
    ).reset_index()


def main() -> None:
    """Simulate the studies, print a table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=40, help="simulated studies")
    parser.add_argument("--quick", action="store_true", help="few studies; writes nothing")
    chosen = parser.parse_args()
    began, rows = time.process_time(), []
    for number in range(4 if chosen.quick else chosen.studies):
        for contender in CONTENDERS:
            rows += study(contender, number)
    table = summarised(pd.DataFrame(rows))
    print(table.round(3).to_string(index=False))
    print(f"{time.process_time() - began:.0f} s of processor time")
    if not chosen.quick:
        facts = {"noise": NOISE, "replicates": REPLICATES, "target": TARGET, "largest": LARGEST}
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        tables.write_free(arrow, RESULTS / "planners.parquet", facts)


if __name__ == "__main__":
    main()
