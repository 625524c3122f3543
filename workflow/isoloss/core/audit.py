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
        self.add_codes(TagCodes.of(tags), n_tokens, copies)

    def add_codes(
        self,
        tags: TagCodes,
        n_tokens: np.ndarray,
        copies: np.ndarray,
        counted: np.ndarray | None = None,
    ) -> None:
        """Count a batch of rows.

        Args:
            tags: of every row.
            n_tokens: of every row, int (n,).
            copies: how often every row goes out, int (n,).
            counted: which rows count, bool (n,), by default all; of the others only the values of
                the tags are known.
        """
        once = np.ones(len(copies)) if counted is None else counted.astype(float)
        before, after = once * n_tokens, once * copies
        present = np.flatnonzero(tags.sums(np.ones(len(copies))))
        amounts = (once, after, before, after * n_tokens)
        counts = [np.minimum(tags.sums(one)[present], _MOST).astype(np.int64) for one in amounts]
        names = [column.take(pa.array(present)) for column in (tags.keys, tags.values)]
        arrays = [*names, *map(pa.array, counts)]
        self._parts.append(pa.table(arrays, names=[*_KEYS, *_COUNTS]))
        self._waiting += len(present)
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


def _summed(table: pa.Table) -> pa.Table:
    sums = table.group_by(_KEYS).aggregate([(name, "sum") for name in _COUNTS])
    return sums.select([*_KEYS, *(f"{name}_sum" for name in _COUNTS)]).rename_columns(
        [*_KEYS, *_COUNTS]
    )
