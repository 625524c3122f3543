"""What a fit minimises: a sum over runs of a penalty of the law's error.

When to use what: `auto` unless there is a reason. It is `huber_log` where all values are above 0
(few bad runs do not move it), and else `huber_scaled`, the same of differences in units of the
values' spread, which has no logarithm and asks nothing of their sign. It is `huber_scaled` too
where the law says the greatest value of its response, such as 1 of an error rate. `log_mse` is for
noise that is normal in log loss; `mse` and `huber` where the law's paper fits the loss itself;
`mae` and `asymmetric_mae` to reproduce fits that used them (the second is a lower envelope: it is
no estimate of the mean).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fit.penalties import Parts, PenaltyOfLosses, of_residuals

SMOOTH = 1e-5  # width, in units of the loss's scale, within which an absolute error is a square
WIDE = 0.1  # the same width from which sharp corners are approached, halved each time
SHARP = WIDE / 2**23  # where the optimum of absolute errors themselves is asked for: 1e-8
BLUNT = WIDE / 2**14  # of replicates, which vary by far more: 6e-6
ABOVE = 10.0  # asymmetric_mae: weight of a prediction above the loss
OF_RESIDUALS, OF_LOSSES = "callable", "callable of losses"  # names of a user's functions
AUTO, OF_ANY_SIGN = "auto", "huber_scaled"  # chosen by what is fitted; for values of any sign
IN_SPREADS = 10.0  # spreads that are one in log loss, about
MAD = 1.4826  # normal standard deviation per median absolute deviation


@dataclass(frozen=True)
class Penalty:
    """Penalties of n runs and their derivatives by the predicted loss, each (..., n).

    Attributes:
        value: the penalty.
        slope: first derivative.
        curvature: second derivative; it may be negative.
        weight: of the square that lies above the penalty and touches it (iterative
            reweighting); never negative.
    """

    value: np.ndarray
    slope: np.ndarray
    curvature: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Objective:
    """An objective and its settings.

    Attributes:
        name: one of OBJECTIVES, OF_RESIDUALS or OF_LOSSES.
        delta: where Huber's square turns into a line, in log loss (huber_log), loss (huber) or
            spreads of the values fitted (huber_scaled).
        penalty_of: of OF_RESIDUALS: the penalty of each run as a function of the log residual
            ln(predicted) - ln(observed), elementwise, least at 0; derivatives are by differences.
        of_losses: of OF_LOSSES: the penalty of each run by its losses.
        above: asymmetric_mae: how many times as heavy a prediction above the loss is.
        smooth: of absolute errors, and of corners of OF_LOSSES: the width within which they are a
            square, in units of the loss's scale; any but SMOOTH is approached from wider ones.
        spread: of huber_scaled: what differences are divided by, a number or one for every run
            (n,); None before it is known.
    """

    name: str = "huber_log"
    delta: float = 1e-3
    penalty_of: Callable[[np.ndarray], np.ndarray] | None = None
    of_losses: PenaltyOfLosses | None = None
    above: float = ABOVE
    smooth: float = SMOOTH
    spread: float | np.ndarray | None = None

    def __str__(self) -> str:
        if self.penalty_of is not None:
            return f"callable {getattr(self.penalty_of, '__name__', '')}".strip()
        if self.of_losses is not None:
            return f"callable {self.of_losses.name}"
        if self.name == "asymmetric_mae" and self.above != ABOVE:
            return f"{self.name}(above={self.above:g})"
        return f"{self.name}(delta={self.delta:g})" if "huber" in self.name else self.name

    def chosen(self, relative: bool) -> Objective:
        """The objective that `auto` is, by whether errors are shares of the values fitted.

        They are where all values are above 0 and have no greatest one (`Law.additive`). A delta in
        log loss is ten times as large in spreads: losses vary by about a tenth.

        Example:
            >>> print(Objective("auto").chosen(relative=False))
            huber_scaled(delta=0.01)
        """
        if self.name != AUTO:
            return self
        if relative:
            return replace(self, name="huber_log")
        return replace(self, name=OF_ANY_SIGN, delta=IN_SPREADS * self.delta)

    def of_values(self, values: np.ndarray) -> Objective:
        """The objective with the spread of the values that are fitted, (n,), where it needs one."""
        if self.name != OF_ANY_SIGN or self.spread is not None:
            return self
        return replace(self, spread=spread_of(values))

    def of_groups(self, groups: Sequence[np.ndarray]) -> Objective:
        """The same for groups whose runs are laid end to end, each with a spread of its own."""
        if self.name != OF_ANY_SIGN or self.spread is not None:
            return self
        spreads = [np.full(len(values), spread_of(values)) for values in groups]
        return replace(self, spread=np.concatenate(spreads))

    @property
    def logarithmic(self) -> bool:
        """Whether it compares logarithms, so that it does not depend on the unit of the loss."""
        return self.name in LOGARITHMIC

    @property
    def cornered(self) -> bool:
        """Whether `smooth` is the width of its corners."""
        return "mae" in self.name or self.of_losses is not None

    def unit(self, scale: float) -> float:
        """What an objective of losses divided by `scale` counts in those of the losses."""
        if self.logarithmic or self.of_losses is not None or self.name == OF_ANY_SIGN:
            return 1.0
        return scale if "mae" in self.name else scale**2

    def divided(self, size: float) -> Objective:
        """The objective of losses that are divided by `size`."""
        if self.of_losses is not None:
            return replace(self, of_losses=replace(self.of_losses, size=self.of_losses.size * size))
        if self.name == OF_ANY_SIGN:
            return self if self.spread is None else replace(self, spread=self.spread / size)
        return self if self.logarithmic else replace(self, delta=self.delta / size)

    def easier(self) -> list[tuple[Objective, int]]:
        """Wider Huber objectives that lead to this one, and how many steps to take on each.

        Nearly all of the path of a descent lies where a Huber objective is a sum of absolute
        values, with a corner at every run.
        """
        if "huber" not in self.name:
            return []
        widths = ((100.0, 40), (10.0, 15), (3.0, 8))
        return [(replace(self, delta=wider * self.delta), most) for wider, most in widths]

    def halving(self, loss: np.ndarray) -> list[Objective]:
        """Objectives that lead to one with corners, each half as smooth as the one before."""
        if self.smooth == SMOOTH or not self.corners(loss):
            return []
        count = int(np.ceil(np.log2(WIDE / self.smooth)))
        return [replace(self, smooth=self.smooth * 2.0**k) for k in range(count, 0, -1)]

    def corners(self, loss: np.ndarray) -> bool:
        """Whether penalties of runs with these losses have a corner where the error is 0."""
        return self.cornered if self.of_losses is None else self.of_losses.corners(loss)

    def blunt(self) -> Objective:
        """The objective of replicates: sharp corners cost time, and far less than they vary."""
        return replace(self, smooth=max(self.smooth, BLUNT))

    def values(self, predicted: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """Penalty of each run, (..., n); infinite where the law predicts none."""
        residual = self.residual(predicted, loss)
        value = self._parts(residual, loss)[0]
        return np.where(np.isfinite(residual), value, np.inf)

    def penalty(self, predicted: np.ndarray, loss: np.ndarray) -> Penalty:
        """The penalties with their derivatives by the predicted loss."""
        residual = self.residual(predicted, loss)
        value, slope, curvature, weight = self._parts(residual, loss)
        if self.logarithmic:
            inverse = 1.0 / predicted
            curvature = (curvature - slope) * inverse * inverse
            weight = weight * inverse * inverse
            slope = slope * inverse
        elif self.spread is not None:
            slope = slope / self.spread
            curvature, weight = curvature / self.spread**2, weight / self.spread**2
        return Penalty(value, slope, curvature, weight)

    def residual(self, predicted: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """Predicted minus observed, of logarithms or in spreads if the objective has those."""
        if self.logarithmic:
            return np.log(predicted) - np.log(loss)
        if self.spread is not None:
            return (predicted - loss) / self.spread
        return predicted - loss

    def slope(self, residual: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """Derivative of each penalty by the residual, (..., n)."""
        return self._parts(residual, loss)[1]

    def _parts(self, residual: np.ndarray, loss: np.ndarray) -> Parts:
        """Value, slope, curvature and weight of the penalties by the residual."""
        if self.penalty_of is not None:
            return of_residuals(self.penalty_of, residual)
        width = self._width(loss)
        if self.of_losses is not None:
            return self.of_losses.parts(residual, loss, width, _absolute)
        parts = OBJECTIVES[self.name](residual, width)
        if self.name == "asymmetric_mae":
            heavy = np.where(residual > 0, self.above, 1.0)
            return tuple(heavy * part for part in parts)
        return parts

    def _width(self, loss: np.ndarray) -> float:
        if self.cornered:
            return self.smooth * float(np.median(np.abs(loss)))
        return self.delta


def spread_of(values: np.ndarray) -> float:
    """A robust standard deviation of values, (n,): of their distances from the median.

    The standard deviation where more than half of the values are one, and their size where all
    are; 1 for zeros.

    Example:
        >>> round(spread_of(np.array([-2.0, -1.0, 0.0, 1.0, 200.0])), 2)
        1.48
    """
    choices = (MAD * np.median(np.abs(values - np.median(values))), values.std(), abs(values[0]))
    return next((float(one) for one in choices if np.isfinite(one) and one > 0), 1.0)


def _huber(residual: np.ndarray, delta: float) -> Parts:
    """Huber's penalty (arXiv:2203.15556, equation 3), value, slope, curvature, weight."""
    slope = np.clip(residual, -delta, delta)
    size = np.abs(residual)
    return (
        slope * (residual - 0.5 * slope),
        slope,
        (size <= delta).astype(float),
        delta / np.maximum(size, delta),
    )


def _square(residual: np.ndarray, delta: float) -> Parts:
    """Squared error."""
    two = np.full_like(residual, 2.0)
    return residual**2, 2 * residual, two, two


def _absolute(residual: np.ndarray, delta: float) -> Parts:
    """Absolute error, a square within `delta` of zero: Huber's penalty by its slope."""
    value, slope, curvature, weight = _huber(residual, delta)
    return value / delta, slope / delta, curvature / delta, weight / delta


LOGARITHMIC = ("huber_log", "log_mse", OF_RESIDUALS)
OBJECTIVES: dict[str, Callable[[np.ndarray, float], Parts]] = {
    "huber_log": _huber,
    OF_ANY_SIGN: _huber,
    "log_mse": _square,
    "mse": _square,
    "huber": _huber,
    "mae": _absolute,
    "asymmetric_mae": _absolute,
}
# settings of an objective in a mapping, with what each may be
SETTINGS = {"delta": (1e-9, 1e9), "above": (1e-9, 1e9), "smooth": (SHARP, 1.0)}


def objective_of(asked: Any, delta: float) -> Objective:
    """The objective that `fit_law` is asked for.

    Args:
        asked: a name; a mapping of settings and `name`, or `of_losses`, which is a function of
            (observed, predicted); or a function, of the log residuals or of those two, told apart
            by how many arguments it needs.
        delta: where none is in the mapping.

    Raises:
        IsolossError: no such objective or setting, or a setting out of its range.

    Example:
        >>> print(objective_of({"name": "asymmetric_mae", "above": 3.0}, 1e-3))
        asymmetric_mae(above=3)
        >>> print(objective_of(lambda observed, predicted: abs(predicted - observed), 1e-3))
        callable <lambda>
    """
    if callable(asked) and arguments(asked) != 2:
        return Objective(OF_RESIDUALS, delta, asked)
    if callable(asked):
        asked = {"of_losses": asked}
    settings = dict(asked) if isinstance(asked, Mapping) else {"name": asked}
    function = settings.pop("of_losses", None)
    name = settings.pop("name", OF_LOSSES if function else None)
    wrong = []
    known = (AUTO, *OBJECTIVES)
    if not isinstance(name, str) or name not in (known if function is None else (OF_LOSSES,)):
        wrong.append(Problem("objective", f"unknown {name!r:.60}", nearest(name, known)))
    for key, value in settings.items():
        place = f"objective.{key}"
        if key not in SETTINGS:
            wrong.append(Problem(place, "no such setting", nearest(key, SETTINGS)))
            continue
        low, high = SETTINGS[key]
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not (number and low <= value <= high):
            needed = f"needs a number, {low:g} to {high:g}"
            wrong.append(Problem(place, f"found {value!r:.60}", needed))
    if wrong:
        raise IsolossError(*wrong)
    of_losses = None if function is None else PenaltyOfLosses(function)
    return Objective(name, of_losses=of_losses, **{"delta": delta, **settings})


def arguments(function: Callable) -> int:
    """How many positional arguments a function needs; 1 where it does not say."""
    try:
        known = inspect.signature(function).parameters.values()
    except ValueError:  # of some functions that are written in C
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in positional and one.default is one.empty for one in known)
