"""The replicates of a fit: every parameter, and every pair of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.figures import _figure
from isoloss.laws._law import Term

TITLE = "Bootstrap replicates"
ABOUT = "Replicates of every pair of parameters, each parameter's histogram, and correlations."
INPUTS = ["fit/replicates"]
MIN_FITS = 1
MAX_FITS = 1
OPTIONS = {
    "group": "group",
    "response": "response",
    "terms": {
        "type": "array",
        "items": {"type": "string"},
        "default": [],
        "description": "Parameters shown, such as [A, alpha]; the first ten free ones if empty.",
    },
}

MOST = 10  # parameters, unless they are named
SHOWN = 0.998  # of the replicates, at least, along every axis

problems = _figure.group_problems


def draw(inputs: _figure.Inputs, group: str, response: str, terms: Sequence[str]):
    """Scatter below the diagonal, correlation of theta above; fixed terms are omitted."""
    name, fit, group, _ = inputs.shown(group)
    response = inputs.response(response)
    thetas = fit.replicate_thetas(group, response)
    params = fit.rows_of("params", group, response)
    law = fit.law_of(response)
    free = [i for i in range(len(law.terms)) if len(thetas) < 2 or np.ptp(thetas[:, i]) > 0]
    known = [law.terms[i].name for i in free]
    for term in set(terms) - set(known):
        reason = f"term {term!r} is not free in it"
        raise IsolossError(Problem(f"fit {name}", reason, nearest(term, known)))
    kept = [i for i in free if law.terms[i].name in terms] if terms else free[:MOST]
    if not kept:
        raise IsolossError(Problem(f"fit {name}", "no parameter is free", "show another fit"))
    params, thetas, terms = params.iloc[kept], thetas[:, kept], [law.terms[i] for i in kept]
    values = [t.value(thetas[:, i]) for i, t in enumerate(terms)]
    estimates = params["estimate"].to_numpy(float)
    limits = [_limits(v, e, t.above_zero) for v, e, t in zip(values, estimates, terms, strict=True)]
    size = len(terms)
    correlation = None
    if len(thetas) > 1:
        correlation = np.corrcoef(thetas, rowvar=False).reshape(size, size)

    figure, panels = inputs.canvas.matrix(size)
    panels = panels.reshape(size, size)
    most = 2 if inputs.in_paper else 3  # numbers on an axis
    for row in range(size):
        for column in range(size):
            axes = panels[row, column]
            if column > row:
                _correlation(axes, None if correlation is None else correlation[row, column])
                continue
            if row == column:
                _histogram(axes, values[row], params.iloc[row], limits[row], terms[row].above_zero)
            else:
                _scatter(axes, values[column], values[row], thetas[:, [column, row]])
                axes.plot(estimates[column], estimates[row], "+", color="black", markersize=9)
                _axis(axes.yaxis, terms[row].above_zero, limits[row], most)
            _axis(axes.xaxis, terms[column].above_zero, limits[column], most)
            axes.tick_params(labelsize=7.5, labelbottom=row == size - 1)
            axes.tick_params(labelleft=column == 0 and row > 0)
            if row == size - 1:
                axes.set_xlabel(_label(inputs, terms[column]), size=9, **_figure.FORMULA)
            if column == 0 and row > 0:
                axes.set_ylabel(_label(inputs, terms[row]), size=9, **_figure.FORMULA)
    for axes, term, row in zip(np.diag(panels), terms, params.itertuples(), strict=True):
        _title(inputs, axes, term, row)
    loss = f" of {_figure.literal(response)}" if len(fit.responses) > 1 else ""
    count = f"{len(thetas)} replicates" if len(thetas) else "no replicates: raise `bootstrap`"
    title = f"Bootstrap{loss} of {name}, {count}: {_figure.formula(fit)}\n"
    if len(kept) < len(free):
        title += f"{len(kept)} of {len(free)} parameters; "
    title += "above the diagonal: correlations, of logarithms where the axis has them"
    _figure.head(figure, title, _handles(fit))
    _figure.print_small(figure, inputs, None, group, response)
    drawn = pd.DataFrame({t.name: v for t, v in zip(terms, values, strict=True)})
    best = pd.DataFrame([dict(zip(params["term"], estimates, strict=True))])
    return figure, pd.concat(
        [best.assign(what="estimate"), drawn.assign(what="replicate")], ignore_index=True
    )


def _title(inputs: _figure.Inputs, axes, term: Term, row) -> None:
    """The estimate of a parameter above its histogram; in a paper without the interval."""
    symbol = inputs.named(term.symbol)
    if inputs.in_paper:  # panels are small
        axes.set_title(f"{symbol} = {units.count(row.estimate)}", size=7, **_figure.FORMULA)
        return
    interval = units.interval(row.ci_low, row.ci_high, units.count)
    title = f"{symbol} = {units.count(row.estimate, 4)}\n{interval}"
    axes.set_title(title, size=8.5, **_figure.FORMULA)


def _label(inputs: _figure.Inputs, term: Term) -> str:
    """A parameter with its unit, on its own line where a domain's name is written out.

    In a paper it is the symbol alone: panels are small.
    """
    if inputs.in_paper:
        return inputs.named(term.symbol)
    name, whole = inputs.named(term.symbol), inputs.named(term.symbol, term.unit)
    return whole if name.startswith("$") else "\n".join([name, whole[len(name) + 1 :]]).rstrip()


def _limits(values: np.ndarray, estimate: float, log: bool) -> tuple[float, float]:
    """Of an axis: the estimate, nearly all replicates and a margin; 1 and 10 where there are none.

    A fit without an estimate has neither.
    """
    if not np.isfinite(estimate):
        return 1.0, 10.0
    at = np.log([*values, estimate]) if log else np.array([*values, estimate])
    inner = [(1 - SHOWN) / 2, 0.5 + SHOWN / 2]
    low, high = np.quantile(at, inner)
    low, high = min(low, at[-1]), max(high, at[-1])
    margin = 0.08 * (high - low) or 0.1 * (1.0 if log else abs(estimate) or 1.0)
    low, high = low - margin, high + margin
    return (float(np.exp(low)), float(np.exp(high))) if log else (float(low), float(high))


def _axis(axis, log: bool, limits: tuple[float, float], most: int) -> None:
    """Limits of an axis, and at most so many ticks."""
    from matplotlib.ticker import MaxNLocator

    if log:
        _figure.log_axis(axis, *limits, form=units.count, most=most)
    else:
        axis.set_major_locator(MaxNLocator(most))
        axis.set_view_interval(*limits, ignore=True)


def _scatter(axes, x: np.ndarray, y: np.ndarray, thetas: np.ndarray) -> None:
    """Points in the colour of how many lie around them, by panel; the densest on top."""
    from scipy.ndimage import gaussian_filter

    if len(x) < 2:
        return
    inner = np.quantile(thetas, [0.005, 0.995], axis=0)
    edges = [np.linspace(a, b, 41) for a, b in inner.T]
    if not all(np.all(np.diff(e) > 0) for e in edges):
        return
    inside = np.clip(thetas, *inner)
    counts = gaussian_filter(np.histogramdd(inside, edges)[0], 2)
    cell = [np.clip(np.searchsorted(e, v) - 1, 0, 39) for e, v in zip(edges, inside.T, strict=True)]
    density = counts[tuple(cell)]
    order = np.argsort(density, kind="stable")
    axes.scatter(
        x[order], y[order], c=density[order], cmap=_figure.SEQUENTIAL, s=4, linewidth=0,
        rasterized=True,
    )  # fmt: skip


def _histogram(axes, values: np.ndarray, estimate, limits: tuple[float, float], log: bool) -> None:
    edges = np.geomspace(*limits, 31) if log else np.linspace(*limits, 31)
    axes.hist(values, bins=edges, color=_figure.COLOURS[5])
    axes.axvline(estimate["estimate"], color="black", linewidth=1)
    for end in (estimate["ci_low"], estimate["ci_high"]):
        if np.isfinite(end):
            axes.axvline(end, color=_figure.COLOURS[1], linewidth=1.2, linestyle="--")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _correlation(axes, value: float | None) -> None:
    axes.set_axis_off()
    if value is None:
        return
    shade = str(round(0.55 * (1 - abs(float(value))), 3))
    look = {"ha": "center", "va": "center", "transform": axes.transAxes}
    text = f"{value:+.2f}".replace("-", "−")
    axes.text(0.5, 0.5, text, size=9 + 4 * abs(float(value)), color=shade, **look)


def _handles(fit) -> list:
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    percent = f"{fit.level * 100:g} % interval"
    few, many = colormaps[_figure.SEQUENTIAL]([0.0, 1.0])
    dot = {"marker": "o", "linestyle": "", "markersize": 4}
    return [
        Line2D([], [], color="black", linewidth=1, marker="+", label="estimate"),
        Line2D([], [], color=_figure.COLOURS[1], linestyle="--", label=percent),
        Line2D([], [], color=few, **dot, label="few replicates nearby"),
        Line2D([], [], color=many, **dot, label="many"),
    ]
