"""BLAKE2b of many values at once, bit for bit what hashlib computes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

PATIENCE = 1_000_000  # hashes that take hashlib as long as numba takes to be imported and compile
LONG = 4096  # bytes of a value from which hashlib is as fast


class _Hashers:
    """The choice between hashlib and compiled code.

    Both give the same bits. Compiled code takes an eighth of the time, but a second before it can
    begin, so the first million hashes of a process are left to hashlib.
    """

    def __init__(self) -> None:
        self._n_hashes = 0

    def hasher(self, n: int) -> Callable | None:
        """The compiled function if it pays for n further hashes and can be had, else None."""
        self._n_hashes += n
        if self._n_hashes < PATIENCE or sys.byteorder != "little":
            return None
        try:
            from isoloss.core.blake2b_compiled import hash_each
        except ModuleNotFoundError as error:
            if error.name != "numba":
                raise
            return None
        return hash_each


_HASHERS = _Hashers()


def blake2b_each(values: pa.Array | pa.ChunkedArray, size: int, prefix: bytes = b"") -> np.ndarray:
    """BLAKE2b of every value, as hashlib computes it (RFC 7693, without a key).

    Many short values are hashed by compiled code if numba is installed (extra `fast`).

    Args:
        values: strings (hashed as UTF-8) or binary values (n,), none of them null.
        size: of a digest, 1 to 64 bytes.
        prefix: bytes before each value.

    Returns:
        uint8 (n, size).

    Raises:
        ValueError: a value is null, or the size is not one.

    Example:
        >>> import pyarrow as pa
        >>> blake2b_each(pa.array(["a", "b"]), 4, b"7:").tolist()
        [[72, 158, 84, 110], [245, 104, 87, 149]]
    """
    import numpy as np
    import pyarrow as pa

    if values.null_count:
        raise ValueError("a null value has no digest")
    if not 1 <= size <= 64:
        raise ValueError(f"a digest of {size} bytes: 1 to 64 are possible")
    if isinstance(values, pa.ChunkedArray):
        parts = [blake2b_each(chunk, size, prefix) for chunk in values.chunks]
        return np.concatenate([np.empty((0, size), np.uint8), *parts])
    binary = values.cast(pa.large_binary())
    _, offsets, data = binary.buffers()
    ends = np.frombuffer(offsets, np.int64, len(binary) + 1, 8 * binary.offset)
    begin, end = ends[:-1], ends[1:]
    hash_each = _HASHERS.hasher(len(binary))
    digests = np.empty((len(binary), size), np.uint8)
    short = np.flatnonzero(end - begin < LONG) if hash_each else np.zeros(0, np.int64)
    if len(short):
        content, before = np.frombuffer(data or b"", np.uint8), np.frombuffer(prefix, np.uint8)
        short_digests = np.empty((len(short), size), np.uint8)
        hash_each(content, begin[short], end[short], before, short_digests)
        digests[short] = short_digests
    left = np.delete(np.arange(len(binary)), short)
    texts = binary.take(pa.array(left)).to_pylist()
    joined = b"".join([blake2b(prefix + text, digest_size=size).digest() for text in texts])
    digests[left] = np.frombuffer(joined, np.uint8).reshape(len(left), size)
    return digests
