"""The files of a dataset that the package `datasets` saved to disk.

A `Dataset` is a folder with state.json, which lists its Arrow files; a `DatasetDict` a folder with
dataset_dict.json, which lists the splits, each a `Dataset` in a folder below.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

LISTS = ("state.json", "dataset_dict.json")
MOST_FILES = 10_000
_MOST_BYTES = 1 << 24  # of a list of files


def saved_files(folder: Path) -> dict[str, list[Path]]:
    """The Arrow files of every split of a saved dataset, in order.

    Args:
        folder: what `save_to_disk` was given.

    Returns:
        Split to files; the split of a `Dataset` is the empty string.

    Raises:
        ValueError: it is not such a folder, it lists files that are elsewhere or too many, or its
            rows are chosen by an index beside them.
        OSError: it cannot be read.
    """
    splits = {"": folder}
    if (folder / "dataset_dict.json").exists():
        names = _content(folder, "dataset_dict.json", "splits")
        splits = {name: folder / _below(name) for name in names}
        if len(splits) < len(names):
            raise ValueError("it lists a split twice")
    files = {}
    for name, place in splits.items():
        if _content(place, "state.json", "_indices_data_files", []):
            raise ValueError("its rows are chosen by an index: load it and save it again")
        listed = _content(place, "state.json", "_data_files")
        names_of = [one.get("filename") if isinstance(one, dict) else one for one in listed]
        files[name] = [place / _below(file) for file in names_of]
    count = sum(map(len, files.values()))
    if not 0 < count <= MOST_FILES:
        raise ValueError(f"it lists {count} files")
    return files


def _content(folder: Path, name: str, key: str, otherwise: list | None = None) -> list[Any]:
    """A list in a small JSON file of a saved dataset."""
    file = folder / name
    if not file.is_file():  # a pipe is not opened
        raise ValueError(f"no {name}")
    if file.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{name} has more than {_MOST_BYTES} bytes")
    try:
        content = json.loads(file.read_bytes())
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply") from None
    values = content.get(key) if isinstance(content, dict) else None
    values = otherwise if values is None else values
    if not isinstance(values, list):
        raise ValueError(f"{name} has no list {key!r}")
    return values


def _below(name: Any) -> PurePosixPath:
    """A name in a list of files, which must stay in its folder."""
    path = PurePosixPath(name if isinstance(name, str) else "")
    if path.is_absolute() or ".." in path.parts or not path.parts or set(name) & {"\\", ":"}:
        raise ValueError(f"it names {name!r}, which is not a file below it")
    return path
