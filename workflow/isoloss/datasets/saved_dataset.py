"""A dataset that the package `datasets` saved to disk: texts, or images with labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isoloss.core.problems import IsolossError, Problem
from isoloss.core.saved import saved_files
from isoloss.datasets._splits import Rows, parts_of, sides_of
from isoloss.datasets._splits import token as token

TITLE = "Dataset saved to disk"
ABOUT = (
    "A folder that `save_to_disk` of the package `datasets` wrote, of a `Dataset` or a"
    " `DatasetDict`; its Arrow files are read batch by batch, without the package."
)
SOURCE = "files of the user; the format: https://huggingface.co/docs/datasets"
TOKEN = "byte"
TAGS = {}
OPTIONS_OF = "_columns"
OPTIONS = {
    "folder": {
        "type": "string",
        "default": "",
        "description": "The folder; it has to be given.",
    },
    "splits": "splits",
    "image": "image",
    "label": "label",
}


def tag_keys(**options: Any) -> list[str]:
    """The keys of the tags that rows have."""
    return Rows.of_options(options).tag_keys


def sources(folder: str, splits: Mapping[str, str], **options: Any) -> list[tuple[str, Path]]:
    """The Arrow files that are read, as (name, path).

    Raises:
        IsolossError: it is not a saved dataset, a file that it lists is not there, or it does not
            have these splits.
    """
    files, sides = _files(folder, splits)
    listed = [(f"{split}/{file.name}", file) for split in sides for file in files[split]]
    for _, file in listed:
        if not file.is_file():
            reason = "no such file, and the dataset lists it"
            raise IsolossError(
                Problem(str(file), reason, "copy the whole folder, or save it again")
            )
    return listed


def pieces(folder: str, splits: Mapping[str, str], **options: Any) -> Iterator[Any]:
    """Tables of texts, batch by batch, or images one by one; the validation side first.

    Raises:
        IsolossError: a file cannot be read, or does not have these columns.
    """
    return Rows.of_options(options).pieces(parts_of(*_files(folder, splits)))


def _files(folder: str, splits: Mapping[str, str]) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """Split to its files, and split to its side."""
    remedy = "give a folder that `save_to_disk` wrote"
    if not folder:
        raise IsolossError(Problem("dataset saved_dataset, folder", "names no folder", remedy))
    try:
        files = saved_files(Path(folder))
    except (OSError, ValueError) as error:
        raise IsolossError(Problem(folder, f"is not a saved dataset ({error})", remedy)) from error
    return files, sides_of(list(files), splits, folder)
