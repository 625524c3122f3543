"""The index of a store: what its runs were when their files were last found sound.

Two files a run are slow to read where there are ten thousand. A job that trains a shard writes what
it read or saved into one file, with the stamp of every run's file. An entry counts while the file
has that stamp: a run that was replaced, damaged or removed since is read and checked again. The
name of a file of the index has the digest of its content. So an index that is missing, damaged or
old costs time and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.core.problems import TableError
from isoloss.records import manifest

Stamp = tuple[int, int, int, int]
Entry = tuple[Stamp, dict[str, Any]]  # of a run: the stamp of its file, and its row
_STAMP = ("_size", "_mtime", "_ctime", "_inode")


def stamp(path: Path) -> Stamp | None:
    """Size, times of the last changes (ns) and inode of a file; None if there is none."""
    try:
        about = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino


def read(
    folder: Path, segment: str = "*", columns: Sequence[str] | None = None
) -> dict[str, Entry]:
    """What an index says, by run digest; nothing where it is missing or damaged.

    Args:
        folder: of the index.
        segment: a sweep and a shard, `<sweep>.<shard>`; `*` for all.
        columns: of the rows, `run_digest` among them; None for all.
    """
    entries: dict[str, Entry] = {}
    names = None if columns is None else [*columns, *_STAMP]
    for path in _files(folder, segment):
        with suppress(OSError, TableError, KeyError):
            content = path.read_bytes()
            if path.suffixes[-2:-1] != [f".{manifest.digest_of(content)}"]:
                continue
            for row in tables.rows(path, "shard", content, names):
                of_file = tuple(row.pop(name) for name in _STAMP)
                digest = row["run_digest"]
                # a run is in two shards where two sweeps have it: the later look counts
                if digest not in entries or entries[digest][0][2] < of_file[2]:
                    entries[digest] = of_file, row
    return entries


def write(folder: Path, segment: str, entries: Mapping[str, Entry]) -> None:
    """Write a part of an index, in the place of what it was before.

    Args:
        folder: of the index; made if it is not there.
        segment: a sweep and a shard, `<sweep>.<shard>`.
        entries: by run digest.
    """
    import pyarrow as pa

    columns = tables.schema("shard")
    for name in _STAMP:
        columns = columns.append(pa.field(name, pa.int64()))
    rows = [{**row, **dict(zip(_STAMP, of_file, strict=True))} for of_file, row in entries.values()]
    draft = folder / f".{segment}.{os.getpid()}.tmp"
    arrays = [
        pa.array([row.get(c.name) for row in rows], c.type, from_pandas=True) for c in columns
    ]
    tables.write_free(pa.table(arrays, columns), draft, {"table": "shard"})
    path = folder / f"{segment}.{manifest.file_digest(draft)}.parquet"
    os.replace(draft, path)
    for old in _files(folder, segment):
        if old != path:
            old.unlink(missing_ok=True)


def _files(folder: Path, segment: str) -> list[Path]:
    """The files of a segment, sorted: a sweep `a.1` is no part of a sweep `a`."""
    paths = sorted(folder.glob("*.parquet"))
    return [path for path in paths if segment in ("*", path.name.rsplit(".", 2)[0])]
