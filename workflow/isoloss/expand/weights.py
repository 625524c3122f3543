"""Tag-weighted repetition of rows.

Weight 1 keeps a row, 0 drops it, 2 repeats it; the fraction of a weight is decided by a hash of
the seed and the row's identity, so the same rows come out for the same seed whatever their order,
the machine or the number of processes. The weights of several tags of a row multiply.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import pandas as pd

from isoloss.core.audit import tag_audit
from isoloss.core.problems import IsolossError, nearest, problem

Weights = Mapping[str, Mapping[str, float]]
MOST_ROWS = 10**9  # copies included
MOST_TOKENS = 10**9  # of all copies: laid out they take 40 bytes each


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
    if weights:
        tags = [t.items() if isinstance(t, Mapping) else t for t in rows["tags"]]
        pairs = zip(rows["row_id"], (row_weight(t, weights) for t in tags), strict=True)
        copies = [row_copies(row_id, _finite(weight), seed) for row_id, weight in pairs]
    else:
        copies = [1] * len(rows)
    _check_size(copies, rows.get("n_tokens"))
    index = pd.DataFrame({"row": rows.index, "row_id": rows["row_id"], "copies": copies})
    return index[index["copies"] > 0].reset_index(drop=True)


def _finite(weight: float) -> float:
    if not math.isfinite(weight):
        reason = f"the weights of a row's tags multiply to {weight}"
        raise IsolossError(problem("weights", reason, "lower them"))
    return weight


def _check_size(copies: Sequence[int], n_tokens: pd.Series | None) -> None:
    """Refuse copies that cannot be laid out, before any array of them is made."""
    sizes = {"rows": (sum(copies), MOST_ROWS)}
    if n_tokens is not None:
        total = sum(int(n) * c for n, c in zip(n_tokens, copies, strict=True))
        sizes["tokens"] = total, MOST_TOKENS
    for what, (total, most) in sizes.items():
        if total > most:
            reason = f"they would make {min(total, 10**300):.3g} {what} of {len(copies)} rows"
            remedy = f"at most {most:.0e} are allowed: lower the weights"
            raise IsolossError(problem("weights", reason, remedy))


def expand_table(
    rows: pd.DataFrame, weights: Weights, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Index and audit of a weighting over the training rows of a rows table.

    Raises:
        IsolossError: a weight names a tag value that no row has, no row is left, or more copies
            would be made than can be laid out.
    """
    train = rows[rows["split"] == "train"]
    tags = {pair for pairs in rows["tags"] for pair in pairs}
    for key, values in weights.items():
        for value in values:
            if (key, value) not in tags:
                known = nearest(value, {v for k, v in tags if k == key})
                raise IsolossError(problem(f"weight of {key}", f"no row has {value!r}", known))
    index = expand_rows(train, weights, seed)
    if index.empty:
        raise IsolossError(problem("weights", "they drop every training row", "keep some"))
    copies = train["row_id"].map(index.set_index("row_id")["copies"]).fillna(0).astype("int64")
    return index, tag_audit(list(train["tags"]), train["n_tokens"], copies)
