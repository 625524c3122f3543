"""Between a law's own coordinates, its data's scale, and what a fit is free to move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fit.descent import Affine
from isoloss.laws._law import Data, Law, Term


@dataclass(frozen=True)
class Scale:
    """The scale of some runs: geometric means, and the law's coordinates in them.

    Attributes:
        variables: logarithm of the geometric mean of every variable of the law.
        loss: of the loss; 0 where the objective compares the losses themselves.
        matrix, shift: theta in the runs' scale = matrix @ theta + shift, (p, p) and (p,).
        moves, origin: what a search moves, and has bounds in = moves @ (theta in the runs' scale)
            - origin, (p, p) and (p,); see `Law.moves`.
    """

    variables: Mapping[str, float]
    loss: float
    matrix: np.ndarray
    shift: np.ndarray
    moves: np.ndarray
    origin: np.ndarray

    def data(self, data: Data) -> dict[str, np.ndarray]:
        """Variables in the runs' scale."""
        return {k: v / np.exp(self.variables[k]) for k, v in data.items() if k in self.variables}

    def inner(self, theta: np.ndarray) -> np.ndarray:
        """theta in the runs' scale, (..., p)."""
        return theta @ self.matrix.T + self.shift

    def outer(self, theta: np.ndarray) -> np.ndarray:
        """theta in the user's units, (..., p)."""
        return np.linalg.solve(self.matrix, (theta - self.shift)[..., None])[..., 0]


def scale_of(law: Law, data: Data, loss: np.ndarray) -> Scale:
    """The scale of some runs; variables that may be zero (proportions) keep their own."""
    logs = {}
    for name in law.variables:
        values = np.asarray(data[name], dtype=float)
        positive = len(values) > 0 and bool((values > 0).all())
        logs[name] = float(np.mean(np.log(values))) if positive and not law.proportions else 0.0
    size = _log_size(np.asarray(loss, dtype=float))
    logs, log_loss = law.scales(logs, size)
    matrix, shift = law.rescaling(logs, log_loss)
    scaled = {name: np.asarray(data[name], dtype=float) / np.exp(logs[name]) for name in logs}
    return Scale(logs, log_loss, matrix, shift, *law.moves(scaled, size - log_loss))


def _log_size(loss: np.ndarray) -> float:
    """Logarithm of the size of losses: of their geometric mean; 0 where all are 0."""
    size = np.abs(loss[loss != 0])
    return float(np.mean(np.log(size))) if len(size) else 0.0


def free_coordinates(
    law: Law,
    scale: Scale,
    fixed: Mapping[str, float],
    tied: Sequence[Sequence[str]],
    bounds: Mapping[str, Sequence[float]],
) -> Affine:
    """What the fit moves: terms in the runs' scale; in the user's units those named here.

    Args:
        law: the law.
        scale: of the runs.
        fixed: value of a term.
        tied: terms that share one value.
        bounds: least and greatest value of a term; None for none.

    Raises:
        IsolossError: a term is unknown, or named twice in ways that contradict; none is left.
    """
    check_constraints(law, fixed, tied, bounds)
    bounds = {**law.limits, **bounds}
    terms, followers = {term.name: i for i, term in enumerate(law.terms)}, _followers(tied)
    leaders = {group[0] for group in tied}
    outward = np.linalg.inv(scale.matrix)
    p = len(law.terms)
    # rows say: this combination of theta (in the runs' scale) is that combination of what is free
    left, right, constant = np.zeros((p, p)), [], np.zeros(p)
    low, high, names = [], [], []
    for i, term in enumerate(law.terms):
        own = outward[i]  # theta_i in the user's units = own @ theta' - own @ shift
        offset = float(own @ scale.shift)
        if term.name in fixed:
            left[i], constant[i] = own, term.coordinate(fixed[term.name]) + offset
            continue
        if term.name in followers:
            leader = outward[terms[followers[term.name]]]
            left[i], constant[i] = own - leader, offset - float(leader @ scale.shift)
            continue
        if term.name in bounds or (term.name in leaders and term.log):
            least, most = bounds.get(term.name, (None, None))
            left[i], constant[i] = own, offset
            ends = term.bounds(least, most)
            low.append(ends[0])
            high.append(ends[1])
        else:
            left[i], constant[i] = scale.moves[i], scale.origin[i]
            low.append(term.low)
            high.append(term.high)
        right.append(i)
        names.append(term.name)
    choose = np.zeros((p, len(right)))
    choose[right, range(len(right))] = 1.0
    solved = np.linalg.solve(left, np.column_stack([choose, constant]))
    return Affine(solved[:, :-1], solved[:, -1], np.array(low), np.array(high), tuple(names))


def check_constraints(
    law: Law,
    fixed: Mapping[str, float],
    tied: Sequence[Sequence[str]],
    bounds: Mapping[str, Sequence[float]],
) -> None:
    """Raise the problems of terms held, tied or bounded; see `free_coordinates`."""
    terms = {term.name: i for i, term in enumerate(law.terms)}
    wrong = [
        Problem(f"{what} {name}", "no such parameter", nearest(name, tuple(terms)))
        for what, named in (
            ("fixed", fixed),
            ("bounds", bounds),
            ("tied", [name for group in tied for name in group]),
        )
        for name in named
        if name not in terms
    ]
    wrong += [
        _crossed(name, least, most)
        for name, (least, most) in bounds.items()
        if None not in (least, most) and not least < most
    ]
    followers = _followers(tied)
    for name, first in followers.items():
        if name in fixed or name in bounds:
            what = "fixed" if name in fixed else "bounds"
            reason = f"its value is that of {first}, to which it is tied"
            wrong.append(Problem(f"{what} {name}", reason, f"name {first} in its place"))
        if name in followers.values() or name == first:
            wrong.append(Problem(f"tied {name}", "named twice", "name it in one group only"))
        if name in terms and first in terms and _logarithmic(law, first) != _logarithmic(law, name):
            reason = f"one of {first} and {name} is above 0 by the law, and the other is not"
            do = "tie parameters of one kind; in a formula write one name for both"
            wrong.append(Problem(f"tied {name}", reason, do))
    for name in set(fixed) & set(bounds):
        wrong.append(Problem(f"bounds {name}", "it is fixed", "drop one of the two"))
    wrong += [
        _other_side(f"fixed {name}", f"found {value}", law.terms[terms[name]], value)
        for name, value in fixed.items()
        if name in terms and _beyond(law.terms[terms[name]], value, value)
    ]
    wrong += [
        _other_side(
            f"bounds {name}",
            f"found {_ends(least, most)}",
            law.terms[terms[name]],
            min(end for end in (least, most) if end is not None),
        )
        for name, (least, most) in bounds.items()
        if name in terms and _beyond(law.terms[terms[name]], least, most)
    ]
    wrong += [
        Problem(f"tied {name}", f"{name} and {first} have opposite signs", "do not tie them")
        for name, first in followers.items()
        if name in terms
        and first in terms
        and law.terms[terms[name]].sign != law.terms[terms[first]].sign
    ]
    if not wrong and not set(terms) - set(fixed) - set(followers):
        wrong.append(Problem("fixed", "no parameter is left to fit", "fix fewer of them"))
    if wrong:
        raise IsolossError(*wrong)


def _beyond(term: Term, least: float | None, most: float | None) -> bool:
    """Whether bounds (or a value, twice) reach to the side of 0 on which a term never is."""
    if not term.log:
        return False
    if term.sign < 0:
        least, most = (None if end is None else -end for end in (most, least))
    whole = least is not None and least == most
    return (least is not None and (least < 0 or (whole and least == 0))) or (
        most is not None and most <= 0
    )


def _other_side(place: str, reason: str, term: Term, lowest: float) -> Problem:
    """A value or bounds on the side of 0 on which a term never is."""
    if term.sign < 0:
        do = f"give what is below 0, or change the limit of {term.name} in the formula"
        return Problem(place, f"{reason}; the formula has it below 0", do)
    limit = f"{term.name} > {min(2 * lowest, -1):g}"
    do = f"give what is above 0; in a formula that may have it below, write the limit {limit}"
    return Problem(place, f"{reason}; the law has it above 0", do)


def _ends(least: float | None, most: float | None) -> str:
    return " to ".join("open" if end is None else f"{end:g}" for end in (least, most))


def _followers(tied: Sequence[Sequence[str]]) -> dict[str, str]:
    """Terms that have the value of another: the first of their group."""
    return {name: group[0] for group in tied for name in group[1:]}


def _logarithmic(law: Law, name: str) -> bool:
    """Whether a term is searched by its logarithm."""
    return law.terms[law.index(name)].log


def _crossed(name: str, least: float, most: float) -> Problem:
    """Bounds that leave one value, or none."""
    do = f"fix it: fixed {name}" if least == most else "give the least value first"
    return Problem(f"bounds {name}", f"found {least:g} to {most:g}", do)
