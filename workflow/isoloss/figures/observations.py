"""What was measured of trained models, against their size."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import registry, units
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.figures import _figure

TITLE = "Observations of trained models"
ABOUT = (
    "A quantity of an observable against N, D or C: a panel a part of the model, a point a run;"
    " lines join the geometric means."
)
INPUTS = ["observe/observations"]
MAX_FITS = 0
OPTIONS = {
    "quantity": {
        "type": "string",
        "default": "",
        "description": "Quantity of the observable that is shown; its first if empty.",
    },
    "variable": {
        "type": "string",
        "enum": ["N", "D", "C"],
        "default": "N",
        "description": "The variable x: parameters N, tokens D or compute C.",
    },
}
COLUMNS = {"N": "n_params", "D": "n_samples", "C": "n_flops_6nd"}
MOST_PANELS = 24

problems = _figure.no_problems


def draw(inputs: _figure.Inputs, quantity: str, variable: str):
    """One panel a part, on common axes."""
    from matplotlib.lines import Line2D

    x = COLUMNS[variable]
    shade = "n_params" if variable == "D" else "n_samples"
    runs = inputs.finished[["run_id", "n_params", "n_samples", "n_flops_6nd"]]
    seen, facts = _shown(inputs.tables["observations"], quantity)
    seen = seen.merge(runs, on="run_id", validate="many_to_one")
    counts = seen.groupby("run_id")["part"].size()
    richest = seen[seen["run_id"] == counts.idxmax()]["part"]
    parts = list(dict.fromkeys([*richest, *seen["part"]]))
    figure, panels = inputs.canvas.grid(min(len(parts), MOST_PANELS), 3, height=2.3)
    colour = _figure.shades(seen[shade])
    drawn = []
    for axes, part in zip(panels, parts, strict=False):
        rows = seen[seen["part"] == part].sort_values([x, "run_id"])
        means = np.exp(np.log(rows["value"]).groupby(rows[x]).mean())
        axes.plot(means.index, means, color=_figure.GREY, linewidth=1.0, zorder=1)
        axes.scatter(rows[x], rows["value"], c=colour.to_rgba(rows[shade]), s=16, zorder=2)
        form = units.count if variable != "C" else "{:.0e}".format
        _figure.log_axis(axes.xaxis, *_figure.span(seen[x]), form=form, most=4)
        _figure.log_axis(axes.yaxis, *_figure.span(seen["value"], 1.1), most=5)
        axes.set_title(_figure.literal(part), fontsize=9)
        drawn.append(rows)
    for axes in panels[-inputs.canvas.columns(len(panels), 3) :]:
        axes.set_xlabel(inputs.label(x), fontsize=8)
    unit = "" if facts["unit"] == "1" else f" ({facts['unit']})"
    figure.supylabel(f"{facts['title']}{unit}", fontsize=9)
    _figure.shade_bar(figure, colour, panels, inputs.label(shade))
    shown = "" if len(parts) <= MOST_PANELS else f", {MOST_PANELS} of {len(parts)} parts"
    handle = Line2D(
        [], [], color=_figure.GREY, label=f"geometric mean of the runs of one {variable}"
    )
    _figure.head(figure, f"{facts['title']} of trained models{shown}", [handle])
    columns = ["run_id", "part", "quantity", "value", *COLUMNS.values()]
    table = pd.concat(drawn, ignore_index=True)[columns]
    _figure.print_small(figure, inputs, table)
    return figure, table


def _shown(table: pd.DataFrame, quantity: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """The rows of one quantity, and what its observable says of it.

    Raises:
        IsolossError: the observable has no such quantity, or it is not positive everywhere.
    """
    if table.empty:
        raise IsolossError(Problem("observations", "no run was observed", "look at `status`"))
    known = registry.facts("observable", table["observable"].iloc[0])["QUANTITIES"]
    quantity = quantity or next(iter(known))
    if quantity not in known:
        reason = f"the observable has no {quantity!r}"
        raise IsolossError(Problem("quantity", reason, nearest(quantity, known)))
    rows = table[table["quantity"] == quantity]
    if not (rows["value"] > 0).all():
        reason = f"{quantity} is not positive everywhere, and the axis is logarithmic"
        raise IsolossError(Problem("quantity", reason, "show another quantity"))
    return rows, known[quantity]
