"""Which commas and points of numbers are decimal, and which stand between thousands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core.problems import TableError
from isoloss.core.sources import Source
from isoloss.formats import grid
from isoloss.formats.table import Parsed

_POWER = r"(?:[eE][+-]?\d+)?"
_COMMA = rf"[+-]?(?:\d+|\d{{1,3}}(?:\.\d{{3}})+),\d+{_POWER}"  # 3,79 and 1.003,5
_POINT = rf"[+-]?\d*\.\d+{_POWER}"
_COMMA_TWO_WAYS = r"[+-]?[1-9]\d{0,2},\d{3}"  # 3,798 is 3.798, or three thousand and more
_POINT_TWO_WAYS = r"[+-]?[1-9]\d{0,2}\.\d{3}"  # and so is 3.798 in a table with decimal commas
_COMMA_GROUPS = r"[+-]?\d{1,3}(?:,\d{3}){2,}"  # 1,234,567
_POINT_GROUPS = r"[+-]?\d{1,3}(?:(?:\.\d{3}){2,}|(?:\.\d{3})+,\d+)"  # 1.234.567 and 1.234,5


def with_points(file: Source, parsed: Parsed, separator: str) -> Parsed:
    """The table with decimal points for decimal commas, if it has any.

    `3,79772` has a decimal comma. `3,798` may have one: it has where fields are separated by ; or
    other numbers of the table have one, and has none where others have a point. Where nothing
    tells, it is an error. Words beside the numbers, such as `diverged`, stay.

    Args:
        file: for errors.
        parsed: all columns text.
        separator: between the fields.

    Raises:
        TableError: numbers that can be read in two ways.
    """
    table = parsed.rows
    columns = [pa.array(table.iloc[:, i], pa.large_string()) for i in range(table.shape[1])]
    with_commas = [i for i, column in enumerate(columns) if _has_only(column, ",", _COMMA)]
    clear = [i for i in with_commas if not _has_only(columns[i], ",", _COMMA_TWO_WAYS)]
    if not with_commas:
        return parsed
    # 1.000 beside 3,798 in fields separated by ; may be one thousand
    doubtful = [separator == ";" and _has_only(c, ".", _POINT_TWO_WAYS) for c in columns]
    pointed = any(
        _has_only(column, ".", _POINT) and not doubt
        for column, doubt in zip(columns, doubtful, strict=True)
    )
    grouped = any(_any(column, _COMMA_GROUPS) for column in columns)
    if pointed or grouped or (separator == "," and not clear):
        with_commas = clear  # the others have separators of thousands
    elif not clear and separator != ";":
        column = with_commas[0]
        raise _two_ways(file, table.columns[column], columns[column], _COMMA_TWO_WAYS)
    if not with_commas:
        return parsed
    for i, column in enumerate(columns):
        columns[i] = _without_groups(file, table.columns[i], column)
        if i in with_commas:
            columns[i] = _changed(columns[i], _COMMA, lambda c: pc.replace_substring(c, ",", "."))
    rows = grid.frame(list(table.columns), columns)
    return replace(parsed, rows=rows, took=(*parsed.took, "decimal comma"))


def _without_groups(file: Source, name: str, column: pa.Array) -> pa.Array:
    """A column of a table with decimal commas, without points between thousands."""
    groups = _any(column, _POINT_GROUPS)
    if not groups and _has_only(column, ".", _POINT_TWO_WAYS):
        raise _two_ways(file, name, column, _POINT_TWO_WAYS)
    if not groups:
        return column
    pattern = f"{_POINT_GROUPS}|{_POINT_TWO_WAYS}"
    return _changed(column, pattern, lambda c: pc.replace_substring(c, ".", ""))


def _two_ways(file: Source, name: str, column: pa.Array, pattern: str) -> TableError:
    """The error of numbers that can be read in two ways."""
    cell = column.filter(_like(column, pattern))[0].as_py().strip()
    reason = f"column {name!r} has numbers such as {cell}, which can be read as "
    reason += f"{cell.replace(',', '.')} or as {cell.replace(',', '').replace('.', '')}"
    return file.error(reason, "write numbers with a decimal point and without other marks")


def _has_only(column: pa.Array, sign: str, pattern: str) -> bool:
    """Whether a column has texts with a sign, all of which have the pattern."""
    texts = column.filter(pc.match_substring(column, sign))
    return len(texts) > 0 and pc.all(_like(texts, pattern)).as_py()


def _any(column: pa.Array, pattern: str) -> bool:
    """Whether a text has the pattern."""
    return bool(pc.any(_like(column, pattern)).as_py())


def _changed(column: pa.Array, pattern: str, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """A column with a change of the texts that have the pattern."""
    return pc.if_else(_like(column, pattern), change(column), column)


def _like(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.match_substring_regex(pc.utf8_trim_whitespace(texts), f"^(?:{pattern})$")
