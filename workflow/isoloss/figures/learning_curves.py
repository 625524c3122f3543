"""Training loss along every run, and the validation loss at its end."""

from __future__ import annotations

import pandas as pd

from isoloss import units
from isoloss.figures import _figure

TITLE = "Learning curves"
ABOUT = "Training loss of every finished run, the mean since the point before; dots: validation."
INPUTS = ["aggregate/curves"]
MAX_LAWS = 0
OPTIONS = {
    "from_samples": {
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 10000,
        "unit": "tokens",
        "description": "Where the horizontal axis begins, if no run is shorter.",
    },
}


def draw(inputs: _figure.Inputs, from_samples: float):
    """Lines coloured by N."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    done = inputs.done
    from_samples = min(from_samples, done["n_samples"].min() / 2)
    curves = inputs.tables["curves"].merge(done[["run_id", "n_params"]], on="run_id")
    curves = curves[curves["n_samples"] >= from_samples]
    figure, (axes,) = _figure.new()
    sizes = done["n_params"]
    colour = ScalarMappable(LogNorm(sizes.min(), sizes.max()), colormaps[_figure.SEQUENTIAL])
    for _, curve in curves.groupby("run_id"):
        shade = colour.to_rgba(curve["n_params"].iloc[0])
        axes.plot(curve["n_samples"], curve["loss_nats"], color=shade, linewidth=0.8, alpha=0.8)
    shades = colour.to_rgba(done["n_params"])
    axes.scatter(done["n_samples"], done["loss_nats"], c=shades, s=16, zorder=3)
    everything = pd.concat([curves["loss_nats"], done["loss_nats"]])
    last = done["n_samples"].max() * 1.15
    _figure.log_axis(axes.xaxis, from_samples, last, form=units.count)
    _figure.log_axis(axes.yaxis, *_figure.span(everything, 1.03))
    bar = figure.colorbar(colour, ax=axes, label=inputs.label("n_params"), pad=0.02)
    _figure.log_axis(bar.ax.yaxis, sizes.min(), sizes.max(), form=units.count)
    axes.set_xlabel(f"Data seen ({inputs.token}s)")
    axes.set_ylabel(inputs.label("loss_nats"))
    axes.set_title("Learning curves: training loss; dots, validation loss at the end")
    _figure.print_small(figure, inputs)
    ends = done[["run_id", "n_samples", "loss_nats", "n_params"]].assign(what="validation")
    return figure, pd.concat([curves.drop(columns="step").assign(what="training"), ends])
