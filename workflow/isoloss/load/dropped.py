"""Rows of a dataset that are left out: the table `dropped`, and what is told of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core import tables
from isoloss.core.escape import short
from isoloss.core.problems import IsolossError, Problem

LISTED = 20  # bad rows that an error lists
OTHER_SIDE = "repeats a row of the other side"
_REASON = 200  # characters of a reason that are shown
COLUMNS = ("number", "file", "line", "row_id")


class Dropped:
    """Where rows go that are left out: written as they come, and counted by reason.

    Attributes:
        bad: how many rows have a fault, by reason; what is in brackets behind it is left out.
        repeats: how many sound rows repeat the content of a row of the other side.

    Args:
        write: called with every batch of the `dropped` table (tables.yaml).
    """

    def __init__(self, write: Callable[[pa.Table], None]):
        self._write = write
        self._first: list[dict] = []
        self.bad: Counter[str] = Counter()
        self.repeats = 0

    def add(self, rows: pa.Table, reasons: pa.Array | pa.ChunkedArray | str) -> None:
        """Leave rows out that have a fault.

        Args:
            rows: with COLUMNS.
            reasons: what is wrong with each, or with all; details stand in brackets at its end.
        """
        if not len(rows):
            return
        if isinstance(reasons, str):
            reasons = pa.repeat(reasons, len(rows))
        for kind in pc.value_counts(kinds(reasons)).to_pylist():
            self.bad[kind["values"]] += kind["counts"]
        table = rows.select(COLUMNS).append_column("reason", reasons)
        first = table.take(pc.select_k_unstable(table, LISTED, [("number", "ascending")]))
        listed = [*self._first, *first.to_pylist()]
        self._first = sorted(listed, key=lambda row: row["number"])[:LISTED]
        self._write(table)

    def add_repeats(self, rows: pa.Table) -> None:
        """Leave rows out whose content is that of a row of the other side.

        Args:
            rows: with COLUMNS.
        """
        self.repeats += len(rows)
        if len(rows):
            reasons = pa.repeat(OTHER_SIDE, len(rows))
            self._write(rows.select(COLUMNS).append_column("reason", reasons))

    def error(self, place: str) -> IsolossError:
        """The error of a dataset that has bad rows: how many, why, and the first of them."""
        remedy = "fix these rows, or set `on_bad_row: drop` to leave them out"
        problems = [Problem(_place(row), short(row["reason"], _REASON), "") for row in self._first]
        reason = f"{_rows(self.bad.total())} cannot be used: {counts(self.bad)}"
        return IsolossError(Problem(place, reason, remedy), *problems)


def kinds(reasons: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Reasons without their details, which stand in brackets at the end.

    >>> kinds(pa.array(["empty text", "not UTF-8 (byte 17)"])).to_pylist()
    ['empty text', 'not UTF-8']
    """
    return pc.replace_substring_regex(reasons, r" \((?s:.)*$", "")


def told(of: Mapping[str, int], place: str) -> str:
    """A line on the rows of a dataset that are left out, by reason; empty if there are none."""
    total = sum(of.values())
    are = "is" if total == 1 else "are"
    return f"{place}: {_rows(total)} {are} left out: {counts(of)}" if total else ""


def read(file: Path) -> Counter[str]:
    """How many rows a `dropped` table has for each reason."""
    of: Counter[str] = Counter()
    for batch in tables.batches(file, "dropped", ["reason"]):
        for kind in pc.value_counts(kinds(batch["reason"])).to_pylist():
            of[kind["values"]] += kind["counts"]
    return of


def counts(of: Mapping[str, int]) -> str:
    """How often each reason is given, as text, the most frequent first.

    >>> counts({"no id": 2, "empty text": 3})
    'empty text (3), no id (2)'
    """
    ordered = sorted(of.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{short(reason, _REASON)} ({n})" for reason, n in ordered[:LISTED])


def _rows(n: int) -> str:
    return "1 row" if n == 1 else f"{n} rows"


def _place(row: Mapping) -> str:
    """Where a row is: its file and line, or its number, and its id."""
    if row["file"] is None:
        place = f"row {row['number']}"
    else:
        place = row["file"] if row["line"] is None else f"{row['file']}:{row['line']}"
    return place if row["row_id"] is None else f"{place} (id {row['row_id']!r})"
