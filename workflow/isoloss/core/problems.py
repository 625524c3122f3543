"""What is wrong with a study, a table or a row, with its place and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; its text is made only where people read it.

    Attributes:
        place: where it stands: a key of a study, a file, a column; or empty.
        found: what was found there.
        remedy: what to do about it; or empty.

    Example:
        >>> missing = Problem("columns.N", "no column 'parms'", "did you mean 'params'?")
        >>> str(missing)
        "columns.N: no column 'parms'; did you mean 'params'?"
        >>> missing.within("aggregate.mine").place
        'aggregate.mine: columns.N'
    """

    place: str
    found: str
    remedy: str

    def __str__(self) -> str:
        """One line: where it stands, what was found there, what to do."""
        there = f"{self.place}: {self.found}" if self.place else self.found
        return f"{there}; {self.remedy}" if self.remedy else there

    def within(self, place: str, joint: str = ": ") -> Problem:
        """The same problem, of something that stands in another place."""
        return replace(self, place=f"{place}{joint}{self.place}")


class IsolossError(Exception):
    """An error of the user's making: shown as it is, without a traceback, exit code 2.

    Args:
        reasons: problems, or a text; each is a line of its own.

    Attributes:
        problems: the reasons; a text is a problem without a place.
    """

    def __init__(self, *reasons: Problem | str):
        super().__init__(*reasons)
        self.problems = [
            Problem("", reason, "") if isinstance(reason, str) else reason for reason in reasons
        ]

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


class StudyError(IsolossError):
    """Everything that is wrong with a study, all at once.

    Args:
        problems: shown in a line each.
        source: the file in which they were found.
    """

    def __init__(self, problems: Sequence[Problem], source: str = "the study"):
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  - {p}" for p in problems)]))
        self.problems = list(problems)


class TableError(IsolossError):
    """A table that cannot be read or does not keep its contract."""


def nearest(name: object, known: Iterable[object]) -> str:
    """A hint for a name that is not known: the nearest one, or all of them when none is near."""
    choices = sorted(str(k) if str(k).isprintable() else repr(k) for k in known)
    if not choices:
        return "none is known"
    near = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(choices)
