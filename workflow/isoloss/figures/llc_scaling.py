"""The local learning coefficient of trained models against N, D or C, and against the loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem
from isoloss.figures import _figure, _llc
from isoloss.fitted import Fit
from isoloss.fitted.facts import record, selection

TITLE = "Local learning coefficients of trained models"
ABOUT = (
    "The local learning coefficient (LLC) of every run against N, D or C, and against the loss,"
    " with two standard errors over chains: filled where ok, hollow where the chains are doubtful,"
    " crosses at the lower edge where they failed. Negative values are shown. With a fit of"
    " llc_mean, its curve and interval."
)
INPUTS = ["observe/llc", "fit/replicates"]
MAX_FITS = 1
FITS_OF = "llc_mean"
VARIABLES = ["N", "D", "C"]  # of a law that it can show
OPTIONS = {
    "group": "group",
    "variable": {
        "type": "string",
        "enum": ["N", "D", "C"],
        "default": "N",
        "description": "The variable x: parameters N, tokens D or compute C.",
    },
    "setting": "setting",
}
COLUMNS = {"N": "n_params", "D": "n_samples", "C": "n_flops_6nd"}
CURVE = 80  # points of a curve
MOST_CURVES = 6

problems = _figure.group_problems


def draw(inputs: _figure.Inputs, group: str, variable: str, setting: int):
    """Two panels with the same points; the table has a row a run, and rows along curves."""
    x = COLUMNS[variable]
    shade = "n_params" if variable == "D" else "n_samples"
    if inputs.fits and setting:
        reason = "a law is fitted to setting 0"
        raise IsolossError(Problem("setting", reason, "show setting 0, or leave the fit out"))
    rows = _llc.measured(inputs.tables["llc"], inputs.runs, setting)
    figure, panels = inputs.canvas.grid(2, 2, 4.6, 3.6)
    scale = _figure.shades(rows[shade])
    curves = list(_curves(inputs, group, variable, rows))
    predicted = [value for curve in curves for value in curve.table["llc_mean"]]
    for axes, column in zip(panels, (x, "loss"), strict=True):
        _llc.points(axes, rows[column], rows, scale.to_rgba(rows[shade]))
        _llc.value_axis(axes, rows, predicted)
    for curve in curves:
        curve.draw(panels[0], scale, x)
    form = units.count if variable != "C" else units.power
    _figure.log_axis(panels[0].xaxis, *_figure.span(rows[x], 1.3), form=form, most=5)
    if (rows["loss"] > 0).all():
        _figure.log_axis(panels[1].xaxis, *_figure.span(rows["loss"], 1.03), most=5)
    panels[0].set_xlabel(inputs.label(x))
    panels[1].set_xlabel(f"Loss L ({_figure.literal(inputs.loss_unit)})")
    panels[0].set_ylabel("Local learning coefficient λ̂")
    panels[1].tick_params(labelleft=False)
    _figure.shade_bar(figure, scale, panels, inputs.label(shade))
    lines = [TITLE, _llc.moves(_llc.trend(rows)), *_formulas(inputs, group)]
    _figure.head(figure, "\n".join(filter(None, lines)), [*_llc.handles(rows), *_handles(curves)])
    note = "; ".join([_llc.note(inputs, rows), *_of_fits(inputs, group)])
    _figure.print_note(figure, inputs, note)
    columns = ["run_id", *COLUMNS.values(), "loss", "setting", "llc_mean", "llc_se"]
    points = pd.concat([rows[[*columns, "status", "status_reason"]], _llc.ends(rows)], axis=1)
    parts = [points.assign(what="run"), *(one.table.assign(what="law") for one in curves)]
    return figure, pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class _Curve:
    """What a law says along x, the other variable held.

    Attributes:
        table: N, D and C as in the runs, `llc_mean` and the interval `low`, `high`.
        shade: the value of the other variable; None where the law does not read it.
        level: of the interval.
    """

    table: pd.DataFrame
    shade: float | None
    level: float

    @property
    def has_interval(self) -> bool:
        return self.shade is None and bool(np.isfinite(self.table[["low", "high"]]).all(axis=None))

    def draw(self, axes, scale, x: str) -> None:
        colour = "black" if self.shade is None else scale.to_rgba(self.shade)
        axes.plot(self.table[x], self.table["llc_mean"], color=colour, linewidth=1.2, zorder=2)
        if self.has_interval:
            low, high = self.table["low"], self.table["high"]
            axes.fill_between(self.table[x], low, high, color=_figure.GREY, alpha=0.2, linewidth=0)


def _curves(
    inputs: _figure.Inputs, group: str, variable: str, rows: pd.DataFrame
) -> Iterator[_Curve]:
    """The curves of the fit: one, or one for each value of the variable that is not x.

    Raises:
        IsolossError: the fit is of another quantity.
    """
    for name, fit in inputs.fits.items():
        if fit.quantity != FITS_OF:
            reason = f"is fitted to {fit.quantity}, and the figure shows {FITS_OF}"
            raise IsolossError(Problem(f"fit {name}", reason, f"show one with response: {FITS_OF}"))
        x = rows[COLUMNS[variable]]
        along = np.geomspace(x.min() / 1.2, x.max() * 1.2, CURVE)
        if fit.law.variables == (variable,):
            yield _curve(fit, group, {variable: along}, None)
            continue
        other = "N" if variable == "D" else "D"
        values = np.unique(rows[COLUMNS[other]])
        for value in values[_llc.spread(len(values), MOST_CURVES)]:
            yield _curve(fit, group, {variable: along, other: np.full(CURVE, value)}, float(value))


def _curve(fit: Fit, group: str, given: dict[str, np.ndarray], shade: float | None) -> _Curve:
    """A curve over two of N, D and C, of which C is 6 N D."""
    if "C" in given and shade is not None:
        given = {**given, "N": given["C"] / 6 / given["D"]}
    elif shade is not None:
        given = {**given, "C": 6 * given["N"] * given["D"]}
    told = fit.predict(group or None, **{v: given[v] for v in fit.law.variables})
    columns = {COLUMNS[v]: values for v, values in given.items()}
    table = pd.DataFrame({**columns, **told[["llc_mean", "low", "high"]]})
    return _Curve(table, shade, fit.level)


def _formulas(inputs: _figure.Inputs, group: str) -> Iterator[str]:
    """The law that is shown, with its parameters and their intervals."""
    for name, fit in inputs.fits.items():
        params = fit.params[fit.params["group"] == (group or fit.groups[0])]
        terms = ", ".join(
            f"{_figure.literal(one.symbol)} = "
            + units.estimate(one.estimate, one.ci_low, one.ci_high, units.count)
            for one in params.itertuples()
        )
        yield f"{_figure.literal(name)}: {_figure.formula(fit)}; {terms}"


def _of_fits(inputs: _figure.Inputs, group: str) -> Iterator[str]:
    """How many runs the law is fitted to, which may be fewer than are shown, and its doubts."""
    for name, fit in inputs.fits.items():
        yield f"{_figure.literal(name)} is fitted to {selection([fit], group).n_runs} runs"
        yield from _figure.doubts(name, record(fit), group)


def _handles(curves: list[_Curve]) -> Iterator:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if curves:
        yield Line2D([], [], color="black", linewidth=1.2, label="law")
    if any(one.has_interval for one in curves):
        label = f"{100 * curves[0].level:g} % interval of the law"
        yield Patch(color=_figure.GREY, alpha=0.2, linewidth=0, label=label)
