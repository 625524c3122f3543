"""Parquet, Arrow (Feather) and saved datasets: unpacked by a process of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
import pyarrow as pa

from isoloss.core.problems import TableError
from isoloss.core.sources import Source
from isoloss.formats import unpack
from isoloss.formats.grid import ROW
from isoloss.formats.table import Parsed

TYPED = True
_KINDS = {"parquet": "Parquet", "arrow": "Arrow"}
_STREAM = b"\xff\xff\xff\xff"  # how an Arrow stream begins


def matches(content: bytes) -> bool:
    """Whether these are the bytes of a Parquet or Arrow file."""
    return content.startswith((b"PAR1", unpack.FILE, _STREAM))


def read(source: Source) -> Parsed:
    """The rows of a Parquet or Arrow file, or of the Arrow files of a saved dataset.

    Raises:
        TableError: it is damaged, too large, or has columns of a type that is not read.
    """
    kind = _kind(source)
    tables = _tables(source, kind)
    table = pd.concat(tables, ignore_index=len(tables) > 1)
    return _plain(table, ["a saved dataset" if source.saved else _KINDS[kind]])


def read_each(
    files: Mapping[str, Source],
) -> tuple[dict[str, Parsed], dict[str, TableError]]:
    """The rows of each of several Parquet or Arrow files, or why one cannot be read.

    One process reads all files of a kind; where it fails each half of them has one.
    """
    parsed: dict[str, Parsed] = {}
    errors: dict[str, TableError] = {}
    kinds = {name: _kind(file) for name, file in files.items()}
    left = [[name for name in files if kinds[name] == kind] for kind in _KINDS]
    while left:
        names = left.pop()
        half = len(names) // 2
        try:
            parts = tuple(files[name].parts[0] for name in names)
            tables = (
                _tables(replace(files[names[0]], parts=parts), kinds[names[0]]) if names else []
            )
        except TableError as error:
            if half:
                left += [names[:half], names[half:]]
            else:
                errors[names[0]] = error
            continue
        for name, table in zip(names, tables, strict=True):
            parsed[name] = _plain(table, [_KINDS[kinds[name]]])
    return parsed, errors


def _kind(source: Source) -> str:
    return "parquet" if source.parts[0][:4] == b"PAR1" and not source.saved else "arrow"


def _tables(source: Source, kind: str) -> list[pd.DataFrame]:
    """The table of every part of a source."""
    streams = pa.BufferReader(_unpacked(source, kind))
    return [pa.ipc.open_stream(streams).read_all().to_pandas() for _ in source.parts]


def _plain(table: pd.DataFrame, took: list[str]) -> Parsed:
    """The table with an index that says something as columns, and one name for every column."""
    columns = {}
    for level, name in enumerate(table.index.names):
        values = table.index.get_level_values(level)
        counts = pd.api.types.is_integer_dtype(values.dtype) and name is None
        if not counts and len(table) and name not in table.columns:
            columns[ROW if name is None else name] = values
            took.append(
                "first field is row names" if name is None else f"index {name!r} as a column"
            )
    table = table.reset_index(drop=True)
    if table.columns.nlevels > 1:
        took.append("levels of columns joined by /")
        table = table.set_axis([_joined(name) for name in table.columns], axis=1)
    for place, (name, values) in enumerate(columns.items()):
        table.insert(place, _joined(name) if isinstance(name, tuple) else name, values)
    return Parsed(table, tuple(took))


def _joined(levels: tuple) -> str:
    """One name for a column that has several, one a level."""
    return "/".join(str(level) for level in levels if str(level) not in ("", "nan"))


def _unpacked(source: Source, kind: str) -> bytes:
    """The tables as plain Arrow streams."""
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
            f"the process that read it ended early ({_ending(reader)}): it is damaged, or unpacks "
            "to far more"
        )
    return reader.stdout


def _ending(reader: subprocess.CompletedProcess) -> str:
    """How a process ended that did not say what is wrong: its signal, its last line, or both."""
    code = reader.returncode
    signals = [signal.Signals(-code).name] if code < 0 else []
    lines = reader.stderr.decode(errors="replace").splitlines()[-1:]
    return ": ".join(signals + lines) or f"exit code {code}"
