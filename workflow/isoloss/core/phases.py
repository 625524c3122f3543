"""A schedule of weightings over training: its phases, and the steps that each of them has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

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
