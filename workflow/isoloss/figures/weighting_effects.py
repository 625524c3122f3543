"""What a weighting does to the loss of every domain, against a reference at the same settings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.figures import _figure

TITLE = "Effects of weightings"
ABOUT = "Difference of per-domain loss to the reference weighting, at the same settings and seed."
INPUTS = ["aggregate/losses"]
MAX_FITS = 0
OPTIONS = {
    "reference": {
        "type": "string",
        "default": "natural",
        "description": "Weighting that the others are compared with.",
    },
}

ROOM = 20  # letters of a label

# may differ between two runs that are compared, beside what was measured of them
_FREE = {"weighting", "n_unique", "fit_weight"}


def problems(options, runs: pd.DataFrame) -> list[Problem]:
    """What is wrong with the options, given the runs of the sweep (planned or done)."""
    known = set(runs["weighting"].dropna())
    reference = options["reference"]
    if reference not in known:
        return [Problem("reference", f"no run has {reference!r}", nearest(reference, known))]
    if len(known) < 2:
        return [
            Problem("sweep", f"all runs have {reference!r}", "add a cell with another weighting")
        ]
    return []


def differences(runs: pd.DataFrame, losses: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Loss under each weighting minus loss under the reference, pairs of runs and domains.

    A pair is the same in every setting but the weighting.
    """
    roles = tables.roles_of_runs(runs)
    decided = [c for c, role in roles.items() if role in ("setting", "bookkeeping")]
    same = [column for column in decided if column not in _FREE]
    base = runs.loc[runs["weighting"] == reference, [*same, "run_id"]]
    others = runs.loc[runs["weighting"] != reference, [*same, "weighting", "run_id"]]
    pairs = others.merge(base, on=same, suffixes=("", "_reference"))
    whole = runs[["run_id", "loss"]].assign(tag_key="all", domain="all")
    long = pd.concat([whole, losses[["run_id", "loss", "tag_key", "domain"]]])
    where = ["tag_key", "domain"]
    of_reference = long.rename(columns={"run_id": "run_id_reference"})
    both = pairs.merge(long, on="run_id").merge(
        of_reference, on=["run_id_reference", *where], suffixes=("", "_reference")
    )
    both["difference"] = both["loss"] - both["loss_reference"]
    columns = ["weighting", "run_id", "run_id_reference", "n_params", "n_samples", "seed", *where]
    return both[[*columns, "loss", "loss_reference", "difference"]]


def draw(inputs: _figure.Inputs, reference: str):
    """Dots are pairs of runs, bars their mean; below zero the weighting helps."""
    effects = differences(inputs.finished, inputs.tables["losses"], reference)
    if effects.empty:
        known = nearest(reference, set(inputs.finished["weighting"]))
        what = f"no run under {reference!r} has a partner with another weighting"
        raise IsolossError(Problem("weighting_effects", what, f"same settings and seed; {known}"))
    keys = list(dict.fromkeys(effects["tag_key"]))
    rows = [
        (key, value)
        for key in ["all", *sorted(k for k in keys if k != "all")]
        for value in sorted(set(effects.loc[effects["tag_key"] == key, "domain"]))
    ]
    labels = [_figure.literal(v if k == "all" else f"{k}: {v}") for k, v in rows]
    names = sorted(set(effects["weighting"]))
    beside = _long(labels) + _long(map(_figure.literal, names))
    tall = 0.5 + 0.2 * len(rows) if inputs.in_paper else 1.6 + 0.34 * len(rows)
    figure, (axes,) = inputs.canvas.new(7.0 + 0.1 * beside, tall, listed=True)
    for w, weighting in enumerate(names):
        colour = _figure.COLOURS[w % len(_figure.COLOURS)]
        offset = (w - (len(names) - 1) / 2) * 0.3
        for r, (key, value) in enumerate(rows):
            at = (effects["weighting"] == weighting) & (effects["tag_key"] == key)
            values = effects.loc[at & (effects["domain"] == value), "difference"]
            label = _figure.literal(weighting) if r == 0 else None
            axes.scatter(values, np.full(len(values), r + offset), s=18, color=colour, label=label)
            if len(values):
                mean = values.mean()
                axes.plot(
                    [mean, mean], [r + offset - 0.13, r + offset + 0.13], color=colour, lw=2.5
                )
    axes.axvline(0, color=_figure.GREY, linewidth=1)
    axes.set_yticks(range(len(rows)), labels)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    against, unit = _figure.literal(reference), _figure.literal(inputs.loss_unit)
    axes.set_xlabel(f"Difference of loss to {against} ({unit}); left of 0: better")
    axes.set_title(f"Weightings against {against}, same settings and seed; bars: means")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    _figure.print_small(figure, inputs, effects)
    _figure.print_note(figure, inputs, _words(effects))
    return figure, effects


def _words(effects: pd.DataFrame) -> str:
    """How many pairs of runs are drawn."""
    pairs = effects[["run_id", "run_id_reference"]].drop_duplicates()
    return f"{len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'} that differ in the weighting"


def _long(labels: Iterable[str]) -> int:
    """Letters of the longest label beyond what the figure has room for."""
    return max(0, *(len(label) - ROOM for label in labels))
