"""What a fit minimises: a sum over runs of a penalty of the law's error.

When to use what: `huber_log` unless there is a reason (few bad runs do not move it); `log_mse`
for noise that is normal in log loss; `mse` and `huber` where the law's paper fits the loss
itself; `mae` and `asymmetric_mae` to reproduce fits that used them (the second is a lower
envelope: it is no estimate of the mean).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SMOOTH = 1e-5  # width, in units of the loss's scale, within which an absolute error is a square
ABOVE = 10.0  # asymmetric_mae: weight of a prediction above the loss


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
        name: one of OBJECTIVES, or `callable`.
        delta: where Huber's square turns into a line, in log loss (huber_log) or loss (huber).
        penalty_of: of a callable: the penalty of each run as a function of the log residual
            ln(predicted) - ln(observed), elementwise, least at 0; derivatives are by differences.
    """

    name: str = "huber_log"
    delta: float = 1e-3
    penalty_of: Callable[[np.ndarray], np.ndarray] | None = None

    def __str__(self) -> str:
        if self.penalty_of is not None:
            return f"callable {getattr(self.penalty_of, '__name__', '')}".strip()
        return f"{self.name}(delta={self.delta:g})" if "huber" in self.name else self.name

    @property
    def logarithmic(self) -> bool:
        """Whether it compares logarithms, so that the unit of the loss is nothing to it."""
        return self.name in LOGARITHMIC

    def unit(self, scale: float) -> float:
        """What an objective of losses divided by `scale` counts in those of the losses."""
        return 1.0 if self.logarithmic else scale if "mae" in self.name else scale**2

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
        return Penalty(value, slope, curvature, weight)

    def residual(self, predicted: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """Predicted minus observed, of logarithms where the objective compares those."""
        if self.logarithmic:
            return np.log(predicted) - np.log(loss)
        return predicted - loss

    def slope(self, residual: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """Derivative of each penalty by the residual, (..., n)."""
        return self._parts(residual, loss)[1]

    def _parts(self, residual: np.ndarray, loss: np.ndarray) -> Parts:
        """Value, slope, curvature and weight of the penalties by the residual."""
        if self.penalty_of is None:
            return OBJECTIVES[self.name](residual, self._width(loss))
        value, step = self.penalty_of(residual), 1e-5
        above, below = self.penalty_of(residual + step), self.penalty_of(residual - step)
        slope, curvature = (above - below) / (2 * step), (above + below - 2 * value) / step**2
        # at 0 the square that touches the penalty has its curvature
        with np.errstate(all="ignore"):
            weight = np.where(np.abs(residual) > step, slope / residual, curvature)
        return value, slope, curvature, np.maximum(weight, 0.0)

    def _width(self, loss: np.ndarray) -> float:
        return SMOOTH * float(np.median(np.abs(loss))) if "mae" in self.name else self.delta


Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


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


def _asymmetric(residual: np.ndarray, delta: float) -> Parts:
    """Absolute error, ABOVE times as heavy where the prediction is above the loss."""
    heavy = np.where(residual > 0, ABOVE, 1.0)
    value, slope, curvature, weight = _absolute(residual, delta)
    return heavy * value, heavy * slope, heavy * curvature, heavy * weight


LOGARITHMIC = ("huber_log", "log_mse", "callable")
OBJECTIVES: dict[str, Callable[[np.ndarray, float], Parts]] = {
    "huber_log": _huber,
    "log_mse": _square,
    "mse": _square,
    "huber": _huber,
    "mae": _absolute,
    "asymmetric_mae": _asymmetric,
}
