"""Bytes to rows: CSV (also gzip), Parquet, and the Arrow files of a saved dataset, within limits.

A file can be small and unpack to any size. Everything that claims or makes more than the limit is
refused before it is made.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from isoloss.problems import TableError
from isoloss.sources import Source

MAX_COLUMNS = 10_000
_CELL = 8  # bytes of a number in memory
_LINE = 2**20  # bytes of a line of a CSV, at most
_CHUNK = 2**20
_GZIP = b"\x1f\x8b"
_DICTIONARY, _BATCH = 2, 3  # kinds of Arrow's messages
_TEXTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|title|meta|script|\?xml|!--)", re.I
)
_GIVE = "give a CSV or Parquet table"
# what the readers say of bytes that are not what they should be
_BROKEN = (ValueError, OSError, EOFError, zlib.error, pa.ArrowException, KeyError, TypeError)
_BROKEN += (AttributeError, IndexError, OverflowError, RecursionError, struct.error)


def rows(source: Source) -> pd.DataFrame:
    """The rows of a source as they are.

    Raises:
        TableError: it is not a table, or larger than its limits.
    """
    try:
        table = _reader(source)(source)
    except TableError:
        raise
    except MemoryError as error:
        raise source.too_large("it does not fit into memory") from error
    except _BROKEN as error:
        raise source.error(f"is not a table ({error})", _GIVE) from error
    return table.reset_index(drop=True)


def _reader(source: Source) -> Callable[[Source], pd.DataFrame]:
    if source.saved:
        return _saved
    return _parquet if source.parts[0][:4] == b"PAR1" else _csv


# --- CSV ---------------------------------------------------------------------------------------


def _csv(source: Source) -> pd.DataFrame:
    """A CSV, in gzip or not."""
    content = source.parts[0]
    if content[:2] == _GZIP:
        content = _unpacked(source)
    if not content.strip():
        raise source.error("is empty", _GIVE)
    if _PAGE.match(content):
        found = "is a page of HTML or XML, not a table"
        raise source.error(
            found, "give the address of the file itself, and what it takes to log in"
        )
    if any(secret.encode() in content for secret in source.address.secrets):
        found = "repeats a secret of its address, which would get into the results"
        raise source.error(found, "give the address of the file itself")
    _check_lines(source, content)
    return pd.read_csv(io.BytesIO(content), index_col=False)


def _unpacked(source: Source) -> bytes:
    """The content of a gzip file, unpacked no further than the limit."""
    parts, size = [], 0
    with gzip.GzipFile(fileobj=io.BytesIO(source.parts[0])) as file:
        while part := file.read(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > source.limits.max_bytes:
                raise source.too_large("it unpacks to more")
    content = b"".join(parts)
    if content[:2] == _GZIP:
        raise source.error("is packed twice with gzip", "unpack it once")
    return content


def _check_lines(source: Source, content: bytes) -> None:
    """Lines and columns that can be read in reasonable time and space."""
    old = b"\n" not in content and b"\r" in content  # lines as on a very old Mac
    lines = io.BytesIO(content.replace(b"\r", b"\n") if old else content)
    number, most = 0, 0
    for number, line in enumerate(lines, 1):
        if len(line) > _LINE:
            found = f"line {number} is longer than {_LINE // 2**20} MiB"
            raise source.error(found, "give a table with a line a run")
        most = max(most, line.count(b",") + 1)
        if most > MAX_COLUMNS:
            raise _too_wide(source, f"line {number} has")
    _check_cells(source, number, number * most)


def _too_wide(source: Source, what: str) -> TableError:
    found = f"{what} more than {MAX_COLUMNS} columns"
    return source.error(found, "leave out the columns that are not needed")


def _check_cells(source: Source, rows: int, cells: int) -> None:
    if cells * _CELL > source.limits.max_bytes:
        raise source.too_large(f"{rows} rows, {cells} cells, take more in memory")


# --- Parquet and Arrow -------------------------------------------------------------------------


def _parquet(source: Source) -> pd.DataFrame:
    """A Parquet file; what its text unpacks to is known before it is unpacked."""
    content = source.parts[0]
    file = pq.ParquetFile(io.BytesIO(content))
    _check_claims(source, file.metadata)
    columns = [file.schema.column(j) for j in range(file.metadata.num_columns)]
    texts = [
        column.path
        for column in columns
        if column.physical_type == "BYTE_ARRAY" and column.logical_type.type != "DECIMAL"
    ]
    packed = pq.ParquetFile(io.BytesIO(content), read_dictionary=texts).read()
    _check_size(source, packed.num_rows, packed.columns)
    return packed.cast(file.schema_arrow).to_pandas()


def _check_claims(source: Source, facts: pq.FileMetaData) -> None:
    """What a Parquet file says of itself is within the limits."""
    if facts.num_columns > MAX_COLUMNS:
        raise _too_wide(source, "it has")
    _check_cells(source, facts.num_rows, facts.num_rows * facts.num_columns)
    unpacked = memory = 0
    for i in range(facts.num_row_groups):
        group = facts.row_group(i)
        for j in range(group.num_columns):
            column = group.column(j)
            unpacked += column.total_uncompressed_size
            memory += column.num_values * max(_CELL, facts.schema.column(j).length)
    if max(unpacked, memory) > source.limits.max_bytes:
        raise source.too_large("it unpacks to more")


def _saved(source: Source) -> pd.DataFrame:
    """The Arrow files of a dataset saved to disk, one behind the other."""
    tables = []
    for part in source.parts:
        if _is_compressed(part):
            raise source.error("has compressed Arrow buffers", "save it without compression")
        tables.append(pa.ipc.open_stream(part).read_all())
        tables[-1].validate(full=True)
    if max(table.num_columns for table in tables) > MAX_COLUMNS:
        raise _too_wide(source, "it has")
    count = sum(table.num_rows for table in tables)
    _check_size(source, count, [column for table in tables for column in table.columns])
    return pd.concat([table.to_pandas() for table in tables], ignore_index=True)


def _check_size(source: Source, count: int, columns: list[pa.ChunkedArray]) -> None:
    """What columns take in memory as rows, however they are packed now."""
    size = 0
    for column in columns:
        size += sum(max(_size(chunk), _CELL * len(chunk)) for chunk in column.chunks)
        if size > source.limits.max_bytes:
            raise source.too_large(f"its {count} rows take more in memory")


def _size(array: pa.Array) -> int:
    """Bytes of the values of an array if each stood for itself."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _size_by_index(array)
    if pa.types.is_struct(kind):
        return sum(_size(part) for part in array.flatten())
    if pa.types.is_map(kind):
        return _size(array.keys) + _size(array.items) + _CELL * len(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _size(array.flatten()) + _CELL * len(array)
    if isinstance(array, pa.ExtensionArray):
        return _size(array.storage)
    if pa.types.is_null(kind) or pa.types.is_primitive(kind):
        return _CELL * len(array)
    if any(test(kind) for test in (*_TEXTS, pa.types.is_fixed_size_binary, pa.types.is_decimal)):
        return array.nbytes
    raise ValueError(f"columns of type {kind} are not read")


def _size_by_index(array: pa.DictionaryArray) -> int:
    """The same of an array whose values are looked up in a dictionary."""
    values = array.dictionary
    if any(test(values.type) for test in _TEXTS):
        each = pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False)
    else:  # no value is larger than all of them
        each = np.full(len(values), _size(values))
    used = array.indices.drop_null().to_numpy(zero_copy_only=False)
    return int(each[used].astype(float).sum()) + _CELL * len(array)


def _is_compressed(stream: bytes) -> bool:
    """Whether a message of an Arrow stream has compressed buffers, which claim their size."""
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(stream))
    while True:
        try:
            facts = reader.read_next_message().metadata.to_pybytes()
        except StopIteration:
            return False
        root = struct.unpack_from("<I", facts)[0]
        kind = _field(facts, root, 1)
        batch = _field(facts, root, 2)
        if kind is None or batch is None or facts[kind] not in (_DICTIONARY, _BATCH):
            continue
        table = batch + struct.unpack_from("<I", facts, batch)[0]
        if facts[kind] == _DICTIONARY:
            inner = _field(facts, table, 1)
            if inner is None:
                continue
            table = inner + struct.unpack_from("<I", facts, inner)[0]
        if _field(facts, table, 3) is not None:
            return True


def _field(facts: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table stands; None if it is not set.

    Of Arrow's `Message` 1 is the header's kind and 2 the header; of a `RecordBatch` 3 is the
    compression; of a `DictionaryBatch` 1 is its record batch (format/Message.fbs of Apache Arrow).
    """
    entries = table - struct.unpack_from("<i", facts, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", facts, entries)[0]:
        return None
    offset = struct.unpack_from("<H", facts, entries + 4 + 2 * number)[0]
    return table + offset if offset else None
