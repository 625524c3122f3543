"""Rows of the validation side: their part of a digest, and losses summed by their tags."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
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
    tags = held_out["tags"].combine_chunks().take(pa.array(measured))
    row = np.repeat(np.arange(len(positions)), np.diff(tags.offsets.to_numpy()))
    keys, values = tags.keys.dictionary_encode(), tags.items.dictionary_encode()
    pairs = np.stack([keys.indices.to_numpy(), values.indices.to_numpy()])
    pairs, part = np.unique(pairs, axis=1, return_inverse=True)
    totals = np.bincount(part, counts[row])
    of_rows = {"loss_nats": nats} | ({} if errors is None else {"error_rate": errors})
    means = {name: np.bincount(part, each[row]) / totals for name, each in of_rows.items()}
    rows = [
        {
            "split": "valid",
            "tag_key": keys.dictionary[key].as_py(),
            "domain": values.dictionary[value].as_py(),
            **{name: float(mean[i]) for name, mean in means.items()},
            "n_tokens": int(totals[i]),
        }
        for i, (key, value) in enumerate(pairs.T.tolist())
    ]
    return sorted(rows, key=lambda row: (row["tag_key"], row["domain"]))
