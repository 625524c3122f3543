"""How fast is `Chinchilla.fit`? The package chinchilla 0.2.0 and isoloss.chinchilla, the same runs.

100 simulated runs with exponential noise, the default penalty (asymmetric absolute error), starts
on a grid of five values for each of E, a, b, alpha and beta. The package does a part of the grid,
two values each, and its seconds are scaled up in proportion; both fit on one core, in turns.

Run `python benchmarks/toolkit.py`, with `--quick` for a look that is over within 50 seconds.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy

from isoloss.chinchilla import Chinchilla as Ours
from isoloss.chinchilla._metrics import asymmetric_mae
from isoloss.core.seeds import generator
from isoloss.core.tables import write_free

HERE = Path(__file__).parent
THEIRS = "chinchilla 0.2.0"
AXES = {"E": (1, 2), "a": (1, 10), "b": (1, 10), "alpha": (0.1, 0.7), "beta": (0.1, 0.7)}


def grid(count: int) -> dict[str, np.ndarray]:
    """So many values on each axis."""
    return {name: np.linspace(*ends, count) for name, ends in AXES.items()}


def runs(count: int) -> pd.DataFrame:
    """Runs of Hoffmann's law between 1e18 and 1e21 FLOP."""
    rng = generator(0, "bench", "toolkit")
    C, ratio = (np.exp(rng.uniform(*np.log(ends), count)) for ends in ((1e18, 1e21), (5, 100)))
    N, D = np.sqrt(C / (6 * ratio)), np.sqrt(C * ratio / 6)
    loss = 1.69337368 + 406.401018 / N**0.33917084 + 410.722827 / D**0.2849083
    return pd.DataFrame({"C": C, "N": N, "D": D, "loss": loss + rng.exponential(0.1, count)})


def fitted(toolkit: type, df: pd.DataFrame, count: int) -> tuple[float, float]:
    """Processor seconds of a fit, and the mean penalty at its end."""
    with tempfile.TemporaryDirectory() as folder:
        df.to_csv(Path(folder) / "df.csv", index=False)
        cc = toolkit(folder, param_grid=grid(count), log_level=40)
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cc.fit(parallel=False)
        seconds = time.process_time() - began
        predicted = cc.predict_loss(df["N"].to_numpy(float), df["D"].to_numpy(float))
    return seconds, float(np.mean(asymmetric_mae(df["loss"].to_numpy(), predicted)))


def main() -> None:
    """Fit in turns, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one turn; writes nothing")
    chosen = parser.parse_args()
    df, contenders = runs(100), {"isoloss": (Ours, 5)}
    try:
        from chinchilla import Chinchilla as Package

        contenders[THEIRS] = (Package, 2)
    except ImportError as error:
        print(f"{THEIRS} did not run: {error}")
    fitted(Ours, df, 2)  # imports
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(1 if chosen.quick else 3):
        for name, (toolkit, count) in contenders.items():
            results[name].append(fitted(toolkit, df, count))
    ours_seconds, ours_value = np.median(results["isoloss"], axis=0)
    rows = []
    for name, values in results.items():
        seconds, value = np.median(values, axis=0)
        times = 1 if name == "isoloss" else (5 / 2) ** 5
        rows.append(
            {
                "work": "fit of 100 runs from 3125 starts",
                "contender": name,
                "seconds": seconds * times,
                "peak_mib": np.nan,
                "ratio": seconds * times / ours_seconds,
                "same_result": f"mean penalty {value:.10g}, {value / ours_value - 1:+.1e} of ours",
                "note": "processor time on one core, median of the turns"
                + ("" if times == 1 else "; measured from 32 of the starts, scaled up"),
            }
        )
    table = pd.DataFrame(rows)
    print(table.drop(columns="peak_mib").to_string(index=False))
    if not chosen.quick:
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        facts = {"numpy": np.__version__, "scipy": scipy.__version__}
        write_free(arrow, HERE / "results" / "toolkit.parquet", facts)


if __name__ == "__main__":
    main()
