"""Text with a line a run: fields separated by commas, semicolons, tabs, | or spaces."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from isoloss.core.sources import Source
from isoloss.formats import grid
from isoloss.formats.commas import with_points
from isoloss.formats.numbers import is_number
from isoloss.formats.table import Parsed
from isoloss.formats.unpack import CELL, MAX_COLUMNS

TYPED = False
_LINE = 2**20  # characters of a line, at most
_SAMPLE = 2**16  # characters by which the separator is chosen
_SEPARATORS = {",": "commas", ";": ";", "\t": "tabs", "|": "|", " ": "spaces"}
_COMMENTS = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*")
_DECLARED = re.compile(r"sep=([,;|\t])[ \t]*\n")  # the first line of some spreadsheets


@dataclass(frozen=True)
class _Layout:
    """How fields are separated.

    Attributes:
        separator: one of the characters above.
        spaced: whether a space follows every separator.
    """

    separator: str
    spaced: bool = False

    def fields(
        self, lines: Iterator[str], above: int = 0, strict: bool = True
    ) -> Iterator[grid.Line]:
        """The number and the fields of each line below `above`; one in quotes may go over several.

        Raises:
            csv.Error: quotation marks that do not end; its second argument is the line.
        """
        if self.separator == " ":
            lines = (line.strip().replace("\t", " ") + "\n" for line in lines)
        reader = csv.reader(
            lines,
            delimiter=self.separator,
            skipinitialspace=self.spaced or self.separator == " ",
            strict=strict,
        )
        number = above + 1
        try:
            for fields in reader:
                yield number, fields
                number = above + reader.line_num + 1
        except csv.Error as error:
            raise csv.Error(error, number) from error


def matches(text: str) -> bool:
    """Whether a text may be such a table: any text may."""
    return True


def read(file: Source, text: str) -> Parsed:
    """A table of lines with separated fields, all columns text.

    Raises:
        TableError: a line has other fields than the header, or the table is too large.
    """
    text = _with_line_feeds(text)
    declared = _DECLARED.match(text)
    skipped = declared.end() if declared else 0
    skipped = _COMMENTS.match(text, skipped).end()
    above = text[:skipped].count("\n")
    head = _sample(file, text, skipped, above)
    layout = _Layout(declared[1]) if declared else _layout(head)
    named = _comment_header(layout, text[:skipped], head)
    took = _statements(layout, text[:skipped], named)
    lines = io.StringIO(text[skipped:] if skipped else text, newline="\n")
    _check_lines(file, lines, layout.separator, above)
    lines.seek(0)
    numbered = _numbered(file, layout, lines, above, named)
    parsed = grid.Grid(file, numbered, "line", took, _names_quoted(layout, head)).parsed()
    return with_points(file, parsed, layout.separator)


def _with_line_feeds(text: str) -> str:
    """The text with one character at every end of a line, whatever system it is from."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _sample(file: Source, text: str, start: int, above: int) -> list[str]:
    """The first whole lines below the comments."""
    part = text[start : start + _SAMPLE]
    lines = part.splitlines(keepends=True)
    if start + _SAMPLE < len(text):
        if len(lines) < 2:
            _check_lines(file, io.StringIO(text[start:], newline="\n"), ",", above)
        lines = lines[:-1] or lines
    return lines


# --- the separator -----------------------------------------------------------------------------


def _layout(head: list[str]) -> _Layout:
    """The separator with which the first lines have equal numbers of fields, and most numbers."""
    best, layout = (-1.0, 0.0), _Layout(",")
    for separator in _SEPARATORS:
        rows = _rows(_Layout(separator), head)
        rating = _rating(rows, separator)
        if rating > best:
            best, layout = rating, _Layout(separator)
    names = _rows(layout, head)[:1]
    spaced = bool(names) and len(names[0]) > 1 and all(n.startswith(" ") for n in names[0][1:])
    return replace(layout, spaced=spaced and layout.separator != " ")


def _rows(layout: _Layout, head: list[str]) -> list[list[str]]:
    """The fields of the first lines; of those above an error if there is one."""
    rows: list[list[str]] = []
    try:
        for _, fields in layout.fields(iter(head), strict=False):
            if any(map(str.strip, fields)):
                rows.append(fields)
    except csv.Error:  # the reader of the whole says what and where
        pass
    return rows


def _rating(rows: list[list[str]], separator: str) -> tuple[float, float]:
    """How well a separator divides lines: equal numbers of fields, then numbers a line."""
    counts = [len(fields) for fields in rows]
    if max(counts, default=0) < 2:
        return (-1.0, 0.0)
    header, body = rows[0], rows[1:]
    width = max(set(counts[1:] or counts), key=counts.count)
    if all(count == counts[0] for count in counts):
        equal = 2.5 if separator == " " else 3.0  # names and numbers may have spaces in them
    elif len(header) > 1 and all(count == len(header) + 1 for count in counts[1:]):
        equal = 2.0
    else:
        equal = counts.count(width) / len(counts) * (0.5 if separator == " " else 1.0)
    comma = separator != ","
    numbers = sum(
        is_number(cell) or (comma and is_number(cell.replace(",", ".")))
        for fields in body
        for cell in fields
    )
    return (equal, numbers / max(1, len(body)))


def _comment_header(layout: _Layout, comments: str, head: list[str]) -> list[str]:
    """The names of columns in the last comment, if the first line below has numbers."""
    lines = [line for line in comments.splitlines() if line.strip().startswith("#")]
    first = next(iter(_rows(layout, head)), [])
    if not lines or not any(map(is_number, first)):
        return []
    text = lines[-1].strip()[1:]
    (names,) = _rows(layout, [text]) or [[]]
    fit = len(names) == len(first) and not any(map(is_number, names))
    return names if fit else []


def _names_quoted(layout: _Layout, head: list[str]) -> bool:
    """Whether lines begin with a field in quotes, which other fields are without, as R writes."""
    below = [line.strip() for line in head if line.strip()][1:]
    return bool(below) and all(
        line.startswith('"') and any(part[:1] != '"' for part in line.split(layout.separator))
        for line in below
    )


def _statements(layout: _Layout, comments: str, named: list[str]) -> list[str]:
    """What was decided about lines and fields."""
    took = []
    if layout.separator != ",":
        took.append(f"fields separated by {_SEPARATORS[layout.separator]}")
    if named:
        took.append("names of columns in a comment")
    count = sum(line.strip().startswith("#") for line in comments.splitlines()) - bool(named)
    if count:
        took.append("1 comment line" if count == 1 else f"{count} comment lines")
    return took


# --- lines -------------------------------------------------------------------------------------


def _numbered(
    file: Source, layout: _Layout, lines: Iterator[str], above: int, named: list[str]
) -> Iterator[grid.Line]:
    """All lines with their numbers in the file."""
    if named:
        yield above, named
    try:
        yield from layout.fields(lines, above)
    except csv.Error as error:
        reason, number = error.args
        reason = f"line {number} cannot be divided into fields ({reason})"
        remedy = 'check its quotation marks: " inside a field in quotes is written twice'
        raise file.error(reason, remedy) from error


def _check_lines(file: Source, lines: Iterator[str], separator: str, above: int) -> None:
    """Raise an error for more lines or columns than can be read in reasonable time and space."""
    number = most = 0
    for number, line in enumerate(lines, above + 1):
        if len(line) > _LINE:
            reason = f"line {number} is longer than {_LINE // 2**20} MiB"
            raise file.error(reason, "give a table with one line for each run")
        columns = line.count(separator) + 1
        if columns <= most:
            continue
        most = columns
        if most > MAX_COLUMNS:
            reason = f"line {number} has more than {MAX_COLUMNS} columns"
            raise file.error(reason, "remove the columns that are not needed")
    if number * most * CELL > file.limits.max_bytes:
        raise file.too_large(f"its {number} lines take more memory")
