"""What do fits of many groups cost? Processor time of one call for all, and of a call a group.

42 groups of 12 to 30 simulated runs, each with a law of its own and 0.3 % of noise; broken power
law, Chinchilla law and a formula that is not a sum of power terms, with 200 bootstrap replicates.
Other checkouts of this repository are contenders: they are given the same runs, in one call. Every
call is a process of its own that measures its processor time from the runs to the fit.

Run `python benchmarks/groups.py [NAME=CHECKOUT ...]`. `--quick` fits four groups with 20 replicates
and writes nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

HERE = Path(__file__).parent
GROUPS, REPLICATES = 42, 200
OURS, EACH = "isoloss, one call", "isoloss, a call a group"
LETTERS = {name: name for name in ("N", "D", "loss", "group")}
BENT = "loss = E + A * exp(-k * log(N)) + B / (D + S)**beta"
WORK = {
    "broken_power_law": ("broken_power_law", {"variable": "D"}),
    "chinchilla": ("chinchilla", {}),
    "formula": ("formula", {"formula": BENT, "variables": ["N", "D"]}),
}


def table(groups: int) -> pd.DataFrame:
    """Simulated runs of groups, each with parameters of its own."""
    rng, parts = np.random.default_rng(18), []
    for group in range(groups):
        n = int(rng.integers(12, 31))
        d = np.geomspace(1e6, 1e10, n) * np.exp(rng.normal(0, 0.05, n))
        size = np.geomspace(1e7, 1e10, n)[rng.permutation(n)]
        turn = (1 + (d / 10 ** rng.uniform(7, 9)) ** 2) ** (-rng.uniform(0.02, 0.2))
        loss = rng.uniform(0.5, 2) + rng.uniform(5, 20) * d ** -rng.uniform(0.05, 0.2) * turn
        loss += rng.uniform(300, 500) / size**0.34
        noisy = loss * np.exp(rng.normal(0, 0.003, n))
        parts.append(pd.DataFrame({"N": size, "D": d, "loss": noisy, "group": f"g{group:03d}"}))
    return pd.concat(parts, ignore_index=True)


def fit(work: str, replicates: int, each: bool, source: str, target: str) -> None:
    """What a process does: fit, write parameters, and print its seconds."""
    import isoloss

    law, options = WORK[work]
    runs = isoloss.read_runs(pd.read_csv(source), LETTERS)
    parts = [runs[runs["group"] == group] for group in sorted(set(runs["group"]))]
    begin = time.process_time()
    params = [
        isoloss.fit_law(part, law, options=options, bootstrap=replicates).params
        for part in (parts if each else [runs])
    ]
    print(time.process_time() - begin)
    pd.concat(params, ignore_index=True).to_parquet(target)


def call(home: Path, work: str, replicates: int, each: bool, source: Path) -> tuple:
    """Seconds, MiB and parameters of a process that uses the code of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(home / "workflow"), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "params.parquet")
        words = [work, str(replicates), str(int(each)), str(source), str(target)]
        process = subprocess.Popen(
            [sys.executable, __file__, "--fit", *words],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{home}: {work} ended with {process.returncode}")
        params = pd.read_parquet(target).sort_values(["group", "term"], ignore_index=True)
    return float(printed), usage.ru_maxrss / 1024, params


def compared(params: pd.DataFrame, ours: pd.DataFrame) -> str:
    """How many groups have our estimates."""
    apart = (params["estimate"] / ours["estimate"] - 1).abs().groupby(ours["group"]).max()
    return f"estimates of {(apart <= 1e-9).sum()} of {len(apart)} groups within 1e-9 of ours"


def main() -> None:
    """Let the contenders take turns, print, and write the table."""
    if "--fit" in sys.argv:
        work, replicates, each, source, target = sys.argv[2:]
        return fit(work, int(replicates), each == "1", source, target)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("others", nargs="*", metavar="NAME=CHECKOUT")
    parser.add_argument("--quick", action="store_true", help="four groups; writes nothing")
    given = parser.parse_args()
    named = [other.partition("=")[::2] for other in given.others]
    contenders = {OURS: (HERE.parent, False), EACH: (HERE.parent, True)}
    contenders |= {name: (Path(home).absolute(), False) for name, home in named}
    groups, replicates = (4, 20) if given.quick else (GROUPS, REPLICATES)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "runs.csv")
        table(groups).to_csv(source, index=False)
        for work in WORK:
            first = None
            for name, (home, each) in contenders.items():
                if work == "formula" and not (home / "workflow/isoloss/laws/formula.py").exists():
                    continue
                seconds, peak, params = call(home, work, replicates, each, source)
                first = first or (seconds, params)
                rows.append(
                    {
                        "work": f"{groups} groups, {work}, {replicates} replicates",
                        "contender": name,
                        "seconds": seconds,
                        "peak_mib": peak,
                        "ratio": seconds / first[0],
                        "same_result": compared(params, first[1]),
                        "note": "processor time of one thread",
                    }
                )
                print(pd.DataFrame(rows[-1:]).to_string(header=False, index=False), flush=True)
    if not given.quick:
        from isoloss.core.tables import write_free

        write_free(pa.Table.from_pylist(rows), HERE / "results" / "groups.parquet", {})
    return None


if __name__ == "__main__":
    main()
