"""A schedule of weightings over training: its phases, and the steps that each of them has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from isoloss.core.problems import Problem, nearest

Phases = Sequence[Mapping[str, Any]]  # each with `weighting` and, but for the last, `until`


def phases_of(entry: Mapping[str, Any]) -> Phases | None:
    """The phases of a sound entry of `expand`; None if it is not a schedule."""
    return entry.get("phases")


def parts(expand: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The weightings whose rows some weightings are trained on, sorted: a schedule has none itself.

    Args:
        expand: the section of a study.
        names: entries of it.

    Example:
        >>> late = {"phases": [{"weighting": "natural", "until": 0.8}, {"weighting": "docs"}]}
        >>> parts({"natural": {}, "docs": {}, "late": late}, ["natural", "late"])
        ['docs', 'natural']
    """
    each = ((name, phases_of(expand[name])) for name in names)
    return sorted(
        {
            weighting
            for name, phases in each
            for weighting in ([name] if phases is None else [p["weighting"] for p in phases])
        }
    )


def phase_steps(phases: Phases, n_steps: int) -> list[int]:
    """How many steps of a run every phase has; each ends at the step nearest to its `until`.

    Args:
        phases: of a schedule.
        n_steps: of the run.

    Example:
        >>> phase_steps([{"weighting": "a", "until": 0.8}, {"weighting": "b"}], 44)
        [35, 9]
    """
    ends = [round(phase.get("until", 1) * n_steps) for phase in phases]
    return [end - begin for begin, end in pairwise([0, *ends])]


def problems(phases: Phases, expand: Mapping[str, Any], place: str) -> list[Problem]:
    """What is wrong with the phases of a schedule.

    Args:
        phases: each with a `weighting` and perhaps `until`, above 0 and at most 1.
        expand: the section of a study.
        place: of the schedule in the study.
    """
    wrong = []
    weightings = [name for name, entry in expand.items() if "phases" not in entry]
    designs = tuple(f"{name}_" for name, entry in expand.items() if "mixtures" in entry)
    for i, phase in enumerate(phases):
        name, at = phase["weighting"], f"{place}.phases[{i}]"
        if name not in expand and not name.startswith(designs):  # points not spelled out yet
            reason = f"{name!r} is not in expand"
            wrong.append(Problem(f"{at}.weighting", reason, nearest(name, weightings)))
        elif name in expand and name not in weightings:
            reason = f"{name!r} is a schedule itself"
            wrong.append(Problem(f"{at}.weighting", reason, "write its phases out here"))
        if "until" not in phase and phase is not phases[-1]:
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
