"""The logs in one file, whatever program wrote it."""

from __future__ import annotations

import zlib

import pyarrow as pa

from isoloss.core.escape import listed
from isoloss.core.problems import TableError
from isoloss.core.sources import Source
from isoloss.formats import columnar, packing
from isoloss.formats.table import Parsed
from isoloss.logs import events, exports, grids, lines
from isoloss.logs.log import Log

_HEAD = 2**12  # bytes by which the kind of a file is known
# what readers raise for content that is not what they read
_BROKEN = (ValueError, OverflowError, EOFError, zlib.error, pa.ArrowException)


def logs_of(source: Source, parsed: Parsed | None = None) -> dict[str, Log]:
    """The logs in the bytes of a file by the names of their runs; the log of one run has no name.

    Args:
        source: the file.
        parsed: its rows, if it is Parquet or Arrow that was read already.

    Raises:
        TableError: it cannot be read: file, line, what was found.
    """
    try:
        files, _ = packing.files(source)
        if len(files) != 1:
            raise source.error(f"has {len(files)} files", "unpack it")
        (file,) = files
        head = file.parts[0][:_HEAD]
        if not file.parts[0].strip():
            raise file.error("is empty", "give a log with the metrics of a run")
        if events.matches(head):
            return {"": events.read(file)}
        if lines.matches(head):
            return lines.read(file)
        columns = columnar.matches(head)
        table = grids.of_columns(file, parsed) if columns else grids.of_text(file)
        return exports.logs(table)
    except TableError:
        raise
    except RecursionError as error:
        raise source.error("is nested too deeply", "write it again, or remove it") from error
    except _BROKEN as error:
        reason = f"is damaged ({type(error).__name__}: {error})"
        raise source.error(reason, "write it again, or remove it") from error


def log_of(source: Source) -> Log:
    """The log in the bytes of a file that has one.

    Raises:
        TableError: it cannot be read, or has several runs.
    """
    logs = logs_of(source)
    if len(logs) > 1:
        reason = f"has {len(logs)} runs ({listed(sorted(logs))})"
        raise source.error(reason, "give the log of one run")
    return next(iter(logs.values()))
