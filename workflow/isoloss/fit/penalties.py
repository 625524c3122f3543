"""Penalties that are functions of a user: called safely, and their derivatives by differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from isoloss.core.escape import visible
from isoloss.core.problems import IsolossError, Problem

Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
STEP, FINE = 1e-5, 2e-6  # of the differences: in log loss, and in units of the loss's scale
CORNER = 1e-3  # jump of the slope at an error of 0, relative to the slopes, that is a corner
NEAR = 1e-6  # of the loss's scale: where the slopes beside a corner are looked at


def of_residuals(penalty_of: Callable, residual: np.ndarray) -> Parts:
    """Value, slope, curvature and weight of a penalty of log residuals, each (..., n)."""
    value = penalty_of(residual)
    above, below = penalty_of(residual + STEP), penalty_of(residual - STEP)
    slope, curvature = (above - below) / (2 * STEP), (above + below - 2 * value) / STEP**2
    return value, slope, curvature, touching(residual, slope, curvature, STEP)


def touching(
    residual: np.ndarray, slope: np.ndarray, curvature: np.ndarray, near: float
) -> np.ndarray:
    """Weight of the square around a residual of 0 that touches a penalty; never negative.

    Near 0, where both slopes vanish, it has the curvature of the penalty.
    """
    with np.errstate(all="ignore"):
        weight = np.where(np.abs(residual) > near, slope / residual, curvature)
    return np.maximum(weight, 0.0)


@dataclass(frozen=True)
class PenaltyOfLosses:
    """A user's penalty as a function of the losses observed and predicted.

    A penalty may have a corner where the two are equal, as absolute errors have: its slopes beside
    it are measured, and the corner is taken off before differences are made and added as a
    function of its own.

    Attributes:
        function: (observed, predicted), both (n,) float64 -> penalties (n,), each of its own run.
        size: what the losses here are divided by.
    """

    function: Callable[[np.ndarray, np.ndarray], np.ndarray]
    size: float = 1.0

    @property
    def name(self) -> str:
        """Of the function, for people."""
        return visible(getattr(self.function, "__name__", type(self.function).__name__))

    def values(self, residual: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """Penalties, (..., n).

        Args:
            residual: predicted minus observed, (..., n).
            loss: observed, (n,) or (..., n).

        Raises:
            IsolossError: the function fails, or gives another number of penalties.
        """
        residual, observed = np.broadcast_arrays(residual, loss)
        rows = zip(
            (observed * self.size).reshape(-1, observed.shape[-1]),
            ((observed + residual) * self.size).reshape(-1, observed.shape[-1]),
            strict=True,
        )
        return np.array([self._of_table(*row) for row in rows]).reshape(observed.shape)

    def is_one_number(self, loss: np.ndarray) -> bool:
        """Whether the function gives a number for all runs in the place of a penalty of each."""
        return self._given(loss * self.size, loss * self.size).ndim == 0

    def _of_table(self, observed: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Penalties of the runs of one table, (n,); the function may write into its arguments.

        It sees every run, in order, since a user's function may hold a number for each of them.
        """
        given = self._given(observed, predicted)
        if given.shape != predicted.shape:
            reason = f"it returned an array of shape {given.shape} for {len(predicted)} runs"
            raise IsolossError(Problem(self._place, reason, "return one penalty for each run"))
        return given

    def _given(self, observed: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        try:
            with np.errstate(all="ignore"):  # what is not a number is seen in what it returns
                return np.asarray(self.function(observed, predicted), dtype=float)
        except Exception as error:
            reason = f"{type(error).__name__}: {visible(str(error))[:200]}"
            do = "it is called as f(observed, predicted) with arrays (n,)"
            raise IsolossError(Problem(self._place, f"it failed with {reason}", do)) from error

    @property
    def _place(self) -> str:
        return f"objective {self.name}"

    def parts(self, residual: np.ndarray, loss: np.ndarray, width: float, absolute) -> Parts:
        """Value, slope, curvature and weight by the predicted loss, each (..., n).

        Args:
            residual: predicted minus observed, (..., n).
            loss: observed, (n,) or (..., n).
            width: within which a corner is a square.
            absolute: parts of an absolute error with this width (`objectives`).
        """
        step, corner = FINE * float(np.median(np.abs(loss))), self.corner(loss)
        value, above, below = (
            self.values(at, loss) - corner * np.abs(at)
            for at in (residual, residual + step, residual - step)
        )
        slope, curvature = (above - below) / (2 * step), (above + below - 2 * value) / step**2
        own, own_slope, own_curvature, own_weight = (corner * p for p in absolute(residual, width))
        weight = touching(residual, slope, curvature, step) + own_weight
        return value + own, slope + own_slope, curvature + own_curvature, weight

    def corners(self, loss: np.ndarray) -> bool:
        """Whether any penalty has a corner where the losses are equal."""
        return bool(self.corner(loss).any())

    def corner(self, loss: np.ndarray) -> np.ndarray:
        """Half of the jump of every penalty's slope where the losses are equal, like `loss`."""

        def jump(step: float) -> tuple[np.ndarray, np.ndarray]:
            right = (self.values(np.full_like(loss, step), loss) - here) / step
            left = (here - self.values(np.full_like(loss, -step), loss)) / step
            return right - left, np.abs(right) + np.abs(left)

        near = NEAR * float(np.median(np.abs(loss)))
        here = self.values(np.zeros_like(loss), loss)
        # of a smooth function the difference is in proportion to the step
        with np.errstate(invalid="ignore"):  # where the function is infinite there is no corner
            (wide, sizes), (narrow, _) = jump(near), jump(near / 2)
            jumps = 2 * narrow - wide
        return np.where(jumps > CORNER * sizes, jumps / 2, 0.0)
