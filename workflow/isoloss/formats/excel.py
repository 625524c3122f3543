"""Excel workbooks (.xlsx), if openpyxl is installed."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

from isoloss.core import extras
from isoloss.core.sources import Source
from isoloss.formats.grid import Grid
from isoloss.formats.table import Parsed
from isoloss.formats.unpack import CELL

TYPED = False


def matches(content: bytes) -> bool:
    """Whether these are the bytes of a workbook; other zips are unpacked before."""
    return content[:4] == b"PK\x03\x04"


def read(file: Source) -> Parsed:
    """The first sheet of a workbook that holds a table, all columns text.

    Raises:
        TableError: openpyxl is not installed, or there is no table in the workbook.
    """
    try:
        from xml.etree.ElementTree import ParseError

        import openpyxl
        from openpyxl.utils.exceptions import InvalidFileException
    except ImportError as error:
        reason = "is an Excel workbook, for which a reader is not installed"
        remedy = f"{extras.install('openpyxl')}, or save it as CSV"
        raise file.error(reason, remedy) from error
    content = file.parts[0]
    try:
        claimed = sum(member.file_size for member in zipfile.ZipFile(io.BytesIO(content)).filelist)
        if claimed > file.limits.max_bytes:
            raise file.too_large("it unpacks to more")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of parts of a workbook that are no cells
            book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
            sheets = {sheet.title: _cells(file, sheet) for sheet in book.worksheets}
    except (InvalidFileException, zipfile.BadZipFile, ParseError, NotImplementedError) as error:
        raise ValueError(error) from error
    return _parsed(file, sheets)


def _parsed(file: Source, sheets: dict[str, list[list[str]]]) -> Parsed:
    """The first sheet with more than one row and column."""
    tables = {name: rows for name, rows in sheets.items() if len(rows) > 1}
    if not tables:
        raise file.error("has no rows", "give a workbook with a table of runs")
    wide = [name for name, rows in tables.items() if len(rows[0]) > 1]
    name = [*wide, *tables][0]
    others = [other for other in tables if other != name]
    took = f"sheet {name!r}"
    if others:
        took += f" (not {', '.join(map(repr, others[:3]))}{', ...' if len(others) > 3 else ''})"
    return Grid(file, enumerate(tables[name], 1), "row", [took]).parsed()


def _cells(file: Source, sheet: Any) -> list[list[str]]:
    """The cells of a sheet as text, all rows of equal length."""
    rows = list(_rows(file, sheet))
    while rows and not any(rows[-1]):
        rows.pop()
    width = max(map(len, rows), default=0)
    return [row + [""] * (width - len(row)) for row in rows]


def _rows(file: Source, sheet: Any) -> Iterator[list[str]]:
    most = cells = 0
    for number, values in enumerate(sheet.iter_rows(values_only=True), 1):
        row = [_text(value) for value in values]
        while row and not row[-1]:
            row.pop()
        most, cells = max(most, len(row)), cells + len(values)
        if max(most * number, cells) * CELL > file.limits.max_bytes:
            raise file.too_large(f"its {number} rows take more memory")
        yield row


def _text(value: Any) -> str:
    """A cell as text; numbers with all their digits."""
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
