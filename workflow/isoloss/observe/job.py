"""The stage observe: an observable of every finished run of a shard, written as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError, TableError
from isoloss.records.store import Store
from isoloss.records.weights import load_weights


def run(
    specification: Mapping[str, Any], shard: Path, store: Path, out: Path, facts: Mapping[str, Any]
) -> list[Path]:
    """Measure the runs of a shard that are done; the others have no weights, and no rows.

    Args:
        specification: what matters to the job: `observe` (the study's entry).
        shard: the table of the shard.
        store: folder of finished runs.
        out: file for the `observations` table.
        facts: kept in the file.

    Returns:
        The file.

    Raises:
        TableError: the weights of a run were not kept, are damaged, or cannot be measured.
    """
    entry, runs = specification["observe"], tables.frame(shard, "shard")
    card = registry.card("observable", entry["card"])
    observations = [tables.empty("observations")]
    for run in runs[runs["status"] == "done"].itertuples():
        weights = load_weights(Store(store), run.run_digest)
        try:
            measured = card.observe(weights, **entry["options"])
        except IsolossError as error:
            reasons = [reason.within(f"run {run.run_id}") for reason in error.problems]
            raise TableError(*reasons) from error
        observations.append(measured.assign(run_id=run.run_id, observable=entry["card"]))
    table = pd.concat(observations[1:] or observations, ignore_index=True)
    tables.write("observations", table[list(observations[0])], out, facts)
    return [out]
