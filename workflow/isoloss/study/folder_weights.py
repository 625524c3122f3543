"""Weights in the folders of a dataset's files, for weightings that name such files (`files`)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from isoloss.core import registry, weight_maps, yaml_text
from isoloss.core.problems import IsolossError
from isoloss.load.content import keywords

Weights = dict[str, dict[str, float]]


def folder_weights(dataset: Mapping[str, Any], name: str, fetched: Path) -> dict[str, Weights]:
    """The content of every weights file in the folders of a dataset's files.

    These are the folder that all files are in, and those from there down to each file's own. What
    was fetched from a network has no folders.

    Args:
        dataset: an entry of `load`, complete.
        name: of the weights files.
        fetched: folder of what was fetched.

    Returns:
        Folder, as the dataset's paths have it, to its weights (tag key to tag value to weight).

    Raises:
        IsolossError: a file is not YAML, or not of weights; with all that are wrong.
    """
    card = dataset["card"]
    given = keywords(card, dataset["options"], fetched)
    paths = [path for _, path in registry.card("dataset", card).sources(**given)]
    own = {path.parent for path in paths if not path.is_relative_to(fetched)}
    by_folder, problems = {}, []
    for folder in sorted(_folders(own)):
        file = folder / name
        if not file.is_file():
            continue
        try:
            by_folder[folder.as_posix()] = _read(file)
        except IsolossError as error:
            problems += [
                one if one.place.startswith(str(file)) else one.within(str(file))
                for one in error.problems
            ]
    if problems:
        raise IsolossError(*problems)
    return by_folder


def _folders(own: Iterable[Path]) -> set[Path]:
    """Folders of files, and those above them up to the one that all are in."""
    folders = set()
    for absolute in (True, False):
        alike = [folder for folder in own if folder.is_absolute() == absolute]
        top = Path(os.path.commonpath(alike)) if alike else Path()
        for folder in alike:
            folders |= {one for one in (folder, *folder.parents) if one.is_relative_to(top)}
    return folders


def _read(file: Path) -> Weights:
    content = yaml_text.read(file)
    weights = weight_maps.checked({} if content is None else content, str(file))
    return {
        key: {value: float(weight) for value, weight in values.items()}
        for key, values in weights.items()
    }
