"""Starts of formulas with sums like a V^g + b, in an exponent or a function, moved near an optimum.

The coefficients of such a sum trade with its exponent: where g changes a little, a and b change by
factors of V^g, and a descent in them follows a curved valley in small steps. The same sum is
k h + c with h = ((V / V0)^g - 1) / g: its slope k and value c at the middle V0 of the runs are
known whatever g is. A few steps of damped least squares in k, g and c bring starts close.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.formulas import Evaluator, names_of, operation
from isoloss.laws._formula_starts import factors_of, summands_of
from isoloss.laws._law import Data

LOOKED_AT, IMPROVED, STEPS = 200, 128, 80  # runs, starts and steps
DELTA = 1e-3  # of Huber's penalty, as fits have it if nobody says another
LEAST = 1e-6  # size of an exponent, at least


@dataclass(frozen=True)
class Bent:
    """A summand a V^(sign g) beside a constant b, both of any sign.

    Attributes:
        slope, exponent, constant: positions of a, g and b in theta.
        sign: of the exponent, 1 or -1.
        middle: mean of ln V over the runs.
        added: sign of the summand relative to that of the constant.
    """

    slope: int
    exponent: int
    constant: int
    sign: float
    middle: float
    added: float


def bent_parts(sums, names: Sequence[str], free: Collection[str], data: Data) -> list[Bent]:
    """The summands of sums in a formula that are bent; each parameter is in one of them at most.

    Args:
        sums: trees of sums.
        names: of the parameters, in the order of theta.
        free: parameters of any sign, by their values.
        data: variables of the runs, (n,) each.
    """
    parts, used = [], set()
    for tree in sums:
        summands = list(summands_of(tree))
        bare = [(sign, p.name) for sign, p in summands if operation(p)[0] == "name"]
        constants = [(sign, name) for sign, name in bare if name in free and name in names]
        if len(constants) != 1:
            continue
        sign, constant = constants[0]
        for other, part in summands:
            shape = _shape_of(part, names, free, data)
            if shape is None or {constant, *shape[:2]} & used:
                continue
            slope, exponent, turned, middle = shape
            used |= {slope, exponent}
            where = (names.index(name) for name in (slope, exponent, constant))
            parts.append(Bent(*where, turned, middle, other * sign))
        used.add(constant)
    return parts


def _shape_of(part, names: Sequence[str], free: Collection[str], data: Data):
    """Names of a and g, the sign of g, and the mean of ln V; None of another summand."""
    factors = list(factors_of(part))
    bare = [f.name for p, f in factors if operation(f)[0] == "name" and p > 0]
    powers = [(p, operation(f)[1]) for p, f in factors if operation(f)[0] == "**"]
    if len(factors) != 2 or len(bare) != 1 or len(powers) != 1:
        return None
    (sign, (base, exponent)), slope = powers[0], bare[0]
    while operation(exponent)[0] == "neg":
        sign, exponent = -sign, operation(exponent)[1][0]
    fitted = set(names)
    if operation(exponent)[0] != "name" or set(names_of(base)) & fitted:
        return None
    if not {slope, exponent.name} <= fitted & set(free) or slope == exponent.name:
        return None
    with np.errstate(all="ignore"):
        middle = float(np.mean(np.log(Evaluator(base, ()).value(data))))
    return (slope, exponent.name, sign, middle) if np.isfinite(middle) else None


class Straight:
    """Coordinates in which bent parts have a slope and a value in the middle of the runs.

    Args:
        parts: the bent parts.
    """

    def __init__(self, parts: Sequence[Bent]):
        self.parts = parts

    def exponent(self, theta: np.ndarray, part: Bent) -> np.ndarray:
        """The exponent of V, away from 0, (b,)."""
        value = part.sign * theta[:, part.exponent]
        return np.where(np.abs(value) < LEAST, LEAST, value)

    def into(self, theta: np.ndarray) -> np.ndarray:
        """Slopes and values in the middle in the place of a and b, (b, p)."""
        moved = theta.copy()
        for part in self.parts:
            power = self.exponent(theta, part)
            size = theta[:, part.slope] * np.exp(power * part.middle)
            moved[:, part.slope] = power * size
            moved[:, part.constant] += part.added * size
        return moved

    def back(self, moved: np.ndarray) -> np.ndarray:
        """The inverse of `into`, (b, p)."""
        theta = moved.copy()
        for part in self.parts:
            power = self.exponent(moved, part)
            size = moved[:, part.slope] / power
            theta[:, part.slope] = size * np.exp(-power * part.middle)
            theta[:, part.constant] -= part.added * size
        return theta

    def slopes(self, moved: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Derivatives by theta, (b, n, p), as those by the moved coordinates."""
        new = slopes.copy()
        for part in self.parts:
            power, slope = self.exponent(moved, part), moved[:, part.slope]
            by_a, by_b = slopes[..., part.slope], slopes[..., part.constant]
            scale = np.exp(-power * part.middle) / power
            new[..., part.slope] = scale[:, None] * by_a - (part.added / power)[:, None] * by_b
            turned = -slope * scale * (1.0 / power + part.middle)
            new[..., part.exponent] += part.sign * (
                turned[:, None] * by_a + (part.added * slope / power**2)[:, None] * by_b
            )
        return new


class Approach:
    """Damped steps of starts in straight coordinates, by robust or plain least squares.

    Args:
        straight: the coordinates in which starts move.
        limits: least and greatest theta, (p,) each.
        law: theta (b, p) -> predictions (b, n).
        gradient: theta (b, p) -> derivatives (b, n, p).
        loss: observed, (n,).
    """

    def __init__(
        self,
        straight: Straight,
        limits: tuple[np.ndarray, np.ndarray],
        law: Callable[[np.ndarray], np.ndarray],
        gradient: Callable[[np.ndarray], np.ndarray],
        loss: np.ndarray,
    ):
        self.straight, self.limits, self.law, self.gradient = straight, limits, law, gradient
        self.loss, self.above = loss, bool((loss > 0).all())
        largest = float(np.max(np.abs(loss))) or 1.0
        spread = float(np.std(loss / largest)) or 1.0
        self.unit = largest * spread  # of errors, where losses are not all above 0

    def starts(self, theta: np.ndarray) -> np.ndarray:
        """The best of starts (b, p) near optima of two objectives, (s, p).

        One is that of squares, the other that of Huber's penalty with the usual delta.
        """
        with np.errstate(all="ignore"):
            value = _mean(self._errors(theta) ** 2)
            best = theta[np.argsort(value, kind="stable")[:IMPROVED]]
            squares = _finite(self._descended(best, np.inf), best)
            return np.concatenate([squares, _finite(self._descended(squares, DELTA), best)])

    def _errors(self, theta: np.ndarray) -> np.ndarray:
        """Of log losses where losses are above 0, else of losses over their spread, (b, n)."""
        predicted = self.law(theta)
        if self.above:
            return np.log(predicted / self.loss)
        return (predicted - self.loss) / self.unit

    def _descended(self, theta: np.ndarray, delta: float) -> np.ndarray:
        """Points (b, p) after some steps down Huber's penalty; of squares if delta is infinite."""
        errors = self._errors(theta)
        value, damping = _mean(_penalty(errors, delta)), np.full(len(theta), 1e-2)
        moved = self.straight.into(theta)
        for _ in range(STEPS):
            theta = self.straight.back(moved)
            errors = np.nan_to_num(self._errors(theta))
            unit = self.law(theta) if self.above else np.full((1, 1), self.unit)
            slopes = self.straight.slopes(moved, self.gradient(theta) / unit[..., None])
            weight = np.sqrt(np.minimum(1.0, delta / np.maximum(np.abs(errors), 1e-300)))
            step = _step(np.nan_to_num(slopes) * weight[..., None], errors * weight, damping)
            ahead = np.clip(self.straight.back(moved - step), *self.limits)
            now = _mean(_penalty(self._errors(ahead), delta))
            better = now < value
            moved = np.where(better[:, None], self.straight.into(ahead), moved)
            value = np.where(better, now, value)
            damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-12, 1e12)
        return self.straight.back(moved)


def _finite(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Points (b, p) that are finite, and in the place of the rest the others."""
    return np.where(np.isfinite(points).all(axis=-1, keepdims=True), points, others)


def _penalty(errors: np.ndarray, delta: float) -> np.ndarray:
    """Squares of errors as far as delta, beyond it their tangents."""
    size = np.abs(errors)
    return np.where(size <= delta, errors**2, delta * (2 * size - min(delta, 1e300)))


def _mean(values: np.ndarray) -> np.ndarray:
    """Means over the runs, (b,); infinite where one is not finite."""
    mean = np.mean(values, axis=-1)
    return np.where(np.isfinite(mean), mean, np.inf)


def _step(slopes: np.ndarray, errors: np.ndarray, damping: np.ndarray) -> np.ndarray:
    """Steps to subtract, (b, p), of least squares with slopes (b, n, p), damped by (b,)."""
    size = np.sqrt(np.einsum("bnp,bnp->bp", slopes, slopes))
    size = np.where((size > 0) & np.isfinite(size), size, 1.0)
    slopes = slopes / size[:, None]
    normal = np.swapaxes(slopes, -1, -2) @ slopes
    normal += (damping[:, None, None] + 1e-14) * np.eye(slopes.shape[-1])
    right = np.einsum("bnp,bn->bp", slopes, errors)
    return np.linalg.solve(normal, right[..., None])[..., 0] / size


def rows_of(count: int) -> np.ndarray:
    """Positions of the runs that are looked at, spread evenly."""
    return np.unique(np.linspace(0, count - 1, LOOKED_AT).astype(int))
