"""Loss against model size at fixed compute, with a law's curve and optimum for each budget."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss import units
from isoloss.figures import _figure

TITLE = "IsoFLOP profiles"
ABOUT = "Loss of every run against N, one colour a budget; lines: the law along the budget."
INPUTS = ["aggregate/runs", "fit/params", "fit/summary", "fit/residuals"]
MIN_LAWS = 1
OPTIONS = {
    "group": {
        "type": "string",
        "default": "",
        "description": "Group of runs whose fit is shown; the first if empty.",
    },
}


def draw(inputs: _figure.Inputs, group: str):
    """Points are runs, lines the first law named, stars its optima."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    name, fit, group, done = inputs.shown(group)
    done = done.assign(budget=_figure.budgets)
    levels = sorted(done["budget"].unique())
    shades = colormaps[_figure.SEQUENTIAL](np.linspace(0.0, 0.88, len(levels)))
    figure, (axes,) = _figure.new()
    drawn = [done[["n_params", "loss_nats", "budget", "held_out"]].assign(what="run")]
    handles = []
    for level, shade in zip(levels, shades, strict=True):
        mine = done[done["budget"] == level]
        unseen = bool(mine["held_out"].all())
        n = np.geomspace(mine["n_params"].min() / 1.3, mine["n_params"].max() * 1.3, 100)
        line = fit.predict(group, N=n, D=level / 6 / n, C=0 * n + level)
        style = "--" if unseen else "-"
        axes.plot(n, line["loss_nats"], style, color=shade, linewidth=1.2)
        marker = "D" if unseen else "o"
        axes.scatter(
            mine["n_params"], mine["loss_nats"], s=20, marker=marker, color=shade, zorder=3
        )
        drawn.append(
            pd.DataFrame(
                {"n_params": n, "loss_nats": line["loss_nats"], "budget": level, "what": "law"}
            )
        )
        if hasattr(fit.law, "allocate"):
            best = fit.allocate(level, group).iloc[0]
            axes.plot(best["N"], best["loss_nats"], "*", color="black", markersize=9, zorder=4)
            optimum = {"n_params": best["N"], "loss_nats": best["loss_nats"], "budget": level}
            drawn.append(pd.DataFrame([{**optimum, "what": "optimum of the law"}]))
        label = f"C = {units.power(level)} FLOP" + (", held out" if unseen else "")
        handles.append(Line2D([], [], color=shade, marker=marker, linestyle=style, label=label))
    if hasattr(fit.law, "allocate"):
        star = {"color": "black", "marker": "*", "linestyle": "", "markersize": 9}
        handles.append(Line2D([], [], **star, label=f"optimum of {name}"))
    _figure.log_axis(axes.xaxis, *_figure.span(done["n_params"], 1.4), form=units.count)
    _figure.log_axis(axes.yaxis, *_figure.span(done["loss_nats"], 1.04))
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set_xlabel(inputs.label("n_params"))
    axes.set_ylabel(inputs.label("loss_nats"))
    axes.set_title(f"IsoFLOP profiles; lines: {name}, {fit.law.formula}")
    figure.set_figwidth(8.2)
    _figure.print_small(figure, inputs)
    return figure, pd.concat(drawn, ignore_index=True)
