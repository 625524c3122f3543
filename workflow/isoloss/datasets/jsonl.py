"""Rows from JSON Lines files: an object in every line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isoloss.core.sources import Limits
from isoloss.datasets._columns import Columns
from isoloss.datasets._columns import tag_keys as tag_keys
from isoloss.datasets._files import files_of
from isoloss.datasets._files import sources as sources

if TYPE_CHECKING:
    import pyarrow as pa

TITLE = "JSON Lines files"
ABOUT = (
    "A field of text from the objects of JSON Lines files, packed by gzip, zstd or not, with tags, "
    "ids, groups and sides from other fields. 8 MiB of whole lines are read at once; fields that "
    "no option names are not unpacked."
)
SOURCE = "files of the user; the format: https://jsonlines.org"
TOKEN = "byte"
TAGS = {}
FETCHES = True
OPTIONS = {}
OPTIONS_OF = "_files _columns"


def pieces(
    files: str | Sequence[str], max_mib: float, max_seconds: float, fetched: Path, **options
) -> Iterator[pa.Table]:
    """The rows of every file, in order, in tables (`Columns.pieces`); a row is a line.

    Raises:
        IsolossError: a file is not there, is damaged, is one JSON array, or no row of all files has
            one of the columns.
    """
    from isoloss.datasets._json_lines import Reader

    reader = Reader(Columns.of_options(options))
    for file in files_of(files, Limits(max_seconds, max_mib), fetched):
        yield from reader.rows(file)
    reader.check_columns()
