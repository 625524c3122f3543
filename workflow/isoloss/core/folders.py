"""The files of a folder that may be logs of training runs, at any depth."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_MOST_FILES = 500_000  # looked at in a folder
_HEAD = 2**12  # bytes by which a file of another name is known
_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".pq", ".arrow", ".feather")
_PACKED = ("", ".gz", ".zst", ".xz", ".bz2")
_NAMED = tuple(ending + packed for ending in _ENDINGS for packed in _PACKED)
_NAMED += (".yaml", ".yml")
_EVENTS = "tfevents"  # part of the name of every event file of TensorBoard
_STORE = {"metrics", "params", "tags"}  # folders of a run in an MLflow store, beside its meta.yaml
_HIDDEN = {".hydra"}  # hidden folders that have a run's configuration
_NEVER = {"node_modules", "__pycache__", "site-packages"}
_CELL = re.compile(rb"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*|\s*")


@dataclass(frozen=True)
class LogFiles:
    """The files of a folder.

    Attributes:
        logs: name below the folder to path, of what may be a log, in the order of names.
        others: ending to number of all other files.
        closed: name to reason, of folders that cannot be listed.
    """

    logs: dict[str, Path] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)


def log_files(folder: Path) -> LogFiles:
    """The files that may be logs by their names or first bytes, and what else there is.

    Hidden files are left out. Links are followed, once: what is there twice has the name that is
    not a link.

    Args:
        folder: where to look, also in folders inside it.

    Raises:
        OSError: the folder itself cannot be listed.
        ValueError: it has too many files.
    """
    os.listdir(folder)  # an error of the folder itself is raised
    files = LogFiles()
    for count, (name, path) in enumerate(_walk(folder, files.closed), 1):
        if count > _MOST_FILES:
            raise ValueError(f"more than {_MOST_FILES} files")
        if _is_named(PurePosixPath(name), path) or _begins_so(path):
            files.logs[name] = path
        else:
            ending = path.suffix or path.name
            files.others[ending] = files.others.get(ending, 0) + 1
    return LogFiles(dict(sorted(files.logs.items())), files.others, files.closed)


def _walk(folder: Path, closed: dict[str, str]) -> Iterator[tuple[str, Path]]:
    """Every file below a folder with its name there; those behind links last."""
    seen: set[tuple[int, int]] = set()
    left, links = [("", folder)], []
    while left or links:
        if not left:
            name, path = links.pop(0)
            if path.is_dir():
                left.append((f"{name}/", path))
            elif path.is_file() and _is_new(path, seen):
                yield name, path
            continue
        above, path = left.pop()
        if not _is_new(path, seen):
            continue
        for entry in _entries(above, path, closed):
            name, below = f"{above}{entry.name}", Path(entry.path)
            if entry.is_symlink():
                links.append((name, below))
            elif entry.is_dir():
                left.append((f"{name}/", below))
            elif entry.is_file():
                _is_new(below, seen)
                yield name, below


def _entries(name: str, folder: Path, closed: dict[str, str]) -> list[os.DirEntry]:
    """What is in a folder, in the order of names, without what is hidden."""
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        closed[name] = str(error.strerror)
        return []
    return [e for e in listed if (e.name[0] != "." or e.name in _HIDDEN) and e.name not in _NEVER]


def _is_new(path: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether a file or folder was not seen yet under any name, which it is from now on."""
    about = path.stat()
    key = (about.st_dev, about.st_ino)
    new = key not in seen
    seen.add(key)
    return new


def _is_named(name: PurePosixPath, path: Path) -> bool:
    """Whether a file is called as logs are."""
    if name.name.lower().endswith(_NAMED) or _EVENTS in name.name:
        return True
    store = next((i for i, part in enumerate(name.parts[:-1]) if part in _STORE), None)
    if store is None:
        return False
    run = path.parents[len(name.parts) - store - 1]
    return (run / "meta.yaml").is_file()


def _begins_so(path: Path) -> bool:
    """Whether a file of any name begins as JSON, an event file, Parquet, or CSV of numbers."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    starts = (b'{"', b"[{", b"{\n", b"PAR1", b"ARROW1")
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(starts) or b"brain.Event:" in head[:44]:
        return True
    first, second, *_ = [*head.split(b"\n", 2), b"", b""]
    names, cells = first.split(b","), second.split(b",")
    numbers = all(map(_CELL.fullmatch, cells)) and not any(map(_CELL.fullmatch, names))
    return len(names) == len(cells) > 1 and numbers
