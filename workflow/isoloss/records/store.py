"""The store of runs: a run is saved when it ends, and is never trained again.

The store is not Snakemake's, which deletes or rolls back the outputs of a job that fails; a shard's
table is gathered from it. `store/<run_digest>/` holds one run:

- `run.parquet`: what came of it, one row of the `shard` table; there only when it ended;
- `weights.safetensors`: its model, if the sweep keeps weights;
- `manifest.json`: digests of these files, versions, machine, commit;
- `step-<n>.safetensors`: its model after n steps, if the sweep asks for it;
- `failures.txt`: what was said each time it failed;
- `run/`, `checkpoints/`, `output.txt`, `ended.json`: of a program of the user, its own folder, the
  states from which it can go on, what it printed, and that it ended with exit code 0;
- `state.safetensors`: where a run that has not ended can go on;
- `.claim.tmp`: there while a process holds the run, to train it (`lock`: of older stores, unused).

`journal.jsonl` gets a line when a run starts, ends, is to be tried again, or is found to be the
same as one of another id.
"""

from __future__ import annotations

import calendar
import errno
import json
import os
import shutil
import socket
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from isoloss.core import locks, tables
from isoloss.core.problems import Problem, TableError
from isoloss.records import manifest

TIME = "%Y-%m-%dT%H:%M:%SZ"
STATUSES = ("done", "diverged", "failed")
FINAL = ("done", "diverged")  # a failed run is tried again when its shard is
CLAIM = ".claim.tmp"  # the file of a lock; `gc` removes one that was left
_POLL = 0.2  # seconds between two looks at a run that another process trains


class Store:
    """The runs of a study.

    Args:
        root: folder of the store; made when a run starts.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def folder(self, run_digest: str) -> Path:
        """The folder of a run."""
        return self.root / run_digest

    def path(self, run_digest: str) -> Path:
        """The file with the result of a run; it exists only when the run ended."""
        return self.folder(run_digest) / "run.parquet"

    def find(
        self, run_digest: str, among: Mapping[str, Collection[str]] | None = None
    ) -> dict[str, Any] | None:
        """A saved run as a row of the `shard` table; None if there is none.

        Args:
            run_digest: its identity.
            among: column to the values of which it must have one, if it is to count: the codes
                that it may have been trained by, the versions.

        Raises:
            TableError: its file is damaged.
        """
        path = self.path(run_digest)
        if not path.is_file():
            return None
        remedy = f"`python -m isoloss retry STUDY --run {run_digest}` trains it"
        try:
            manifest.check(path)
            rows = tables.frame(path, "shard").to_dict("records")
            if len(rows) != 1:
                raise TableError(Problem(str(path), f"has {len(rows)} rows, not 1", "lost"))
            row = rows[0]
            if row["run_digest"] != run_digest:
                other = f"is the run {row['run_digest']}"
                raise TableError(Problem(str(path), other, "put it back"))
        except TableError as error:
            (lost,) = error.problems
            raise TableError(
                Problem(
                    lost.place,
                    f"{lost.found}: the run is lost",
                    f"{remedy} again, and no other run",
                )
            ) from error
        if any(row[column] not in values for column, values in (among or {}).items()):
            return None
        return row

    def damage(self, run_digest: str) -> list[tuple[Path, str]]:
        """The damaged files of a run, each with a reason where it is known."""
        run = self.path(run_digest)
        try:
            made = manifest.read(record := run.with_name(manifest.NAME))
        except TableError:
            return [(record, "is damaged")]
        if made is None and record.is_file():
            return [(record, "is damaged")]
        names = made["files"] if made else {}
        damaged = []
        for path in (run.with_name(name) for name in dict.fromkeys([run.name, *names])):
            if not path.is_file():
                damaged += [(path, "missing")] if path.name in names else []
                continue
            try:
                if path == run:
                    self.find(run_digest)
                else:
                    manifest.check(path)
            except TableError:
                damaged.append((path, ""))
        return damaged

    def identity(self, run_digest: str) -> dict[str, Any]:
        """The identity of a saved run: what its digest was computed from.

        Raises:
            TableError: its file is damaged.
        """
        path = self.path(run_digest)
        identity = tables.facts(path).get("identity")
        if not isinstance(identity, dict) or not isinstance(identity.get("code"), str):
            raise TableError(Problem(str(path), "has no identity", "make it again"))
        return identity

    def save(self, row: Mapping[str, Any], identity: Mapping[str, Any], **where: str) -> None:
        """Save a run that ended: completely or not at all; saving it twice does no harm.

        Args:
            row: of the `shard` table.
            identity: what its digest is made of.
            where: sweep and shard, for the journal.
        """
        digest = row["run_digest"]
        import pandas as pd

        table = pd.DataFrame([row], columns=tables.schema("shard").names)
        place = self.folder(digest) / manifest.NAME
        place.unlink(missing_ok=True)  # of an earlier attempt
        tables.write("shard", table, self.path(digest), {"identity": dict(identity)})
        files = [f for f in (self.path(digest), self.weights(digest)) if f.is_file()]
        files += self.checkpoints(digest)
        manifest.Draft({"run": row["run_id"]}, place).makes(files)
        if row["status"] in FINAL:
            self.state(digest).unlink(missing_ok=True)
        made = {"status": row["status"], "seconds": float(row["seconds"]), "code": row["code"]}
        self.note("end", digest, row["run_id"], **made, **where)

    def failures(self, run_digest: str) -> Path:
        """The file with the error messages of a run's failures."""
        return self.folder(run_digest) / "failures.txt"

    def failed(self, run_digest: str, log_text: str) -> None:
        """Keep the error message of a run that failed."""
        with self.failures(run_digest).open("a", encoding="utf-8") as file:
            file.write(f"{log_text.rstrip()}\n\n")

    def reopen(self, run_digest: str, run_id: str, **where: str) -> None:
        """Remove the result of a run, so that it is trained again."""
        kept = (CLAIM, self.failures(run_digest).name)
        for path in [p for p in self.folder(run_digest).iterdir() if p.name not in kept]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.note("retry", run_digest, run_id, **where)

    def weights(self, run_digest: str) -> Path:
        """The file with the weights of a run."""
        return self.folder(run_digest) / "weights.safetensors"

    def checkpoint(self, run_digest: str, step: int) -> Path:
        """The file with the weights of a run after some steps."""
        return self.folder(run_digest) / f"step-{step}.safetensors"

    def checkpoints(self, run_digest: str) -> list[Path]:
        """The files with the weights of a run after some steps, those that there are."""
        return sorted(self.folder(run_digest).glob("step-*.safetensors"))

    def state(self, run_digest: str) -> Path:
        """The file with the state from which an interrupted run continues."""
        return self.folder(run_digest) / "state.safetensors"

    def kept(self) -> list[str]:
        """The digests of all runs that have a folder, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if path.is_dir())

    @contextmanager
    def claim(self, run_digest: str, wait: bool = True) -> Iterator[locks.Claim | None]:
        """Lock a run against other processes; the lock is released however this process ends.

        Args:
            run_digest: the run.
            wait: for whoever holds it; else None is given.

        Yields:
            What the holder renews every few seconds.
        """
        folder = self.folder(run_digest)
        folder.mkdir(parents=True, exist_ok=True)
        with locks.locked(folder / CLAIM, wait, _POLL) as claim:
            yield claim

    def running(self, run_digest: str) -> bool:
        """Whether a process has locked a run."""
        return locks.is_locked(self.folder(run_digest) / CLAIM)

    def note(self, event: str, run_digest: str, run_id: str, **more: str | float) -> None:
        """Add a line to the journal; one write, so that lines of several processes never mix."""
        line = {"event": event, "run_digest": run_digest, "run_id": run_id, **more}
        line |= {"time": time.strftime(TIME, time.gmtime())}
        line |= {"host": socket.gethostname(), "pid": os.getpid()}
        self.root.mkdir(parents=True, exist_ok=True)
        path, text = self.root / "journal.jsonl", (json.dumps(line) + "\n").encode()
        with path.open("ab", buffering=0) as journal:
            try:
                written = journal.write(text)
            except OSError as error:  # of a file that is open it does not say which
                raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        if written < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def journal(self) -> list[dict[str, Any]]:
        """All lines of the journal, oldest first, without incomplete or damaged ones.

        A line has an event, a run_digest, a run_id, and a status if a run ended; a time only if
        it is one.
        """
        path = self.root / "journal.jsonl"
        if not path.is_file():
            return []
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        return [line for line in map(_parsed, lines) if line is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    """A line of the journal; None if it is incomplete or damaged.

    A full disk can leave the head of a line, to which the next one is then glued.
    """
    try:
        entry = json.loads(line[max(0, line.rfind('{"event"')) :])
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    if not all(isinstance(entry.get(key), str) for key in ("event", "run_digest", "run_id")):
        return None
    if entry["event"] == "end" and entry.get("status") not in STATUSES:
        return None
    if seconds_of(entry.get("time")) is None:
        entry.pop("time", None)
    return entry


def seconds_of(when: Any) -> float | None:
    """The time of a line of the journal in seconds since 1970; None if it is not a time."""
    try:
        return calendar.timegm(time.strptime(when, TIME))
    except (TypeError, ValueError, OverflowError):
        return None


def tries(journal: Iterable[Mapping[str, Any]], max_attempts: int) -> dict[str, int]:
    """The number of retries owed to each run, by run id.

    The number grows by one with every failure that may be tried again and with every `retry`, and
    never falls: summed into a job's specification it makes the job due, once each time. A run that
    has several ids (events "same") is tried again for all of them.
    """
    failures: dict[str, int] = defaultdict(int)
    counts: dict[str, int] = defaultdict(int)
    known: dict[str, dict[str, int]] = defaultdict(dict)  # ids of a digest, its count until then
    for line in journal:
        digest = line["run_digest"]
        known[digest].setdefault(line["run_id"], counts[digest])
        if line["event"] == "retry":
            failures[digest] = 0
            counts[digest] += 1
        elif line["event"] == "end" and line["status"] == "failed":
            failures[digest] += 1
            counts[digest] += failures[digest] < max_attempts
    counts_left: dict[str, int] = defaultdict(int)
    for digest, ids in known.items():
        for run_id, before in ids.items():
            counts_left[run_id] += counts[digest] - before
    return dict(counts_left)
