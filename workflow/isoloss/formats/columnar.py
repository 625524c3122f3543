"""Parquet files, and Arrow files of a saved dataset: read by a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pyarrow as pa

from isoloss.core.sources import Source
from isoloss.formats import unpack
from isoloss.formats.table import Parsed


def matches(content: bytes) -> bool:
    """Whether these are the bytes of a Parquet file."""
    return content[:4] == b"PAR1"


def read(source: Source) -> Parsed:
    """The rows of a Parquet file, or of the Arrow files of a dataset.

    Raises:
        TableError: it is damaged, too large, or has columns of a type that is not read.
    """
    kind = "saved" if source.saved else "parquet"
    streams = pa.BufferReader(_unpacked(source, kind))
    tables = [pa.ipc.open_stream(streams).read_all().to_pandas() for _ in source.parts]
    return Parsed(pd.concat(tables, ignore_index=len(tables) > 1).reset_index(drop=True))


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
            "the process that read it ended early: it is damaged, or unpacks to far more"
        )
    return reader.stdout
