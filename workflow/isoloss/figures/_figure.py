"""What all figures share: their inputs, the style, axes with units, and the small print.

Text is drawn as it is, and is no formula unless a card says so (FORMULA, `Inputs.as_formula`);
names from data go through `literal`. Every card ends with `print_small` or `print_note`.

A card draws for a screen. Where the figure is for a paper, `Canvas` makes it as wide as a column,
labels and ticks hold formulas, and `_paper.finish` sets sizes of text, lines and markers, legends
and ticks once the card has drawn: a card has no sizes of its own for papers.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.budgets import budget_numbers
from isoloss.core.escape import GREEK, latex
from isoloss.core.escape import figure as literal
from isoloss.core.filters import LETTERS as LETTERS_OF
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.units import NATS
from isoloss.fitted import Fit
from isoloss.fitted.facts import OneFit, Record, RunCounts, count_runs, record, selection
from isoloss.fitted.names import ERROR, RESPONSE, equation
from isoloss.fitted.ties import tied_symbols, with_ties

# Okabe and Ito's colours, told apart with every common colour blindness.
OKABE_ITO = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]


class _Colours(Sequence):
    """The colours of the cycle of the style that is drawn in, for ever; 7 when counted."""

    def __len__(self) -> int:
        return len(OKABE_ITO)

    def __getitem__(self, index):
        from matplotlib import rcParams

        cycle = rcParams["axes.prop_cycle"].by_key().get("color", OKABE_ITO)
        if isinstance(index, slice):
            return [cycle[i % len(cycle)] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return cycle[index % len(self) % len(cycle)]


COLOURS = _Colours()  # to be asked while a card draws
GREY = "#6b6b6b"
SEQUENTIAL = "viridis"
STYLE = {
    "axes.prop_cycle": f"cycler('color', {OKABE_ITO})",
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "figure.autolayout": False,  # would take the place of constrained layout
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
# in the place of some of STYLE: points on the page
PAPER = {
    "savefig.dpi": 300,
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 8,
    "figure.labelsize": 8,
    "figure.titlesize": 8,
    "axes.linewidth": 0.6,
    "axes.labelpad": 2.5,
    "axes.titlepad": 3.0,
    "grid.linewidth": 0.4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2.0,
    "ytick.major.pad": 2.0,
    "legend.handlelength": 1.5,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.0,
    "legend.labelspacing": 0.25,
    "legend.borderaxespad": 0.2,
    "legend.borderpad": 0.1,
    "figure.constrained_layout.w_pad": 0.02,
    "figure.constrained_layout.h_pad": 0.02,
    "axes.formatter.use_mathtext": True,
}
STYLES = ("screen", "paper")
WIDTH = 3.25  # inches of a figure for a paper where none are said: a column
NARROWEST, WIDEST = 2.0, 20.0  # inches of a figure for a paper
PANEL = 1.45  # inches of a panel in a paper, at least
SHRUNK = 0.35  # of its width on a screen, which a panel in a paper has at least
FORMULA = {"gid": "formula"}  # of a label that holds one, as `Inputs.named` makes them
NAME_ON_SCREEN, NAME_IN_PAPER = 40, 12  # letters of a name above a panel
LETTERS = 11.5  # of a title on an inch
LEFT = 0.7  # inches of a figure that lie left of its panel
UNBROKEN = "\N{NO-BREAK SPACE}"
LARGE = 1e4  # a value from which ticks are counts: 10k
STATUSES = ("dropped", "diverged", "failed")  # of runs that are not shown
FAR = 10  # factor that values span from which they are shown on an axis of logarithms
STRETCH = 1.6  # ratio by which an interval may stretch a logarithmic axis beyond runs and law
NAMED = 12  # fits with a doubt that the small print names
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
LOSS_BELOW = "loss_below"  # the loss as the variable of a law, such as of an accuracy by it
LABELS[LOSS_BELOW] = "Loss"
LABELS["n_flops"] = "Training compute C (FLOP)"
LABELS["n_unique"] = "Unique data U ({token}s)"
# the same in a paper, with symbols as formulas
IN_PAPER = {
    "n_params": "Parameters $N$",
    "n_samples": "{token}s $D$",
    "n_flops_6nd": "Compute $6\\,ND$ (FLOP)",
    "n_flops": "Compute $C$ (FLOP)",
    "n_unique": "Unique {token}s $U$",
    "tokens_per_parameter": "{token}s per parameter $D/N$",
    "loss": "Loss $L$ ({loss_unit})",
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
        paper: inches of the width of a figure for a paper; None for a screen. A card's own inches
            then say the shape of its panels, and not their size.
        panels: the Axes that the card draws on, (n,), once it has asked for them; those of colour
            bars are not among them.
        formulas: texts that hold formulas.
        notes: the small print.
        lowest: inches of the height of a panel in a paper, at least; None for what all have.
    """

    def __init__(self, given=None, make=None, paper: float | None = None):
        """Draw on the Axes `given`, or on a figure that `make(figsize=...)` returns."""
        self.given = given
        self.paper = paper
        self.panels = np.empty(0, dtype=object)
        self.formulas: set[str] = set()
        self.notes: list[str] = []
        self.lowest: float | None = None
        self._make = make

    def new(self, width=6.4, height=4.6, columns: int = 1, listed: bool = False, **settings):
        """A figure, inches, and the Axes of its one row; in a paper of as many rows as it takes.

        Args:
            width: of the figure on a screen, inches.
            height: of the figure on a screen, inches.
            columns: panels.
            listed: whether the height is that of a list of rows, which a paper needs as well.
            settings: of `Figure.subplots`.
        """
        if self.given is not None and columns == 1:
            figure, self.panels = self.given.figure, np.array([self.given], dtype=object)
            return figure, self.panels
        across = columns if self.paper is None else self._across(columns, width / columns)
        if across < columns:
            settings.pop("width_ratios", None)
        rows = -(-columns // across)
        if self.paper is None:
            figure = self._figure(width, height)
        else:
            tall = height if listed else self.paper / across * height * columns / width
            figure = self._figure(self.paper, rows * tall)
        self.panels = self._cells(figure, rows, across, columns, **settings)
        return figure, self.panels

    def grid(
        self, count: int, columns: int, width: float = 3.4, height: float = 2.9, fixed: bool = False
    ):
        """A figure of several panels, inches each, row by row, and their Axes.

        A paper has as many panels in a row as have room, or all `columns` if they are `fixed`.
        """
        across, size = self._sizes(count, columns, width, height, 0, fixed)
        figure = self._figure(*size)
        self.panels = self._cells(figure, -(-count // across), across, count)
        return figure, self.panels

    def matrix(self, size: int, width: float = 1.75, height: float = 1.55, least: float = 0.55):
        """A figure of `size` rows of as many panels, inches each, and their Axes, row by row.

        Raises:
            IsolossError: a paper has less than `least` inches for a panel.
        """
        if self.paper is not None and self.paper < least * size:
            reason = f"{self.paper:g} inches are too few for {size} panels beside each other"
            remedy = f"at least {least * size:.3g}, or show fewer"
            raise IsolossError(Problem("width", reason, remedy))
        self.lowest = least
        whole = (self.paper, self.paper) if self.paper else (width * size, height * size + 0.9)
        figure = self._figure(*whole)
        self.panels = self._cells(figure, size, size, size * size)
        return figure, self.panels

    def stacked(self, count: int, columns: int, width: float = 3.4, height: float = 2.9):
        """As `grid`, and one panel more, over the whole width, below the others."""
        across, size = self._sizes(count, columns, width, height, 1, False)
        rows = -(-count // across)
        figure = self._figure(*size)
        cells = figure.add_gridspec(rows + 1, across)
        panels = [figure.add_subplot(cells[i // across, i % across]) for i in range(count)]
        self.panels = np.array([*panels, figure.add_subplot(cells[rows, :])], dtype=object)
        return figure, self.panels

    def columns(self, count: int, columns: int, width: float = 3.4) -> int:
        """How many of `count` panels stand in a row of `grid`, if a screen has `columns`."""
        return self._sizes(count, columns, width, width, 0, False)[0]

    def width(self, figure) -> float:
        """Inches that a title or note may take: of the Axes that were given, or of the figure."""
        if self.given is None:
            return figure.get_figwidth()
        return self.given.get_window_extent().width / figure.dpi

    def title_width(self, figure) -> float:
        """Inches that the title above a single panel may take: it begins where the panel does."""
        return self.width(figure) - (LEFT if self.given is None else 0.0)

    def _sizes(self, count: int, columns: int, width: float, height: float, more: int, fixed: bool):
        """Panels in a row, and (width, height) of the figure, for `more` rows beside the grid's."""
        columns = min(columns, count)
        if self.paper is None:
            return columns, (width * columns, height * (-(-count // columns) + more) + 0.9)
        across = columns if fixed else min(columns, self._across(count, width))
        shape = min(height / width, 0.72) if across == 1 else height / width
        tall = self.paper / across * shape
        tall = tall if fixed else max(tall, 0.8 * PANEL)
        return across, (self.paper, tall * (-(-count // across) + more))

    def _across(self, count: int, width: float) -> int:
        """How many of `count` panels, inches wide on a screen, have room in a row of a paper."""
        return min(count, max(1, int(self.paper / max(PANEL, SHRUNK * width))))

    @staticmethod
    def _cells(figure, rows: int, columns: int, count: int, **settings) -> np.ndarray:
        """Axes row by row, (count,); what is left of the last row is empty."""
        panels = figure.subplots(rows, columns, squeeze=False, **settings).ravel()
        for spare in panels[count:]:
            spare.remove()
        return panels[:count]

    def _figure(self, width: float, height: float):
        if self.given is not None:
            reason = "it is drawn on a figure of its own"
            raise IsolossError(Problem("ax", reason, "leave `ax` out for this card"))
        if self._make is not None:
            return self._make(figsize=(width, height))
        from matplotlib.figure import Figure

        return Figure(figsize=(width, height))


def canvas_of(style: str, width: float | None = None, **where) -> Canvas:
    """The canvas of a style.

    Args:
        style: one of STYLES.
        width: inches of a figure for a paper; WIDTH if None.
        where: of the canvas, `given` and `make`.

    Raises:
        IsolossError: there is no such style, or a width is given for a screen.
    """
    if style not in STYLES:
        raise IsolossError(Problem("style", f"found {style!r}", nearest(style, STYLES)))
    if style == "screen" and width is not None:
        reason, remedy = "a figure for a screen has its own", "add `style: paper`, or leave it out"
        raise IsolossError(Problem("width", reason, remedy))
    check_width(width)
    return Canvas(paper=None if style == "screen" else width or WIDTH, **where)


def check_width(width: float | None) -> None:
    """Refuse a width that no figure of a paper has, inches; None is right."""
    if width is not None and not NARROWEST <= width <= WIDEST:
        remedy = f"needs inches, {NARROWEST:g} to {WIDEST:g}"
        raise IsolossError(Problem("width", f"found {width:g}", remedy))


def style_of(style: str) -> dict:
    """Settings of Matplotlib for a style, over those that hold now.

    In a paper what the user has set (a matplotlibrc, a style) stays, but for what PAPER sets.
    """
    from matplotlib import rcParams, rcParamsDefault

    if style == "screen":
        return STYLE
    house = {key: value for key, value in STYLE.items() if rcParams[key] == rcParamsDefault[key]}
    kept = (
        "figure.constrained_layout.use", "figure.autolayout", "pdf.fonttype", "svg.hashsalt",
    )  # fmt: skip
    return {**house, **{key: STYLE[key] for key in kept}, **PAPER}


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
        """The label of an axis, with its unit; `loss` is what the fits shown are of.

        A variable that has no letter, such as experts, is called by its name.
        """
        names = {"token": literal(self.token), "loss_unit": literal(self.unit)}
        if quantity in OBSERVED and self.of_loss and self.unit == ERROR:
            text = OBSERVED[quantity].format("error rate")
            return text[0].upper() + text[1:]
        if quantity in OBSERVED and not self.of_loss:
            text = OBSERVED[quantity].format(self.quantity)
            return text if self.unit == "1" else f"{text} ({names['loss_unit']})"
        if self.in_paper and quantity in IN_PAPER:
            names = {name: unit.replace("$", r"\$") for name, unit in names.items()}
            text = self.as_formula(IN_PAPER[quantity].format(**names))
            return self.as_formula(text[0].upper() + text[1:])
        if quantity not in LABELS:
            return literal(quantity)
        text = LABELS[quantity].format(**names)
        return text[0].upper() + text[1:]

    @property
    def in_paper(self) -> bool:
        """Whether the figure is for a paper."""
        return self.canvas.paper is not None

    @property
    def name_letters(self) -> int:
        """Letters of a name above a panel, at most: what has no spaces is not folded there."""
        return NAME_IN_PAPER if self.in_paper else NAME_ON_SCREEN

    def as_formula(self, text: str) -> str:
        """A text with parts between dollar signs, which are then drawn as formulas; the text."""
        self.canvas.formulas.add(text)
        return text

    def scientific(self, value: float, digits: int = 3) -> str:
        """A number as a power of ten: 5.76e23, or between dollar signs in a paper."""
        return powers(value, digits) if self.in_paper else units.power(value, digits)

    def named(self, symbol: str, unit: str = "1") -> str:
        """A parameter of a law as a label: its symbol, and its unit if it has one.

        It is to be drawn as a FORMULA, names of several letters upright. A domain whose name is
        more than letters, figures and a few signs is written out in place of an index.
        """
        letter, _, index = symbol.partition("_")
        if re.fullmatch(r"[\w.+ *-]{0,20}", index, re.ASCII) and letter.isalpha():
            base = letter if len(letter) == 1 else rf"\mathrm{{{letter}}}"
            text = f"${base}" + (rf"_{{\mathrm{{{plain(index)}}}}}$" if index else "$")
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

        A column `held_out` says which of them that fit did not see; `loss` is what it is of, and
        LOSS_BELOW the loss of a law by the loss.

        Raises:
            IsolossError: there are none.
        """
        for fit in self.fits.values():
            unseen = set(fit.residuals.loc[fit.residuals["held_out"], "run_id"])
            shown = fit.points
            if RESPONSE in fit.law.variables:
                shown = shown.assign(**{LOSS_BELOW: shown[RESPONSE]})
            shown = shown if fit.of_loss else shown.assign(loss=shown[fit.quantity])
            return shown.assign(held_out=shown["run_id"].isin(unseen))
        finished = self.runs[self.runs["status"] == "done"].reset_index(drop=True)
        if finished.empty:
            raise IsolossError(Problem("runs", "none has finished", "look at status_reason"))
        return finished.assign(held_out=False)


def column_of(variable: str) -> str:
    """The column of `Inputs.finished` that holds a variable of a law.

    >>> column_of("N"), column_of("experts"), column_of("loss")
    ('n_params', 'experts', 'loss_below')
    """
    return LOSS_BELOW if variable == RESPONSE else LETTERS_OF.get(variable, variable)


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


def head(figure, title: str, handles) -> int:
    """A title over all panels, and a legend below it, as wide as the figure; the legend's rows."""
    title = wrapped(title, figure.get_figwidth())
    wide = [0.6 + 0.078 * len(handle.get_label()) for handle in handles]  # inches
    columns = legend_columns(wide, figure.get_figwidth())
    figure.legend(
        handles=handles, title=title, loc="outside upper left", alignment="left", ncols=columns,
        title_fontsize=STYLE["axes.titlesize"], columnspacing=1.4, borderaxespad=0.1,
    )  # fmt: skip
    return -(-len(handles) // columns)


def legend_columns(wide: Sequence[float], room: float) -> int:
    """The most columns of a legend whose entries, filled in column by column, have room.

    >>> legend_columns([1.0, 1.0, 1.0, 3.0], 5.0), legend_columns([1.0, 1.0], 5.0)
    (3, 2)
    """
    for columns in range(len(wide), 1, -1):
        parts = np.array_split(np.array(wide), columns)
        if sum(part.max() for part in parts) <= room:
            return columns
    return 1


def wrapped(title: str, inches: float) -> str:
    """A title whose lines fit into a width."""
    lines = [textwrap.wrap(line, int(inches * LETTERS)) for line in title.split("\n")]
    return "\n".join("\n".join(line) for line in lines).replace(UNBROKEN, " ")


def unbroken(text: str) -> str:
    """A text that `wrapped` puts on one line, such as a parameter with its interval."""
    return text.replace(" ", UNBROKEN)


def powers(value: float, digits: int = 3) -> str:
    r"""A number as a power of ten in a formula.

    >>> powers(1e21), powers(5.76e23)
    ('$10^{21}$', '$5.76{\\times}10^{23}$')
    """
    text = units.power(value, digits)
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text
    factor = "" if mantissa == "1" else rf"{mantissa}{{\times}}"
    return f"${factor}10^{{{exponent}}}$"


def log_axis(axis, low: float, high: float, form=None, most: int | None = None) -> None:
    """A log axis with plain, readable ticks: decades, 1-3 or 1-2-5; even steps within a decade.

    Without `form` every tick shows as many decimals as the ticks need, or as it needs itself where
    they span more than a factor of 10. A small panel has room for `most` ticks. Powers of ten are
    formulas where the style says so.
    """
    from matplotlib import rcParams
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
        wide = len(ticks) and ticks[-1] > 10.1 * ticks[0]
        own = wide or any("e" in text for text in texts)
        form = "{:g}".format if own else f"{{:.{decimals}f}}".format
    elif form in (units.count, units.power):
        form = partial(form, digits=6)  # ticks near each other differ in the fourth digit
    if rcParams["axes.formatter.use_mathtext"]:
        form = _as_powers(form)
        axis.set_gid(FORMULA["gid"])
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_view_interval(low, high, ignore=True)


def axis_of(
    axis, values, margin: float = 1.15, form=None, most: int | None = None, linear: bool = False
) -> bool:
    """An axis of some values: of logarithms where all of them are above 0, else a plain one.

    Args:
        axis: of a panel.
        values: that are shown on it, (n,).
        margin: of a log axis, as of `span`.
        form: of its ticks.
        most: ticks.
        linear: whether it is a plain one whatever the values are.

    Returns:
        Whether it is one of logarithms.
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and not linear:
        form = units.count if form is None and values.max() >= LARGE else form
        log_axis(axis, *span(values, margin), form=form, most=most)
        return True
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    room = 0.04 * (high - low) or 0.5
    axis.set_view_interval(low - room, high + room, ignore=True)
    if most is not None:
        axis.get_major_locator().set_params(nbins=most)
    return False


def of_logarithms(scale: str, values, of_loss: bool) -> bool:
    """Whether the vertical axis is one of logarithms.

    Args:
        scale: what is asked for: `log`, `linear`, or `auto`, which is logarithms for a loss, and
            for other responses where their values span a factor of FAR.
        values: that are shown, (n,); where one is not above 0 the axis is linear.
        of_loss: whether they are losses.

    >>> of_logarithms("auto", [0.2, 0.9], False), of_logarithms("auto", [0.02, 0.9], False)
    (False, True)
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if scale == "linear" or not len(values) or values.min() <= 0:
        return False
    return scale == "log" or of_loss or bool(values.max() > FAR * values.min())


def limit(axis, shown, ends, logarithmic: bool) -> None:
    """An axis that holds what is shown, and of intervals what does not stretch it far.

    Args:
        axis: of a panel.
        shown: values that are to be seen, (n,).
        ends: of intervals, (m,); beyond 30 % of the range of what is shown, or a factor of STRETCH
            on an axis of logarithms, they are cut off.
        logarithmic: whether the axis is one of logarithms; values that are not above 0 have no
            place on it.
    """
    least = 0.0 if logarithmic else -np.inf
    shown, ends = (np.asarray(values, dtype=float) for values in (shown, ends))
    shown = shown[np.isfinite(shown) & (shown > least)]
    ends = np.concatenate([shown, ends[np.isfinite(ends) & (ends > least)]])
    low, high = shown.min(), shown.max()
    if logarithmic:
        low, high = max(low / STRETCH, ends.min()), min(high * STRETCH, ends.max())
        log_axis(axis, *span([low, high], 1.03))
        return
    axis._set_autoscale_on(False)
    room = 0.3 * (high - low)
    low, high = max(low - room, ends.min()), min(high + room, ends.max())
    margin = 0.04 * (high - low) or 1.0
    axis.set_view_interval(low - margin, high + margin, ignore=True)


def _as_powers(form):
    """A format of ticks whose numbers with an exponent are formulas."""

    def tick(value: float) -> str:
        text = form(value)
        return powers(value, 6) if re.fullmatch(r"[\d.]+e[+-]?\d+", text) else text

    return tick


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
    """Limits of a log axis: the values' range and a margin, as a factor.

    The margin is at most a quarter of the range, so that it does not hide how little values differ.
    """
    values = np.asarray(values, dtype=float)
    least, most = values.min(), values.max()
    if 0 < least < most:
        margin = min(margin, (most / least) ** 0.25)
    return float(values.min() / margin), float(values.max() * margin)


def budgets(runs: pd.DataFrame) -> pd.Series:
    """The budget of every run, FLOP: the geometric mean of C over the runs of the same budget.

    C is the table's own, and 6 N D where it has none.
    """
    flops = own_flops(runs).sort_values()
    means = np.log(flops).groupby(budget_numbers(flops.to_numpy())).transform("mean")
    return np.exp(means).reindex(runs.index)


def own_flops(runs: pd.DataFrame) -> pd.Series:
    """The compute C of every run as its table says, FLOP; 6 N D where it does not."""
    return runs["n_flops"].astype(float).fillna(runs["n_flops_6nd"].astype(float))


def small_print(
    inputs: Inputs, drawn: pd.DataFrame | None = None, group: str = "", response: str = ""
) -> str:
    """How many runs are drawn, what became of those that are not, and doubts about the fits.

    Args:
        inputs: of the card.
        drawn: the table of what is drawn, whose runs are counted; those that the fits looked at
            where it has no column `run_id`.
        group: of the fits; all if empty.
        response: of the fits; all if empty.
    """
    counts, fits = count_runs(inputs.runs), inputs.fits.values()
    finished = counts.n_done if counts.n_along is None else counts.n_along
    fitted = selection(fits, group)
    shown = set() if drawn is None else run_ids(drawn)
    seen = selection(fits, group, shown) if shown else fitted
    if not fits and not shown:
        seen = replace(fitted, n_runs=finished)
    number = f"{seen.n_runs} of {finished}" if seen.n_runs < finished else f"{seen.n_runs}"
    parts = [number + (" run" if number == "1" else " runs")]
    if seen == fitted and seen.n_runs < finished:
        of_group = group and fitted.n_runs < selection(fits).n_runs
        parts[0] += f" (group {literal(group)})" if of_group else " (selected by the fit)"
    if seen.n_points:
        parts.append(f"{seen.n_points} points along them")
    parts += [_lost_runs(counts, status) for status in STATUSES if counts.of(status)]
    for name, fit in inputs.fits.items():
        parts += doubts(name, record(fit), group, response)
    return "; ".join(parts)


def run_ids(drawn: pd.DataFrame) -> set[str]:
    """The runs in the table of what a figure draws: its columns `run_id` and `run_id_...`.

    >>> sorted(run_ids(pd.DataFrame({"run_id": ["a", "a", None], "run_id_reference": ["b"] * 3})))
    ['a', 'b']
    """
    columns = [column for column in drawn if str(column).startswith("run_id")]
    return set().union(*(drawn[column].dropna() for column in columns))


def _lost_runs(counts: RunCounts, status: str) -> str:
    """How many runs have a status; with the reasons of runs dropped, where they are few."""
    lost = counts.of(status)
    reasons = sorted({one.reason for one in lost if one.reason}) if status == "dropped" else []
    shown = "; ".join(literal(reason, REASON) for reason in reasons)
    why = f" ({shown})" if 0 < len(reasons) < 3 else ""
    return f"{sum(one.n_runs for one in lost)} {status}{why}"


def doubts(name: str, fit: Record, group: str = "", response: str = "") -> list[str]:
    """What to know about fits that are not sound; of more than two only which, or how many.

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
    told = []
    for verdict in sorted({one.loud_verdict for one in shown}):
        alike = [label(one) for one in shown if one.loud_verdict == verdict]
        count = f"{len(alike)} of {len(fit.fits)} fits of {literal(name)}"
        told.append(f"{verdict}: {', '.join(alike) if len(alike) <= NAMED else count}")
    return told


def print_small(
    figure,
    inputs: Inputs,
    drawn: pd.DataFrame | None,
    group: str = "",
    response: str = "",
) -> None:
    """Put the small print under a figure, and see to it that no name in it is a formula.

    Args:
        figure: what the card has drawn.
        inputs: of the card.
        drawn: the table of what is drawn; see `small_print`.
        group: of the fits; all if empty.
        response: of the fits; all if empty.
    """
    print_note(figure, inputs, small_print(inputs, drawn, group, response))


def print_note(figure, inputs: Inputs, text: str) -> None:
    """Put a text under a figure in small print, and see to it that no name in it is a formula.

    In a paper it is not drawn, but part of the caption.
    """
    canvas = inputs.canvas
    canvas.notes.append(text)
    if canvas.paper is None:
        width = max(20, int(canvas.width(figure) * 16))
        note = "\n".join(textwrap.wrap(text, width))
        earlier = figure.get_supxlabel()  # of another fit, drawn on other Axes of the same figure
        if note not in earlier:
            text = "\n".join(filter(None, [earlier, note]))
            figure.supxlabel(text, fontsize=8, color=GREY, x=0.01, ha="left")
    parse_formulas(figure, canvas.formulas)


def for_tex(text: str, is_formula: bool) -> str:
    r"""A text as LaTeX takes it, if the user's settings have it draw all text.

    >>> for_tex("95 % of α_1", False), for_tex("$α_1$", True)
    ('95 \\% of \\ensuremath{\\alpha}\\_1', '$\\alpha _1$')
    """
    if is_formula:
        return "".join(f"{GREEK[char]} " if char in GREEK else char for char in text)
    return "\n".join(latex(line) if line else line for line in text.split("\n"))


def parse_formulas(figure, formulas: Iterable[str]) -> None:
    """Draw the texts that hold formulas as such, and no others; numbers at ticks are some."""
    from matplotlib import rcParams
    from matplotlib.text import Text

    known = set(formulas)
    for label in figure.findobj(Text):
        is_formula = label.get_gid() == FORMULA["gid"] or label.get_text() in known
        label.set_parse_math(is_formula)
        if rcParams["text.usetex"]:
            label.set_text(for_tex(label.get_text(), is_formula))
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_gid() == FORMULA["gid"]:
                for label in axis.get_ticklabels():
                    label.set_parse_math(True)
