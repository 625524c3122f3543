"""The stage expand: which rows a weighting repeats or drops, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.expand.batches import COLUMNS, expand_batches


def run(
    specification: Mapping[str, Any], rows: Path, out: Path, facts: Mapping[str, Any]
) -> list[Path]:
    """Repeat or drop training rows by the weights of their tags, batch by batch.

    Args:
        specification: what matters to the job: `weights` (tag key to tag value to weight), `seed`.
        rows: rows.parquet of the dataset.
        out: folder for `index` and `audit`.
        facts: kept in both files.

    Returns:
        The files.
    """
    weights, seed = specification["weights"], specification["seed"]
    files = [out / "index.parquet", out / "audit.parquet"]
    batches = tables.batches(rows, "rows", COLUMNS)
    with tables.batch_writer("index", files[0], facts) as write:
        audit = expand_batches(batches, weights, seed, write)
    tables.write("audit", audit.frame(), files[1], facts)
    return files
