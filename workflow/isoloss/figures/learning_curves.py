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
    "Training loss of every finished run, the mean since the point before; dots: validation. The"
    " longest run of each size stands out. With a law in N, D or C, what it predicts along the runs"
    " that it was fitted to."
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
    "most": {
        "type": "integer",
        "minimum": 1,
        "maximum": 40,
        "default": 8,
        "unit": "sizes",
        "description": "Sizes whose longest run stands out; the other runs are thin and pale.",
    },
}


CURVE = 80  # points of a predicted curve
STANDING_OUT = {"linewidth": 1.7, "alpha": 1.0, "zorder": 2}
PALE = {"linewidth": 0.5, "alpha": 0.45, "zorder": 1}

problems = _figure.no_problems


def draw(inputs: _figure.Inputs, from_samples: float, most: int):
    """Lines coloured by N, a few of them thick."""
    runs = inputs.runs[inputs.runs["status"] == "done"]
    if runs.empty:
        raise IsolossError(Problem("runs", "none has finished", "look at status_reason"))
    from_samples = min(from_samples, runs["n_samples"].min() / 2)
    curves = inputs.tables["curves"].merge(runs[["run_id", "n_params"]], on="run_id")
    curves = curves[curves["n_samples"] >= from_samples]
    figure, (axes,) = inputs.canvas.new()
    colour = _figure.shades(runs["n_params"])
    laws = predicted(inputs.fits, from_samples)
    shown = longest(runs, most)
    for run_id, curve in curves.groupby("run_id"):
        shade = colour.to_rgba(curve["n_params"].iloc[0])
        look = STANDING_OUT if run_id in shown else PALE
        alpha = look["alpha"] * (0.5 if len(laws) else 1.0)
        axes.plot(curve["n_samples"], curve["loss"], color=shade, **look | {"alpha": alpha})
    for _, curve in laws.groupby(["group", "n_params"]):
        shade = colour.to_rgba(curve["n_params"].iloc[0])
        axes.plot(
            curve["n_samples"], curve["loss"], color=shade, linewidth=1.6, dashes=(4, 2), zorder=3
        )
    ends = runs.assign(shown=runs["run_id"].isin(shown)).sort_values("shown")
    areas = np.where(ends["shown"], 20.0, 7.0)
    axes.scatter(
        ends["n_samples"], ends["loss"], c=colour.to_rgba(ends["n_params"]), s=areas, zorder=4
    )
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
    axes.set_title(_figure.wrapped(title, inputs.canvas.title_width(figure)))
    ends = runs[["run_id", "n_samples", "loss", "n_params"]].assign(what="validation")
    parts = [curves.drop(columns="step").assign(what="training"), ends]
    drawn = pd.concat([*parts, laws] if len(laws) else parts)
    _figure.print_small(figure, inputs, drawn)
    if len(shown) < len(runs):
        _figure.print_note(figure, inputs, _words(runs, shown))
    return figure, drawn


def longest(runs: pd.DataFrame, most: int) -> list[str]:
    """The run of most data of each size, of at most so many sizes, from the least to the greatest.

    Args:
        runs: with run_id, n_params and n_samples.
        most: sizes.

    Returns:
        Their ids, smallest size first.
    """
    of_size = runs.sort_values(["n_params", "n_samples"], kind="stable").groupby("n_params").tail(1)
    at = np.unique(np.linspace(0, len(of_size) - 1, min(most, len(of_size))).round().astype(int))
    return list(of_size["run_id"].iloc[at])


def _words(runs: pd.DataFrame, shown: list[str]) -> str:
    """Which lines are thick."""
    sizes = runs["n_params"].nunique()
    of_all = f"each of the {sizes}" if len(shown) == sizes else f"{len(shown)} of the {sizes}"
    return (
        f"thick: the longest run of {of_all} sizes; thin: the other {len(runs) - len(shown)} runs"
    )


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
