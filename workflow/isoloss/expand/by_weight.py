"""Expansion of lists of rows with `_dlm_row_tags` and `_dlm_section_id`, by their tags' weights.

Code that was written for functions of these names needs another import only. They check nothing;
`expand_rows` does, and takes tables too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from isoloss.core.arguments import checked
from isoloss.expand.weights import Weights, merge_weights, row_copies, row_weight

Row = dict[str, Any]


@checked()
def merge_weights_maps(maps: Sequence[Weights]) -> dict[str, dict[str, float]]:
    """Merge weight maps, the shallowest first; a later map wins for the same tag key and value.

    Example:
        >>> import isoloss
        >>> maps = [{"kind": {"code": 2.0, "prose": 1.0}}, {"kind": {"code": 0.5}}]
        >>> isoloss.merge_weights_maps(maps)
        {'kind': {'code': 0.5, 'prose': 1.0}}
    """
    return merge_weights(maps)


@checked()
def resolve_row_weight(row_tags: Mapping[str, str], weights: Weights) -> float:
    """The product of the weights of a row's tags, in the order of the tags.

    A tag without a weight counts 1.

    Example:
        >>> import isoloss
        >>> weights = {"docstring": {"true": 2.0}, "generated": {"true": 0.5}}
        >>> isoloss.resolve_row_weight({"docstring": "true", "generated": "true"}, weights)
        1.0
    """
    return row_weight(row_tags.items(), weights)


@checked()
def expand_rows_by_weight(rows: Sequence[Row], weights: Weights, *, seed: int) -> list[Row]:
    """The rows, each repeated or dropped by its weight: copies adjacent, order kept.

    A weight of 2.5 gives two copies, and a third to half of the rows: those for which the hash of
    seed and `_dlm_section_id` is small enough (`row_copies`). Weights of 0 or below drop a row. A
    row without an id is hashed as one with an empty id.

    Args:
        rows: each with `_dlm_row_tags` (tag key to tag value; 1 is its weight without) and
            `_dlm_section_id`.
        weights: tag key to tag value to weight; the rows are returned as they are if it is empty.
        seed: decides the fractions.

    Returns:
        The same objects, in a new list.

    Example:
        >>> import isoloss
        >>> kinds = ("code", "prose")
        >>> rows = [{"_dlm_row_tags": {"kind": k}, "_dlm_section_id": k} for k in kinds]
        >>> weights = {"kind": {"code": 2, "prose": 0}}
        >>> expanded = isoloss.expand_rows_by_weight(rows, weights, seed=7)
        >>> [row["_dlm_section_id"] for row in expanded]
        ['code', 'code']
    """
    if not weights:
        return list(rows)
    expanded: list[Row] = []
    for row in rows:
        weight = row_weight((row.get("_dlm_row_tags") or {}).items(), weights)
        copies = row_copies(str(row.get("_dlm_section_id", "")), weight, seed)
        expanded.extend([row] * copies)
    return expanded


@checked()
def weight_distribution(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """The number of rows by tag key and value, before any is repeated.

    Example:
        >>> import isoloss
        >>> isoloss.weight_distribution([{"_dlm_row_tags": {"kind": "code"}}, {"text": "no tags"}])
        {'kind': {'code': 1}}
    """
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        for key, value in (row.get("_dlm_row_tags") or {}).items():
            of_key = counts.setdefault(key, {})
            of_key[value] = of_key.get(value, 0) + 1
    return counts
