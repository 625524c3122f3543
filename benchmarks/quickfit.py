"""What does a quick fit cost? Processor time of `python -m isoloss law`, by version of the code.

The Chinchilla law on Epoch's 240 points: 4000 replicates and 500 with the largest budget held
out, decisions, all tables, law.py and the figure as PNG and PDF. Every call is a process of its
own; its seconds are processor time (user and system, of it and its children) by one thread, which
says more than wall time on a machine that does other work. The contenders take turns. `imports` is
a bare import of the libraries that the earlier versions import.

Run `python benchmarks/quickfit.py [NAME=CHECKOUT ...]`: other checkouts of this repository are the
contenders of this one. `--quick` calls each once and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from isoloss.core.tables import write_free

HERE = Path(__file__).parent
OURS, IMPORTS = "isoloss", "imports of pandas, scipy.stats, matplotlib.pyplot, pyarrow"
CALLS = 5


def seconds(words: list[str], folder: Path, home: Path) -> tuple[float, float]:
    """Processor seconds and peak MiB of a process that uses the code of a checkout."""
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment = {**os.environ, **threads, "PYTHONPATH": str(home / "workflow")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user has compiled modules
    process = subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def call(home: Path, points: Path) -> tuple[float, float, np.ndarray]:
    """One quick fit by the code of a checkout: seconds, MiB, and the numbers of its parameters."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "isoloss", "law", str(points), "--out", "out", "--bootstrap", "4000"]
        spent, peak = seconds(words, Path(folder), home)
        params = pd.read_parquet(Path(folder, "out", "params.parquet"))
    return spent, peak, params.select_dtypes(float).to_numpy()


def compared(numbers: np.ndarray | None, ours: np.ndarray) -> str:
    """How far parameters and their intervals are from ours."""
    if numbers is None:
        return ""
    return f"parameters and intervals within {np.max(np.abs(numbers / ours - 1)):.0e} of ours"


def main() -> None:
    """Let the contenders take turns, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("others", nargs="*", metavar="NAME=CHECKOUT")
    parser.add_argument("--quick", action="store_true", help="one call each; writes nothing")
    parser.add_argument("--data", type=Path, default=os.environ.get("ISOLOSS_REFERENCE_DATA"))
    given = parser.parse_args()
    if given.data is None:
        parser.error("name the folder of chinchilla_epoch/: --data, or ISOLOSS_REFERENCE_DATA")
    named = (other.partition("=")[::2] for other in given.others)
    homes = {OURS: HERE.parent} | {name: Path(home).absolute() for name, home in named}
    calls: list[tuple[str, float, float, np.ndarray | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        points = Path(folder, "points.csv")
        table = pd.read_csv(Path(given.data) / "chinchilla_epoch" / "chinchilla_points.csv")
        table = table.loc[table["kept_240"] == 1, ["n_params", "tokens", "loss"]]
        table.to_csv(points, index=False)
        for _ in range(1 if given.quick else CALLS):
            calls += [(name, *call(home, points)) for name, home in homes.items()]
            bare = ["-c", "import pandas, scipy.stats, matplotlib.pyplot, pyarrow.parquet"]
            calls.append((IMPORTS, *seconds(bare, Path(folder), HERE), None))
    by_name = pd.DataFrame(calls, columns=["contender", "seconds", "peak_mib", "numbers"])
    ours = by_name[by_name["contender"] == OURS]
    rows = [
        {
            "work": "quick fit of 240 points",
            "contender": name,
            "seconds": of_one["seconds"].min(),
            "median_seconds": of_one["seconds"].median(),
            "peak_mib": of_one["peak_mib"].max(),
            "ratio": of_one["seconds"].min() / ours["seconds"].min(),
            "same_result": compared(of_one["numbers"].iloc[0], ours["numbers"].iloc[0]),
            "note": f"processor time, least of {len(of_one)}; load {os.getloadavg()[0]:.1f}",
        }
        for name, of_one in by_name.groupby("contender", sort=False)
    ]
    results = pd.DataFrame(rows)
    print(results.to_string(index=False, float_format="{:.2f}".format))
    if not given.quick:
        arrow = pa.Table.from_pandas(results, preserve_index=False)
        write_free(arrow, HERE / "results" / "quickfit.parquet", {})


if __name__ == "__main__":
    main()
