"""The stage load: a dataset's rows and audit, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoloss import tables
from isoloss.load.rows import load_rows


def run(
    dataset: Mapping[str, Any], seed: int, content: str, out: Path, facts: Mapping[str, Any]
) -> list[Path]:
    """Cut a dataset into rows with tags and sides.

    Args:
        dataset: the study's entry: card, options, valid_fraction.
        seed: of the study.
        content: digest of the dataset's sources, as the manifest records it.
        out: folder for `rows` and `audit`.
        facts: kept in both files.

    Returns:
        The files.

    Raises:
        IsolossError: a source changed while it was read, or there are no rows.
    """
    card, options = dataset["card"], dataset["options"]
    rows, audit = load_rows(card, options, dataset["valid_fraction"], seed, content)
    return tables.write_all({"rows": rows, "audit": audit}, out, facts)
