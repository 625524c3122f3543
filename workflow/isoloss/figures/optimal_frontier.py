"""How laws divide a budget between model and data."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem
from isoloss.figures import _figure

TITLE = "Optimal frontier"
ABOUT = "Best N, D and D/N of every budget by each law, with intervals, inside and beyond the runs."
INPUTS = ["fit/replicates", "fit/ranges"]
MIN_FITS = 1
MAX_FITS = 7
NEEDS = "allocate"  # of every law
OPTIONS = {
    "group": "group",
    "reach": {
        "type": "number",
        "minimum": 1,
        "maximum": 1e12,
        "default": 1000,
        "unit": "times the largest C",
        "description": "How far beyond the runs the frontier is drawn.",
    },
}

PANELS = {"N": "n_params", "D": "n_samples", "tokens_per_parameter": "tokens_per_parameter"}
POINTS = 40  # budgets on every side of the largest

problems = _figure.group_problems


def draw(inputs: _figure.Inputs, group: str, reach: float):
    """One panel a quantity, one colour a law; dotted beyond the largest run."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    _, first, group, runs = inputs.shown(group)
    for name, fit in inputs.fits.items():
        if not fit.allocates:
            raise IsolossError(
                Problem(
                    f"fit {name}",
                    "does not give the best N and D for a budget",
                    "remove it from the figure",
                )
            )
    least, most = runs["n_flops_6nd"].min(), runs["n_flops_6nd"].max()
    inside = np.geomspace(least, most, POINTS)
    flops = np.append(inside, np.geomspace(most, most * reach, POINTS)[1:])
    frontiers = pd.concat(
        [fit.allocate(flops, group).assign(law=name) for name, fit in inputs.fits.items()],
        ignore_index=True,
    )
    figure, panels = inputs.canvas.grid(3, 3, 3.9, 3.4)
    colours = dict(zip(inputs.fits, _figure.COLOURS, strict=False))
    for axes, (column, quantity) in zip(panels, PANELS.items(), strict=True):
        axes.axvspan(least, most, color=_figure.GREY, alpha=0.13, linewidth=0)
        shown = []
        for name, colour in colours.items():
            frontier = frontiers[frontiers["law"] == name]
            low, high = frontier[f"{column}_low"], frontier[f"{column}_high"]
            axes.fill_between(frontier["C"], low, high, color=colour, alpha=0.16, linewidth=0)
            for part, style in ((frontier["C"] <= most, "-"), (frontier["C"] >= most, ":")):
                line = frontier.loc[part]
                axes.plot(line["C"], line[column], style, color=colour, linewidth=1.8)
            shown += [frontier[column], low, high]
        _figure.log_axis(axes.xaxis, *_figure.span(flops, 1.5), form=units.power, most=5)
        values = pd.concat(shown).dropna()
        limits = _figure.span(values[values > 0], 1.3) if len(values) else (0.1, 10.0)
        _figure.log_axis(axes.yaxis, *limits, form=units.count, most=7)
        axes.set_xlabel(inputs.label("n_flops_6nd"))
        axes.set_ylabel(inputs.label(quantity))
    look = {"transform": panels[0].get_xaxis_transform(), "size": 8.5, "color": _figure.GREY}
    panels[0].text(least * 1.3, 0.98, "compute of the runs", va="top", **look)
    handles = [
        Line2D([], [], color=c, linewidth=1.8, label=_figure.literal(n)) for n, c in colours.items()
    ]
    look = {"color": _figure.GREY, "linewidth": 1.8, "linestyle": ":"}
    handles.append(Line2D([], [], **look, label="beyond the runs"))
    handles.append(Patch(color=_figure.GREY, alpha=0.3, label=f"{first.level * 100:g} % interval"))
    lost = frontiers.groupby("law", sort=False)["N"].apply(lambda n: n.isna().all())
    title = "The best division of a budget"
    if len(first.groups) > 1:
        title += f", group {_figure.literal(group)}"
    if lost.any():
        title += f"; no optimum: {', '.join(map(_figure.literal, lost.index[lost]))}"
    _figure.head(figure, title, handles)
    _figure.print_small(figure, inputs, frontiers, group)
    return figure, frontiers
