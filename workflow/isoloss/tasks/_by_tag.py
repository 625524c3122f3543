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
    held_out: pa.Table, positions: np.ndarray, nats: np.ndarray, counts: np.ndarray
) -> list[dict[str, Any]]:
    """Sum the loss of validation rows over every value of every tag.

    Args:
        held_out: the rows of the validation side: `row` (position), `tags`.
        positions: rows that were measured, by position, sorted.
        nats: their summed loss.
        counts: their tokens.
    """
    measured = np.searchsorted(held_out["row"].to_numpy(), positions)
    row_tags = held_out["tags"].take(pa.array(measured)).to_pylist()
    long = pd.DataFrame(
        [
            (key, value, nat, count)
            for tags, nat, count in zip(row_tags, nats, counts, strict=True)
            for key, value in tags
        ],
        columns=["tag_key", "domain", "nats", "n_tokens"],
    )
    sums = long.groupby(["tag_key", "domain"], as_index=False, sort=True).sum()
    return [
        {
            "split": "valid",
            "tag_key": s.tag_key,
            "domain": s.domain,
            "loss_nats": s.nats / s.n_tokens,
            "n_tokens": int(s.n_tokens),
        }
        for s in sums.itertuples()
    ]
