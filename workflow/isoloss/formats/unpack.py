"""Parquet and Arrow files as plain Arrow streams, in a process of its own.

A file can be small and unpack to any size, and one that is damaged can end the process that reads
it. So it is read in a process that may fail and has little memory; what comes out is plain and
within the limit. Run as a script: the files on standard input, one stream a file on standard
output, what is wrong as JSON on standard error.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MAX_COLUMNS = 10_000
FILE = b"ARROW1\0\0"  # how an Arrow file begins
TOLD = 3  # exit code: the problem is on standard error
CELL = 8  # bytes of a number in memory
_ROOM = 3 << 30  # bytes of address space for libraries
_DICTIONARY, _BATCH = 2, 3  # kinds of Arrow's messages
_TEXTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
)
_ALONE = pa.ipc.IpcReadOptions(use_threads=False)
_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}


class RefusedError(Exception):
    """Why a table is refused.

    Args:
        found: what is wrong.
        remedy: what to do; empty where the limit is to be raised.
    """

    def __init__(self, reason: str, remedy: str = ""):
        super().__init__(reason)
        self.found, self.remedy = reason, remedy


def parquet(content: bytes, max_bytes: int) -> pa.Table:
    """A Parquet file; what its text unpacks to is known before it is unpacked.

    Raises:
        RefusedError: it is too large.
    """
    file = pq.ParquetFile(pa.BufferReader(content))
    _check_claims(file.metadata, max_bytes)
    columns = [file.schema.column(j) for j in range(file.metadata.num_columns)]
    texts = [
        column.path
        for column in columns
        if column.physical_type == "BYTE_ARRAY" and column.logical_type.type != "DECIMAL"
    ]
    reader = pq.ParquetFile(pa.BufferReader(content), read_dictionary=texts)
    packed = reader.read(use_threads=False)
    _check_size(packed, max_bytes)
    fields = [field.with_type(_VIEWS.get(field.type, field.type)) for field in file.schema_arrow]
    return packed.cast(pa.schema(fields, file.schema_arrow.metadata))


def arrow(content: bytes, max_bytes: int) -> pa.Table:
    """An Arrow stream, as `datasets` saves it, or an Arrow (Feather) file, which holds a stream.

    Raises:
        RefusedError: it is too large; what compressed buffers claim counts.
    """
    stream = pa.py_buffer(content)
    if content.startswith(FILE):
        stream = stream.slice(8)  # its name, filled up to 8 bytes
    if _claimed(stream) > max_bytes:
        raise RefusedError("unpacks to more")
    table = pa.ipc.open_stream(stream, options=_ALONE).read_all()
    if table.num_columns > MAX_COLUMNS:
        raise _too_wide()
    _check_size(table, max_bytes)
    table.validate(full=True)
    return table


def _too_wide() -> RefusedError:
    reason = f"has more than {MAX_COLUMNS} columns"
    return RefusedError(reason, "remove the columns that are not needed")


def _check_claims(facts: pq.FileMetaData, max_bytes: int) -> None:
    """Refuse a Parquet file whose stated rows or columns exceed the limits."""
    if facts.num_columns > MAX_COLUMNS:
        raise _too_wide()
    cells = facts.num_rows * facts.num_columns
    unpacked = memory = 0
    if cells * CELL <= max_bytes:
        for i in range(facts.num_row_groups):
            group = facts.row_group(i)
            for j in range(group.num_columns):
                column = group.column(j)
                unpacked += column.total_uncompressed_size
                memory += column.num_values * max(CELL, facts.schema.column(j).length)
    if max(cells * CELL, memory) > max_bytes:
        raise RefusedError(f"has {facts.num_rows} rows, which take more memory")
    if unpacked > max_bytes:
        raise RefusedError("unpacks to more")


def _check_size(table: pa.Table, max_bytes: int) -> None:
    """Refuse a table whose rows take too much memory, however it is compressed."""
    size = 0
    for column in table.columns:
        size += sum(max(_size(chunk), CELL * len(chunk)) for chunk in column.chunks)
        if size > max_bytes:
            raise RefusedError(f"has {table.num_rows} rows, which take more memory")


def _size(array: pa.Array) -> int:
    """The bytes of an array's values when each is stored by itself."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _size_by_index(array)
    if pa.types.is_struct(kind):
        return sum(_size(part) for part in array.flatten())
    if pa.types.is_map(kind):
        return _size(array.keys) + _size(array.items) + CELL * len(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _size(array.flatten()) + CELL * len(array)
    if isinstance(array, pa.ExtensionArray):
        return _size(array.storage)
    if pa.types.is_null(kind) or pa.types.is_primitive(kind):
        return CELL * len(array)
    if any(test(kind) for test in (*_TEXTS, pa.types.is_fixed_size_binary, pa.types.is_decimal)):
        return array.nbytes
    raise RefusedError(f"has a column of type {kind}, which is not read", "remove the column")


def _size_by_index(array: pa.DictionaryArray) -> int:
    """The same for an array whose values are looked up in a dictionary."""
    values = array.dictionary
    used = array.indices.drop_null()
    if any(test(values.type) for test in _TEXTS):
        each = pc.fill_null(pc.binary_length(values), 0).cast(pa.int64())
        return (pc.sum(each.take(used)).as_py() or 0) + CELL * len(array)
    return _size(values) * len(used) + CELL * len(array)  # no value is larger than all of them


def _claimed(stream: pa.Buffer) -> int:
    """The bytes to which the compressed buffers of an Arrow stream unpack, as they claim."""
    reader = pa.ipc.MessageReader.open_stream(stream)
    claimed = 0
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return claimed
        facts = message.metadata.to_pybytes()
        root = struct.unpack_from("<I", facts)[0]
        kind, batch = _field(facts, root, 1), _field(facts, root, 2)
        if kind is None or batch is None or facts[kind] not in (_DICTIONARY, _BATCH):
            continue
        table = batch + struct.unpack_from("<I", facts, batch)[0]
        if facts[kind] == _DICTIONARY:
            batch = _field(facts, table, 1)
            if batch is None:
                continue
            table = batch + struct.unpack_from("<I", facts, batch)[0]
        if _field(facts, table, 3) is not None:
            claimed += _claimed_by_batch(facts, table, message.body)


def _claimed_by_batch(facts: bytes, table: int, body: pa.Buffer) -> int:
    """The same of one record batch; each of its buffers begins with the size that it unpacks to."""
    at = _field(facts, table, 2)
    if at is None:
        return 0
    at += struct.unpack_from("<I", facts, at)[0]
    claimed = 0
    for i in range(struct.unpack_from("<I", facts, at)[0]):
        offset, length = struct.unpack_from("<qq", facts, at + 4 + 16 * i)
        if length >= 8:
            size = struct.unpack_from("<q", body, offset)[0]
            claimed += max(size, length if size == -1 else 0)  # -1: this one is not compressed
    return claimed


def _field(facts: bytes, table: int, number: int) -> int | None:
    """The position of a field of a flatbuffer's table; None if it is not set.

    Of Arrow's `Message` 1 is the header's kind and 2 the header; of a `DictionaryBatch` 1 is its
    record batch; of a `RecordBatch` 2 are its buffers and 3 is the compression
    (format/Message.fbs of Apache Arrow).
    """
    entries = table - struct.unpack_from("<i", facts, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", facts, entries)[0]:
        return None
    offset = struct.unpack_from("<H", facts, entries + 4 + 2 * number)[0]
    return table + offset if offset else None


def _confine(max_bytes: int) -> None:
    """Limit this process's memory to what a table within the limit needs, where the system can."""
    with suppress(ImportError):
        import resource

        for kind, most in ((resource.RLIMIT_AS, _ROOM + 8 * max_bytes), (resource.RLIMIT_CORE, 0)):
            _, hard = resource.getrlimit(kind)
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            with suppress(ValueError, OSError):  # not on every system
                resource.setrlimit(kind, (least, hard))


def main(kind: str, limit: str, *lengths: str) -> int:
    """Read files of these lengths from standard input, write one stream a file.

    Args:
        kind: `parquet` or `arrow`.
        limit: most bytes of all in memory.
        lengths: bytes of each file.
    """
    left = int(limit)
    _confine(left)
    pa.set_memory_pool(pa.system_memory_pool())
    pa.set_cpu_count(1)
    try:
        for length in map(int, lengths):
            table = {"parquet": parquet, "arrow": arrow}[kind](sys.stdin.buffer.read(length), left)
            left -= sum(max(_size(c), CELL * len(c)) for col in table.columns for c in col.chunks)
            with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as writer:
                writer.write_table(table)
        sys.stdout.buffer.flush()
    except RefusedError as error:
        print(json.dumps({"found": error.found, "remedy": error.remedy}), file=sys.stderr)
        return TOLD
    except MemoryError:
        print(json.dumps({"found": "takes far more memory", "remedy": ""}), file=sys.stderr)
        return TOLD
    except (pa.ArrowException, ValueError, OSError, KeyError, struct.error, IndexError) as error:
        words = {"found": f"is not a table ({error})", "remedy": "give a CSV or Parquet table"}
        print(json.dumps(words), file=sys.stderr)
        return TOLD
    return 0


if __name__ == "__main__":
    ended = main(*sys.argv[1:])
    sys.stderr.flush()
    # Nothing is torn down: a thread of Arrow's that drops the file's bytes while Python ends aborts
    # the process, after all of the table is written.
    os._exit(ended)
