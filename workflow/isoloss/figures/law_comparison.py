"""Which law predicts runs that it did not see best."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from isoloss.figures import _figure
from isoloss.fitted import Fit

TITLE = "Laws compared"
ABOUT = "Error of every law on the runs held out, fold by fold, best first; AICc beside it."
INPUTS = ["fit/scores"]
MIN_FITS = 1
OPTIONS = {
    "group": "group",
    "score": {
        "type": "string",
        "enum": ["rmse", "log_error"],
        "default": "rmse",
        "description": "Error: rmse (unit of the loss) or log_error (root mean squared log ratio).",
    },
}

problems = _figure.group_problems

MOST = 16  # letters of a group beside the title
COLUMNS = (10, 62, 122)  # of text, points to the right of the axes


def draw(inputs: _figure.Inputs, group: str, score: str):
    """Dots are folds, bars their mean; over several losses each dot is their root mean square."""
    _, first, group, _ = inputs.shown(group)
    folds = {name: _folds(fit, group, score) for name, fit in inputs.fits.items()}
    laws = _laws(inputs, folds, group, score)
    tall = 0.6 + 0.25 * len(laws) if inputs.in_paper else 1.9 + 0.42 * len(laws)
    figure, (axes,) = inputs.canvas.new(8.4, tall, listed=True)
    _draw_laws(inputs, axes, laws, folds, group, score)
    _set_axes(inputs, axes, laws, folds, score)
    title = "Laws by held-out error; dots: folds, bars: means"
    if len(first.groups) > 1:
        whose = f"group {_figure.literal(group)}"
        title += f"\n{whose}" if len(whose) > MOST else f"; {whose}"
    axes.set_title(title, pad=22)
    _figure.print_small(figure, inputs, None, group)
    drawn = [f.assign(law=law, what="fold") for law, f in folds.items()]
    parts = [pd.concat(drawn), laws.drop(columns="runs").assign(what="law")]
    return figure, pd.concat(parts, ignore_index=True)


def _laws(
    inputs: _figure.Inputs, folds: Mapping[str, pd.DataFrame], group: str, score: str
) -> pd.DataFrame:
    """A row a law, least error first: `law`, `mean`, `aicc`, `runs`, `n_runs`, `aicc_difference`.

    Differences of AICc are those of laws of the same runs.
    """
    rows = [
        {"law": name, "mean": folds[name][score].mean(), **_evidence(fit, group)}
        for name, fit in inputs.fits.items()
    ]
    laws = pd.DataFrame(rows).sort_values("mean", kind="stable").reset_index(drop=True)
    comparable = laws["runs"] == laws["runs"].value_counts(sort=True).index[0]
    difference = laws["aicc"] - laws.loc[comparable, "aicc"].min()
    return laws.assign(aicc_difference=difference.where(comparable & (comparable.sum() > 1)))


def _draw_laws(
    inputs: _figure.Inputs,
    axes,
    laws: pd.DataFrame,
    folds: Mapping[str, pd.DataFrame],
    group: str,
    score: str,
) -> None:
    """Dots and bar of every law, and beside the panel mean, number of folds and AICc."""
    columns = [x * 0.6 for x in COLUMNS] if inputs.in_paper else COLUMNS
    beside = {"va": "center", "size": 7 if inputs.in_paper else 9, "annotation_clip": False}
    beside |= {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    scored = [name for name in laws["law"] if len(folds[name])]
    rule = frozenset(folds[scored[0]]["fold"]) if scored else frozenset()
    for at, row in enumerate(laws.itertuples()):
        values, many = folds[row.law][score], "none"
        axes.scatter(values, np.full(len(values), at), s=20, color=_figure.COLOURS[0], alpha=0.6,
                     linewidth=0, zorder=3)  # fmt: skip
        if len(values):
            axes.plot([row.mean] * 2, [at - 0.27, at + 0.27], color=_figure.COLOURS[1], lw=2.5)
            others = frozenset(folds[row.law]["fold"]) != rule
            many = f"{len(values)} (other ones)" if others else str(len(values))
        else:
            why = _absent(inputs.fits[row.law], group)
            axes.annotate(why, (0, at), (8, 0), color=_figure.GREY, **beside)
        texts = [f"{row.mean:.3g}" if len(values) else "–", many, _signed(row.aicc_difference)]
        for x, text in zip(columns, texts, strict=True):
            axes.annotate(text, (1, at), (x, 0), **beside)
    for x, text in zip(columns, ("mean", "folds", "ΔAICc"), strict=True):
        axes.annotate(text, (1, -0.75), (x, 0), color=_figure.GREY, **beside)


def _set_axes(
    inputs: _figure.Inputs,
    axes,
    laws: pd.DataFrame,
    folds: Mapping[str, pd.DataFrame],
    score: str,
) -> None:
    """Limits and labels."""
    every = pd.concat([folds[name][score] for name in laws["law"]])
    every = every[every > 0]
    low, high = _figure.span(every, 1.25) if len(every) else (0.01, 1.0)
    _figure.log_axis(axes.xaxis, low, high, form="{:.3g}".format)
    axes.set_yticks(range(len(laws)), [_figure.literal(law) for law in laws["law"]])
    axes.set_ylim(len(laws) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    name = {"rmse": inputs.label("rmse"), "log_error": "RMS of the log ratio"}[score]
    axes.set_xlabel(name if inputs.in_paper else f"Error on runs held out: {name}")


def _folds(fit: Fit, group: str, score: str) -> pd.DataFrame:
    """Folds with the root mean square of their errors over the losses fitted."""
    rows = fit.scores[(fit.scores["group"] == group) & np.isfinite(fit.scores[score].astype(float))]
    squares = rows.assign(**{score: rows[score] ** 2}).groupby("fold", sort=False)
    errors = squares.agg({"n_fitted": "first", "n_held_out": "first", score: "mean"}).reset_index()
    return errors.assign(**{score: np.sqrt(errors[score])})


def _absent(fit: Fit, group: str) -> str:
    """Why a fit has no errors to show."""
    if (fit.scores["group"] == group).any():
        return "no log ratio of values of both signs: score rmse"
    return "no folds: set `holdout` in the fit"


def _evidence(fit: Fit, group: str) -> dict:
    """AICc over the losses fitted, and the runs that it is of."""
    rows = fit.summary[fit.summary["group"] == group]
    seen = fit.residuals[(fit.residuals["group"] == group) & ~fit.residuals["held_out"]]
    runs = frozenset(zip(seen["response"], seen["run_id"], strict=True))
    return {
        "aicc": rows["aicc"].sum(skipna=False) if len(rows) else np.nan,
        "runs": runs,
        "n_runs": int(rows["n_runs"].max()) if len(rows) else 0,
    }


def _signed(value: float) -> str:
    """A difference of AICc; a dash where there is none."""
    return f"+{value:.1f}" if np.isfinite(value) and value else "best" if value == 0 else "–"
