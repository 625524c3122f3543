"""Counts of rows and tokens by tag, before and after a stage; load and expand write them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core.tag_codes import TagCodes

_COUNTS = ("rows_before", "rows_after", "tokens_before", "tokens_after")
_KEYS = ["tag_key", "tag_value"]
_MOST = float(1 << 62)  # that a count shows
_WAITING = 1 << 14  # tags whose sums of batches are not yet added up


class TagAudit:
    """Rows and tokens by tag, before and after each row was repeated, summed over batches.

    >>> audit = TagAudit()
    >>> tags = pa.array([[("kind", "code")], []], pa.map_(pa.string(), pa.string()))
    >>> audit.add(tags, np.array([5, 7]), np.array([3, 1]))
    >>> audit.frame().iloc[0].tolist()
    ['kind', 'code', 1, 3, 5, 15]
    """

    def __init__(self) -> None:
        columns = {key: pa.array([], pa.string()) for key in _KEYS}
        counts = {name: pa.array([], pa.int64()) for name in _COUNTS}
        self._parts = [pa.table(columns | counts)]
        self._waiting = 0

    def add(self, tags: pa.MapArray, n_tokens: np.ndarray, copies: np.ndarray) -> None:
        """Count a batch of rows.

        Args:
            tags: of every row, maps of strings (n,).
            n_tokens: of every row, int (n,).
            copies: how often every row goes out, 0 if dropped, int (n,).
        """
        every = np.ones(len(copies), dtype=bool)
        self.add_counts(tag_counts(TagCodes.of(tags), n_tokens, copies, every))

    def add_counts(self, counts: pa.Table) -> None:
        """Add the counts of a batch of rows, as `tag_counts` makes them."""
        self._parts.append(counts)
        self._waiting += len(counts)
        if self._waiting > _WAITING:
            self._sums()

    def _sums(self) -> pa.Table:
        """The sums over all batches."""
        if len(self._parts) > 1:
            self._parts = [_summed(pa.concat_tables(self._parts))]
            self._waiting = 0
        return self._parts[0]

    def values(self, key: str) -> set[str]:
        """The values of a tag, also those of rows that do not count."""
        of_key = self._sums().filter(pc.equal(self._sums()["tag_key"], key))
        return set(of_key["tag_value"].to_pylist())

    def frame(self) -> pd.DataFrame:
        """The `audit` table, sorted by key and value."""
        counted = self._sums().filter(pc.greater(self._sums()["rows_before"], 0))
        return counted.sort_by([(key, "ascending") for key in _KEYS]).to_pandas()


def tag_counts(
    tags: TagCodes, n_tokens: np.ndarray, copies: np.ndarray, counted: np.ndarray
) -> pa.Table:
    """The counts of a batch of rows by tag, for `TagAudit.add_counts`.

    Args:
        tags: of every row.
        n_tokens: of every row, int64 (n,).
        copies: how often every row goes out, int64 (n,).
        counted: which rows count, bool (n,); of the others only the values of the tags are known.
    """
    sums = tags.sums(n_tokens, copies, counted)
    present = np.flatnonzero(sums[:, 0])
    names = [column.take(pa.array(present)) for column in (tags.keys, tags.values)]
    counts = np.minimum(sums[present, 1:], _MOST).astype(np.int64)
    return pa.table([*names, *map(pa.array, counts.T)], names=[*_KEYS, *_COUNTS])


def _summed(table: pa.Table) -> pa.Table:
    sums = table.group_by(_KEYS).aggregate([(name, "sum") for name in _COUNTS])
    return sums.select([*_KEYS, *(f"{name}_sum" for name in _COUNTS)]).rename_columns(
        [*_KEYS, *_COUNTS]
    )
