"""Parameters that appear in comparisons alone: between two runs any value gives the same fit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.core import units
from isoloss.core.escape import short, visible
from isoloss.formulas import Evaluator, Node, as_text, names_of, roles, walk
from isoloss.laws._law import Data, Law
from isoloss.laws._tree import tree_of

_COMPARED = ("<", "<=", ">", ">=")


@dataclass(frozen=True)
class Threshold:
    """A parameter that is only compared with something, as T in `where(N < T, A, B)`.

    Attributes:
        term: its name.
        beside: what it is compared with, as text.
        low, high: the greatest value of that below it and the least above it, at the runs; NaN
            where there is none.
    """

    term: str
    beside: str
    low: float
    high: float

    @property
    def between(self) -> bool:
        """Whether runs lie on both sides of it, so that it is known to lie between two of them."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def words(self) -> str:
        """What the runs know of it."""
        beside = short(visible(self.beside), 40)
        if self.between:
            ends = f"{units.count(self.low, 4)} and {units.count(self.high, 4)}"
            return (
                f"any {self.term} between {ends} gives the same fit: no run has a value "
                f"of {beside} between them"
            )
        side, end = ("above", self.high) if math.isnan(self.low) else ("below", self.low)
        return (
            f"any {self.term} {'below' if side == 'above' else 'above'} {units.count(end, 4)} "
            f"changes no prediction: {beside} is {side} it at every run"
        )


def thresholds(law: Law, theta: np.ndarray, data: Data) -> list[Threshold]:
    """The parameters of a law that appear in comparisons alone, each by itself on a side.

    Args:
        law: the law.
        theta: the estimate, (p,).
        data: variables of the runs fitted, (n,) each.

    Example:
        >>> from isoloss.laws import formula
        >>> law = formula.make(formula="loss = where(N < T, A, B); T > 0", variables=["N"])
        >>> theta = law.theta({"T": 3.0, "A": 2.0, "B": 1.0})
        >>> [one] = thresholds(law, theta, {"N": np.array([1.0, 2.0, 5.0])})
        >>> one.words
        'any T between 2 and 5 gives the same fit: no run has a value of N between them'
    """
    tree = None if law.proportions else tree_of(law)
    if tree is None:
        return []
    names = [term.name for term in law.terms]
    alone = [name for name, place in roles(tree, names).items() if place == {"threshold"}]
    given = {**law.values(theta), **data}
    every = [_of_name(tree, name, given) for name in alone]
    return [one for one in every if one is not None]


def _of_name(tree: Node, name: str, given: dict) -> Threshold | None:
    """A parameter's threshold, by all comparisons that it is in; None where it has none."""
    sides = list(_others(tree, name))
    texts = {as_text(side) for side in sides}
    if not sides or any(name in names_of(side) for side in sides):
        return None
    with np.errstate(all="ignore"):
        values = np.concatenate([np.ravel(Evaluator(side, ()).value(given)) for side in sides])
    if not np.isfinite(values).all():
        return None
    under, over = values[values < given[name]], values[values >= given[name]]
    low = float(under.max()) if len(under) else math.nan
    high = float(over.min()) if len(over) else math.nan
    return Threshold(
        name, texts.pop() if len(texts) == 1 else "what it is compared with", low, high
    )


def _others(tree: Node, name: str) -> Iterator[Node]:
    """The other sides of the comparisons that have a parameter on one side."""
    for node in walk(tree):
        own = [part.kind == "name" and part.name == name for part in node.parts]
        if node.kind in _COMPARED and any(own):
            yield node.parts[1 - own.index(True)]


def told(known: Sequence[Threshold]) -> list[str]:
    """What is known of thresholds between two runs, in words."""
    return [one.words for one in known if one.between]
