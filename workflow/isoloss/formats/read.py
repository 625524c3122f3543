"""Read a table from bytes, whatever it is written in; within limits.

A file can be small and unpack to any size. Everything that claims or makes more than the limit is
refused before it is made. A format is a file of this folder that is named in `_packed_forms` or
`_text_forms`: `matches` knows it, `read` reads it, `TYPED` says whether texts that are numbers stay
texts.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from types import ModuleType

import pandas as pd
import pyarrow as pa

from isoloss.core.problems import TableError
from isoloss.core.sources import Source
from isoloss.formats import columnar, delimited, encodings, kinds, packing
from isoloss.formats.numbers import settle
from isoloss.formats.table import Parsed, repeated

_HEAD = 2**16  # characters by which the format of a text is known
_GIVE = "give a CSV or Parquet table"
# the errors of the readers for bytes that are not such a table
_BROKEN = (ValueError, OSError, EOFError, zlib.error, pa.ArrowException, KeyError, TypeError)
_BROKEN += (AttributeError, IndexError, OverflowError, RecursionError)


def rows(source: Source) -> Parsed:
    r"""The rows of a source, as they are in it, and how they were read.

    Cells that are empty are missing, columns of plain numbers are numbers, and all other texts
    stay as they are written.

    Raises:
        TableError: it is not a table, or larger than its limits.

    Example:
        >>> from isoloss.core.addresses import Address
        >>> from isoloss.core.sources import Source
        >>> parsed = rows(Source(Address.given("runs.csv"), (b"size;loss\n7B;3,5\n9B;3,3\n",)))
        >>> parsed.took
        ('fields separated by ;', 'decimal comma')
        >>> parsed.rows
          size  loss
        0   7B   3.5
        1   9B   3.3
    """
    try:
        parsed = _rows(source)
    except TableError:
        raise
    except MemoryError as error:
        reason = "does not fit into the memory of this machine"
        raise source.error(reason, "remove columns and rows that are not needed") from error
    except _BROKEN as error:
        raise source.error(f"is not a table ({error})", _GIVE) from error
    if parsed.rows.empty:
        raise source.error("has no rows", "give a table with at least one run")
    return parsed


def _rows(source: Source) -> Parsed:
    if source.saved:
        return columnar.read(source)
    files, packed = packing.files(source)
    pieces = []
    for file in files:
        content = file.parts[0]
        form = next((form for form in _packed_forms(content) if form.matches(content)), None)
        parsed = form.read(file) if form else _text(file)
        _check_names(file, parsed.rows)
        pieces.append(parsed)
    if len(pieces) > 1:
        from isoloss.formats.several import stacked  # here: few tables are in several files

        whole = stacked(source, files, pieces)
    else:
        typed = bool(form) and form.TYPED
        whole = parsed if typed else Parsed(settle(parsed.rows), parsed.took)
    return Parsed(whole.rows, (*packed, *whole.took))


def _text(file: Source) -> Parsed:
    """A file of text."""
    kinds.refuse_others(file)
    text, encoding = encodings.text(file)
    if not text.strip():
        raise file.error("is empty", _GIVE)
    kinds.refuse_page(file, text)
    if any(secret in text for secret in file.address.secrets):
        reason = "repeats a secret of its address, which would get into the results"
        raise file.error(reason, "give the address of the file itself")
    form = next(form for form in _text_forms(text[:_HEAD]) if form.matches(text[:_HEAD]))
    parsed = form.read(file, text)
    return Parsed(parsed.rows, (*encoding, *parsed.took))


def _packed_forms(content: bytes) -> Iterator[ModuleType]:
    """The formats that are known by their first bytes; those that are rare are imported here."""
    yield columnar
    if content.startswith(b"PK"):
        from isoloss.formats import excel

        yield excel


def _text_forms(head: str) -> Iterator[ModuleType]:
    """The formats of text that one which begins so may have; rare ones are imported here."""
    if head.lstrip().startswith(("[", "{")):
        from isoloss.formats import json_tables

        yield json_tables
    if "\\" in head:
        from isoloss.formats import latex

        yield latex
    if "|" in head:
        from isoloss.formats import markdown

        yield markdown
    yield delimited


def _check_names(file: Source, table: pd.DataFrame) -> None:
    """Raise an error that lists all names which several columns have.

    Raises:
        TableError: two columns have one name.
    """
    names = [str(name) for name in table.columns]
    if len(set(names)) == len(names):
        return
    raise file.error(f"repeats the column {repeated(names)}", "give each column its own name")
