"""Rows of the validation side: their part of a digest, and losses summed by their tags."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa


def add_rows(digest: Any, rows: pa.Table) -> None:
    """Update a digest with the tags and lengths of rows.

    Args:
        digest: of hashlib.
        rows: `n_tokens` and `tags` (maps).
    """
    for batch in rows.to_batches(max_chunksize=4096):
        pairs = zip(batch["tags"].to_pylist(), batch["n_tokens"].to_pylist(), strict=True)
        about = [[sorted(dict(tags).items()), n_tokens] for tags, n_tokens in pairs]
        digest.update(json.dumps(about).encode())


def losses_by_tag(
    held_out: pa.Table,
    positions: np.ndarray,
    nats: np.ndarray,
    counts: np.ndarray,
    errors: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Mean loss of validation rows for every value of every tag, and their error rate if known.

    Args:
        held_out: the rows of the validation side: `row` (position), `tags`.
        positions: rows that were measured, by position, sorted.
        nats: their summed loss.
        counts: their tokens, or other examples.
        errors: how many of these were classified wrong; None where nothing is classified.
    """
    measured = np.searchsorted(held_out["row"].to_numpy(), positions)
    row_tags = held_out["tags"].take(pa.array(measured)).to_pylist()
    of_rows = {"loss_nats": nats} | ({} if errors is None else {"error_rate": errors})
    long = pd.DataFrame(
        [
            (key, value, *sums)
            for tags, *sums in zip(row_tags, counts, *of_rows.values(), strict=True)
            for key, value in tags
        ],
        columns=["tag_key", "domain", "n_tokens", *of_rows],
    )
    sums = long.groupby(["tag_key", "domain"], as_index=False, sort=True).sum()
    return [
        {
            "split": "valid",
            "tag_key": row["tag_key"],
            "domain": row["domain"],
            **{name: row[name] / row["n_tokens"] for name in of_rows},
            "n_tokens": int(row["n_tokens"]),
        }
        for row in sums.to_dict("records")
    ]
