"""`status` counts the runs of each sweep and says what is left to train."""

import re

import pandas as pd
import pytest
from finished_results import damage_file, run_counts, status_table

from isoloss.core import tables
from isoloss.records.store import Store
from isoloss.study import status


def test_a_finished_sweep_is_done_and_nothing_is_left(shared):
    code, output = shared.isoloss("status")
    assert code == 0
    assert run_counts(output, "grid") == {"planned": 16, "done": 16}
    ended = {state: len(shared.shard_by_digest("short", state)) for state in ("done", "diverged")}
    assert run_counts(output, "short") == {"planned": 4, **{s: n for s, n in ended.items() if n}}
    line = status_table(output)["grid"]
    spent = pd.concat(
        tables.frame(file, "shard") for file in (shared.results / "train/grid").glob("*.parquet")
    )["seconds"].sum()
    assert line["spent"] == status.duration(spent)
    assert line["left (one core)"] == "0 s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (18600, "5 h 10")],
)
def test_seconds_are_said_as_people_say_them(seconds, words):
    assert status.duration(seconds).startswith(words)


def test_runs_that_the_index_knows_are_not_read(results, monkeypatch):
    store = results.store.indexed()  # of a copy: no stamp is right
    store.write_index("all.0", store.kept())
    before = results.isoloss("status")[1]
    reads, real = [], Store._checked

    def checked(store, digest):
        reads.append(digest)
        return real(store, digest)

    monkeypatch.setattr(Store, "_checked", checked)
    assert results.isoloss("status")[1] == before
    assert reads == []
    for file in (results.store.root / "index").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert results.isoloss("status")[1] == before
    assert len(reads) == len(store.kept())


def test_runs_that_are_lost_are_missing_with_a_guess_of_their_seconds(results):
    lost = list(results.shard_by_digest("grid"))[:2]
    for digest in lost:
        status.remove(results.store.folder(digest))
    table = status.runs(results.flow())
    missing = table[table["state"] == "missing"]
    assert set(missing["run_digest"]) == set(lost)
    assert (missing["left"] > 0).all()
    assert (table.loc[table["state"] != "missing", "left"] == 0).all()
    assert set(table.loc[table["state"] != "diverged", "reason"]) == {""}
    _, output = results.isoloss("status")
    assert run_counts(output, "grid") == {"planned": 16, "done": 14, "missing": 2}
    assert status_table(output)["grid"]["left (one core)"] == status.duration(missing["left"].sum())
    assert (
        "2 of the missing runs were interrupted: they continue from a checkpoint or start again"
        in output
    )  # they had begun


def test_a_run_that_is_held_is_running(results):
    digest = next(iter(results.shard_by_digest("grid")))
    status.remove(results.store.folder(digest))
    with results.store.claim(digest, wait=False) as held:
        assert held
        _, output = results.isoloss("status")
        code, why = results.isoloss("retry", "--run", digest)
    assert run_counts(output, "grid") == {"planned": 16, "done": 15, "running": 1}
    assert code == 2
    assert "is running: only a run that failed, diverged or is damaged can be trained again" in why
    assert run_counts(results.isoloss("status")[1], "grid")["missing"] == 1


def test_a_run_that_is_held_and_has_not_begun_is_running(results):
    digest = next(iter(results.shard_by_digest("grid")))
    status.remove(results.store.folder(digest))
    (results.store.root / "journal.jsonl").unlink()
    with results.store.claim(digest, wait=False):
        code, output = results.isoloss("status")
    assert code == 0
    assert run_counts(output, "grid") == {"planned": 16, "done": 15, "running": 1}


def test_what_went_wrong_is_counted_and_said_with_its_log(results):
    broken, wild, lost = list(results.shard_by_digest("grid"))[:3]
    failed = results.set_outcome(broken, "grid", "failed", attempts=2)
    diverged = results.set_outcome(wild, "grid", "diverged", reason="loss inf at step 3")
    damage_file(results, f"store/{lost}/run.parquet", "truncated")
    code, output = results.isoloss("status")
    assert code == 0
    assert run_counts(output, "grid") == {
        "planned": 16,
        "done": 13,
        "failed": 1,
        "diverged": 1,
        "damaged": 1,
    }
    words = f"{failed['run_id']}: failed, attempt 2: ZeroDivisionError: division by zero\n"
    assert f"{words}  log: {results.store.failures(broken)}\n" in output
    assert f"{diverged['run_id']}: diverged, attempt 1: loss inf at step 3\n" in output
    assert re.search(rf": damaged, attempt 0: \S*{lost}/run\.parquet: ", output)
    log = results.store.failures(broken).read_text(encoding="utf-8")
    assert "ZeroDivisionError" in log


def test_before_anything_is_loaded_every_run_is_missing(results):
    for part in ("load", "expand", "train", "store"):
        (results.results / part).rename(results.root / part)
    code, output = results.isoloss("status")
    assert code == 0
    assert run_counts(output, "grid") == {"planned": 16, "missing": 16}
    assert status_table(output)["short"]["left (one core)"] == "unknown"
    assert results.isoloss("retry")[0] == 0
    code, output = results.isoloss("gc")
    assert code == 2
    assert "its rows do not exist" in output


@pytest.mark.parametrize(("max_attempts", "due"), [(2, 1), (1, 0)])
def test_a_failed_run_makes_its_shard_due_until_it_was_tried_often_enough(
    results, max_attempts, due
):
    results.study["train"]["grid"]["max_attempts"] = max_attempts
    results.set_outcome(next(iter(results.shard_by_digest("grid"))), "grid", "failed")
    assert results.due().get("train_shard", 0) == due
    assert ("are to be tried again" in results.isoloss("verify")[1]) == bool(due)
    assert (": failed, attempt 1, to be tried again: " in results.isoloss("status")[1]) == bool(due)
