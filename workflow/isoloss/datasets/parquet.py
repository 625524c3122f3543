"""Rows from Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isoloss.core.sources import Limits
from isoloss.datasets._columns import Columns, in_parts
from isoloss.datasets._columns import tag_keys as tag_keys
from isoloss.datasets._files import PACKED, File, files_of, is_json
from isoloss.datasets._files import sources as sources

if TYPE_CHECKING:
    import pyarrow as pa

TITLE = "Parquet files"
ABOUT = (
    "A column of text from Parquet files, with tags, ids, groups and sides from other columns. A "
    "batch of rows of a row group is read at once."
)
SOURCE = "files of the user; the format: https://parquet.apache.org/docs/file-format/"
TOKEN = "byte"
TAGS = {}
FETCHES = True
OPTIONS = {}
OPTIONS_OF = "_files _columns"

_ROWS = 4096  # of a batch
_MOST_BYTES = 1 << 25  # of a batch


def pieces(
    files: str | Sequence[str], max_mib: float, max_seconds: float, fetched: Path, **options
) -> Iterator[pa.Table]:
    """The rows of every file, in order, in tables (`Columns.pieces`).

    Raises:
        IsolossError: a file is not there, is damaged, or lacks a column.
    """
    for file in files_of(files, Limits(max_seconds, max_mib), fetched):
        yield from _rows(file, Columns.of_options(options))


def _rows(file: File, columns: Columns) -> Iterator[pa.Table]:
    """The rows of a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_kind(file)
    line = 1
    with file.guarded(), pq.ParquetFile(file.path, page_checksum_verification=True) as parquet:
        columns.check(parquet.schema_arrow, file.label)
        for batch in parquet.iter_batches(_ROWS, columns=columns.names):
            for first, part in in_parts(pa.table(batch), _MOST_BYTES):
                yield columns.pieces(part, file.label, line + first)
            line += batch.num_rows


def _check_kind(file: File) -> None:
    """Raise an error for a file that is text or packed, not a Parquet file that is damaged."""
    start = file.start()
    if start.startswith(tuple(PACKED)):
        raise file.error("is packed, and not a Parquet file", "unpack it")
    if start and start.isascii() and not start.startswith(b"PAR1"):
        card = "jsonl" if is_json(start) else "csv"
        remedy = f"load it by the card {card}, or by text_folder"
        raise file.error("is text, and not a Parquet file", remedy)
