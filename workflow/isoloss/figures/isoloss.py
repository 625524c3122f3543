"""The N-D plane: runs, contours of equal loss by a law, and the efficient frontier."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.figures import _figure

TITLE = "Isoloss contours"
ABOUT = "Runs in the plane of N and D with a law's contours and its efficient frontier."
INPUTS = ["fit/replicates"]
MIN_FITS = 1
MAX_FITS = 1
NEEDS = "allocate"  # of the first law
OPTIONS = {
    "group": "group",
    "reach": {
        "type": "number",
        "minimum": 1,
        "maximum": 1e12,
        "default": 10,
        "unit": "times the largest C",
        "description": "How far beyond the runs the frontier is drawn.",
    },
}


problems = _figure.group_problems


def draw(inputs: _figure.Inputs, group: str, reach: float):
    """Contours and frontier of the first law named, which must allocate."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    name, fit, group, runs = inputs.shown(group)
    flops = np.geomspace(runs["n_flops_6nd"].min() / 2, runs["n_flops_6nd"].max() * reach, 60)
    frontier = fit.allocate(flops, group)
    frontier = frontier[np.isfinite(frontier["N"])]  # none where an exponent is not positive

    low_n, high_n = _figure.span([*runs["n_params"], *frontier["N"]], 1.3)
    low_d, high_d = _figure.span([*runs["n_samples"], *frontier["D"]], 1.3)
    n, d = np.geomspace(low_n, high_n, 200), np.geomspace(low_d, high_d, 200)
    grid_n, grid_d = np.meshgrid(n, d)
    loss = fit.loss(group, N=grid_n.ravel(), D=grid_d.ravel()).reshape(grid_n.shape)

    figure, (axes,) = inputs.canvas.new(7.4, 5.4)
    norm = Normalize(runs["loss"].min(), runs["loss"].max())
    colour = ScalarMappable(norm, colormaps[_figure.SEQUENTIAL + "_r"])
    steps = np.geomspace(loss.min() * 1.02, max(runs["loss"].max(), loss.min() * 1.1), 11)
    levels = np.unique([float(f"{step:.3g}") for step in steps])
    lines = axes.contour(n, d, loss, levels=levels, colors=_figure.GREY, linewidths=0.7)
    axes.clabel(lines, fmt="%.3g", fontsize=7.5, inline_spacing=2)
    seen, unseen = runs[~runs["held_out"]], runs[runs["held_out"]]
    for rows, marker, label in ((seen, "o", "runs"), (unseen, "D", "runs held out")):
        if len(rows):
            shades = colour.to_rgba(rows["loss"])
            axes.scatter(
                rows["n_params"], rows["n_samples"], c=shades, s=30, marker=marker,
                edgecolor="white", linewidth=0.5, zorder=3, label=label,
            )  # fmt: skip
    _draw_frontier(axes, frontier, runs["n_flops_6nd"].max(), fit.level)
    _figure.log_axis(axes.xaxis, low_n, high_n, form=units.count)
    _figure.log_axis(axes.yaxis, low_d, high_d, form=units.count)
    figure.colorbar(colour, ax=axes, label=inputs.label("loss"), pad=0.02)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.1)}
    axes.legend(**below, ncols=5, columnspacing=1.2, handletextpad=0.4)
    axes.set_xlabel(inputs.label("n_params"))
    axes.set_ylabel(inputs.label("n_samples"))
    terms = fit.params[fit.params["group"] == group].set_index("symbol")["estimate"]
    values = ", ".join(
        f"{_figure.literal(symbol)} = {units.count(value)}" for symbol, value in terms.items()
    )
    title = f"{name}: {_figure.formula(fit)}\n{values}"
    axes.set_title(_figure.wrapped(title, inputs.canvas.width(figure)))
    drawn = pd.concat(
        [
            runs[["run_id", "n_params", "n_samples", "loss", "held_out"]].assign(what="run"),
            frontier.rename(columns={"N": "n_params", "D": "n_samples"}).assign(what="frontier"),
        ],
        ignore_index=True,
    )
    _figure.print_small(figure, inputs, drawn, group)
    return figure, drawn


def _draw_frontier(axes, frontier: pd.DataFrame, most: float, level: float) -> None:
    """The best N and D of every budget, dotted beyond the runs, with their interval.

    Args:
        axes: of the plane.
        frontier: allocations by budget.
        most: compute of the largest run.
        level: of the interval.
    """
    inside = frontier[frontier["C"] <= most]
    beyond = frontier[frontier["C"] >= inside["C"].max()]
    red = _figure.COLOURS[1]
    label = "efficient frontier" if len(frontier) else "no frontier: an exponent is not positive"
    axes.plot(inside["N"], inside["D"], color=red, linewidth=2, label=label)
    axes.plot(beyond["N"], beyond["D"], ":", color=red, linewidth=2, label="extrapolated")
    if len(frontier) and frontier["N_low"].notna().all():
        # at a given budget N and D move against each other: the band runs along isoFLOP lines
        around_n = [*frontier["N_low"], *frontier["N_high"][::-1]]
        around_d = [*(frontier["C"] / 6 / frontier["N_low"])]
        around_d += [*(frontier["C"] / 6 / frontier["N_high"])[::-1]]
        label = f"{level * 100:g} % interval"
        axes.fill(around_n, around_d, color=red, alpha=0.15, linewidth=0, label=label)
