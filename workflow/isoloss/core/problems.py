"""Problems of a study or table (place, fault, remedy), and the errors that carry them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Problem:
    """One fault of a study or table; it becomes text only where people read it.

    Attributes:
        place: where the fault is: a key of a study, a file, a column; or empty.
        found: what was found there, which is wrong.
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
        """One line: place, what was found there, what to do."""
        there = f"{self.place}: {self.found}" if self.place else self.found
        return f"{there}; {self.remedy}" if self.remedy else there

    def within(self, place: str, joint: str = ": ") -> Problem:
        """The same problem with a further place in front of its own, if it has one."""
        return replace(self, place=f"{place}{joint}{self.place}" if self.place else place)


class IsolossError(Exception):
    """An error that the user can fix: shown without a traceback, with exit code 2.

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
    """All problems of a study.

    Args:
        problems: shown in a line each.
        source: the file in which they were found.
    """

    def __init__(self, problems: Sequence[Problem], source: str = "the study"):
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  - {p}" for p in problems)]))
        self.problems = list(problems)


class TableError(IsolossError):
    """A table cannot be read, or does not keep its contract."""


def nearest(name: object, known: Iterable[object]) -> str:
    """A hint for a name that is not known: the nearest one, or all of them when none is near."""
    choices = sorted({str(k) if str(k).isprintable() else repr(k) for k in known})
    if not choices:
        return "none is known"
    near = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(choices)
