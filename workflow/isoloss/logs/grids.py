"""Logs that are tables, a row a step: CSV and the like, Parquet, Arrow."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from isoloss.core.sources import Source
from isoloss.formats import columnar, delimited, encodings, kinds
from isoloss.formats.numbers import settle
from isoloss.formats.table import Parsed, repeated
from isoloss.logs.log import Records

_NAN = ("nan", "-nan")


def of_columns(file: Source, parsed: Parsed | None = None) -> Records:
    """The rows of a Parquet or Arrow file; what is missing in a column of numbers is NaN.

    Args:
        file: its bytes.
        parsed: its rows, if it was read already.

    Raises:
        TableError: it is damaged, or too large.
    """
    table = (parsed or columnar.read(file)).rows
    return _records(file, {str(name): _cells(column) for name, column in table.items()})


def of_text(file: Source) -> Records:
    """The rows of a text table, such as CSV; an empty cell is left out, one with NaN is a number.

    Raises:
        TableError: it is not such a table, with the line.
    """
    kinds.refuse_others(file)
    text, _ = encodings.text(file)
    kinds.refuse_page(file, text)
    written = delimited.read(file, text).rows
    twice = repeated(list(written.columns))
    if twice:
        raise file.error(f"repeats the column {twice}", "give each column its own name")
    table = settle(written)
    return _records(file, {name: _with_nan(table[name], written[name]) for name in table})


def _records(file: Source, columns: Mapping[str, list]) -> Records:
    """The rows as records, without values that are missing."""
    rows = [
        {name: value for name, value in zip(columns, row, strict=True) if value is not None}
        for row in zip(*columns.values(), strict=True)
    ]
    return Records(file, rows, [f"row {number}" for number in range(1, len(rows) + 1)])


def _cells(column: pd.Series) -> list:
    """The cells as plain values; None for a missing one that is not in a column of numbers."""
    values = column.astype(object).tolist()
    if pd.api.types.is_float_dtype(column.dtype):
        return values
    return [None if e else v for v, e in zip(values, column.isna().tolist(), strict=True)]


def _with_nan(column: pd.Series, written: pd.Series) -> list:
    """The cells of a column of a text table: NaN where it is written, None where it is empty."""
    values, empty = column.astype(object).tolist(), column.isna().tolist()
    nan = written.str.strip().str.lower().isin(_NAN).tolist()
    return [
        v if not e else math.nan if n else None for v, e, n in zip(values, empty, nan, strict=True)
    ]
