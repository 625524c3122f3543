"""Loss and structural entropies against size: the five panels of the N-scaling experiment."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem
from isoloss.figures import _figure, _structure
from isoloss.figures._structure import FEWEST, Experiment, Line
from isoloss.fitted import Fit

TITLE = "Loss and structural entropies against size"
ABOUT = (
    "Test loss, the two structural entropies, their norm (the internal cost) and the loss against"
    " the norm, with lines through the regime that ends at the least loss of one seed. Above each"
    " panel the same slope over all seeds, with regimes chosen by the other seeds, and, with a fit"
    " of a power law, its exponent with a fitted offset."
)
INPUTS = ["observe/observations"]
MAX_FITS = 1
FITS_OF = "loss"
OPTIONS = {
    "variable": {
        "type": "string",
        "enum": ["N", "U"],
        "default": "N",
        "description": "The size x: parameters N, or distinct training examples U.",
    },
    "seed": {
        "type": "integer",
        "minimum": -1,
        "maximum": 9223372036854775807,
        "default": -1,
        "description": "Seed whose runs the lines are fitted to; the least of the sweep if -1.",
    },
    "w1": {
        "type": "number",
        "minimum": 0,
        "maximum": 1e6,
        "default": 0.5,
        "description": "Weight of H_TSE in the internal cost.",
    },
    "w2": {
        "type": "number",
        "minimum": 0,
        "maximum": 1e6,
        "default": 0.5,
        "description": "Weight of H_SIE in the internal cost.",
    },
    "part": {
        "type": "string",
        "enum": ["sample", "all"],
        "default": "sample",
        "description": "Entropies averaged over sampled hidden units, or over all of them.",
    },
}
COLUMNS = {"N": "n_params", "U": "n_unique"}
# what a panel shows: title, y, name of its line, symbol of the law
PANELS = (
    ("Law 1: performance", "loss", "performance", "L − L∞ ∝ x"),
    ("Component 1: abstraction", "h_tse", "abstraction", "H − H₀ ∝ x"),
    ("Component 2: compression", "h_sie", "compression", "H − H₀ = a log₁₀ x + b"),
    ("Internal cost", "ideal", "", ""),
    ("Core law: performance against cost", "reducible_loss", "core", "L − L∞ ∝ cost"),
)
MARKERS = dict(zip(("loss", "h_tse", "h_sie", "ideal", "reducible_loss"), "os^pD", strict=True))
# the column names of the experiment's own table
EXPORT = {
    "x": "num_params_N",
    "loss": "final_test_loss",
    "h_tse": "final_htse",
    "h_sie": "final_hsie",
}


def problems(options, runs: pd.DataFrame) -> list[Problem]:
    """What is wrong with the options, given the runs of the sweep (planned or done)."""
    seeds = sorted({int(seed) for seed in runs["seed"].dropna()})
    wrong = []
    if options["seed"] >= 0 and options["seed"] not in seeds:
        known = ", ".join(map(str, seeds[:10]))
        wrong.append(Problem("seed", f"no run has {options['seed']}", f"one of {known}"))
    if options["w1"] + options["w2"] == 0:
        wrong.append(Problem("w1", "both weights are 0", "give one of them more"))
    return wrong


def draw(inputs: _figure.Inputs, variable: str, seed: int, w1: float, w2: float, part: str):
    """Five panels side by side; the table has a row a run, and one a line fitted."""
    seeds = _structure.by_seed(_measured(inputs, COLUMNS[variable], part))
    seed = min(seeds) if seed < 0 else seed
    if seed not in seeds:
        raise IsolossError(Problem("seed", f"no run of {seed} was observed", "look at `status`"))
    shown = _structure.experiment(seeds[seed], w1, w2)
    apart = _structure.seeds_apart(seeds, w1, w2)
    others = _structure.regimes_of_others(seeds, w1, w2)
    figure, panels = inputs.canvas.new(19.5, 5.4, len(PANELS))
    for axes, (title, y, line, law) in zip(panels, PANELS, strict=True):
        _draw_panel(axes, y, shown, seeds[seed], apart)
        notes = [title]
        if line:
            notes += _notes(shown.lines[line], law.replace("x", variable), seed)
            notes += _answers(line, apart, others, inputs if line == "performance" else None)
        if inputs.in_paper:  # where a panel has no room for them
            inputs.canvas.notes.append("; ".join(notes))
            notes = [title]
        axes.set_title("\n".join(notes), fontsize=8.5, loc="left")
        axes.set_ylabel(_label(inputs, y))
        axes.set_xlabel(_x_label(inputs, variable) if line != "core" else _label(inputs, "ideal"))
    handles = _handles(seed, len(seeds), w1, w2)
    _figure.head(figure, f"{TITLE.replace('size', variable)}, {part} of the hidden units", handles)
    drawn = _table(seeds, shown, seed, variable)
    _figure.print_small(figure, inputs, drawn)
    return figure, drawn


def _measured(inputs: _figure.Inputs, x: str, part: str) -> pd.DataFrame:
    """Runs that were observed: `run_id`, `seed`, `x`, `loss`, `h_tse`, `h_sie`.

    Raises:
        IsolossError: there are none, or a value is lacking.
    """
    table = inputs.tables["observations"]
    table = table[(table["part"] == part) & table["quantity"].isin(["h_tse", "h_sie"])]
    if table.empty:
        reason = f"no run has h_tse and h_sie of the part {part!r}"
        raise IsolossError(Problem("observation", reason, "observe with structural_entropy"))
    wide = table.pivot(index="run_id", columns="quantity", values="value").dropna().reset_index()
    runs = inputs.runs[inputs.runs["status"] == "done"].rename(columns={x: "x"})
    columns = ["run_id", "seed", "x", "loss"]
    return wide.merge(runs[columns], on="run_id", validate="one_to_one").dropna()


def _draw_panel(axes, y: str, shown: Experiment, runs: pd.DataFrame, apart) -> None:
    """Points of the seed that is fitted, the spread of all seeds, and the line."""
    x = "ideal" if y == "reducible_loss" else "x"
    colour, points = _figure.COLOURS[0], shown.table[[x, y]]
    if y == "loss":
        outside = runs[~runs["x"].isin(shown.table["x"])]
        axes.plot(outside["x"], outside[y], MARKERS[y], color=colour, markerfacecolor="none")
        points = runs[["x", y]]
    axes.plot(shown.table[x], shown.table[y], MARKERS[y], color=colour, zorder=3)
    if y != "h_sie":
        points = points[(points > 0).all(axis=1)]
    places, values = [points[x]], [points[y]]
    if len(apart) > 1 and x == "x":
        middle, sd = _spread(apart, y)
        axes.errorbar(
            middle.index, middle, yerr=sd, fmt="none", ecolor=_figure.GREY, elinewidth=1,
            capsize=2, zorder=1,
        )  # fmt: skip
        places.append(middle.index.to_series())
        values += [middle - sd, middle + sd]
    drawn = _line_drawn(y, shown)
    if drawn is not None:
        axes.plot(*drawn, "--", color=_figure.COLOURS[1], zorder=2)
    _log_axis(axes.xaxis, pd.concat(places), _form(x), 5)
    if y != "h_sie":
        _log_axis(axes.yaxis, pd.concat(values), None, 6)


def _spread(apart: list[Experiment], y: str) -> tuple[pd.Series, pd.Series]:
    """Mean and standard deviation of a quantity over seeds, where several have the size."""
    values = pd.concat([e.table for e in apart]).groupby("x")[y]
    several = values.size() > 1
    return values.mean()[several], values.std(ddof=1)[several]


def _log_axis(axis, values: pd.Series, form, most: int) -> None:
    """A log axis around the values that have a logarithm, with a tenth of their range to spare.

    An error bar that ends below zero is cut off at the axis.
    """
    values = values[values > 0]
    if len(values):
        margin = max(1.005, (values.max() / values.min()) ** 0.08)
        _figure.log_axis(axis, *_figure.span(values, margin), form=form, most=most)


def _form(x: str):
    return units.count if x == "x" else "{:.2g}".format


def _line_drawn(y: str, shown: Experiment) -> tuple[np.ndarray, np.ndarray] | None:
    """The line of a panel in its own coordinates; None where there is none."""
    names = {"loss": "performance", "h_tse": "abstraction", "h_sie": "compression"}
    name = names.get(y, "core" if y == "reducible_loss" else "")
    if not name or shown.lines[name].n < FEWEST or not np.isfinite(shown.lines[name].slope):
        return None
    x = shown.table["ideal" if name == "core" else "x"]
    x = np.geomspace(x[x > 0].min(), x.max(), 100)
    return x, shown.lines[name].at(x) + (0.0 if name == "core" else shown.least[y])


def _notes(line: Line, law: str, seed: int) -> list[str]:
    """What the experiment says of a line."""
    if line.n < FEWEST:
        return [f"seed {seed}: {line.n} runs are too few for a line"]
    slope = f"^{line.slope:.3f}" if line.power else f", a = {line.slope:.3g}"
    return [
        f"seed {seed}: {law}{slope}".replace("-", "−"),
        f"R² = {line.r2:.3f}, p = {line.p:.1e}, {line.n} runs".replace("-", "−"),
    ]


def _answers(line: str, apart, others, inputs: _figure.Inputs | None) -> list[str]:
    """The same slope over seeds, by regimes that the loss has not chosen, and with an offset."""
    power = next(iter(apart)).lines[line].power
    what = "exponent" if power else "a"
    mean, sd, n = _structure.spread(apart, line)
    if len(apart) < 2:
        notes = ["one seed: nothing says how far it is off"]
    elif n < 2:
        notes = [f"{n} of {len(apart)} seeds have a line"]
    else:
        notes = [f"{n} seeds: {what} {mean:.3g} ± {sd:.2g} (sd)"]
        mean, sd, n = _structure.spread(others, line)
        notes.append(f"regime chosen by the other seeds: {mean:.3g} ± {sd:.2g}")
    for name, fit in ({} if inputs is None else inputs.fits).items():
        notes.append(f"{_figure.literal(name)}, L∞ fitted: {_exponent(name, fit)}")
    return [note.replace("-", "−") for note in notes]


def _exponent(name: str, fit: Fit) -> str:
    """The exponent of N, or of the only variable, with its interval.

    Raises:
        IsolossError: the law has none.
    """
    if "alpha" not in set(fit.params["term"]):
        reason = f"{fit.facts['card']} has no exponent alpha"
        raise IsolossError(Problem(f"fit {name}", reason, "show a fit of power_law"))
    alpha = fit.params[fit.params["term"] == "alpha"].iloc[0]
    return units.estimate(-alpha["estimate"], -alpha["ci_high"], -alpha["ci_low"])


def _label(inputs: _figure.Inputs, y: str) -> str:
    unit = _figure.literal(inputs.loss_unit)
    return {
        "loss": f"Test loss ({unit})",
        "h_tse": "H_TSE",
        "h_sie": "H_SIE (bits)",
        "ideal": "Reducible internal cost",
        "reducible_loss": f"Reducible test loss ({unit})",
    }[y]


def _x_label(inputs: _figure.Inputs, variable: str) -> str:
    if variable == "N":
        return inputs.label("n_params")
    return f"Distinct training data U ({_figure.literal(inputs.token)}s)"


def _handles(seed: int, n_seeds: int, w1: float, w2: float):
    from matplotlib.lines import Line2D

    colour = _figure.COLOURS[0]
    hollow = {"markerfacecolor": "none"}
    handles = [
        Line2D([], [], color=colour, marker="o", ls="", label=f"seed {seed}, in the regime"),
        Line2D([], [], color=colour, marker="o", ls="", label="beyond its least loss", **hollow),
        Line2D([], [], color=_figure.COLOURS[1], ls="--", label="line fitted to the regime"),
    ]
    if n_seeds > 1:
        label = f"one sd about the mean of {n_seeds} seeds"
        handles.append(Line2D([], [], color=_figure.GREY, marker="|", ls="", label=label))
    weights = f"cost² = {w1:g} (H_TSE − H₀)² + {w2:g} (H_SIE − H₀)²"
    return [*handles, Line2D([], [], ls="", label=weights)]


def _table(seeds, shown: Experiment, seed: int, variable: str) -> pd.DataFrame:
    """A row a run (kind `run`), with the experiment's own column names, and one a line."""
    runs = pd.concat(seeds.values(), ignore_index=True)
    fitted = shown.table.drop(columns=["seed", *_structure.QUANTITIES, "x"])
    runs = runs.merge(fitted, on="run_id", how="left")
    runs["in_regime"] = runs["run_id"].isin(set(fitted["run_id"]))
    names = EXPORT if variable == "N" else EXPORT | {"x": "dataset_size_D"}
    runs = runs.rename(columns={**names, "ideal": "L_ideal_reducible"}).assign(kind="run")
    lines = pd.DataFrame(
        [{"kind": f"line {name}", "seed": seed, **vars(line)} for name, line in shown.lines.items()]
    )
    first = ["kind", "seed", "run_id", *names.values()]
    table = pd.concat([runs, lines], ignore_index=True)
    return table[[*first, *(c for c in table.columns if c not in first)]]
