"""The fit by a `loss_fn` that is a number for all runs, or that mixes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pandas as pd
from scipy import optimize

from isoloss.chinchilla._formula import PARAMS, predict
from isoloss.chinchilla._grid import LOGARITHMS, GridSweep

STARTS = 20  # points of a grid that are descended from, the best ones
RESTARTS = 10  # of the polish, at most
LEAST = float(np.finfo(np.single).tiny)  # of A and B
GAIN = 1e-9  # of a restart, relative, that calls for another


@dataclass(frozen=True)
class WholeFit:
    """The optimum of the mean of `loss_fn`; has the interface of `_fitting.Fitted`.

    Attributes:
        params: E, A, B, alpha and beta.
        objective: the mean of what `loss_fn` gives times the weights, whose mean is 1.
        starts_tried: starts that were descended from.
    """

    params: dict[str, float]
    objective: float
    starts_tried: int

    def result(self, bootstrap: int = 1000, seed: int = 0) -> NoReturn:
        """There is none: replicates weigh every run.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "intervals need a `loss_fn` that gives each run a penalty of its own, from its two "
            "losses alone: return (n,) penalties"
        )


def fitted_whole(
    df: pd.DataFrame,
    param_grid: Mapping[str, Sequence[float]],
    loss_fn: Callable,
    weight_fn: Callable | None = None,
) -> WholeFit:
    """Fit the law by an objective that is known only as a number.

    The best points of the grid are descended from by BFGS with derivatives by differences; the
    best end is polished by the simplex of Nelder and Mead, which corners do not stop.

    Args:
        df: columns C, N, D and loss.
        param_grid: starts, as of `Chinchilla`.
        loss_fn: (observed, predicted) -> a number, or penalties (n,).
        weight_fn: C (n,) -> weights (n,).

    Raises:
        ValueError: no start leads to a finite objective.

    Example:
        >>> N, D = np.geomspace(1e7, 1e9, 12), np.tile([1e9, 1e10, 1e11], 4)
        >>> loss = 1.7 + 400 / N**0.34 + 400 / D**0.28
        >>> df = pd.DataFrame({"C": 6 * N * D, "N": N, "D": D, "loss": loss})
        >>> grid = {"E": [1.6], "A": [300], "B": [300], "alpha": [0.3], "beta": [0.3]}
        >>> worst = fitted_whole(df, grid, lambda true, predicted: np.max(abs(true - predicted)))
        >>> worst.objective < 1e-3
        True
    """
    grid = {name: np.asarray(values, dtype=float) for name, values in param_grid.items()}
    sweep = GridSweep.of(df, grid, loss_fn, weight_fn)
    order = np.argsort(sweep.losses, axis=None, kind="stable")[:STARTS]
    places = np.transpose(np.unravel_index(order, sweep.losses.shape))
    scale = np.array([np.ptp(values) or 1.0 for values in grid.values()])
    objective = _Objective(df, list(grid), loss_fn, weight_fn)

    def scaled(x: np.ndarray) -> float:
        return objective(x * scale)

    starts = [[values[i] for values, i in zip(grid.values(), at, strict=True)] for at in places]
    with np.errstate(all="ignore"):
        ends = [optimize.minimize(scaled, np.array(at) / scale, method="BFGS") for at in starts]
        best = min(ends, key=lambda end: end.fun if np.isfinite(end.fun) else np.inf)
        if not np.isfinite(best.fun):
            raise ValueError("no start leads to a finite objective: `loss_fn` may be wrong")
        best = _polished(scaled, best.x, best.fun)
    return WholeFit(objective.params(best.x * scale), float(best.fun), len(starts))


def _polished(function: Callable, x: np.ndarray, value: float) -> optimize.OptimizeResult:
    """A point from which the simplex finds nothing better."""
    best = optimize.OptimizeResult(x=x, fun=value)
    for _ in range(RESTARTS):
        least = {"xatol": 1e-10, "fatol": 1e-12 * abs(best.fun)}
        options = {"maxiter": 2000, "adaptive": True, **least}
        end = optimize.minimize(function, best.x, method="Nelder-Mead", options=options)
        gain, best = best.fun - end.fun, min(best, end, key=lambda one: one.fun)
        if gain <= GAIN * abs(best.fun):
            break
    return best


class _Objective:
    """The mean of a `loss_fn` at parameters in the coordinates of a grid."""

    def __init__(
        self, df: pd.DataFrame, names: list[str], loss_fn: Callable, weight_fn: Callable | None
    ):
        self.names, self.loss_fn, self.weights = names, loss_fn, 1.0
        self.N, self.D, self.loss = (df[name].to_numpy(dtype=float) for name in ("N", "D", "loss"))
        if weight_fn is not None:
            weights = np.asarray(weight_fn(df["C"].to_numpy(dtype=float)), dtype=float)
            self.weights = weights / weights.mean()

    def params(self, x: np.ndarray) -> dict[str, float]:
        """E, A, B, alpha and beta of a point; A and B are above 0."""
        given = {
            name.upper() if name in LOGARITHMS else name: np.exp(value)
            if name in LOGARITHMS
            else value
            for name, value in zip(self.names, x, strict=True)
        }
        given |= {name: max(given[name], LEAST) for name in ("A", "B")}
        return {name: float(given[name]) for name in PARAMS}

    def __call__(self, x: np.ndarray) -> float:
        """The objective; infinite where it is not a number."""
        predicted = predict(self.N, self.D, self.params(x))
        value = np.mean(self.loss_fn(self.loss.copy(), predicted) * self.weights)
        return float(value) if np.isfinite(value) else np.inf
