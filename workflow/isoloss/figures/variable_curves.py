"""The loss against one variable of a law, with the values of another one as colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.filters import LETTERS
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.figures import _figure
from isoloss.fitted import Fit
from isoloss.fitted.names import RESPONSE

TITLE = "Loss against one variable"
ABOUT = (
    "Runs and law against one variable, for any law in numbers; one colour a value, or a range of"
    " values, of a second variable. The other variables have their middle value."
)
INPUTS = ["fit/starts", "fit/replicates", "fit/ranges"]
MIN_FITS = 1
MAX_FITS = 1
NEEDS = "variables"  # of the law
OPTIONS = {
    "group": "group",
    "response": "response",
    "x": {
        "type": "string",
        "default": "",
        "description": "Variable of the horizontal axis, such as N or experts; the one of most "
        "values if empty.",
    },
    "colour": {
        "type": "string",
        "default": "",
        "description": "Variable whose values are colours. Empty: of the others the one that "
        "changes the prediction most; where x is N, D, C or U, of those that are not.",
    },
    "colours": {
        "type": "integer",
        "minimum": 1,
        "maximum": 12,
        "default": 7,
        "description": "Colours at most; more values are divided into ranges of as many runs each.",
    },
    "runs": {
        "type": "string",
        "enum": ["moved", "observed"],
        "default": "moved",
        "description": "Where runs are drawn: moved by the law to the values that their curve has "
        "of all variables but x, so that the distance to the curve is the residual; or as they "
        "are, beside curves through the middle of their colour.",
    },
    "reach": {
        "type": "number",
        "minimum": 1,
        "maximum": 1e12,
        "default": 1,
        "unit": "times the largest value",
        "description": "How far beyond the runs the law is drawn, of a variable above 0.",
    },
    "scale": {
        "type": "string",
        "enum": ["auto", "log", "linear"],
        "default": "auto",
        "description": "The vertical axis. Auto is logarithms for a loss, and for another response "
        "whose values span a factor of 10. Linear where values are not all above 0.",
    },
}

POINTS = 120  # of a curve
DIGITS = 6  # in which values differ
BESIDE = 0.9  # inches of the figure that its title does not lie above
SHADES = 0.88  # part of the colour map that is used: its end is too pale for lines
PALE, SMALL = 0.12, 1e-3  # opacity of an interval; numbers below are powers
FIRST = ("group", "shade", "what", "run_id")  # columns of the table before those of variables
LAST = ("loss", "drawn", "low", "high", "held_out", "beyond")  # and after them
FORMS = {"N": units.count, "D": units.count, "U": units.count, "C": units.power}


@dataclass(frozen=True)
class _Shown:
    """The fit that is shown, and the runs of it.

    Attributes:
        fit: with its law.
        group, response: which of its fits.
        runs: a row a run: `run_id`, `loss`, `predicted`, `held_out`.
        data: variable of the law to its values in the runs, (n,) each.
    """

    fit: Fit
    group: str
    response: str
    runs: pd.DataFrame
    data: dict[str, np.ndarray]

    def loss(self, data: Mapping[str, np.ndarray]) -> np.ndarray:
        """The loss by the law, (n,)."""
        law, best = self.fit.law_of(self.response), self.fit.estimate(self.group, self.response)
        return law.within(law.given(best.state).loss(best.theta, data))

    def of(self, rows: np.ndarray) -> _Shown:
        """The same with some of the runs, (n,) booleans."""
        data = {name: values[rows] for name, values in self.data.items()}
        return replace(self, runs=self.runs[rows], data=data)


@dataclass(frozen=True)
class _Curve:
    """The runs of one colour, and the law through the middle of them.

    Attributes:
        label: the value or the range that the colour stands for.
        shown: the runs.
        drawn: where they are drawn, (n,).
        held: variable to the value that it has along the curve; x is not among them.
        law: `x`, `loss`, `low`, `high`, `beyond` (the runs of this colour).
        colour: of points and line.
    """

    label: str
    shown: _Shown
    drawn: np.ndarray
    held: dict[str, float]
    law: pd.DataFrame
    colour: tuple


def problems(options, runs: pd.DataFrame) -> list[Problem]:
    """What is wrong with the options, given the runs of the sweep (planned or done)."""
    wrong = _figure.group_problems(options, runs)
    for option in ("x", "colour"):
        name = options[option]
        if name and LETTERS.get(name, name) not in runs:
            known = [*LETTERS, *map(str, runs)]
            wrong.append(Problem(option, f"no column {name!r}", nearest(name, known)))
    return wrong


def draw(
    inputs: _figure.Inputs,
    group: str,
    response: str,
    x: str,
    colour: str,
    colours: int,
    runs: str,
    reach: float,
    scale: str,
):
    """Points are runs, lines the law: dashed beyond the runs of their colour."""
    name, fit, group, table = inputs.shown(group)
    shown = _shown(fit, group, inputs.response(response), table)
    x, colour = _chosen(shown, x, colour)
    curves = _curves(shown, (x, colour), colours, runs == "moved", reach)
    figure, (axes,) = inputs.canvas.new(7.6, 5.0)
    for curve in curves:
        _draw_curve(axes, curve, x)
    _set_axes(inputs, axes, curves, x, scale)
    _put_bar(inputs, figure, axes, curves, colour)
    axes.legend(handles=_handles(fit, curves), loc="best")
    loss = f" of {_figure.literal(shown.response)}" if len(fit.responses) > 1 else ""
    title = f"{name}{loss}: {_figure.formula(fit)}{_held(curves, colour, runs == 'moved')}"
    axes.set_title(_figure.wrapped(title, inputs.canvas.width(figure) - BESIDE))
    drawn = _table(curves, group)
    _figure.print_small(figure, inputs, drawn, group, shown.response)
    return figure, drawn


# What is shown


def _shown(fit: Fit, group: str, response: str, table: pd.DataFrame) -> _Shown:
    """The runs of a fit, with the law's variables.

    Raises:
        IsolossError: it is a law of mixtures.
    """
    if fit.law.proportions:
        reason = "is a law of mixtures, whose variables add up to 1"
        raise IsolossError(Problem("fit", reason, "show it by mixture_response"))
    runs = fit.rows_of("residuals", group, response)
    runs = runs[["run_id", "loss", "predicted", "held_out"]].reset_index(drop=True)
    own = table.drop_duplicates("run_id").set_index("run_id").loc[runs["run_id"]]
    data = {name: own[_figure.column_of(name)].to_numpy(float) for name in fit.law.variables}
    return _Shown(fit, group, response, runs, data)


def _chosen(shown: _Shown, x: str, colour: str) -> tuple[str, str]:
    """The variables of the axis and of the colours; no colour of a law in one variable.

    Raises:
        IsolossError: the law does not have a variable that is asked for, or both are the same.
    """
    names = list(shown.data)
    for option, name in (("x", x), ("colour", colour)):
        if name and name not in names:
            reason = f"{name!r} is not a variable of the law, which has {', '.join(names)}"
            raise IsolossError(Problem(option, reason, nearest(name, names)))
    free = [name for name in names if name != colour] or names
    x = x or max(free, key=lambda name: len(_distinct(shown.data[name])))
    if x == colour:
        raise IsolossError(Problem("colour", f"{x!r} is the variable x", "name another one"))
    others = [name for name in names if name != x]
    if colour or not others:
        return x, colour
    new = [name for name in others if name not in LETTERS]
    others = new if new and x in LETTERS else others
    return x, max(others, key=lambda name: _effect(shown, name))


def _distinct(values: np.ndarray) -> np.ndarray:
    """The different values, in order."""
    return np.unique([float(f"{value:.{DIGITS}g}") for value in values])


def _middle(values: np.ndarray) -> float:
    """The middle one of some values: one that occurs."""
    return float(np.quantile(values, 0.5, method="lower"))


def _effect(shown: _Shown, name: str) -> float:
    """How much the prediction changes over the runs' values of a variable, the others held."""
    ends = np.array([shown.data[name].min(), shown.data[name].max()])
    points = {key: np.full(2, _middle(values)) for key, values in shown.data.items()}
    change = np.ptp(shown.loss({**points, name: ends}))
    return float(change) if np.isfinite(change) else 0.0


def _curves(
    shown: _Shown, names: tuple[str, str], colours: int, moved: bool, reach: float
) -> list[_Curve]:
    """The runs divided by colour, and the law through the middle of each part.

    Runs that are moved go where all other variables are the same, so that colours differ by theirs
    alone.
    """
    x, colour = names
    parts = (
        _parts(shown.data[colour], colours) if colour else [("", np.ones(len(shown.runs), bool))]
    )
    grid = _grid(shown.data[x], reach)
    curves = []
    for (label, rows), look in zip(parts, _looks(len(parts)), strict=True):
        part = shown.of(rows)
        held = {
            name: _middle((shown if moved and name != colour else part).data[name])
            for name in shown.data
            if name != x
        }
        ends = [part.data[x].min(), part.data[x].max()]
        law = _law(part, x, np.union1d(grid, ends), held)
        drawn = _moved(part, held) if moved else part.runs["loss"].to_numpy(float)
        curves.append(_Curve(label, part, drawn, held, law, look))
    return curves


def _parts(values: np.ndarray, most: int) -> list[tuple[str, np.ndarray]]:
    """Runs by the value of a variable, or by ranges of as many runs each: label and rows, (n,)."""
    rounded = np.array([float(f"{value:.{DIGITS}g}") for value in values])
    distinct = np.unique(rounded)
    if len(distinct) <= most:
        return [(_number(value), rounded == value) for value in distinct]
    edges = np.unique(np.quantile(rounded, np.linspace(0, 1, most + 1)[1:-1], method="lower"))
    number = np.searchsorted(edges, rounded, side="left")
    parts = []
    for one in np.unique(number):
        rows = number == one
        ends = dict.fromkeys(_number(end) for end in (rounded[rows].min(), rounded[rows].max()))
        parts.append((" to ".join(ends), rows))
    return parts


def _number(value: float) -> str:
    """A value of a variable as text."""
    return units.power(value) if 0 < abs(value) < SMALL else units.count(value)


def _grid(values: np.ndarray, reach: float) -> np.ndarray:
    """Values of x along a curve: even in logarithms, where all are above 0, and then beyond."""
    low, high = values.min(), values.max()
    if low <= 0:
        return np.linspace(low, high, POINTS)
    return np.geomspace(low, high * reach, POINTS)


def _law(shown: _Shown, x: str, grid: np.ndarray, held: Mapping[str, float]) -> pd.DataFrame:
    """The law along x with its interval."""
    points = {x: grid, **{name: np.full(len(grid), value) for name, value in held.items()}}
    told = shown.fit.predict(shown.group, shown.response, **points)
    own = shown.data[x]
    return pd.DataFrame(
        {
            "x": grid,
            "loss": told[shown.fit.quantity],
            "low": told["low"],
            "high": told["high"],
            "beyond": (grid < own.min()) | (grid > own.max()),
        }
    )


def _moved(shown: _Shown, held: Mapping[str, float]) -> np.ndarray:
    """Losses moved by the law to the values that other variables have along a curve, (n,).

    The residual stays: as a ratio where all values are above 0, else as a difference. Where the law
    has no value the loss is as observed.
    """
    size = len(shown.runs)
    at = {name: np.full(size, held[name]) if name in held else values
          for name, values in shown.data.items()}  # fmt: skip
    curve, own = shown.loss(at), shown.runs["predicted"].to_numpy(float)
    loss = shown.runs["loss"].to_numpy(float)
    same = np.all([at[name] == values for name, values in shown.data.items()], axis=0)
    above = min(curve.min(), own.min(), loss.min()) > 0
    moved = curve * loss / own if above else curve + (loss - own)
    return np.where(same | ~np.isfinite(moved), loss, moved)


# How it is drawn


def _looks(count: int) -> list[tuple]:
    """A colour for each part; of one part the first of the cycle."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba

    if count == 1:
        return [to_rgba(_figure.COLOURS[0])]
    return [tuple(c) for c in colormaps[_figure.SEQUENTIAL](np.linspace(0, SHADES, count))]


def _draw_curve(axes, curve: _Curve, x: str) -> None:
    """Runs, line and band of one colour."""
    law, colour = curve.law, curve.colour
    if np.isfinite(law["low"]).any():
        axes.fill_between(
            law["x"], law["low"], law["high"], color=colour, alpha=PALE, linewidth=0, zorder=1
        )
    axes.plot(law["x"], law["loss"], "--", color=colour, linewidth=1.0, zorder=2)
    inside = law["loss"].where(~law["beyond"])
    axes.plot(law["x"], inside, color=colour, linewidth=1.6, zorder=3)
    for unseen in (False, True):
        rows = curve.shown.runs["held_out"].to_numpy(bool) == unseen
        edge = {"edgecolor": "black", "linewidth": 0.8} if unseen else {"linewidth": 0}
        look = {"marker": "D", "s": 26} if unseen else {"marker": "o", "s": 20}
        where = (curve.shown.data[x][rows], curve.drawn[rows])
        axes.scatter(*where, color=[colour], zorder=4, **look, **edge)


def _set_axes(inputs: _figure.Inputs, axes, curves: list[_Curve], x: str, scale: str) -> None:
    """Limits and labels."""
    values = np.concatenate([curve.law["x"] for curve in curves])
    _figure.axis_of(axes.xaxis, values, 1.25, form=FORMS.get(x), linear=x == RESPONSE)
    shown = np.concatenate([np.append(curve.drawn, curve.law["loss"]) for curve in curves])
    ends = np.concatenate([np.append(curve.law["low"], curve.law["high"]) for curve in curves])
    log = _figure.of_logarithms(scale, shown, inputs.of_loss)
    _figure.limit(axes.yaxis, shown, ends, logarithmic=log)
    axes.set_xlabel(inputs.label(_figure.column_of(x)))
    axes.set_ylabel(inputs.label("loss"))


def _put_bar(inputs: _figure.Inputs, figure, axes, curves: list[_Curve], colour: str) -> None:
    """The bar that says which value or range a colour stands for; none of one colour."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap

    if len(curves) < 2:
        return
    count = len(curves)
    norm = BoundaryNorm(np.arange(count + 1) - 0.5, count)
    scale = ScalarMappable(norm, ListedColormap([curve.colour for curve in curves]))
    bar = figure.colorbar(scale, ax=axes, label=inputs.label(_figure.column_of(colour)), pad=0.02)
    bar.set_ticks(range(count), labels=[curve.label for curve in curves])
    bar.minorticks_off()


def _handles(fit: Fit, curves: list[_Curve]) -> list:
    """The legend: what the marks mean."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    tone = curves[0].colour if len(curves) == 1 else _figure.GREY
    both = {"marker": "o", "markersize": 4.5, "linewidth": 1.6}
    handles = [Line2D([], [], color=tone, **both, label="runs and law")]
    if any(curve.shown.runs["held_out"].any() for curve in curves):
        look = {"marker": "D", "ls": "", "markersize": 5, "markeredgecolor": "black"}
        handles.append(Line2D([], [], color=tone, **look, label="held out"))
    if any(curve.law["beyond"].any() for curve in curves):
        dashed = {"color": tone, "linestyle": "--", "linewidth": 1.0}
        handles.append(Line2D([], [], **dashed, label="beyond its runs"))
    if any(np.isfinite(curve.law["low"]).any() for curve in curves):
        label = f"{100 * fit.level:g} % interval of the law"
        handles.append(Patch(color=tone, alpha=0.2, linewidth=0, label=label))
    return handles


def _held(curves: list[_Curve], colour: str, moved: bool) -> str:
    """The values that variables have along the curves, as a second line of the title."""
    told = []
    for name in curves[0].held:
        values = {curve.held[name] for curve in curves}
        if name == colour:
            if any(len(_distinct(curve.shown.data[name])) > 1 for curve in curves):
                told.append(f"{_figure.literal(name)} the middle of its range")
        elif len(values) == 1:
            told.append(_figure.unbroken(f"{_figure.literal(name)} = {_number(*values)}"))
        else:
            told.append(f"{_figure.literal(name)} the middle of each colour")
    if not told:
        return ""
    return f"\nat {', '.join(told)}; runs {'moved there by the law' if moved else 'as they are'}"


def _table(curves: list[_Curve], group: str) -> pd.DataFrame:
    """What is drawn: runs, and the law with its interval; the law's variables by their columns."""
    variables = {name: _own_name(_figure.column_of(name)) for name in curves[0].shown.data}
    parts = []
    for curve in curves:
        runs = pd.DataFrame(curve.shown.data).rename(columns=variables)
        own = curve.shown.runs[["run_id", "loss", "held_out"]].reset_index(drop=True)
        runs = pd.concat([runs, own], axis=1).assign(drawn=curve.drawn, what="run")
        free = [name for name in variables if name not in curve.held]
        law = curve.law.rename(columns={"loss": "drawn", "x": variables[free[0]]})
        held = {variables[name]: value for name, value in curve.held.items()}
        for part in (runs, law.assign(what="law", **held)):
            parts.append(part.assign(group=group, shade=curve.label))
    names = [*FIRST, *variables.values(), *LAST]
    return pd.concat([part.reindex(columns=names) for part in parts], ignore_index=True)


def _own_name(column: str) -> str:
    """The column of a variable in the table of what is drawn, apart from the table's own ones."""
    return f"{column}_" if column in (*FIRST, *LAST) else column
