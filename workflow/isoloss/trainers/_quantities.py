"""N, D and C of a run: numbers, formulas of its settings, or values that its program writes."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Mapping
from typing import Any

from isoloss.core import grammar
from isoloss.core.problems import IsolossError, Problem, nearest

QUANTITIES = ("n_params", "n_samples", "n_flops")
WHOLE = ("n_params", "n_samples")  # counts
GREATEST = {"n_params": 1e15, "n_samples": 1e18, "n_flops": 1e30}
_KEY = re.compile(r"[A-Za-z_][\w./:-]*")  # what a value of a log may be called
_SIGNS = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "//": operator.floordiv, "%": operator.mod, "**": operator.pow,
}  # fmt: skip
_FUNCTIONS = {"abs": abs, "round": round, "log": math.log, "exp": math.exp}


def is_formula(text: str, settings: Iterable[str]) -> bool:
    """Whether a text is a formula of settings; else it is the name of a value that is written.

    Example:
        >>> is_formula("12 * width ** 2", ["width"]), is_formula("train/tokens", ["width"])
        (True, False)
    """
    if not _KEY.fullmatch(text):
        return True
    try:
        names = set(grammar.columns(grammar.read(text, "")))
    except IsolossError:
        return False
    return names <= set(settings)


def columns(text: str) -> set[str]:
    """The settings that a formula names."""
    return set(grammar.columns(grammar.read(text, "")))


def problems(text: str, settings: Iterable[str], place: str) -> list[Problem]:
    """What is wrong with a formula; nothing with the name of a value, which is not known yet."""
    known = list(settings)
    if not is_formula(text, known):
        return []
    try:
        term = grammar.read(text, place)
        _check(term, text, place)
    except IsolossError as error:
        return error.problems
    unknown = [name for name in grammar.columns(term) if name not in known]
    return [Problem(place, f"{n!r} is not a setting", nearest(n, known)) for n in unknown]


def _check(term: grammar.Expression, text: str, place: str) -> None:
    """Raise TableError if a term is not one of numbers."""
    allowed = term.kind in ("column", "constant", "arithmetic")
    if not (allowed or (term.kind == "call" and term.value in _FUNCTIONS)):
        remedy = "allowed are settings, numbers, + - * / // % ** and abs, round, log, exp"
        grammar.refuse(text, place, term.start, "is not a formula of numbers", remedy)
    for part in term.parts:
        _check(part, text, place)


def value_of(text: str, settings: Mapping[str, Any], place: str) -> float:
    """The value of a formula.

    Raises:
        IsolossError: it has no finite value.

    Example:
        >>> value_of("12 * width ** 2", {"width": 64}, "n_params")
        49152.0
    """
    try:
        return float(_value(grammar.read(text, place), settings))
    except (ArithmeticError, ValueError, TypeError) as error:
        reason = f"{text!r} has no value for {dict(settings)} ({error})"
        raise IsolossError(Problem(place, reason, "change the formula or the settings")) from error


def _value(term: grammar.Expression, settings: Mapping[str, Any]) -> Any:
    if term.kind == "column":
        return settings[term.value]
    if term.kind == "constant":
        return term.value
    values = [_value(part, settings) for part in term.parts]
    if term.kind == "call":
        return _FUNCTIONS[term.value](*values)
    return _SIGNS[term.value](*values)


def sound(name: str, value: Any, place: str) -> float:
    """A quantity as a number above 0; a count is rounded to a whole number.

    Raises:
        IsolossError: it is not such a number.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 < value <= GREATEST[name]):
        remedy = f"a number above 0 and at most {GREATEST[name]:.0e} is needed"
        raise IsolossError(Problem(place, f"{name} is {value!r}", remedy))
    return float(round(value)) if name in WHOLE else float(value)


def of_settings(stated: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, float]:
    """The quantities that are known before a run.

    Args:
        stated: what the study says each quantity is; one of which it says nothing is the setting
            of its name.
        settings: of the run.

    Raises:
        IsolossError: one is not a number above 0.
    """
    known = {}
    for name in QUANTITIES:
        text = stated.get(name)
        if text is None and name in settings:
            known[name] = sound(name, settings[name], name)
        elif isinstance(text, int | float):
            known[name] = sound(name, text, name)
        elif text is not None and is_formula(text, settings):
            known[name] = sound(name, value_of(text, settings, name), name)
    return known if stated.get("n_flops") is not None else with_flops(known)


def written(stated: Mapping[str, Any], settings: Iterable[str]) -> dict[str, str]:
    """The quantities that the program writes, and what each is called there."""
    known = list(settings)
    texts = {n: stated[n] for n in QUANTITIES if isinstance(stated.get(n), str)}
    return {name: text for name, text in texts.items() if not is_formula(text, known)}


def with_flops(known: Mapping[str, float]) -> dict[str, float]:
    """The quantities, and C = 6 N D where it is not among them and both others are."""
    if "n_flops" in known or not {"n_params", "n_samples"} <= set(known):
        return dict(known)
    return {**known, "n_flops": 6.0 * known["n_params"] * known["n_samples"]}
