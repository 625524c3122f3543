"""The stage load: a dataset's rows and audit, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.load.rows import load_rows


def run(specification: Mapping[str, Any], out: Path, facts: Mapping[str, Any]) -> list[Path]:
    """Cut a dataset into rows with tags and sides.

    Args:
        specification: what matters to the job: `dataset` (card, options, valid_fraction), `seed`,
            and `content`, the digest that the sources must have.
        out: folder for `rows` and `audit`.
        facts: kept in both files.

    Returns:
        The files.

    Raises:
        IsolossError: a source changed while it was read, or there are no rows.
    """
    dataset = specification["dataset"]
    rows, audit = load_rows(
        dataset["card"],
        dataset["options"],
        dataset["valid_fraction"],
        specification["seed"],
        specification["content"],
    )
    return tables.write_all({"rows": rows, "audit": audit}, out, facts)
