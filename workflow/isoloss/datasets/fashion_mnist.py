"""Fashion-MNIST: 70 000 grey images of clothes in ten classes, from files or from a hub."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from isoloss.core.problems import IsolossError, Problem
from isoloss.datasets._columns import Columns
from isoloss.datasets._hub import HubDataset
from isoloss.datasets._splits import Rows

TITLE = "Fashion-MNIST"
ABOUT = (
    "60 000 training images of 28 x 28 pixels and 10 000 test images, which are the validation"
    " side; ten classes. From the IDX files of the system package dataset-fashion-mnist, or from"
    " the Hugging Face hub."
)
SOURCE = "Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747 (MIT licence)"
TOKEN = "example"
FETCHES = True
TAGS = {
    "class": "t-shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag or ankle-boot"
}
OPTIONS = {
    "source": {
        "type": "string",
        "enum": ["auto", "files", "hub"],
        "default": "auto",
        "description": "IDX files of a folder, or the Hugging Face hub; auto takes the files where "
        "they are, else the hub where the package `datasets` is installed.",
    },
    "folder": {
        "type": "string",
        "default": "/usr/share/datasets/fashion-mnist",
        "description": "Folder of the four IDX files, packed by gzip or not.",
    },
}
CLASSES = "t-shirt trouser pullover dress coat sandal shirt sneaker bag ankle-boot"
HUB = "zalando-datasets/fashion_mnist"
_FILES = (
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
)
_INSTALL = (
    "install them with `apt-get install dataset-fashion-mnist`, name their folder in `folder`, or "
    "install the package `datasets` (`pip install 'isoloss[hub]'`) for `source: hub`"
)


_SIDES = {"test": "valid", "train": "train"}  # of the hub's splits
_FILES_OF = {"valid": "t10k", "train": "train"}  # how the files of a side begin


def refresh(source: str, folder: str, fetched: Path) -> None:
    """Ask the hub, if it is the source, for the commit that is its newest, and fetch that.

    Raises:
        IsolossError: the hub does not give it.
    """
    if _from_hub(source, folder):
        HubDataset(HUB).fetch(fetched)


def sources(source: str, folder: str, fetched: Path) -> list[tuple[str, Path]]:
    """The files that are read, as (name, path): IDX files, or those that the hub was kept in.

    Raises:
        IsolossError: they are not there; with the command that installs them.
    """
    if not _from_hub(source, folder):
        return [(name, _file(folder, name)) for name in _FILES]
    return HubDataset(HUB).kept(fetched).sources(_SIDES, fetched)


def pieces(source: str, folder: str, fetched: Path) -> Iterator[dict]:
    """Every image: `features` (uint8, 28 x 28), `label`, `tags`, `group`, `split`; test first.

    Raises:
        IsolossError: a file cannot be used, with its name and byte.
    """
    from isoloss.datasets._idx import pieces_of, read_labelled

    names = dict(enumerate(CLASSES.split()))
    if _from_hub(source, folder):
        yield from _of_hub(names, fetched)
        return
    for split, name in _FILES_OF.items():
        files = [_file(folder, file) for file in _FILES if file.startswith(name)]
        pixels, labels = read_labelled(*files, len(names))
        yield from pieces_of(pixels, labels, names, name, split)


def _of_hub(names: Mapping[int, str], fetched: Path) -> Iterator[dict]:
    """The images that the hub gave, as those of the files."""
    rows = Rows(Columns(), image="image")
    numbers = {side: itertools.count() for side in _FILES_OF}
    for part in HubDataset(HUB).kept(fetched).parts(_SIDES, fetched):
        for row in rows.pieces([part]):
            group = f"{_FILES_OF[part.side]} {next(numbers[part.side])}"
            yield {**row, "tags": {"class": names.get(row["label"], "unknown")}, "group": group}


def _from_hub(source: str, folder: str) -> bool:
    """Whether the hub is asked, where a study leaves it open by what is at hand."""
    if source != "auto":
        return source == "hub"
    return _lacking(folder) is not None and importlib.util.find_spec("datasets") is not None


def _path(folder: str, name: str) -> Path:
    """An IDX file, packed if it is there packed."""
    packed = Path(folder, f"{name}.gz")
    return packed if packed.is_file() else Path(folder, name)


def _lacking(folder: str) -> str | None:
    """The first of the files that is not there."""
    return next((name for name in _FILES if not _path(folder, name).is_file()), None)


def _file(folder: str, name: str) -> Path:
    """An IDX file; raises IsolossError with what to do if it is not there."""
    path = _path(folder, name)
    if not path.is_file():
        reason = f"no file {name} or {name}.gz in {folder}"
        raise IsolossError(Problem("dataset fashion_mnist", reason, _INSTALL))
    return path
