"""Rows to arrays of tokens: the stream of a split, its windows, and their order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Stream:
    """Tokens of a split, one row after the other.

    Attributes:
        tokens: uint8 (n,).
        row: position in the rows table that each token came from, int32 (n,).
        origin: position of each token in the dataset, the same for copies of a row, int64 (n,).
    """

    tokens: np.ndarray
    row: np.ndarray
    origin: np.ndarray

    def digest(self) -> str:
        """Hash of the content, copies included."""
        return blake2b(self.tokens.tobytes(), digest_size=16).hexdigest()

    def windows(self, context: int) -> int:
        """How many windows of `context` inputs, each with its next token, fit."""
        return max(0, (len(self.tokens) - 1) // context)


def stream(rows: pd.DataFrame, positions: np.ndarray, copies: np.ndarray) -> Stream:
    """Lay rows out one after the other, copies adjacent.

    Args:
        rows: the rows table.
        positions: which rows, by position, in order.
        copies: how often each.
    """
    lengths = rows["n_tokens"].to_numpy()
    starts = np.concatenate([[0], np.cumsum(lengths)])
    everything = np.frombuffer(b"".join(rows["text"]), dtype=np.uint8)
    order = np.repeat(positions, copies)
    ends = np.cumsum(lengths[order])
    total = int(ends[-1]) if len(ends) else 0
    within = np.arange(total) - np.repeat(ends - lengths[order], lengths[order])
    origin = np.repeat(starts[order], lengths[order]) + within
    row = np.repeat(order, lengths[order]).astype(np.int32)
    return Stream(tokens=everything[origin], row=row, origin=origin)


def validation_digest(rows: pd.DataFrame, valid: Stream) -> str:
    """Digest of the validation tokens, and of the rows and tags by which losses are summed.

    Args:
        rows: the rows table.
        valid: the tokens of its validation side.
    """
    rows = rows[rows["split"] == "valid"]
    tags = [sorted(dict(pairs).items()) for pairs in rows["tags"]]
    about = {"tokens": valid.digest(), "tags": tags, "n": list(rows["n_tokens"])}
    return blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16).hexdigest()


def training_batches(
    data: Stream, context: int, batch_size: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Endless batches of window numbers, shuffled anew every epoch.

    Windows do not overlap and may span rows. An epoch that does not divide into batches goes on
    in the next one.

    Yields:
        int64 (batch_size,); window w covers the tokens from w * context on.

    Raises:
        ValueError: the tokens do not fill a window.
    """
    if data.windows(context) == 0:
        raise ValueError(f"{len(data.tokens)} training tokens do not fill a window of {context}")
    left = np.empty(0, dtype=np.int64)
    while True:
        while len(left) < batch_size:
            left = np.concatenate([left, rng.permutation(data.windows(context))])
        yield left[:batch_size]
        left = left[batch_size:]


def take(data: Stream, windows: np.ndarray, context: int) -> np.ndarray:
    """The tokens of some windows with the one behind each, uint8 (len(windows), context + 1)."""
    return data.tokens[windows[:, None] * context + np.arange(context + 1)]
