"""Rows repeated by the weights of their tags: lists of mappings, pandas frames, Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from isoloss.core import weight_maps
from isoloss.core.arguments import checked
from isoloss.core.problems import IsolossError, Problem
from isoloss.expand.weights import Sizes, Weights, tag_weights, weighted_copies

Rows = Sequence[Mapping[str, Any]] | pd.DataFrame | pa.Table
TAGS = pa.map_(pa.string(), pa.string())


@checked()
def expand_rows(rows: Rows, weights: Weights, seed: int) -> Rows:
    """The rows, each repeated or dropped by the weights of its tags.

    The weights of a row's tags multiply, in the order of its tags; a tag without a weight counts 1.
    Weight 1 keeps a row, 0 drops it, 2 repeats it; 2.5 repeats it and gives a third copy to half of
    the rows, by a hash of `seed` and `row_id`. The same weights in a study make the same copies.

    Args:
        rows: each with `row_id` (text) and `tags` (tag key to tag value, as a mapping or as pairs;
            rows of a list may lack them): a list of mappings, a pandas frame, or an Arrow table,
            whose `tags` are of the type map<string, string>.
        weights: tag key to tag value to weight, from 0 to 1e6; the key `True` stands for the tag
            `true`, 3 for `3`.
        seed: decides the fractions.

    Returns:
        Rows of the same kind with all that they had, copies adjacent and in the order of the rows:
        in a list the same objects, in a frame with their labels.

    Raises:
        IsolossError: a weight, an id or a tag cannot be what it is, with the row; there would be
            more copies, or more tokens in them (`n_tokens`), than can be laid out.

    Example:
        >>> import isoloss
        >>> kinds = {"a": "code", "b": "comment", "c": "code"}
        >>> rows = [{"row_id": name, "tags": {"kind": kind}} for name, kind in kinds.items()]
        >>> expanded = isoloss.expand_rows(rows, {"kind": {"code": 2, "comment": 0}}, seed=7)
        >>> [row["row_id"] for row in expanded]
        ['a', 'a', 'c', 'c']
    """
    copies = copies_of_rows(rows, weights, seed)
    at = np.repeat(np.arange(len(copies)), copies)
    if isinstance(rows, pa.Table):
        return rows.take(pa.array(at))
    if isinstance(rows, pd.DataFrame):
        return rows.iloc[at]
    return [rows[i] for i in at.tolist()]


def copies_of_rows(rows: Rows, weights: Weights, seed: int) -> np.ndarray:
    """How often `expand_rows` gives each row, int64 (n,).

    Example:
        >>> rows = [{"row_id": "a", "tags": {"kind": "code"}}, {"row_id": "b"}]
        >>> copies_of_rows(rows, {"kind": {"code": 2}}, seed=7).tolist()
        [2, 1]
    """
    weights = weight_maps.checked(weights)
    _check_kinds(rows, seed)
    ids, tags, n_tokens = _of_table(rows) if isinstance(rows, pa.Table) else _of_python(rows)
    copies = weighted_copies(ids, tag_weights(tags, weights), seed)
    sizes = Sizes()
    sizes.add(copies, n_tokens, len(copies))
    sizes.check()
    return copies.astype(np.int64)


def _check_kinds(rows: Any, seed: Any) -> None:
    """Rows are of one of the kinds that are known, and the seed is a whole number."""
    if not isinstance(rows, pa.Table | pd.DataFrame | list | tuple):
        reason = f"found a {type(rows).__name__}"
        remedy = "give a list of mappings, a pandas frame or an Arrow table"
        raise IsolossError(Problem("rows", reason, remedy))
    if isinstance(rows, list | tuple):
        for number, row in enumerate(rows):
            if not isinstance(row, Mapping):
                _refuse(number, f"found a {type(row).__name__}", "make it a mapping")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise IsolossError(Problem("seed", f"found {seed!r}", "give a whole number"))


def _of_table(rows: pa.Table) -> tuple[pa.Array, pa.MapArray, np.ndarray | None]:
    """Identities, tags and, where there are any, tokens of an Arrow table."""
    for name in ("row_id", "tags"):
        if name not in rows.column_names:
            raise IsolossError(Problem("rows", f"no column {name!r}", "add it"))
    kinds = {"row_id": (pa.string(), pa.large_string()), "tags": (TAGS,)}
    for name, allowed in kinds.items():
        kind = rows.schema.field(name).type
        if kind not in allowed:
            reason = f"is of type {kind}"
            raise IsolossError(Problem(f"column {name!r}", reason, f"make it {allowed[0]}"))
    ids, tags = (rows[name].combine_chunks() for name in ("row_id", "tags"))
    if ids.null_count:
        _refuse(
            int(np.flatnonzero(ids.is_null())[0]), "its row_id is missing", "give every row one"
        )
    if tags.null_count:
        tags = tags.fill_null([])
    if tags.items.null_count:
        null = int(np.flatnonzero(tags.items.is_null())[0])
        row = int(np.searchsorted(tags.offsets, null, side="right")) - 1
        _refuse(row, "the value of a tag is missing", "leave the tag out, or give it a value")
    tokens = rows["n_tokens"].to_numpy() if "n_tokens" in rows.column_names else None
    return ids, tags, tokens


def _of_python(
    rows: Sequence[Mapping[str, Any]] | pd.DataFrame,
) -> tuple[pa.Array, pa.MapArray, np.ndarray | None]:
    """Identities, tags and, of a frame, tokens of rows that are objects."""
    tokens = None
    if isinstance(rows, pd.DataFrame):
        for name in ("row_id", "tags"):
            if name not in rows:
                raise IsolossError(Problem("rows", f"no column {name!r}", "add it"))
        ids, row_tags = rows["row_id"].tolist(), rows["tags"].tolist()
        tokens = rows["n_tokens"].to_numpy() if "n_tokens" in rows else None
    else:
        ids = [row.get("row_id") for row in rows]
        row_tags = [row.get("tags") or () for row in rows]
    for number, row_id in enumerate(ids):
        if not isinstance(row_id, str):
            missing = row_id is None or row_id != row_id or row_id is pd.NA
            reason = "its row_id is missing" if missing else f"its row_id is {row_id!r}, not text"
            _refuse(number, reason, "give every row an id that is text")
    return _array(ids, pa.string()), _tags(row_tags), tokens


def _tags(row_tags: Iterable[Any]) -> pa.MapArray:
    """Tags of rows, mappings or pairs each, as an array."""
    keys, values, ends = [], [], [0]
    for number, tags in enumerate(row_tags):
        pairs = tags.items() if isinstance(tags, Mapping) else _pairs(number, tags)
        for key, value in pairs:
            if not isinstance(key, str) or not isinstance(value, str):
                reason = f"its tag {key!r}: {value!r} is not text to text"
                _refuse(number, reason, "make both text")
            keys.append(key)
            values.append(value)
        ends.append(len(keys))
    texts = _array(keys, pa.string()), _array(values, pa.string())
    return pa.MapArray.from_arrays(pa.array(ends, pa.int32()), *texts)


def _pairs(number: int, tags: Any) -> Iterable[Any]:
    """The tags of a row that are not a mapping: pairs, or none where the value is missing."""
    if tags is None or (isinstance(tags, float) and np.isnan(tags)):
        return ()
    if isinstance(tags, str) or any(isinstance(pair, str) or len(pair) != 2 for pair in tags):
        _refuse(number, f"its tags are {tags!r}", "give tag key to tag value")
    return tags


def _array(texts: list[str], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(texts, kind)
    except UnicodeEncodeError as error:
        reason = f"a text cannot be written as UTF-8 ({error})"
        raise IsolossError(Problem("rows", reason, "remove lone surrogates")) from error


def _refuse(number: int, reason: str, remedy: str) -> None:
    """Raise an error about a row, by its number from 0."""
    raise IsolossError(Problem(f"row {number}", reason, remedy))
