"""Tag-weighted repetition of rows.

Weight 1 keeps a row, 0 drops it, 2 repeats it; the fraction of a weight is decided by a hash of
the seed and the row's identity, so the same rows come out for the same seed whatever their order,
the machine or the number of processes. The weights of several tags of a row multiply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core.audit import TagAudit, flat_tags
from isoloss.core.problems import IsolossError, Problem, nearest

Weights = Mapping[str, Mapping[str, float]]
MOST_ROWS = 10**9  # copies included
MOST_TOKENS = 10**10  # of all copies: the order of their windows is in memory
COLUMNS = ("row_id", "n_tokens", "tags", "split")  # of `rows`, which a weighting depends on


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
        scale = weights.get(key, {}).get(value)
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
    keys, values, lengths = flat_tags(tags)
    scale = np.ones(len(keys))
    for key, scales in weights.items():
        at = np.flatnonzero(pc.equal(keys, key))
        known = pa.array(list(scales), pa.string())
        which = pc.index_in(values.take(pa.array(at)), value_set=known).fill_null(len(known))
        scale[at] = np.array([*scales.values(), 1.0], dtype=float)[which.to_numpy()]
    weight, begin = np.ones(len(tags)), np.cumsum(lengths) - lengths
    with np.errstate(over="ignore", invalid="ignore"):  # `copies` refuses what is not finite
        for place in range(max(lengths, default=0)):  # every row's tags in their order
            rows = np.flatnonzero(lengths > place)
            weight[rows] *= scale[begin[rows] + place]
    return weight


def weighted_copies(
    row_ids: Callable[[np.ndarray], Iterable[str]], weight: np.ndarray, seed: int
) -> np.ndarray:
    """`row_copies` of many rows at once, with bitwise the same results.

    Args:
        row_ids: gives the identities of the rows at some positions; only rows whose weight has a
            fraction are asked for.
        weight: of every row (n,).
        seed: decides the fractions.

    Returns:
        Whole numbers, float64 (n,): they may be larger than any integer type allows.

    Raises:
        IsolossError: a weight is not finite.
    """
    wrong = weight[~np.isfinite(weight)]
    if len(wrong):
        reason = f"the weights of a row's tags multiply to {wrong[0]}"
        raise IsolossError(Problem("weights", reason, "lower them"))
    weight = np.maximum(weight, 0.0)
    copies = np.floor(weight)
    fraction = weight - copies
    drawn = np.flatnonzero(fraction)
    texts = (f"{seed}:{row_id}".encode() for row_id in row_ids(drawn))
    digests = b"".join([blake2b(text, digest_size=8).digest() for text in texts])
    draws = np.frombuffer(digests, dtype=">u8").astype(np.float64) / float(1 << 64)
    copies[drawn] += draws < fraction[drawn]
    return copies


class Sizes:
    """The numbers of rows and tokens that a weighting makes, copies counted."""

    def __init__(self) -> None:
        self._n_rows = 0
        self._rows = self._tokens = 0.0

    def add(self, copies: np.ndarray, n_tokens: np.ndarray | None) -> None:
        """Count a batch of rows; copies float64 (n,), tokens of every row (n,) where known."""
        self._n_rows += len(copies)
        self._rows += float(np.sum(copies))
        if n_tokens is not None:
            self._tokens += float(np.sum(n_tokens * copies))

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


def expand_rows(rows: pd.DataFrame, weights: Weights, seed: int) -> pd.DataFrame:
    """The `index` of a weighting: position, identity and copies of every row that stays.

    Args:
        rows: with `row_id` and `tags` (pairs, or a mapping), the training rows in order; the
            pandas index is the position of a row in its table.
        weights: tag key to tag value to weight.
        seed: decides the fractions.

    Raises:
        IsolossError: there would be more copies, or more tokens in them, than can be laid out.

    Example:
        >>> import isoloss, pandas as pd
        >>> tags = [{"kind": "code"}, {"kind": "comment"}, {"kind": "code"}]
        >>> rows = pd.DataFrame({"row_id": ["a", "b", "c"], "tags": tags})
        >>> isoloss.expand_rows(rows, {"kind": {"code": 2, "comment": 0}}, seed=7)
           row row_id  copies
        0    0      a       2
        1    2      c       2
    """
    tags = [t.items() if isinstance(t, Mapping) else t for t in rows["tags"]]
    weight = np.array([row_weight(t, weights) for t in tags], dtype=float)
    copies = weighted_copies(lambda at: rows["row_id"].iloc[at], weight, seed)
    sizes = Sizes()
    sizes.add(copies, rows["n_tokens"].to_numpy() if "n_tokens" in rows else None)
    sizes.check()
    index = pd.DataFrame({"row": rows.index, "row_id": rows["row_id"], "copies": copies})
    return index.astype({"copies": "int64"})[copies > 0].reset_index(drop=True)


def expand_batches(
    batches: Iterable[pa.RecordBatch],
    weights: Weights,
    seed: int,
    write: Callable[[pa.Table], None],
    tag_key: str | None = None,
) -> TagAudit:
    """Apply a weighting to the training rows of a rows table, batch by batch.

    Args:
        batches: of the COLUMNS of the rows table, all its rows in order.
        weights: tag key to tag value to weight.
        seed: decides the fractions.
        write: called with every batch of the `index` table (tables.yaml), in order.
        tag_key: a tag without which a row is dropped; None for none.

    Returns:
        What it did to every tag of the training rows.

    Raises:
        IsolossError: a weight names a tag value that no row has, no row is left, or more copies
            would be made than can be laid out.
    """
    audit, others, sizes = TagAudit(), TagAudit(), Sizes()
    first = kept = 0
    for batch in batches:
        is_train = np.asarray(pc.equal(batch["split"], "train"))
        positions = np.flatnonzero(is_train)
        train = batch.take(pa.array(positions))
        other = batch.take(pa.array(np.flatnonzero(~is_train)))
        weight = tag_weights(train["tags"], weights)
        if tag_key is not None:
            weight[_lack(train["tags"], tag_key)] = 0.0
        copies = weighted_copies(
            lambda at, ids=train["row_id"]: ids.take(pa.array(at)).to_pylist(), weight, seed
        )
        n_tokens = train["n_tokens"].to_numpy()
        sizes.add(copies, n_tokens)
        copies = np.minimum(copies, MOST_ROWS + 1).astype(np.int64)  # so many are refused below
        audit.add(train["tags"], n_tokens, copies)
        others.add(other["tags"], other["n_tokens"].to_numpy(), np.zeros(len(other), np.int64))
        at = np.flatnonzero(copies)
        ids = train["row_id"].take(pa.array(at))
        write(pa.table({"row": first + positions[at], "row_id": ids, "copies": copies[at]}))
        first, kept = first + len(batch), kept + len(at)
    _check_names(weights, audit, others)
    sizes.check()
    if not kept:
        raise IsolossError(
            Problem("weights", "they drop every training row", "give some rows a weight above 0")
        )
    return audit


def _lack(tags: pa.MapArray, tag_key: str) -> np.ndarray:
    """Whether each row lacks a tag, bool (n,)."""
    keys, _, lengths = flat_tags(tags)
    lacks = np.ones(len(tags), dtype=bool)
    lacks[np.repeat(np.arange(len(tags)), lengths)[np.asarray(pc.equal(keys, tag_key))]] = False
    return lacks


def _check_names(weights: Weights, *audits: TagAudit) -> None:
    """Raise an error for a weight of a tag that no row has."""
    for key, values in weights.items():
        known = set().union(*(audit.values(key) for audit in audits))
        for value in values:
            if value not in known:
                hint = nearest(value, known)
                raise IsolossError(Problem(f"weight of {key}", f"no row has {value!r}", hint))
