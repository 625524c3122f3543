"""Loss against model size at fixed compute, with a law's curve and optimum for each budget."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.figures import _figure
from isoloss.fitted import Fit

TITLE = "IsoFLOP profiles"
ABOUT = "Loss of every run against N, one colour a budget; lines: the law along the budget."
MIN_FITS = 1
MAX_FITS = 1
OPTIONS = {"group": "group"}


MOST = 8  # budgets in a legend; more are shown by a colour bar, with this many lines of the law


problems = _figure.group_problems


def draw(inputs: _figure.Inputs, group: str):
    """Points are runs, lines the first law named, stars its optima."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.lines import Line2D

    name, fit, group, runs = inputs.shown(group)
    runs = runs.assign(budget=_figure.budgets)
    few = runs["budget"].nunique() <= MOST
    low, high = runs["budget"].min(), runs["budget"].max()
    levels = sorted(runs["budget"].unique()) if few else list(np.geomspace(low, high, MOST))
    # the palest fifth of the colours is too pale for a line
    shades = colormaps[_figure.SEQUENTIAL](np.linspace(0.0, 0.88, 256))
    norm = LogNorm(low, high * 1.0001)
    colour = ScalarMappable(norm, ListedColormap(shades))
    figure, (axes,) = inputs.canvas.new(8.2)
    drawn = [runs[["n_params", "loss", "budget", "held_out"]].assign(what="run")]
    handles = []
    for unseen, marker in ((False, "o"), (True, "D")):
        rows = runs[runs["held_out"] == unseen]
        look = {"s": 20, "marker": marker, "zorder": 3}
        axes.scatter(rows["n_params"], rows["loss"], c=colour.to_rgba(rows["budget"]), **look)
    for level in levels:
        near = runs[(runs["budget"] / level).between(*((1, 1) if few else (0.7, 1.4)))]
        if near.empty:
            continue
        unseen = bool(near["held_out"].all())
        n = np.geomspace(near["n_params"].min() / 1.3, near["n_params"].max() * 1.3, 100)
        line = fit.loss(group, N=n, D=level / 6 / n, C=0 * n + level)
        look = {"color": colour.to_rgba(level), "linestyle": "--" if unseen else "-"}
        axes.plot(n, line, linewidth=1.2, **look)
        drawn.append(pd.DataFrame({"n_params": n, "loss": line, "budget": level, "what": "law"}))
        best = fit.allocate(level, group).iloc[0] if fit.allocates else None
        if best is not None and np.isfinite(best["N"]):
            axes.plot(best["N"], best["loss"], "*", color="black", markersize=9, zorder=4)
            optimum = {"n_params": best["N"], "loss": best["loss"], "budget": level}
            drawn.append(pd.DataFrame([{**optimum, "what": "optimum of the law"}]))
        label = f"C = {units.power(level, 2)} FLOP" + (", held out" if unseen else "")
        handles.append(Line2D([], [], marker="D" if unseen else "o", label=label, **look))
    handles = _handles(handles if few else [], fit, name, not few and runs["held_out"].any())
    _figure.log_axis(axes.xaxis, *_figure.span(runs["n_params"], 1.4), form=units.count)
    _figure.log_axis(axes.yaxis, *_figure.span(runs["loss"], 1.04))
    if few:
        axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        axes.legend(handles=handles, loc="upper right")
        bar = figure.colorbar(colour, ax=axes, label=inputs.label("n_flops_6nd"), pad=0.02)
        _figure.log_axis(bar.ax.yaxis, low, high, form=units.power)
    axes.set_xlabel(inputs.label("n_params"))
    axes.set_ylabel(inputs.label("loss"))
    title = f"IsoFLOP profiles; lines: {name}, {_figure.formula(fit)}"
    axes.set_title(_figure.wrapped(title, inputs.canvas.width(figure)))
    _figure.print_small(figure, inputs, group)
    return figure, pd.concat(drawn, ignore_index=True)


def _handles(levels: list, fit: Fit, name: str, held_out: bool) -> list:
    """The legend: the budgets, and what the other marks mean.

    Args:
        levels: handles of the budgets, where they are few.
        fit: whose lines are drawn.
        name: of the fit.
        held_out: whether runs held out need a handle of their own.
    """
    from matplotlib.lines import Line2D

    handles = list(levels)
    if held_out:
        look = {"color": _figure.GREY, "marker": "D", "linestyle": ""}
        handles.append(Line2D([], [], **look, label="held out"))
    if fit.allocates:
        star = {"color": "black", "marker": "*", "linestyle": "", "markersize": 9}
        handles.append(Line2D([], [], **star, label=_figure.literal(f"optimum of {name}")))
    return handles
