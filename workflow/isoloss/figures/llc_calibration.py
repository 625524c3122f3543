"""The local learning coefficient over the settings of its sampler: where it stays the same."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from isoloss.core import units
from isoloss.figures import _figure, _llc

TITLE = "Calibration of the sampler"
ABOUT = (
    "The local learning coefficient (LLC) over the step size lr, a line for every n_beta, a panel"
    " for every run and localization. A wide line marks a plateau: three or more neighbouring step"
    " sizes, all ok, whose LLCs are within 10 % of each other. Take a step size from its middle."
)
INPUTS = ["observe/llc"]
MAX_FITS = 0
OPTIONS = {
    "panels": {
        "type": "integer",
        "minimum": 1,
        "maximum": 24,
        "default": 12,
        "unit": "panels",
        "description": "Panels at most: all localizations of some runs, spread evenly over them.",
    },
}
PANEL = ["n_params", "n_samples", "run_id", "localization"]

problems = _figure.no_problems


def draw(inputs: _figure.Inputs, panels: int):
    """A panel a run and localization; the table has a row a run and setting."""
    rows = _llc.measured(inputs.tables["llc"], inputs.runs)
    cases = _cases(rows, panels)
    betas = sorted(set(rows["n_beta"]))
    lone = len(cases) == 1
    figure, axes_of = inputs.canvas.grid(len(cases), 3, 7.0 if lone else 3.4, 3.8 if lone else 2.6)
    shown = []
    for axes, case in zip(axes_of, cases, strict=True):
        marked = [_line(axes, line, betas) for _, line in case.groupby("n_beta")]
        _llc.value_axis(axes, case)
        _step_axis(axes.xaxis, rows["lr"])
        axes.set_title(_title(case.iloc[0], rows, inputs), size=8.5)
        shown.append(pd.concat(marked))
    across = inputs.canvas.columns(len(cases), 3)
    for axes in axes_of[-across:]:
        axes.set_xlabel("Step size lr", fontsize=9)
    for axes in axes_of[::across]:
        axes.set_ylabel("LLC λ̂")
    drawn = pd.concat(shown, ignore_index=True)
    n, n_runs = drawn["run_id"].nunique(), rows["run_id"].nunique()
    some = f", {n} of {n_runs} runs" if n < n_runs else ""
    title = f"Local learning coefficient over the settings of its sampler{some}"
    _figure.head(figure, title, list(_handles(drawn, betas)))
    _figure.print_note(figure, inputs, _llc.note(inputs, rows))
    columns = [*_llc.OF_RUN, "setting", *_llc.SWEPT, "llc_mean", "llc_se", "status"]
    return figure, drawn[[*columns, "status_reason", "in_plateau"]]


def _cases(rows: pd.DataFrame, most: int) -> list[pd.DataFrame]:
    """What the panels show: the localizations of some runs, spread over all of them."""
    runs = list(dict.fromkeys(rows["run_id"]))
    each = rows["localization"].nunique()
    shown = {runs[i] for i in _llc.spread(len(runs), max(1, most // each))}
    cases = rows[rows["run_id"].isin(shown)].groupby(PANEL, sort=True)
    return [case for _, case in cases][:most]


def _line(axes, rows: pd.DataFrame, betas: list[float]) -> pd.DataFrame:
    """The LLCs of one n_beta; its rows, with the plateau in a column of their own."""
    colour = _colour(rows["n_beta"].iloc[0], betas)
    rows = rows.sort_values("lr", ignore_index=True)
    level = _llc.plateau(rows)
    valued = rows[_llc.usable(rows)]
    axes.plot(valued["lr"], valued["llc_mean"], color=colour, linewidth=1.0, zorder=2)
    if len(level):
        look = {"color": colour, "alpha": 0.3, "linewidth": 8, "solid_capstyle": "round"}
        axes.plot(level["lr"], level["llc_mean"], zorder=1, **look)
    _llc.points(axes, rows["lr"], rows, [colour] * len(rows))
    return rows.assign(in_plateau=rows["setting"].isin(set(level["setting"])))


def _colour(beta: float, betas: list[float]):
    """Of an n_beta: of a few one that is told apart, of many one of a scale."""
    if len(betas) <= len(_figure.COLOURS):
        return _figure.COLOURS[betas.index(beta)]
    from matplotlib import colormaps

    return colormaps[_figure.SEQUENTIAL](betas.index(beta) / (len(betas) - 1))


def _step_axis(axis, steps: pd.Series) -> None:
    """A log axis of step sizes, linear if one is 0; a tick at each of a few."""
    from matplotlib.ticker import FixedLocator, FuncFormatter

    if (steps <= 0).any():
        return
    _figure.log_axis(axis, *_figure.span(steps, 1.5), form=units.power, most=4)
    if steps.nunique() <= 4:
        axis.set_major_locator(FixedLocator(sorted(set(steps))))
        axis.set_major_formatter(FuncFormatter(lambda value, _: units.power(value)))


def _title(row: pd.Series, rows: pd.DataFrame, inputs: _figure.Inputs) -> str:
    size, data = units.count(row["n_params"]), units.count(row["n_samples"])
    parts = [f"N {size}", f"D {data} {_figure.literal(inputs.token, 12)}s"]
    if rows["localization"].nunique() > 1:
        parts.append(f"localization {units.count(row['localization'])}")
    return f"{_figure.literal(row['run_id'], inputs.name_letters)}\n{', '.join(parts)}"


def _handles(drawn: pd.DataFrame, betas: list[float]) -> Iterator:
    from matplotlib.lines import Line2D

    for beta in betas:
        label = f"n_beta {units.count(beta)}"
        yield Line2D([], [], color=_colour(beta, betas), label=label)
    if drawn["in_plateau"].any():
        label = f"plateau: {_llc.FEWEST} or more lr within {100 * _llc.FLAT - 100:g} %"
        look = {"alpha": 0.3, "linewidth": 8, "solid_capstyle": "butt"}
        yield Line2D([], [], color=_figure.GREY, label=label, **look)
    yield from _llc.handles(drawn)
