"""How laws divide a budget between model and data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

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
REACHED = 5.0  # factor beyond the lines that an interval may widen an axis by
BAND, RUNS = 0.16, 0.13  # opacity of the intervals, and of the compute of the runs

problems = _figure.group_problems


class Cut(NamedTuple):
    """An interval that is wider than its panel: where it goes furthest, and how far."""

    law: str
    column: str
    flops: float
    end: float
    high: bool


def draw(inputs: _figure.Inputs, group: str, reach: float):
    """One panel a quantity, one colour a law; dotted beyond the largest run."""
    _, first, group, runs = inputs.shown(group)
    for name, fit in inputs.fits.items():
        if not fit.allocates:
            reason = "does not give the best N and D for a budget"
            raise IsolossError(Problem(f"fit {name}", reason, "remove it from the figure"))
    least, most = runs["n_flops_6nd"].min(), runs["n_flops_6nd"].max()
    inside = np.geomspace(least, most, POINTS)
    flops = np.append(inside, np.geomspace(most, most * reach, POINTS)[1:])
    frontiers = pd.concat(
        [fit.allocate(flops, group).assign(law=name) for name, fit in inputs.fits.items()],
        ignore_index=True,
    )
    figure, panels = inputs.canvas.grid(3, 3, 3.9, 3.4)
    colours = dict(zip(inputs.fits, _figure.COLOURS, strict=False))
    cuts = []
    for axes, (column, quantity) in zip(panels, PANELS.items(), strict=True):
        axes.axvspan(least, most, color=_figure.GREY, alpha=RUNS, linewidth=0)
        _draw_laws(axes, frontiers, column, most, colours)
        limits = _limits(frontiers, column)
        _figure.log_axis(axes.xaxis, *_figure.span(flops, 1.5), form=units.power, most=5)
        _figure.log_axis(axes.yaxis, *limits, form=units.count, most=7)
        axes.set_xlabel(inputs.label("n_flops_6nd"))
        axes.set_ylabel(inputs.label(quantity))
        here = _cut(frontiers, column, limits)
        _draw_arrows(axes, here, colours)
        cuts += here
    lost = frontiers.groupby("law", sort=False)["N"].apply(lambda n: n.isna().all())
    title = "The best division of a budget"
    if len(first.groups) > 1:
        title += f", group {_figure.literal(group)}"
    if lost.any():
        title += f"; no optimum: {', '.join(map(_figure.literal, lost.index[lost]))}"
    bands = frontiers.groupby("law")["N_low"].apply(lambda low: low.notna().any())
    _figure.head(figure, title, _handles(colours, bands, first.level, bool(cuts)))
    _figure.print_small(figure, inputs, frontiers, group)
    if cuts:
        _figure.print_note(figure, inputs, _words(cuts))
    return figure, frontiers


def _draw_laws(axes, frontiers: pd.DataFrame, column: str, most: float, colours) -> None:
    """The line and the interval of every law, of one quantity."""
    for name, colour in colours.items():
        frontier = frontiers[frontiers["law"] == name]
        low, high = frontier[f"{column}_low"], frontier[f"{column}_high"]
        axes.fill_between(frontier["C"], low, high, color=colour, alpha=BAND, linewidth=0)
        for part, style in ((frontier["C"] <= most, "-"), (frontier["C"] >= most, ":")):
            line = frontier.loc[part]
            axes.plot(line["C"], line[column], style, color=colour, linewidth=1.8)


def _limits(frontiers: pd.DataFrame, column: str) -> tuple[float, float]:
    """Of an axis: the lines of all laws, and their intervals as far as they are not wild."""
    line = frontiers[column].dropna()
    line = line[line > 0]
    if line.empty:
        return 0.1, 10.0
    least, most = line.min() / REACHED, line.max() * REACHED
    ends = pd.concat([line, frontiers[f"{column}_low"], frontiers[f"{column}_high"]]).dropna()
    low, high = max(ends.min(), least), min(ends.max(), most)
    return (low if low == least else low / 1.3), (high if high == most else high * 1.3)


def _cut(frontiers: pd.DataFrame, column: str, limits: tuple[float, float]) -> list[Cut]:
    """The intervals that go on beyond the limits of an axis, one a law and side."""
    cuts = []
    for name, frontier in frontiers.groupby("law", sort=False):
        low, high = frontier[f"{column}_low"], frontier[f"{column}_high"]
        for ends, end, beyond in (
            (low, low.min(), low.min() < limits[0]),
            (high, high.max(), high.max() > limits[1]),
        ):
            if beyond:
                at = float(frontier.loc[ends == end, "C"].iloc[0])
                cuts.append(Cut(str(name), column, at, float(end), ends is high))
    return cuts


def _draw_arrows(axes, cuts: list[Cut], colours: Mapping[str, str]) -> None:
    """An arrow at the edge of the panel for each interval that leaves it."""
    across = axes.get_xaxis_transform()
    for cut in cuts:
        marker, y = ("^", 0.97) if cut.high else ("v", 0.03)
        look = {"linestyle": "", "markersize": 7, "clip_on": False, "zorder": 4}
        axes.plot([cut.flops], [y], marker, color=colours[cut.law], transform=across, **look)


def _words(cuts: list[Cut]) -> str:
    """What the arrows stand for, with the ends that are not shown."""
    names = {"N": "N", "D": "D", "tokens_per_parameter": "D/N"}
    texts = [
        f"{names[cut.column]} of {_figure.literal(cut.law)} {'up' if cut.high else 'down'} to "
        f"{units.count(cut.end)}"
        for cut in cuts
    ]
    return f"arrows: intervals that are wider than the panel: {', '.join(texts)}"


def _handles(colours: Mapping[str, str], bands: pd.Series, level: float, cut: bool) -> list:
    """The legend: each law as it is drawn, its line over its interval, and the other marks."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import Normal, Stroke

    handles: list = []
    for name, colour in colours.items():
        label, look = _figure.literal(name), {}
        if bands[name]:
            label += f", {level * 100:g} % interval"
            band = Stroke(linewidth=6, foreground=colour, alpha=BAND, capstyle="butt")
            look = {"path_effects": [band, Normal()]}
        handles.append(Line2D([], [], color=colour, linewidth=1.8, label=label, **look))
    look = {"color": _figure.GREY, "linewidth": 1.8, "linestyle": ":"}
    handles.append(Line2D([], [], **look, label="beyond the runs"))
    handles.append(Patch(color=_figure.GREY, alpha=RUNS, linewidth=0, label="compute of the runs"))
    if cut:
        look = {"color": _figure.GREY, "marker": "^", "linestyle": "", "markersize": 7}
        handles.append(Line2D([], [], **look, label="goes on beyond the panel"))
    return handles
