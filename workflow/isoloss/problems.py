"""What is wrong with a study, a table or a row, said so that a person can mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class IsolossError(Exception):
    """An error of the user's making: shown as it is, without a traceback, exit code 2."""


class StudyError(IsolossError):
    """Everything that is wrong with a study, all at once.

    Args:
        problems: one line each, as `problem` makes them.
        source: the file in which they were found.
    """

    def __init__(self, problems: Sequence[str], source: str = "the study"):
        self.problems = list(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  - {p}" for p in self.problems)]))


class TableError(IsolossError):
    """A table that cannot be read or does not keep its contract."""


def nearest(name: object, known: Iterable[object]) -> str:
    """A hint for a name that is not known: the nearest one, or all of them when none is near."""
    choices = sorted(str(k) if str(k).isprintable() else repr(k) for k in known)
    if not choices:
        return "none is known"
    near = difflib.get_close_matches(str(name), choices, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(choices)


def problem(place: str, found: str, do: str) -> str:
    """One line: where it stands, what was found there, what to do."""
    return f"{place}: {found}; {do}"
