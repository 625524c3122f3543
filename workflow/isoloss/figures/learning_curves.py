"""Training loss along every run, and the validation loss at its end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem
from isoloss.figures import _figure
from isoloss.fitted import Fit

TITLE = "Learning curves"
ABOUT = (
    "Training loss of every finished run, the mean since the point before; dots: validation. With"
    " a law in N, D or C, what it predicts along the runs that it was fitted to."
)
INPUTS = ["aggregate/curves"]
MAX_FITS = 1
FITS_OF = "loss"
VARIABLES = ["N", "D", "C"]  # of a law that it can show
OPTIONS = {
    "from_samples": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1e15,
        "default": 10000,
        "unit": "tokens",
        "description": "Where the horizontal axis begins, if no run is shorter.",
    },
}


CURVE = 80  # points of a predicted curve

problems = _figure.no_problems


def draw(inputs: _figure.Inputs, from_samples: float):
    """Lines coloured by N."""
    runs = inputs.runs[inputs.runs["status"] == "done"]
    if runs.empty:
        raise IsolossError(Problem("runs", "none has finished", "look at status_reason"))
    from_samples = min(from_samples, runs["n_samples"].min() / 2)
    curves = inputs.tables["curves"].merge(runs[["run_id", "n_params"]], on="run_id")
    curves = curves[curves["n_samples"] >= from_samples]
    figure, (axes,) = inputs.canvas.new()
    colour = _figure.shades(runs["n_params"])
    laws = predicted(inputs.fits, from_samples)
    for _, curve in curves.groupby("run_id"):
        shade = colour.to_rgba(curve["n_params"].iloc[0])
        alpha = 0.35 if len(laws) else 0.8
        axes.plot(curve["n_samples"], curve["loss"], color=shade, linewidth=0.8, alpha=alpha)
    for _, curve in laws.groupby(["group", "n_params"]):
        shade = colour.to_rgba(curve["n_params"].iloc[0])
        axes.plot(curve["n_samples"], curve["loss"], color=shade, linewidth=1.6, dashes=(4, 2))
    shades = colour.to_rgba(runs["n_params"])
    axes.scatter(runs["n_samples"], runs["loss"], c=shades, s=16, zorder=3)
    everything = pd.concat([curves["loss"], runs["loss"]])
    last = runs["n_samples"].max() * 1.15
    _figure.log_axis(axes.xaxis, from_samples, last, form=units.count)
    _figure.log_axis(axes.yaxis, *_figure.span(everything, 1.03))
    _figure.shade_bar(figure, colour, [axes], inputs.label("n_params"))
    axes.set_xlabel(f"Data seen ({_figure.literal(inputs.token)}s)")
    axes.set_ylabel(inputs.label("loss"))
    title = "Learning curves: training loss; dots, validation loss at the end"
    for name, fit in inputs.fits.items():
        title += f"\ndashed: {_figure.literal(name)}, {_figure.formula(fit)}"
    axes.set_title(_figure.wrapped(title, inputs.canvas.width(figure)))
    ends = runs[["run_id", "n_samples", "loss", "n_params"]].assign(what="validation")
    parts = [curves.drop(columns="step").assign(what="training"), ends]
    drawn = pd.concat([*parts, laws] if len(laws) else parts)
    _figure.print_small(figure, inputs, drawn)
    return figure, drawn


def predicted(fits: Mapping[str, Fit], from_samples: float) -> pd.DataFrame:
    """What a fit predicts along the longest of its runs of every group and size."""
    curves_of_law = [pd.DataFrame(columns=["group", "n_params", "n_samples", "loss"])]
    for fit in fits.values():
        longest = fit.points.groupby(["group", "n_params"])["n_samples"].max()
        for (group, n), last in longest.items():
            d = np.geomspace(from_samples, max(last, 1.01 * from_samples), CURVE)
            given = {"N": n, "D": d, "C": 6 * n * d}
            loss = fit.loss(str(group), **{v: given[v] for v in fit.law.variables})
            columns = {"n_params": n, "n_samples": d, "loss": loss, "what": "law"}
            curves_of_law.append(pd.DataFrame({"group": group, **columns}))
    return pd.concat(curves_of_law[1:] or curves_of_law, ignore_index=True)
