"""Counts of rows and tokens by tag, before and after a stage; load and expand write them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_COUNTS = ("rows_before", "rows_after", "tokens_before", "tokens_after")
_KEYS = ["tag_key", "tag_value"]


def flat_tags(tags: pa.MapArray) -> tuple[pa.Array, pa.Array, np.ndarray]:
    """The tags of all rows in one array.

    Args:
        tags: (n,) maps of strings.

    Returns:
        keys (t,), values (t,), and how many tags every row has, int (n,).
    """
    offsets = tags.offsets.to_numpy()
    begin, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    return tags.keys.slice(begin, count), tags.items.slice(begin, count), np.diff(offsets)


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
        self._sums = pa.table(columns | {name: pa.array([], pa.int64()) for name in _COUNTS})

    def add(self, tags: pa.MapArray, n_tokens: np.ndarray, copies: np.ndarray) -> None:
        """Count a batch of rows.

        Args:
            tags: of every row, maps of strings (n,).
            n_tokens: of every row, int (n,).
            copies: how often every row goes out, 0 if dropped, int (n,).
        """
        keys, values, lengths = flat_tags(tags)
        tokens, times = np.repeat(n_tokens, lengths), np.repeat(copies, lengths)
        counts = [np.ones_like(tokens), times, tokens, tokens * times]
        columns = [keys, values, *(pa.array(count, pa.int64()) for count in counts)]
        batch = pa.table(columns, names=self._sums.column_names)
        self._sums = _summed(pa.concat_tables([self._sums, _summed(batch)]))

    def values(self, key: str) -> set[str]:
        """The values of a tag that were counted."""
        of_key = self._sums.filter(pc.equal(self._sums["tag_key"], key))
        return set(of_key["tag_value"].to_pylist())

    def frame(self) -> pd.DataFrame:
        """The `audit` table, sorted by key and value."""
        return self._sums.sort_by([(key, "ascending") for key in _KEYS]).to_pandas()


def _summed(table: pa.Table) -> pa.Table:
    sums = table.group_by(_KEYS).aggregate([(name, "sum") for name in _COUNTS])
    return sums.select([*_KEYS, *(f"{name}_sum" for name in _COUNTS)]).rename_columns(
        [*_KEYS, *_COUNTS]
    )
