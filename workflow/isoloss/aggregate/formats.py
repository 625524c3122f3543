"""Read tables from bytes: CSV (also gzip), Parquet, Arrow files of a saved dataset; within limits.

A file can be small and unpack to any size. Everything that claims or makes more than the limit is
refused before it is made.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable

import pandas as pd
import pyarrow as pa

from isoloss.core import unpack
from isoloss.core.problems import TableError
from isoloss.core.sources import Source

_LINE = 2**20  # bytes of a line of a CSV, at most
_CHUNK = 2**14  # bytes of a gzip that are unpacked at once
_GZIP = b"\x1f\x8b"
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|title|meta|script|\?xml|!--)", re.I
)
_GIVE = "give a CSV or Parquet table"
# the errors of the readers for bytes that are not such a table
_BROKEN = (ValueError, OSError, EOFError, zlib.error, pa.ArrowException, KeyError, TypeError)
_BROKEN += (AttributeError, IndexError, OverflowError, RecursionError)


def rows(source: Source) -> pd.DataFrame:
    """The rows of a source, as they are in it.

    Raises:
        TableError: it is not a table, or larger than its limits.
    """
    try:
        table = _reader(source)(source)
    except TableError:
        raise
    except MemoryError as error:
        reason = "does not fit into the memory of this machine"
        raise source.error(reason, "remove columns and rows that are not needed") from error
    except _BROKEN as error:
        raise source.error(f"is not a table ({error})", _GIVE) from error
    return table.reset_index(drop=True)


def _reader(source: Source) -> Callable[[Source], pd.DataFrame]:
    packed = source.saved or source.parts[0][:4] == b"PAR1"
    return _unpacked_elsewhere if packed else _csv


# --- CSV ---------------------------------------------------------------------------------------


def _csv(source: Source) -> pd.DataFrame:
    """A CSV, in gzip or not."""
    content = source.parts[0]
    if content[:2] == _GZIP:
        content = _unpacked(source)
    if not content.strip():
        raise source.error("is empty", _GIVE)
    if _PAGE.match(content):
        reason = "is a page of HTML or XML, not a table"
        raise source.error(
            reason, "give the address of the file itself, and what it takes to log in"
        )
    if any(secret.encode() in content for secret in source.address.secrets):
        reason = "repeats a secret of its address, which would get into the results"
        raise source.error(reason, "give the address of the file itself")
    _check_lines(source, content)
    return pd.read_csv(io.BytesIO(content), index_col=False)


def _unpacked(source: Source) -> bytes:
    """The content of a gzip file, unpacked no further than the limit."""
    packed = memoryview(source.parts[0])
    parts, size, engine = [], 0, None
    for start in range(0, len(packed), _CHUNK):
        piece = bytes(packed[start : start + _CHUNK])
        if engine is None and start:  # zeros fill a block behind a file
            piece = piece.lstrip(b"\0")
        while piece:
            engine = engine or zlib.decompressobj(wbits=31)
            part = engine.decompress(piece, 64 * _CHUNK)
            parts.append(part)
            size += len(part)
            if size > source.limits.max_bytes:
                raise source.too_large("it unpacks to more")
            piece = engine.unconsumed_tail
            if engine.eof:  # another file may follow
                piece, engine = engine.unused_data.lstrip(b"\0"), None
    if engine is not None:
        raise EOFError("its gzip stream ends too early")
    content = b"".join(parts)
    if content[:2] == _GZIP:
        raise source.error("is compressed twice with gzip", "decompress it once")
    return content


def _check_lines(source: Source, content: bytes) -> None:
    """Raise an error for more lines or columns than can be read in reasonable time and space."""
    old = b"\n" not in content and b"\r" in content  # lines as on a very old Mac
    lines = io.BytesIO(content.replace(b"\r", b"\n") if old else content)
    number, most = 0, 0
    for number, line in enumerate(lines, 1):
        if len(line) > _LINE:
            reason = f"line {number} is longer than {_LINE // 2**20} MiB"
            raise source.error(reason, "give a table with one line for each run")
        most = max(most, line.count(b",") + 1)
        if most > unpack.MAX_COLUMNS:
            reason = f"line {number} has more than {unpack.MAX_COLUMNS} columns"
            raise source.error(reason, "remove the columns that are not needed")
    if number * most * unpack.CELL > source.limits.max_bytes:
        raise source.too_large(f"its {number} lines take more memory")


# --- Parquet and Arrow -------------------------------------------------------------------------


def _unpacked_elsewhere(source: Source) -> pd.DataFrame:
    """The rows of Parquet or saved Arrow files, read in another process."""
    kind = "saved" if source.saved else "parquet"
    lengths = [str(len(part)) for part in source.parts]
    limits = source.limits
    command = [sys.executable, "-P", unpack.__file__, kind, str(limits.max_bytes), *lengths]
    try:
        reader = subprocess.run(
            command,
            input=b"".join(source.parts),
            capture_output=True,
            timeout=limits.max_seconds,
            check=False,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise source.too_slow("unpacking it takes longer") from None
    if reader.returncode == unpack.TOLD:
        facts = json.loads(reader.stderr.splitlines()[-1])
        if facts["remedy"]:
            raise source.error(facts["found"], facts["remedy"])
        raise source.too_large(f"it {facts['found']}")
    if reader.returncode:
        raise source.too_large(
            "the process that read it ended early: it is damaged, or unpacks to far more"
        )
    streams = pa.BufferReader(reader.stdout)
    tables = [pa.ipc.open_stream(streams).read_all() for _ in source.parts]
    return pd.concat([table.to_pandas() for table in tables], ignore_index=len(tables) > 1)
