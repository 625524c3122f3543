"""Read IDX files, the format of MNIST and its successors; packed by gzip or not.

Source: http://yann.lecun.com/exdb/mnist/, "the IDX file format".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from isoloss.core.problems import IsolossError, Problem

if TYPE_CHECKING:
    import numpy as np

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08  # third byte of a file; the fourth is its number of axes
_MOST_BYTES = 2**32  # of the values of a file
_WHOLE = "fetch the file again, whole"


def read_idx(path: Path, axes: int) -> np.ndarray:
    """The values of an IDX file of unsigned bytes.

    Args:
        path: the file.
        axes: how many axes it must have: 3 for images, 1 for labels.

    Returns:
        uint8, (n, height, width) or (n,).

    Raises:
        IsolossError: it is not such a file, it is cut off or longer than it says, or it has nothing
            in it.
    """
    import numpy as np

    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            if not packed:
                shape, values = _parts(path, file, axes)
            else:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    shape, values = _parts(path, unpacked, axes)
    except (EOFError, zlib.error, OSError) as error:
        raise IsolossError(Problem(str(path), f"cannot be read ({error})", _WHOLE)) from error
    return np.frombuffer(values, np.uint8).reshape(shape)


def _parts(path: Path, file: BinaryIO, axes: int) -> tuple[tuple[int, ...], bytes]:
    """The lengths of the axes, and the values."""
    length = 4 + 4 * axes
    head = file.read(length)
    expected = bytes([0, 0, _UNSIGNED_BYTE, axes])
    if head[:4] != expected[: len(head)]:
        kind = f"unsigned bytes with {axes} axes, which begin with {expected.hex()}"
        reason = f"begins with {head[:4].hex()}"
        raise IsolossError(Problem(f"{path}, byte 0", reason, f"give an IDX file of {kind}"))
    if len(head) < length:
        raise _cut_off(path, len(head), length)
    shape = struct.unpack(f">{axes}I", head[4:])
    count = math.prod(shape)
    if not count or count > _MOST_BYTES:
        sizes = " x ".join(map(str, shape))
        remedy = f"give a file of 1 to {_MOST_BYTES} values"
        raise IsolossError(Problem(f"{path}, byte 4", f"its size is {sizes}", remedy))
    values = file.read(count)
    if len(values) < count:
        raise _cut_off(path, length + len(values), length + count)
    if file.read(1):
        reason = f"goes on where its {count} values end"
        raise IsolossError(Problem(f"{path}, byte {length + count}", reason, _WHOLE))
    return shape, values


def _cut_off(path: Path, size: int, expected: int) -> IsolossError:
    reason = f"ends here, where {expected} bytes are announced"
    return IsolossError(Problem(f"{path}, byte {size}", reason, _WHOLE))


def read_labelled(images: Path, labels: Path, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and the label of each.

    Args:
        images: IDX file of three axes.
        labels: IDX file of one axis.
        n_classes: every label is below it.

    Returns:
        uint8 (n, height, width), and uint8 (n,).

    Raises:
        IsolossError: a file cannot be used, they are of several lengths, or a label is too large.
    """
    pixels, classes = read_idx(images, 3), read_idx(labels, 1)
    if len(pixels) != len(classes):
        reason = f"has {len(classes)} labels, where {images} has {len(pixels)} images"
        raise IsolossError(Problem(str(labels), reason, "give the labels of these images"))
    wrong = (classes >= n_classes).nonzero()[0]
    if len(wrong):
        place = f"{labels}, byte {8 + wrong[0]}"
        reason = f"label {classes[wrong[0]]} of image {wrong[0]}, where classes are 0 to"
        remedy = "name all classes, or fix the label"
        raise IsolossError(Problem(place, f"{reason} {n_classes - 1}", remedy))
    return pixels, classes


def pieces_of(
    pixels: np.ndarray, labels: np.ndarray, classes: Mapping[int, str], name: str, split: str = ""
) -> Iterator[dict]:
    """The pieces of a dataset of images, in order; see `idx_images`.

    Args:
        pixels: (n, height, width).
        labels: of every image, (n,).
        classes: label to the name of its class.
        name: of the side; with a number it is the group of an image.
        split: of all; by hash of the group if empty.
    """
    given = {"split": split} if split else {}
    for i, (image, label) in enumerate(zip(pixels, labels.tolist(), strict=True)):
        tags = {"class": classes[label]}
        yield {"features": image, "label": label, "tags": tags, "group": f"{name} {i}", **given}
