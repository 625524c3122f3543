"""The fit of the toolkit: L = E + A / N^α + B / D^β with E of any sign, by the engine of `fit`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from isoloss.aggregate import read_runs
from isoloss.chinchilla import _metrics
from isoloss.chinchilla._whole import WholeFit, fitted_whole
from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.fit.law import fit_law
from isoloss.fit.objectives import SETTINGS, SHARP, objective_of
from isoloss.fit.penalties import PenaltyOfLosses
from isoloss.fit.solve import Constraints, Optimum
from isoloss.fitted import Fit

CARD, OPTIONS = "chinchilla", {"E": "any"}
LAW = registry.card("law", CARD).make(**OPTIONS)
LEAST = float(np.finfo(np.single).tiny)  # of A and B in a grid, and of E where its logarithm is
LossFn = Callable[[np.ndarray, np.ndarray], np.ndarray]
# functions that the engine knows: its name for them; its name of their argument, and the default
KNOWN: dict[Any, tuple[str, dict[str, tuple[str, float]]]] = {
    _metrics.asymmetric_mae: ("asymmetric_mae", {"w": ("above", 10.0)}),
    _metrics.huber: ("huber", {"delta": ("delta", 1.0)}),
    _metrics.log_huber: ("huber_log", {"delta": ("delta", 1.0)}),
    _metrics.mae: ("mae", {}),
    _metrics.mse: ("mse", {}),
}


@dataclass(frozen=True)
class Runs:
    """Runs of a fit, float64 (n,) each.

    Attributes:
        N, D: parameters and samples.
        loss: observed.
        weight: in the fit, above 0; the mean of all runs given is 1.
        count: of all runs given, those of weight 0 included.
    """

    N: np.ndarray
    D: np.ndarray
    loss: np.ndarray
    weight: np.ndarray
    count: int

    @property
    def data(self) -> dict[str, np.ndarray]:
        """The law's variables."""
        return {"N": self.N, "D": self.D}

    def table(self) -> pd.DataFrame:
        """The same as a `runs` table."""
        columns = {"N": self.N, "D": self.D, "loss": self.loss, "fit_weight": self.weight}
        named = {name: name for name in columns}
        # every row is a run, also where N repeats
        return read_runs(pd.DataFrame(columns), {**named, "of_run": ""}, loss_unit="nats")


@dataclass(frozen=True)
class Fitted:
    """A fit of the toolkit; see `fitted`.

    Attributes:
        runs: that were fitted.
        settings: arguments of `fit_law` that give the same optimum.
        optimum: what the search ended at.
        loss_fn: as given.
    """

    runs: Runs
    settings: Mapping[str, Any]
    optimum: Optimum
    loss_fn: LossFn
    _results: dict[tuple[int, int], Fit] = field(default_factory=dict)

    @property
    def params(self) -> dict[str, float]:
        """E, A, B, alpha and beta."""
        return LAW.values(self.optimum.theta)

    @property
    def objective(self) -> float:
        """The mean over runs of the penalty times the weight; the weights' mean is 1."""
        predicted = LAW.loss(self.optimum.theta, self.runs.data)
        penalties = np.asarray(self.loss_fn(self.runs.loss.copy(), predicted), dtype=float)
        return float(np.sum(penalties * self.runs.weight) / self.runs.count)

    @property
    def starts_tried(self) -> int:
        """Starts that were descended from: those that differ once E, A and B are at their best."""
        return len(self.optimum.begin)

    def result(self, bootstrap: int = 1000, seed: int = 0) -> Fit:
        """The same fit with intervals and evidence, computed at the first call.

        Args:
            bootstrap: replicates.
            seed: of the replicates.

        Returns:
            The fit; its parameters are `params` to the last digit.

        Raises:
            ValueError: there are too few runs for intervals, or losses of 0 or below.
        """
        key = (bootstrap, seed)
        if key not in self._results:
            asked = {**self.settings, "bootstrap": bootstrap, "seed": seed}
            with problems_as_value_errors():
                self._results[key] = fit_law(self.runs.table(), CARD, OPTIONS, **asked)
        return self._results[key]


# matrices are small: threads of the linear algebra would only wait for each other
@threadpool_limits.wrap(limits=1)
def fitted(
    df: pd.DataFrame,
    param_grid: Mapping[str, Sequence[float]],
    loss_fn: LossFn,
    weight_fn: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Fitted | WholeFit:
    """Fit the law to runs, from a grid of starts and the law's own starts.

    The mean over runs of loss_fn(loss, predicted) * weight is minimised; weights are those of
    weight_fn(C), divided by their mean. E, A and B of a start are moved to their best values for
    its exponents, so that starts with the same exponents are one.

    Args:
        df: columns N, D and loss; C where there are weights.
        param_grid: starts; keys E, A, B or their logarithms e, a, b, and alpha, beta. With e, E is
            above 0; else it may have any sign.
        loss_fn: (observed, predicted), both (n,) -> penalty of each run, (n,). One that gives a
            number for all runs, or mixes them, is searched otherwise (`fitted_whole`).
        weight_fn: C (n,) in FLOP -> weights (n,).

    Raises:
        ValueError: loss_fn or weight_fn does not give a number for each run, or no start leads to
            a finite objective.

    Example:
        >>> N, D = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
        >>> loss = (1.7 + 400 / N**0.34 + 400 / D**0.28).ravel()
        >>> df = pd.DataFrame({"N": N.ravel(), "D": D.ravel(), "loss": loss})
        >>> grid = {"E": [1, 2], "a": [5, 7], "b": [5, 7], "alpha": [0.2, 0.4], "beta": [0.2, 0.4]}
        >>> fit = fitted(df, grid, _metrics.log_huber)
        >>> {name: round(value, 4) for name, value in fit.params.items()}
        {'E': 1.7, 'A': 400.0, 'B': 400.0, 'alpha': 0.34, 'beta': 0.28}
    """
    runs = runs_of(df, weight_fn)
    settings = {"objective": known(loss_fn), "starts": starts_of(param_grid)}
    if "e" in param_grid:
        settings["bounds"] = {"E": (LEAST, None)}
    constraints = Constraints(bounds=settings.get("bounds", {}))
    with problems_as_value_errors():
        if settings["objective"] is None:
            if not is_of_each_run(loss_fn, runs):
                return fitted_whole(df, param_grid, loss_fn, weight_fn)
            settings["objective"] = {"of_losses": loss_fn, "smooth": SHARP}
        objective = objective_of(settings["objective"], 1.0)
        optimum = Optimum(
            LAW, runs.data, runs.loss, runs.weight, objective, constraints, settings["starts"]
        )
    if not np.isfinite(optimum.objective_value):
        raise ValueError("no start leads to a finite objective: `loss_fn` may be wrong")
    return Fitted(runs, settings, optimum, loss_fn)


def runs_of(df: pd.DataFrame, weight_fn: Callable[[np.ndarray], np.ndarray] | None) -> Runs:
    """Runs with their weights; those of weight 0 are left out.

    Raises:
        ValueError: the weights are not a number of at least 0 for each run, or are all 0.
    """
    N, D, loss = (df[name].to_numpy(dtype=float) for name in ("N", "D", "loss"))
    weight = np.ones(len(loss))
    if weight_fn is not None:
        weight = np.asarray(weight_fn(df["C"].to_numpy(dtype=float)), dtype=float)
        if weight.shape != loss.shape:
            raise ValueError(
                f"`weight_fn` returned an array of shape {weight.shape} for {len(loss)} runs:"
                " return one weight for each run"
            )
        if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
            raise ValueError(
                "`weight_fn` returned weights that are not numbers of at least 0, or only zeros"
            )
        weight = weight / weight.mean()
    kept = weight > 0
    return Runs(N[kept], D[kept], loss[kept], weight[kept], len(loss))


def known(loss_fn: LossFn) -> dict[str, Any] | None:
    """The objective by the engine's name, of functions of `_metrics` and `partial`s of them.

    None of any other function.
    """
    given: dict[str, Any] = {}
    function = loss_fn
    if isinstance(loss_fn, functools.partial) and not loss_fn.args:
        function, given = loss_fn.func, dict(loss_fn.keywords)
    try:
        name, arguments = KNOWN[function]
    except (KeyError, TypeError):  # another one, or an object that cannot be a key
        return None
    if not given.keys() <= arguments.keys():
        return None
    settings = {own: given.get(key, default) for key, (own, default) in arguments.items()}
    for own, value in settings.items():
        low, high = SETTINGS[own]
        if not isinstance(value, int | float | np.number) or not low <= value <= high:
            return None
    return {"name": name, "smooth": SHARP, **settings}


def starts_of(param_grid: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Starts in theta, (s, 5): those of a grid, and the law's own exponents.

    Of the grid, one a pair of exponents: E, A and B are in the middle of their axes, since the
    search begins with their best values.
    """

    def middle(name: str) -> float:
        axis = np.asarray(param_grid[name], dtype=float)
        return float(axis[len(axis) // 2])

    E = np.exp(middle("e")) if "e" in param_grid else middle("E")
    a, b = (
        middle(name.lower()) if name.lower() in param_grid else np.log(max(middle(name), LEAST))
        for name in ("A", "B")
    )
    grid = itertools.product(*(np.asarray(param_grid[x], dtype=float) for x in ("alpha", "beta")))
    own = {tuple(theta[3:]) for theta in LAW.starts()}
    return np.array([(E, a, b, *exponents) for exponents in [*grid, *sorted(own)]])


def is_of_each_run(loss_fn: LossFn, runs: Runs) -> bool:
    """Whether a function gives each run a penalty that does not depend on the other runs.

    Raises:
        ValueError: it gives NaN for predictions near the loss.
    """
    penalty, loss, n = PenaltyOfLosses(loss_fn), runs.loss, len(runs.loss)
    if penalty.is_one_number(loss):
        return False
    away = 0.1 * np.abs(loss)
    alone = [penalty.values(residual, loss) for residual in (np.zeros(n), away, -away)]
    if np.isnan(alone).any():
        at = int(np.isnan(alone).any(axis=0).argmax())
        raise ValueError(
            f"`loss_fn` returned NaN for run {at + 1}, whose loss is {loss[at]:.6g}: it must give"
            " a number for predictions near the loss"
        )
    every_other = np.arange(n) % 2 == 0
    together = penalty.values(np.where(every_other, away, -away), loss)
    expected = np.where(every_other, alone[1], alone[2])
    return np.allclose(together, expected, rtol=1e-9, atol=0, equal_nan=True)


@contextmanager
def problems_as_value_errors() -> Iterator[None]:
    """The library's errors as the ValueErrors that users of the toolkit expect."""
    try:
        yield
    except IsolossError as error:
        raise ValueError(str(error)) from error
