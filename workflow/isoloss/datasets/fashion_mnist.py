"""Fashion-MNIST: 70 000 grey images of clothes in ten classes, from files or from a hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.core.problems import IsolossError, Problem

if TYPE_CHECKING:
    import numpy as np

TITLE = "Fashion-MNIST"
ABOUT = (
    "60 000 training images of 28 x 28 pixels and 10 000 test images, which are the validation"
    " side; ten classes. From the IDX files of the system package dataset-fashion-mnist, or from"
    " the Hugging Face hub."
)
SOURCE = "Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747 (MIT licence)"
TOKEN = "example"
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
    "install the package `datasets` (`pip install isoloss[hub]`) for `source: hub`"
)


def sources(source: str, folder: str) -> list[tuple[str, Path]]:
    """The files that are read, as (name, path): IDX files, or those that the hub was kept in.

    Raises:
        IsolossError: they are not there; with the command that installs them.
    """
    if not _from_hub(source, folder):
        return [(name, _file(folder, name)) for name in _FILES]
    hub = _hub()
    files = [Path(file["filename"]) for side in ("test", "train") for file in hub[side].cache_files]
    return [(file.name, file) for file in files]


def pieces(source: str, folder: str) -> Iterator[dict]:
    """Every image: `features` (uint8, 28 x 28), `label`, `tags`, `group`, `split`; test first.

    Raises:
        IsolossError: a file cannot be used, with its name and byte.
    """
    from isoloss.datasets._idx import pieces_of, read_labelled

    names = dict(enumerate(CLASSES.split()))
    for side, split in (("t10k", "valid"), ("train", "train")):
        if _from_hub(source, folder):
            pixels, labels = _of_hub("test" if split == "valid" else split)
        else:
            files = [_file(folder, name) for name in _FILES if name.startswith(side)]
            pixels, labels = read_labelled(*files, len(names))
        yield from pieces_of(pixels, labels, names, side, split)


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


@cache
def _hub() -> Any:
    """The dataset of the hub, by side; it is fetched once and then read from the hub's cache."""
    place = "dataset fashion_mnist, source: hub"
    try:
        import datasets
    except ImportError as error:
        reason = "the package `datasets` is not installed"
        remedy = "install it with `pip install isoloss[hub]`, or take `source: files`"
        raise IsolossError(Problem(place, reason, remedy)) from error
    try:
        return datasets.load_dataset(HUB)
    except OSError as error:  # no network, or no such dataset
        reason = f"{HUB} could not be loaded ({error})"
        raise IsolossError(Problem(place, reason, "try again, or take `source: files`")) from error


def _of_hub(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (n, 28, 28), and labels, int64 (n,), of a side."""
    import numpy as np

    side = _hub()[split]
    images = np.stack([np.asarray(image, dtype=np.uint8) for image in side["image"]])
    return images, np.array(side["label"][:], dtype=np.int64)
