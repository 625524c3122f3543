"""Predicted against observed loss, held-out runs marked, one panel a law."""

from __future__ import annotations

import pandas as pd

from isoloss.core import units
from isoloss.figures import _figure

TITLE = "Predicted against observed"
ABOUT = "Loss by each law against the loss observed; diamonds are runs that the fit did not see."
MIN_FITS = 1
OPTIONS = {}

problems = _figure.no_problems


def draw(inputs: _figure.Inputs):
    """One panel a law, on the same axes."""
    fits = inputs.fits
    every = pd.concat(
        [fit.residuals.assign(law=name) for name, fit in fits.items()], ignore_index=True
    )
    low, high = _figure.span([*every["loss"], *every["predicted"]], 1.04)
    figure, panels = inputs.canvas.new(4.5 * len(fits), 5.3, len(fits))
    width = inputs.canvas.width(figure) / len(fits)
    for axes, (name, fit) in zip(panels, fits.items(), strict=True):
        axes.plot([low, high], [low, high], color=_figure.GREY, linewidth=1, zorder=1)
        for unseen, marker, colour, label in (
            (False, "o", _figure.COLOURS[0], "fitted"),
            (True, "D", _figure.COLOURS[1], "held out"),
        ):
            rows = fit.residuals[fit.residuals["held_out"] == unseen]
            if len(rows):
                rmse = (rows["residual"] ** 2).mean() ** 0.5
                axes.scatter(
                    rows["predicted"], rows["loss"], s=22, marker=marker, color=colour,
                    alpha=0.75, linewidth=0, zorder=3,
                    label=f"{len(rows)} {label}, RMSE {units.loss(rmse, inputs.loss_unit)}",
                )  # fmt: skip
        for axis in (axes.xaxis, axes.yaxis):
            _figure.log_axis(axis, low, high)
        axes.set_box_aspect(1)
        axes.legend(loc="upper left", handletextpad=0.2)
        axes.set_title(f"{_figure.literal(name)}\n{_figure.wrapped(fit.law.formula, width)}")
        axes.set_xlabel(inputs.label("predicted"))
    panels[0].set_ylabel(inputs.label("observed"))
    _figure.print_small(figure, inputs)
    lines = figure.get_supxlabel().count("\n")
    figure.set_figheight(5.3 + 0.14 * max(0, lines - 1))  # the panels stay square
    return figure, every.drop(columns="response")
