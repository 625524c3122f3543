"""The tokens of a dataset in one file, row after row, which a training job maps into memory.

The file is in NumPy's format, which `numpy.load` reads: one dimension, in the order of the rows
table. Where a row begins is the sum of `n_tokens` of those before it.
"""

from __future__ import annotations

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
TYPE = np.dtype(np.uint8)  # a token is a byte


class TokenWriter:
    """Append tokens to a file; made by `token_writer`."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._count = 0
        self._header()
        self._begin = file.tell()

    def append(self, content: bytes | memoryview) -> None:
        """Append the tokens of further rows, as their bytes."""
        self._file.write(content)
        self._count += len(content) // TYPE.itemsize

    def finish(self) -> None:
        """Write the number of tokens into the file's header, which has room for any number."""
        self._file.seek(0)
        self._header()
        if self._file.tell() != self._begin:
            raise AssertionError("numpy's header has not kept its length")

    def _header(self) -> None:
        about = {"descr": TYPE.str, "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(self._file, about)


@contextmanager
def token_writer(path: str | Path) -> Iterator[TokenWriter]:
    """A writer of a token file; the file gets its name when all of it is written.

    Args:
        path: the file; its folder is made.
    """
    with tables.whole(path) as temporary, temporary.open("wb") as file:
        writer = TokenWriter(file)
        yield writer
        writer.finish()


class TokenArray:
    """The tokens of a dataset, mapped from its file or in memory.

    Attributes:
        values: (n,), read-only where they are mapped.

    Args:
        values: the tokens.
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
            (count,), _, dtype = np.lib.format.read_array_header_1_0(file)
            begin = file.tell()
            if dtype != TYPE or os.fstat(file.fileno()).st_size != begin + count * TYPE.itemsize:
                raise ValueError(f"it does not hold {count} tokens of type {TYPE}")
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise TableError(Problem(str(path), f"is damaged ({error})", "make it again")) from error
    return TokenArray(np.frombuffer(mapping, dtype=TYPE, offset=begin, count=count), mapping)
