"""The state of a study's runs: `status`, `retry` and `gc`.

A facade.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core import tables, tokens
from isoloss.core.escape import columns, visible
from isoloss.core.problems import IsolossError, TableError, nearest
from isoloss.load.dropped import read, told
from isoloss.records import manifest
from isoloss.records.store import FINAL, Store, seconds_of
from isoloss.study.flow import Flow
from isoloss.tasks._dataset import read_dataset, read_index
from isoloss.train.identity import VERSIONS, RunContent, run_digest
from isoloss.train.programs import Programs, files_digest
from isoloss.train.settings import commanded, free_settings, task_of

STATES = ("done", "running", "failed", "diverged", "damaged", "missing")
_OF_RUN = (  # columns of a run that are looked at here
    "run_id",
    "run_digest",
    "status",
    "status_reason",
    "attempts",
    "seconds",
    "code",
    "reading",
    *VERSIONS,
)
_STALE = 3600.0  # seconds after which a temporary file is taken to be abandoned


def runs(flow: Flow) -> pd.DataFrame:
    """Every planned run of a study with its state.

    Returns:
        One row a run: sweep, shard, run_id, run_digest (empty while its rows are not there), state
        (of STATES), again (it failed and is tried again), reason, attempts, starts, seconds spent,
        n_flops_model, left (seconds, predicted).
    """
    starts, open_since = _from_journal(flow.store.journal())
    store = flow.store.indexed(columns=_OF_RUN)
    rows = []
    for sweep in flow.config["train"]:
        content, among = content_of(flow, sweep), flow.among(sweep)
        for shard, planned in flow.planned(sweep).items():
            read = _read_before(flow, sweep, shard, among)
            digests = repeat("") if content is None else digests_of(flow, sweep, planned, content)
            for run, digest in zip(planned, digests, strict=content is not None):
                row = {"sweep": sweep, "shard": shard, "run_id": run["run_id"]}
                row |= {"run_digest": digest, "state": "missing", "again": False, "reason": ""}
                row |= {"attempts": 0, "starts": starts[digest], "seconds": 0.0}
                row |= {"n_flops_model": run.get("n_flops_model", np.nan)}
                if digest:
                    row |= _state(flow, sweep, store, digest, among, open_since)
                    if row["state"] == "missing" and digest in read:
                        row |= _of_row(flow, sweep, read[digest])
                rows.append(row)
    columns = ["sweep", "shard", "run_id", "run_digest", "state", "again", "reason", "attempts"]
    table = pd.DataFrame(rows, columns=[*columns, "starts", "seconds", "n_flops_model"])
    return table.assign(left=_predicted(table))


def report(flow: Flow) -> str:
    """The state of a study as text: a line for each sweep, every failure, and rows left out."""
    table = runs(flow)
    head = ["sweep", "planned", *STATES, "spent", "left (one core)"]
    lines = []
    for sweep in flow.config["train"]:
        rows = table[table["sweep"] == sweep]
        counts = rows["state"].value_counts()
        spent = rows.loc[rows["state"] != "missing", "seconds"].sum()
        left = rows["left"].sum(skipna=False)
        times = [duration(spent), "unknown" if np.isnan(left) else duration(left)]
        planned = str(len(rows))
        if not flow.is_planned(sweep):
            planned, times[1] = "?", "unknown"
        lines.append([sweep, planned, *(str(counts.get(s, 0)) for s in STATES), *times])
    parts = [columns(head, lines)] if lines else ["the study has no runs to train\n"]
    parts += [f"\n{visible(line)}\n" for line in _rounds_without_runs(flow)]
    cut_off = table[(table["state"] == "missing") & (table["starts"] > 0)]
    if len(cut_off):
        parts.append(
            f"\n{len(cut_off)} of the missing runs were interrupted: they continue from a "
            "checkpoint or start again\n"
        )
    for run in table[table["state"].isin(("failed", "diverged", "damaged"))].itertuples():
        again = ", to be tried again" if run.again else ""
        what = f"{run.state}, attempt {run.attempts}{again}: {visible(run.reason)}"
        parts.append(f"\n{visible(run.run_id)}: {what}\n")
        log = flow.store.failures(run.run_digest)
        parts.append(f"  log: {visible(log)}\n" if log.is_file() else "")
    return "".join([*parts, *_rows_left_out(flow)])


def _rounds_without_runs(flow: Flow) -> Iterator[str]:
    """A line for each round that is not chosen yet, or trains nothing."""
    for sweep, entry in flow.config["train"].items():
        if not flow.is_planned(sweep):
            yield f"{sweep}: its runs are chosen when {entry['round']['before']} is fitted"
        elif "round" in entry and not any(flow.planned(sweep).values()):
            reasons = read_reasons(flow.root / "choose" / sweep / "choices.parquet")
            yield f"{sweep}: nothing is trained ({'; '.join(reasons)})"


def _rows_left_out(flow: Flow) -> Iterator[str]:
    """A line for each loaded dataset of which rows are left out."""
    for name in flow.config["load"]:
        file = flow.root / "load" / name / "dropped.parquet"
        if file.is_file() and (line := told(read(file), f"dataset {name}")):
            yield f"\n{visible(line)}\n"


def read_reasons(file: Path) -> list[str]:
    """Why what a round looked at is trained or not, by its table of choices, if that is there."""
    return list(tables.frame(file, "choices")["reason"]) if file.is_file() else ["not known"]


def duration(seconds: float) -> str:
    """Seconds as text: 42 s, 3 min 20 s, 5 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def content_of(flow: Flow, sweep: str) -> RunContent | Programs | None:
    """What the runs of a sweep read of its dataset; None while rows or an expansion are lacking."""
    entry = flow.config["train"][sweep]
    if commanded(entry):
        about = entry["command"], sorted(free_settings(entry)), files_digest(entry["command"])
        return Programs(*about, flow.reading(sweep))
    dataset = entry["dataset"]
    folder = flow.root / "load" / dataset
    files = folder / "rows.parquet", folder / tokens.NAME
    indices = {
        weighting: flow.root / "expand" / dataset / weighting / "index.parquet"
        for weighting in flow.used(sweep)
    }
    if not all(path.is_file() for path in (*files, *indices.values())):
        return None
    for path in (*files, *indices.values()):
        manifest.check(path)  # by other rows every run would be another one
    read = {name: read_index(path) for name, path in indices.items()}
    task = task_of(entry["model"])
    return RunContent(task, read_dataset(*files), read, flow.schedules(sweep))


def digests_of(
    flow: Flow, sweep: str, runs: Iterable[dict[str, Any]], content: RunContent | Programs
) -> Iterator[str]:
    """The identities of planned runs of a sweep, in their order."""
    valid_tokens = flow.config["train"][sweep]["valid_tokens"]
    about = {"seed": flow.config["seed"], "valid_tokens": valid_tokens}
    about["code"] = flow.run_code(sweep)
    for run in runs:
        yield run_digest(content.identity(run, **about))


def _from_journal(
    journal: Iterable[dict[str, Any]],
) -> tuple[Counter[str], dict[str, float | None]]:
    """Starts of every run, and when those began that have not ended (None if it is not known)."""
    starts: Counter[str] = Counter()
    open_since: dict[str, float | None] = {}
    for line in journal:
        if line["event"] == "start":
            starts[line["run_digest"]] += 1
            open_since[line["run_digest"]] = seconds_of(line.get("time"))
        elif line["event"] == "end":
            open_since.pop(line["run_digest"], None)
    return starts, open_since


def _state(
    flow: Flow,
    sweep: str,
    store: Store,
    digest: str,
    among: dict[str, Any],
    open_since: dict[str, float | None],
) -> dict[str, Any]:
    try:
        known = store.find(digest, among)
        state = {} if known is None else _of_row(flow, sweep, known)
    except TableError as error:
        state = {"state": "damaged", "reason": str(error)}
    is_over = state.get("state") in FINAL and digest not in open_since
    if is_over or not store.running(digest):
        return state
    begun = open_since.get(digest)  # None: just now, or its line is damaged
    return {"state": "running"} | (
        {} if begun is None else {"seconds": max(0.0, time.time() - begun)}
    )


def _read_before(
    flow: Flow, sweep: str, shard: str, among: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """The rows of a shard of a program's runs by run digest, if they are read as the sweep says.

    The store has the latest reading of a run alone, which may be that of another sweep.
    """
    table = flow.root / flow.find("train", sweep=sweep, shard=shard).out
    if flow.reading(sweep) is None or not table.is_file():
        return {}
    try:
        rows = tables.frame(table, "shard").to_dict("records")
    except TableError:  # `verify` says so
        return {}
    return {
        row["run_digest"]: row
        for row in rows
        if all(row[column] in values for column, values in among.items())
    }


def _of_row(flow: Flow, sweep: str, known: dict[str, Any]) -> dict[str, Any]:
    """What is said of a run that was tried, a row of its shard."""
    again = known["attempts"] < flow.config["train"][sweep]["max_attempts"]
    return {
        "state": known["status"],
        "again": known["status"] == "failed" and again,
        "reason": known["status_reason"] if isinstance(known["status_reason"], str) else "",
        "attempts": known["attempts"],
        "seconds": known["seconds"],
    }


def _predicted(table: pd.DataFrame) -> np.ndarray:
    """Seconds left of every run, from the seconds per FLOP of the finished run nearest in FLOP."""
    finished = table[(table["state"] == "done") & (table["seconds"] > 0)].sort_values(
        "n_flops_model"
    )
    due = table["state"].isin(("missing", "running", "damaged")) | table["again"]
    if finished.empty:
        return np.where(due, np.nan, 0.0)
    flops, known = np.log(table["n_flops_model"].to_numpy()), np.log(finished["n_flops_model"])
    middles = (known.to_numpy()[1:] + known.to_numpy()[:-1]) / 2
    near = finished.iloc[np.searchsorted(middles, flops)]
    whole = near["seconds"].to_numpy() * np.exp(flops) / near["n_flops_model"].to_numpy()
    spent = np.where(table["state"] == "running", table["seconds"], 0.0)
    return np.where(due, np.maximum(0.0, whole - spent), 0.0)


def gone(flow: Flow) -> set[str]:
    """The digests of runs that a shard's table has, and the store has no more.

    Nothing is due for them: the table is there. `retry` has them trained again.
    """
    places = [flow.root / job.out for job in flow.jobs if "shard" in job.of.writes]
    digests: set[str] = set()
    for place in places:
        with suppress(TableError):  # missing or damaged: `verify` says so
            read = tables.read(place, "shard", columns=["run_digest"])
            digests.update(read["run_digest"].to_pylist())
    return {digest for digest in digests if not flow.store.path(digest).is_file()}


def retry(flow: Flow, named: Sequence[str] = (), diverged: bool = False) -> list[str]:
    """Remove the results of runs, so that they are trained again at the next invocation.

    Args:
        flow: the study with its results.
        named: ids or digests of runs that failed, diverged, are damaged or gone from the store;
            none for all that failed.
        diverged: without names, also all that diverged.

    Returns:
        The ids of the runs.

    Raises:
        IsolossError: a run is not known, is done, or is being trained.
    """
    table = runs(flow)
    known = {*table["run_id"], *table["run_digest"]} - {""}
    for name in named:
        if name not in known:
            raise IsolossError(f"no run is called {name!r}; {nearest(name, known)}")
    if named:
        lost = gone(flow)
        chosen = table[table["run_id"].isin(named) | table["run_digest"].isin(named)]
        for run in chosen[chosen["state"].isin(("done", "running", "missing"))].to_dict("records"):
            # its model may be lost, or what came of it, as `verify` says
            digest = run["run_digest"]
            if run["state"] != "running" and (digest in lost or flow.store.damage(digest)):
                continue
            raise IsolossError(
                f"{run['run_id']} is {run['state']}: only a run that failed, "
                "diverged or is damaged can be trained again"
            )
    else:
        chosen = table[table["state"].isin(["failed", *(["diverged"] if diverged else [])])]
    chosen = chosen.drop_duplicates("run_digest")  # a run can be in two sweeps
    for run in chosen.itertuples():
        with flow.store.claim(run.run_digest, wait=False) as claim:
            if claim is None:
                raise IsolossError(f"{run.run_id} is being trained")
            flow.store.reopen(run.run_digest, run.run_id, sweep=run.sweep, shard=run.shard)
    return list(chosen["run_id"])


def unused(flows: Sequence[Flow]) -> list[tuple[Path, str]]:
    """The runs in a store that none of some studies refers to.

    Args:
        flows: the studies, with one folder of results.

    Returns:
        Folders of runs and files left behind by jobs that were killed, each with what it is.

    Raises:
        IsolossError: rows are missing, or code has changed, so that nobody can say what a study
            refers to.
    """
    used_paths = set()
    for flow in flows:
        for sweep, codes in flow.trained_codes().values():
            if codes - {flow.run_code(sweep)}:
                raise IsolossError(
                    f"{sweep}: its tables hold runs of other code than the one here; run the "
                    "study, or `accept` the code, so that it is known which runs it refers to"
                )
        for sweep in flow.config["train"]:
            if not flow.is_planned(sweep):
                raise IsolossError(
                    f"{sweep}: its runs are not chosen yet, so it is not known which runs it "
                    "refers to; run the study first"
                )
            content = content_of(flow, sweep)
            if content is None:
                raise IsolossError(
                    f"{sweep}: its rows do not exist, so it is not known which runs it refers to; "
                    "run the study up to `runs` first"
                )
            for shard in flow.planned(sweep).values():
                used_paths.update(digests_of(flow, sweep, shard, content))
    store = flows[0].store
    unused_paths = []
    for digest in store.kept():
        if digest not in used_paths and not store.running(digest):
            unused_paths.append((store.folder(digest), _what(store, digest)))
    for path in sorted(flows[0].root.rglob(".*.tmp")):
        above = path.relative_to(flows[0].root).parents
        inside = any(folder.name.endswith(".tmp") for folder in above)
        if not inside and time.time() - path.stat().st_mtime > _STALE:
            unused_paths.append((path, "incomplete file of a job that was killed"))
    return unused_paths


def _what(store, digest: str) -> str:
    try:
        known = store.find(digest)
    except TableError:
        return "damaged"
    return f"{known['run_id']}, {known['status']}" if known else "never ended"


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path)


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
