"""Checks of schedules of weightings: their phases, and the runs under them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pandas as pd

from isoloss.core.phases import Phases, phase_steps
from isoloss.core.problems import Problem, nearest
from isoloss.core.weightings import form


def phase_problems(phases: Phases, expand: Mapping[str, Any], place: str) -> list[Problem]:
    """What is wrong with the phases of a schedule.

    Args:
        phases: each with a `weighting` and perhaps `until`, above 0 and at most 1.
        expand: the section of a study.
        place: of the schedule in the study.
    """
    wrong = []
    # entries that are not mappings are reported by the schema
    forms = {n: form(entry) if isinstance(entry, Mapping) else "" for n, entry in expand.items()}
    weightings = [other for other, kind in forms.items() if kind != "phases"]
    designs = tuple(f"{other}_" for other, kind in forms.items() if kind == "mixtures")
    for i, phase in enumerate(phases):
        name, at = phase["weighting"], f"{place}.phases[{i}]"
        if name not in expand and not name.startswith(designs):  # points not spelled out yet
            reason = f"{name!r} is not in expand"
            wrong.append(Problem(f"{at}.weighting", reason, nearest(name, weightings)))
        elif name in expand and name not in weightings:
            reason = f"{name!r} is a schedule itself"
            wrong.append(Problem(f"{at}.weighting", reason, "write its phases out here"))
        if "until" not in phase and i < len(phases) - 1:
            reason = "`until` is missing, which only the last phase may leave out"
            wrong.append(Problem(at, reason, "add it: the fraction of the run at which it ends"))
    if phases[-1].get("until", 1) != 1:
        reason = f"the last phase ends at {phases[-1]['until']:g} of the run"
        wrong.append(Problem(place, reason, "leave its `until` out, or add a phase after it"))
    ends = [phase["until"] for phase in phases[:-1] if "until" in phase]
    ends.append(phases[-1].get("until", 1))
    if any(later <= earlier for earlier, later in pairwise(ends)):
        reason = f"`until` of its phases: {', '.join(f'{end:g}' for end in ends)}"
        wrong.append(Problem(place, reason, "each phase ends later than the one before it"))
    return wrong


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
        lacking = [n for n in runs["n_steps"].astype(int) if min(phase_steps(phases, n)) < 1]
        if lacking:
            run_id = runs.loc[runs["n_steps"] == min(lacking), "run_id"].iloc[0]
            number = phase_steps(phases, min(lacking)).index(0)
            reason = (
                f"phase {number + 1} of {name!r} ({phases[number]['weighting']}) has no step in a"
                f" run of {min(lacking)} steps ({run_id})"
            )
            remedy = "make the phase or the run longer, or its batches smaller"
            wrong.append(Problem(place, reason, remedy))
        if "n_available" in runs and runs["n_available"].notna().any():
            reason = f"n_unique with the schedule {name!r}, whose phases have rows of their own"
            remedy = "leave n_unique and epochs out, and say how long a run is by n_samples"
            wrong.append(Problem(place, reason, remedy))
    return wrong
