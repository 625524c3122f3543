"""Expressions over the columns of a table of runs, as studies write them in `keep` and `where`."""

from __future__ import annotations

import pandas as pd

from isoloss.problems import TableError, problem

# The field's letters, and the columns of `runs` that they stand for.
LETTERS = {
    "N": "n_params",
    "D": "n_samples",
    "C": "n_flops",
    "U": "n_unique",
    "loss": "loss_nats",
}


def evaluate(runs: pd.DataFrame, expression: str, place: str) -> pd.Series:
    """A filter expression over the columns of a table, as True and False.

    Raises:
        TableError: the expression is not one, names an unknown column, or is not a yes or no.
    """
    aliases = {k: runs[v] for k, v in LETTERS.items() if v in runs and k not in runs}
    scope = runs.assign(**aliases)
    try:
        value = scope.eval(expression, engine="python")
    except Exception as error:  # pandas raises what it likes here: names, syntax, types
        raise TableError(
            problem(place, f"{expression!r}: {error}", f"columns are {', '.join(scope.columns)}")
        ) from error
    if isinstance(value, pd.Series) and value.dtype == "boolean":
        value = value.fillna(False).astype(bool)
    if not (isinstance(value, pd.Series) and value.dtype == bool):
        raise TableError(problem(place, f"{expression!r} is no yes or no", "compare something"))
    return value
