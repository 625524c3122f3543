"""Columns of the runs from what was observed of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from isoloss.core import tables
from isoloss.core.joined import Columns
from isoloss.core.problems import Problem, TableError


def with_observed(
    runs: pd.DataFrame, observed: Mapping[str, Columns], files: Sequence[Path]
) -> pd.DataFrame:
    """The runs with the columns that observations give them; empty of runs that were not observed.

    Args:
        runs: a `runs` table.
        observed: observation to its columns, as `core.joined` has them.
        files: the tables of the observations, of all shards.

    Raises:
        TableError: a table is missing, or has several values for a run.
    """
    parts: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for file in files:
        facts = tables.facts(file)
        parts.setdefault((facts["observation"], facts["table"]), []).append(tables.frame(file))
    values = {}
    for observation, columns in observed.items():
        for name, about in columns.items():
            place = f"observation {observation}, table {about['table']}"
            if (observation, about["table"]) not in parts:
                raise TableError(Problem(place, "is not given", "add it: --observed"))
            whole = pd.concat(parts[observation, about["table"]], ignore_index=True)
            for key, value in about.get("rows", {}).items():
                whole = whole[whole[key] == value]
            whole = whole.drop_duplicates()  # a run that several rounds chose
            if whole["run_id"].duplicated().any():
                reason = f"has several rows for a run, and {name} of `runs` is one value"
                raise TableError(Problem(place, reason, "select one by `rows` in the card"))
            values[name] = runs["run_id"].map(whole.set_index("run_id")[about["column"]])
    return tables.with_columns(runs, values)
