"""Whether what `fit_law` is given has the shape that it needs, before anything reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from isoloss.core.problems import IsolossError, Problem

_MAPPINGS = {
    "options": "needs names and values, such as {'variable': 'N'}",
    "fixed": "needs parameters and values, such as {'E': 1.8}",
    "bounds": "needs parameters and limits, such as {'E': (0.5, None)}",
}
_PAIR = "needs two numbers, None for open, such as (0.5, None)"
_GROUPS = "needs groups of two parameters or more, such as [['alpha', 'beta']]"
_NAMES = "needs a list of parameters, such as ['alpha']"
_HOLDOUT = "needs a rule, such as 'random', or {'rule': 'random', 'by': 'experts'}"
_STARTS = "needs an array (starts, parameters) of numbers, in the law's coordinates"


def problems(asked: Mapping[str, Any]) -> list[Problem]:
    """What has not the shape that it needs, of the arguments of `fit_law` by name.

    Example:
        >>> for one in problems({"bounds": {"alpha": 0.5}, "shared": "alpha"}):
        ...     print(one)
        bounds alpha: found 0.5; needs two numbers, None for open, such as (0.5, None)
        shared: found 'alpha'; needs a list of parameters, such as ['alpha']
    """
    return [
        Problem(place, f"found {value!r:.60}", needed) for place, value, needed in _wrong(asked)
    ]


def _wrong(asked: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Place, value and what is needed of everything of a wrong shape."""
    for name, needed in _MAPPINGS.items():
        value = asked.get(name)
        if value is not None and not isinstance(value, Mapping):
            yield name, value, needed
        elif name == "bounds":
            pairs = (value or {}).items()
            yield from ((f"{name} {k}", pair, _PAIR) for k, pair in pairs if not _list(pair, 2, 2))
    tied, shared = asked.get("tied", ()), asked.get("shared", ())
    if not (_list(tied) and all(_list(one, 2) and _names(one) for one in tied)):
        yield "tied", tied, _GROUPS
    if not (_list(shared) and _names(shared)):
        yield "shared", shared, _NAMES
    holdout, unit = asked.get("holdout"), asked.get("loss_unit", "1")
    if not (holdout is None or isinstance(holdout, str | Mapping)):
        yield "holdout", holdout, _HOLDOUT
    if not isinstance(unit, str):
        yield "loss_unit", unit, "needs a text, such as 'nats/byte'"
    if not isinstance(asked.get("profiles", False), bool | np.bool):
        yield "profiles", asked["profiles"], "needs True or False"
    starts = asked.get("starts")
    if starts is not None and not _numbers(starts):
        yield "starts", starts, _STARTS


def check_starts(starts: Any, count: int) -> None:
    """Raise where starts of a law have not as many columns as it has parameters.

    Args:
        starts: (s, p), or None.
        count: p.
    """
    width = count if starts is None else np.shape(starts)[1]
    if width != count:
        reason = f"found {width} columns for the {count} parameters of the law"
        raise IsolossError(Problem("starts", reason, _STARTS))


def _list(value: Any, least: int = 0, most: float = np.inf) -> bool:
    """Whether a value is a sequence or array of so many entries, and not a text."""
    listed = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)
    return listed and least <= len(value) <= most


def _names(values: Sequence[Any]) -> bool:
    return all(isinstance(one, str) for one in values)


def _numbers(starts: Any) -> bool:
    """Whether starts are a table of finite numbers with a row at least."""
    try:
        values = np.asarray(starts, float)
    except (TypeError, ValueError):
        return False
    return values.ndim == 2 and len(values) > 0 and bool(np.isfinite(values).all())
