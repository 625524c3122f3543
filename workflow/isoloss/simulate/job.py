"""The stage simulate: simulated studies of a known law, and how well estimators recover it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.simulate.simulation import simulate_studies


def run(
    specification: Mapping[str, Any],
    runs: Sequence[Path],
    out: Path,
    facts: Mapping[str, Any],
    workers: int = 1,
) -> list[Path]:
    """Simulate studies and write what estimators made of them.

    Args:
        specification: what matters to the job: `simulate` (the study's entry), `seed`.
        runs: runs.parquet of the sweep whose N and D are the plan, if the plan takes those.
        out: folder for the tables.
        facts: kept in both files.
        workers: processes that fit; the results are the same.

    Returns:
        The files.
    """
    entry = dict(specification["simulate"])
    for file in runs:
        entry["plan"] = tables.frame(file, "runs")
    return simulate_studies(**entry, seed=specification["seed"], workers=workers).save(out, **facts)
