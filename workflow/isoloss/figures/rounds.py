"""Adaptive rounds: what each was trained at and why, and how the law and its optimum moved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.figures import _figure
from isoloss.fitted import Fit
from isoloss.fitted.facts import record

TITLE = "Rounds of fit and training"
ABOUT = "Round by round: runs and optimum, the optimal N at a target, parameters, predictions."
INPUTS = ["choose/choices", "fit/replicates"]
MIN_FITS = 1
MAX_FITS = 1
NEEDS = "allocate"  # of the law
OPTIONS = {
    "group": "group",
    "target": {
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "maximum": 1e40,
        "default": None,
        "unit": "FLOP",
        "description": "Budget whose best N is shown; that of the largest run or choice if null.",
    },
}

LEGEND = 8  # rounds at most that have a line in the legend
TOLD = 2  # reasons at most that are told why rounds chose nothing
FAR = 1e3  # factor beyond which an interval or an optimum runs out of its panel
POINTS = 40  # of a frontier

problems = _figure.group_problems


def draw(inputs: _figure.Inputs, group: str, target: float | None):
    """Runs and frontiers, the optimum at the target, parameters, and errors of prediction."""
    story = _Story.of(inputs, group, target)
    figure, panels = inputs.canvas.grid(4, 2, 5.4, 3.7)
    drawn = [
        _draw_plane(panels[0], inputs, story),
        _draw_optimum(panels[1], inputs, story),
        _draw_parameters(panels[2], inputs, story),
        _draw_surprises(panels[3], inputs, story),
    ]
    for axes in panels[1:]:
        axes.set_xticks(_whole(len(story.fits)))
        axes.set_xlim(-0.5, len(story.fits) - 0.5)
        axes.set_xlabel("Round (0: seeding runs)")
    _figure.head(figure, story.title, _handles(story))
    table = pd.concat(drawn, ignore_index=True)
    _figure.print_small(figure, inputs, table, story.group)
    return figure, table


@dataclass(frozen=True)
class _Story:
    """What the rounds of a sweep were: a fit a round, the runs, and what was chosen.

    Attributes:
        name: of the fit.
        group: that is shown.
        fits: of every round, each of the runs up to and with it.
        runs: that the last fit could use, with their `round`.
        choices: of every round after the first; rows without `choice` are not to be trained.
        target: the budget followed, FLOP.
    """

    name: str
    group: str
    fits: tuple[Fit, ...]
    runs: pd.DataFrame
    choices: pd.DataFrame
    target: float

    @classmethod
    def of(cls, inputs: _figure.Inputs, group: str, target: float | None) -> _Story:
        name, fit, group, runs = inputs.shown(group)
        rounds = pd.Series(0, inputs.runs["run_id"], dtype="Int64")
        if "round" in inputs.runs:
            given = inputs.runs.set_index("run_id")["round"]
            rounds = given.astype("Int64").fillna(0)
        runs = runs.assign(round=rounds.reindex(runs["run_id"]).to_numpy(int))
        choices = inputs.tables["choices"]
        largest = max([runs["n_flops_6nd"].max(), *choices["n_flops"].dropna()])
        fits = inputs.rounds or (fit,)
        return cls(name, group, fits, runs, choices, float(target or largest))

    @cached_property
    def colours(self) -> list:
        """One a round, from dark to light."""
        from matplotlib import colormaps

        return list(colormaps[_figure.SEQUENTIAL](np.linspace(0, 0.88, len(self.fits))))

    @property
    def title(self) -> str:
        """The law, and why rounds chose nothing."""
        title = f"{self.name}: {self.fits[-1].law.formula}"
        chosen = set(self.choices.dropna(subset=["choice"])["round"])
        empty = self.choices[~self.choices["round"].isin(chosen)].drop_duplicates("round")
        reasons = empty.groupby("reason", sort=False)["round"].agg(list)
        for reason, numbers in list(reasons.items())[:TOLD]:
            rounds = f"round{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
            title += f"\n{rounds} chose nothing: {_figure.literal(reason, 2 * _figure.REASON)}"
        if others := sum(map(len, reasons[TOLD:])):
            title += f"\n{others} more rounds chose nothing"
        return title

    @property
    def unsound(self) -> list[bool]:
        """Of every round, whether its fit is one to use with care or not at all."""
        return [any(self.group == one.group for one in record(fit).unsound) for fit in self.fits]


def _whole(count: int) -> list[int]:
    """Numbers of rounds for an axis: all, or at most eleven."""
    return list(range(0, count, -(-count // 11)))


def _draw_plane(axes, inputs: _figure.Inputs, story: _Story) -> pd.DataFrame:
    """N against C: the runs and the optimum of each round, with the last one's interval."""
    flops = np.geomspace(story.runs["n_flops_6nd"].min(), story.target, POINTS)
    frontiers = []
    for number, (fit, colour) in enumerate(zip(story.fits, story.colours, strict=True)):
        best = fit.allocate(flops, story.group).assign(round=number)
        frontiers.append(best)
        axes.plot(best["C"], best["N"], color=colour, linewidth=1.3)
        here = story.runs[story.runs["round"] == number]
        axes.scatter(here["n_flops_6nd"], here["n_params"], s=24, color=colour, zorder=3,
                     edgecolor="white", linewidth=0.5)  # fmt: skip
    last = frontiers[-1]
    band = {"color": story.colours[-1], "alpha": 0.18, "linewidth": 0}
    axes.fill_between(last["C"], last["N_low"], last["N_high"], **band)
    chosen = story.choices.dropna(subset=["choice"])
    for row in chosen.itertuples():
        axes.plot(row.n_flops, row.n_params, "o", markersize=10, fillstyle="none", zorder=4,
                  color=story.colours[min(row.round, len(story.colours) - 1)])  # fmt: skip
    most = [*story.runs["n_flops_6nd"], *chosen["n_flops"], story.target]
    _figure.log_axis(axes.xaxis, *_figure.span(most, 1.5), form=units.power, most=6)
    sizes = [*story.runs["n_params"], *chosen["n_params"]]
    best = np.clip(pd.concat(frontiers)["N"].dropna(), min(sizes) / FAR, max(sizes) * FAR)
    limits = _figure.span([*sizes, *best], 1.6)
    _figure.log_axis(axes.yaxis, *limits, form=units.count, most=6)
    axes.set_xlabel(inputs.label("n_flops_6nd"))
    axes.set_ylabel(inputs.label("n_params"))
    axes.set_title("Runs, choices and optimum")
    run = story.runs[["round", "run_id", "n_params", "n_samples", "n_flops_6nd", "loss"]]
    choice = ["round", "choice", "n_params", "n_samples", "n_flops", "n_low", "n_high", "reason"]
    return pd.concat(
        [
            run.assign(what="run"),
            story.choices[choice].assign(what="choice"),
            _numbered(pd.concat(frontiers)).assign(what="frontier"),
        ],
        ignore_index=True,
    )


def _numbered(best: pd.DataFrame) -> pd.DataFrame:
    """Rows of `allocate` with the names that tables have."""
    kept = {"round": "round", "C": "n_flops", "N": "n_params", "N_low": "n_low", "N_high": "n_high"}
    return best[list(kept)].rename(columns=kept)


def _draw_optimum(axes, inputs: _figure.Inputs, story: _Story) -> pd.DataFrame:
    """The optimal N at the target by the fit of each round."""
    best = pd.concat(
        [
            fit.allocate(story.target, story.group).assign(round=number)
            for number, fit in enumerate(story.fits)
        ],
        ignore_index=True,
    )
    axes.plot(best["round"], best["N"], color=_figure.GREY, linewidth=1, zorder=1)
    shown = []
    for row, colour, hollow in zip(best.itertuples(), story.colours, story.unsound, strict=True):
        axes.vlines(row.round, row.N_low, row.N_high, color=colour, linewidth=2)
        axes.plot(row.round, row.N, "o", color=colour, markersize=7,
                  markerfacecolor="white" if hollow else colour)  # fmt: skip
        shown += [row.N, row.N_low, row.N_high]
    shown, middle = np.array(shown, float), best["N"].dropna()
    limits = (0.1, 10.0)
    if len(middle):
        near = np.clip(shown[np.isfinite(shown)], middle.min() / FAR, middle.max() * FAR)
        limits = _figure.span(near, 1.2)
    _figure.log_axis(axes.yaxis, *limits, form=units.count, most=6)
    axes.set_ylabel(inputs.label("n_params"))
    axes.set_title(f"Optimal N at {units.power(story.target)} FLOP")
    return _numbered(best).assign(what="optimum")


def _draw_parameters(axes, inputs: _figure.Inputs, story: _Story) -> pd.DataFrame:
    """The law's positive parameters, each over what the last fit says."""
    rows = [
        fit.rows_of("params", story.group, fit.responses[0]).assign(round=number)
        for number, fit in enumerate(story.fits)
    ]
    table = pd.concat(rows, ignore_index=True)
    table = table[["round", "term", "symbol", "estimate", "ci_low", "ci_high"]]
    terms = [
        (term, part)
        for term, part in table.groupby("term", sort=False)
        if (part["estimate"] > 0).all() and part["ci_low"].notna().any()
    ][: len(_figure.COLOURS)]
    axes.axhline(1, color=_figure.GREY, linewidth=1)
    shown = [1.0]
    for number, (_, part) in enumerate(terms):
        last = part["estimate"].iloc[-1]
        ratio = part[["estimate", "ci_low", "ci_high"]].astype(float) / last
        at = part["round"] + 0.09 * (number - (len(terms) - 1) / 2)
        colour = _figure.COLOURS[number]
        low = ratio["ci_low"].where(ratio["ci_low"] > 0)
        axes.vlines(at, low, ratio["ci_high"], color=colour, linewidth=1.4)
        axes.plot(at, ratio["estimate"], "o", markersize=4.5, color=colour,
                  label=inputs.named(part["symbol"].iloc[0]))  # fmt: skip
        shown += [*ratio["estimate"], *low, *ratio["ci_high"]]
    shown = np.array(shown, float)
    inner = np.clip(shown[np.isfinite(shown)], 1e-2, 1e2)
    low, high = _figure.span(inner, 1.2)
    high *= (high / low) ** 0.12  # room for the legend
    _figure.log_axis(axes.yaxis, low, high, form="{:.3g}".format, most=6)
    axes.set_ylabel("Parameter over its last estimate")
    axes.set_title("Parameters of the law")
    if terms:
        legend = axes.legend(loc="upper right", ncols=len(terms), columnspacing=0.8,
                             handletextpad=0.1, borderaxespad=0.1, frameon=True, framealpha=0.9,
                             edgecolor="none")  # fmt: skip
        for text in legend.get_texts():
            text.set_gid(_figure.FORMULA["gid"])
    else:
        _tell(axes, "no parameter has an interval: set `bootstrap` in the fit")
    return table.assign(what="parameter")


def _draw_surprises(axes, inputs: _figure.Inputs, story: _Story) -> pd.DataFrame:
    """Losses of each round's runs against what the fit before them predicts."""
    parts = []
    for number, fit in enumerate(story.fits[:-1], start=1):
        runs = story.runs[story.runs["round"] == number].sort_values("n_flops_6nd")
        if runs.empty:
            continue
        variables = {"N": runs["n_params"], "D": runs["n_samples"], "C": runs["n_flops"]}
        given = {name: variables[name].to_numpy(float) for name in fit.law.variables}
        predicted = fit.predict(story.group, **given)
        part = runs[["round", "run_id", "n_params", "n_samples", "loss"]].reset_index(drop=True)
        intervals = {"loss": "predicted", "low": "predicted_low", "high": "predicted_high"}
        parts.append(part.join(predicted[list(intervals)].rename(columns=intervals)))
        error = parts[-1]["loss"] - parts[-1]["predicted"]
        at = number + np.linspace(-0.25, 0.25, len(part) + 2)[1:-1]
        low = parts[-1]["predicted_low"] - parts[-1]["predicted"]
        high = parts[-1]["predicted_high"] - parts[-1]["predicted"]
        axes.vlines(at, low, high, color=_figure.GREY, alpha=0.5, linewidth=5)
        axes.plot(at, error, "o", markersize=5, color=story.colours[number])
    axes.axhline(0, color=_figure.GREY, linewidth=1)
    axes.set_ylabel(f"Observed minus predicted ({_figure.literal(inputs.loss_unit)})")
    axes.set_title("Runs against the fit before them; bars: interval of the law")
    if not parts:
        _tell(axes, "no run was trained after the seeding runs")
        return pd.DataFrame()
    return pd.concat(parts).assign(what="prediction")


def _tell(axes, text: str) -> None:
    """A sentence in the middle of an empty panel."""
    axes.set_yticks([])
    centre = {"ha": "center", "va": "center", "transform": axes.transAxes}
    axes.text(0.5, 0.62, text, color=_figure.GREY, size=9, **centre)


def _handles(story: _Story) -> list:
    """A colour a round, and what the marks mean."""
    from matplotlib.lines import Line2D

    every = -(-len(story.fits) // LEGEND)
    handles = [
        Line2D([], [], color=colour, marker="o", markersize=5, label=f"round {number}")
        for number, colour in enumerate(story.colours)
        if number % every == 0
    ]
    grey = {"color": _figure.GREY, "linestyle": "none", "marker": "o"}
    if story.choices["choice"].notna().any():
        handles.append(Line2D([], [], markersize=10, fillstyle="none", label="chosen", **grey))
    if any(story.unsound):
        label = "fit to use with care, or not at all"
        handles.append(Line2D([], [], markersize=6, fillstyle="none", label=label, **grey))
    bar = {"color": _figure.GREY, "linewidth": 4, "alpha": 0.6}
    handles.append(Line2D([], [], label=f"{story.fits[-1].level * 100:g} % interval", **bar))
    return handles
