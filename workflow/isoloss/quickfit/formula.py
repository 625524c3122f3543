"""What the columns of a user's table are in a formula that the user types."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from isoloss.aggregate import loss_units
from isoloss.aggregate.guess import guess_columns, holds_numbers, run_ids
from isoloss.aggregate.numbers import read_numbers
from isoloss.aggregate.table import COLUMNS
from isoloss.core.escape import listed
from isoloss.core.filters import LETTERS
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fit.formula import CARD, LOSS, called_alike, response_of
from isoloss.fitted.names import RESPONSE
from isoloss.formats.names import bare, meanings, words_of
from isoloss.formulas import Formula, divide, read_formula, without_effect
from isoloss.formulas.tree import Node, names_of, walk
from isoloss.quickfit.ask import SIZES, Known, pasted, question
from isoloss.quickfit.proposal import column_for, name_of, varying
from isoloss.quickfit.report import Meaning

_CANCELS = "the formula has the same value whatever it is"
_FILE = "@"  # before the path of a file that holds a formula
_MOST = 100_000  # bytes of such a file


@dataclass(frozen=True)
class Asked:
    """A formula and what a user says of a table's columns.

    Attributes:
        text: the formula, as it was typed.
        given: letter, word or name of the formula to column; empty where there is none.
        response: column that is fitted; None for the left side of the formula, or the loss.
        command: that the user is told to give again where a column has to be named.
    """

    text: str
    given: Mapping[str, str]
    response: str | None
    command: str


def text_of(given: str) -> str:
    """A formula as it is given: the text, or that of a file (`@law.txt`).

    Raises:
        IsolossError: the file cannot be read.
    """
    if not given.startswith(_FILE):
        return given
    path, place = Path(given.removeprefix(_FILE)), "formula"
    try:
        with path.open("rb") as file:
            return file.read(_MOST).decode("utf-8").strip()
    except OSError as error:
        reason = f"cannot read {str(path)!r} ({error.strerror})"
        raise IsolossError(Problem(place, reason, "name a file with the formula")) from error
    except UnicodeDecodeError as error:
        reason = f"{str(path)!r} is not UTF-8 text"
        raise IsolossError(Problem(place, reason, "save it as UTF-8")) from error


def meaning_of(raw: pd.DataFrame, source: str, asked: Asked) -> Meaning:
    """What a table's columns are in a formula: letters by guess, other names by the columns.

    Args:
        raw: the table.
        source: what it is called.
        asked: the formula, and what the user says.

    Raises:
        IsolossError: the text is not a formula, a name resembles a column, or columns that the
            formula needs are not known.
    """
    formula = read_formula(asked.text, "formula")
    given = _given(raw, source, formula, asked.given)
    guessed = _left_side(raw, formula, given) if asked.response is None else {}
    response, given = _response(raw, formula, asked.response, {**given, **guessed})
    known = given if response is None else {"loss": "", **given}
    if response is not None and RESPONSE in formula.names:
        known = given
    taken = {response, *given.values()}
    others = [name for name in raw if name == response]
    guess = guess_columns(raw.drop(columns=others), known)
    both = {**run_ids(raw, guess.columns), **given}
    columns = {key: both[key] for key in (*COLUMNS, *given) if both.get(key)}
    signed = is_negative(raw, columns.get("loss"))
    notes = (f"{columns['loss']} has values that are not above 0",) if signed else ()
    notes += tuple(f"{name} has no effect: {_CANCELS}" for name in without_effect(formula.tree))
    shown = f"{asked.command} --formula {shlex.quote(asked.text)}"
    state = Known(source, raw, columns, given, guess, frozenset(), response, shown)
    state = replace(state, needs=frozenset(_needed(formula, state)))
    if (problem := question(state)) is not None:
        raise IsolossError(problem)
    columns |= _called(formula, state, taken)
    state = replace(state, columns=columns)
    variables, parameters = divided(formula, state, taken)
    if "C" in variables and "C" not in columns:
        notes += ("C is compute, 6 N D; as a parameter: --columns C=",)
    own = {name: name for name in variables if name not in {*columns, *LETTERS}}
    given |= own  # a name that is a column's is not guessed
    by_user = {key: column for key, column in given.items() if key not in guessed}
    meaning = Meaning(source, CARD, {**columns, **own}, by_user, guess, {}, notes, response)
    meaning = replace(meaning, variables=variables, parameters=parameters)
    return replace(meaning, formula=asked.text, signed=signed)


def _given(
    raw: pd.DataFrame, source: str, formula: Formula, given: Mapping[str, str]
) -> dict[str, str]:
    """What the user says of the columns; a letter of the formula that is a column's name is it."""
    wrong = []
    for key, column in given.items():
        if key not in COLUMNS and key not in {*formula.names, formula.response}:
            reason = "is neither a known quantity nor a name of the formula"
            near = nearest(key, {*COLUMNS, *formula.names, *filter(None, [formula.response])})
            wrong.append(Problem(f"{source}, columns.{key}", reason, near))
        if column and column not in raw:
            near = nearest(column, raw.columns)
            wrong.append(Problem(f"{source}, columns.{key}", f"no column {column!r}", near))
    if wrong:
        raise IsolossError(*wrong)
    own = {
        letter: letter
        for letter in LETTERS
        if letter in formula.names and letter in raw and letter not in given
        and letter not in given.values() and holds_numbers(raw[letter])
    }  # fmt: skip
    return {**own, **given}


def _left_side(raw: pd.DataFrame, formula: Formula, given: Mapping[str, str]) -> dict[str, str]:
    """The column of the left side, where that is in the words of one column alone: accuracy."""
    left = formula.response
    if left is None or left in {*raw, *given, *LOSS}:
        return {}
    free = [name for name in raw if name not in given.values() and holds_numbers(raw[name])]
    alike = [name for name in free if name_of(name) == left or called_alike(left, name)]
    return {left: alike[0]} if len(alike) == 1 else {}


def _response(
    raw: pd.DataFrame, formula: Formula, response: str | None, given: Mapping[str, str]
) -> tuple[str | None, dict[str, str]]:
    """The column that is fitted in the place of the loss, if one is, and the columns given."""
    numeric = [name for name in raw if holds_numbers(raw[name])]
    named = [formula.response] if given.get(formula.response) in numeric else []
    fitted = response_of(formula, response, [*numeric, *named])
    if fitted == RESPONSE or (fitted in LOSS and response is None):
        return None, dict(given)
    column = given[fitted] if named else fitted
    may_be_loss = response is None and RESPONSE not in {*given, *formula.names}
    if may_be_loss and _is_loss(raw, column):
        return None, {"loss": column, **{k: name for k, name in given.items() if k not in named}}
    if fitted in given.values():
        key = next(key for key, column in given.items() if column == fitted)
        if key == "loss":
            return None, dict(given)
    return fitted, dict(given)


def _is_loss(raw: pd.DataFrame, column: str) -> bool:
    """Whether a column is a loss by its name, in a unit that is fitted as it is."""
    if "loss" not in meanings(column):
        return False
    numbers = read_numbers(raw[column])
    return not loss_units.unit_of(numbers.values, numbers.unit, column).change


def is_negative(raw: pd.DataFrame, column: str | None) -> bool:
    """Whether a column of losses has values that are not above 0."""
    if column is None or column not in raw:
        return False
    values = read_numbers(raw[column]).values
    return bool((values[np.isfinite(values)] <= 0).any())


def _needed(formula: Formula, known: Known) -> list[str]:
    """The sizes that the formula needs: N and D, unless the user says that there are none.

    C is one where the table has it, or where N and D give it and the formula has not both of them.
    """
    used = {name for name in formula.names if known.given.get(name) != ""}
    return sorted(({"N", "D"} & used) | ({"C"} & used & _sizes(formula, known)))


def _sizes(formula: Formula, known: Known) -> set[str]:
    """Those of N, D and C that are variables where the formula names them."""
    there = {size for size in known.sizes if known.given.get(size) != ""}
    both = all({letter, known.columns.get(letter)} & {*formula.names} for letter in "ND")
    if "C" not in known.columns and both:
        there.discard("C")
    return there


def _called(formula: Formula, known: Known, taken: set[str | None]) -> dict[str, str]:
    """The columns of names that are not a column's but are in the words of one: experts."""
    raw = known.raw
    used = {*formula.names, *taken, *known.columns.values()}
    free = [column for column in raw if column not in used and holds_numbers(raw[column])]
    names = [
        name
        for name in formula.names
        if name not in {*raw.columns, *known.columns, *known.given, *LETTERS}
    ]
    alike = {name: [one for one in free if called_alike(name, one)] for name in names}
    called = {name: column_for(name, free) for name in names}
    called |= {name: some[0] for name, some in alike.items() if len(some) == 1}
    called |= {name_of(column): column for column in free if name_of(column) in names}
    columns = [column for column in called.values() if column is not None]
    return {
        name: column
        for name, column in called.items()
        if column is not None and columns.count(column) == 1
    }


def divided(
    formula: Formula, known: Known, taken: set[str | None]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of a formula that are variables, and those that are parameters.

    Args:
        formula: the law.
        known: what is known of the table's columns.
        taken: columns that are something else.

    Raises:
        IsolossError: a name is a column of text or that of the group, or `divide` refuses.
    """
    numeric = [column for column in known.raw if holds_numbers(known.raw[column])]
    free = [column for column in numeric if column not in taken and column not in LETTERS]
    absent = {key for key, column in known.given.items() if column == ""}
    texts = [
        name
        for name in formula.names
        if name in known.raw and name not in numeric and name not in {*absent, *known.columns}
    ]
    if texts:
        reason = f"column {texts[0]!r} holds text, and a variable of a formula needs numbers"
        do = f"name another one: --columns {texts[0]}=COLUMN, or none: --columns {texts[0]}="
        raise IsolossError(Problem(known.source, reason, do))
    letters = [key for key in known.columns if key in LETTERS and key not in SIZES]
    mapped = [key for key in known.columns if key not in COLUMNS]
    names = [*_sizes(formula, known), *letters, *mapped, *free]
    names = [name for name in dict.fromkeys(names) if name not in absent]
    fitted = {RESPONSE, known.columns.get("loss")} if known.response is None else {known.response}
    names = [name for name in names if name not in fitted]
    variables, parameters = divide(formula, names, absent)
    own = [name for name in parameters if name not in absent]
    _check_texts(formula, known, own)
    _check_group(formula, known, own)
    _check_bases(formula, known, own)
    return tuple(variables), tuple(parameters)


def _check_texts(formula: Formula, known: Known, parameters: Sequence[str]) -> None:
    """Refuse a parameter whose name is among the words of a column of text alone: experts.

    Numbers that cannot be read, such as 8x, would otherwise make a parameter of a variable.

    Raises:
        IsolossError: there is one.
    """
    used = {*known.columns.values(), *known.given.values()}
    texts = [one for one in known.raw if one not in used and not holds_numbers(known.raw[one])]
    for name in (name for name in parameters if name not in known.given):
        alike = [one for one in texts if called_alike(name, one)]
        if alike:
            reason = f"{name!r} resembles the column {alike[0]!r}, which holds text"
            do = f"make numbers of it, or --columns {name}= for a parameter"
            formula.refuse(name, reason, do)


def _check_group(formula: Formula, known: Known, parameters: Sequence[str]) -> None:
    """Refuse a parameter that is called as the column of groups: within a group it has one value.

    Raises:
        IsolossError: there is one.
    """
    group = known.columns.get("group")
    for name in parameters if group else ():
        if name == group or called_alike(name, group):
            reason = f"{name!r} is called as {group!r}, by whose values runs are grouped"
            do = f"for one law of all: --columns group=; for a parameter: --columns {name}="
            formula.refuse(name, reason, do)


def _check_bases(formula: Formula, known: Known, parameters: Sequence[str]) -> None:
    """Refuse a capital letter that is raised to a parameter and is not a column, such as V**b.

    As a parameter it would say no more than the amplitude beside it.

    Raises:
        IsolossError: there is one, and a column that varies is not used.
    """
    raw = known.raw
    used = {*known.columns.values(), *formula.names}
    free = {name: read_numbers(raw[name]).values for name in known.guess.unused if name not in used}
    columns = list(varying(free))
    for name in parameters if columns else ():
        if name.isupper() and len(name) == 1 and _is_base_alone(formula.tree, name, parameters):
            near = [one for one in columns if name.lower() in {w[:1] for w in words_of(bare(one))}]
            column = (near or columns)[0]
            reason = f"{name!r} is raised to a parameter, and is not a column"
            do = f"name its column: {pasted({name: column})}; none: --columns {name}="
            formula.refuse(name, reason, f"{do} (not used: {listed(columns)})")


def _is_base_alone(tree: Node, name: str, parameters: Sequence[str]) -> bool:
    """Whether a name stands only where it is raised to a power with a parameter in it."""
    bases, everywhere = 0, 0
    for node in walk(tree):
        everywhere += node.kind == "name" and node.name == name
        raised = node.kind == "**" and node.parts[0].name == name
        bases += raised and any(one in parameters for one in names_of(node.parts[1]))
    return 0 < bases == everywhere


def ranges(runs: pd.DataFrame, variables: Sequence[str]) -> dict[str, tuple[float, float]]:
    """The least and greatest value of every variable over the finished runs."""
    finished = runs[runs["status"] == "done"]
    values = {name: finished[LETTERS.get(name, name)].to_numpy(float) for name in variables}
    return {name: (float(np.nanmin(v)), float(np.nanmax(v))) for name, v in values.items()}
