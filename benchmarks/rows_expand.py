"""What does it take to expand many rows by weights, beside a plain Python loop of the same?

Rows have an identity of 32 characters and two tags; 60 % of the training rows have a weight with a
fraction, which a hash decides. They are expanded in memory, and from a Parquet file to another.
Every contender has a process of its own. `seconds` are wall time, `cpu_seconds` processor time of
all threads; `peak_mib` is the most memory that the process had at once (VmHWM). In memory the rows
are read in parts, and only what is done to them is timed: the loop has parts of 65 536 rows as
objects of Python, isoloss of 1 048 576 as Arrow batches. `rows_per_second` counts wall time;
`ratio` and `cpu_ratio` are times over those of isoloss with one thread.

Run `python benchmarks/rows_expand.py`, with `--quick` for a million rows, once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa

from isoloss.core import tables
from isoloss.core.compiled import EFFORT
from isoloss.expand import Weighting, expand_batches
from isoloss.expand.batches import CATEGORIES, COLUMNS

HERE = Path(__file__).parent
ROWS, QUICK_ROWS, REPEATS, SEED = 10_000_000, 1_000_000, 3, 7
KINDS, DOMAINS = ("code", "prose", "table", "list"), [f"domain {i}" for i in range(20)]
WEIGHTS = {
    "kind": {"code": 1.5, "prose": 0.3, "table": 2.0},
    # 4 domains of 20 give a fraction to the half of the rows whose kind gives none
    "domain": dict(zip(DOMAINS, (0.4, 0.7, 1.3, 1.9), strict=False)),
}
OURS = {"isoloss": 1, "isoloss, 2 threads": 2}  # contender to threads
LOOP = "python loop"
PART = 16  # batches in memory at once


def make_rows(path: Path, n_rows: int) -> None:
    """Write the rows, the same every time."""
    random = np.random.default_rng(0)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    with tables.batch_writer("rows", path) as write:
        for first in range(0, n_rows, tables.BATCH_ROWS):
            n = min(tables.BATCH_ROWS, n_rows - first)
            text = digits[random.integers(16, size=(n, 32))].tobytes()
            ends = pa.py_buffer(np.arange(n + 1, dtype=np.int32) * 32)
            ids = pa.Array.from_buffers(pa.string(), n, [None, ends, pa.py_buffer(text)])
            names = pa.array([*KINDS, *DOMAINS, "kind", "domain"])
            values = np.stack([random.integers(4, size=n), 4 + random.integers(20, size=n)], 1)
            tags = pa.MapArray.from_arrays(
                pa.array(2 * np.arange(n + 1, dtype=np.int32)),
                names.take(pa.array(np.tile([24, 25], n))),
                names.take(pa.array(values.ravel())),
            )
            split = pa.array(["valid", "train"]).take(pa.array((random.random(n) < 0.98) * 1))
            empty = {name: pa.nulls(n) for name in ("features", "label", "file")}
            columns = {"text": pa.repeat(b"x", n), "group": ids, "split": split, "tags": tags}
            n_tokens = pa.array(random.integers(1, 200, n))
            write(pa.table({"row_id": ids, "n_tokens": n_tokens, **columns, **empty}))


def described(row_id: str, tags: list[tuple[str, str]]) -> int:
    """The copies of a row, as the algorithm is described."""
    weight = 1.0
    for key, value in tags:
        inner = WEIGHTS.get(key)
        scale = None if inner is None else inner.get(value)
        if scale is not None:
            weight *= scale
    if weight <= 0.0:
        return 0
    copies = int(weight)
    fraction = weight - copies
    if fraction > 0.0:
        digest = hashlib.blake2b(f"{SEED}:{row_id}".encode(), digest_size=8).digest()
        copies += int.from_bytes(digest, "big") / float(1 << 64) < fraction
    return copies


def loop(ids: list[str], tags: list, split: list[str]) -> list[int]:
    """The copies of many rows, one after the other."""
    return [
        described(row_id, pairs) if side == "train" else 0
        for row_id, pairs, side in zip(ids, tags, split, strict=True)
    ]


class Clock:
    """Wall and processor time of the blocks that it is held in, summed."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._began[0]
        self.cpu_seconds += time.process_time() - self._began[1]


def loop_in_memory(rows: Path, out: Path, clock: Clock) -> list[np.ndarray]:
    """Copies of all rows by the loop; rows are made into objects of Python before."""
    parts = []
    for batch in tables.batches(rows, "rows", COLUMNS):
        given = [batch[name].to_pylist() for name in ("row_id", "tags", "split")]
        with clock:
            parts.append(loop(*given))
    return [np.array(part, np.int64) for part in parts]


def loop_to_parquet(rows: Path, out: Path, clock: Clock) -> list[np.ndarray]:
    """Copies of all rows by the loop, from file to file."""
    parts, first = [], 0
    with clock, tables.batch_writer("index", out) as write:
        for batch in tables.batches(rows, "rows", COLUMNS):
            ids = batch["row_id"].to_pylist()
            copies = loop(ids, batch["tags"].to_pylist(), batch["split"].to_pylist())
            at = [i for i, n in enumerate(copies) if n]
            kept = {"row": [first + i for i in at], "row_id": [ids[i] for i in at]}
            write(pa.table(kept | {"copies": [copies[i] for i in at]}))
            parts.append(np.array(copies, np.int64))
            first += len(batch)
    return parts


def ours_in_memory(threads: int) -> Callable[[Path, Path, Clock], list[np.ndarray]]:
    """Our way, of batches that are in memory; PART of them at once, as the loop has its parts."""

    def run(rows: Path, out: Path, clock: Clock) -> list[np.ndarray]:
        batches = tables.batches(rows, "rows", COLUMNS, categories=CATEGORIES)
        parts = []
        with clock:
            EFFORT.expect(tables.n_rows(rows))
        while part := list(islice(batches, PART)):
            kept: list[tuple[np.ndarray, np.ndarray]] = []

            def keep(index: pa.Table, kept: list = kept) -> None:
                kept.append((index["row"].to_numpy(), index["copies"].to_numpy()))

            with clock:
                expand_batches(part, Weighting(WEIGHTS), SEED, keep, threads)
            parts.append(_all_copies(sum(map(len, part)), kept))
        return parts

    return run


def ours_to_parquet(threads: int) -> Callable[[Path, Path, Clock], list[np.ndarray]]:
    """Our way, as a job goes it."""

    def run(rows: Path, out: Path, clock: Clock) -> list[np.ndarray]:
        with clock, tables.batch_writer("index", out) as write:
            EFFORT.expect(tables.n_rows(rows))
            batches = tables.batches(rows, "rows", COLUMNS, categories=CATEGORIES)
            expand_batches(batches, Weighting(WEIGHTS), SEED, write, threads)
        parts = tables.batches(out, "index", ["row", "copies"])
        return [
            _all_copies(
                tables.n_rows(rows), [(b["row"].to_numpy(), b["copies"].to_numpy()) for b in parts]
            )
        ]

    return run


def _all_copies(n_rows: int, kept: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The copies of all rows, from positions and copies of those that stay."""
    copies = np.zeros(n_rows, np.int64)
    for row, times in kept:
        copies[row] = times
    return copies


WORKS = {
    "in memory": {LOOP: loop_in_memory} | {k: ours_in_memory(n) for k, n in OURS.items()},
    "Parquet to Parquet": {LOOP: loop_to_parquet}
    | {k: ours_to_parquet(n) for k, n in OURS.items()},
}


def measure(work: str, contender: str, rows: Path) -> None:
    """Do the work here; print times, memory and a digest of all copies as JSON."""
    clock = Clock()
    parts = WORKS[work][contender](rows, rows.with_name(f"index {os.getpid()}.parquet"), clock)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM"))
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    times = {"seconds": clock.seconds, "cpu_seconds": clock.cpu_seconds}
    print(json.dumps({**times, "peak_mib": peak / 1024, "digest": digest.hexdigest()}))


def compare(rows: Path, repeats: int) -> pd.DataFrame:
    """Every contender in turn, and that again; medians."""
    measured = []
    for _ in range(repeats):
        for work, contenders in WORKS.items():
            for contender in contenders:
                # -P: numba imports a package `coverage`, which coverage.py here is not
                words = [sys.executable, "-P", __file__, "--rows", str(rows), "--work", work]
                words += ["--contender", contender]
                process = subprocess.run(words, check=True, stdout=subprocess.PIPE)
                result = json.loads(process.stdout)
                measured.append({"work": work, "contender": contender, **result})
                print(f"{work}, {contender}: {result['cpu_seconds']:.1f} s of processor time")
    each = pd.DataFrame(measured).groupby(["work", "contender"], sort=False)
    table = each[["seconds", "cpu_seconds", "peak_mib"]].median()
    ours = table.xs("isoloss", level="contender")
    for name in ("seconds", "cpu_seconds"):
        ratio = "ratio" if name == "seconds" else "cpu_ratio"
        table[ratio] = table[name] / table.index.get_level_values(0).map(ours[name])
    same = len({one["digest"] for one in measured}) == 1
    table["same_result"] = "all copies identical" if same else "DIFFERENT COPIES"
    table["note"] = f"median of {repeats}, load average {os.getloadavg()[0]:.1f}"
    return table.reset_index()


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows, once; writes nothing")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"of each ({REPEATS})")
    for hidden in ("--rows", "--work", "--contender"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rows:
        measure(given.work, given.contender, Path(given.rows))
        return
    n_rows, repeats = (QUICK_ROWS, 1) if given.quick else (ROWS, given.repeats)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.parquet"
        make_rows(rows, n_rows)
        results = compare(rows, repeats).assign(n_rows=n_rows)
        results["rows_per_second"] = n_rows / results["seconds"]
    print(results.to_string(index=False, float_format="{:.2f}".format))
    if not given.quick:
        written = pa.Table.from_pandas(results, preserve_index=False)
        tables.write_free(written, HERE / "results/rows_expand.parquet", {})


if __name__ == "__main__":
    main()
