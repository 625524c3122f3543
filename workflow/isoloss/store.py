"""Finished runs, kept for good: a run is saved the moment it ends and never trained again.

The store is not Snakemake's, which deletes or rolls back the outputs of a job that fails; a shard's
table is gathered from it. `journal.jsonl` gets a line when a run starts and one when it ends.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from isoloss import tables

FINAL = ("done", "diverged")  # a failed run is tried again when its shard is


class Store:
    """The finished runs of a study.

    Args:
        root: folder of the store; made when a run is saved.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def path(self, run_digest: str) -> Path:
        """Where a run is kept."""
        return self.root / run_digest / "run.parquet"

    def find(self, run_digest: str) -> dict[str, Any] | None:
        """A run that was saved, as a row of the `shard` table; None if there is none."""
        path = self.path(run_digest)
        if not path.is_file():
            return None
        return tables.read(path, "shard").to_pylist()[0]

    def save(self, row: Mapping[str, Any]) -> None:
        """Save a run that ended; whole or not at all, and harmless if it is there already."""
        table = pd.DataFrame([row], columns=tables.schema("shard").names)
        tables.write("shard", table, self.path(row["run_digest"]))
        self.note("end", row["run_digest"], row["run_id"], row["status"])

    def note(self, event: str, run_digest: str, run_id: str, status: str = "") -> None:
        """Add a line to the journal; one write, so that lines of several processes never mix."""
        line = {"event": event, "run_digest": run_digest, "run_id": run_id}
        line |= {"status": status} if status else {}
        line |= {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "pid": os.getpid()}
        self.root.mkdir(parents=True, exist_ok=True)
        journal = os.open(
            self.root / "journal.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
        )
        try:
            os.write(journal, (json.dumps(line) + "\n").encode())
        finally:
            os.close(journal)

    def journal(self) -> list[dict[str, Any]]:
        """All lines of the journal, oldest first; a line that a crash tore is left out."""
        path = self.root / "journal.jsonl"
        if not path.is_file():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines if line.endswith("}")]
