"""BLAKE2b of many values at once, bit for bit what hashlib computes."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from isoloss.core.compiled import EFFORT

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LONG = 4096  # bytes of a value from which hashlib is as fast


def blake2b_each(
    values: pa.Array | pa.ChunkedArray,
    size: int,
    prefix: bytes = b"",
    at: np.ndarray | None = None,
) -> np.ndarray:
    """BLAKE2b of every value, as hashlib computes it (RFC 7693, without a key).

    Many short values are hashed by compiled code if numba is installed (extra `fast`).

    Args:
        values: strings (hashed as UTF-8) or binary values (n,), none of them null.
        size: of a digest, 1 to 64 bytes.
        prefix: bytes before each value.
        at: positions of the values to hash, int (m,); None for all of them.

    Returns:
        uint8 (n, size), or (m, size).

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
        if at is not None:
            return blake2b_each(values.combine_chunks(), size, prefix, at)
        parts = [blake2b_each(chunk, size, prefix) for chunk in values.chunks]
        return np.concatenate([np.empty((0, size), np.uint8), *parts])
    data, begin, end = _spans(values)
    if at is not None:
        begin, end = begin[at], end[at]
    digests = np.empty((len(begin), -(-size // 8)), np.uint64)  # whole words
    is_short = np.zeros(len(begin), dtype=bool)
    if EFFORT.pays(len(begin)):
        from isoloss.core.blake2b_compiled import hash_each

        content, before = np.frombuffer(data, np.uint8), np.frombuffer(prefix, np.uint8)
        is_short = end - begin < LONG
        if is_short.all():
            hash_each(content, begin, end, before, size, digests)
        else:
            short = np.empty((int(is_short.sum()), digests.shape[1]), np.uint64)
            hash_each(content, begin[is_short], end[is_short], before, size, short)
            digests[is_short] = short
    digests = digests.view(np.uint8)[:, :size]
    left = np.flatnonzero(~is_short)
    spans = zip(begin[left].tolist(), end[left].tolist(), strict=True)
    hashes = [blake2b(prefix + data[i:j], digest_size=size).digest() for i, j in spans]
    digests[left] = np.frombuffer(b"".join(hashes), np.uint8).reshape(len(left), size)
    return digests


def _spans(values: pa.Array) -> tuple[memoryview, np.ndarray, np.ndarray]:
    """The bytes of all values, and where each begins and ends in them, int64 (n,)."""
    import numpy as np
    import pyarrow as pa

    kinds = {pa.string(): np.int32, pa.binary(): np.int32}
    kind = kinds.get(values.type, np.int64)
    if kind is np.int64:
        values = values.cast(pa.large_binary())
    _, offsets, data = values.buffers()
    size = np.dtype(kind).itemsize
    ends = np.frombuffer(offsets or bytes(8), kind, len(values) + 1, size * values.offset)
    ends = ends.astype(np.int64)
    return memoryview(data or b""), ends[:-1], ends[1:]
