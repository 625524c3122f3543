"""Lines of fields to columns of text: every field under the name that stands above it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core.problems import TableError
from isoloss.core.sources import Source
from isoloss.formats.numbers import is_number
from isoloss.formats.table import Parsed
from isoloss.formats.unpack import MAX_COLUMNS

ROW = "row"  # the column of row names
_BATCH = 4096  # lines that are lists of Python at once
_TITLES = 10  # lines above the header, at most
_BLANK = " \t\u00a0"  # around a name
_GROUP = re.compile(r"\d{3}")

# parts of names that columns of texts have
_LABEL = re.compile(
    r"name|model|label|arch|optim|method|group|family|variant|config|exp|data|(?:^|_)(?:run|id|kind)",
    re.I,
)
_COUNTER = re.compile(r"(?:^|_)(?:id|idx|index|run|row|no|num|number|seed|step|trial)$|#", re.I)

Line = tuple[int, list[str]]


@dataclass
class Grid:
    """Lines of fields on their way to a table.

    Attributes:
        file: for errors.
        lines: number and fields of each, the header first; lines without any text are skipped.
        line: what a line is called.
        took: statements about how the table is read; those made here are added.
        names_quoted: whether the first field of every line is in quotes, and not all others are.
    """

    file: Source
    lines: Iterable[Line]
    line: str = "line"
    took: list[str] = field(default_factory=list)
    names_quoted: bool = False

    def parsed(self) -> Parsed:
        """The table, all columns text.

        Raises:
            TableError: the header has no names, or a line has more or fewer fields than it.
        """
        header, number, lines = self._header(self._with_text())
        columns, first = self._columns(header, number, lines)
        names, columns = self._without_extra(header, columns, first)
        names, columns = self._with_names(names, columns)
        return Parsed(frame(names, columns), tuple(self.took))

    def _with_text(self) -> Iterator[Line]:
        """The lines that have a field with text."""
        for number, fields in self.lines:
            if fields and (fields[0].strip() or any(map(str.strip, fields))):
                yield number, fields

    def _header(self, lines: Iterator[Line]) -> tuple[list[str], int, Iterator[Line]]:
        """The names of the columns, the number of their line, and the lines below."""
        above = 0
        number, fields = next(lines, (0, []))
        if not number:
            raise self.file.error("has no rows", "give a table with at least one run")
        names = [name.strip(_BLANK) for name in fields]
        for _ in range(_TITLES):
            below = next(lines, None)
            if below is None:
                break
            if not _is_title(names, below[1]):
                lines = chain([below], lines)
                break
            above += 1
            number, names = below[0], [name.strip(_BLANK) for name in below[1]]
        if above:
            count = f"1 {self.line}" if above == 1 else f"{above} {self.line}s"
            self.took.append(f"{count} above the header skipped")
        filled = [name for name in names if name]
        if filled and all(map(is_number, filled)):
            reason = f"{self.line} {number} has numbers ({', '.join(filled[:3])}, ...), not names"
            raise self.file.error(reason, "add a line with the names of the columns")
        return names, number, lines

    def _columns(
        self, header: list[str], number: int, lines: Iterator[Line]
    ) -> tuple[list[pa.ChunkedArray], int]:
        """The fields column by column, of as many columns as the first line has, and its number."""
        chunks: list[list[pa.Array]] = []
        batch: list[list[str]] = []
        width = first = 0
        for number, fields in lines:
            if not width:
                first, width = number, self._width(header, number, fields)
                chunks = [[] for _ in range(width)]
            if len(fields) != width:
                fields = self._fitted(header, width, first, (number, fields))
            batch.append(fields)
            if len(batch) == _BATCH:
                _append(chunks, batch)
                batch = []
        if not width:
            return [pa.chunked_array([], pa.string()) for _ in header], number
        _append(chunks, batch)
        return [pa.chunked_array(chunk, pa.string()) for chunk in chunks], first

    def _width(self, header: list[str], number: int, fields: list[str]) -> int:
        """How many fields lines have, by the first one."""
        count = len(fields)
        while len(header) > count and not header[-1]:
            header.pop()
        if count > MAX_COLUMNS:
            reason = f"{self.line} {number} has more than {MAX_COLUMNS} columns"
            raise self.file.error(reason, "remove the columns that are not needed")
        if count < len(header) or (count > len(header) + 1 and any(fields[len(header) :])):
            raise self._uneven(header, number, fields)
        return count

    def _fitted(self, header: list[str], width: int, first: int, line: Line) -> list[str]:
        """The fields of a line without empty ones behind the last column."""
        number, fields = line
        if width == len(header) and len(fields) > width and not any(fields[width:]):
            return fields[:width]
        if width != len(header):
            reason = f"{self.line} {first} has {width} fields, {self.line} {number} "
            reason += f"{len(fields)}, the header {len(header)}"
            raise self.file.error(reason, _remedy(header, fields))
        raise self._uneven(header, number, fields)

    def _uneven(self, header: Sequence[str], number: int, fields: Sequence[str]) -> TableError:
        """The error of a line with more or fewer fields than the header."""
        counts = f"{_fields(len(fields))}, the header {len(header)}"
        return self.file.error(f"{self.line} {number} has {counts}", _remedy(header, fields))

    def _without_extra(
        self, header: list[str], columns: list[pa.ChunkedArray], first: int
    ) -> tuple[list[str], list[pa.ChunkedArray]]:
        """Names and columns of equal number: one more field a line is a row name, or nothing."""
        width = len(header)
        if len(columns) == width:
            return header, columns
        if all(pc.all(pc.equal(column, "")).as_py() for column in columns[width:]):
            self.took.append("an empty last field of every line left out")
            return header, columns[:width]
        row_names = len(columns) == width + 1 and _are_row_names(columns[0], self.names_quoted)
        if row_names and not _may_be_moved(header, columns, self.names_quoted):
            return ["", *header], columns
        fields = [column[0].as_py() for column in columns]
        counts = f"every {self.line} has {_fields(len(columns))} (such as {self.line} {first}), "
        reason = f"{counts}the header {width}"
        remedy = _remedy(header, fields)
        if "thousands" not in remedy:
            remedy += (
                ", or a name to the first field; row names would be unique texts, or 1, 2, 3, ..."
            )
        raise self.file.error(reason, remedy)

    def _with_names(
        self, names: list[str], columns: list[pa.ChunkedArray]
    ) -> tuple[list[str], list[pa.ChunkedArray]]:
        """The same with a name for every column: row names are kept unless they are numbers."""
        named: list[tuple[str, pa.ChunkedArray]] = []
        for i, (name, column) in enumerate(zip(names, columns, strict=True)):
            if name:
                named.append((name, column))
            elif i == 0 and _are_row_names(column, numbers=True):
                numbers = is_number(column[0].as_py())
                self.took.append("first field is row names" + (", left out" if numbers else ""))
                if not numbers:
                    named.append((ROW if ROW not in names else f"{ROW} name", column))
            elif len(column) and pc.all(pc.equal(column, "")).as_py():
                self.took.append(f"column {i + 1}, without name and values, left out")
            else:
                self.took.append(f"column {i + 1} has no name")
                named.append((f"column {i + 1}", column))
        return [name for name, _ in named], [column for _, column in named]


def _is_title(names: Sequence[str], below: Sequence[str]) -> bool:
    """Whether a line is a title: one text, above a line of several which are names."""
    several = sum(bool(name.strip()) for name in below) > 1
    return several and sum(map(bool, names)) == 1 and not any(map(is_number, below))


def _append(chunks: list[list[pa.Array]], batch: list[list[str]]) -> None:
    """Add a batch of lines to the columns."""
    if batch:
        for chunk, cells in zip(chunks, zip(*batch, strict=True), strict=True):
            chunk.append(pa.array(cells, pa.string()))


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _remedy(header: Sequence[str], fields: Sequence[str]) -> str:
    """What to do about a line whose number of fields is not the header's."""
    groups = sum(bool(_GROUP.fullmatch(part.strip())) for part in fields)
    if len(fields) > len(header) and groups >= len(fields) - len(header):
        return (
            "numbers seem to have separators of thousands: write them without, or in quotes, or "
            "separate fields by ;"
        )
    return "give every line one field for each name in the header"


def _are_counted(column: pa.ChunkedArray) -> bool:
    """Whether a column is 0, 1, 2, ... or 1, 2, 3, ..."""
    first = column[0].as_py().strip() if len(column) else ""
    if first not in ("0", "1"):
        return False
    return column.to_pylist() == [str(i + int(first)) for i in range(len(column))]


def _are_row_names(column: pa.ChunkedArray, numbers: bool) -> bool:
    """Whether a column without a name counts the rows, or names each by a text of its own.

    Args:
        column: the first fields.
        numbers: whether the texts may all be whole numbers.
    """
    if not len(column) or len(pc.unique(column)) < len(column):
        return False
    texts = column.to_pylist()
    if numbers and all(map(str.isdecimal, texts)):
        return True
    return _are_counted(column) or not any(is_number(t) or not t.strip() for t in texts)


def _may_be_moved(header: Sequence[str], columns: Sequence[pa.ChunkedArray], quoted: bool) -> bool:
    """Whether the last field of lines, and not the first, may be the one without a name.

    The first name is then one of such fields (`id` of numbers, `model` of texts), or the last field
    is a text behind numbers. Numbers in quotes before numbers without are row names, as R writes.
    """
    if not _are_texts(columns[0]):
        return not quoted and _COUNTER.search(header[0]) is not None
    return _are_texts(columns[-1]) or bool(_LABEL.search(header[0]) and not _are_texts(columns[1]))


def _are_texts(column: pa.ChunkedArray) -> bool:
    """Whether a column has a text that is not a number."""
    return not all(is_number(text) or not text.strip() for text in column.to_pylist())


def frame(names: Sequence[str], columns: Sequence[pa.ChunkedArray]) -> pd.DataFrame:
    """A table of columns, two of which may have one name."""
    table = pa.table(list(columns), [str(i) for i in range(len(columns))]).to_pandas()
    return table.set_axis(list(names), axis=1)
