"""Residuals of a fit against model size, data and compute."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.figures import _figure
from isoloss.fitted import Fit

TITLE = "Residuals"
ABOUT = (
    "Observed over predicted loss, in percent, against N, D, C and the law's other variables;"
    " diamonds are held out. Of values of both signs the difference."
)
MIN_FITS = 1
MAX_FITS = 1
OPTIONS = {"group": "group", "response": "response"}


EXACT = 1e-9  # residuals that differ by less are those of exact values
AGAINST = {"n_params": units.count, "n_samples": units.count, "n_flops_6nd": units.power}

problems = _figure.group_problems


def draw(inputs: _figure.Inputs, group: str, response: str):
    """One panel for each quantity; a slope or curve shows what the law does not describe."""
    name, fit, group, runs = inputs.shown(group)
    response = inputs.response(response)
    known = [c for c in AGAINST if (runs[c].astype(float) > 0).all() and runs[c].nunique() > 1]
    further = [] if fit.law.proportions else _further(fit, runs)
    known = [*known, *further] if {"N", "D", "C"} & {*fit.law.variables} else [*further, *known]
    drawn = fit.rows_of("residuals", group, response)
    relative = bool((drawn["loss"] > 0).all())
    drawn = drawn.drop(columns="residual") if relative else drawn
    drawn = drawn.merge(runs[["run_id", *known]], on="run_id")
    known = known or ["predicted"]  # of runs that differ in their mixture only
    if relative:
        drawn["residual_percent"] = 100 * (drawn["loss"] / drawn["predicted"] - 1)
    shown = "residual_percent" if relative else "residual"
    fitted = drawn.loc[~drawn["held_out"], shown]
    spread = 1.4826 * float((fitted - fitted.median()).abs().median())

    figure, panels = inputs.canvas.grid(len(known), 3, 3.7 if len(known) > 1 else 7.0, 3.2)
    across = inputs.canvas.columns(len(known), 3)
    for column, axes in zip(known, panels, strict=True):
        axes.axhspan(-2 * spread, 2 * spread, color=_figure.GREY, alpha=0.15, linewidth=0)
        axes.axhline(0, color=_figure.GREY, linewidth=1)
        for unseen, look in _looks().items():
            rows = drawn[drawn["held_out"] == unseen]
            axes.scatter(rows[column], rows[shown], **look)
        margin = 1.02 if column == "predicted" else 1.3
        _figure.axis_of(axes.xaxis, drawn[column], margin, AGAINST.get(column), most=5)
        axes.set_ylim(*_limits(drawn[shown], 2 * spread))
        axes.set_xlabel(inputs.label(column))
        axes.tick_params(labelleft=axes in panels[::across])
    unit = "" if inputs.unit == "1" else f" ({_figure.literal(inputs.unit)})"
    of_predicted = f" (% of the predicted {inputs.quantity})"
    panels[0].set_ylabel("Residual" + (of_predicted if relative else unit))
    loss = f" of {_figure.literal(response)}" if len(fit.responses) > 1 else ""
    _figure.head(
        figure,
        f"Residuals{loss} of {name}: {_figure.formula(fit)}",
        _handles(spread, drawn["held_out"], " %" if relative else ""),
    )
    _figure.print_small(figure, inputs, drawn, group, response)
    return figure, drawn


def _further(fit: Fit, runs: pd.DataFrame) -> list[str]:
    """The columns of the law's variables beside N, D and C, where they differ between the runs."""
    names = [name for name in fit.law.variables if name not in ("N", "D", "C")]
    columns = [_figure.column_of(name) for name in names]
    return [name for name in columns if name in runs and runs[name].nunique() > 1]


def _looks() -> dict:
    """Of runs fitted and held out."""
    blue, red = _figure.COLOURS[:2]
    return {
        False: {"s": 18, "color": blue, "alpha": 0.75, "linewidth": 0, "zorder": 3},
        True: {"s": 24, "color": red, "marker": "D", "linewidth": 0, "zorder": 4},
    }


def _handles(spread: float, held_out, unit: str) -> list:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    blue, red = _figure.COLOURS[:2]
    dot = {"linestyle": "", "markersize": 4.5}
    handles = [Line2D([], [], marker="o", color=blue, label="fitted", **dot)]
    if held_out.any():
        handles.append(Line2D([], [], marker="D", color=red, label="held out", **dot))
    text = f"± 2 robust SD of the fitted: {2 * spread:.2g}{unit}"
    return [*handles, Patch(color=_figure.GREY, alpha=0.15, linewidth=0, label=text)]


def _limits(values, least: float) -> tuple[float, float]:
    """Of an axis: all values, the band, and a margin; -1 to 1 of a fit without an estimate."""
    if not np.isfinite(values).any():
        return -1.0, 1.0
    low, high = min(values.min(), -least), max(values.max(), least)
    margin = 0.06 * (high - low) if high - low > EXACT else 1.0
    return float(np.round(low - margin, 9)), float(np.round(high + margin, 9))
