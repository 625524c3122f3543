"""The mean penalty of a law at every point of a grid of starts, and its picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOGARITHMS = ("e", "a", "b")  # names of a grid that hold logarithms of E, A and B


@dataclass(frozen=True)
class GridSweep:
    """The mean penalty at every point of a grid of a law's parameters.

    Attributes:
        grid: values by parameter, as given: E or e, A or a, B or b, alpha, beta.
        losses: mean penalty, an axis a parameter in the order of `grid`; infinite where it is
            infinite or not a number.
    """

    grid: dict[str, np.ndarray]
    losses: np.ndarray

    @classmethod
    def of(
        cls, runs: pd.DataFrame, param_grid: Mapping, loss_fn: Callable, weight_fn: Callable | None
    ) -> GridSweep:
        """Evaluate E + A/N^alpha + B/D^beta at every point of a grid.

        Args:
            runs: columns C, N, D and loss.
            param_grid: values by parameter; those of e, a and b are logarithms of E, A and B.
            loss_fn: penalties of observed and predicted losses, (n,) each.
            weight_fn: weights of the runs by their C; None for equal ones.

        Example:
            >>> runs = pd.DataFrame({"C": [6.0, 6.0], "N": [1, 1], "D": [1, 1], "loss": [3, 5]})
            >>> grid = {"E": [1, 2], "A": [1], "B": [1], "alpha": [1], "beta": [1]}
            >>> sweep = GridSweep.of(runs, grid, lambda true, pred: (true - pred) ** 2, None)
            >>> sweep.losses.ravel().tolist(), sweep.best[1]
            ([2.0, 1.0], 1.0)
        """
        grid = {name: np.asarray(values, float) for name, values in param_grid.items()}
        runs = runs[["C", "N", "D", "loss"]].astype(float)
        weights = 1.0
        if weight_fn is not None:
            weights = np.asarray(weight_fn(runs["C"].to_numpy()), float)
            weights = weights / weights.mean()
        observed, shape = runs["loss"].to_numpy(), [len(given) for given in grid.values()]
        losses = np.empty(shape)
        with np.errstate(all="ignore"):  # a start can be so bad that a float cannot hold it
            values = {
                name.lower(): np.exp(given) if name in LOGARITHMS else given
                for name, given in grid.items()
            }
            by_size = _terms(values["a"], values["alpha"], runs["N"].to_numpy())
            by_data = _terms(values["b"], values["beta"], runs["D"].to_numpy())
            for place in product(*map(range, shape)):
                at = dict(zip(values, place, strict=True))
                predicted = values["e"][at["e"]] + by_size[at["a"], at["alpha"]]
                predicted += by_data[at["b"], at["beta"]]
                losses[place] = np.mean(loss_fn(observed.copy(), predicted) * weights)
        return cls(grid, np.where(np.isfinite(losses), losses, np.inf))

    @property
    def best(self) -> tuple[np.ndarray, float]:
        """The best point, every parameter in ranges of its grid, (5,), and the penalty there.

        A grid of one value has the range 1. Of equal points the first is the best.
        """
        place = np.unravel_index(self.losses.argmin(), self.losses.shape)
        point = [
            values[at] / (np.ptp(values) or 1.0)
            for values, at in zip(self._values, place, strict=True)
        ]
        return np.array(point), float(self.losses[place])

    @property
    def _values(self) -> list[np.ndarray]:
        return list(self.grid.values())

    def lowest(self, name: str) -> np.ndarray:
        """The least penalty with each value of a parameter, over all values of the others."""
        axis = list(self.grid).index(name)
        return self.losses.min(axis=tuple(i for i in range(self.losses.ndim) if i != axis))

    def draw(self, make: Callable[..., Figure]) -> Figure:
        """A panel a parameter: the least penalty with each of its values."""
        from isoloss.figures import _figure

        figure = make(figsize=(13, 3.6))
        panels = figure.subplots(1, len(self.grid))
        lowest = {name: self.lowest(name) for name in self.grid}
        (_, best), every = self.best, np.concatenate(list(lowest.values()))
        every = every[np.isfinite(every)]
        for axes, (name, values) in zip(panels, self.grid.items(), strict=True):
            order = np.argsort(values)
            shown = np.isfinite(lowest[name][order])
            axes.plot(values[order][shown], lowest[name][order][shown], "o-", markersize=5,
                      color=_figure.COLOURS[0])  # fmt: skip
            axes.axhline(best, linestyle="--", linewidth=1, color=_figure.COLOURS[1])
            if len(every) and every.min() > 0:
                limits = _figure.span(every, 1.3)
                _figure.log_axis(axes.yaxis, *limits, form="{:.3g}".format, most=7)
            axes.tick_params(labelleft=axes is panels[0])
            axes.set_xlabel(f"ln {name.upper()}" if name in LOGARITHMS else name)
        panels[0].set_ylabel("Least mean penalty")
        title = f"Starts of the grid: the least mean penalty is {best:.4g} (dashed)"
        figure.suptitle(title, x=0.01, ha="left")
        return figure


def _terms(scales: np.ndarray, exponents: np.ndarray, of: np.ndarray) -> np.ndarray:
    """scale / x^exponent of every run, (scales, exponents, n)."""
    return scales[:, None, None] * of ** -exponents[None, :, None]
