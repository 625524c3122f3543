"""Labelled images in IDX files, the format of MNIST: training files, and test files if any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from isoloss.core.problems import IsolossError, Problem

TITLE = "Images in IDX files"
ABOUT = (
    "Grey images with labels, from IDX files, packed by gzip or not. The test files are the"
    " validation side; without them `valid_fraction` of the images is."
)
SOURCE = "files of the user; the format: http://yann.lecun.com/exdb/mnist/"
TOKEN = "example"
TAGS = {"class": "name of the image's class, or its label where classes are not named"}
OPTIONS = {
    "images": {
        "type": "string",
        "default": "train-images-idx3-ubyte.gz",
        "description": "File of the training images.",
    },
    "labels": {
        "type": "string",
        "default": "train-labels-idx1-ubyte.gz",
        "description": "File of their labels.",
    },
    "test_images": {
        "type": "string",
        "default": "",
        "description": "File of the images of the validation side; empty for a share of the "
        "training images.",
    },
    "test_labels": {
        "type": "string",
        "default": "",
        "description": "File of their labels.",
    },
    "classes": {
        "type": "array",
        "items": {"type": "string"},
        "default": [],
        "description": "Names of the classes, from label 0 on; a label beyond them is refused. "
        "Without them a class is called by its label.",
    },
}


def sources(
    images: str, labels: str, test_images: str, test_labels: str, classes: Sequence[str]
) -> list[tuple[str, Path]]:
    """The files that are read, as (name, path).

    Raises:
        IsolossError: a file is not there, there are test images without labels or the reverse, or
            two classes have one name.
    """
    for label, name in enumerate(classes):
        if (before := classes.index(name)) < label:
            reason = f"labels {before} and {label} are both called {name!r}"
            raise IsolossError(
                Problem("dataset idx_images, classes", reason, "give every class its own name")
            )
    named = {"images": images, "labels": labels}
    named |= {"test_images": test_images, "test_labels": test_labels}
    if bool(test_images) != bool(test_labels):
        lacking = "test_labels" if test_images else "test_images"
        remedy = "name both files of the validation side, or none of them"
        raise IsolossError(Problem(f"dataset idx_images, {lacking}", "names no file", remedy))
    files = {option: Path(name) for option, name in named.items() if name}
    for option, file in files.items():
        if not file.is_file():
            reason, remedy = f"no file {file}", "give the path of an IDX file"
            raise IsolossError(Problem(f"dataset idx_images, {option}", reason, remedy))
    return list(files.items())


def pieces(
    images: str, labels: str, test_images: str, test_labels: str, classes: Sequence[str]
) -> Iterator[dict]:
    """Every image: `features` (uint8, height x width), `label`, `tags`, `group`, `split` if given.

    Those of the validation side come first: a training image with the content of one of them is
    dropped, and the validation side is whole.

    Raises:
        IsolossError: a file cannot be used, with its name and byte, or the images of the two sides
            differ in size.
    """
    from isoloss.datasets._idx import pieces_of, read_labelled

    files = dict(sources(images, labels, test_images, test_labels, classes))
    names = dict(enumerate(classes or map(str, range(256))))
    if test_images:
        test = read_labelled(files["test_images"], files["test_labels"], len(names))
        yield from pieces_of(*test, names, "test", "valid")
    training = read_labelled(files["images"], files["labels"], len(names))
    if test_images and test[0].shape[1:] != training[0].shape[1:]:
        height, width = training[0].shape[1:]
        reason = "its images are {} x {}, where {} has images of {} x {}".format(
            *test[0].shape[1:], images, height, width
        )
        remedy = f"give test images of {height} x {width}, or leave out the test files"
        raise IsolossError(Problem(test_images, reason, remedy))
    yield from pieces_of(*training, names, "training", "train" if test_images else "")
