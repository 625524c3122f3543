"""What do many rows cost? Seconds and memory of load and expand, and of training by dataset size.

The rows are synthetic: sentences of random words with three tags, made by this script and the same
every time. Every step has a process of its own, in which a stage's `run` is called as a job does;
`peak_mib` is the most memory that the process had at once (VmHWM), mapped files included, and
`anonymous_mib` the most without files that are mapped, sampled every 5 ms. Training is of one small
run on a dataset, and of the same run on one that is 20 times as large.

Run `python benchmarks/rows.py`, with `--quick` for a look that is over within 50 seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa

from isoloss.core import registry
from isoloss.core.tables import write_free

HERE = Path(__file__).parent
ROWS, QUICK_ROWS = 1_000_000, 50_000
SMALL, TIMES_LARGER = 50_000, 20  # rows that are trained on
WEIGHTS = {"kind": {"code": 1.5, "prose": 0.3}, "domain": {"web": 2.0, "books": 0.7}}
WORDS = ("the", "a", "of", "row", "text", "value", "is", "not", "in", "data", "with", "token", "by")
SWEEP = {
    "model": "transformer",
    "trainer": "builtin",
    "shards": 1,
    "n_params": "nonembed",
    "n_flops": "6nd",
    "settings": {"n_layers": 1, "context": 64, "d_model": 16, "head_width": 8, "batch_size": 16},
    "cells": [{"n_samples": 200_000}],
}


def pieces(n_rows: int) -> Iterator[dict]:
    """Rows as a dataset card gives them: 12 words each, all different, in groups of 100."""
    rng = np.random.default_rng(0)
    for first in range(0, n_rows, 10_000):
        picked = rng.integers(len(WORDS), size=(min(10_000, n_rows - first), 12))
        for i, words in enumerate(picked, first):
            text = f"{i} " + " ".join(WORDS[word] for word in words) + "\n"
            tags = {
                "kind": ("code", "prose", "table")[i % 3],
                "domain": ("web", "books", "wiki", "law")[i // 3 % 4],
                "year": str(2000 + i % 25),
            }
            yield {"text": text.encode(), "tags": tags, "group": f"group {i // 100}"}


def load(folder: Path, n_rows: int) -> None:
    """The stage load."""
    from isoloss.load import job

    card = SimpleNamespace(pieces=pieces, sources=lambda n_rows: [])
    registry.card, registry.facts = lambda kind, name: card, lambda kind, name: {}
    dataset = {"card": "synthetic", "options": {"n_rows": n_rows}, "valid_fraction": 0.02}
    dataset["on_bad_row"] = "stop"
    job.run({"dataset": dataset, "seed": 1, "content": None}, folder / "load", {}, folder)


def expand(folder: Path) -> None:
    """The stage expand."""
    from isoloss.expand import job

    rows, facts = folder / "load/rows.parquet", {"weighting": "natural"}
    job.run({"weights": WEIGHTS, "seed": 1}, rows, folder / "expand", facts)


def train(folder: Path) -> None:
    """The stage train: one run of 200 000 tokens."""
    from isoloss.train import job
    from isoloss.train.plan import plan_runs, runs_digest, shard_runs

    (run,) = shard_runs(plan_runs(SWEEP), 1)["0"]
    run = {**run, "weighting": "natural"}
    specification = {
        "task": "language_model",
        "seed": 1,
        "valid_tokens": 8192,
        "runs": runs_digest([run]),
        "schedules": {},
    }
    settings = {"code": "c", "code_here": "c", "among": {}, "where": {}}
    files = [folder / "load/rows.parquet"], [folder / "load/tokens.npy"]
    index, store, out = [folder / "expand/index.parquet"], folder / "store", folder / "0.parquet"
    job.run(specification, [run], *files, index, store, settings, out, {})
    shard = pd.read_parquet(out)
    assert list(shard["status"]) == ["done"], shard["status_reason"].item()
    print(shard["loss_nats"].item(), shard["n_unique"].item())


def memory(process: int | str, field: str) -> int:
    """A field of a process's status in KiB, 0 when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    values = [line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:")]
    return int(values[0]) if values else 0


def family() -> list[str]:
    """This process and its children: a run is trained in one of its own."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="utf-8")
    return ["self", *children.split()]


def measure(step: str, folder: Path, n_rows: int) -> None:
    """Do one step here, and print its seconds and memory as JSON."""
    most = {"VmHWM": 0, "RssAnon": 0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            for field in most:
                most[field] = max(most[field], *(memory(p, field) for p in family()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    if step == "load":
        load(folder, n_rows)
    else:
        {"expand": expand, "train": train}[step](folder)
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    peak = max(most["VmHWM"], memory("self", "VmHWM")) / 1024
    print(
        json.dumps({"seconds": seconds, "peak_mib": peak, "anonymous_mib": most["RssAnon"] / 1024})
    )


def step(name: str, folder: Path, n_rows: int, work: str) -> dict:
    """One step in a process of its own, as a row of the table."""
    # -P: numba imports a package `coverage`, which coverage.py here is not
    words = [sys.executable, "-P", __file__, "--step", name, "--folder", str(folder)]
    process = subprocess.run([*words, "--rows", str(n_rows)], check=True, stdout=subprocess.PIPE)
    *output_lines, last = process.stdout.decode().splitlines()
    load_average = f"load average {os.getloadavg()[0]:.1f}"
    row = {"work": work, "contender": "isoloss", **json.loads(last), "note": load_average}
    print(pd.DataFrame([row]).to_string(index=False, header=False), *output_lines, flush=True)
    return row


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows; writes nothing")
    parser.add_argument("--step", choices=["load", "expand", "train"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        measure(given.step, given.folder, given.rows)
        return
    many = QUICK_ROWS if given.quick else ROWS
    small = many // TIMES_LARGER if given.quick else SMALL
    table = []
    home = Path(tempfile.mkdtemp())
    try:
        for name, n_rows in (("large", many), ("small", small)):
            folder = home / name
            for stage in ("load", "expand", "train"):
                table.append(step(stage, folder, n_rows, f"{stage}, {n_rows} rows"))
    finally:
        shutil.rmtree(home)
    results = pd.DataFrame(table)
    print(results.to_string(index=False, float_format="{:.1f}".format))
    if not given.quick:
        write_free(
            pa.Table.from_pandas(results, preserve_index=False), HERE / "results/rows.parquet", {}
        )


if __name__ == "__main__":
    main()
