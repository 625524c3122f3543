"""Pictures of runs, of the law fitted to them, and of its errors, as PNG files of a project."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich.markup import escape

from isoloss.chinchilla._logger import get_logger

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from isoloss.chinchilla.core import Chinchilla

PANELS = (("C", "N"), ("C", "D"), ("N", "D"))
LABELS = {
    "C": "Training compute C (FLOP)",
    "N": "Model size N (parameters)",
    "D": "Training data D (samples)",
}
FEWEST = 3  # runs of a picture
LINES = 25  # of equal loss
TICKED = 4  # a line in so many is named on the colour bar
MARGIN = 0.1  # of an axis, on either side: of its length
CELLS = 160  # of the grid on which lines of equal loss are sought, along an axis
SIGNIFICANT = 0.05  # errors that are exponential are seldom farther from it than this p-value says


class Visualizer:
    """Draws runs with the law fitted to them, and the errors of the law, into a project's folder.

    A picture is saved; it is shown too where a person sees it: in a notebook, or where matplotlib
    is interactive (`pyplot.ion()`). A script never waits for a window.

    Attributes:
        project_dir: folder of the pictures.
        logger: where messages go.

    Example:
        >>> import os
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     Visualizer(folder).optim(np.array([3.0, 2.4]), np.array([3.1, 2.5]))
        ...     os.listdir(folder)
        ['optim.png']
    """

    def __init__(self, project_dir: str, log_level: int = 30) -> None:
        self.project_dir = project_dir
        self.logger = get_logger(log_level, name="chinchilla.visualizer")

    def plot(
        self,
        cc: Chinchilla,
        next_point: Mapping[str, float] | None = None,
        fitted: bool = True,
        img_name: str = "parametric_fit",
        cmap_name: str = "plasma",
        simulation: bool = False,
    ) -> None:
        """Draw the runs in the planes of C, N and D, with what the fitted law says about them.

        With a law: its lines of equal loss, and its best N and D of every budget, dotted beyond
        the largest run. The regime of the seeds is shaded. Fewer than three runs are not drawn,
        with a warning.

        Args:
            cc: its runs, seed ranges and law.
            next_point: C, N and D of the next run, shown as a star.
            fitted: draw the law; without one, or if it is not fitted yet, the file is
                `raw_data_points.png`.
            img_name: name of the file, without `.png`.
            cmap_name: a colour map of matplotlib, for losses.
            simulation: put `simulation--` before the name.

        Raises:
            TypeError: the runs are not a DataFrame, or `next_point` is not a mapping of C, N, D.
        """
        runs = cc.database.df
        if not isinstance(runs, pd.DataFrame):
            raise TypeError(f"`database.df` must be a pandas DataFrame, not {type(runs).__name__}")
        point = _point(next_point)
        if len(runs) < FEWEST:
            self.logger.warning(
                f"{len(runs)} training runs: nothing is drawn of fewer than {FEWEST}"
            )
            return
        if fitted and not cc.is_fitted:
            self.logger.warning("the law is not estimated yet: only the runs are drawn")
            fitted = False
        planes = Planes.of(cc, point, fitted, cmap_name)
        self.save(planes.draw, img_name if fitted else "raw_data_points", simulation)

    def optim(
        self,
        y_pred: np.ndarray,
        y_true: np.ndarray,
        C: np.ndarray | None = None,
        simulation: bool = False,
        img_name: str = "optim",
    ) -> None:
        """Draw predicted against observed losses, and the errors: their histogram, or against C.

        Args:
            y_pred: predicted losses, (n,).
            y_true: observed losses, (n,).
            C: compute of the runs, FLOP, (n,).
            simulation: put `simulation--` before the name.
            img_name: name of the file, without `.png`.
        """
        predicted, observed = np.asarray(y_pred, float), np.asarray(y_true, float)
        flops = None if C is None else np.asarray(C, float)

        def draw(make: Callable[..., Figure]) -> Figure:
            return _draw_errors(make, predicted, observed, flops)

        self.save(draw, img_name, simulation)

    def LBFGS(self, *args, **kwargs) -> None:
        """The old name of `optim`; deprecated."""
        text = "Visualizer.LBFGS is deprecated and will be removed: call Visualizer.optim"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return self.optim(*args, **kwargs)

    def save(self, draw: Callable, name: str, simulation: bool = False) -> None:
        """Save what `draw(make)` draws on a figure that `make(figsize=...)` returns; show it."""
        path = Path(self.project_dir) / f"{'simulation--' * simulation}{name}.png"
        write(draw, path)
        self.logger.info(f"Image saved to [u]{escape(str(path))}[/]")


def write(draw: Callable, path: Path) -> None:
    """Save a figure as PNG; where a person sees figures, show it. None stays open.

    Args:
        draw: is called with a maker of figures, `make(figsize=...)`, and returns the figure.
        path: of the PNG.
    """
    import matplotlib
    from matplotlib.figure import Figure

    from isoloss.figures._figure import STYLE

    with matplotlib.rc_context(STYLE):
        if not _seen():
            draw(Figure).savefig(path)
            return
        from matplotlib import pyplot

        figure = draw(pyplot.figure)
        try:
            figure.savefig(path)
            pyplot.show()
        finally:
            pyplot.close(figure)


def _seen() -> bool:
    """Whether a person sees figures and nothing waits for them: a notebook, an interactive mode."""
    import matplotlib
    from matplotlib.backends import BackendFilter, backend_registry

    backend = matplotlib.get_backend(auto_select=False)
    if backend is None or backend.lower() in backend_registry.list_builtin(
        BackendFilter.NON_INTERACTIVE
    ):
        return False
    return matplotlib.is_interactive() or "inline" in backend


def _point(given: Mapping[str, float] | None) -> dict[str, float] | None:
    """The next run, as floats."""
    if not given:
        return None
    if not isinstance(given, Mapping) or set(given) != {"C", "N", "D"}:
        raise TypeError(f"`next_point` must be None or a dict of C, N and D, not {given!r}")
    return {name: float(value) for name, value in given.items()}


def _corners(regime: Mapping | None) -> pd.DataFrame | None:
    """The corners of a seed regime, C, N and D, in order around it; None without one."""
    if regime is None:
        return None
    (least, most), (low, high) = regime["C"], regime["N_to_D"]
    flops = np.array([least, most, most, least], float)
    ratio = np.array([low, low, high, high], float)  # D/N
    return pd.DataFrame(
        {"C": flops, "N": np.sqrt(flops / (6 * ratio)), "D": np.sqrt(flops * ratio / 6)}
    )


@dataclass(frozen=True)
class Planes:
    """Runs, a law and the next run in the planes of C, N and D.

    Attributes:
        runs: columns C, N, D and loss, floats.
        seeds: corners of the seed regime, columns C, N and D, or None.
        point: C, N, D and, with a law, the predicted loss of the next run, or None.
        levels: losses of the lines of equal loss; none without a law.
        colour: of a loss.
        loss: predicted loss at some N and D; None without a law.
        frontier: C, N and D of the best runs of three budgets: far below the runs, the largest
            run's, and far above; None without a law.
        title: over the panels.
    """

    runs: pd.DataFrame
    seeds: pd.DataFrame | None
    point: dict[str, float] | None
    levels: np.ndarray
    colour: ScalarMappable
    loss: Callable[..., np.ndarray] | None = None
    frontier: pd.DataFrame | None = None
    title: str = "Training runs"

    @classmethod
    def of(cls, cc: Chinchilla, point: dict | None, fitted: bool, cmap_name: str) -> Planes:
        """What a Chinchilla has to show."""
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import FuncNorm, Normalize

        runs = cc.database.df[["C", "N", "D", "loss"]].astype(float)
        seeds, cmap = _corners(cc.regime), colormaps[cmap_name]
        if not fitted:
            ends = Normalize(*_apart(runs["loss"].min(), runs["loss"].max()))
            return cls(runs, seeds, point, np.empty(0), ScalarMappable(ends, cmap))

        def loss(n, d) -> np.ndarray:
            with np.errstate(all="ignore"):  # beyond what a float holds: no line passes there
                return np.asarray(cc.L(n, d), float)

        if point:
            point = {**point, "loss": float(loss(point["N"], point["D"]))}
        predicted = [*loss(runs["N"].to_numpy(), runs["D"].to_numpy())]
        predicted += [point["loss"]] if point else []
        params = {name: float(value) for name, value in cc.params.items()}
        levels = _levels(np.array(predicted), params["E"])
        above = params["E"]

        def place(value):  # lines are evenly apart in the logarithm of what is above E
            return np.log(np.maximum(np.asarray(value, float) - above, 1e-12))

        norm = FuncNorm((place, lambda at: above + np.exp(at)), levels[0], levels[-1])
        budgets = [runs["C"].min() * 1e-9, runs["C"].max(), runs["C"].max() * 1e9]
        with np.errstate(all="ignore"):
            best = np.array([cc.allocate_compute(flops) for flops in budgets], float)
        frontier = pd.DataFrame({"C": budgets, "N": best[:, 0], "D": best[:, 1]})
        p = {name: f"{value:#.4g}".rstrip(".") for name, value in params.items()}
        title = f"L(N, D) = {p['E']} + {p['A']} / N^{p['alpha']} + {p['B']} / D^{p['beta']}"
        colour = ScalarMappable(norm, cmap)
        return cls(runs, seeds, point, levels, colour, loss, frontier, title)

    def draw(self, make: Callable[..., Figure]) -> Figure:
        """Three panels, their legend above them, and a colour bar of losses."""
        from isoloss.figures import _figure

        figure = make(figsize=(15, 5.4))
        figure.get_layout_engine().set(wspace=0.06)
        panels = figure.subplots(1, len(PANELS))
        for axes, (x, y) in zip(panels, PANELS, strict=True):
            self._panel(axes, x, y)
        bar = figure.colorbar(self.colour, ax=panels, pad=0.01, aspect=28)
        bar.set_label("Loss L")
        if len(self.levels):
            named = self.levels[::TICKED]
            bar.set_ticks(named, labels=[f"{level:#.3g}" for level in named])
            bar.minorticks_off()
        _figure.head(figure, self.title, panels[0].get_legend_handles_labels()[0])
        return figure

    def _panel(self, axes, x: str, y: str) -> None:
        from isoloss.core import units
        from isoloss.figures import _figure

        limits = {name: self._limits(name) for name in (x, y)}
        forms = {"C": units.power, "N": units.count, "D": units.count}
        _figure.log_axis(axes.xaxis, *limits[x], form=forms[x], most=6)
        _figure.log_axis(axes.yaxis, *limits[y], form=forms[y], most=7)
        axes.set_xlabel(LABELS[x])
        axes.set_ylabel(LABELS[y])
        if self.seeds is not None:
            axes.fill(self.seeds[x], self.seeds[y], color="silver", alpha=0.5, linewidth=0,
                      zorder=0.5, label="seed regime")  # fmt: skip
        if self.loss is not None:
            self._lines(axes, x, y, limits)
        look = {"s": 34, "edgecolor": "black", "linewidth": 0.7, "zorder": 3}
        shades = self.colour.to_rgba(self.runs["loss"])
        axes.scatter(self.runs[x], self.runs[y], c=shades, label="runs", **look)
        if self.point:
            self._next(axes, x, y)
        axes.set_xlim(limits[x])
        axes.set_ylim(limits[y])

    def _limits(self, name: str) -> tuple[float, float]:
        """Of an axis: all that is shown, and a margin."""
        values = [*self.runs[name], *(self.seeds[name] if self.seeds is not None else [])]
        values += [self.point[name]] if self.point else []
        low, high = min(values), max(values)
        factor = max((high / low) ** MARGIN, 1.1)
        return low / factor, high * factor

    def _lines(self, axes, x: str, y: str, limits: dict) -> None:
        """Lines of equal loss, and the efficient frontier."""
        from isoloss.figures import _figure

        ways = [np.geomspace(*limits[name], CELLS) for name in (x, y)]
        at = dict(zip((x, y), np.meshgrid(*ways), strict=True))
        at.setdefault("N", at.get("C", 1) / (6 * at.get("D", 1)))
        at.setdefault("D", at.get("C", 1) / (6 * at["N"]))
        loss = self.loss(at["N"], at["D"])
        shown = np.isfinite(loss)
        if shown.any() and loss[shown].min() < self.levels[-1]:
            axes.contour(
                *ways, np.where(shown, loss, self.levels[-1] * 10), levels=self.levels,
                cmap=self.colour.cmap, norm=self.colour.norm, linewidths=1.1, zorder=1,
            )  # fmt: skip
        best = self.frontier
        look = {"color": _figure.COLOURS[0], "linewidth": 1.8, "zorder": 2}
        axes.plot(best[x][:2], best[y][:2], label="efficient frontier", **look)
        axes.plot(best[x][1:], best[y][1:], ":", label="beyond the runs", **look)

    def _next(self, axes, x: str, y: str) -> None:
        """The next run, with guides to both axes."""
        from isoloss.core import units
        from isoloss.figures import _figure

        at = self.point
        numbers = [f"C = {units.power(at['C'])}, N = {units.count(at['N'])}"]
        numbers += [f"D = {units.count(at['D'])}"]
        numbers += [f"predicted loss {at['loss']:.4g}"] if "loss" in at else []
        star = {"markersize": 18, "markeredgecolor": "black", "color": _figure.COLOURS[4]}
        axes.plot(at[x], at[y], "*", zorder=5, linestyle="none",
                  label=f"next run: {', '.join(numbers)}", **star)  # fmt: skip
        guide = {"linestyle": ":", "linewidth": 1, "color": "black", "zorder": 2}
        axes.vlines(at[x], 0, at[y], **guide)
        axes.hlines(at[y], 0, at[x], **guide)


def _apart(low: float, high: float) -> tuple[float, float]:
    """Two ends of a scale, which are not the same."""
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _levels(predicted: np.ndarray, least: float) -> np.ndarray:
    """Losses of lines of equal loss, ascending: around the predicted ones, denser near the least.

    Args:
        predicted: losses of the runs by the law, (n,).
        least: irreducible loss of the law.
    """
    above = predicted[np.isfinite(predicted)] - least
    above = above[above > 0]
    if not len(above):
        return np.linspace(*_apart(predicted.min(), predicted.max()), LINES)
    low, high = above.min() / 1.1, above.max() * 1.25
    return least + np.geomspace(low, max(high, low * 1.5), LINES)


def _draw_errors(make, predicted, observed, flops) -> Figure:
    """Predicted against observed losses beside their errors."""
    from isoloss.figures import _figure

    shown = np.isfinite(predicted) & np.isfinite(observed)
    if not shown.any():
        raise ValueError("no run has a finite loss and a finite prediction: nothing can be drawn")
    figure = make(figsize=(10, 4.6))
    left, right = figure.subplots(1, 2)
    predicted, observed = predicted[shown], observed[shown]
    low, high = _apart(min(*predicted, *observed), max(*predicted, *observed))
    ends = [low - MARGIN * (high - low), high + MARGIN * (high - low)]
    left.plot(ends, ends, ":", color="black", linewidth=1)
    left.scatter(predicted, observed, s=22, alpha=0.7, linewidth=0, color=_figure.COLOURS[0])
    left.set(xlim=ends, ylim=ends, xlabel="Predicted loss", ylabel="Observed loss")
    left.set_aspect("equal", adjustable="box")
    errors = observed - predicted
    left.set_title("Predictions and observations")
    if flops is None:
        _histogram(right, errors)
    else:
        _errors_by_compute(right, errors, flops[shown])
    hidden = f", {(~shown).sum()} without a finite loss not shown" * bool((~shown).any())
    rmse = np.sqrt(np.mean(errors**2))
    figure.suptitle(f"Fit of {len(errors)} runs: RMSE {rmse:.3g}{hidden}", x=0.01, ha="left")
    return figure


def _histogram(axes, errors: np.ndarray) -> None:
    """Errors by their density, and the exponential density of their mean where it fits them."""
    from scipy.stats import kstest

    from isoloss.figures import _figure

    axes.hist(errors, bins="auto", density=True, color=_figure.COLOURS[5])
    axes.axvline(0, color="black", linewidth=1, linestyle=":")
    mean = errors.mean()
    if mean > 0 and kstest(errors, "expon", args=(0, mean)).pvalue > SIGNIFICANT:
        x = np.linspace(0, errors.max(), 100)
        look = {"color": _figure.COLOURS[1], "linewidth": 1.8}
        label = f"exponential, mean {mean:.3g}"
        axes.plot(x, np.exp(-x / mean) / mean, label=label, **look)
        axes.legend(loc="upper right")
    axes.set(xlabel="Error: observed minus predicted loss", ylabel="Probability density")
    axes.set_title("Errors")


def _errors_by_compute(axes, errors: np.ndarray, flops: np.ndarray) -> None:
    """Sizes of errors against compute, in two colours: the loss is above or below the law."""
    from isoloss.core import units
    from isoloss.figures import _figure

    parts = (("loss above the law", errors > 0, 1), ("loss below the law", errors < 0, 0))
    for label, part, colour in parts:
        axes.scatter(flops[part], np.abs(errors[part]), s=22, alpha=0.7, linewidth=0,
                     color=_figure.COLOURS[colour], label=label)  # fmt: skip
    sizes = np.abs(errors[errors != 0])
    _figure.log_axis(axes.xaxis, *_figure.span(flops, 1.5), form=units.power, most=6)
    if len(sizes):
        _figure.log_axis(axes.yaxis, *_figure.span(sizes, 1.5), form=units.power)
    axes.set(xlabel=LABELS["C"], ylabel="Size of the error")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.06), ncols=2, borderaxespad=0)
    axes.set_title("Errors by compute")
