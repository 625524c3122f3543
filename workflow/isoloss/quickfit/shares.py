"""Limits and values that are typed in per cent, of a response that is fitted as a share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from isoloss.aggregate.numbers import IN_PERCENT
from isoloss.core.problems import IsolossError, Problem
from isoloss.laws._formula_limits import levels
from isoloss.laws._law import Law
from isoloss.laws._tree import tree_of

_NUMBER = (int, float)


def check_shares(
    law: Law, values: pd.Series, notes: Sequence[str], settings: Mapping[str, Any]
) -> None:
    """Refuse numbers in per cent beside a response whose column was divided by 100.

    Args:
        law: the law.
        values: of the response, as they are fitted; its name is that of the response.
        notes: what was done to the columns.
        settings: of the fit: `fixed` and `bounds` of parameters.

    Raises:
        IsolossError: the range of the response, or a value or limit of a parameter that is a level
            of it, is above 1 and above all values.
    """
    name, own = str(values.name), (f"{values.name} = ", f"{values.name} is divided")
    if not any(note.startswith(own) and note.endswith(IN_PERCENT) for note in notes):
        return
    most = max(1.0, float(np.nanmax(values.to_numpy(float), initial=1.0)))
    wrong = [
        Problem(place, f"{end:g} is per cent, but {name} is a share: its column is divided by 100",
                f"write {end / 100:g}")
        for place, end in _numbers(law, name, settings)
        if isinstance(end, _NUMBER) and most < end < np.inf
    ]  # fmt: skip
    if wrong:
        raise IsolossError(*wrong)


def _numbers(law: Law, name: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What was typed of a response and its levels: the place, and a number or None."""
    for end in law.response_range or ():
        yield f"the range of {name} in the formula", end
    tree = tree_of(law)
    fixed, bounds = settings.get("fixed") or {}, settings.get("bounds") or {}
    for level in () if tree is None else levels(tree, law.variables):
        for end in law.limits.get(level, ()):
            yield f"the limit of {level} in the formula", end
        if isinstance(fixed, Mapping):
            yield f"fixed, {level}", fixed.get(level)
        ends = bounds.get(level) if isinstance(bounds, Mapping) else None
        for end in ends if isinstance(ends, list | tuple) else ():
            yield f"bounds, {level}", end
