"""The stage observe: an observable of every finished run of a shard, written as tables."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from isoloss.core import registry, tables
from isoloss.core.escape import say
from isoloss.core.joined import file_of
from isoloss.core.problems import IsolossError, TableError
from isoloss.core.progress import Progress
from isoloss.records.store import Store
from isoloss.records.weights import load_weights
from isoloss.tasks._content import Files

Measure = Callable[[str, Callable[[float], None]], Mapping[str, pd.DataFrame]]
PERCENT = 100


def run(
    specification: Mapping[str, Any],
    shard: Path,
    files: Files,
    store: Path,
    out: Path,
    facts: Mapping[str, Any],
) -> list[Path]:
    """Measure the runs of a shard that are done; the others have no weights, and no rows.

    Args:
        specification: what matters to the job: `observe` (the study's entry); for a card that reads
            data also the `task` card, the phases of `schedules` and the `seed` of the study.
        shard: the table of the shard.
        files: of the training data; none for a card that reads weights only.
        store: folder of finished runs.
        out: file for the `observations` table; further tables of the card go beside it.
        facts: kept in the files.

    Returns:
        The files, `out` first.

    Raises:
        TableError: the weights of a run were not kept, are damaged, or cannot be measured.
    """
    card, shard_rows = specification["observe"]["card"], tables.frame(shard, "shard")
    runs = list(shard_rows[shard_rows["status"] == "done"].itertuples())
    measured = _measured(specification, runs, files, Store(store))
    made = []
    for name in registry.tables_of(card):
        file = out.with_name(file_of(name, out.stem))
        kept = [tables.empty(name), *(rows[name] for rows in measured)]
        table = pd.concat(kept[1:] or kept, ignore_index=True)
        tables.write(name, table[list(kept[0])], file, facts)
        made.append(file)
    return made


def _measured(
    specification: Mapping[str, Any], runs: list[Any], files: Files, store: Store
) -> list[dict[str, pd.DataFrame]]:
    """The rows of every table, run by run; what is doubtful or failed is also told."""
    card, parts = specification["observe"]["card"], []
    measure = _measure_of(specification, runs, files, store)
    progress = Progress(PERCENT, f"{card}, % of {len(runs)} runs")
    for number, run in enumerate(runs):
        try:
            rows = measure(
                run.run_digest,
                lambda share, number=number: progress.reach(
                    int(PERCENT * (number + share) / len(runs))
                ),
            )
        except IsolossError as error:
            reasons = [reason.within(f"run {run.run_id}") for reason in error.problems]
            raise TableError(*reasons) from error
        named = {name: table.assign(run_id=run.run_id) for name, table in rows.items()}
        named["observations"] = named["observations"].assign(observable=card)
        parts.append(named)
        _tell(run.run_id, rows)
    progress.close()
    return parts


def _measure_of(
    specification: Mapping[str, Any], runs: list[Any], files: Files, store: Store
) -> Measure:
    """What measures the run of a digest, and says how far it is."""
    entry = specification["observe"]
    card = registry.card("observable", entry["card"])
    if not registry.reads_data(entry["card"]):
        return lambda run_digest, progress: {
            "observations": card.observe(load_weights(store, run_digest), **entry["options"])
        }
    if not runs:
        return lambda run_digest, progress: {}
    from isoloss.observe.trained import read_models

    models = read_models(specification, files, store, [run.run_digest for run in runs])
    return lambda run_digest, progress: card.observe(
        models.load(run_digest, progress), **entry["options"]
    )


def _tell(run_id: str, rows: Mapping[str, pd.DataFrame]) -> None:
    """Say in the log which measurements of a run are doubtful or failed, and why."""
    for name, table in rows.items():
        if {"status", "status_reason"} <= set(table):
            for row in table[table["status"] != "ok"].itertuples():
                say(f"{run_id}, {name}: {row.status}: {row.status_reason}", sys.stderr)
