"""The loss against one variable: runs, the law with its interval, and what it says beyond them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem
from isoloss.figures import _figure
from isoloss.fitted import Fit
from isoloss.fitted.facts import OneFit, record
from isoloss.fitted.names import FORMULA, RESPONSE

TITLE = "Scaling curve"
ABOUT = (
    "Loss of every run against the variable of the law, with the law, its interval and what it"
    " says beyond the runs; one colour a group. Of a law that divides budgets: the least loss of a"
    " budget against C."
)
INPUTS = ["fit/replicates", "fit/ranges"]
MIN_FITS = 1
MAX_FITS = 1
NEEDS = "curve"  # of the law
OPTIONS = {
    "group": {
        "type": "string",
        "default": "",
        "description": "Group of runs that is shown; all if empty.",
    },
    "reach": {
        "type": "number",
        "minimum": 1,
        "maximum": 1e12,
        "default": 100,
        "unit": "times the largest run",
        "description": "How far beyond the runs the law is drawn.",
    },
    "scale": {
        "type": "string",
        "enum": ["auto", "log", "linear", "above_offset"],
        "default": "auto",
        "description": (
            "The vertical axis: the logarithm of the loss, the loss, or the logarithm of its"
            " distance from the offset E, of a law that has one. Auto is the logarithm of a loss,"
            " and of another response whose values span a factor of 10. Linear where values are"
            " not all above 0."
        ),
    },
}

MARKERS = "osv^PX<>p"  # of one group after another, once all colours are taken
POINTS = 160  # of a line, inside the runs and beyond them
INSIDE, BESIDE = 9, 20  # entries of a legend in the panel, and in a column beside it, at most
ENTRY, LETTER = (
    0.55,
    0.072,
)  # inches of a column of a legend, without its text and of a letter of it
OFFSET = "E"  # the term that is the offset

problems = _figure.group_problems


@dataclass(frozen=True)
class _Curve:
    """A group of runs, and the law that is fitted to them.

    Attributes:
        group: its name.
        runs: `run_id`, `x`, `loss`, `held_out`.
        law: `x`, `loss`, `low`, `high`, `beyond`; the loss is NaN where the law has none.
        offset: E; NaN if the law has none.
        known: whether the runs identify E.
        look: colour and marker.
    """

    group: str
    runs: pd.DataFrame
    law: pd.DataFrame
    offset: float
    known: bool
    look: dict

    def shifted(self, values, scale: str) -> np.ndarray:
        """Losses as the vertical axis has them."""
        return np.asarray(values, dtype=float) - (self.offset if scale == "above_offset" else 0.0)


def draw(inputs: _figure.Inputs, group: str, reach: float, scale: str):
    """Points are runs, lines the law: dashed beyond the runs, thin at its offset."""
    name, fit = next(iter(inputs.fits.items()))
    if group:
        inputs.shown(group)  # refuses a group that the fit does not have
    curves = [
        _curve(inputs, fit, one, number, reach)
        for number, one in enumerate(fit.groups)
        if group in ("", one)
    ]
    _check(fit, name, curves, scale)
    if scale != "above_offset":
        values = np.concatenate([curve.runs["loss"] for curve in curves])
        log = _figure.of_logarithms(scale, values, inputs.of_loss)
        scale = "log" if log else "linear"
    figure, (axes,) = inputs.canvas.new(7.4, 5.0)
    for curve in curves:
        _draw_curve(axes, curve, scale)
    x = np.concatenate([curve.law["x"] for curve in curves])
    forms = {"C": units.power, "N": units.count, "D": units.count, "U": units.count}
    _figure.axis_of(
        axes.xaxis, x, 1.25, form=forms.get(_variable(fit)), linear=_variable(fit) == RESPONSE
    )
    _limit(axes, curves, scale)
    rises = all(np.nanargmax(curve.law["loss"]) > 0 for curve in curves)
    place = "upper right" if not rises or scale == "above_offset" else "lower right"
    _put_legend(inputs.canvas, axes, _handles(fit, name, curves, scale), place)
    column = _column(fit)
    axes.set_xlabel(inputs.label("n_flops_6nd" if _six_nd(fit, inputs) else column))
    axes.set_ylabel(_y_label(inputs, scale))
    axes.set_title(_figure.wrapped(_title(fit, name, curves), inputs.canvas.title_width(figure)))
    drawn = _table(curves, column)
    _figure.print_small(figure, inputs, drawn, group)
    return figure, drawn


def _variable(fit: Fit) -> str:
    """N, D, C or the law's own variable: what the law is drawn along."""
    return fit.law.variables[0] if len(fit.law.variables) == 1 else "C"


def _column(fit: Fit) -> str:
    """The column of the runs that holds it."""
    return _figure.column_of(_variable(fit))


def _six_nd(fit: Fit, inputs: _figure.Inputs) -> bool:
    """Whether the compute is 6 N D: that of a law which divides budgets, or the table's own."""
    if _variable(fit) != "C":
        return False
    if "C" not in fit.law.variables:
        return True
    runs = inputs.finished
    return bool(np.allclose(_figure.own_flops(runs), runs["n_flops_6nd"].astype(float), rtol=1e-3))


def _check(fit: Fit, name: str, curves: list[_Curve], scale: str) -> None:
    """Refuse what cannot be drawn along one variable, or above an offset."""
    if scale == "above_offset" and any(np.isnan(curve.offset) for curve in curves):
        reason = f"the law of {name} has no offset {OFFSET}: {fit.law.formula}"
        raise IsolossError(Problem("scale", reason, "use log or linear"))


def _curve(inputs: _figure.Inputs, fit: Fit, group: str, number: int, reach: float) -> _Curve:
    """A group's runs and law."""
    own = fit.residuals.loc[fit.residuals["group"] == group, "run_id"]
    runs = inputs.finished
    runs = runs[runs["run_id"].isin(set(own))]
    column = "n_flops_6nd" if _six_nd(fit, inputs) else _column(fit)
    x = runs[column].astype(float)
    table = runs[["run_id", "loss", "held_out"]].assign(x=x)
    facts = record(fit).of(group)[0]
    # a user may call anything E
    offset, known = (np.nan, False) if fit.facts["card"] == FORMULA else _offset(facts)
    colour = _figure.COLOURS[number % len(_figure.COLOURS)]
    marker = MARKERS[number // len(_figure.COLOURS) % len(MARKERS)]
    law = _law(fit, group, x.min(), x.max(), reach)
    return _Curve(group, table, law, offset, known, {"color": colour, "marker": marker})


def _offset(facts: OneFit) -> tuple[float, bool]:
    """E of a fit, NaN if its law has none; and whether the runs identify it."""
    for one in facts.parameters:
        if one.term == OFFSET:
            return one.estimate, one.identified and np.isfinite([one.low, one.high]).all()
    return float("nan"), False


def _law(fit: Fit, group: str, low: float, high: float, reach: float) -> pd.DataFrame:
    """The law with its interval from the least run to beyond the largest.

    Not beyond it along a variable that may be 0 or below: there is no factor to go. Nor along the
    loss, which larger runs lower.
    """
    if low <= 0 or _variable(fit) == RESPONSE:
        inside, reach = np.linspace(low, high, POINTS), 1.0
    else:
        inside = np.geomspace(low, high, POINTS)
    beyond = np.geomspace(high, high * reach, POINTS)[1:] if reach > 1 else np.empty(0)
    x = np.append(inside, beyond)
    if len(fit.law.variables) == 1:
        told = fit.predict(group, **{fit.law.variables[0]: x})
        told = told[["low", "high"]].assign(loss=told[fit.quantity])
    else:
        told = fit.allocate(x, group).rename(columns={"loss_low": "low", "loss_high": "high"})
    told = told[["loss", "low", "high"]].reset_index(drop=True)
    return told.assign(x=x, beyond=np.arange(len(x)) >= POINTS)


def _draw_curve(axes, curve: _Curve, scale: str) -> None:
    """Runs, line, band and offset of a group."""
    colour, law = curve.look["color"], curve.law
    low, high = (curve.shifted(law[side], scale) for side in ("low", "high"))
    if np.isfinite(low).any():
        axes.fill_between(law["x"], low, high, color=colour, alpha=0.16, linewidth=0, zorder=1)
    value = curve.shifted(law["loss"], scale)
    inside = np.arange(len(law)) < POINTS
    axes.plot(law["x"][inside], value[inside], color=colour, linewidth=1.6, zorder=3)
    axes.plot(law["x"][POINTS - 1 :], value[POINTS - 1 :], "--", color=colour, linewidth=1.6)
    if curve.known and scale != "above_offset":
        axes.axhline(curve.offset, color=colour, linewidth=0.7, linestyle=":", zorder=1)
    for unseen in (False, True):
        rows = curve.runs[curve.runs["held_out"] == unseen]
        edge = {"edgecolor": "black", "linewidth": 0.8} if unseen else {"linewidth": 0}
        look = {"marker": "D", "s": 26} if unseen else {"marker": curve.look["marker"], "s": 22}
        y = curve.shifted(rows["loss"], scale)
        axes.scatter(rows["x"], y, color=colour, zorder=4, **look, **edge)


def _limit(axes, curves: list[_Curve], scale: str) -> None:
    """The vertical axis: runs and law, and of the intervals what does not stretch it far."""
    shown, wide = [], []
    for curve in curves:
        shown += [*curve.shifted(curve.runs["loss"], scale)]
        shown += [*curve.shifted(curve.law["loss"], scale)]
        wide += [*curve.shifted(curve.law["low"], scale), *curve.shifted(curve.law["high"], scale)]
        if curve.known and scale != "above_offset":
            shown.append(curve.offset)
    _figure.limit(axes.yaxis, shown, wide, logarithmic=scale != "linear")


def _handles(fit: Fit, name: str, curves: list[_Curve], scale: str) -> list:
    """The legend: groups, or runs and law; and what the other marks mean."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    grey, lone = {"color": _figure.GREY}, len(curves) == 1
    thick = {"linewidth": 1.6, "markersize": 4.7}
    handles = [
        Line2D([], [], **one.look, **thick, label=_figure.literal(name if lone else one.group))
        for one in curves
    ]
    mark = curves[0].look | {"linewidth": 1.6} if lone else grey | {"linewidth": 1.6}
    mark.pop("marker", None)
    if any(one.runs["held_out"].any() for one in curves):
        look = {"marker": "D", "ls": "", "markersize": 5, "markeredgecolor": "black"}
        handles.append(Line2D([], [], color=mark["color"], **look, label="held out"))
    if any(one.law["beyond"].any() for one in curves):
        handles.append(Line2D([], [], **mark, linestyle="--", label="beyond the runs"))
    if any(np.isfinite(one.law["low"]).any() for one in curves):
        label = f"{100 * fit.level:g} % interval of the law"
        handles.append(Patch(color=mark["color"], alpha=0.16, linewidth=0, label=label))
    if scale != "above_offset" and any(one.known for one in curves):
        thin = {"color": mark["color"], "linewidth": 0.7, "linestyle": ":"}
        handles.append(Line2D([], [], **thin, label=f"offset {OFFSET}"))
    return handles


def _put_legend(canvas: _figure.Canvas, axes, handles: list, place: str) -> None:
    """The legend: in the panel, or beside it where it has too many entries to cover no run.

    A figure of the card's own is wider by the legend, so that the panel keeps its width; in a paper
    the legend goes above it.
    """
    if len(handles) <= INSIDE:
        axes.legend(handles=handles, loc=place)
        return
    columns = -(-len(handles) // BESIDE)
    axes.legend(handles=handles, ncols=columns, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    if canvas.given is None and canvas.paper is None:
        letters = max(len(handle.get_label()) for handle in handles)
        wider = columns * (ENTRY + LETTER * letters)
        axes.figure.set_figwidth(axes.figure.get_figwidth() + wider)


def _y_label(inputs: _figure.Inputs, scale: str) -> str:
    """The label of the vertical axis."""
    if scale != "above_offset":
        return inputs.label("loss")
    unit = "" if inputs.unit == "1" else f" ({_figure.literal(inputs.unit)})"
    if inputs.of_loss and inputs.in_paper:
        return inputs.as_formula(f"Loss $L - {OFFSET}$" + unit.replace("$", r"\$"))
    return f"{'Loss L' if inputs.of_loss else inputs.quantity} - {OFFSET}{unit}"


def _title(fit: Fit, name: str, curves: list[_Curve]) -> str:
    """The law, how it is drawn, and of one group its parameters with their intervals."""
    title = f"{_figure.literal(name)}: {_figure.formula(fit)}"
    if len(fit.law.variables) > 1:
        title = f"Least loss of a budget by {title}"
    if len(curves) > 1:
        return title
    values, intervals = [], ""
    for one in record(fit).of(curves[0].group)[0].parameters:
        text = f"{_figure.literal(one.symbol)} = {units.count(one.estimate)}"
        if np.isfinite([one.low, one.high]).all():
            text += f" {units.interval(one.low, one.high, units.count)}"
            intervals = " " + _figure.unbroken(f"({100 * fit.level:g} % intervals)")
        values.append(_figure.unbroken(text))
    return f"{title}\nwith {', '.join(values)}{intervals}"


def _table(curves: list[_Curve], column: str) -> pd.DataFrame:
    """What is drawn: runs, and the law with its interval."""
    parts = []
    for curve in curves:
        parts += [curve.runs.assign(what="run", group=curve.group)]
        parts += [curve.law.assign(what="law", group=curve.group)]
        if curve.known:
            ends = pd.DataFrame({"x": [np.nan], "loss": curve.offset, "what": "offset"})
            parts.append(ends.assign(group=curve.group))
    first = ["group", "what", "run_id", "x", "loss", "low", "high", "held_out", "beyond"]
    table = pd.concat([part.reindex(columns=first) for part in parts], ignore_index=True)
    return table.rename(columns={"x": column})
