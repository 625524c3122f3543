"""Where runs do not show a bend that a formula has: the simpler law that does as well.

A scale S in `1 + x / S` runs to 0 where x is far above it at all runs, and an amplitude with it. A
search follows that valley in small steps; `pushed` goes to its end at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from isoloss.formulas import Evaluator, Node, names_of, number, walk
from isoloss.formulas.simpler import Given, Simpler, replaced, scaling, simpler_parts, tidy, without
from isoloss.laws._law import Data, Law

GAIN = 2.0  # twice the log likelihood that a parameter more is to gain, by Akaike
EXACT = 1e-7  # of the predictions, which differences are compared with at least
CURVES = ("**", "exp", "sigmoid", "tanh")  # what is 0 or 1 where it begins, or levels off
RANK = 1e-9  # singular value of scaled derivatives below which parameters are not told apart


@dataclass(frozen=True)
class Unseen:
    """A bend that runs do not show.

    Attributes:
        part: of the formula, with the bend.
        simple: what does as well, without the parameters that it does not need.
        gone: parameters that the law with it does not need.
        at: parameters that say where the bend would be.
        variables: of the law.
        way: how the one becomes the other.
        law: the whole formula with it.
    """

    part: Node
    simple: Node
    gone: tuple[str, ...]
    at: tuple[str, ...]
    variables: tuple[str, ...]
    way: Simpler
    law: Node


def unseen_bends(
    law: Law,
    tree: Node,
    theta: np.ndarray,
    data: Data,
    unit: np.ndarray,
    spread: float,
    held: Collection[str] = (),
    errors: np.ndarray | None = None,
) -> Iterator[Unseen]:
    """Parts of a law that the runs do not tell from simpler ones, with fewer parameters.

    The predictions with the simpler part, what other parameters take up apart, differ by less than
    the noise: the part would not be chosen by Akaike's criterion.

    Args:
        law: the law.
        tree: its formula.
        theta: the estimate, (p,).
        data: variables of the runs, (n,) each.
        unit: what differences of predictions are divided by, (n,) or a number.
        spread: standard deviation of the noise in it.
        held: parameters that are not estimated.
        errors: of the runs, in that unit, (n,), where theta need not be an optimum: a part whose
            simpler one leaves no more of them counts too.
    """
    names = [term.name for term in law.terms]
    values = {k: float(v) for k, v in law.values(theta).items()}
    given = {**values, **{name: np.asarray(data[name], dtype=float) for name in law.variables}}
    before, told = Evaluator(tree, ()).value(given), set()
    for way in simpler_parts(tree, [name for name in names if name not in held], given):
        simple = replaced(tree, way.part, way.simple)
        after, slopes = Evaluator(simple, names).gradient(given)
        if not (np.isfinite(after).all() and np.isfinite(slopes).all()):
            continue
        slopes = np.broadcast_to(slopes, (np.size(before), len(names)))
        change, columns = (after - before) / unit, slopes / np.reshape(unit, (-1, 1))
        columns = _scaled(columns)
        gone = _gone(tree, simple, way, names, columns, given)
        gained = GAIN * len(gone) * max(spread, EXACT) ** 2
        less = _left(columns, change) < gained
        if errors is not None and not less:
            less = _left(columns, errors - change) < np.sum(errors**2) + gained
        if gone and less and not told & set(gone):
            told |= set(gone)
            short, whole = way.simple, simple
            for name, value in gone.items():
                short, whole = without(short, name, value), without(whole, name, value)
            at = tuple(scaling(way.piece, given)) or tuple(gone)
            yield Unseen(way.part, tidy(short), tuple(gone), at, law.variables, way, whole)


def _left(columns: np.ndarray, values: np.ndarray) -> float:
    """Squares of values (n,) that columns (n, p) do not take up."""
    left = values - columns @ np.linalg.lstsq(columns, values, rcond=RANK)[0]
    return float(np.sum(left**2))


def _gone(
    tree: Node, simple: Node, way: Simpler, names, columns: np.ndarray, given: Given
) -> dict[str, float]:
    """Parameters that a simpler law does not need, and the numbers to put in their place.

    Those that are not in it, else one that others make up for: a factor by 1, a summand by 0.
    """
    left = set(names_of(simple))
    gone = {name: 1.0 for name in names if name in names_of(tree) and name not in left}
    if gone:
        return gone
    rank = np.linalg.matrix_rank(columns, tol=RANK)
    own = [name for name in names_of(way.part) if name in names]

    def needless(name: str) -> bool:
        others = [k for k, other in enumerate(names) if other != name]
        return np.linalg.matrix_rank(columns[:, others], tol=RANK) == rank

    needless_ones = [name for name in own if needless(name)]
    if not needless_ones:
        return {}
    factors = [name for name in needless_ones if _is_factor(way.simple, name)]
    if factors:
        return {factors[0]: 1.0}
    outside = [name for name in names if name not in own and needless(name)]
    amplitudes = [name for name in outside if _is_factor(simple, name)]

    def still_told(name: str) -> bool:  # b * (x + c) without c has one parameter less than it may
        rest = [other for other in names if other != name]
        slopes = Evaluator(without(simple, name, 0.0), rest).gradient(given)[1]
        return np.linalg.matrix_rank(_scaled(slopes), tol=RANK) == rank

    shifts = [name for name in needless_ones if _is_shift(way.simple, name) and still_told(name)]
    if amplitudes and not shifts:
        return {amplitudes[0]: 1.0}
    return {shifts[0]: 0.0} if shifts else {needless_ones[0]: 1.0}


def _scaled(columns: np.ndarray) -> np.ndarray:
    """Columns (n, p) of length 1; those of 0 as they are."""
    size = np.linalg.norm(columns, axis=0)
    return columns / np.where(size > 0, size, 1.0)


def _is_shift(tree: Node, name: str) -> bool:
    """Whether a name is added to a variable, as m in exp(k * (m - x)), and nothing else."""
    bare = [part for node in walk(tree) if node.kind in ("+", "-") for part in node.parts]
    count = sum(node.kind == "name" and node.name == name for node in walk(tree))
    return 0 < count == sum(part.kind == "name" and part.name == name for part in bare)


def _is_factor(tree: Node, name: str) -> bool:
    """Whether a name is a factor of a tree, or of the base of a power that is one."""
    kind, parts = tree.kind, tree.parts
    if kind == "name":
        return tree.name == name
    if kind in ("*", "/", "neg"):
        return any(_is_factor(part, name) for part in parts)
    if kind == "**":
        return _is_factor(parts[0], name)
    return False


def levels(tree: Node, variables: Collection[str]) -> tuple[str, ...]:
    """Parameters that are values of the response itself: where its curves begin or level off.

    Args:
        tree: the formula.
        variables: of it; the other names are parameters.

    Example:
        >>> from isoloss.formulas import read_expression
        >>> levels(read_expression("low + (high - low) * sigmoid(k * (x - m))"), ["x"])
        ('low', 'high')
        >>> levels(read_expression("E + A * (1 - exp(-x / S))"), ["x"])
        ('E',)
    """
    names = [name for name in names_of(tree) if name not in variables]
    given = dict(zip(names, np.sqrt(np.arange(2.0, 2.0 + len(names))), strict=True))
    known = set()
    for end in (0.0, 1.0):
        left = _levelled(tree, {*variables}, number(end))
        if {*names_of(left)} <= {*names}:
            with np.errstate(all="ignore"):
                value = float(Evaluator(left, ()).value(given))
            known |= {name for name in names if np.isclose(value, given[name], rtol=1e-9)}
    return tuple(name for name in names if name in known)


def _levelled(tree: Node, variables: Collection[str], end: Node) -> Node:
    """A tree with its end in the place of every power and curve of variables."""
    if tree.kind in CURVES and {*names_of(tree)} & {*variables}:
        return end
    parts = tuple(_levelled(part, variables, end) for part in tree.parts)
    return Node(tree.kind, parts, tree.name, tree.number)


def pushed(law: Law, theta: np.ndarray, way: Simpler, factor: float) -> np.ndarray | None:
    """Points (b, p) whose piece of a part is multiplied by a factor, others as they are.

    None where no parameters multiply it.
    """
    one = {k: float(v) for k, v in law.values(theta[0]).items()}
    given = {**one, **{name: np.ones(2) for name in law.variables}}
    powers = scaling(way.piece, given)
    if not powers:
        return None
    if way.against is not None:
        powers |= {name: -power for name, power in scaling(way.against, given).items()}
    moved = theta.copy()
    for name, power in powers.items():
        i = law.index(name)
        if law.terms[i].log:
            moved[:, i] += power * np.log(factor)
        else:
            moved[:, i] *= factor**power
    return moved
