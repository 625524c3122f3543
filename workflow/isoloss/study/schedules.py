"""Checks of the runs under a schedule of weightings."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from isoloss.core.phases import Phases, phase_steps
from isoloss.core.problems import Problem


def schedule_problems(
    plan: pd.DataFrame, schedules: Mapping[str, Phases], place: str
) -> list[Problem]:
    """Problems of runs under a schedule: a phase without a step, a part of the rows asked for.

    Args:
        plan: the `plan` table of a sweep.
        schedules: schedule of weightings to its phases.
        place: of the sweep's cells.
    """
    wrong = []
    for name, phases in schedules.items():
        runs = plan[plan["weighting"] == name]
        if runs.empty:
            continue
        shortest = runs.loc[runs["n_steps"].astype(int).idxmin()]
        steps = phase_steps(phases, int(shortest["n_steps"]))
        if min(steps) < 1:
            number = steps.index(min(steps))
            reason = (
                f"phase {number + 1} of {name!r} ({phases[number]['weighting']}) has no step in a"
                f" run of {shortest['n_steps']} steps ({shortest['run_id']})"
            )
            remedy = "make the phase or the run longer, or its batches smaller"
            wrong.append(Problem(place, reason, remedy))
        if "n_available" in runs and runs["n_available"].notna().any():
            reason = f"n_unique with the schedule {name!r}, whose phases have rows of their own"
            remedy = "leave n_unique and epochs out, and say how long a run is by n_samples"
            wrong.append(Problem(place, reason, remedy))
    return wrong
