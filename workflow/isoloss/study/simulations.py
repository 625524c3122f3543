"""Problems of simulations: what they simulate, and by which estimators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from isoloss.core.problems import IsolossError, Problem
from isoloss.simulate.simulation import experiment_of

_ONE_RUN = pd.DataFrame({"N": [1e6], "D": [1e8]})  # in the place of runs that are not known yet


def simulation_problems(
    entry: Mapping[str, Any], runs: pd.DataFrame | None, place: str
) -> list[Problem]:
    """All that is wrong with a simulation, and that the schema does not see.

    Args:
        entry: of the study, complete.
        runs: of the sweep that its plan names, if they are known.
        place: of the entry.
    """
    plan = dict(entry["plan"])
    if plan["kind"] == "runs":
        if wrong := _sweep_problems(plan, f"{place}.plan"):
            return wrong
        plan = _ONE_RUN if runs is None else runs
    asked = {key: value for key, value in entry.items() if key != "replicates"}
    try:
        experiment_of(**{**asked, "plan": plan})
    except IsolossError as error:
        return [one.within(place, ".") for one in error.problems]
    return []


def _sweep_problems(plan: Mapping[str, Any], place: str) -> list[Problem]:
    """Problems of a plan that takes the runs of a sweep."""
    wrong = [
        Problem(f"{place}.{key}", "not a setting of runs", "leave it out")
        for key in plan
        if key not in ("kind", "sweep")
    ]
    if "sweep" not in plan:
        wrong.append(Problem(f"{place}.sweep", "is missing", "name one of train or aggregate"))
    return wrong
