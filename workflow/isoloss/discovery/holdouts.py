"""Hold-outs at the edge of a table: the largest levels of each variable, and of all together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isoloss.discovery.roles import level_of

DEEP = 3  # levels held out at most
REMAIN = 3  # levels of a variable at least that are fitted
SMALLEST = 0.02  # share of the runs that is held out at least
SHARES = (0.1, 0.2, 0.3)  # of the runs that are held out by all variables together
DEEPER = (0.25, 0.35, 0.45)  # of the levels of the only variable, that are held out, too


@dataclass(frozen=True)
class Holdout:
    """Runs held out.

    Attributes:
        name: of the variable, with the number of levels.
        out: bool (n,).
    """

    name: str
    out: np.ndarray


def holdouts(
    variables: Mapping[str, np.ndarray], sizes: frozenset[str], group: np.ndarray, least: int
) -> list[Holdout]:
    """The one, two and three largest levels of each variable in turn, and the largest products.

    Levels are those of each group. Nothing is held out of a group that would keep fewer runs than
    `least`, or fewer than three levels of the variable; hold-outs of next to nothing are dropped.

    Args:
        variables: (n,) each.
        sizes: names of those above 0.
        group: number of the group of every run.
        least: runs at least that a group keeps.
    """
    members = [np.flatnonzero(group == g) for g in range(group.max() + 1)]
    made = []
    for name, x in variables.items():
        for depth in range(1, DEEP + 1):
            out = np.zeros(len(x), dtype=bool)
            for rows in members:
                levels = level_of(x[rows])
                if levels.max() + 1 - depth >= REMAIN:
                    out[rows] = levels > levels.max() - depth
            made.append(Holdout(f"{name} {depth}", out))
    if len(variables) == 1:
        made += _deeper(*variables.items(), members)
    together = [np.log(variables[name]) for name in variables if name in sizes]
    if len(together) > 1:
        product = sum(together)
        for share in SHARES:
            out = np.zeros(len(product), dtype=bool)
            for rows in members:
                out[rows] = product[rows] > np.quantile(product[rows], 1 - share)
            made.append(Holdout(f"product {share:.0%}", out))
    for one in made:
        for rows in members:
            if (~one.out[rows]).sum() < least:
                one.out[rows] = False
    kept = {one.out.tobytes(): one for one in reversed(made)}
    few = SMALLEST * len(group)
    return [one for one in reversed(kept.values()) if one.out.any() and one.out.sum() >= few]


def _deeper(variable: tuple[str, np.ndarray], members: list[np.ndarray]) -> list[Holdout]:
    """Larger parts of the levels of a variable."""
    name, x = variable
    made = []
    for share in DEEPER:
        out = np.zeros(len(x), dtype=bool)
        for rows in members:
            levels = level_of(x[rows])
            first = (1 - share) * (levels.max() + 1)
            out[rows] = (levels >= first) & (first > REMAIN - 1)
        made.append(Holdout(f"{name} {share:.0%}", out))
    return made
