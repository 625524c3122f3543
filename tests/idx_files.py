"""IDX files of a test: small labelled images, written as the format's page says."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

NAMES = {
    "images": "train-images-idx3-ubyte",
    "labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def idx(values: np.ndarray) -> bytes:
    """The bytes of an IDX file of unsigned bytes."""
    head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return head + values.astype(np.uint8).tobytes()


def small_images(n: int, seed: int, size: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 (n, size, size), of ten classes: a line of the image says which."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n)
    images = rng.integers(0, 60, (n, size, size))
    images[np.arange(n), labels % size] += 100
    images[:, 0, 0] += np.where(labels >= 5, 90, 0)
    return images.astype(np.uint8), labels.astype(np.uint8)


def write_images(
    folder: Path, n: int = 60, n_test: int = 20, packed: bool = False, size: int = 4
) -> dict:
    """Write the four files of a dataset; the options of `idx_images` that name them."""
    training, test = small_images(n, 1, size), small_images(n_test, 2, size)
    contents = dict(zip(NAMES, (*training, *test), strict=True))
    options = {}
    for option, values in contents.items():
        file = folder / (NAMES[option] + ".gz" * packed)
        file.write_bytes(gzip.compress(idx(values)) if packed else idx(values))
        options[option] = str(file)
    return options
