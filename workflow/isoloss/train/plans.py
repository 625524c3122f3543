"""The planned runs of a study's sweeps: each sweep is spelled out, or its plan read, only once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.core.canonical import canonical
from isoloss.core.problems import Problem, TableError
from isoloss.train.plan import plan_runs

Runs = list[dict[str, Any]]


class Plans:
    """The planned runs of sweeps, as rows of the `plan` table.

    Whoever needs planned runs asks a `Plans`. Give the one that the check of a study used to `Flow`
    too, so that no sweep is spelled out twice.

    Example:
        >>> settings = {"n_samples": 4096, "d_model": 8}
        >>> sweep = {"model": "transformer", "trainer": "builtin", "settings": settings}
        >>> sweep |= {"shards": 2, "n_params": "nonembed", "n_flops": "6nd"}
        >>> sweep["cells"] = [{"seed": [0, 1]}]
        >>> plans = Plans()
        >>> [run["seed"] for run in plans.runs(sweep)]
        [0, 1]
        >>> plans.runs(sweep) is plans.runs(sweep)
        True
    """

    def __init__(self):
        self._runs: dict[str, Runs] = {}

    def runs(self, sweep: Mapping[str, Any]) -> Runs:
        """The planned runs of a sweep, spelled out if they are not known.

        Args:
            sweep: the entry of a complete study.

        Raises:
            IsolossError: there are more runs than a study can have.
        """
        key = _key(sweep)
        if key not in self._runs:
            self._runs[key] = plan_runs(sweep)
        return self._runs[key]

    def known(self, sweep: Mapping[str, Any]) -> bool:
        """Whether the planned runs of a sweep need not be spelled out."""
        return _key(sweep) in self._runs

    def read(self, sweep: Mapping[str, Any], file: Path) -> None:
        """Take the planned runs of a sweep from its plan, which must be of this very sweep.

        Args:
            sweep: the entry of a complete study.
            file: the `plan` table.

        Raises:
            TableError: the file cannot be read.
        """
        self._runs[_key(sweep)] = rows_of(file)


def rows_of(file: Path, shard: str | None = None) -> Runs:
    """The rows of a plan, or those of one shard, in its order.

    Args:
        file: the `plan` table.
        shard: only of this one; the others are read past, not taken apart.

    Raises:
        TableError: the file cannot be read.
    """
    import pyarrow.compute as pc

    planned = tables.read(file, "plan")
    if shard is not None:
        planned = planned.filter(pc.equal(planned["shard"], shard))
    try:
        return planned.to_pylist()
    except UnicodeDecodeError as error:
        raise TableError(Problem(str(file), f"is damaged ({error})", "make it again")) from error


def ids_of(file: Path) -> dict[str, list[str]]:
    """The ids of the runs of a plan by shard; its other columns are not read.

    Args:
        file: the `plan` table.

    Raises:
        TableError: the file cannot be read.
    """
    ids: dict[str, list[str]] = defaultdict(list)
    for batch in tables.batches(file, "plan", ("run_id", "shard")):
        for run_id, shard in zip(
            *(batch[key].to_pylist() for key in ("run_id", "shard")), strict=True
        ):
            ids[shard].append(run_id)
    return dict(ids)


def planned_by(sweep: Mapping[str, Any]) -> dict[str, Any]:
    """What of a sweep's entry spells it out; the rest says how its runs are trained and kept."""
    keys = ("model", "trainer", "command", "shards", "n_params", "n_flops", "size_rule", "settings")
    return {key: sweep[key] for key in (*keys, "cells") if key in sweep}


def _key(sweep: Mapping[str, Any]) -> str:
    return canonical(planned_by(sweep))
