"""Read the log of one run, whatever program wrote it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from isoloss.core.problems import TableError
from isoloss.core.sources import Limits, Source, open_source
from isoloss.formats import columnar, packing
from isoloss.logs import events, grids, lines
from isoloss.logs.log import Log

_HEAD = 2**12  # bytes by which the kind of a file is known
# what readers raise for content that is not what they read
_BROKEN = (ValueError, OverflowError, RecursionError, EOFError, zlib.error, pa.ArrowException)


def read_log(path: str | Path, limits: Limits | None = None) -> Log:
    r"""The log of one run.

    Args:
        path: a file of JSON (an object a line, or a list of objects), CSV, Parquet or Arrow with a
            row a step, `trainer_state.json` of a Hugging Face Trainer, or an event file of
            TensorBoard.
        limits: of the file's size.

    Returns:
        Points along the run, last values, and settings as far as the file has them.

    Raises:
        TableError: it cannot be read: file, line, what was found.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "metrics.jsonl")
        >>> lines = ['{"step": 1, "tokens": 64, "loss": 3.5}']
        >>> lines += ['{"step": 2, "tokens": 128, "loss": 3}']
        >>> _ = path.write_text("\n".join(lines))
        >>> log = read_log(path)
        >>> log.curve
           step  n_samples  loss
        0     1         64   3.5
        1     2        128   3.0
        >>> log.final
        {'step': 2, 'tokens': 128, 'loss': 3}
    """
    return log_of(open_source(path, limits))


def log_of(source: Source) -> Log:
    """The log of one run in the bytes of a file.

    Raises:
        TableError: it cannot be read: file, line, what was found.
    """
    try:
        files, _ = packing.files(source)
        if len(files) != 1:
            raise source.error(f"has {len(files)} files", "give the log of one run")
        return reader_of(files[0])(files[0])
    except TableError:
        raise
    except _BROKEN as error:
        reason = f"is damaged ({type(error).__name__}: {error})"
        raise source.error(reason, "write it again, or remove it") from error


def reader_of(file: Source) -> Callable[[Source], Log]:
    """What reads a file, by its first bytes."""
    head = file.parts[0][:_HEAD]
    if events.matches(head):
        return events.read
    if columnar.matches(head):
        return lambda file: grids.of_columns(file).log()
    if lines.matches(head):
        return lines.read
    return lambda file: grids.of_text(file).log()
