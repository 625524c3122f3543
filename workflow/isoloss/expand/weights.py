"""Tag-weighted repetition of rows.

Weight 1 keeps a row, 0 drops it, 2 repeats it; the fraction of a weight is decided by a hash of
the seed and the row's identity, so the same rows come out for the same seed whatever their order,
the machine or the number of processes. The weights of several tags of a row multiply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core.hashing import blake2b_each
from isoloss.core.problems import IsolossError, Problem
from isoloss.core.tag_codes import TagCodes

Weights = Mapping[str, Mapping[str, float]]
MOST_ROWS = 10**9  # copies included
MOST_TOKENS = 10**10  # of all copies: the order of their windows is in memory


def merge_weights(maps: Sequence[Weights]) -> dict[str, dict[str, float]]:
    """Merge weight maps; a later map wins for the same tag key and value."""
    merged: dict[str, dict[str, float]] = {}
    for weights in maps:
        for key, values in weights.items():
            merged.setdefault(key, {}).update(values)
    return merged


def row_weight(tags: Iterable[tuple[str, str]], weights: Weights) -> float:
    """The product of the weights of a row's tags; a tag without a weight counts 1.

    Args:
        tags: (key, value) pairs, multiplied in their order (floating point is not associative).
        weights: tag key to tag value to weight, each at least 0.
    """
    weight = 1.0
    for key, value in tags:
        scale = (weights.get(key) or {}).get(value)
        if scale is not None:
            weight *= scale
    return weight


def row_copies(row_id: str, weight: float, seed: int) -> int:
    """How often a row of this weight appears: the whole part, and one more by chance.

    The chance is the fraction; the draw is the first 8 bytes of BLAKE2b(`seed:row_id`), big
    endian, over 2^64.
    """
    if weight <= 0.0:
        return 0
    whole = int(weight)
    fraction = weight - whole
    if fraction == 0.0:
        return whole
    digest = blake2b(f"{seed}:{row_id}".encode(), digest_size=8).digest()
    return whole + (int.from_bytes(digest, "big") / float(1 << 64) < fraction)


def tag_weights(tags: pa.MapArray, weights: Weights) -> np.ndarray:
    """`row_weight` of many rows at once, with bitwise the same results.

    Args:
        tags: of every row, maps of strings (n,).
        weights: tag key to tag value to weight.

    Returns:
        float64 (n,).
    """
    return weights_of(TagCodes.of(tags), weights)


def weights_of(tags: TagCodes, weights: Weights) -> np.ndarray:
    """`tag_weights` of tags that are numbers already."""
    factors = np.ones(len(tags.keys))
    for key, scales in weights.items():
        at = np.flatnonzero(pc.equal(tags.keys, key))
        known = pa.array(list(scales), pa.string())
        which = pc.index_in(tags.values.take(pa.array(at)), value_set=known).fill_null(len(known))
        factors[at] = np.array([*scales.values(), 1.0], dtype=float)[which.to_numpy()]
    with np.errstate(over="ignore", invalid="ignore"):  # `copies` refuses what is not finite
        return tags.product(factors)


def weighted_copies(row_ids: pa.Array, weight: np.ndarray, seed: int) -> np.ndarray:
    """`row_copies` of many rows at once, with bitwise the same results.

    Args:
        row_ids: of every row, strings (n,); only those of weights with a fraction are hashed.
        weight: of every row (n,).
        seed: decides the fractions.

    Returns:
        Whole numbers, float64 (n,): they may be larger than any integer type allows.

    Raises:
        IsolossError: a weight is not finite.
    """
    is_finite = np.isfinite(weight)
    if not is_finite.all():
        reason = f"the weights of a row's tags multiply to {weight[~is_finite][0]}"
        raise IsolossError(Problem("weights", reason, "lower them"))
    weight = np.maximum(weight, 0.0)
    copies = np.floor(weight)
    fraction = weight - copies
    drawn = np.flatnonzero(fraction != 0.0)
    digests = blake2b_each(row_ids, 8, f"{seed}:".encode(), at=drawn)
    draws = digests.view(">u8")[:, 0].astype(np.float64)
    draws *= 2.0**-64  # exact
    copies[drawn] += draws < fraction[drawn]
    return copies


class Sizes:
    """The numbers of rows and tokens that a weighting makes, copies counted."""

    def __init__(self) -> None:
        self._n_rows = 0
        self._rows = self._tokens = 0.0

    def add(self, copies: np.ndarray, n_tokens: np.ndarray | None, n_rows: int) -> None:
        """Count a batch of rows.

        Args:
            copies: of every row, float64 (n,), 0 for one that does not count.
            n_tokens: of every row, int (n,), where known.
            n_rows: that count.
        """
        self._n_rows += n_rows
        self._rows += float(np.sum(copies))
        if n_tokens is not None:
            self._tokens += float(np.sum(n_tokens * copies))

    def merge(self, other: Sizes) -> None:
        """Add those of another batch."""
        self._n_rows += other._n_rows
        self._rows += other._rows
        self._tokens += other._tokens

    def check(self) -> None:
        """Raise an error if there are more copies than can be stored.

        Raises:
            IsolossError: there are too many rows or tokens.
        """
        sizes = {"rows": (self._rows, MOST_ROWS), "tokens": (self._tokens, MOST_TOKENS)}
        for what, (total, most) in sizes.items():
            if total > most:
                reason = f"they would make {min(total, 1e300):.3g} {what} of {self._n_rows} rows"
                remedy = f"at most {most:.0e} are allowed: lower the weights"
                raise IsolossError(Problem("weights", reason, remedy))
