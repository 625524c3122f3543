"""The law that a user types: which of its names are variables, by the columns of the runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.filters import LETTERS
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fitted.names import FORMULA, RESPONSE
from isoloss.formats.names import bare, words_of
from isoloss.formulas import Formula, divide, read_formula

CARD = FORMULA
LOSS = (RESPONSE, "L")  # names of the loss on the left side of a formula
_SIZES = ("N", "D", "C")
_LONG = 4  # letters of a name that is compared with the words of columns


@dataclass(frozen=True)
class Typed:
    """A formula as a law of a table of runs.

    Attributes:
        formula: as it was read.
        variables: its names that are columns of the runs, in the order of their appearance.
        parameters: its other names.
        response: what it is fitted to: the loss, or a column.
    """

    formula: Formula
    variables: tuple[str, ...]
    parameters: tuple[str, ...]
    response: str

    @property
    def options(self) -> dict[str, Any]:
        """The options of the card `formula`."""
        return {"formula": self.formula.text, "variables": list(self.variables)}


def chosen_law(
    law: str | None,
    formula: str | None,
    options: Mapping[str, Any] | None,
    response: str | None,
    runs: pd.DataFrame,
) -> tuple[str, Mapping[str, Any] | None, str]:
    """The law card, its options and the response that `fit_law` is asked for.

    Args:
        law: law card; None where a formula is given.
        formula: that is fitted; None where a law is given.
        options: of the card; of the card `formula` the variables may be missing.
        response: column that is fitted; None for the loss, or for the left side of the formula.
        runs: a `runs` table.

    Raises:
        IsolossError: both or neither are given, or the formula does not go with the runs.
    """
    if formula is None and law is None:
        do = "name a law card, such as chinchilla, or give a formula"
        raise IsolossError(Problem("law", "neither a law nor a formula is given", do))
    if formula is not None and law not in (None, CARD):
        reason = f"the law {law!r} and a formula are given"
        raise IsolossError(Problem("formula", reason, "leave one of the two out"))
    if formula is not None and options and isinstance(options, Mapping):
        reason = f"found options {', '.join(options)}"
        raise IsolossError(Problem("options", reason, "a formula has none: leave them out"))
    if formula is None and law != CARD:
        return law, options, RESPONSE if response is None else response
    if options is not None and not isinstance(options, Mapping):
        do = "needs names and values, such as {'formula': ...}"
        raise IsolossError(Problem("options", f"found {options!r:.60}", do))
    given = {"formula": formula} if formula is not None else dict(options or {})
    place = "formula" if formula is not None else f"options of {CARD}.formula"
    if not isinstance(given.get("formula"), str):
        reason = f"found {given.get('formula')!r:.60}"
        raise IsolossError(Problem(place, reason, 'needs a text, such as "E + A / N**alpha"'))
    typed = typed_law(given["formula"], runs, response, given.get("variables"), place)
    return CARD, {**given, **typed.options}, typed.response


def fitted_to(
    card: str, options: Mapping[str, Any], response: str | None, runs: pd.DataFrame
) -> str:
    """What a fit is of: the loss, a column that is named, or the left side of a formula.

    Raises:
        IsolossError: the formula is not one, or its left side is not a column.
    """
    return chosen_law(card, None, options, response, runs)[2]


def typed_law(
    text: str,
    runs: pd.DataFrame,
    response: str | None = None,
    variables: Sequence[str] | None = None,
    place: str = "formula",
) -> Typed:
    """A formula as a law of runs: its names that are their columns are variables.

    N, D, C and U are the columns that these letters stand for. C is a variable beside N and D only
    where it is not 6 N D, which the formula can say itself.

    Args:
        text: the formula.
        runs: a `runs` table.
        response: column that is fitted; None for the left side of the formula, or the loss.
        variables: names that are variables; None (or none) for those that are columns.
        place: where the formula is, for errors.

    Raises:
        IsolossError: the text is not a formula, a name resembles a column, it has no variable or no
            parameter, or its left side is not a column.

    Example:
        >>> import pandas as pd
        >>> runs = pd.DataFrame({"n_params": [1e6, 2e6], "experts": [1, 8], "loss": [3.0, 2.9]})
        >>> typed = typed_law("loss = E + A / (N**alpha * experts**gamma)", runs)
        >>> typed.variables, typed.parameters, typed.response
        (('N', 'experts'), ('E', 'A', 'alpha', 'gamma'), 'loss')
    """
    formula = read_formula(text, place)
    columns = columns_of(runs)
    if variables and response is None and formula.response not in columns:
        response = RESPONSE  # whose name in the user's table is on the left side
    response = response_of(formula, response, columns, place)
    if not variables:
        known = [name for name in names_of(runs, formula.names) if name != response]
        variables, parameters = divide(formula, known)
        if wrong := [one for name in parameters for one in _alike(name, known, variables, place)]:
            raise IsolossError(*wrong)
    if wrong := [name for name in variables if name not in formula.names]:
        reason = f"the variable {wrong[0]!r} is not a name of the formula"
        raise IsolossError(Problem(place, reason, nearest(wrong[0], formula.names)))
    others = tuple(name for name in formula.names if name not in variables)
    return Typed(formula, tuple(variables), others, response)


def _alike(
    name: str, columns: Sequence[str], variables: Sequence[str], place: str
) -> Iterator[Problem]:
    """A problem for a parameter that is called as a column is that the formula does not use."""
    for column in columns:
        if column not in variables and called_alike(name, column):
            reason = f"{name!r} is not a column, and the column {column!r} is not used"
            do = f"write {column}, give the column the name {name}, or rename the parameter"
            yield Problem(place, reason, do)
            return


def called_alike(name: str, column: str) -> bool:
    """Whether the name of a column has all words of a name, and more.

    >>> called_alike("expert", "num_experts"), called_alike("a", "param a")
    (True, False)
    """
    words, others = ({word.rstrip("s") for word in words_of(one)} for one in (name, bare(column)))
    return len(name) >= _LONG and bool(words) and words < others


def response_of(
    formula: Formula, response: str | None, columns: Iterable[str], place: str = "formula"
) -> str:
    """What a formula is fitted to: by its left side, unless another column is named.

    Args:
        formula: the law.
        response: column that is named; or None.
        columns: of numbers.
        place: where the formula is, for errors.

    Raises:
        IsolossError: the left side is another column than the one named, or is not a column, or the
            response is on the right side too.
    """
    left, columns = formula.response, list(columns)
    if response is None and left is not None and left not in columns and left not in LOSS:
        reason = f"its left side {left!r} is not a column of numbers"
        do = f"{nearest(left, [RESPONSE, *columns])}; or say which column it is: "
        do += f"--columns {left}=COLUMN (in a study `columns` of the table)"
        formula.refuse(left, reason, do)
    if response is not None and left in columns and left != response:
        reason = f"its left side is {left!r}, and the response is {response!r}"
        raise IsolossError(Problem(place, reason, "name the same column, or leave one of them out"))
    asked = response if response is not None else left
    fitted = RESPONSE if asked is None or (asked in LOSS and asked not in columns) else asked
    if fitted in formula.names:
        reason = f"{fitted!r} is fitted, and is on the right side too"
        raise IsolossError(Problem(place, reason, "write it on the left side alone"))
    return fitted


def columns_of(runs: pd.DataFrame) -> list[str]:
    """The columns of numbers of a `runs` table that a user knows by their names."""
    finished = runs[runs["status"] == "done"] if "status" in runs else runs
    ours = set(tables.schema("runs").names) - {RESPONSE}
    return [str(name) for name in runs if name not in ours and _has_numbers(finished[name])]


def names_of(runs: pd.DataFrame, used: Sequence[str]) -> list[str]:
    """The names that stand for columns of runs in a formula: letters, and columns of numbers.

    Args:
        runs: a `runs` table.
        used: names of the formula.
    """
    finished = runs[runs["status"] == "done"] if "status" in runs else runs
    own = columns_of(runs)
    letters = [
        letter
        for letter, column in LETTERS.items()
        if letter not in own and column in runs and _has_numbers(finished[column])
    ]
    if {"N", "D", "C"} <= {*letters} & {*used} and _is_six_nd(finished):
        letters.remove("C")
    plain = [name for name in used if name in tables.schema("runs").names and name in runs]
    return list(dict.fromkeys([*letters, *own, *(n for n in plain if _has_numbers(finished[n]))]))


def _has_numbers(column: pd.Series) -> bool:
    types = pd.api.types
    if not types.is_numeric_dtype(column.dtype) or types.is_bool_dtype(column.dtype):
        return False
    return bool(np.isfinite(column.to_numpy(float, na_value=np.nan)).any())


def _is_six_nd(runs: pd.DataFrame) -> bool:
    """Whether C says no more than N and D do."""
    n, d, c = (runs[LETTERS[letter]].to_numpy(float) for letter in _SIZES)
    return bool(np.allclose(c, 6.0 * n * d, rtol=1e-9, atol=0.0, equal_nan=True))
