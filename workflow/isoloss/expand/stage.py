"""The stage expand: which rows a weighting repeats or drops, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoloss import tables
from isoloss.expand.weights import Weights, expand_table


def run(rows: Path, weights: Weights, seed: int, out: Path, facts: Mapping[str, Any]) -> list[Path]:
    """Repeat or drop training rows by the weights of their tags.

    Args:
        rows: rows.parquet of the dataset.
        weights: the study's entry: tag key to tag value to weight.
        seed: of the study.
        out: folder for `index` and `audit`.
        facts: kept in both files.

    Returns:
        The files.
    """
    index, audit = expand_table(tables.frame(rows, "rows"), weights, seed)
    return tables.write_all({"index": index, "audit": audit}, out, facts)
