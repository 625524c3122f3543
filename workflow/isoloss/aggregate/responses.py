"""A column of a user's table that is fitted in the place of the loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from isoloss.aggregate.numbers import as_shares, read_numbers
from isoloss.aggregate.quantities import rows_text
from isoloss.core import tables
from isoloss.core.escape import CELL, short, visible
from isoloss.core.problems import Problem, TableError, nearest


def check_name(raw: pd.DataFrame, response: str, columns: Mapping[str, str], label: str) -> None:
    """Refuse a response that is not a column of its own.

    Raises:
        TableError: there is no such column, it is mapped to something else, or the table `runs` has
            a column of that name.
    """
    place = f"{label}, response"
    if response == "loss":
        reason = "the loss is fitted where no other column is named"
        raise TableError(Problem(place, reason, "leave it out"))
    if response not in raw:
        raise TableError(Problem(place, f"no column {response!r}", nearest(response, raw.columns)))
    taken = [letter for letter, column in columns.items() if column == response]
    if taken:
        do = "name another column, or leave it out to fit the loss"
        raise TableError(Problem(place, f"the column {response!r} is {taken[0]}", do))
    if response in tables.schema("runs").names:
        reason = f"{response!r} means something else in the table of runs"
        raise TableError(Problem(place, reason, "give the column another name"))


def with_response(
    runs: pd.DataFrame, column: pd.Series, response: str, label: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The runs with a response as numbers; a cell without one is NaN.

    Per cent are divided by 100, which the note says.

    Args:
        runs: the table `runs`, with its status.
        column: the response as the user gave it.
        response: its name.
        label: of the table, for messages.

    Returns:
        The runs, and what to say of it.

    Raises:
        TableError: a run that is not dropped has something else than a number.
    """
    numbers = read_numbers(column)
    bad = np.flatnonzero(numbers.unread & (runs["status"] == "done").to_numpy())
    if len(bad):
        place = f"{label}, {rows_text(bad)}, column {response!r}"
        cell = short(visible(column.iloc[bad[0]]), CELL)
        reason = numbers.reason or f"{cell!r} is not a number"
        raise TableError(Problem(place, reason, "fix the rows, or drop them: --keep"))
    values, notes = as_shares(numbers, response, response)
    return tables.with_columns(runs, {response: values}), notes
