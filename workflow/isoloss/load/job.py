"""The stage load: a dataset's rows, their tokens and an audit, written into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from isoloss.core import tables, tokens
from isoloss.load.rows import load_rows


def run(specification: Mapping[str, Any], out: Path, facts: Mapping[str, Any]) -> list[Path]:
    """Cut a dataset into rows with tags and a split, batch by batch.

    Args:
        specification: what matters to the job: `dataset` (card, options, valid_fraction), `seed`,
            and `content`, the digest that the sources must have.
        out: folder for `rows`, `audit` and the examples of all rows in their order.
        facts: kept in both tables.

    Returns:
        The files.

    Raises:
        IsolossError: a source changed while it was read, or there are no rows.
    """
    dataset, seed = specification["dataset"], specification["seed"]
    about = dataset["card"], dataset["options"], dataset["valid_fraction"], seed
    files = [out / "rows.parquet", out / "audit.parquet", out / tokens.NAME]
    with (
        tables.batch_writer("rows", files[0], facts) as write_rows,
        tokens.token_writer(files[2]) as token_file,
    ):

        def write(batch: pa.Table, examples: np.ndarray) -> None:
            write_rows(batch)
            token_file.append(examples)

        audit = load_rows(*about, write, specification["content"])
    tables.write("audit", audit.frame(), files[1], facts)
    return files
