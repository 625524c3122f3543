"""What the quick fit asks its user, where a table does not say what its columns are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoloss.aggregate.guess import Guess
from isoloss.aggregate.numbers import read_numbers
from isoloss.core.escape import CELL, listed, short, visible
from isoloss.core.problems import Problem
from isoloss.formats.names import of_other_matters, of_shapes

WHAT = {
    "N": "N (parameters)",
    "D": "D (tokens)",
    "C": "C (FLOP)",
    "loss": "the loss",
}
SIZES = frozenset("NDC")  # any two of them give the third
_USUAL = {"N": (1e4, 1e13), "D": (1e6, 1e15), "C": (1e12, 1e28)}  # what a size is
FILES = "FILES"  # in the line to paste, for several files
_BLANK = "COLUMN"  # in the line to paste, for a column that only the user knows


@dataclass(frozen=True)
class Known:
    """What is known of a table's columns.

    Attributes:
        source: the table, as it is shown.
        raw: its rows.
        columns: quantity or word to column, guessed or given.
        given: what the user said.
        guess: what was guessed.
        needs: sizes that the law needs; None if the law is chosen by the sizes that there are.
        response: column that is fitted in the place of the loss, which is then not asked for.
        command: that was given the table, with options that are needed.
        proposal: a command with a formula for the columns that there are; or empty.
        law: law card that was named; or empty.
        one_size: whether that is a law of a single size, which nobody has chosen.
    """

    source: str
    raw: pd.DataFrame
    columns: Mapping[str, str]
    given: Mapping[str, str]
    guess: Guess
    needs: frozenset[str] | None
    response: str | None = None
    command: str = "law"
    proposal: str = ""
    law: str = ""
    one_size: bool = False

    @property
    def sizes(self) -> set[str]:
        """Those of N, D and C that the columns determine."""
        there = SIZES & set(self.columns)
        two = len(there) + ("ratio" in self.columns) > 1
        return set(SIZES) if two else there


def question(known: Known) -> Problem | None:
    """What has to be asked before a law is fitted, with a line to paste; or None."""
    lacking = [] if known.response is not None or "loss" in known.columns else ["loss"]
    if _sizes_are_open(known):
        lacking += _lacking_sizes(known)
    if not lacking:
        return None
    reasons = [_reason(known, key) for key in lacking]
    numeric = _numeric(known)
    reason = f"{'; '.join(reasons)} (columns of numbers: {listed(numeric) or 'none'})"
    remedy = f"say which is which:\n  {_line(known, lacking)}"
    remedy += _of_another_size(known)
    if known.proposal:
        remedy += f"\nor fit a law of the columns that there are:\n  {known.proposal}"
    if known.needs is None and len(known.sizes) == 1 and "loss" not in lacking:
        (size,) = known.sizes
        none = pasted(dict.fromkeys((key for key in "NDC" if key != size), ""))
        remedy += f"\nor, for a power law in {size} alone: {none}"
    return Problem(known.source, reason, remedy)


def _of_another_size(known: Known) -> str:
    """How a law of one size is fitted to another than it takes by itself; or nothing."""
    if not known.one_size or (known.response is None and "loss" not in known.columns):
        return ""
    given = {key: column for key, column in known.columns.items() if key in ("loss", *SIZES)}
    head = f"python -m isoloss {known.command} {_table(known)} --law {known.law} --option "
    lines = []
    for size in (key for key in "ND" if key in known.sizes):
        lines.append(f"\n  {head}variable={size} {pasted(given)}{_response(known)}")
    if free := _unexplained(known):
        x = pasted({**given, "N": free[0]})
        others = f"; another: {listed(free[1:])}" if free[1:] else ""
        line = f"\n  {head}variable=N {x}{_response(known)}"
        lines.append(f"{line}  # x = {visible(free[0])}{others}")
    return "\nor fit it to another variable:" + "".join(lines) if lines else ""


def pasted(pairs: Mapping[str, str]) -> str:
    """`--columns` for a shell: LETTER=NAME, quoted where it is needed.

    >>> pasted({"N": "n_params", "loss": "C4 Eval Loss"})
    "--columns N=n_params 'loss=C4 Eval Loss'"
    """
    words = (shlex.quote(f"{key}={visible(name) if name else ''}") for key, name in pairs.items())
    return " ".join(("--columns", *words))


def _sizes_are_open(known: Known) -> bool:
    """Whether it is not clear which columns are the sizes of the runs.

    One size is enough for a law that needs no other; where the law is not chosen yet, if no other
    column could be a second size, or the user says that there is none.
    """
    if known.needs is not None:
        return not known.needs <= known.sizes
    if len(known.sizes) > 1:
        return False
    if known.sizes:
        others = SIZES - known.sizes
        explicit = any(known.given.get(key) for key in known.sizes)
        if len(others - set(known.given)) < 1 + explicit:
            return False  # the user says that there is no other, or names the one there is
        return any(k in known.guess.tied or k in known.guess.texts for k in others) or bool(
            _unexplained(known)
        )
    return True


def _lacking_sizes(known: Known) -> list[str]:
    """The sizes to ask for: N and D, unless C is there."""
    if known.needs is not None:
        return [key for key in "NDC" if key in known.needs - known.sizes]
    open_ = [key for key in "NDC" if key not in known.sizes and known.given.get(key) != ""]
    return [key for key in open_ if key != "C" or not {"N", "D"} & set(open_)][
        : 2 - len(known.sizes)
    ]


def _reason(known: Known, key: str) -> str:
    """Why a quantity is not known."""
    if key in known.guess.tied:
        return f"each of {listed(known.guess.tied[key])} may be {WHAT[key]}"
    if key in known.guess.texts:
        name = known.guess.texts[key]
        column = known.raw[name].dropna()
        numbers = read_numbers(column)
        example = column[numbers.unread].iloc[0] if numbers.unread.any() else column.iloc[0]
        why = numbers.reason or f"such as {short(visible(example), CELL)!r}"
        return f"column {name!r} has the name of {WHAT[key]} and holds text, not numbers ({why})"
    return f"no column looks like {WHAT[key].replace('the', 'a')}"


def _numeric(known: Known) -> list[str]:
    """The columns of numbers, in the order of the table."""
    guess = known.guess
    names = {*guess.unused, *(known.columns.get(key) for key in WHAT)}
    names |= {name for some in (guess.others, guess.tied) for of in some.values() for name in of}
    return [column for column in known.raw.columns if column in names]


def _unexplained(known: Known) -> list[str]:
    """Columns of numbers that vary and may be a size for all that their names say."""
    return [
        column
        for column in known.guess.unused
        if not of_other_matters(column) and _n_distinct(known.raw[column]) > 1
    ]


def _n_distinct(column: pd.Series) -> int:
    """How many different numbers a column has."""
    values = read_numbers(column).values
    return len(np.unique(values[np.isfinite(values)]))


def _line(known: Known, lacking: Sequence[str]) -> str:
    """The command with the likeliest column of each quantity, to paste into a shell."""
    columns = {**known.given, **known.columns}
    free = _likely(known, lacking)
    pairs = {}
    for key in ("N", "D", "C", "ratio", "loss", *columns):
        if key in lacking:
            pairs[key] = next(iter(known.guess.tied.get(key, ())), free.get(key, _BLANK))
        elif key in columns:
            pairs[key] = columns[key]
    law = f" --law {shlex.quote(known.law)}" if known.law else ""
    table, response = _table(known), _response(known)
    return f"python -m isoloss {known.command} {table}{law} {pasted(pairs)}{response}"


def _table(known: Known) -> str:
    """The table in a line to paste."""
    return FILES if ", " in known.source else shlex.quote(known.source)


def _response(known: Known) -> str:
    """`--response` in a line to paste, where another column than the loss is fitted."""
    if known.response is None:
        return ""
    return f" --response {shlex.quote(visible(known.response))}"


def _likely(known: Known, lacking: Sequence[str]) -> dict[str, str]:
    """For each size that is lacking a column whose values are of its order, if there is one."""
    likely: dict[str, str] = {}
    for column in (c for c in _unexplained(known) if not of_shapes(c)):
        values = read_numbers(known.raw[column]).values
        middle = float(np.nanmedian(values))
        for key in (key for key in lacking if key in _USUAL):
            low, high = _USUAL[key]
            if key not in likely and low <= middle <= high and column not in likely.values():
                likely[key] = column
    return likely
