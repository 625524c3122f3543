"""A table of Markdown, or one drawn with lines, somewhere in a text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from isoloss.core.sources import Source
from isoloss.formats.grid import Grid, Line
from isoloss.formats.table import Parsed

TYPED = False
_RULE = re.compile(
    r"[ \t]*[|+]?[ \t]*:?[-=]{2,}:?[ \t]*(?:[|+][ \t]*:?[-=]{2,}:?[ \t]*)*[|+]?[ \t]*"
)
_CELLS = re.compile(r"(?<!\\)\|")
_MARKS = 3  # marks around each other, such as bold code in italics
_MARKED = re.compile(r"(\*\*|__|\*|`)(.+)\1")


def matches(text: str) -> bool:
    """Whether a line with | stands above a rule such as `|---|---|`."""
    return _first(text.splitlines()) is not None


def _first(lines: list[str]) -> int | None:
    """The line of the first header, from 0."""
    for i in range(1, len(lines)):
        if "|" in lines[i - 1] and _is_rule(lines[i]) and not _is_rule(lines[i - 1]):
            return i - 1
    return None


def _is_rule(line: str) -> bool:
    return ("|" in line or "+" in line) and _RULE.fullmatch(line) is not None


def read(file: Source, text: str) -> Parsed:
    """The first table of Markdown in a text, all columns text.

    Raises:
        TableError: a row has more or fewer cells than the header.
    """
    lines = text.splitlines()
    grid = Grid(file, _rows(lines, _first(lines)), took=["a Markdown table"])
    return grid.parsed()


def _rows(lines: list[str], first: int) -> Iterator[Line]:
    """Cells of the header and of the rows below it."""
    for number, line in enumerate(lines[first:], first + 1):
        if _is_rule(line):
            continue
        if "|" not in line:
            return
        yield number, [_cell(cell) for cell in _CELLS.split(_bare(line))]


def _bare(line: str) -> str:
    """A row without the | at its ends."""
    line = line.strip().removeprefix("|")
    return line[:-1] if line.endswith("|") and not line.endswith(r"\|") else line


def _cell(cell: str) -> str:
    """The text of a cell without bold, italics, code and escapes."""
    cell = cell.strip()
    for _ in range(_MARKS):
        match = _MARKED.fullmatch(cell)
        cell = match[2].strip() if match else cell
    return re.sub(r"\\([\\|*_`$%#])", r"\1", cell)
