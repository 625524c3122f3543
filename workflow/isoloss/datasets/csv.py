"""Rows from CSV files and other tables with a separator."""

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

TITLE = "CSV files"
ABOUT = (
    "A column of text from CSV files, packed by gzip, zstd or not, with tags, ids, groups and sides"
    " from other columns. Cells may be in quotes, with separators and line ends in them; an empty "
    "cell is a missing value."
)
SOURCE = "files of the user; the format: RFC 4180"
TOKEN = "byte"
TAGS = {}
FETCHES = True
OPTIONS = {
    "separator": {
        "type": "string",
        "minLength": 1,
        "maxLength": 1,
        "default": ",",
        "description": 'What separates cells, such as ; or a tab ("\\t").',
    },
    "header": {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "default": [],
        "description": "Names of the columns, where the files do not have them in the first line.",
    },
}
OPTIONS_OF = "_files _columns"


def pieces(
    files: str | Sequence[str],
    max_mib: float,
    max_seconds: float,
    fetched: Path,
    separator: str,
    header: Sequence[str],
    **options,
) -> Iterator[pa.Table]:
    """The rows of every file, in order, in tables (`Columns.pieces`).

    The line of a row is its first, where cells contain line ends.

    Raises:
        IsolossError: a file is not there, is damaged, lacks a column, or has a cell whose quote is
            never closed.
    """
    from isoloss.datasets._cells import rows

    for file in files_of(files, Limits(max_seconds, max_mib), fetched):
        yield from rows(file, Columns.of_options(options), separator, header)
