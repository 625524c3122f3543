"""What all figures share: their inputs, the style, axes with units, and the small print.

Text is drawn as it is, and is no formula unless a card says so (FORMULA); names from data go
through `literal`. Every card ends with `print_small`.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.budgets import budget_numbers
from isoloss.core.escape import figure as literal
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.units import NATS
from isoloss.fitted import Fit
from isoloss.fitted.facts import OneFit, Record, RunCounts, count_runs, record, selection
from isoloss.fitted.names import RESPONSE, equation
from isoloss.fitted.ties import tied_symbols, with_ties

# Okabe and Ito's colours, told apart with every common colour blindness.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
GREY = "#6b6b6b"
SEQUENTIAL = "viridis"
STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,
    "svg.hashsalt": "isoloss",
}
FORMULA = {"gid": "formula"}  # of a label that holds one, as `Inputs.named` makes them
LETTERS = 11.5  # of a title on an inch
STATUSES = ("dropped", "diverged", "failed")  # of runs that are not shown
REASON = 100  # characters of a reason in the small print
LABELS = {
    "n_params": "Model size N (parameters)",
    "n_samples": "Training data D ({token}s)",
    "n_flops_6nd": "Training compute 6 N D (FLOP)",
    "tokens_per_parameter": "{token}s per parameter D/N",
    "loss": "Loss L ({loss_unit})",
    "predicted": "Predicted loss ({loss_unit})",
    "observed": "Observed loss ({loss_unit})",
    "rmse": "RMSE of the loss ({loss_unit})",
}
# labels where the fits shown are of another quantity, by its name
OBSERVED = {
    "loss": "{}",
    "predicted": "Predicted {}",
    "observed": "Observed {}",
    "rmse": "RMSE of {}",
}


class Canvas:
    """Where a card draws: a figure of its own, or Axes that were given.

    Attributes:
        given: the Axes that were given, or None.
        panels: the Axes that the card draws on, (n,), once it has asked for them; those of colour
            bars are not among them.
    """

    def __init__(self, given=None, make=None):
        """Draw on the Axes `given`, or on a figure that `make(figsize=...)` returns."""
        self.given = given
        self.panels = np.empty(0, dtype=object)
        self._make = make

    def new(self, width: float = 6.4, height: float = 4.6, columns: int = 1, **settings):
        """A figure, inches, and the Axes of its one row."""
        if self.given is None or columns > 1:
            figure = self._figure(width, height)
            self.panels = figure.subplots(1, columns, squeeze=False, **settings)[0]
        else:
            figure, self.panels = self.given.figure, np.array([self.given], dtype=object)
        return figure, self.panels

    def grid(self, count: int, columns: int, width: float = 3.4, height: float = 2.9):
        """A figure of several panels, inches each, row by row, and their Axes."""
        columns = min(columns, count)
        rows = -(-count // columns)
        figure = self._figure(width * columns, height * rows + 0.9)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for spare in panels[count:]:
            spare.set_visible(False)
        self.panels = panels[:count]
        return figure, self.panels

    def stacked(self, count: int, columns: int, width: float = 3.4, height: float = 2.9):
        """As `grid`, and one panel more, over the whole width, below the others."""
        columns = min(columns, count)
        rows = -(-count // columns)
        figure = self._figure(width * columns, height * (rows + 1) + 0.9)
        cells = figure.add_gridspec(rows + 1, columns)
        panels = [figure.add_subplot(cells[i // columns, i % columns]) for i in range(count)]
        self.panels = np.array([*panels, figure.add_subplot(cells[rows, :])], dtype=object)
        return figure, self.panels

    def width(self, figure) -> float:
        """Inches that a title or note may take: of the Axes that were given, or of the figure."""
        if self.given is None:
            return figure.get_figwidth()
        return self.given.get_window_extent().width / figure.dpi

    def _figure(self, width: float, height: float):
        if self.given is not None:
            reason = "it is drawn on a figure of its own"
            raise IsolossError(Problem("ax", reason, "leave `ax` out for this card"))
        if self._make is not None:
            return self._make(figsize=(width, height))
        from matplotlib.figure import Figure

        return Figure(figsize=(width, height))


@dataclass(frozen=True)
class Inputs:
    """What a card draws from, and where.

    Attributes:
        tables: `aggregate` tables by name.
        fits: fits by name; of each only the tables that the card reads have rows.
        token: what a token is, such as `byte`.
        loss_unit: of the loss, such as `nats/byte`.
        canvas: where it is drawn.
        rounds: of a sweep of adaptive rounds, the first fit after each of them, the last included.
    """

    tables: dict[str, pd.DataFrame]
    fits: dict[str, Fit]
    token: str = "token"
    loss_unit: str = NATS
    canvas: Canvas = field(default_factory=Canvas)
    rounds: tuple[Fit, ...] = ()

    @property
    def of_loss(self) -> bool:
        """Whether the fits shown, if there are any, are of the loss; all are of one quantity."""
        return all(fit.of_loss for fit in self.fits.values())

    @property
    def quantity(self) -> str:
        """What the fits shown are of: the loss, or the name of another column of the runs."""
        return next((literal(fit.quantity) for fit in self.fits.values()), RESPONSE)

    @property
    def unit(self) -> str:
        """Its unit."""
        own = (fit.loss_unit for fit in self.fits.values() if not fit.of_loss)
        return next(own, self.loss_unit)

    def label(self, quantity: str) -> str:
        """The label of an axis, with its unit; `loss` is what the fits shown are of."""
        names = {"token": literal(self.token), "loss_unit": literal(self.unit)}
        if quantity in OBSERVED and not self.of_loss:
            text = OBSERVED[quantity].format(self.quantity)
            return text if self.unit == "1" else f"{text} ({names['loss_unit']})"
        text = LABELS[quantity].format(**names)
        return text[0].upper() + text[1:]

    def named(self, symbol: str, unit: str = "1") -> str:
        """A parameter of a law as a label: its symbol, and its unit if it has one.

        It is to be drawn as a FORMULA. A domain whose name is more than letters, figures and a few
        signs is no index, but written out.
        """
        letter, _, index = symbol.partition("_")
        if re.fullmatch(r"[\w.+ *-]{0,20}", index, re.ASCII) and letter.isalpha():
            text = f"${letter}" + (rf"_{{\mathrm{{{plain(index)}}}}}$" if index else "$")
        else:
            text = literal(symbol, 14).replace("$", r"\$")
        for name, own in ((NATS, self.unit), ("token", self.token)):
            unit = unit.replace(name, literal(own).replace("$", r"\$"))
        return text if unit == "1" else f"{text} ({unit})"

    @property
    def runs(self) -> pd.DataFrame:
        """All runs, whatever their status."""
        return self.tables["runs"]

    def shown(self, group: str) -> tuple[str, Fit, str, pd.DataFrame]:
        """The first fit: its title, itself, its group (the first if empty), and what it looked at.

        Raises:
            IsolossError: the fit has no such group.
        """
        name, fit = next(iter(self.fits.items()))
        group = group or fit.groups[0]
        if group not in fit.groups:
            reason = f"group {group!r} is not in it"
            raise IsolossError(Problem(f"fit {name}", reason, nearest(group, fit.groups)))
        residuals = fit.residuals[fit.residuals["group"] == group]
        title = (
            literal(name) if len(fit.groups) == 1 else f"{literal(name)}, group {literal(group)}"
        )
        return (
            title,
            fit,
            group,
            self.finished[self.finished["run_id"].isin(set(residuals["run_id"]))],
        )

    def response(self, response: str) -> str:
        """A response of the first fit; its first if empty.

        Raises:
            IsolossError: the fit has no such response.
        """
        name, fit = next(iter(self.fits.items()))
        if response and response not in fit.responses:
            reason = f"response {response!r} is not in it"
            raise IsolossError(Problem(f"fit {name}", reason, nearest(response, fit.responses)))
        return response or fit.responses[0]

    @property
    def finished(self) -> pd.DataFrame:
        """Runs with a loss; of a figure with fits, what the first of them was fitted to.

        A column `held_out` says which of them that fit did not see; `loss` is what it is of.

        Raises:
            IsolossError: there are none.
        """
        for fit in self.fits.values():
            unseen = set(fit.residuals.loc[fit.residuals["held_out"], "run_id"])
            shown = fit.points if fit.of_loss else fit.points.assign(loss=fit.points[fit.quantity])
            return shown.assign(held_out=shown["run_id"].isin(unseen))
        finished = self.runs[self.runs["status"] == "done"].reset_index(drop=True)
        if finished.empty:
            raise IsolossError(Problem("runs", "none has finished", "look at status_reason"))
        return finished.assign(held_out=False)


def formula(fit: Fit) -> str:
    """The formula of the law of a fit, for what it is of; tied parameters have one symbol."""
    return equation(with_ties(fit.law.formula, tied_symbols(fit)), literal(fit.quantity))


def plain(text: str) -> str:
    """An index inside a formula: letters and figures, no commands."""
    return re.sub(r"[_ ]", r"\\\g<0>", text.replace("*", ""))


def group_problems(options, runs: pd.DataFrame) -> list[Problem]:
    """What is wrong with the option `group`, given the runs of the sweep (planned or done)."""
    group, known = options["group"], set(runs["group"].astype(str))
    if group and group not in known:
        return [Problem("group", f"no run has {group!r}", nearest(group, known))]
    return []


def no_problems(options, runs: pd.DataFrame) -> list[Problem]:
    """For a card whose options are right whatever the runs are."""
    return []


def head(figure, title: str, handles) -> None:
    """A title over all panels, and a legend for all of them below it, as wide as the figure."""
    title = wrapped(title, figure.get_figwidth())
    wide = [0.6 + 0.078 * len(handle.get_label()) for handle in handles]  # inches
    one_row = sum(wide) < figure.get_figwidth()
    columns = len(handles) if one_row else max(1, int(figure.get_figwidth() / max(wide)))
    figure.legend(
        handles=handles, title=title, loc="outside upper left", alignment="left", ncols=columns,
        title_fontsize=STYLE["axes.titlesize"], columnspacing=1.4, borderaxespad=0.1,
    )  # fmt: skip


def wrapped(title: str, inches: float) -> str:
    """A title whose lines fit into a width."""
    lines = [textwrap.wrap(line, int(inches * LETTERS)) for line in title.split("\n")]
    return "\n".join("\n".join(line) for line in lines)


def log_axis(axis, low: float, high: float, form=None, most: int | None = None) -> None:
    """A log axis with plain, readable ticks: decades, 1-3 or 1-2-5; even steps within a decade.

    Without `form` every tick shows as many decimals as the ticks need. A small panel has room for
    `most` ticks.
    """
    from matplotlib.ticker import (
        FixedLocator,
        FuncFormatter,
        MaxNLocator,
        NullFormatter,
        NullLocator,
    )

    axis._set_autoscale_on(False)  # which warns of a single value; the limits are set below
    axis._set_axes_scale("log")
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = ticks_between(low, high, steps)
        if len(ticks) >= min(4, most or 4):
            break
    else:
        if high < 5 * low or len(ticks) < 3:
            even = MaxNLocator(nbins=most or 6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
            ticks = [tick for tick in even if low <= tick <= high]
    ticks = ticks[:: -(-len(ticks) // (most or len(ticks) or 1)) or 1]
    if form is None:
        texts = [f"{tick:.6g}" for tick in ticks]
        decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
        form = "{:g}".format if any("e" in t for t in texts) else f"{{:.{decimals}f}}".format
    elif form in (units.count, units.power):
        form = partial(form, digits=6)  # ticks near each other differ in the fourth digit
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_view_interval(low, high, ignore=True)


def shades(values: pd.Series):
    """A logarithmic scale of colours over a quantity; around it where all values are the same."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm

    ends = span(values, 1.5 if values.nunique() == 1 else 1.0)
    scale = ScalarMappable(LogNorm(*ends), colormaps[SEQUENTIAL])
    scale.set_array(values)
    return scale


def shade_bar(figure, scale, panels, label: str) -> None:
    """The bar that says what the colours of `shades` stand for; none where there is one colour."""
    values = scale.get_array()
    if values.min() < values.max():
        bar = figure.colorbar(scale, ax=list(panels), label=label, pad=0.02)
        log_axis(bar.ax.yaxis, scale.norm.vmin, scale.norm.vmax, form=units.count)


def ticks_between(low: float, high: float, steps) -> np.ndarray:
    """Multiples of powers of ten between two values."""
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = np.sort(np.outer(10.0**decades, steps).ravel())
    return ticks[(ticks >= low * 0.999) & (ticks <= high * 1.001)]


def span(values, margin: float = 1.15) -> tuple[float, float]:
    """Limits of a log axis: the values' range and a margin, as a factor."""
    values = np.asarray(values, dtype=float)
    return float(values.min() / margin), float(values.max() * margin)


def budgets(runs: pd.DataFrame) -> pd.Series:
    """The level of 6 N D of every run: the geometric mean over the runs of the same budget.

    Laws divide 6 N D, whatever the convention of C.
    """
    flops = runs["n_flops_6nd"].astype(float).sort_values()
    means = np.log(flops).groupby(budget_numbers(flops.to_numpy())).transform("mean")
    return np.exp(means).reindex(runs.index)


def small_print(inputs: Inputs, group: str = "", response: str = "") -> str:
    """How many runs there are, and what became of those that are not shown."""
    counts = count_runs(inputs.runs)
    parts = ["1 run" if counts.n_done == 1 else f"{counts.n_done} runs"]
    if inputs.fits:
        selected = selection(inputs.fits.values(), group)
        if selected.n_runs < counts.n_done:
            parts = [f"{selected.n_runs} of {counts.n_done} runs (selected by the fit)"]
        if selected.n_points:
            parts.append(f"{selected.n_points} points along them")
    parts += [_lost_runs(counts, status) for status in STATUSES if counts.of(status)]
    for name, fit in inputs.fits.items():
        parts += doubts(name, record(fit), group, response)
    return "; ".join(parts)


def _lost_runs(counts: RunCounts, status: str) -> str:
    """How many runs have a status; with the reasons of runs dropped, where they are few."""
    lost = counts.of(status)
    reasons = sorted({one.reason for one in lost if one.reason}) if status == "dropped" else []
    shown = "; ".join(literal(reason, REASON) for reason in reasons)
    why = f" ({shown})" if 0 < len(reasons) < 3 else ""
    return f"{sum(one.n_runs for one in lost)} {status}{why}"


def doubts(name: str, fit: Record, group: str = "", response: str = "") -> list[str]:
    """What to know about fits that are not sound; of more than two only which they are.

    Args:
        name: of the fit.
        fit: the facts about it.
        group: the group that is shown; all if empty.
        response: the response that is shown; all if empty.
    """
    shown = [
        one for one in fit.unsound if group in ("", one.group) and response in ("", one.response)
    ]

    def label(one: OneFit) -> str:
        parts = [one.group] * (len(fit.groups) > 1) + [one.response] * (len(fit.responses) > 1)
        return " ".join(map(literal, [name, *parts]))

    if len(shown) <= 2:
        return [
            f"{label(one)}: {one.loud_verdict}, {literal(one.reasons, 4 * REASON)}" for one in shown
        ]
    return [
        f"{verdict}: {', '.join(label(one) for one in shown if one.loud_verdict == verdict)}"
        for verdict in sorted({one.loud_verdict for one in shown})
    ]


def print_small(figure, inputs: Inputs, group: str = "", response: str = "") -> None:
    """Put the small print under a figure, and see to it that no name in it is a formula."""
    print_note(figure, inputs, small_print(inputs, group, response))


def print_note(figure, inputs: Inputs, text: str) -> None:
    """Put a text under a figure in small print, and see to it that no name in it is a formula."""
    from matplotlib.text import Text

    width = max(20, int(inputs.canvas.width(figure) * 16))
    note = "\n".join(textwrap.wrap(text, width))
    earlier = figure.get_supxlabel()  # of another fit, drawn on other Axes of the same figure
    if note not in earlier:
        text = "\n".join(filter(None, [earlier, note]))
        figure.supxlabel(text, fontsize=8, color=GREY, x=0.01, ha="left")
    for label in figure.findobj(Text):
        label.set_parse_math(label.get_gid() == FORMULA["gid"])
