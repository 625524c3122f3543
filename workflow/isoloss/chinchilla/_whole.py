"""The fit by a `loss_fn` that is a number for all runs, or that mixes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import pandas as pd
from scipy import optimize

from isoloss.chinchilla._formula import PARAMS, predict
from isoloss.chinchilla._grid import GridSweep

STARTS = 20  # points of a grid that are descended from, the best ones
POLISHED = 5  # ends, the best ones
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
    best ends are polished by the simplex of Nelder and Mead, which corners do not stop.

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
    losses = GridSweep.of(df, grid, loss_fn, weight_fn).losses
    order = np.argsort(losses, axis=None, kind="stable")[:STARTS]
    objective = _Objective(df, "e" in grid, loss_fn, weight_fn)
    starts = []
    for place in np.transpose(np.unravel_index(order, losses.shape)):
        point = {name: values[i] for (name, values), i in zip(grid.items(), place, strict=True)}
        starts.append(objective.coordinates(point))
    with np.errstate(all="ignore"):
        ends = [optimize.minimize(objective, at, method="BFGS") for at in starts]
        low = sorted((end for end in ends if np.isfinite(end.fun)), key=lambda end: end.fun)
        if not low:
            raise ValueError("no start leads to a finite objective: `loss_fn` may be wrong")
        polished = [_polished(objective, end.x, end.fun) for end in low[:POLISHED]]
    best = min(polished, key=lambda end: end.fun)
    return WholeFit(objective.params(best.x), float(best.fun), len(starts))


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
    """The mean of a `loss_fn` in coordinates that a search can go along one by one.

    They are E or its logarithm, the logarithms of A / N^alpha and B / D^beta at the middle of the
    runs, alpha and beta.
    """

    def __init__(
        self, df: pd.DataFrame, positive: bool, loss_fn: Callable, weight_fn: Callable | None
    ):
        self.positive, self.loss_fn, self.weights = positive, loss_fn, 1.0
        self.N, self.D, self.loss = (df[name].to_numpy(dtype=float) for name in ("N", "D", "loss"))
        self.middle = np.mean(np.log(self.N)), np.mean(np.log(self.D))
        if weight_fn is not None:
            weights = np.asarray(weight_fn(df["C"].to_numpy(dtype=float)), dtype=float)
            self.weights = weights / weights.mean()

    def coordinates(self, point: Mapping[str, float]) -> np.ndarray:
        """Of a point of a grid, where lower-case letters are logarithms."""
        a, b = (
            point[name] if name in point else np.log(max(point[name.upper()], LEAST))
            for name in ("a", "b")
        )
        alpha, beta = point["alpha"], point["beta"]
        n, d = self.middle
        E = point["e"] if self.positive else point["E"]
        return np.array([E, a - alpha * n, b - beta * d, alpha, beta])

    def params(self, x: np.ndarray) -> dict[str, float]:
        """E, A, B, alpha and beta of coordinates."""
        E, by_size, by_data, alpha, beta = x
        n, d = self.middle
        A, B = np.exp([by_size + alpha * n, by_data + beta * d])
        values = (np.exp(E) if self.positive else E, A, B, alpha, beta)
        return dict(zip(PARAMS, map(float, values), strict=True))

    def __call__(self, x: np.ndarray) -> float:
        """The objective; infinite where it is not a number."""
        predicted = predict(self.N, self.D, self.params(x))
        value = np.mean(self.loss_fn(self.loss.copy(), predicted) * self.weights)
        return float(value) if np.isfinite(value) else np.inf
