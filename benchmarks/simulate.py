"""How fast are simulated studies? By objective, and one beside the package `chinchilla`.

Works, each of Chinchilla's law with 100 runs drawn from a seed regime and noise upon the losses:

- `replicates`: `isoloss.simulate_studies` with 200 bootstrap replicates of each fit, one thread:
  `seconds` are those of one simulated study, by objective;
- `one study`: 100 seeding runs and one step of scaling, by `Simulator` of `isoloss.chinchilla` and
  by that of the package, with its grid of 2^5 starts, figures left out. `replicates()` of ours
  beside them is what one more study costs where many are simulated.

Contenders take turns; `seconds` is the median of the processor time of a contender and of the
processes that it starts, `ratio` that over ours. Run `python benchmarks/simulate.py`; `--quick`
takes fewer turns and writes nothing. Without the package (`pip install chinchilla==0.2.0`) it says
so and goes on.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "agg"

import numpy as np
import pandas as pd
import pyarrow as pa

import isoloss
from isoloss.core.tables import write_free

HERE = Path(__file__).parent
TRUTH = {"card": "chinchilla", "preset": "hoffmann"}
PLAN = {
    "kind": "seed_ranges",
    "C": {"from": 1e18, "to": 1e21},
    "N_to_D": {"from": 5, "to": 80},
    "runs": 100,
}
NOISE = {"kind": "exponential", "mean": 0.02}
OBJECTIVES = {
    "huber_log": "huber_log",
    "mse": "mse",
    "asymmetric_mae, smooth 1e-3": {"name": "asymmetric_mae", "smooth": 1e-3},
}
BUDGET = 5.76e23
GRID = {
    "E": [1.5, 2.0],
    "a": [5.0, 7.0],
    "b": [5.0, 7.0],
    "alpha": [0.2, 0.4],
    "beta": [0.2, 0.4],
}
RANGES = {"C": (1e18, 1e21), "N_to_D": (5, 80)}
STUDIES, QUICK_STUDIES = 20, 6
TURNS, QUICK_TURNS = 3, 1


def processor_time() -> float:
    """Of this process and of those that it has started and that have ended, seconds."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def seconds_of(work: Callable[[], object]) -> float:
    """Processor time of a piece of work."""
    before = processor_time()
    work()
    return processor_time() - before


def replicates(objective: str | dict, studies: int, seed: int) -> float:
    """Processor time of one simulated study with one estimator."""
    estimators = {"one": {"card": "chinchilla", "objective": objective, "bootstrap": 200}}

    def work() -> None:
        isoloss.simulate_studies(
            TRUTH,
            PLAN,
            NOISE,
            estimators,
            replicates=studies,
            budgets=[BUDGET],
            seed=seed,
            workers=1,
        )

    return seconds_of(work) / studies


def project(package: str, folder: str):
    """A project of one of the two packages, and a simulator of it that draws nothing."""
    top = importlib.import_module(package)
    cc = top.Chinchilla(folder, GRID, RANGES, log_level=50, scaling_factor=10.0)
    cc.visualizer.plot = cc.visualizer.optim = lambda *_, **__: None
    return importlib.import_module(f"{package}.simulator").Simulator(cc)


def one_study(package: str, seed: int) -> tuple[float, dict[str, float]]:
    """Processor time of one simulated study by a package, and the law that it finds."""
    with tempfile.TemporaryDirectory() as folder:
        simulator = project(package, folder)
        random.seed(seed)
        noise = (random.expovariate, (50,))
        seconds = seconds_of(lambda: simulator(100, 1, 10.0, noise_generator=noise))
        return seconds, simulator.get_params()


def one_more(studies: int, seed: int) -> float:
    """Processor time of one of many studies by `Simulator.replicates`."""
    with tempfile.TemporaryDirectory() as folder:
        simulator = project("isoloss.chinchilla", folder)
        many = {"noise": NOISE, "seed": seed, "workers": 1}
        return seconds_of(lambda: simulator.replicates(studies, **many)) / studies


def rows_of(studies: int, turns: int) -> list[dict]:
    """All rows of the table."""
    rows = []
    for name, objective in OBJECTIVES.items():
        seconds = float(np.median([replicates(objective, studies, turn) for turn in range(turns)]))
        note = f"{60 / seconds:.0f} studies a minute and core, 200 bootstrap replicates each"
        rows.append({"work": "replicates", "contender": name, "seconds": seconds, "note": note})
    packages = ["isoloss.chinchilla"]
    if importlib.util.find_spec("chinchilla"):
        packages.append("chinchilla")
    else:
        print("the package chinchilla is not installed: its row is left out")
    times: dict[str, list[float]] = {name: [] for name in [*packages, "replicates()"]}
    laws: dict[str, dict[str, float]] = {}
    for turn in range(turns):
        for name in packages:
            seconds, laws[name] = one_study(name, turn)
            times[name].append(seconds)
        times["replicates()"].append(one_more(studies, turn))
    ours = float(np.median(times["isoloss.chinchilla"]))
    for name, seconds in times.items():
        median = float(np.median(seconds))
        law = laws.get(name, {})
        note = ", ".join(f"{term} {value:.4g}" for term, value in law.items())
        note = f"last study: {note}" if law else "one of many, 100 bootstrap replicates"
        row = {"work": "one study", "contender": name, "seconds": median, "note": note}
        rows.append({**row, "ratio": median / ours})
    return rows


def main() -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--quick", action="store_true", help="fewer turns; writes nothing")
    quick = options.parse_args().quick
    rows = rows_of(QUICK_STUDIES if quick else STUDIES, QUICK_TURNS if quick else TURNS)
    table = pd.DataFrame(rows, columns=["work", "contender", "seconds", "ratio", "note"])
    print(table.to_string(index=False, float_format="{:.4g}".format))
    if not quick:
        file = HERE / "results" / "simulate.parquet"
        write_free(pa.Table.from_pandas(table, preserve_index=False), file, {})
        print(f"written: {file}")


if __name__ == "__main__":
    main()
