"""The columns that observations give the table `runs`: which, and from which rows of their tables.

An observable card says in COLUMNS what it has for runs: the name of a column to `table` and
`column`, where its values are, `rows` (values of other columns of that table, which select one row
a run), `unit` and `about`; perhaps `status`, the column that says whether to believe its values
(`ok` where so). The role of the column, `outcome`, is in tables.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isoloss.core import registry
from isoloss.core.problems import Problem

Columns = Mapping[str, Mapping[str, Any]]  # name in `runs` to what the card says of it


def columns_of(card: str) -> Columns:
    """What an observable card has for runs; empty of most."""
    return registry.facts("observable", card).get("COLUMNS", {})


def joined(observations: Mapping[str, Mapping[str, Any]], sweep: str) -> dict[str, Columns]:
    """The observations that give the runs of a sweep columns, with these.

    Args:
        observations: the section `observe` of a study.
        sweep: the last round, where it has rounds.
    """
    own = {name: one for name, one in observations.items() if one["sweep"] == sweep and one["join"]}
    given = {name: columns_of(one["card"]) for name, one in own.items()}
    return {name: columns for name, columns in given.items() if columns}


def status_of(column: str) -> str | None:
    """The column of `runs` that says of each run whether to believe its value in another.

    >>> status_of("llc_mean"), status_of("loss")
    ('llc_status', None)
    """
    every = (columns_of(card).get(column, {}) for card in registry.names("observable"))
    return next((about["status"] for about in every if "status" in about), None)


def file_of(table: str, shard: str) -> str:
    """The file of one of the tables of an observation, in the folder of a sweep."""
    return f"{shard}.parquet" if table == "observations" else f"{shard}.{table}.parquet"


def join_problems(observations: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """Columns of `runs` that two observations of one sweep would give."""
    for sweep in dict.fromkeys(one["sweep"] for one in observations.values()):
        owner: dict[str, str] = {}
        for name, columns in joined(observations, sweep).items():
            taken = [column for column in columns if column in owner]
            if taken:
                reason = f"{owner[taken[0]]!r} gives the runs of {sweep!r} {taken[0]!r} too"
                yield Problem(f"observe.{name}", reason, "set `join: false` in one of them")
            owner |= {column: name for column in columns if column not in owner}
