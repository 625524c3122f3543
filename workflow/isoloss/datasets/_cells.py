"""Read the cells of CSV files, row by row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TextIO

from isoloss.datasets._columns import Columns, in_order
from isoloss.datasets._files import LONGEST, File, is_json

if TYPE_CHECKING:
    import pyarrow as pa

_CHARACTERS = 1 << 23  # of the cells of a batch
_ROWS = 8192  # of a batch
_SEPARATORS = "\t;|,"
_NAME = 64  # characters that a name of a column may have where none is known


def rows(file: File, columns: Columns, separator: str, header: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of a file, in tables (`Columns.pieces`).

    Args:
        file: the file.
        columns: what is read.
        separator: of cells.
        header: names of the columns; empty where they are in the first line.

    Raises:
        IsolossError: it cannot be read, is damaged, lacks a column, or a quote is never closed.
    """
    with file.opened() as stream:
        text = io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="")
        reader = _Reader(file, text, separator)
        names = list(header) or reader.header()
        if not header:
            _check_header(file, columns, names, separator)
        _check(file, columns, names)
        while batch := reader.batch(len(names)):
            yield _pieces(batch, file.label, columns, names)


class _Reader:
    """Reads the lines of a file as rows of cells.

    Args:
        file: named in errors.
        text: its content, with line ends as they are.
        separator: of cells.
    """

    def __init__(self, file: File, text: TextIO, separator: str):
        self._file, self._ended = file, False
        self._reader = csv.reader(self._lines(text), delimiter=separator, strict=True)

    def _lines(self, text: TextIO) -> Iterator[str]:
        for number, line in enumerate(iter(partial(text.readline, LONGEST), ""), 1):
            if len(line) == LONGEST:
                raise self._file.endless(number)
            yield line
        self._ended = True

    def header(self) -> list[str]:
        """The cells of the first line.

        Raises:
            IsolossError: there is none, or it cannot be read.
        """
        (_, names, reason), *_ = [*self.batch(0, 1), (1, [], "it is empty")]
        if reason and not names:
            raise self._file.error(f"has no header line ({reason})", "name the columns by `header`")
        return names

    def batch(self, width: int, most: int = _ROWS) -> list[tuple[int, list[str], str]]:
        """The next rows: first line, cells, and what is wrong with it or nothing; none at the end.

        Args:
            width: how many cells a row must have.
            most: rows.

        Raises:
            IsolossError: a quote is never closed.
        """
        batch: list[tuple[int, list[str], str]] = []
        size = 0
        with _long_cells():
            while len(batch) < most and size < _CHARACTERS:
                line, reason, cells = self._reader.line_num + 1, "", []
                try:
                    cells = next(self._reader)
                except StopIteration:
                    break
                except csv.Error as error:
                    reason = f"not CSV ({error})"
                    if self._ended:
                        where = f"the quote of a cell that begins in line {line} is never closed"
                        raise self._file.error(where, "close it, or write it twice") from error
                if cells and len(cells) != width:
                    reason = f"not as many cells as the header has ({len(cells)}, not {width})"
                if cells or reason:
                    batch.append((line, cells, reason))
                size += sum(map(len, cells))
        return batch


@contextmanager
def _long_cells() -> Iterator[None]:
    """Inside it long cells can be read; Python's limit is of the whole process."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _check_header(file: File, columns: Columns, names: Sequence[str], separator: str) -> None:
    """Raise an error if the first line does not look like names of columns; it is not shown."""
    if any("\udc80" <= sign <= "\udcff" for name in names for sign in name):
        reason = "its first line, the names of the columns, is not UTF-8"
        raise file.error(reason, "save the file as UTF-8, or name the columns by `header`")
    if is_json(names[0].encode("utf-8", "surrogateescape")):
        raise file.error("looks like JSON, and not like CSV", "load it by the card jsonl")
    if set(columns.names) & set(names):
        return
    other = next((sign for sign in _SEPARATORS if any(sign in name for name in names)), "")
    if other and len(names) == 1:
        reason = f"its first line has no {separator!r}, but {other!r}"
        raise file.error(reason, f"set separator: {json.dumps(other)}")
    if max(map(len, names)) > _NAME:
        reason = "its first line has none of the columns, and does not look like their names"
        raise file.error(reason, "name the columns of the files by `header`")


def _check(file: File, columns: Columns, names: Sequence[str]) -> None:
    """Raise an error unless each column that is read is there, once."""
    import pyarrow as pa

    columns.check(pa.schema([(name, pa.string()) for name in names]), file.label)


def _pieces(
    batch: Sequence[tuple[int, list[str], str]], file: str, columns: Columns, names: Sequence[str]
) -> pa.Table:
    """Rows of cells as `Columns.pieces` gives them."""
    import pyarrow as pa

    whole = [(line, cells) for line, cells, reason in batch if not reason]
    arrays = {}
    for name in columns.names:
        at = names.index(name)
        texts = [cells[at].encode("utf-8", "surrogateescape") or None for _, cells in whole]
        arrays[name] = pa.array(texts, pa.binary())
    usable = columns.pieces(pa.table(arrays), file, [line for line, _ in whole])
    reasons = {line: reason for line, _, reason in batch if reason}
    return in_order([usable, columns.unusable(file, reasons)]) if reasons else usable
