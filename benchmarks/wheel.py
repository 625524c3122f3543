"""What does the wheel cost in a fresh environment, outside the repository? MiB and processor time.

The wheel is built, and installed with the versions of envs/lock.txt into two new environments: its
base alone, and with the extra `snakemake`. There, in an empty folder, `isoloss law` fits the
Chinchilla law to 35 made-up runs with 4000 replicates and draws the figure, and `isoloss run` runs
a study of the same table. Contender of both is the checkout in the environment of this Python.

Seconds are processor time (user and system) of a command and its children; the number of threads is
not limited, as it is not for a user. A first call finds no cache of fonts (`MPLCONFIGDIR` is
empty); modules are compiled when they are installed.

Run `python benchmarks/wheel.py`; the installer fetches 150 MB if it has not kept them. `--quick`
makes the base environment only, calls each command once and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from isoloss.core.tables import write_free

HERE = Path(__file__).parent
ROOT = HERE.parent
BASE, WITH_SNAKEMAKE, CHECKOUT = "wheel", "wheel with snakemake", "checkout"
CALLS = 5
STUDY = """study: mine
aggregate:
  mine: {table: runs.csv, columns: {N: params, D: tokens, loss: val_loss}}
fit:
  chinchilla: {card: chinchilla, sweep: mine}
plot:
  isoloss: {card: isoloss, sweep: mine, fits: [chinchilla]}
"""


def mebibytes(folder: Path) -> float:
    """The size of all files below a folder, links left out."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return sum(file.stat().st_size for file in files) / 2**20


def installed(home: Path, wheel: Path, extras: str = "") -> Path:
    """A new environment with the wheel; its Python."""
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    words = ["--constraint", str(ROOT / "envs/lock.txt"), f"isoloss{extras} @ {wheel.as_uri()}"]
    subprocess.run([*pip, *words], check=True)
    subprocess.run([*pip[:-1], "uninstall", "--yes", "pip", "setuptools"], check=True)
    return python


def write_inputs(folder: Path) -> None:
    """A table of 35 runs around five budgets, with noise, and a study of it."""
    budgets = np.repeat(np.geomspace(1e18, 1e20, 5), 7)
    n = np.tile(np.geomspace(0.2, 5, 7), 5) * np.sqrt(budgets / 120)
    d = budgets / 6 / n
    noise = 0.004 * np.random.default_rng(0).standard_normal(len(n))
    loss = (1.82 + 480 / n**0.34 + 2200 / d**0.37) * np.exp(noise)
    runs = pd.DataFrame({"params": n, "tokens": d, "val_loss": loss})
    runs.to_csv(folder / "runs.csv", index=False)
    (folder / "mine.yaml").write_text(STUDY, encoding="utf-8")


def call(python: Path, words: Sequence[str], folder: Path, fonts: Path, home: str) -> tuple:
    """Processor seconds and peak MiB of `python -m isoloss ...` in a folder.

    Args:
        python: of an environment.
        words: of the command.
        folder: in which it works.
        fonts: folder of the cache of fonts.
        home: where isoloss is imported from; empty for what is installed.
    """
    taken = {"PYTHONPATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONDONTWRITEBYTECODE"}
    environment = {name: value for name, value in os.environ.items() if name not in taken}
    environment |= {"MPLCONFIGDIR": str(fonts)} | ({"PYTHONPATH": home} if home else {})
    with (folder / "output.txt").open("w", encoding="utf-8") as output:
        command = [str(python), "-m", "isoloss", *words]
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit((folder / "output.txt").read_text(encoding="utf-8"))
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


LAW = ("law", "runs.csv", "--law", "chinchilla", "--bootstrap", "4000", "--out", "out")
RUN = ("run", "mine.yaml")


def measured(name: str, python: Path, home: str, runs: bool, calls: int) -> list[dict[str, Any]]:
    """The rows of one contender.

    Args:
        name: of the contender.
        python: of its environment.
        home: where isoloss is imported from; empty for what is installed.
        runs: whether snakemake is there.
        calls: of each command whose cache of fonts is there; the first call is one more.
    """
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "work")
        folder.mkdir()
        write_inputs(folder)
        fonts = Path(temporary, "fonts")
        first = [call(python, LAW, folder, fonts, home)]
        law = [call(python, LAW, folder, fonts, home) for _ in range(calls)]
        numbers = pd.read_parquet(folder / "out/params.parquet")["estimate"].tolist()
        rows += [row("first isoloss law", name, first, numbers), row("law", name, law, numbers)]
        if runs:
            study = [call(python, RUN, folder, fonts, home)]
            again = [call(python, RUN, folder, fonts, home) for _ in range(calls)]
            params = folder / "results/mine/fit/mine/chinchilla/params.parquet"
            numbers = pd.read_parquet(params)["estimate"].tolist()
            rows += [
                row("run", name, study, numbers),
                row("run, nothing due", name, again, numbers),
            ]
    return rows


def row(work: str, name: str, calls: Sequence[tuple], numbers: list[float]) -> dict[str, Any]:
    """One row of the table, with the numbers that were fitted."""
    load = f"load {os.getloadavg()[0]:.1f}"
    return {
        "work": work,
        "contender": name,
        "seconds": min(seconds for seconds, _ in calls),
        "peak_mib": max(peak for _, peak in calls),
        "numbers": numbers,
        "note": f"processor time, least of {len(calls)}; {load}",
    }


def compared(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The rows as a table: ratio to the checkout, and how far the numbers are from its."""
    theirs = {one["work"]: one for one in rows if one["contender"] == CHECKOUT}
    table = pd.DataFrame(rows)
    table["ratio"] = [theirs[one["work"]]["seconds"] / one["seconds"] for one in rows]
    table["same_result"] = [
        "same parameters, bit for bit"
        if one["numbers"] == theirs[one["work"]]["numbers"]
        else "other parameters"
        for one in rows
    ]
    return table.drop(columns="numbers")


def sizes(wheel: Path, homes: dict[str, Path]) -> pd.DataFrame:
    """MiB of the wheel and of the environments, in the place of seconds none."""
    parts = {"the file": wheel.stat().st_size / 2**20}
    parts |= {name: mebibytes(home) for name, home in homes.items()}
    rows = [{"work": "size", "contender": name, "mib": size} for name, size in parts.items()]
    return pd.DataFrame(rows)


def main() -> None:
    """Build, install, measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one call each; writes nothing")
    given = parser.parse_args()
    calls = 1 if given.quick else CALLS
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--wheel-dir",
            folder,
        ]
        subprocess.run([*build, "--no-build-isolation", ROOT], check=True)
        (wheel,) = folder.glob("*.whl")
        extras = {BASE: ""} | ({} if given.quick else {WITH_SNAKEMAKE: "[snakemake]"})
        homes = {name: folder / name.replace(" ", "_") for name in extras}
        rows = measured(CHECKOUT, Path(sys.executable), str(ROOT / "workflow"), True, calls)
        for name, extra in extras.items():
            python = installed(homes[name], wheel, extra)
            rows += measured(name, python, "", bool(extra), calls)
        results = pd.concat([compared(rows), sizes(wheel, homes)], ignore_index=True)
    print(results.to_string(index=False, float_format="{:.2f}".format, na_rep=""))
    if not given.quick:
        arrow = pa.Table.from_pandas(results, preserve_index=False)
        write_free(arrow, HERE / "results" / "wheel.parquet", {})


if __name__ == "__main__":
    main()
