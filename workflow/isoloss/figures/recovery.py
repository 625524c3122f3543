"""A simulated study: how well each estimator recovers the truth, and what its intervals hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.figures import _figure

TITLE = "Recovery of a known law"
ABOUT = (
    "Estimates of simulated studies around the truth, their bias, and the coverage of intervals."
)
INPUTS = ["simulate/recovery", "simulate/trials"]
MAX_FITS = 0
OPTIONS = {
    "quantities": {
        "type": "array",
        "items": {"type": "string"},
        "default": [],
        "description": "Quantities shown, such as [alpha, n_opt]; all if empty.",
    },
}

WIDEST = 5  # panels in a row at most
SHOWN = 0.99  # of the estimates at least, along every axis
CLEAR = 2  # standard errors of a bias that is more than chance
SPREAD = 0.3  # of a column, on either side
GOLDEN = 0.6180339887  # points this share of a column apart fill it evenly
OPTIMUM = {
    "n_opt": "best N at {}",
    "d_opt": "best D at {}",
    "loss_opt": "loss of the optimum at {}",
    "n_exponent": "exponent of N in C at {}",
}

problems = _figure.no_problems


def draw(inputs: _figure.Inputs, quantities: Sequence[str]):
    """A panel a quantity with a column an estimator, and the coverage of all below them."""
    recovery, trials = inputs.tables["recovery"], inputs.tables["trials"]
    recovery, trials = _selected(recovery, quantities), _selected(trials, quantities)
    names = list(dict.fromkeys(recovery["estimator"]))
    cases = list(dict.fromkeys(_cases(recovery)))
    columns = -(-len(cases) // -(-len(cases) // WIDEST))  # rows of about the same length
    width = max(3.1, 6.2 / columns)
    figure, panels = inputs.canvas.stacked(len(cases), columns, width, 2.8)
    for axes, case in zip(panels, cases, strict=False):
        rows = recovery[_is(recovery, case)].set_index("estimator").reindex(names)
        of_case = trials[_is(trials, case)]
        estimates = [_estimates(of_case[of_case["estimator"] == name]) for name in names]
        _draw_estimates(axes, rows, estimates)
        axes.set_title(_figure.wrapped(_title(case), width - 0.6))
    _draw_coverage(panels[-1], recovery, names, cases)
    _figure.head(figure, "Estimates of simulated studies, and their means", _handles(names))
    _figure.print_note(figure, inputs, _note(recovery, names))
    drawn = [trials.assign(what="trial"), recovery.assign(what="recovery")]
    return figure, pd.concat(drawn, ignore_index=True)


Case = tuple[str, float | None]  # a quantity, and its budget in FLOP


def _selected(table: pd.DataFrame, quantities: Sequence[str]) -> pd.DataFrame:
    """Rows of the quantities named; all if none is."""
    known = list(dict.fromkeys(table["quantity"]))
    for name in set(quantities) - set(known):
        reason = f"{name!r} is not estimated"
        raise IsolossError(Problem("quantities", reason, nearest(name, known)))
    return table[table["quantity"].isin(quantities or known)].reset_index(drop=True)


def _cases(table: pd.DataFrame) -> Iterator[Case]:
    for quantity, flops in zip(table["quantity"], table["n_flops"], strict=True):
        yield quantity, None if pd.isna(flops) else float(flops)


def _is(table: pd.DataFrame, case: Case) -> pd.Series:
    """Which rows are of a quantity and budget."""
    quantity, flops = case
    same = table["n_flops"].isna() if flops is None else table["n_flops"] == flops
    return (table["quantity"] == quantity) & same


def _title(case: Case) -> str:
    quantity, flops = case
    if flops is None:
        return _figure.literal(quantity)
    text = OPTIMUM.get(quantity, quantity + " at {}").format(f"{units.power(flops)} FLOP")
    return _figure.literal(text, 80)


def _estimates(trials: pd.DataFrame) -> pd.Series:
    """The estimates that count, by replicate."""
    usable = trials[trials["status"] == "converged"].set_index("replicate")["estimate"]
    usable = usable.astype(float)
    return usable[np.isfinite(usable)]


def _draw_estimates(axes, rows: pd.DataFrame, estimates: list[pd.Series]) -> None:
    """Every estimate as a point, and the mean, with the bias written above it."""
    truth = float(rows["truth"].dropna().iloc[0])
    log = (rows["scale"] == "log").any()
    every = np.concatenate([*estimates, [truth], rows["mean"].dropna().to_numpy(float)])
    low, high = _limits(every, truth, log)
    axes.axhline(truth, color="black", linewidth=1, zorder=2)
    for column, (row, values) in enumerate(zip(rows.itertuples(), estimates, strict=True)):
        colour = _figure.COLOURS[column % len(_figure.COLOURS)]
        at = column + SPREAD * (2 * (values.index.to_numpy() * GOLDEN % 1) - 1)
        axes.scatter(at, values, s=5, color=colour, alpha=0.3, linewidth=0, rasterized=True)
        axes.plot(column, row.mean, "D", markersize=6, color=colour, markeredgecolor="black",
                  zorder=4)  # fmt: skip
        clear = abs(row.bias) > CLEAR * row.bias_se
        look = {"ha": "center", "va": "top", "size": 8, "zorder": 5}
        look |= {"color": "black", "weight": "bold"} if clear else {"color": _figure.GREY}
        place = axes.get_xaxis_transform()
        axes.text(column, 0.985, _bias(row), transform=place, **look)
    axes.set_xticks([])
    axes.set_xlim(-0.6, len(rows) - 0.4)
    if log:
        _figure.log_axis(axes.yaxis, low, high, form=units.count, most=6)
    else:
        axes.set_ylim(low, high)


def _limits(values: np.ndarray, truth: float, log: bool) -> tuple[float, float]:
    """Of an axis: nearly all estimates, the truth, and room for a line of text above them."""
    values = np.log(values[values > 0]) if log else values
    low, high = np.quantile(values, [(1 - SHOWN) / 2, (1 + SHOWN) / 2])
    centre = np.log(truth) if log else truth
    low, high = min(low, centre), max(high, centre)
    length = (high - low) or 0.1 * (1.0 if log else abs(truth) or 1.0)
    low, high = low - 0.06 * length, high + 0.2 * length
    return (float(np.exp(low)), float(np.exp(high))) if log else (float(low), float(high))


def _bias(row) -> str:
    """The bias as people read it: relative where the scale is logarithmic."""
    if not np.isfinite(row.bias):
        return "none"
    if row.scale == "log":
        return f"{100 * np.expm1(row.bias):+.2g} %".replace("-", "−")
    return f"{row.bias:+.2g}".replace("-", "−")


def _draw_coverage(axes, recovery: pd.DataFrame, names: list[str], cases: list[Case]) -> None:
    """The share of intervals that hold the truth, with its own interval, beside the level."""
    shown = recovery.dropna(subset=["coverage"])
    axes.set_title("Coverage of the intervals; line: level")
    axes.set_xticks(range(len(cases)), [_short(case) for case in cases], size=8.5)
    axes.set_xlim(-0.6, len(cases) - 0.4)
    axes.set_ylabel("Share that holds the truth")
    axes.grid(axis="x", visible=False)
    if shown.empty:
        text = "no intervals: set `bootstrap` in the estimators"
        centre = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, text, color=_figure.GREY, size=9, **centre)
        axes.set_yticks([])
        return
    for level in sorted(set(shown["ci_level"].dropna())):
        axes.axhline(level, color="black", linewidth=1, zorder=1)
    for number, case in enumerate(cases):
        for row in shown[_is(shown, case)].itertuples():
            column = names.index(row.estimator)
            at = number + 0.7 * ((column + 0.5) / len(names) - 0.5)
            colour = _figure.COLOURS[column % len(_figure.COLOURS)]
            axes.vlines(at, row.coverage_low, row.coverage_high, color=colour, linewidth=2)
            axes.plot(at, row.coverage, "o", color=colour, markersize=5)
    low = min(shown["coverage_low"].min(), shown["ci_level"].min())
    axes.set_ylim(max(0.0, low - 0.05) if low > 0.2 else -0.03, 1.02)


def _short(case: Case) -> str:
    quantity, flops = case
    name = _figure.literal(quantity, 14)
    return name if flops is None else f"{name}\n{units.power(flops)}"


def _handles(names: list[str]) -> list:
    from matplotlib.lines import Line2D

    handles = []
    for number, name in enumerate(names):
        colour = _figure.COLOURS[number % len(_figure.COLOURS)]
        look = {"linestyle": "none", "marker": "D", "color": colour, "markeredgecolor": "black"}
        handles.append(Line2D([], [], label=_figure.literal(name), **look))
    return [*handles, Line2D([], [], color="black", linewidth=1, label="truth")]


def _note(recovery: pd.DataFrame, names: list[str]) -> str:
    """How many studies there are, and how many do not count."""
    parts = [f"{recovery['n_trials'].max()} simulated studies"]
    for name in names:
        own = recovery[recovery["estimator"] == name]
        lost = int((own["n_trials"] - own["n_converged"]).max())
        parts += [f"{_figure.literal(name)}: up to {lost} without an estimate"] * bool(lost)
    middle = f"the middle {100 * SHOWN:g} % of the estimates are shown"
    return "; ".join(
        [*parts, middle, f"above them: bias of the mean, bold if over {CLEAR} standard errors"]
    )
