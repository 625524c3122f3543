"""The part of the summary about adaptive rounds: what was chosen, what came of it, why it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.escape import markdown

_HEAD = (
    "round",
    "C (FLOP)",
    "N chosen",
    "best N at C",
    "D chosen",
    "N trained",
    "D trained",
    "loss predicted",
    "loss",
)
# what a factor in N and in D counts for: D is met within a step, N only by a size that a model has
_NEARNESS = {"n_params": 1.0, "n_samples": 10.0}


def table(sweep: str, rounds: Sequence[pd.DataFrame], runs: pd.DataFrame) -> list[str]:
    """Lines with a table of what the rounds chose and trained, and why some trained nothing.

    Args:
        sweep: the last round.
        rounds: the `choices` table of every round, in order.
        runs: the `runs` table of the last round.
    """
    choices = pd.DataFrame([one for of_round in rounds for one in of_round.to_dict("records")])
    chosen = choices[choices["choice"].notna()]
    planners = ", ".join(markdown(name) for name in choices["planner"].unique())
    seeds = int((runs["round"] == 0).sum())
    count = f"{len(rounds)} {'round' if len(rounds) == 1 else 'rounds'}"
    title = f"- **Rounds** ({markdown(sweep)}, {planners}): {seeds} seeding runs, then"
    lines = [f"{title} {len(chosen)} chosen in {count}", ""]
    if len(chosen):
        cells = [
            _HEAD,
            ["---"] * len(_HEAD),
            *(_row(one, runs) for one in chosen.to_dict("records")),
        ]
        lines += [f"  | {' | '.join(row)} |" for row in cells]
        lines.append("")
    for number, of_round in choices.groupby("round"):
        left_out = map(markdown, of_round.loc[of_round["choice"].isna(), "reason"])
        empty = of_round["choice"].isna().all()
        lines += [f"  - round {number}{' trains nothing' if empty else ''}: {r}" for r in left_out]
    return lines


def _row(choice: Mapping[str, Any], runs: pd.DataFrame) -> list[str]:
    """A choice, and the run that came of it: the nearest in N and D of those up to its round."""
    known = runs[runs["round"] <= choice["round"]]
    distance = sum(
        weight * np.log(known[key].astype(float) / choice[key]).abs()
        for key, weight in _NEARNESS.items()
    )
    run = known.loc[distance.idxmin()]
    predicted = _with_interval(choice["loss_predicted"], choice["loss_low"], choice["loss_high"])
    return [
        str(choice["round"]),
        units.power(choice["n_flops"]),
        units.count(choice["n_params"]),
        units.interval(choice["n_low"], choice["n_high"], units.count),
        units.count(choice["n_samples"]),
        units.count(run["n_params"]),
        units.count(run["n_samples"]),
        predicted,
        f"{run['loss']:.4g}" if run["status"] == "done" else markdown(run["status"]),
    ]


def _with_interval(value: float, low: float, high: float) -> str:
    return units.estimate(value, low, high, "{:.4g}".format)
