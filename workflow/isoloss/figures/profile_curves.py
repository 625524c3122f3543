"""How fast a fit gets worse as one parameter is moved, the others at their best."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem
from isoloss.figures import _figure
from isoloss.fitted import quantiles

TITLE = "Profile likelihoods"
ABOUT = (
    "How much worse the fit is with a parameter held at other values, the others fitted again; and"
    " its intervals: where that stays below its limit, as reported, and by the replicates."
)
INPUTS = ["fit/replicates", "fit/profiles"]
MIN_FITS = 1
MAX_FITS = 1
OPTIONS = {"group": "group", "response": "response"}

TOP = 3.0  # of the axis, in limits
SHADE = 0.18  # opacity of the interval by the profile
NONE = "none"  # the method of an interval that was not asked for

problems = _figure.group_problems


def draw(inputs: _figure.Inputs, group: str, response: str):
    """One panel a parameter that is free; a lopsided curve is a lopsided interval."""
    name, fit, group, _ = inputs.shown(group)
    response = inputs.response(response)
    profiles = fit.rows_of("profiles", group, response)
    if profiles.empty:
        do = "set `profiles: true` in the fit (a law with its own estimator has none)"
        raise IsolossError(Problem(f"fit {name}", "no profiles were kept", do))
    params = fit.rows_of("params", group, response).set_index("term")
    thetas = fit.replicate_thetas(group, response)
    terms = [t for t in enumerate(fit.law_of(response).terms) if t[1].name in set(profiles["term"])]
    figure, panels = inputs.canvas.grid(len(terms), 3)
    marks = []
    bootstrapped = False
    for axes, (i, term) in zip(panels, terms, strict=True):
        curve = profiles[profiles["term"] == term.name].sort_values("value")
        drawn = [float(end) for end in quantiles(term.value(thetas[:, i]), fit.level)]
        bootstrapped |= _panel(inputs, axes, term, curve, params.loc[term.name], drawn)
        ends = dict(zip(("replicates_low", "replicates_high"), drawn, strict=True))
        rows = {**params.loc[term.name, ["estimate", "ci_low", "ci_high"]], **ends}
        marks += [{"term": term.name, "what": k, "value": float(v)} for k, v in rows.items()]
    for axes in panels[:: inputs.canvas.columns(len(terms), 3)]:
        axes.set_ylabel("Misfit above the best fit")
    method = params.loc[[t.name for _, t in terms], "ci_method"].mode()[0]
    percent = f"{fit.level * 100:g} %"
    handles = _handles(percent, method, bootstrapped)
    loss = f" of {_figure.literal(response)}" if len(fit.responses) > 1 else ""
    _figure.head(figure, f"Profiles{loss} of {name}: {_figure.formula(fit)}", handles)
    _figure.print_small(figure, inputs, None, group, response)
    _figure.print_note(figure, inputs, _words(percent, method, bootstrapped))
    along = profiles.drop(columns=["group", "response"]).assign(what="profile")
    return figure, pd.concat([along, pd.DataFrame(marks)], ignore_index=True)


def _panel(
    inputs: _figure.Inputs, axes, term, curve: pd.DataFrame, param: pd.Series, drawn: list
) -> bool:
    """The profile of one parameter; whether the replicates have an interval of their own in it.

    Args:
        inputs: of the figure.
        axes: of the panel.
        term: the parameter.
        curve: its rows of `profiles`, by value.
        param: its row of `params`.
        drawn: the interval by the replicates, low and high; NaN where there are none.
    """
    blue, red, green = _figure.COLOURS[:3]
    limit, ends = float(curve["limit"].iloc[0]), [param["ci_low"], param["ci_high"]]
    x, y = _smooth(curve, term.above_zero, float(param["estimate"]))
    axes.fill_between(x, y, limit, where=y <= limit, color=blue, alpha=SHADE, linewidth=0)
    axes.plot(x, y, color=blue, zorder=3)
    axes.plot(curve["value"], curve["excess"], "o", color=blue, markersize=3, zorder=3)
    axes.axhline(limit, color=_figure.GREY, linewidth=1)
    axes.axvline(param["estimate"], color="black", linewidth=1)
    for end in filter(np.isfinite, ends):
        axes.axvline(end, color=red, linewidth=1.2, linestyle="--")
    apart = np.isfinite(drawn).all() and not np.allclose(drawn, ends, rtol=1e-9, equal_nan=True)
    if apart:
        axes.plot(drawn, 2 * [0.12 * TOP * limit], "|-", color=green, markersize=9, linewidth=2)
    seen = x[y <= TOP * limit]
    around = [*seen[[0, -1]], *filter(np.isfinite, ends), *(drawn if apart else [])]
    _axis(axes.xaxis, term.above_zero, min(around), max(around))
    axes.set_ylim(-0.04 * TOP * limit, TOP * limit)
    axes.set_xlabel(inputs.named(term.symbol, term.unit), **_figure.FORMULA)
    interval = units.interval(*ends, units.count) if np.isfinite(ends).any() else "no interval"
    line = "\n" if inputs.in_paper else " "
    title = f"{inputs.named(term.symbol)} = {units.count(param['estimate'], 4)}{line}{interval}"
    axes.set_title(title, size=10, **_figure.FORMULA)
    return bool(apart)


def _handles(percent: str, method: str, bootstrapped: bool) -> list:
    """The legend of all panels."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    blue, red, green = _figure.COLOURS[:3]
    handles = [
        Line2D([], [], color=blue, marker="o", markersize=3, label="misfit, others fitted again"),
        Line2D([], [], color=_figure.GREY, linewidth=1, label=f"its limit for {percent}"),
        Patch(color=blue, alpha=SHADE, linewidth=0, label=f"{percent} interval by the profile"),
        Line2D([], [], color="black", linewidth=1, label="estimate"),
    ]
    if method != NONE:
        look = {"color": red, "linewidth": 1.2, "linestyle": "--"}
        handles.append(Line2D([], [], **look, label=f"{percent} interval reported"))
    if bootstrapped:
        look = {"color": green, "linewidth": 2, "marker": "|", "markersize": 9}
        handles.append(Line2D([], [], **look, label=f"middle {percent} of the replicates"))
    return handles


def _words(percent: str, method: str, bootstrapped: bool) -> str:
    """How the intervals that are drawn were made, and how they differ."""
    parts = [
        "misfit: rise of the objective as a likelihood ratio, with the parameter held and all"
        " others fitted again",
        f"by the profile: where that is below the {percent} limit",
    ]
    if method != NONE:
        parts.append(f"reported: {method}, in brackets above each panel")
    if bootstrapped:
        parts.append(
            f"middle {percent} of the replicates: their quantiles, without the correction for bias"
            if "bias-corrected" in method
            else f"middle {percent} of the replicates: quantiles of the bootstrap replicates"
        )
    return "; ".join(parts)


def _smooth(curve: pd.DataFrame, log: bool, estimate: float) -> tuple[np.ndarray, np.ndarray]:
    """A curve through the points of a profile: its root is close to straight, and so joined."""
    from scipy.interpolate import PchipInterpolator

    sound = curve[np.isfinite(curve["excess"])].drop_duplicates("value")
    value = sound["value"].to_numpy()
    at = np.log(value) if log else value
    centre = np.log(estimate) if log else estimate
    root = np.sign(at - centre) * np.sqrt(np.maximum(sound["excess"].to_numpy(), 0.0))
    fine = np.linspace(at[0], at[-1], 600)
    excess = PchipInterpolator(at, root)(fine) ** 2
    return np.exp(fine) if log else fine, excess


def _axis(axis, log: bool, low: float, high: float) -> None:
    """Few ticks: the panels are small."""
    from matplotlib.ticker import MaxNLocator

    if log:
        margin = (high / low) ** 0.04
        _figure.log_axis(axis, low / margin, high * margin, form=units.count, most=4)
    else:
        margin = 0.04 * (high - low)
        axis.set_major_locator(MaxNLocator(4))
        axis.set_view_interval(low - margin, high + margin, ignore=True)
