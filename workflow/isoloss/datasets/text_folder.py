"""Rows from the text files in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from isoloss.core.paths import real
from isoloss.core.problems import IsolossError, Problem
from isoloss.datasets._columns import Columns, pattern_of
from isoloss.datasets._columns import tag_keys as tag_keys
from isoloss.datasets._files import LONGEST, File

if TYPE_CHECKING:
    import pyarrow as pa

TITLE = "Text files in a folder"
ABOUT = (
    "The files of a folder and of the folders in it, packed by gzip, zstd or not: a row is a file, "
    "a line or a paragraph, the rows of a file are a group. Links are followed where they lead to "
    "a file inside the folder."
)
SOURCE = "files of the user"
TOKEN = "byte"
TAGS = {}
OPTIONS = {
    "folder": {
        "type": "string",
        "minLength": 1,
        "default": ".",
        "description": "The folder, relative to the working folder.",
    },
    "pattern": {
        "type": "string",
        "minLength": 1,
        "default": "**/*.txt",
        "description": "Which files, by their path in the folder: * is any text without /, **/ any "
        "folders.",
    },
    "cut": {
        "type": "string",
        "enum": ["file", "line", "paragraph"],
        "default": "file",
        "description": "What a row is: a file, a line that is not blank, or lines between blank "
        "ones.",
    },
    "path_tags": "path_tags",
    "maps": "maps",
}

_ROWS, _BYTES = 8192, 1 << 24  # of a table


def sources(
    folder: str, pattern: str, cut: str, path_tags: str, maps: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, Path]]:
    """The files that are read, as (path in the folder, path), sorted.

    Raises:
        IsolossError: there is no such folder, no file has the pattern, or the path of one does not
            have the pattern of `path_tags`.
    """
    top, columns = Path(folder), Columns(path_tags=path_tags, maps=maps)
    if not top.is_dir():
        reason = "is a file, not a folder" if top.exists() else "there is no such folder"
        raise IsolossError(Problem(folder, reason, "check the path of `folder`"))
    whole, files = pattern_of(pattern, "pattern"), {}
    for above, _, names in os.walk(top):  # does not follow links
        for name in names:
            file = Path(above, name)
            place = file.relative_to(top).as_posix()
            inside = real(file).is_relative_to(real(top))
            if whole.match(place) and inside and file.is_file():
                files[place] = file
    if not files:
        raise IsolossError(Problem(folder, f"no file in it matches {pattern!r}", "check `pattern`"))
    for place in files:
        columns.of_path(place)
    return sorted(files.items())


def pieces(
    folder: str, pattern: str, cut: str, path_tags: str, maps: Mapping[str, Mapping[str, str]]
) -> Iterator[pa.Table]:
    """The rows of every file, in order, in tables (`Columns.pieces`).

    Raises:
        IsolossError: see `sources`; or a file cannot be read or is damaged.
    """
    import pyarrow as pa

    columns = Columns(path_tags=path_tags, maps=maps, group="group")
    for place, path in sources(folder, pattern, cut, path_tags, maps):
        file = File(path.as_posix(), path)
        for rows in _batches(_CUTS[cut](file)):
            lines, texts = zip(*rows, strict=True)
            table = {"text": pa.array(texts, pa.binary()), "group": pa.repeat(place, len(rows))}
            yield columns.pieces(pa.table(table), file.label, lines, place)


def _batches(rows: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Rows in lists of bounded size."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row[1])
        if len(batch) == _ROWS or size >= _BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _whole(file: File) -> Iterator[tuple[int, bytes]]:
    """The file as one row."""
    with file.opened() as stream:
        text = stream.read(LONGEST + 1)
    if len(text) > LONGEST:
        raise file.error(f"has more than {LONGEST} bytes", "load it by `cut: line`")
    yield 1, text


def _lines(file: File) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, without line ends, with their numbers."""
    for first, block in file.blocks():
        for line, text in enumerate(block.split(b"\n"), first):
            if text.strip():
                yield line, text.removesuffix(b"\r")


def _paragraphs(file: File) -> Iterator[tuple[int, bytes]]:
    """The lines between blank ones, joined, with the number of the first."""
    first, lines = 0, []
    for line, text in _lines(file):
        if lines and line != first + len(lines):
            yield first, b"\n".join(lines)
            lines = []
        first = first if lines else line
        lines.append(text)
    if lines:
        yield first, b"\n".join(lines)


_CUTS = {"file": _whole, "line": _lines, "paragraph": _paragraphs}
