"""How much compute groups of runs save over one of them: the compute-equivalent gain by budget."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.figures import _figure
from isoloss.fitted import Fit
from isoloss.fitted.facts import DO_NOT_USE, Gain, baseline_of, gains, record

TITLE = "Compute-equivalent gain"
ABOUT = "Compute of one group over what each other one needs for the same loss, by budget."
INPUTS = ["fit/replicates"]
MIN_FITS = 1
MAX_FITS = 1
NEEDS = "compare"  # of the law: a loss for every budget
OPTIONS = {
    "baseline": {
        "type": "string",
        "default": "",
        "description": "Group of runs that the others are compared with; the first if empty.",
    },
    "budgets": {
        "type": "array",
        "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1e40},
        "default": [],
        "unit": "FLOP",
        "description": "Budgets that are marked; 1, 10 and 100 times the largest run if empty.",
    },
    "reach": {
        "type": "number",
        "minimum": 1,
        "maximum": 1e12,
        "default": 100,
        "unit": "times the largest C",
        "description": "How far beyond the runs the gain is drawn.",
    },
}

BAND, RUNS = 0.16, 0.13  # opacity of the intervals, and of the compute of the runs
LINE, BRIEF = 0.19, 18  # inches of a row of the legend; characters of a name beside an axis
POINTS = 15  # budgets at which the lines are computed, beside those that are marked
MARKED = (1.0, 10.0, 100.0)  # times the largest run
BANDS, NAMED = 7, 4  # groups whose intervals are drawn, and that are named in a note, at most
EXTREME = 1e6  # factor of a gain beyond which the axis does not go
ROOM = 5.0  # factor around the estimates within which intervals are drawn
MARKERS = "osD^vP"


def problems(options, runs: pd.DataFrame) -> list[Problem]:
    """What is wrong with the options, given the runs of the sweep (planned or done)."""
    baseline, known = options["baseline"], set(runs["group"].astype(str))
    if len(known) < 2:
        return [Problem("fits", "all runs are one group", "name a `group` in the fit: a column")]
    if baseline and baseline not in known:
        return [Problem("baseline", f"no run has {baseline!r}", nearest(baseline, known))]
    return []


def draw(inputs: _figure.Inputs, baseline: str, budgets: list[float], reach: float):
    """A line a group, dotted beyond the runs of either group; with its interval, if it may be used.

    Of more than BANDS groups intervals would cover each other, and are left out. Groups whose
    verdict is `do not use` have no say in the limits of the axis.
    """
    name, fit = next(iter(inputs.fits.items()))
    runs, first = inputs.finished, _baseline(name, fit, baseline)
    compute = "n_flops_6nd" if fit.allocates else "n_flops"
    least, most = runs[compute].min(), runs[compute].max()
    marked = budgets or [most * factor for factor in MARKED if factor <= reach]
    flops = np.geomspace(min(least, *marked), max(most * reach, *marked), POINTS)
    ordered = sorted({*flops, most, *marked})
    table = _table(gains(fit, ordered, most, first), marked)

    figure, (axes,) = inputs.canvas.new(7.0, 4.6)
    axes.axvspan(least, most, color=_figure.GREY, alpha=RUNS, linewidth=0)
    axes.axhline(1, color=_figure.GREY, linewidth=1)
    doubted = {one.group for one in record(fit).fits if one.verdict == DO_NOT_USE}
    usable = table[~table["group"].isin(doubted)]
    hidden = table["group"].isin(doubted) | (table["group"].nunique() > BANDS)
    table.loc[hidden, ["gain_low", "gain_high"]] = np.nan
    low, high = _limits(usable if len(usable) else table)
    ends = table[["gain", "gain_low", "gain_high"]]
    cut = ((ends < low) | (ends > high)).any(axis=None)
    _figure.log_axis(axes.xaxis, *_figure.span(ordered, 1.3), form=units.power, most=6)
    _figure.log_axis(axes.yaxis, low, high, form="{:g}".format, most=8)
    handles = []
    for number, (group, rows) in enumerate(table.groupby("group", sort=False)):
        label = _figure.literal(group) + (f" ({DO_NOT_USE})" if group in doubted else "")
        handles.append(_line(axes, label, rows, number, low))
    _mark(axes, table)
    _label(inputs, axes, fit, first)
    shown = _figure.literal(first)
    title = f"Compute-equivalent gain over {shown} by {_figure.literal(name)}"
    title += f"; L: loss of {shown} ({_figure.literal(inputs.loss_unit)})"
    rows = _figure.head(figure, title, [*handles, *_signs(fit.level, table)])
    if not inputs.in_paper and inputs.canvas.given is None:  # the panel stays as high as it is
        figure.set_figheight(figure.get_figheight() + LINE * max(0, rows - 2))
    notes = [_figure.small_print(inputs, table)]
    notes += ["what goes beyond the axis of gains is cut"] if cut else []
    notes += _without_line(table, shown)
    _figure.print_note(figure, inputs, "; ".join(notes))
    return figure, table


def _label(inputs: _figure.Inputs, axes, fit: Fit, baseline: str) -> None:
    """The labels of the axes."""
    brief = _figure.literal(baseline, BRIEF)
    if inputs.in_paper:
        what = r"$6\,ND$" if fit.allocates else "$C$"
        plain = brief.replace("$", r"\$")
        axes.set_xlabel(inputs.as_formula(f"Compute {what} of {plain} (FLOP)"))
    else:
        what = "6 N D" if fit.allocates else "C"
        axes.set_xlabel(f"Training compute {what} of {brief} (FLOP)")
    axes.set_ylabel(f"Compute of {brief} over\nthat for the same loss")


def _without_line(table: pd.DataFrame, baseline: str) -> list[str]:
    """Why a group has no line, or one with an end; of many groups how many they are."""
    lacks = (table["gain"].isna() & table["loss"].notna()).groupby(table["group"], sort=False)
    groups = lacks.any()[lambda any_: any_].index
    if len(groups) > NAMED:
        count = f"{len(groups)} of {len(lacks)} groups"
        return [f"{count} never reach the loss of {baseline} where their lines are missing"]
    ends = {group: "" if lacks.all()[group] else " where its line is missing" for group in groups}
    return [
        f"{_figure.literal(group)} never reaches the loss of {baseline}{where}"
        for group, where in ends.items()
    ]


def _baseline(name: str, fit: Fit, baseline: str) -> str:
    """The group that the others are compared with.

    Raises:
        IsolossError: there is no such group, or no other, or the law has no loss for a budget.
    """
    place = f"fit {name}"
    if len(fit.groups) < 2:
        reason = f"it is of one group, {fit.groups[0]!r}"
        raise IsolossError(Problem(place, reason, "compare groups: fit them with `group`"))
    if not fit.has_least_loss:
        reason = f"{fit.facts['card']} gives no loss for a budget"
        do = "show a fit of the loss by a law in C, or one that divides budgets"
        raise IsolossError(Problem(place, reason, do))
    return baseline_of(fit.groups, baseline or None, f"{place}, baseline")


def _table(all_gains: list[Gain], marked: list[float]) -> pd.DataFrame:
    """What is drawn, a row a group and budget."""
    return pd.DataFrame(
        {
            "group": one.group,
            "baseline": one.baseline,
            "C": one.flops,
            "loss": one.loss,
            "gain": one.gain.estimate,
            "gain_low": one.gain.low,
            "gain_high": one.gain.high,
            "reached": one.reached,
            "beyond": one.beyond,
            "marked": one.flops in marked,
        }
        for one in all_gains
    )


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Limits of the axis of gains: the estimates, and the intervals within ROOM around them.

    Estimates beyond EXTREME, which are far extrapolations, have no say.
    """
    near = table["gain"].dropna().clip(1 / EXTREME, EXTREME)
    low, high = _figure.span([1.0, *near], 1.1)
    least, most = table["gain_low"].min(), table["gain_high"].max()
    return max(np.nanmin([low, least]), low / ROOM), min(np.nanmax([high, most]), high * ROOM)


def _line(axes, label: str, rows: pd.DataFrame, number: int, floor: float):
    """A group's gain with its interval; its handle in the legend."""
    from matplotlib.lines import Line2D

    colour = _figure.COLOURS[number % len(_figure.COLOURS)]
    marker = MARKERS[number // len(_figure.COLOURS) % len(MARKERS)]
    low = rows["gain_low"].clip(lower=floor)
    axes.fill_between(rows["C"], low, rows["gain_high"], color=colour, alpha=BAND, linewidth=0)
    inside = rows["beyond"] <= 1.0001
    ahead = ~inside | inside.shift(-1, fill_value=False).eq(False)  # from the last one inside
    for part, style in ((inside, "-"), (ahead, ":")):
        axes.plot(rows["C"].where(part), rows["gain"].where(part), style, color=colour, lw=1.8)
    points = rows[rows["marked"]]
    axes.plot(points["C"], points["gain"], marker, color=colour, markersize=5)
    look = {"color": colour, "linewidth": 1.8, "marker": marker, "markersize": 5}
    return Line2D([], [], label=label, **look)


def _mark(axes, table: pd.DataFrame) -> None:
    """A thin line at every budget that is marked, and above it the loss of the baseline there."""
    points = table[table["marked"]].drop_duplicates("C")
    place = {"transform": axes.get_xaxis_transform(), "size": 8, "color": _figure.GREY}
    for one in points.itertuples():
        axes.axvline(one.C, color=_figure.GREY, linewidth=0.7, linestyle="--", zorder=1)
        if np.isfinite(one.loss):
            text = f"L = {one.loss:.3g}"
            axes.text(one.C, 1.02, text, rotation=90, ha="center", va="bottom", **place)


def _signs(level: float, table: pd.DataFrame):
    """The handles of what is not a group."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    grey = {"color": _figure.GREY}
    yield Line2D([], [], **grey, linewidth=1.8, linestyle=":", label="beyond the runs")
    if table["gain_low"].notna().any():
        look = {"color": _figure.COLOURS[0], "alpha": BAND, "linewidth": 0}
        yield Patch(**look, label=f"{level * 100:g} % interval")
    yield Patch(**grey, alpha=RUNS, linewidth=0, label="compute of the runs")
