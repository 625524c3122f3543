"""The examples of a dataset in one file, row after row, which a training job maps into memory.

The file is in NumPy's format, which `numpy.load` reads. Its first axis counts examples in the order
of the rows table: the tokens of a text, (n_tokens,), or images, (n_images, height, width). Where a
row begins is the sum of `n_tokens` of those before it.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from isoloss.core import tables
from isoloss.core.problems import Problem, TableError

NAME = "tokens.npy"
TYPE = np.dtype(np.uint8)  # of a file that holds nothing; a token of a text is a byte


class TokenWriter:
    """Append examples to a file; made by `token_writer`."""

    def __init__(self, path: Path, file: BinaryIO):
        self._path, self._file = path, file
        self._count, self._begin = 0, 0
        self._empty = np.zeros(0, TYPE)

    def append(self, examples: np.ndarray) -> None:
        """Append the examples of further rows.

        Args:
            examples: integers, (n, ...); type and further axes are those of the first call.

        Raises:
            TableError: they are not.
        """
        if not self._begin:
            self._empty = examples[:0]
            self._header()
            self._begin = self._file.tell()
        kind, shape = self._empty.dtype, self._empty.shape[1:]
        if (examples.dtype, examples.shape[1:]) != (kind, shape):
            reason = f"{examples.dtype} {examples.shape[1:]} follows {kind} {shape}"
            remedy = "give all examples of a dataset one type and one shape"
            raise TableError(Problem(str(self._path), reason, remedy))
        self._file.write(np.ascontiguousarray(examples).data)
        self._count += len(examples)

    def finish(self) -> None:
        """Write the number of examples into the file's header, which has room for any number."""
        self._file.seek(0)
        self._header()
        if self._begin and self._file.tell() != self._begin:
            raise AssertionError("numpy's header has not kept its length")

    def _header(self) -> None:
        shape = (self._count, *self._empty.shape[1:])
        about = {"descr": self._empty.dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, about)


@contextmanager
def token_writer(path: str | Path) -> Iterator[TokenWriter]:
    """A writer of a token file; the file gets its name when all of it is written.

    Args:
        path: the file; its folder is made.
    """
    with tables.whole(path) as temporary, temporary.open("wb") as file:
        writer = TokenWriter(Path(path), file)
        yield writer
        writer.finish()


class TokenArray:
    """The examples of a dataset, mapped from their file or in memory.

    Attributes:
        values: integers, (n, ...), read-only where they are mapped.

    Args:
        values: the examples.
        mapping: what they are mapped by; None for an array in memory.
    """

    def __init__(self, values: np.ndarray, mapping: mmap.mmap | None = None):
        self.values = values
        self._mapping = mapping

    def __len__(self) -> int:
        return len(self.values)

    def release(self) -> None:
        """Free the memory of what was read; it is read from the file again when needed.

        Pages of a mapped file count as memory of the process for as long as they are mapped.
        """
        if self._mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._mapping.madvise(mmap.MADV_DONTNEED)


def map_tokens(path: str | Path) -> TokenArray:
    """Map a token file into memory; only what is used is read.

    Raises:
        TableError: there is no such file, or it is not one that `token_writer` wrote.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(Problem(str(path), "no such file", "run the stage that makes it"))
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("another version of the format")
            shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
            begin, count = file.tell(), math.prod(shape)
            size = os.fstat(file.fileno()).st_size
            if (
                dtype.kind not in "iu"
                or by_column
                or not shape
                or size != begin + count * dtype.itemsize
            ):
                raise ValueError(f"it does not hold whole numbers {shape} of type {dtype}")
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        values = np.frombuffer(mapping, dtype=dtype, offset=begin, count=count).reshape(shape)
    except (OSError, ValueError) as error:
        raise TableError(Problem(str(path), f"is damaged ({error})", "make it again")) from error
    return TokenArray(values, mapping)
