"""What does a file of 500 MB of JSON Lines cost? Seconds, processor seconds and memory to read it.

The rows are synthetic, the same every time: a text of 40 to 120 words, an id, a domain and a URL.
Every contender has a process of its own; repeats are interleaved, and medians are shown. They do
not do the same work:

- `isoloss` is the stage load: text, id and domain are parsed, bad rows and equal ids are looked
  for, every text is hashed, equal texts of two sides are dropped, rows get a side by hash, tags are
  counted; written are rows.parquet (zstd, checksums) and tokens.npy, synced to the disk;
- `datasets` is `load_dataset("json")`: all fields are parsed and written to an Arrow file;
- `polars` is `read_ndjson`: all fields are parsed, into memory;
- `polars, sink` is `scan_ndjson(...).sink_parquet(...)`: all fields are parsed and written to a
  Parquet file (zstd, its default), part by part.

`same_result` compares the number of rows and the bytes of all texts. Run
`python benchmarks/rows_load.py`, with `--quick` for 25 MB, which is over within 50 seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from isoloss.core.tables import write_free

HERE = Path(__file__).parent
MEGABYTES, QUICK_MEGABYTES = 500, 25
DOMAINS = ("web", "books", "wiki", "code", "news")


def write_rows(file: Path, n_bytes: int) -> None:
    """JSON Lines of at least so many bytes; no two texts are equal."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = ["".join(rng.choice(letters[:20], size)) for size in rng.integers(1, 10, 5000)]
    row = size = 0
    with file.open("w", encoding="utf-8") as out:
        while size < n_bytes:
            picked = rng.integers(0, len(words), 1_000_000)
            ends = np.cumsum(rng.integers(40, 121, 12_000))
            parts = np.split(picked, ends[ends < len(picked)])
            for part in parts[:-1]:
                text = f"{row} " + " ".join([words[word] for word in part.tolist()])
                line = json.dumps(
                    {
                        "id": f"row-{row:09d}",
                        "text": text,
                        "domain": DOMAINS[row % len(DOMAINS)],
                        "url": f"https://example.org/{row % 977}/{row}",
                    }
                )
                size += out.write(line + "\n")
                row += 1


def by_isoloss(file: Path, out: Path) -> Callable[[], tuple[int, int]]:
    """The stage load with the card jsonl."""
    from isoloss.core import registry
    from isoloss.load import job

    options = {"files": [str(file)], "id": "id", "tags": {"domain": "domain"}}
    options = registry.defaults("dataset", "jsonl") | options
    dataset = {"card": "jsonl", "options": options, "valid_fraction": 0.02, "on_bad_row": "stop"}
    job.run({"dataset": dataset, "seed": 1, "content": None}, out, {}, out / "fetched")

    def counts() -> tuple[int, int]:
        lengths = pa.parquet.read_table(out / "rows.parquet", columns=["n_tokens"])["n_tokens"]
        assert len(np.load(out / "tokens.npy", mmap_mode="r")) == pc.sum(lengths).as_py()
        return len(lengths), pc.sum(lengths).as_py()

    return counts


def by_datasets(file: Path, out: Path) -> Callable[[], tuple[int, int]]:
    """`datasets.load_dataset` into a cache of its own."""
    os.environ |= {"HF_HOME": str(out), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    import datasets

    datasets.disable_progress_bars()
    read = datasets.load_dataset("json", data_files=str(file), cache_dir=str(out), split="train")

    def counts() -> tuple[int, int]:
        lengths = [pc.sum(pc.binary_length(b["text"])).as_py() for b in read.data.to_batches()]
        return len(read), sum(lengths)

    return counts


def by_polars(file: Path, out: Path) -> Callable[[], tuple[int, int]]:
    """`polars.read_ndjson` into memory."""
    import polars

    read = polars.read_ndjson(file)
    return lambda: (len(read), read["text"].str.len_bytes().sum())


def by_polars_sink(file: Path, out: Path) -> Callable[[], tuple[int, int]]:
    """`polars.scan_ndjson` into a Parquet file."""
    import polars

    polars.scan_ndjson(file).sink_parquet(out / "rows.parquet")

    def counts() -> tuple[int, int]:
        text = polars.read_parquet(out / "rows.parquet", columns=["text"])["text"]
        return len(text), text.str.len_bytes().sum()

    return counts


CONTENDERS = {
    "isoloss": by_isoloss,
    "datasets": by_datasets,
    "polars": by_polars,
    "polars, sink": by_polars_sink,
}


def measure(contender: str, file: Path) -> None:
    """Read the file by one contender, in this process; prints what it took as JSON."""
    with tempfile.TemporaryDirectory(dir=file.parent) as out:
        began = time.perf_counter()
        counts = CONTENDERS[contender](file, Path(out))
        seconds = time.perf_counter() - began
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        peak = int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
        spent = sum(one.ru_utime + one.ru_stime for one in used)
        n_rows, n_bytes = counts()
    numbers = {"seconds": seconds, "cpu_seconds": spent, "peak_mib": peak}
    print(json.dumps(numbers | {"n_rows": n_rows, "n_bytes": n_bytes}))


def one(contender: str, file: Path) -> dict:
    """What a contender took, in a process of its own; with the reason if it cannot run."""
    # -P: numba imports a package `coverage`, which the script of that name here would be
    words = [sys.executable, "-P", __file__, "--contender", contender, "--file", str(file)]
    process = subprocess.run(words, capture_output=True, encoding="utf-8")
    if process.returncode:
        return {"contender": contender, "note": process.stderr.strip().splitlines()[-1]}
    return {"contender": contender, **json.loads(process.stdout.splitlines()[-1])}


def summed(rows: pd.DataFrame, work: str) -> pd.DataFrame:
    """Medians of the repeats with their ratios to ours."""
    rows = rows.reindex(columns=[*rows.columns, *({"note"} - set(rows.columns))])
    numbers = ["seconds", "cpu_seconds", "peak_mib", "n_rows", "n_bytes"]
    table = rows.groupby("contender", sort=False)[numbers].median()
    ours = table.loc["isoloss"]
    for ratio, number in (("ratio", "seconds"), ("cpu_ratio", "cpu_seconds")):
        table[ratio] = table[number] / ours[number]
    table["same_result"] = (table[["n_rows", "n_bytes"]] == ours[["n_rows", "n_bytes"]]).all(axis=1)
    table["note"] = rows.groupby("contender")["note"].first()
    return table.reset_index().assign(work=work)


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller file; writes nothing")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender:
        measure(given.contender, given.file)
        return
    megabytes, repeats = (QUICK_MEGABYTES, 1) if given.quick else (MEGABYTES, given.repeats)
    home = Path(tempfile.mkdtemp())
    try:
        file = home / "rows.jsonl"
        write_rows(file, megabytes * 10**6)
        rows = []
        for _ in range(repeats):
            for contender in CONTENDERS:
                rows.append(one(contender, file))
                print(*rows[-1].values(), flush=True)
    finally:
        shutil.rmtree(home)
    table = summed(pd.DataFrame(rows), f"{megabytes} MB of JSON Lines")
    print(table.to_string(index=False, float_format="{:.2f}".format))
    if not given.quick:
        write_free(
            pa.Table.from_pandas(table, preserve_index=False),
            HERE / "results/rows_load.parquet",
            {},
        )


if __name__ == "__main__":
    main()
