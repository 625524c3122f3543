"""The local learning coefficient of trained models against N, D or C, and against the loss."""

from __future__ import annotations

import pandas as pd

from isoloss.core import units
from isoloss.figures import _figure, _llc

TITLE = "Local learning coefficients of trained models"
ABOUT = (
    "The local learning coefficient (LLC) of every run against N, D or C, and against the loss,"
    " with two standard errors over chains: filled where ok, hollow where the chains are doubtful,"
    " crosses at the lower edge where they failed. Negative values are shown."
)
INPUTS = ["observe/llc"]
MAX_FITS = 0
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
    rows = _llc.measured(inputs.tables["llc"], inputs.runs, setting)
    figure, panels = inputs.canvas.grid(2, 2, 4.6, 3.6)
    colour = _figure.shades(rows[shade])
    colours = colour.to_rgba(rows[shade])
    for axes, column in zip(panels, (x, "loss"), strict=True):
        _llc.points(axes, rows[column], rows, colours)
        _llc.value_axis(axes, rows)
        axes.set_xlabel(inputs.label(column))
    form = units.count if variable != "C" else units.power
    _figure.log_axis(panels[0].xaxis, *_figure.span(rows[x], 1.3), form=form, most=5)
    if (rows["loss"] > 0).all():
        _figure.log_axis(panels[1].xaxis, *_figure.span(rows["loss"], 1.03), most=5)
    panels[0].set_ylabel("Local learning coefficient λ̂")
    panels[1].tick_params(labelleft=False)
    _figure.shade_bar(figure, colour, panels, inputs.label(shade))
    title = "\n".join(filter(None, [TITLE, _llc.moves(_llc.trend(rows))]))
    _figure.head(figure, title, _llc.handles(rows))
    _figure.print_note(figure, inputs, _llc.note(inputs, rows))
    columns = ["run_id", *COLUMNS.values(), "loss", "setting", "llc_mean", "llc_se"]
    return figure, pd.concat([rows[[*columns, "status", "status_reason"]], _llc.ends(rows)], axis=1)
