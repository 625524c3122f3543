"""A dataset of a Hugging Face hub by name, config, splits and revision: texts, or images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isoloss.datasets._hub import HubDataset
from isoloss.datasets._splits import Rows
from isoloss.datasets._splits import token as token

TITLE = "Dataset of a Hugging Face hub"
ABOUT = (
    "A dataset by its name, read through the package `datasets` (`pip install 'isoloss[hub]'`). A"
    " revision that is a commit pins it; a branch is resolved to its commit when the study starts,"
    " which is shown. It is fetched once and kept in the results."
)
SOURCE = "https://huggingface.co/datasets, or the hub that HF_ENDPOINT names"
TOKEN = "byte"
TAGS = {}
FETCHES = True
OPTIONS_OF = "_columns"
OPTIONS = {
    "name": {
        "type": "string",
        "default": "",
        "description": "Name of the dataset, such as owner/name; it has to be given.",
    },
    "config": {
        "type": "string",
        "default": "",
        "description": "Config of the dataset; empty for the only one.",
    },
    "revision": {
        "type": "string",
        "default": "",
        "description": "Commit (40 hexadecimal digits), branch or tag; empty for the main branch.",
    },
    "streaming": {
        "type": ["string", "boolean"],
        "enum": ["auto", True, False],
        "default": "auto",
        "description": "Whether rows are read while they are fetched, and the dataset is not kept; "
        "auto: where its files have more than 4 GiB. The job that loads it then needs the network.",
    },
    "splits": "splits",
    "image": "image",
    "label": "label",
}


def tag_keys(**options: Any) -> list[str]:
    """The keys of the tags that rows have."""
    return Rows.of_options(options).tag_keys


def refresh(fetched: Path, **options: Any) -> None:
    """Ask the hub which commit the revision is now, and fetch that.

    Raises:
        IsolossError: the hub does not give it, with what to do.
    """
    _dataset(options).fetch(fetched)


def sources(splits: Mapping[str, str], fetched: Path, **options: Any) -> list[tuple[str, Path]]:
    """The files by which the dataset is known, as (name, path).

    Raises:
        IsolossError: the hub does not give it, or it does not have these splits.
    """
    return _dataset(options).kept(fetched).sources(splits, fetched)


def pieces(splits: Mapping[str, str], fetched: Path, **options: Any) -> Iterator[Any]:
    """Tables of texts, batch by batch, or images one by one; the validation side first.

    Raises:
        IsolossError: the rows cannot be read, or do not have these columns.
    """
    parts = _dataset(options).kept(fetched).parts(splits, fetched)
    return Rows.of_options(options).pieces(parts)


def _dataset(options: Mapping[str, Any]) -> HubDataset:
    """The dataset that options name."""
    return HubDataset(options["name"], options["config"], options["revision"], options["streaming"])
