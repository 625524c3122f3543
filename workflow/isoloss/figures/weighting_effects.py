"""What a weighting does to the loss of every domain, against a reference at the same settings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.figures import _figure
from isoloss.problems import IsolossError, nearest, problem

TITLE = "Effects of weightings"
ABOUT = "Difference of per-domain loss to the reference weighting, at the same N, D and seed."
INPUTS = ["aggregate/runs", "aggregate/losses"]
OPTIONS = {
    "reference": {
        "type": "string",
        "default": "natural",
        "description": "Weighting that the others are compared with.",
    },
}


def differences(runs: pd.DataFrame, losses: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Loss under each weighting minus loss under the reference, pairs of runs and domains."""
    pair = ["n_params", "n_samples", "seed", "tag_key", "domain"]
    whole = runs.assign(tag_key="all", domain="all")
    facts = runs[["run_id", "weighting", "n_params", "n_samples", "seed"]]
    long = pd.concat(
        [whole[["weighting", *pair, "loss_nats"]], losses.drop(columns="step").merge(facts)]
    )
    base = long[long["weighting"] == reference][[*pair, "loss_nats"]]
    others = long[long["weighting"] != reference]
    both = others.merge(base, on=pair, suffixes=("", "_reference"))
    both["difference"] = both["loss_nats"] - both["loss_nats_reference"]
    columns = ["weighting", *pair, "loss_nats", "loss_nats_reference", "difference"]
    return both[columns]


def draw(inputs: _figure.Inputs, reference: str):
    """Dots are pairs of runs, bars their mean; below zero the weighting helps."""
    found = differences(inputs.done, inputs.tables["losses"], reference)
    if found.empty:
        known = nearest(reference, set(inputs.done["weighting"]))
        what = f"no run under {reference!r} has a partner with another weighting"
        raise IsolossError(problem("weighting_effects", what, f"same N, D and seed; {known}"))
    keys = list(dict.fromkeys(found["tag_key"]))
    rows = [
        (key, value)
        for key in ["all", *sorted(k for k in keys if k != "all")]
        for value in sorted(set(found.loc[found["tag_key"] == key, "domain"]))
    ]
    figure, (axes,) = _figure.new(7.0, 1.6 + 0.34 * max(1, len(rows)))
    names = sorted(set(found["weighting"]))
    for w, weighting in enumerate(names):
        colour = _figure.COLOURS[w % len(_figure.COLOURS)]
        offset = (w - (len(names) - 1) / 2) * 0.3
        for r, (key, value) in enumerate(rows):
            at = (found["weighting"] == weighting) & (found["tag_key"] == key)
            values = found.loc[at & (found["domain"] == value), "difference"]
            label = weighting if r == 0 else None
            axes.scatter(values, np.full(len(values), r + offset), s=18, color=colour, label=label)
            if len(values):
                mean = values.mean()
                axes.plot(
                    [mean, mean], [r + offset - 0.13, r + offset + 0.13], color=colour, lw=2.5
                )
    axes.axvline(0, color=_figure.GREY, linewidth=1)
    axes.set_yticks(range(len(rows)), [v if k == "all" else f"{k}: {v}" for k, v in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"Difference of loss to {reference} (nats/{inputs.token}); left of 0: better")
    axes.set_title(f"Weightings against {reference}, same N, D and seed; bars: means")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    _figure.print_small(figure, inputs)
    return figure, found
