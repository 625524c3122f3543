"""Which runs of a table stay: filters over the user's own columns, and the best of each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from isoloss.aggregate.numbers import read_numbers
from isoloss.core import tables
from isoloss.core.escape import visible
from isoloss.core.filters import LETTERS, evaluate
from isoloss.core.grammar import columns, read
from isoloss.core.problems import Problem, TableError, nearest

SAME = 1e-6  # numbers are alike in a column of `best_of` if they differ by at most this share
_SHOWN = 6  # values of a column in a message


def apply_filters(
    runs: pd.DataFrame, raw: pd.DataFrame, keep: Sequence[str], label: str
) -> pd.DataFrame:
    """The runs with the status `dropped`, and the reason, where a filter does not hold.

    A name in a filter is the table's own column, or else a letter (N, D, C, U, loss), or else a
    column of `runs`. A column of texts that are numbers (`7B`) compares with numbers as one.

    Args:
        runs: with the columns of the contract.
        raw: the table as it was read.
        keep: filters.
        label: of the table, for errors.

    Raises:
        TableError: a filter cannot be evaluated, or no run stays.
    """
    if not keep:
        return runs
    scope = _scope(runs, raw)
    status = runs["status"].to_numpy(object).copy()
    reasons = runs["status_reason"].to_numpy(object).copy()
    counts = {}
    for expression in keep:
        out = ~evaluate(scope, expression, f"{label}, keep", as_numbers).to_numpy()
        counts[expression] = int(out.sum())
        out &= status == "done"
        status[out], reasons[out] = "dropped", f"not: {expression}"
    if not (status == "done").any():
        raise TableError(_nothing_left(scope, counts, label))
    return tables.with_columns(runs, {"status": status, "status_reason": reasons})


def _scope(runs: pd.DataFrame, raw: pd.DataFrame) -> pd.DataFrame:
    """All columns that a filter can name: the table's own, the letters, those of `runs`."""
    letters = {letter: runs[column] for letter, column in LETTERS.items() if column in runs}
    further = {**letters, **{str(column): runs[column] for column in runs}}
    return tables.with_columns(raw, {k: v for k, v in further.items() if k not in raw})


def as_numbers(column: pd.Series) -> pd.Series | None:
    """A column of texts as numbers, NaN where it has none; None if most are not numbers."""
    numbers = read_numbers(column)
    return pd.Series(numbers.values, index=column.index) if numbers.mostly else None


def _nothing_left(scope: pd.DataFrame, counts: Mapping[str, int], label: str) -> Problem:
    """The problem that no run stays: which filter does it, and what its columns hold."""
    total = len(scope)
    alone = [expression for expression, count in counts.items() if count == total]
    if alone:
        reason = f"drops all {total} rows: {alone[0]}"
    else:
        each = "; ".join(f"{expression} ({count})" for expression, count in counts.items())
        reason = f"the filters together drop all {total} rows: {each}"
    used = dict.fromkeys(n for e in (alone[:1] or counts) for n in columns(read(e, label)))
    used = [name for name in used if name in scope]
    return Problem(f"{label}, keep", reason, "; ".join(_held(scope[name], name) for name in used))


def _held(column: pd.Series, name: str) -> str:
    """What a column holds, in a few words."""
    numbers = read_numbers(column)
    if numbers.readable:
        return f"{name} is {np.nanmin(numbers.values):g} to {np.nanmax(numbers.values):g}"
    counts = column.astype(object).where(column.notna(), "empty").map(str).value_counts()
    shown = [f"{visible(value)} ({n})" for value, n in counts.head(_SHOWN).items()]
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return f"values of {name}: {', '.join(shown)}{more}"


def keep_best(
    runs: pd.DataFrame, raw: pd.DataFrame, best_of: Sequence[str], label: str
) -> pd.DataFrame:
    """The runs with the status `dropped` but for the one of least loss of each cell.

    A cell is what is alike in the columns of `best_of`, and in `group` where the table has one.
    Numbers are alike if they differ by at most a millionth; of equal losses the first is kept.

    Raises:
        TableError: there is no such column, or the runs have no loss.
    """
    if not best_of:
        return runs
    place = f"{label}, best_of"
    scope = _scope(runs, raw)
    if unknown := [name for name in best_of if name not in scope]:
        reason = f"no column {unknown[0]!r}"
        raise TableError(Problem(place, reason, nearest(unknown[0], scope.columns)))
    stays = (runs["status"] == "done").to_numpy()
    if not np.isfinite(runs.loc[stays, "loss"]).all():
        raise TableError(Problem(place, "the runs have no loss", "map it: columns loss=NAME"))
    of = [scope[name] for name in best_of]
    of += [runs["group"]] if "group" in runs else []
    cells = pd.DataFrame({i: alike(column[stays]) for i, column in enumerate(of)})
    losses = runs.loc[stays, "loss"].reset_index(drop=True)
    first = losses.groupby([cells[i] for i in cells]).idxmin()
    out = np.flatnonzero(stays)
    out = np.delete(out, first.to_numpy())
    status = runs["status"].to_numpy(object).copy()
    reasons = runs["status_reason"].to_numpy(object).copy()
    status[out], reasons[out] = "dropped", f"not the best of its {', '.join(best_of)}"
    return tables.with_columns(runs, {"status": status, "status_reason": reasons})


def alike(column: pd.Series) -> np.ndarray:
    """Numbers of the values of a column, the same for values that are alike; int64 (n,).

    Example:
        >>> import pandas as pd
        >>> alike(pd.Series([7e9, 1e9, 7.000001e9])).tolist()
        [1, 0, 1]
    """
    numbers = read_numbers(column)
    if not numbers.readable:
        return pd.factorize(column.astype(object), use_na_sentinel=False)[0]
    distinct, codes = np.unique(numbers.values, return_inverse=True)
    cell = np.zeros(len(distinct), dtype=np.int64)
    start = 0
    for i in range(1, len(distinct)):
        if not abs(distinct[i] - distinct[start]) <= SAME * abs(distinct[start]):
            start = i
            cell[i] = cell[i - 1] + 1
        else:
            cell[i] = cell[i - 1]
    return cell[codes]
