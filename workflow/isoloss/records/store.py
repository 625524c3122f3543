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

`index/` has what is known of the runs of each shard, so that not every run need be read.

`journal.jsonl` gets a line when a run starts, ends, is to be tried again, or is found to be the
same as one of another id.
"""

from __future__ import annotations

import calendar
import errno
import json
import os
import re
import shutil
import socket
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from isoloss.core import locks, paths, tables
from isoloss.core.problems import Problem, TableError
from isoloss.records import index, manifest

TIME = "%Y-%m-%dT%H:%M:%SZ"
STATUSES = ("done", "diverged", "failed")
FINAL = ("done", "diverged")  # a failed run is tried again when its shard is
CLAIM = ".claim.tmp"  # the file of a lock; `gc` removes one that was left
INDEX = "index"  # folder, below the store
_POLL = 0.2  # seconds between two looks at a run that another process trains


_SETBACK = re.compile(r'"retry"|"failed"')
_DIGEST = re.compile(r'"run_digest":\s*"([^"]*)"')
_AS_WRITTEN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class Store:
    """The runs of a study.

    Args:
        root: folder of the store; made when a run starts.
        known: what is known of runs, by their digests; see `indexed`. None: every run is read.
    """

    def __init__(self, root: str | Path, known: Mapping[str, index.Entry] | None = None):
        self.root = Path(root)
        self._remembers = known is not None
        self._known = dict(known or {})

    def indexed(self, segment: str = "*", columns: Sequence[str] | None = None) -> Store:
        """The same store, which takes from its index what is said there of unchanged files.

        Args:
            segment: a sweep and a shard, `<sweep>.<shard>`; `*` for all.
            columns: of the rows that `find` gives of such runs, `run_digest` and all that it is
                asked to be `among` included; None for all.
        """
        return Store(self.root, index.read(self.root / INDEX, segment, columns))

    def remember(self, row: Mapping[str, Any]) -> None:
        """Note a run that was saved just now, by whoever still holds it.

        Args:
            row: of the `shard` table, as it is in the run's file.
        """
        stamp = index.stamp(self.path(row["run_digest"]))
        if stamp is not None and self._remembers:
            self._known[row["run_digest"]] = stamp, dict(row)

    def write_index(self, segment: str, run_digests: Iterable[str]) -> None:
        """Write what is known of some runs into the index; runs of which nothing is are read.

        Args:
            segment: a sweep and a shard, `<sweep>.<shard>`.
            run_digests: of finished runs.
        """
        digests = dict.fromkeys(run_digests)
        for digest in digests:
            self.find(digest)
        entries = {digest: self._known[digest] for digest in digests if digest in self._known}
        before = index.read(self.root / INDEX, segment, ["run_digest"])
        if _stamps(entries) != _stamps(before):
            index.write(self.root / INDEX, segment, entries)

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
        stamp = index.stamp(path)
        if stamp is None:
            self._known.pop(run_digest, None)
            return None
        known_stamp, known = self._known.get(run_digest, (None, {}))
        if known_stamp == stamp:
            return dict(known) if _is_among(known, among) else None
        row = self._checked(run_digest)
        if row is not None and self._remembers and index.stamp(path) == stamp:
            self._known[run_digest] = stamp, dict(row)
        return row if row is not None and _is_among(row, among) else None

    def _checked(self, run_digest: str) -> dict[str, Any] | None:
        """A saved run, read and checked."""
        path = self.path(run_digest)
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            manifest.check(path, content)
            row = _row(path, content, run_digest)
        except TableError as error:
            (lost,) = error.problems
            remedy = f"`python -m isoloss retry STUDY --run {run_digest}` trains it again"
            raise TableError(
                Problem(lost.place, f"{lost.found}: the run is lost", f"{remedy}, and no other run")
            ) from error
        return row

    def damage(self, run_digest: str) -> list[tuple[Path, str]]:
        """The damaged files of a run, each with a reason where it is known; every byte is read."""
        run = self.path(run_digest)
        try:
            made = manifest.read(record := run.with_name(manifest.NAME))
        except TableError:
            return [(record, "is damaged")]
        if made is None and record.is_file():
            return [(record, "is damaged")]
        names = made["files"] if made else {}
        damaged = []
        for name in dict.fromkeys([run.name, *names]):
            path = run.with_name(name)
            if not path.is_file():
                damaged += [(path, "missing")] if name in names else []
            elif path != run:
                if manifest.file_digest(path) != names[name]:
                    damaged.append((path, ""))
            elif not _is_sound(path, names.get(name), run_digest):
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
        place = self.folder(digest) / manifest.NAME
        place.unlink(missing_ok=True)  # of an earlier attempt
        tables.write_row("shard", row, self.path(digest), {"identity": dict(identity)})
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
        path = self.failures(run_digest)
        with paths.writing(path), path.open("a", encoding="utf-8") as file:
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
        folders = (path.name for path in self.root.iterdir() if path.is_dir())
        return sorted(name for name in folders if name != INDEX)

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
        with paths.writing(path), path.open("ab", buffering=0) as journal:
            written = journal.write(text)
            if written < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def journal(self) -> list[dict[str, Any]]:
        """All lines of the journal, oldest first, without incomplete or damaged ones.

        A line has an event, a run_digest, a run_id, and a status if a run ended; a time only if
        it is one.
        """
        return [line for line in map(_parsed, self._lines()) if line is not None]

    def setbacks(self) -> list[dict[str, Any]]:
        """The lines of the journal about runs that ever failed or were to be tried again.

        As `journal`, but where all went well no line is parsed.
        """
        lines = self._lines()
        marked = map(_parsed, (line for line in lines if _SETBACK.search(line)))
        digests = {line["run_digest"] for line in marked if line is not None}
        if not digests:
            return []
        of_them = (line for line in lines if not digests.isdisjoint(_DIGEST.findall(line)))
        parsed = map(_parsed, of_them)
        return [line for line in parsed if line is not None and line["run_digest"] in digests]

    def _lines(self) -> list[str]:
        try:
            text = (self.root / "journal.jsonl").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return []
        return text.split("\n")


def _row(
    path: Path, content: bytes, run_digest: str, columns: Sequence[str] | None = None
) -> dict[str, Any]:
    """The row of a run in its file, or some columns of it, `run_digest` among them.

    Raises:
        TableError: the file is not a table of this run.
    """
    rows = tables.rows(path, "shard", content, columns)
    if len(rows) != 1:
        raise TableError(Problem(str(path), f"has {len(rows)} rows, not 1", "lost"))
    if rows[0]["run_digest"] != run_digest:
        other = f"is the run {rows[0]['run_digest']}"
        raise TableError(Problem(str(path), other, "put it back"))
    return rows[0]


def _is_sound(path: Path, digest: str | None, run_digest: str) -> bool:
    """Whether the file of a run is of this run, and what its manifest says or, without, whole."""
    content = path.read_bytes()
    if digest is not None and manifest.digest_of(content) != digest:
        return False
    try:
        _row(path, content, run_digest, None if digest is None else ["run_digest"])
    except TableError:
        return False
    return True


def _stamps(entries: Mapping[str, index.Entry]) -> dict[str, index.Stamp]:
    return {digest: stamp for digest, (stamp, _) in entries.items()}


def _is_among(row: Mapping[str, Any], among: Mapping[str, Collection[str]] | None) -> bool:
    return all(row[column] in values for column, values in (among or {}).items())


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
    if isinstance(when, str) and _AS_WRITTEN.fullmatch(when):
        with suppress(ValueError):  # ten times faster
            return datetime.fromisoformat(when).timestamp()
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
