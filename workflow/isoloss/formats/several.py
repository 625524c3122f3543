"""Several files as one table: rows below each other, columns by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

from isoloss.core.sources import Source
from isoloss.formats.numbers import settle
from isoloss.formats.table import Parsed
from isoloss.formats.unpack import CELL, MAX_COLUMNS

FILE = "file"  # the column that says from which file a row is
_SHOWN = 5  # columns and statements that are listed


def stacked(source: Source, files: Sequence[Source], pieces: Sequence[Parsed]) -> Parsed:
    """The rows of all files, and a column that says the file unless there is one.

    A column that a file lacks is missing there, which is said.

    Raises:
        TableError: a file has no column of the first one.
    """
    tables = [_with_text_names(piece.rows) for piece in pieces]
    names = _short([file.names[0] if file.names else file.label for file in files])
    first = set(tables[0].columns)
    for name, table in zip(names, tables, strict=True):
        if not first & set(table.columns):
            reason = f"{name} has no column of {names[0]} ({', '.join(sorted(first)[:_SHOWN])})"
            raise source.error(reason, "give tables that have columns in common")
    _check_size(source, tables)
    if not any(FILE in table for table in tables):
        pairs = zip(names, tables, strict=True)
        tables = [table.assign(**{FILE: name}) for name, table in pairs]
    took = [f"{len(files)} files", *_differences(names, tables), *_statements(pieces)]
    return Parsed(_below_each_other(tables), tuple(took))


def _check_size(source: Source, tables: Sequence[pd.DataFrame]) -> None:
    """Raise an error if all tables together have too many columns or cells."""
    columns = set().union(*(table.columns for table in tables))
    if len(columns) > MAX_COLUMNS:
        reason = f"its files have more than {MAX_COLUMNS} columns together"
        raise source.error(reason, "give files with the same columns")
    if sum(map(len, tables)) * len(columns) * CELL > source.limits.max_bytes:
        raise source.too_large("the rows of its files take more memory")


def _with_text_names(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_axis([str(name) for name in table.columns], axis=1)


def _short(names: list[str]) -> list[str]:
    """The names without their endings, if that leaves them different."""
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    return stems if len(set(stems)) == len(stems) else names


def _differences(names: Sequence[str], tables: Sequence[pd.DataFrame]) -> list[str]:
    """Which columns some files lack."""
    columns = list(dict.fromkeys(column for table in tables for column in table.columns))
    pairs = [(name, set(table.columns)) for name, table in zip(names, tables, strict=True)]
    lacking = {c: [name for name, there in pairs if c not in there] for c in columns}
    words = [
        f"no column {column!r} in {', '.join(files[:_SHOWN])}"
        + (f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else "")
        for column, files in lacking.items()
        if files
    ]
    more = len(words) - _SHOWN
    return words[:_SHOWN] + ([f"{more} more columns that some files lack"] if more > 0 else [])


def _statements(pieces: Sequence[Parsed]) -> list[str]:
    """What was decided about files, each statement once."""
    return list(dict.fromkeys(words for piece in pieces for words in piece.took))


def _below_each_other(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows; a column that is text in one file is text in all, and then numbers if it can."""
    texts = {name for table in tables for name in table if _is_text(table[name])}
    alike = [
        table.assign(**{name: _as_text(table[name]) for name in texts if name in table})
        for table in tables
    ]
    return settle(pd.concat(alike, ignore_index=True, sort=False))


def _is_text(column: pd.Series) -> bool:
    return pd.api.types.is_string_dtype(column.dtype) and column.dtype != object


def _as_text(column: pd.Series) -> pd.Series:
    if _is_text(column) or column.dtype == object:
        return column
    return column.astype("str").where(column.notna())
