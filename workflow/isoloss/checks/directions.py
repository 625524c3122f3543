"""Combinations of parameters that runs do not tell apart, in the user's parameters.

A direction in which no prediction changes is tried as a product, a ratio, a sum or a difference:
the parameters are moved far along it, and what leaves the predictions as they are is named.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from isoloss.checks.thresholds import thresholds
from isoloss.laws._law import Data, Law

FLAT = 1e-6  # singular value of the scaled gradient below which a combination of terms is free
UNSEEN = 1e-8  # change of every prediction, in parts of it, below which a parameter is not seen
_SHARE = 0.1  # of a direction, from which a term takes part in it
_MOVES = (1.6, 0.7)  # factors by which a combination is moved to see whether predictions stay
_SAME = 1e-6  # change of predictions, in parts of them, that counts as none
_STEEPEST = 20.0  # power in a product of two parameters that is looked for
_NONE = 1e-11  # as FLAT, of directions that have no effect but for rounding
FAR = 10.0  # factor beyond the runs at which it is judged how much a direction matters
_POINTS = 8  # for every parameter, at which a law is looked at away from its runs
SHOWN = 2  # sentences on what runs know in a message; the table findings has all of them
_MOST = 4  # parameters that move together which are named
_NEAR = 1e-5  # of a power that is a whole number, or another parameter


def relative(law: Law, theta: np.ndarray, data: Data) -> np.ndarray:
    """Derivatives of predictions by theta, in parts of the predictions: (n, p).

    In parts of their root mean square where not all predictions are above 0, or errors of the
    response are differences (`Law.additive`).
    """
    with np.errstate(all="ignore"):
        loss, slopes = law.loss(theta, data), law.gradient(theta, data)
        return slopes / _sizes(law, loss)[:, None]


def unseen(law: Law, theta: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Which terms change no prediction, bool (p,), though they were twice or half as large.

    Args:
        law: the law.
        theta: the optimum, (p,).
        slopes: of `relative`, (n, p).
    """
    step = np.array(
        [1.0 if t.log or v == 0 else abs(v) for t, v in zip(law.terms, theta, strict=True)]
    )
    return np.abs(slopes * step).max(axis=0, initial=0.0) < UNSEEN


def free_directions(slopes: np.ndarray, flat: float = FLAT) -> np.ndarray:
    """A basis of the directions in which predictions do not change, (k, p), each of few terms.

    Args:
        slopes: derivatives of predictions, (n, p), of the terms that are estimated.
        flat: singular value below which they do not change.
    """
    size = np.linalg.norm(slopes, axis=0)
    scaled = slopes / np.where(size > 0, size, 1.0)
    _, values, directions = np.linalg.svd(scaled, full_matrices=True)
    values = np.concatenate([values, np.zeros(slopes.shape[1] - len(values))])
    return _sparse(directions[values < flat]) / np.where(size > 0, size, 1.0)


def _sparse(basis: np.ndarray) -> np.ndarray:
    """The same space by vectors of few entries: Gauss's elimination, largest pivots first."""
    basis, used = basis.copy(), []
    for row in range(len(basis)):
        left = np.abs(basis[row:])
        left[:, used] = 0.0
        at, column = np.unravel_index(np.argmax(left), left.shape)
        basis[[row, row + at]] = basis[[row + at, row]]
        basis[row] /= basis[row, column]
        used.append(column)
        for other in range(len(basis)):
            if other != row:
                basis[other] -= basis[other, column] * basis[row]
    basis[np.abs(basis) < 1e-4] = 0.0
    return basis


def combinations(
    law: Law, theta: np.ndarray, data: Data, asked: Sequence[int] | None = None
) -> list[str]:
    """What the runs know and do not know of parameters that they do not tell apart, in words.

    Args:
        law: the law.
        theta: the optimum, (p,).
        data: variables of the runs fitted, (n,) each.
        asked: positions of the terms that are estimated; all if None.

    Returns:
        Such as "only A * B is known, not A and B apart"; empty where the runs determine all. Those
        that change predictions beyond the runs most come first, those that change none last.

    Example:
        >>> from isoloss.laws import power_law
        >>> law = power_law.make(variable="N", offset=True)
        >>> theta = law.theta({"E": 1.0, "A": 2.0, "alpha": 0.3})
        >>> combinations(law, theta, {"N": np.array([1e9, 1e9, 1e9])})[0]
        'alpha and E trade: alpha +0.03 is undone by E times 1.0025'
    """
    slopes = relative(law, theta, data)
    if not np.isfinite(slopes).all():
        return []
    asked = list(range(len(theta))) if asked is None else list(asked)
    silent = unseen(law, theta, slopes)
    compared = {one.term: one.words for one in thresholds(law, theta, data)}
    told = [
        (compared.get(law.terms[i].name, _silent(law, i)), np.eye(len(theta))[i])
        for i in asked
        if silent[i]
    ]
    seen = [i for i in asked if not silent[i]]
    for direction in free_directions(slopes[:, seen]) if seen else ():
        full = np.zeros(len(theta))
        full[seen] = direction
        told.append((_words(law, theta, data, full, slopes), full))
    points = _beyond(data)
    changes = [_change(law, theta, points, direction) for _, direction in told]
    order = sorted(range(len(told)), key=lambda i: -changes[i])
    return [told[i][0] for i in order]


def _beyond(data: Data) -> dict[str, np.ndarray]:
    """Points FAR beyond the runs: in each variable above 0 alone, and in all of them."""
    above = [name for name, values in data.items() if (np.asarray(values) > 0).all()]
    moved = [{name} for name in above] + [set(above)]
    return {
        name: np.concatenate([np.asarray(values) * (FAR if name in one else 1.0) for one in moved])
        for name, values in data.items()
    }


def _change(law: Law, theta: np.ndarray, points: Data, direction: np.ndarray) -> float:
    """The most that a prediction changes, to first order, as a direction's parameters move.

    In parts of the prediction, for a move of the size of the parameter that moves most; to two
    digits, 0 below _SAME, infinite where there is none.
    """
    units = np.array([_unit(law, theta, i) for i in range(len(theta))])
    step = direction / np.abs(direction / units).max()
    change = float(np.abs(relative(law, theta, points) @ step).max())
    if not np.isfinite(change):
        return float("inf")
    return float(f"{change:.1e}") if change > _SAME else 0.0


def in_the_form(law: Law, theta: np.ndarray, data: Data, asked: Sequence[int]) -> bool:
    """Whether parameters are not told apart by any runs, as A and B in A * B.

    At points of no order around the runs there are then as many directions without effect.

    Args:
        law: the law.
        theta: the optimum, (p,).
        data: variables of the runs fitted, (n,) each.
        asked: positions of the terms that are estimated.
    """
    slopes = relative(law, theta, data)
    rng = np.random.default_rng(0)
    count, points = _POINTS * len(theta), {}
    for name, values in data.items():
        drawn, noise = rng.choice(values, count), rng.standard_normal(count)
        above = (values > 0).all()
        points[name] = drawn * np.exp(noise / 2) if above else drawn + noise * (np.std(values) or 1)
    others = relative(law, theta, points)
    if not (np.isfinite(slopes).all() and np.isfinite(others).all()):
        return False
    own = list(asked)
    here, there = len(free_directions(slopes[:, own])), len(free_directions(others[:, own], _NONE))
    return 0 < here == there and not unseen(law, theta, slopes)[own].any()


def _silent(law: Law, i: int) -> str:
    return f"{law.terms[i].name} changes no prediction: its part of the law vanishes at every run"


def members(law: Law, theta: np.ndarray, direction: np.ndarray, slopes: np.ndarray) -> list[int]:
    """The terms that take part in a direction, that which moves most in parts of itself first.

    Args:
        law: the law.
        theta: the optimum, (p,).
        direction: in theta, (p,).
        slopes: of `relative`, (n, p).
    """
    weight = np.abs(direction) * np.linalg.norm(slopes, axis=0)
    moves = np.abs(direction) / [_unit(law, theta, i) for i in range(len(theta))]
    own = np.flatnonzero(weight > _SHARE * weight.max(initial=0.0))
    return sorted((int(i) for i in own), key=lambda i: -moves[i])


def _unit(law: Law, theta: np.ndarray, i: int) -> float:
    """What a move of a term is compared with: 1 of a logarithm, else its size."""
    return 1.0 if law.terms[i].log else abs(float(theta[i])) or 1.0


def _words(law: Law, theta: np.ndarray, data: Data, direction, slopes: np.ndarray) -> str:
    """A direction in which predictions do not change, in words."""
    own = members(law, theta, direction, slopes)
    names = [law.terms[i].name for i in own]
    if len(own) == 1:
        return _silent(law, own[0])
    for known in _candidates(law, theta, data, own, direction):
        apart = _listed([law.terms[i].name for i in sorted(own)])
        return f"only {known} is known, not {apart} apart"
    first, *others = own
    undone = " and ".join(_move(law, theta, direction, first, i) for i in others)
    trade = f"{_listed(names)} trade: {names[0]} {_moved(law, theta, first)} is undone by"
    return f"{trade} {undone}"


def _candidates(law: Law, theta, data: Data, own: Sequence[int], direction) -> Iterator[str]:
    """Combinations of two parameters that leave the predictions as they are where they stay."""
    if len(own) != 2:
        return
    own = sorted(own)
    (i, j), values = own, [t.value(theta[k]) for k, t in enumerate(law.terms)]
    a, b = (law.terms[k].name for k in own)
    values_of_both = (values[i], values[j])
    if all(values_of_both):
        logs = [direction[k] if law.terms[k].log else direction[k] / values[k] for k in own]
        power = -logs[0] / logs[1]  # A^1 B^power is known
        if 1 / _STEEPEST < abs(power) < _STEEPEST and all(
            _stays(law, theta, data, {i: t, j: t ** (-1 / power)}, {}) for t in _MOVES
        ):
            named = _named_power(law, theta, data, own, power)
            sign = "/" if named.startswith("-") else "*"
            own_words = f"{a} {sign} {b}**{named.removeprefix('-')}"
            yield own_words if named else _product(a, b, power)
    parts = [direction[k] * (values[k] if law.terms[k].log else 1.0) for k in own]
    size = min(abs(v) for v in values_of_both) or max(abs(v) for v in values_of_both) or 1.0
    for sign, word in ((-1.0, "+"), (1.0, "-")):
        moves = [{i: m * size, j: sign * m * size} for m in (0.3, -0.2)]
        if abs(parts[1] - sign * parts[0]) < _NEAR * abs(parts[0]) and all(
            _stays(law, theta, data, {}, m) for m in moves
        ):
            yield f"{a} {word} {b}"


def _named_power(law: Law, theta, data: Data, own: Sequence[int], power: float) -> str:
    """The parameter that a power in a product of two others is; empty if it is none of them."""
    i, j = own
    for k, term in enumerate(law.terms):
        value = float(term.value(theta[k]))
        if k in own or not value or abs(abs(power / value) - 1) > _NEAR:
            continue
        moved, sign = np.array(theta, dtype=float), power / value
        moved[k] = term.coordinate(1.03 * value)  # it is the power only if that moves with it
        if all(_stays(law, moved, data, {i: t, j: t ** (-1 / (1.03 * power))}, {}) for t in _MOVES):
            return term.name if sign > 0 else f"-{term.name}"
    return ""


def _product(a: str, b: str, power: float) -> str:
    """a * b**power, as short as can be.

    >>> _product("A", "B", 1.0), _product("A", "B", -2.0), _product("A", "B", 0.5)
    ('A * B', 'A / B**2', 'A**2 * B')
    """
    sign, size = ("*" if power > 0 else "/"), abs(power)
    for top, bottom in itertools.product(range(1, 7), repeat=2):
        if abs(size * bottom / top - 1) < _NEAR and np.gcd(top, bottom) == 1:
            first = a if bottom == 1 else f"{a}**{bottom}"
            return f"{first} {sign} {b if top == 1 else f'{b}**{top}'}"
    return f"{a} {sign} {b}**{size:.4g}"


def _stays(law: Law, theta, data: Data, factors: dict[int, float], shifts: dict) -> bool:
    """Whether predictions stay as some parameters are multiplied, and others are added to."""
    moved = np.array(theta, dtype=float)
    for k, factor in factors.items():
        moved[k] = moved[k] + np.log(factor) if law.terms[k].log else moved[k] * factor
    for k, shift in shifts.items():
        own = law.terms[k].value(moved[k]) + shift
        moved[k] = law.terms[k].coordinate(own)
    with np.errstate(all="ignore"):
        before, after = law.loss(theta, data), law.loss(moved, data)
        change = np.abs(after - before) / _sizes(law, before)
    return bool(np.isfinite(change).all() and change.max(initial=0.0) < _SAME)


def _sizes(law: Law, loss: np.ndarray) -> np.ndarray:
    """What a change of predictions is compared with, (n,)."""
    if (loss > 0).all() and not law.additive:
        return loss
    with np.errstate(all="ignore"):
        return np.full_like(loss, np.sqrt(np.mean(loss**2)) or 1.0)


def _move(law: Law, theta, direction: np.ndarray, first: int, i: int) -> str:
    """How a parameter moves as the first rises by a tenth, to first order."""
    unit = (np.log(1.1) if law.terms[first].log else 0.1) * _unit(law, theta, first)
    step = direction[i] / direction[first] * unit
    if law.terms[i].log:
        digits = 3 if abs(step) > 0.005 else 5
        return f"{law.terms[i].name} times {np.exp(step):.{digits}g}"
    return f"{law.terms[i].name} {step:+.3g}"


def _moved(law: Law, theta, first: int) -> str:
    term = law.terms[first]
    if term.log:
        return "times 1.1"
    return f"{0.1 * _unit(law, theta, first):+.3g}"


def loosest(law: Law, theta: np.ndarray, direction: np.ndarray, slopes: np.ndarray) -> str:
    """The direction in which predictions change least, as moves of the parameters together.

    Args:
        law: the law.
        theta: the optimum, (p,).
        direction: in theta, (p,).
        slopes: of `relative`, (n, p).
    """
    own = members(law, theta, direction, slopes)
    if not own:
        return ""
    first = own[0]
    moves = [f"{law.terms[first].name} {_moved(law, theta, first)}"]
    moves += [_move(law, theta, direction, first, i) for i in own[1:]]
    return " with ".join([moves[0], some(moves[1:], _MOST)]) if own[1:] else moves[0]


def some(names: Sequence[str], most: int) -> str:
    """The first names of many, and how many more there are.

    >>> some(["A", "B", "c"], 2), some(["A", "B"], 2)
    ('A, B and 1 more', 'A, B')
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def first(known: Sequence[str], most: int = SHOWN) -> list[str]:
    """The first of several sentences on what runs know, and how many more there are.

    >>> first(["A changes no prediction", "only B * c is known, not B and c apart"], most=1)
    ['A changes no prediction', '1 more, of no greater effect, in the table findings']
    """
    more = len(known) - most
    return [*known[:most], *([_more(more)] if more > 0 else [])]


def _more(count: int) -> str:
    return f"{count} more, of no greater effect, in the table findings"


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    >>> _listed(["A", "B", "c"])
    'A, B and c'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
