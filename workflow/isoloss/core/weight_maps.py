"""Maps of tag weights as users write them: their keys as text, and what is wrong with them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from isoloss.core.problems import IsolossError, Problem

MOST = 10**6  # the largest weight of a tag


def tag_text(value: Any) -> Any:
    """The text of a tag that YAML reads as a boolean or a number; anything else as it is.

    >>> [tag_text(value) for value in (True, 3, 3.0, 2.5, "yes", None)]
    ['true', '3', '3', '2.5', 'yes', None]
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value) if isinstance(value, int) else value


def with_text_keys(values: Any, levels: int = 1) -> Any:
    """A mapping whose keys are text where they are booleans or numbers.

    Keys that would then be the same stay as they are, as does what is not a mapping.

    Args:
        values: the mapping.
        levels: of mappings in it, from the outermost, whose keys are tags.

    Example:
        >>> with_text_keys({"generated": {True: 0, "x": 1}}, levels=2)
        {'generated': {'true': 0, 'x': 1}}
    """
    if not isinstance(values, Mapping) or not levels:
        return values
    texts = [tag_text(key) for key in values]
    distinct = len({(type(text), text) for text in texts}) == len(texts)
    keys = texts if distinct else list(values)
    return {
        key: with_text_keys(below, levels - 1)
        for key, below in zip(keys, values.values(), strict=True)
    }


def checked(weights: Any, place: str = "weights") -> dict[str, dict[str, float]]:
    """Tag weights that can be used: tag key to tag value to number.

    Args:
        weights: as a user gave them; the key `True` stands for the tag `true`, 3 for `3`.
        place: where they are, for errors.

    Raises:
        IsolossError: with all that is wrong: keys that are not text; weights that are not numbers
            from 0 to a million.

    Example:
        >>> checked({"generated": {True: 0.5}})
        {'generated': {'true': 0.5}}
    """
    weights = with_text_keys(weights, levels=2)
    problems = list(_problems(weights, place))
    if problems:
        raise IsolossError(*problems)
    return {key: dict(values) for key, values in weights.items()}


def _problems(weights: Any, place: str) -> Iterator[Problem]:
    if not isinstance(weights, Mapping):
        yield Problem(place, f"found {weights!r}", "give tag key to tag value to weight")
        return
    for key, values in weights.items():
        if not isinstance(key, str):
            yield Problem(place, f"the tag key {key!r} is not text", "put it in quotes")
        elif not isinstance(values, Mapping):
            yield Problem(f"{place}.{key}", f"found {values!r}", "give tag value to weight")
        else:
            yield from _value_problems(values, f"{place}.{key}")


def _value_problems(values: Mapping[Any, Any], place: str) -> Iterator[Problem]:
    for value, weight in values.items():
        if not isinstance(value, str):
            yield Problem(place, f"the tag value {value!r} is not text", "put it in quotes")
        elif isinstance(weight, bool) or not isinstance(weight, int | float):
            yield Problem(f"{place}.{value}", f"found {weight!r}", "a weight is a number")
        elif not 0 <= weight <= MOST:
            yield Problem(
                f"{place}.{value}", f"the weight is {weight}", f"give a number from 0 to {MOST}"
            )
