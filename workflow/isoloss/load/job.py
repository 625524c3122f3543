"""The stage load: a dataset's rows, their tokens and an audit, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from isoloss.core import tables, tokens
from isoloss.load.rows import Writers, load_rows


def run(
    specification: Mapping[str, Any], out: Path, facts: Mapping[str, Any], fetched: Path
) -> list[Path]:
    """Cut a dataset into rows with tags and a split, batch by batch.

    Args:
        specification: what matters to the job: `dataset` (an entry of `load`), `seed`, and
            `content`, the digest that the sources must have.
        out: folder for `rows`, `audit`, `dropped` and the examples of all rows in their order.
        facts: kept in the tables.
        fetched: folder where a card that reads from a network keeps what it fetched.

    Returns:
        The files.

    Raises:
        IsolossError: a source changed while it was read, a row cannot be used, or there are none.
    """
    names = ["rows.parquet", "audit.parquet", "dropped.parquet", tokens.NAME]
    rows, audit, dropped, examples_file = files = [out / name for name in names]
    with (
        tables.batch_writer("rows", rows, facts) as write_rows,
        tables.batch_writer("dropped", dropped, facts) as write_dropped,
        tokens.token_writer(examples_file) as token_file,
    ):

        def write(batch: pa.Table, examples: np.ndarray) -> None:
            write_rows(batch)
            token_file.append(examples)

        dataset, seed = specification["dataset"], specification["seed"]
        writers, content = Writers(write, write_dropped), specification["content"]
        counted = load_rows(dataset, seed, writers, content, fetched)
    tables.write("audit", counted.frame(), audit, facts)
    return files
