"""The local learning coefficient of trained models against N, D or C, and against the loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem
from isoloss.figures import _figure, _llc
from isoloss.fitted import Fit

TITLE = "Local learning coefficients of trained models"
ABOUT = (
    "The local learning coefficient (LLC) of every run against N, D or C, and against the loss,"
    " with two standard errors over chains: filled where ok, hollow where the chains are doubtful,"
    " crosses at the lower edge where they failed. Negative values are shown. A law that is fitted"
    " to llc_mean is a line with its interval; one of several variables is a mark at every run."
)
INPUTS = ["observe/llc", "fit/replicates"]
MAX_FITS = 1
FITS_OF = "llc_mean"
OPTIONS = {
    "variable": {
        "type": "string",
        "enum": ["N", "D", "C"],
        "default": "N",
        "description": "The variable x: parameters N, tokens D or compute C.",
    },
    "setting": "setting",
}
COLUMNS = {"N": "n_params", "D": "n_samples", "C": "n_flops_6nd"}

problems = _figure.no_problems


def draw(inputs: _figure.Inputs, variable: str, setting: int):
    """Two panels with the same points; the table has a row a run."""
    x = COLUMNS[variable]
    shade = "n_params" if variable == "D" else "n_samples"
    if inputs.fits and setting:
        reason = "a law is fitted to setting 0"
        raise IsolossError(Problem("setting", reason, "show setting 0, or leave the fit out"))
    rows = _llc.measured(inputs.tables["llc"], inputs.runs, setting)
    figure, panels = inputs.canvas.grid(2, 2, 4.6, 3.6)
    colour = _figure.shades(rows[shade])
    colours = colour.to_rgba(rows[shade])
    laws = [_law(panels[0], name, fit, variable, rows[x]) for name, fit in inputs.fits.items()]
    inputs_of_runs = replace(inputs, fits={})  # its axes are those of the runs
    for axes, column in zip(panels, (x, "loss"), strict=True):
        _llc.points(axes, rows[column], rows, colours)
        _llc.value_axis(axes, rows)
        axes.set_xlabel(inputs_of_runs.label(column))
    form = units.count if variable != "C" else units.power
    _figure.log_axis(panels[0].xaxis, *_figure.span(rows[x], 1.3), form=form, most=5)
    if (rows["loss"] > 0).all():
        _figure.log_axis(panels[1].xaxis, *_figure.span(rows["loss"], 1.03), most=5)
    panels[0].set_ylabel("Local learning coefficient λ̂")
    panels[1].tick_params(labelleft=False)
    _figure.shade_bar(figure, colour, panels, inputs_of_runs.label(shade))
    title = "\n".join(filter(None, [TITLE, _llc.moves(_llc.trend(rows))]))
    _figure.head(figure, title, [*_llc.handles(rows), *laws])
    _figure.print_note(figure, inputs, _llc.note(inputs, rows))
    columns = ["run_id", *COLUMNS.values(), "loss", "setting", "llc_mean", "llc_se"]
    return figure, pd.concat([rows[[*columns, "status", "status_reason"]], _llc.ends(rows)], axis=1)


def _law(axes, name: str, fit: Fit, variable: str, x: pd.Series):
    """Draw a law of the coefficient, and return its handle.

    Args:
        axes: of the panel.
        name: of the fit.
        fit: of llc_mean.
        variable: letter of the axis.
        x: where the runs are.
    """
    red = _figure.COLOURS[1]
    label = f"{_figure.literal(name)}: {_figure.formula(fit)}"
    if fit.law.variables != (variable,):
        runs = fit.residuals.merge(fit.points[["run_id", COLUMNS[variable]]], on="run_id")
        look = {"marker": "_", "color": red, "zorder": 4}
        return axes.scatter(runs[COLUMNS[variable]], runs["predicted"], s=60, label=label, **look)
    line = np.geomspace(x.min(), x.max(), 100)
    for group in fit.groups:
        there = fit.predict(group, **{variable: line})
        (handle,) = axes.plot(line, there[fit.quantity], color=red, label=label, zorder=2)
        axes.fill_between(line, there["low"], there["high"], color=red, alpha=0.15, linewidth=0)
    return handle
