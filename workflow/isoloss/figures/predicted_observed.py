"""Predicted against observed loss, held-out runs marked, one panel a law."""

from __future__ import annotations

import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.figures import _figure

TITLE = "Predicted against observed"
ABOUT = (
    "Loss by each law against the loss observed; diamonds are predictions of runs that were not "
    "seen: by the fit, or by the fits of the folds that held them out."
)
MIN_FITS = 1
OPTIONS = {
    "group": {
        "type": "string",
        "default": "",
        "description": "Group of runs that is shown; all if empty.",
    },
}

LINE = 14.5  # points of a line of a legend
ALPHA = 0.75  # opacity of runs
BESIDE = 0.8  # inches of a panel that its title does not lie above

problems = _figure.group_problems


def draw(inputs: _figure.Inputs, group: str):
    """One panel a law, on the same axes."""
    fits = inputs.fits
    points = {name: _points(inputs, name, group) for name in fits}
    every = pd.concat([table.assign(law=name) for name, table in points.items()], ignore_index=True)
    shown = pd.concat([every["loss"], every["predicted"]]).dropna()
    logarithmic = bool((every["loss"] > 0).all())
    shown = shown[shown > 0] if logarithmic else shown  # a law may fall below 0 far from its runs
    low, high = _figure.span(shown, 1.04) if logarithmic else _ends(shown)
    figure, panels = inputs.canvas.new(4.5 * len(fits), 5.3, len(fits))
    width = inputs.canvas.width(figure) / len(fits)
    narrow, titles = inputs.in_paper and len(fits) > 1, [2]  # lines of titles
    for axes, (name, fit) in zip(panels, fits.items(), strict=True):
        axes.plot([low, high], [low, high], color=_figure.GREY, linewidth=1, zorder=1)
        errors = _draw_points(axes, points[name], inputs.unit, logarithmic)
        for axis in (axes.xaxis, axes.yaxis):
            if logarithmic:
                _figure.log_axis(axis, low, high)
            else:
                axis.set_view_interval(low, high, ignore=True)
        axes.set_box_aspect(1)
        title = f"{_figure.literal(name)}\n{_figure.wrapped(_figure.formula(fit), width - BESIDE)}"
        if narrow:
            axes.set_title("\n".join([_figure.literal(name), *errors]))
        else:
            titles.append(1 + title.count("\n"))
            axes.set_title(title, pad=6 + LINE * _put_legend_above(axes))
        axes.set_xlabel(inputs.label("predicted"))
    panels[0].set_ylabel(inputs.label("observed"))
    if narrow:
        _figure.head(figure, TITLE, _handles(every["held_out"]))
    _figure.print_small(figure, inputs, every, group)
    if inputs.canvas.given is None and not inputs.in_paper:  # the panels stay square
        above = max(_lines(axes.get_legend()) for axes in panels)
        above += max(*(axes.get_title("left").count("\n") - 1 for axes in panels), 0)
        under = figure.get_supxlabel().count("\n")
        more = 0.14 * max(0, under - 1) + 0.19 * (max(titles) - 2)
        figure.set_figheight(5.3 + LINE / 72 * above + more)
    return figure, every.drop(columns="response")


def _ends(values: pd.Series) -> tuple[float, float]:
    """The limits of a plain axis: all values and a margin."""
    room = 0.04 * (values.max() - values.min()) or 0.5
    return float(values.min() - room), float(values.max() + room)


def _kinds() -> tuple:
    """Marks of runs: whether a fit has not seen them, and marker, colour and name."""
    blue, red = _figure.COLOURS[:2]
    return (False, "o", blue, "fitted"), (True, "D", red, "held out")


def _draw_points(axes, points: pd.DataFrame, unit: str, logarithmic: bool) -> list[str]:
    """Runs that a fit saw, and those that it did not, with their errors; these in few words."""
    errors = []
    for unseen, marker, colour, kind in _kinds():
        rows = points[points["held_out"] == unseen]
        if len(rows):
            rmse = (rows["residual"] ** 2).mean() ** 0.5
            below = (rows["predicted"] <= 0).sum() if logarithmic else 0
            absent = f"\n{below} predicted below 0, not shown" if below else ""
            text = f"{len(rows)} {kind}, RMSE {units.loss(rmse, unit)}{absent}"
            look = {"s": 22, "alpha": ALPHA, "linewidth": 0, "zorder": 3}
            axes.scatter(
                rows["predicted"], rows["loss"], marker=marker, color=colour, label=text, **look
            )
            errors.append(f"{kind if unseen else 'RMSE'} {rmse:.3g}{absent}")
    return errors


def _handles(held_out: pd.Series) -> list:
    """A legend of all panels."""
    from matplotlib.lines import Line2D

    look = {"linestyle": "", "markersize": 5, "alpha": ALPHA, "markeredgewidth": 0}
    return [
        Line2D([], [], marker=marker, color=colour, label=kind, **look)
        for unseen, marker, colour, kind in _kinds()
        if (held_out == unseen).any()
    ]


def _put_legend_above(axes) -> int:
    """A legend above a panel, where it covers no point; how many lines it has."""
    legend = axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2, borderpad=0.1,
        handletextpad=0.2, alignment="left",
    )  # fmt: skip
    return _lines(legend)


def _lines(legend) -> int:
    """Lines of text of a legend in one column."""
    return sum(1 + text.get_text().count("\n") for text in legend.get_texts())


def _points(inputs: _figure.Inputs, name: str, group: str) -> pd.DataFrame:
    """What a fit predicts of runs: of those that it saw, and of those that were held out of it."""
    fit = inputs.fits[name]
    if group and group not in fit.groups:
        reason = f"group {group!r} is not in it"
        raise IsolossError(Problem(f"fit {name}", reason, nearest(group, fit.groups)))
    residuals = fit.residuals[(fit.residuals["group"] == group) | (group == "")]
    folds = residuals[residuals["predicted_unseen"].notna() & ~residuals["held_out"]]
    folds = folds.assign(
        predicted=folds["predicted_unseen"],
        residual=folds["loss"] - folds["predicted_unseen"],
        held_out=True,
    )
    return pd.concat([residuals, folds], ignore_index=True).drop(columns="predicted_unseen")
