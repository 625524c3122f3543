"""Kinds of a thing that is described by a mapping: `kind`, and the settings of that kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from isoloss.core.problems import IsolossError, Problem, nearest


def made(kinds: Mapping[str, type], settings: Mapping[str, Any], place: str) -> Any:
    """The object that settings describe.

    Args:
        kinds: name to a dataclass, whose fields are the settings of the kind.
        settings: `kind`, and values of its fields; those that have a default can be left out.
        place: what problems are said of.

    Raises:
        IsolossError: no such kind, a setting that it lacks or does not have, or one out of range;
            all problems at once.
    """
    check_mapping(place, settings, f"give `kind` ({', '.join(kinds)}) and its settings")
    given = dict(settings)
    kind = given.pop("kind", None)
    if kind not in kinds:
        raise IsolossError(Problem(f"{place}.kind", f"found {kind!r}", nearest(kind, kinds)))
    own = {field.name: field for field in fields(kinds[kind])}
    wrong = [
        Problem(f"{place}.{name}", f"not a setting of {kind}", nearest(name, own))
        for name in given
        if name not in own
    ]
    wrong += [
        Problem(f"{place}.{name}", "is missing", f"{kind} needs it")
        for name, field in own.items()
        if name not in given and field.default is MISSING
    ]
    if wrong:
        raise IsolossError(*wrong)
    try:
        return kinds[kind](**given)
    except IsolossError as error:
        raise IsolossError(*[one.within(place, ".") for one in error.problems]) from None


def check_mapping(place: str, value: Any, remedy: str) -> None:
    """Raise a problem unless a value is a mapping."""
    if not isinstance(value, Mapping):
        raise IsolossError(Problem(place, f"found {value!r:.60}", remedy))


def check_positive(**values: float) -> None:
    """Raise a problem for every value that is not a number above 0."""
    wrong = [
        Problem(name, f"found {value!r:.60}", "needs a number above 0")
        for name, value in values.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0
    ]
    if wrong:
        raise IsolossError(*wrong)
