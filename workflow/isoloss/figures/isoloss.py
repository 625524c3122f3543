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

LEVELS = 14  # contours at most; at least 5
RIM = 0.06  # of a panel, where labels of contours would be cut off
TEXT = (0.09, 0.055)  # of a panel, that a label takes in width and height
AREA, LARGEST = 30.0, 200.0  # square points of the mark of one run, and of the most runs
Ends = tuple[float, float]

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
    levels, form = contour_levels(float(loss.min()), max(runs["loss"].max(), loss.min() * 1.1))
    lines = axes.contour(n, d, loss, levels=levels, colors=_figure.GREY, linewidths=0.7)
    shared = spots(runs)
    _draw_spots(axes, shared, colour)
    _draw_frontier(axes, frontier, runs["n_flops_6nd"].max(), fit.level)
    _figure.log_axis(axes.xaxis, low_n, high_n, form=units.count)
    _figure.log_axis(axes.yaxis, low_d, high_d, form=units.count)
    _label(axes, lines, form, (low_n, high_n), (low_d, high_d))
    figure.colorbar(colour, ax=axes, label=inputs.label("loss"), pad=0.02)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.1)}
    handles, _ = axes.get_legend_handles_labels()
    columns = 5 if len(handles) < 6 else 3
    axes.legend(**below, ncols=columns, columnspacing=1.2, handletextpad=0.4)
    axes.set_xlabel(inputs.label("n_params"))
    axes.set_ylabel(inputs.label("n_samples"))
    terms = fit.params[fit.params["group"] == group].set_index("symbol")["estimate"]
    values = ", ".join(
        f"{_figure.literal(symbol)} = {units.count(value)}" for symbol, value in terms.items()
    )
    title = f"{name}: {_figure.formula(fit)}\nwith {values}"
    axes.set_title(_figure.wrapped(title, inputs.canvas.title_width(figure)))
    here = ["run_id", "n_params", "n_samples", "loss", "held_out"]
    drawn = pd.concat(
        [
            runs[here].assign(what="run"),
            frontier.rename(columns={"N": "n_params", "D": "n_samples"}).assign(what="frontier"),
        ],
        ignore_index=True,
    )
    _figure.print_small(figure, inputs, drawn, group)
    if shared["n_runs"].max() > 1:
        _figure.print_note(figure, inputs, _words(shared))
    return figure, drawn


def contour_levels(low: float, high: float) -> tuple[np.ndarray, str]:
    """Round levels between two losses, steps of 1, 2 or 5 in a decimal place, and their format.

    Example:
        >>> contour_levels(1.388, 2.281)
        (array([1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2. , 2.1, 2.2]), '%.1f')
    """
    step = (high - low) / LEVELS
    place = np.floor(np.log10(step))
    step = next(s for s in (1.0, 2.0, 5.0, 10.0) if s * 10.0**place >= step * 0.999) * 10.0**place
    decimals = max(0, int(-np.floor(np.log10(step) + 1e-9)))
    counts = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1)
    return np.round(counts * step, decimals), f"%.{decimals}f"


def spots(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs that lie on each other, as one mark each: their number and their mean loss.

    Args:
        runs: with n_params, n_samples, loss and held_out.

    Returns:
        A row a mark, columns n_params, n_samples, loss (means), held_out and n_runs.
    """
    same = [runs["held_out"]]
    same += [
        runs[column].map("{:.2e}".format).rename(column) for column in ("n_params", "n_samples")
    ]
    named = {"n_params": ("n_params", "mean"), "n_samples": ("n_samples", "mean")}
    named |= {"loss": ("loss", "mean"), "n_runs": ("loss", "size")}
    return (
        runs.assign(held_out=runs["held_out"].astype(bool))
        .groupby(same)
        .agg(**named)
        .reset_index(level=0)
    )


def _label(axes, lines, form: str, across: Ends, up: Ends) -> None:
    """Write the level on each contour, at its last place that is well inside the panel.

    Where contours are closer than the text is high, one of them stays without.
    """
    places, last = [], np.array([np.inf, np.inf])
    for path in lines.get_paths():
        x = np.log(path.vertices[:, 0] / across[0]) / np.log(across[1] / across[0])
        y = np.log(path.vertices[:, 1] / up[0]) / np.log(up[1] / up[0])
        inside = np.flatnonzero((np.minimum(x, y) > RIM) & (np.maximum(x, y) < 1 - RIM))
        if len(inside):
            at = inside[np.argmax(x[inside] - y[inside])]
            if (np.abs([x[at], y[at]] - last) > TEXT).any():
                places.append(path.vertices[at])
                last = np.array([x[at], y[at]])
    axes.clabel(lines, fmt=form, fontsize=7.5, inline_spacing=2, manual=places)


def _area(n_runs, most: int):
    """Of a mark, in square points: growing by the same amount with every run that it stands for."""
    return AREA + (np.asarray(n_runs) - 1) * min(AREA, (LARGEST - AREA) / max(1, most - 1))


def _draw_spots(axes, shared: pd.DataFrame, colour) -> None:
    """The runs, coloured by loss; a mark of several is larger."""
    most = int(shared["n_runs"].max())
    for unseen, marker, label in ((False, "o", "runs"), (True, "D", "runs held out")):
        rows = shared[shared["held_out"] == unseen].sort_values("n_runs", ascending=False)
        if len(rows):
            look = {"edgecolor": "white", "linewidth": 0.5, "zorder": 3, "marker": marker}
            areas, shades = _area(rows["n_runs"], most), colour.to_rgba(rows["loss"])
            axes.scatter(rows["n_params"], rows["n_samples"], c=shades, s=areas, **look)
            axes.scatter([], [], color=_figure.GREY, s=AREA, **look, label=label)
    if most > 1:
        look = {"color": _figure.GREY, "edgecolor": "white", "linewidth": 0.5}
        axes.scatter([], [], s=_area(most, most), **look, label=f"{most} runs on one spot")


def _words(shared: pd.DataFrame) -> str:
    """What the sizes of the marks stand for."""
    several = shared[shared["n_runs"] > 1]
    least, most = several["n_runs"].min(), several["n_runs"].max()
    count = f"{most}" if least == most else f"{least} to {most}"
    marks = "1 mark stands" if len(several) == 1 else f"{len(several)} marks each stand"
    return (
        f"{marks} for {count} runs of the same N and D"
        " (to three digits): the area grows with their number, the colour is their mean loss"
    )


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
