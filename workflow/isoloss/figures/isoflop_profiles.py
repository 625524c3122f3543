"""Loss against model size at fixed compute, with a law's curve and optimum for each budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem
from isoloss.figures import _figure
from isoloss.fitted import Fit

TITLE = "IsoFLOP profiles"
ABOUT = (
    "Loss of every run against N, one colour a budget of the runs; lines: the law along the budget."
)
MIN_FITS = 1
MAX_FITS = 1
VARIABLES = ["N", "D", "C"]  # of a law that it can show
OPTIONS = {"group": "group"}


MOST = 8  # budgets in a legend; more are told by a colour bar
LINES = 12  # budgets that have a line of the law, at most
SIZES = 3  # of a budget that has one, at least, where there are more than MOST
POINTS = 200  # of a line
BEYOND = 30.0  # times the sizes of a budget, within which its best size is sought
PALEST = 0.78  # of the scale of colours: what is paler cannot be told from the page
SAME = 1e-3  # ratio of C to 6 N D, less one, below which they are the same

problems = _figure.group_problems


@dataclass(frozen=True)
class _Profile:
    """A budget that the law is drawn along.

    Attributes:
        flops: the budget, by the table's own C.
        unseen: whether all of its runs are held out.
        line: of the law, `n_params` and `loss`.
        optimum: N and loss where the law is least; None where it has no optimum.
    """

    flops: float
    unseen: bool
    line: pd.DataFrame
    optimum: tuple[float, float] | None

    @property
    def drawn(self) -> pd.DataFrame:
        """The rows of the table of what is drawn."""
        parts = [self.line.assign(what="law")]
        if self.optimum is not None:
            best = dict(zip(("n_params", "loss"), self.optimum, strict=True))
            parts.append(pd.DataFrame([{**best, "what": "optimum of the law"}]))
        return pd.concat(parts, ignore_index=True).assign(budget=self.flops)


def draw(inputs: _figure.Inputs, group: str):
    """Points are runs, lines the first law named, stars its optima."""
    name, fit, group, runs = inputs.shown(group)
    if not np.isfinite(runs[["n_params", "n_flops"]].to_numpy(float)).all():
        do = "show fit_residuals or predicted_observed"
        raise IsolossError(Problem(f"fit {name}", "some of its runs have no N or C", do))
    runs = runs.assign(budget=_figure.budgets)
    few = runs["budget"].nunique() <= MOST
    profiles = [_profile(fit, group, runs, level) for level in _levels(runs, few)]
    colour = _colours(runs["budget"])
    figure, (axes,) = inputs.canvas.new(8.2)
    _draw_runs(axes, runs, colour)
    for profile in profiles:
        style = {"color": colour.to_rgba(profile.flops), "ls": "--" if profile.unseen else "-"}
        axes.plot(profile.line["n_params"], profile.line["loss"], linewidth=1.2, **style)
        if profile.optimum is not None:
            axes.plot(*profile.optimum, "*", color="black", markersize=9, zorder=4)
    handles = _levels_told(inputs, profiles, colour) if few else []
    handles += _marks(fit, name, runs["held_out"].any(), profiles)
    _figure.log_axis(axes.xaxis, *_figure.span(runs["n_params"], 1.4), form=units.count)
    _figure.axis_of(axes.yaxis, runs["loss"], 1.04)
    if few:
        axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        axes.legend(handles=handles, loc="upper right")
        label = "n_flops_6nd" if _is_6nd(runs) else "n_flops"
        bar = figure.colorbar(colour, ax=axes, label=inputs.label(label), pad=0.02)
        _figure.log_axis(bar.ax.yaxis, *colour.get_clim(), form=units.power)
    axes.set_xlabel(inputs.label("n_params"))
    axes.set_ylabel(inputs.label("loss"))
    title = f"IsoFLOP profiles; lines: {_figure.literal(name)}, {_figure.formula(fit)}"
    axes.set_title(_figure.wrapped(title, axes.get_position().width * inputs.canvas.width(figure)))
    points = runs[["run_id", "n_params", "loss", "budget", "held_out"]].assign(what="run")
    drawn = pd.concat([points, *(one.drawn for one in profiles)], ignore_index=True)
    _figure.print_small(figure, inputs, drawn, group)
    return figure, drawn


def _is_6nd(runs: pd.DataFrame) -> bool:
    """Whether the table's own C is 6 N D."""
    return bool((abs(_figure.own_flops(runs) / runs["n_flops_6nd"] - 1) < SAME).all())


def _levels(runs: pd.DataFrame, few: bool) -> list[float]:
    """The budgets that the law is drawn along: all if they are few, else some with several sizes.

    Args:
        runs: with their `budget`.
        few: whether all budgets are drawn.
    """
    sizes = runs.groupby("budget")["n_params"].nunique()
    levels = list(sizes.index)
    if few:
        return levels
    levels = list(sizes.index[sizes >= SIZES]) or levels
    at = np.unique(np.linspace(0, len(levels) - 1, LINES).round().astype(int))
    return [levels[i] for i in at]


def _profile(fit: Fit, group: str, runs: pd.DataFrame, level: float) -> _Profile:
    """The law along a budget, over the sizes of its runs and a little beyond."""
    near = runs[runs["budget"] == level]
    n = np.geomspace(near["n_params"].min() / 1.3, near["n_params"].max() * 1.3, POINTS)
    line = _along(fit, group, near, level, n)
    return _Profile(level, bool(near["held_out"].all()), line, _optimum(fit, group, near, level))


def _along(fit: Fit, group: str, near: pd.DataFrame, level: float, n: np.ndarray) -> pd.DataFrame:
    """The law at sizes of a budget: `n_params` and `loss`.

    Where C is not 6 N D, the data D of a size is what leaves C, by the runs of the budget: ln C
    less ln 6 N D is interpolated in ln N.
    """
    points = {"N": n, "D": level / _ratio(near, n) / 6 / n, "C": np.full(len(n), level)}
    return pd.DataFrame({"n_params": n, "loss": fit.loss(group, **points)})


def _ratio(near: pd.DataFrame, n: np.ndarray) -> np.ndarray:
    """C over 6 N D at sizes, (n,), by the runs of a budget."""
    log_ratio = np.log(_figure.own_flops(near) / near["n_flops_6nd"].astype(float))
    means = log_ratio.groupby(np.log(near["n_params"].astype(float))).mean()
    return np.exp(np.interp(np.log(n), means.index, means))


def _optimum(fit: Fit, group: str, near: pd.DataFrame, level: float) -> tuple[float, float] | None:
    """N and loss of the best division of a budget, by the table's own C; None if there is none.

    Of a law in N and D, which divides 6 N D, it is the least of the law along the budget where C
    is another number.
    """
    if not fit.allocates:
        return None
    if "C" in fit.law.variables or _is_6nd(near):
        best = fit.allocate(level, group).iloc[0]
        return (float(best["N"]), float(best["loss"])) if np.isfinite(best["N"]) else None
    reach = (near["n_params"].min() / BEYOND, near["n_params"].max() * BEYOND)
    line = _along(fit, group, near, level, np.geomspace(*reach, 20 * POINTS))
    least = int(line["loss"].argmin())
    if least in (0, len(line) - 1):
        return None
    return float(line["n_params"][least]), float(line["loss"][least])


def _colours(levels: pd.Series):
    """The colours of budgets, none of them pale."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm

    shades = colormaps[_figure.SEQUENTIAL](np.linspace(0.0, PALEST, 256))
    return ScalarMappable(LogNorm(levels.min(), levels.max() * 1.0001), ListedColormap(shades))


def _draw_runs(axes, runs: pd.DataFrame, colour) -> None:
    """Dots, and diamonds with a dark edge for runs held out."""
    for unseen, look in (
        (False, {"marker": "o", "s": 26, "linewidth": 0}),
        (True, {"marker": "D", "s": 30, "linewidth": 0.8, "edgecolor": "black"}),
    ):
        rows = runs[runs["held_out"] == unseen]
        shades = colour.to_rgba(rows["budget"])
        axes.scatter(rows["n_params"], rows["loss"], c=shades, zorder=3, **look)


def _levels_told(inputs: _figure.Inputs, profiles: list[_Profile], colour) -> list:
    """Handles of a legend, one a budget."""
    from matplotlib.lines import Line2D

    handles = []
    for one in profiles:
        text = "" if inputs.in_paper else "C = "
        text += f"{inputs.scientific(one.flops, 2)} FLOP" + (", held out" if one.unseen else "")
        look = {"color": colour.to_rgba(one.flops), "ls": "--" if one.unseen else "-"}
        look |= {"marker": "D", "markeredgecolor": "black"} if one.unseen else {"marker": "o"}
        label = inputs.as_formula(text)
        handles.append(Line2D([], [], label=label, markersize=4.5, linewidth=1.2, **look))
    return handles


def _marks(fit: Fit, name: str, held_out: bool, profiles: list[_Profile]) -> list:
    """Handles of the other marks.

    Args:
        fit: whose lines are drawn.
        name: of the fit.
        held_out: whether there are runs held out.
        profiles: whose legend may say so already.
    """
    from matplotlib.lines import Line2D

    handles = []
    if held_out and (len(profiles) > MOST or not any(one.unseen for one in profiles)):
        look = {"color": _figure.GREY, "marker": "D", "ls": "", "markeredgecolor": "black"}
        handles.append(Line2D([], [], **look, markersize=5, label="held out"))
    if any(one.optimum is not None for one in profiles):
        star = {"color": "black", "marker": "*", "linestyle": "", "markersize": 9}
        handles.append(Line2D([], [], **star, label=f"optimum of {_figure.literal(name)}"))
    return handles
