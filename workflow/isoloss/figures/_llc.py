"""What figures and the summary of local learning coefficients (LLC) share.

`measured` joins the table `llc` to the runs, `trend` says how the LLC grows with N and D, and
`plateau` over which step sizes it stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem
from isoloss.figures import _figure

STATUSES = ("ok", "warn", "failed")  # of an LLC, the best first
SWEPT = ("lr", "n_beta", "localization")  # settings of which an observation may have several
OF_RUN = ["run_id", "n_params", "n_samples", "n_flops_6nd", "loss"]
ERRORS = 2.0  # standard errors on either side of an LLC that is drawn
FLAT = 1.1  # greatest over least LLC of a plateau
FEWEST = 3  # step sizes of a plateau


def measured(llc: pd.DataFrame, runs: pd.DataFrame, setting: int | None = None) -> pd.DataFrame:
    """The rows of the table `llc` with N, D, C and loss of their runs, in the order of N and D.

    Args:
        llc: of finished runs, all of their settings.
        runs: all runs of the sweep.
        setting: the only one that is kept; None keeps all.

    Raises:
        IsolossError: no run was observed, or none in this setting.
    """
    if llc.empty:
        raise IsolossError(Problem("observation", "no run was observed", "look at `status`"))
    known = sorted(set(llc["setting"]))
    if setting is not None and setting not in known:
        reason = f"no run was observed in setting {setting}"
        raise IsolossError(Problem("setting", reason, f"one of 0 to {known[-1]}"))
    rows = llc if setting is None else llc[llc["setting"] == setting]
    rows = rows.merge(runs[OF_RUN], on="run_id", validate="many_to_one")
    return rows.sort_values(["n_params", "n_samples", "run_id", "setting"], ignore_index=True)


def usable(rows: pd.DataFrame) -> pd.Series:
    """Which rows of `llc` have a value; bool."""
    return (rows["status"] != "failed") & np.isfinite(rows["llc_mean"].astype(float))


# How the LLC moves


@dataclass(frozen=True)
class Exponent:
    """A power of N or D that the LLC grows with.

    Attributes:
        symbol: N or D.
        estimate: of the power.
        std_error: of it, from the residuals.
    """

    symbol: str
    estimate: float
    std_error: float

    def __str__(self) -> str:
        text = f"{self.symbol}^({self.estimate:.2f} ± {self.std_error:.1g})"
        return text.replace("-", "−")


@dataclass(frozen=True)
class Trend:
    """How the LLC of runs moves with N, D and loss.

    Attributes:
        exponents: of N, and of D, as far as the runs tell them apart and are more than what is
            fitted; () where none is known.
        r2: share of the variance of ln LLC that they explain.
        n: runs with a positive LLC, which are those fitted.
        not_positive: runs whose LLC is negative or 0 and has no logarithm.
        rank_correlation: of LLC and loss (Spearman), over all runs with an LLC; NaN for fewer than
            three.
    """

    exponents: tuple[Exponent, ...]
    r2: float
    n: int
    not_positive: int
    rank_correlation: float


def trend(rows: pd.DataFrame) -> Trend:
    """Fit ln LLC by a line in ln N and ln D, by least squares over the runs that have an LLC.

    Args:
        rows: as of `measured`, of one setting.

    Example:
        >>> rows = pd.DataFrame({"n_params": [1e3, 4e3, 1e3, 4e3], "loss": [3, 2, 2.5, 1.5]})
        >>> rows = rows.assign(llc_mean=rows["n_params"] ** 0.5, n_samples=1e5, status="ok")
        >>> [(one.symbol, round(one.estimate, 3)) for one in trend(rows).exponents]
        [('N', 0.5)]
    """
    rows = rows[usable(rows)]
    positive = rows[rows["llc_mean"] > 0]
    several = len(rows) > 2 and rows["llc_mean"].nunique() > 1 and rows["loss"].nunique() > 1
    correlation = rows["llc_mean"].corr(rows["loss"], method="spearman") if several else np.nan
    exponents, r2 = _exponents(positive)
    return Trend(exponents, r2, len(positive), len(rows) - len(positive), float(correlation))


def _exponents(rows: pd.DataFrame) -> tuple[tuple[Exponent, ...], float]:
    """Powers of N and D with their standard errors, and R2; of D none where it follows N."""
    y = np.log(rows["llc_mean"].to_numpy(float))
    design, symbols = np.ones((len(y), 1)), []
    for symbol, column in (("N", "n_params"), ("D", "n_samples")):
        x = np.log(rows[column].to_numpy(float))
        wider = np.column_stack([design, x - x.mean()]) if len(x) else design
        told_apart = np.linalg.matrix_rank(wider, tol=1e-6 * len(x)) == design.shape[1] + 1
        if told_apart and len(y) > wider.shape[1]:
            design, symbols = wider, [*symbols, symbol]
    if not symbols:
        return (), np.nan
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    residuals = y - design @ coefficients
    variance = residuals @ residuals / (len(y) - design.shape[1])
    errors = np.sqrt(np.diag(variance * np.linalg.inv(design.T @ design)))
    total = (y - y.mean()) @ (y - y.mean())
    r2 = 1 - residuals @ residuals / total if total else np.nan
    values = zip(symbols, coefficients[1:], errors[1:], strict=True)
    return tuple(Exponent(s, float(c), float(e)) for s, c, e in values), float(r2)


def moves(of: Trend) -> str:
    """A trend in words; empty where nothing is known of it."""
    parts = []
    if of.exponents:
        powers = " · ".join(map(str, of.exponents))
        above = " with an LLC above 0" if of.not_positive else ""
        parts.append(f"LLC ∝ {powers} over {of.n} runs{above}, R² {of.r2:.3f}")
    if np.isfinite(of.rank_correlation):
        parts.append(f"rank correlation with the loss {of.rank_correlation:.2f}")
    return "; ".join(parts).replace("-", "−")


def plateau(rows: pd.DataFrame) -> pd.DataFrame:
    """The longest stretch of neighbouring step sizes over which the LLC stays the same.

    Its LLCs are positive, of status ok, and the greatest is at most FLAT times the least; there are
    FEWEST of them or more. Of several as long it is the one at the larger step sizes, whose chains
    have moved further.

    Args:
        rows: of `llc`, of one run at one n_beta and localization; a step size each.

    Returns:
        The rows of the plateau by step size; none if there is none.
    """
    rows = rows.sort_values("lr", ignore_index=True)
    sound = ((rows["status"] == "ok") & (rows["llc_mean"] > 0)).to_numpy()
    values, best = rows["llc_mean"].to_numpy(float), slice(0, 0)
    for first in range(len(rows)):
        last = first
        while last < len(rows) and sound[last]:
            some = values[first : last + 1]
            if some.max() > FLAT * some.min():
                break
            last += 1
        if last - first >= max(FEWEST, best.stop - best.start):
            best = slice(first, last)
    return rows.iloc[best]


# What is drawn and told


def spread(count: int, most: int) -> np.ndarray:
    """Positions of at most so many of `count` things, evenly over them; the first and the last.

    >>> spread(10, 4).tolist(), spread(2, 4).tolist()
    ([0, 3, 6, 9], [0, 1])
    """
    return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))


def ends(rows: pd.DataFrame) -> pd.DataFrame:
    """Low and high end of what is drawn of an LLC; the value itself where its error is unknown."""
    reach = ERRORS * rows["llc_se"].astype(float).fillna(0.0)
    return pd.DataFrame({"low": rows["llc_mean"] - reach, "high": rows["llc_mean"] + reach})


def points(axes, x: pd.Series, rows: pd.DataFrame, colours, bar: float = 0.8) -> None:
    """LLCs with their intervals: filled where ok, hollow where doubtful, crosses where failed.

    Args:
        axes: of the panel.
        x: where they are drawn, one a row.
        rows: of `llc`.
        colours: one a row.
        bar: width of the lines of intervals.
    """
    colours, both = np.asarray(colours), ends(rows)
    for status, filled in (("ok", True), ("warn", False)):
        at = (usable(rows) & (rows["status"] == status)).to_numpy()
        axes.vlines(x[at], both["low"][at], both["high"][at], color=colours[at], linewidth=bar)
        face = colours[at] if filled else "white"
        axes.scatter(x[at], rows["llc_mean"][at], s=20, c=face, edgecolors=colours[at], zorder=3)
    lost = ~usable(rows).to_numpy()
    look = {"color": "black", "markersize": 5, "markeredgewidth": 1.4}
    if lost.any():
        axes.plot(x[lost], [0.03] * lost.sum(), "x", transform=axes.get_xaxis_transform(), **look)


def handles(rows: pd.DataFrame) -> list:
    """The legend of `points`, with how many there are of each kind."""
    from matplotlib.lines import Line2D

    counts = counted(rows)
    dot = {"linestyle": "", "marker": "o", "markersize": 4.5, "color": _figure.GREY}
    cross = {"linestyle": "", "marker": "x", "markersize": 5, "color": "black"}
    looks = {"ok": dot, "warn": dot | {"markerfacecolor": "white"}, "failed": cross}
    shown = [
        Line2D([], [], label=f"{status} ({counts[status]})", **looks[status])
        for status in STATUSES
        if counts[status]
    ]
    text = f"± {ERRORS:g} standard errors"
    return [*shown, Line2D([], [], color=_figure.GREY, linewidth=0.8, label=text)]


def counted(rows: pd.DataFrame) -> dict[str, int]:
    """How many LLCs have which status."""
    return {status: int((rows["status"] == status).sum()) for status in STATUSES}


def in_place_of_values(axes, text: str) -> None:
    """Say in a panel why nothing is drawn there, and leave out the ticks of its values."""
    axes.set_yticks([])
    centre = {"ha": "center", "va": "center", "transform": axes.transAxes}
    axes.text(0.5, 0.5, text, color=_figure.GREY, size=9, **centre)


def value_axis(axes, rows: pd.DataFrame, further: Sequence[float] = ()) -> None:
    """Set the axis of the LLC, so that all values and their intervals are seen.

    An interval that reaches 0 is cut off where the axis is logarithmic.

    Args:
        axes: of the panel.
        rows: of `llc`, which are drawn.
        further: other values that are drawn.
    """
    rows = rows[usable(rows)]
    values, both = rows["llc_mean"].to_numpy(float), ends(rows)
    if not len(values):
        in_place_of_values(axes, "no LLC: every chain failed")
        return
    low, high = min([both["low"].min(), *further]), max([both["high"].max(), *further])
    signed_axis(axes, np.append(values, further), low, high)


def signed_axis(axes, values: np.ndarray, low: float, high: float) -> None:
    """A y axis of values of any sign: logarithmic where all are positive.

    Args:
        axes: of the panel.
        values: what is drawn, (n,), finite.
        low: the least to be seen; where the axis is logarithmic a fourth of the least value at
            least.
        high: the greatest.
    """
    if (values > 0).all():
        low = max(low, values.min() / 4)
        margin = max(1.05, (high / low) ** 0.08)
        _figure.log_axis(axes.yaxis, low / margin, high * margin, form=units.count, most=6)
        return
    _axis_around_zero(axes, values, float(low), float(high))
    axes.axhline(0, color=_figure.GREY, linewidth=0.8, zorder=1)


def _axis_around_zero(axes, values: np.ndarray, low: float, high: float) -> None:
    """A linear axis, or one that is linear up to the decade of the smaller values."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    sizes = np.abs(values[values != 0])
    small = np.quantile(sizes, 0.25) if len(sizes) else 1.0
    most = max(-low, high)
    margin = 0.06 * ((high - low) or 1.0)
    if most < 30 * small:
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(6))
    else:
        near = 10 ** np.floor(np.log10(max(small, most / 1e6)))
        axes.set_yscale("symlog", linthresh=near, linscale=0.7)
        axes.set_ylim(min(1.4 * low, -0.3 * near), max(1.4 * high, 0.3 * near))
        decades = near * 10.0 ** np.arange(np.floor(np.log10(max(most, near) / near)) + 1)
        decades = decades[:: -(-len(decades) // 4)]
        ticks = [t for t in (*-decades[::-1], 0.0, *decades) if 1.4 * low <= t <= 1.4 * high]
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: units.count(v).replace("-", "−")))


def sampler(rows: pd.DataFrame) -> str:
    """How the samples of some LLCs were drawn, in a few words."""
    parts = [f"lr {_range(rows['lr'], units.power)}"]
    parts += [f"{name} {_range(rows[name])}" for name in SWEPT[1:]]
    chains, draws = _range(rows["num_chains"]), _range(rows["num_draws"])
    return ", ".join([*parts, f"{chains} chains of {draws} draws"])


def _range(values: pd.Series, form=units.count) -> str:
    least, most = values.min(), values.max()
    return form(least) if least == most else f"{form(least)} to {form(most)}"


def health(rows: pd.DataFrame, escape: Callable[[str], str]) -> list[str]:
    """How many LLCs have which status, with the most common reason of each that is not ok.

    Args:
        rows: of `llc`.
        escape: for reasons.
    """
    parts = []
    for status, count in counted(rows).items():
        given = rows.loc[rows["status"] == status, "status_reason"].dropna()
        common = given[given != ""].value_counts(sort=False).nlargest(1)
        why = [
            f" ({'such as ' * (number < count)}{escape(reason)})"
            for reason, number in common.items()
        ]
        parts += [f"{count} {status}{''.join(why)}"] * (count > 0)
    return parts


def note(inputs: _figure.Inputs, rows: pd.DataFrame) -> str:
    """How many runs there are, how their LLCs were sampled, and why some are doubted.

    Args:
        inputs: of the figure.
        rows: of `llc`, all that the figure is about.
    """
    observed, finished = rows["run_id"].nunique(), int((inputs.runs["status"] == "done").sum())
    negative = int((rows["llc_mean"] < 0).sum())
    return "; ".join(
        [
            _figure.small_print(replace(inputs, fits={}), rows),
            *[f"{finished - observed} not observed"] * (observed < finished),
            sampler(rows),
            f"LLC: {', '.join(health(rows, partial(_figure.literal, most=2 * _figure.REASON)))}",
            *[f"{negative} negative"] * (negative > 0),
        ]
    )
