"""The store of runs and the manifests: what is kept is whole, found again, and nobody's twice."""

import errno
import json
import multiprocessing
import resource
import signal
import threading
from contextlib import contextmanager

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isoloss.core import tables
from isoloss.core.problems import TableError
from isoloss.records import environment, manifest
from isoloss.records.store import Store, tries
from isoloss.study import status

DIGEST, OTHER = "0" * 32, "f" * 32
IDENTITY = {"seed": 3, "code": "c0de", "settings": {"d_model": 8, "peak_learning_rate": 0.01}}
# a process of its own that shares nothing; threads of this one are not copied
SPAWN = multiprocessing.get_context("spawn")


def run(digest=DIGEST, status="done", **other):
    """A row of the `shard` table."""
    point = {"step": 10, "n_samples": 320, "loss_nats": 3.5}
    loss = {"step": 10, "split": "valid", "tag_key": "kind", "domain": "code"}
    row = {
        "run_id": f"run-{digest[:4]}",
        "run_digest": digest,
        "n_unique": 320,
        "loss_nats": 3.25,
        "status": status,
        "status_reason": None if status == "done" else "why",
        "attempts": 1,
        "losses": [{**loss, "loss_nats": 3.25, "n_tokens": 512}],
        "curve": [point],
        "seconds": 1.5,
        "device": "cpu",
        "torch_version": "2.0",
        "numpy_version": "1.0",
        "code": "c0de",
        **dict.fromkeys(("n_params", "n_samples", "n_flops", "reading")),
    }
    return row | other


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def saved(store):
    """A store with one finished run and its model."""
    store.folder(DIGEST).mkdir(parents=True)
    store.weights(DIGEST).write_bytes(b"tensors")
    store.save(run(), IDENTITY, sweep="grid", shard="0")
    return store


def plain(row):
    """A row without the types that pandas gives its values."""
    (values,) = tables.conform("shard", pd.DataFrame([row])).to_pylist()
    return values


# ---- saved runs


def test_a_run_is_found_as_it_was_saved_with_its_identity(saved):
    assert plain(saved.find(DIGEST)) == plain(run())
    assert saved.identity(DIGEST) == IDENTITY
    assert saved.find(OTHER) is None
    assert saved.kept() == [DIGEST]


@pytest.mark.parametrize("status", ["done", "diverged", "failed"])
def test_a_run_that_ended_keeps_its_state_only_if_it_may_go_on(store, status):
    store.folder(DIGEST).mkdir(parents=True)
    store.state(DIGEST).write_bytes(b"step 5")
    store.save(run(status=status), IDENTITY)
    assert store.state(DIGEST).exists() == (status == "failed")
    assert store.find(DIGEST)["status"] == status
    assert [(line["event"], line["status"]) for line in store.journal()] == [("end", status)]


def test_the_same_run_saved_twice_is_the_same_files(saved):
    before = {path: path.read_bytes() for path in saved.folder(DIGEST).iterdir()}
    saved.save(run(), IDENTITY, sweep="grid", shard="0")
    assert {path: path.read_bytes() for path in saved.folder(DIGEST).iterdir()} == before
    assert plain(saved.find(DIGEST)) == plain(run())


def test_a_run_that_fails_to_be_saved_is_not_there(store, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    store.folder(DIGEST).mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            store.save(run(), IDENTITY)
    assert store.find(DIGEST) is None
    assert list(store.folder(DIGEST).iterdir()) == []
    assert store.journal() == []


def test_only_a_run_of_these_versions_and_codes_is_one(saved):
    here = {"torch_version": {"2.0"}, "numpy_version": {"1.0"}, "code": {"c0de", "older"}}
    assert saved.find(DIGEST, here)["run_id"] == run()["run_id"]
    for column in here:
        assert saved.find(DIGEST, {**here, column: {"another"}}) is None


def test_a_run_that_is_another_one_is_refused(saved):
    saved.folder(DIGEST).rename(saved.folder(OTHER))
    with pytest.raises(TableError, match=rf"(?s){OTHER}.*is the run {DIGEST}.*retry"):
        saved.find(OTHER)


def test_what_is_taken_back_is_gone_with_its_model_and_noted(saved):
    saved.state(DIGEST).write_bytes(b"step 5")
    saved.failed(DIGEST, "why")
    saved.reopen(DIGEST, "run", sweep="grid", shard="0")
    assert saved.find(DIGEST) is None
    assert [path.name for path in saved.folder(DIGEST).iterdir()] == ["failures.txt"]
    last = saved.journal()[-1]
    assert (last["event"], last["sweep"], last["shard"]) == ("retry", "grid", "0")


def test_every_failure_is_kept(saved):
    saved.failed(DIGEST, "Traceback\nValueError: first\n\n")
    saved.failed(DIGEST, "ended by SIGKILL")
    assert saved.failures(DIGEST).read_text(encoding="utf-8") == (
        "Traceback\nValueError: first\n\nended by SIGKILL\n\n"
    )


def test_what_is_forgotten_leaves_nothing(saved):
    status.remove(saved.folder(DIGEST))
    assert saved.kept() == []
    assert saved.find(DIGEST) is None


def test_an_empty_store_holds_nothing_and_is_not_made_by_looking(store):
    assert (store.kept(), store.journal(), store.find(DIGEST)) == ([], [], None)
    assert not store.running(DIGEST)
    assert not store.root.exists()


@pytest.fixture(scope="module")
def harmed(tmp_path_factory):
    """A store with a run to be damaged, and a copy of the run's file to do it with."""
    store = Store(tmp_path_factory.mktemp("harmed"))
    store.save(run(), IDENTITY)
    (store.root / "whole").write_bytes(store.path(DIGEST).read_bytes())
    return store


def flip(store, path, at, mask):
    """Write the run's file with one byte flipped."""
    whole = bytearray((store.root / "whole").read_bytes())
    whole[at % len(whole)] ^= mask
    path.write_bytes(whole)


flips = given(at=st.integers(0, 2**16), mask=st.integers(1, 255))


@settings(max_examples=100)
@flips
def test_a_run_with_a_flipped_byte_is_refused(harmed, at, mask):
    flip(harmed, harmed.path(DIGEST), at, mask)
    with pytest.raises(TableError, match=f"retry STUDY --run {DIGEST}") as error:
        harmed.find(DIGEST)
    assert str(harmed.path(DIGEST)) in str(error.value)


@settings(max_examples=500)
@flips
def test_a_table_with_a_flipped_byte_is_read_or_a_table_error(harmed, at, mask):
    path = harmed.root / "flipped.parquet"
    flip(harmed, path, at, mask)
    for read, kind in ((tables.facts, dict), (tables.frame, pd.DataFrame)):
        try:
            assert isinstance(read(path), kind)
        except TableError as error:
            assert str(path) in str(error)


# ---- claims


def hold(root, ready, wait):
    """Hold a run in a process of its own until it is told otherwise, or killed."""
    with Store(root).claim(DIGEST, wait=False) as is_held:
        ready.put(is_held is not None)
        wait.wait()


def queue_up(root, log):
    """Take the run once, alone, as others do at the same time."""
    for _ in range(4):
        with Store(root).claim(DIGEST) as is_held, open(log, "a+", encoding="utf-8") as file:
            file.seek(0)
            number = len(file.read().splitlines())
            file.write(f"{number} {is_held is not None}\n")


@contextmanager
def processes(count, target, *arguments):
    """Some processes that do the same; they are ended with the test."""
    children = [SPAWN.Process(target=target, args=arguments, daemon=True) for _ in range(count)]
    for child in children:
        child.start()
    yield children
    for child in children:
        child.kill()
        child.join()


def test_a_run_is_held_by_one_and_free_afterwards(store):
    assert not store.running(DIGEST)
    with store.claim(DIGEST) as is_held:
        assert is_held and store.running(DIGEST)
        with store.claim(DIGEST, wait=False) as other:
            assert not other
        assert store.running(DIGEST)
    assert not store.running(DIGEST)
    with store.claim(DIGEST, wait=False) as is_held:
        assert is_held


def test_a_claim_is_free_after_an_error(store):
    with pytest.raises(ZeroDivisionError), store.claim(DIGEST):
        raise ZeroDivisionError
    assert not store.running(DIGEST)


def test_a_claim_ends_with_the_process_that_held_it(store):
    ready, wait = SPAWN.Queue(), SPAWN.Event()
    with processes(1, hold, store.root, ready, wait) as (child,):
        assert ready.get(timeout=300) is True
        assert store.running(DIGEST)
        with store.claim(DIGEST, wait=False) as is_held:
            assert not is_held
        child.kill()
        child.join()
        with store.claim(DIGEST, wait=False) as is_held:
            assert is_held
    assert not store.running(DIGEST)


def test_of_several_processes_one_at_a_time_holds_a_run(store, tmp_path):
    log = tmp_path / "log"
    with processes(3, queue_up, store.root, log) as children:
        for child in children:
            child.join(300)
            assert child.exitcode == 0
    assert log.read_text(encoding="utf-8").splitlines() == [f"{i} True" for i in range(12)]


def test_who_waited_for_a_run_that_failed_holds_it_alone(store):
    waits, holds, finished = threading.Event(), threading.Event(), threading.Event()

    def wait():
        waits.set()
        with store.claim(DIGEST):
            holds.set()
            finished.wait(60)

    other = threading.Thread(target=wait)
    with store.claim(DIGEST):
        other.start()
        assert waits.wait(60)
        assert not holds.wait(0.2)
        store.save(run(status="failed"), IDENTITY)
    assert holds.wait(60)
    try:
        assert store.running(DIGEST)
        with store.claim(DIGEST, wait=False) as is_held:
            assert not is_held
    finally:
        finished.set()
        other.join()


# ---- the journal


def notes(root, name):
    """Write many lines to a journal."""
    for i in range(100):
        Store(root).note("start", DIGEST, f"{name}-{i}", sweep="a sweep with a long name" * 20)


def many_notes(root, names):
    """The same under the next name."""
    notes(root, names.get(timeout=300))


def test_lines_of_several_processes_are_whole(store):
    names = SPAWN.Queue()
    for name in ("a", "b", "c"):
        names.put(name)
    with processes(3, many_notes, store.root, names) as children:
        for child in children:
            child.join(300)
            assert child.exitcode == 0
    lines = (store.root / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert len([json.loads(line) for line in lines]) == 300
    for name in ("a", "b", "c"):
        own_lines = [one["run_id"] for one in store.journal() if one["run_id"].startswith(name)]
        assert own_lines == [f"{name}-{i}" for i in range(100)]


def note_without_room(root, size, queue):
    """Note a line where the file may not grow by more than some bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        Store(root).note("start", DIGEST, "torn")
        queue.put("noted")
    except OSError:
        queue.put("refused")


@pytest.mark.parametrize("room", [0, 1, 40])
def test_a_line_for_which_there_is_no_room_is_an_error_and_harms_no_other(store, room):
    store.note("start", DIGEST, "before")
    queue, size = SPAWN.Queue(), (store.root / "journal.jsonl").stat().st_size + room
    with processes(1, note_without_room, store.root, size, queue) as (child,):
        assert queue.get(timeout=300) == "refused"
        child.join(300)
    assert (store.root / "journal.jsonl").stat().st_size == size
    store.note("start", DIGEST, "after")
    assert [line["run_id"] for line in store.journal()] == ["before", "after"]


@settings(max_examples=60)
@given(
    cut=st.floats(0, 1, exclude_max=True),
    ids=st.lists(st.text(), min_size=1, max_size=3),
    glued=st.booleans(),
)
@example(cut=0.999, ids=["a"], glued=True)
def test_a_torn_line_is_left_out_and_no_other(tmp_path_factory, cut, ids, glued):
    store = Store(tmp_path_factory.mktemp("store"))
    for name in ids:
        store.note("start", DIGEST, name)
    path = store.root / "journal.jsonl"
    whole = path.read_bytes()
    store.note("start", OTHER, "torn")
    torn = path.read_bytes()[len(whole) : -1]
    path.write_bytes(whole + torn[: int(cut * len(torn))] + (b"" if glued else b"\n"))
    store.note("end", OTHER, "later", status="done")
    assert [line["run_id"] for line in store.journal()] == [*ids, "later"]


# ---- how often a run is to be tried again


IDS = {"a": DIGEST, "b": DIGEST, "c": OTHER}  # two ids can be one run
EVENTS = st.tuples(
    st.sampled_from(["start", "retry", "failed", "failed", "done", "diverged", "same"]),
    st.sampled_from(list(IDS)),
)


def journal_of(events):
    """A journal of (event or status, id)."""
    lines = []
    for event, run_id in events:
        kind = {"event": event} if event in ("start", "retry", "same") else {"event": "end"}
        line = {**kind, "run_digest": IDS[run_id], "run_id": run_id, "sweep": "grid", "shard": "0"}
        lines.append(line if kind["event"] != "end" else {**line, "status": event})
    return lines


@given(st.lists(EVENTS, max_size=30), st.integers(1, 4))
def test_tries_grow_by_one_with_what_may_be_tried_again_and_never_fall(events, max_attempts):
    journal, failures, before = journal_of(events), dict.fromkeys(IDS.values(), 0), {}
    for i, (event, run_id) in enumerate(events):
        digest = IDS[run_id]
        failures[digest] += event == "failed"
        again = event == "retry" or (event == "failed" and failures[digest] < max_attempts)
        if event == "retry":
            failures[digest] = 0
        after = tries(journal[: i + 1], max_attempts)
        grown = {name: after.get(name, 0) - before.get(name, 0) for name in IDS}
        assert grown[run_id] == again
        assert all(n in (0, again and IDS[name] == digest) for name, n in grown.items())
        before = after


@given(st.lists(EVENTS, max_size=30), st.integers(1, 4))
def test_one_run_changes_nothing_for_another(events, max_attempts):
    own_events = [one for one in events if IDS[one[1]] == DIGEST]
    alone = tries(journal_of(own_events), max_attempts)
    together = tries(journal_of(events), max_attempts)
    assert {name: together.get(name, 0) for name in ("a", "b")} == {
        name: alone.get(name, 0) for name in ("a", "b")
    }


@given(st.lists(EVENTS, max_size=30), st.integers(1, 4))
def test_the_lines_of_setbacks_are_enough_to_know_the_tries(tmp_path_factory, events, attempts):
    store = Store(tmp_path_factory.mktemp("store"))
    lines = journal_of(events)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (store.root / "journal.jsonl").write_text(f'{text}{{"event": "retry", "run_d', "utf-8")
    owed = {name: count for name, count in tries(lines, attempts).items() if count}
    setbacks = store.setbacks()
    assert {name: count for name, count in tries(setbacks, attempts).items() if count} == owed
    beset = {line["run_digest"] for line in lines if "failed" in line.values()}
    beset |= {line["run_digest"] for line in lines if line["event"] == "retry"}
    assert {line["run_digest"] for line in setbacks} == beset


def test_a_run_that_was_tried_often_enough_is_not_tried_again(store):
    for attempts in (1, 2, 3):
        store.save(run(status="failed", attempts=attempts), IDENTITY, sweep="grid", shard="0")
    assert tries(store.journal(), 3) == {run()["run_id"]: 2}
    store.reopen(DIGEST, run()["run_id"], sweep="grid", shard="0")
    assert tries(store.journal(), 3) == {run()["run_id"]: 3}


# ---- manifests


@pytest.fixture
def made(tmp_path):
    """A folder that a job filled, from an input in another one."""
    given, out = tmp_path / "given" / "rows.parquet", tmp_path / "out" / "index.parquet"
    tables.write("index", tables.empty("index"), given)
    tables.write("index", tables.empty("index"), out, {"weighting": "natural"})
    record = manifest.Draft({"job": "expand", "code": "c0de"}, out.with_name(manifest.NAME))
    record.takes(given)
    record.makes([out], trained_with=[{"torch": "1"}])
    return out


def test_a_manifest_says_what_was_made_of_what_and_with_what(made):
    content = manifest.read(made.with_name(manifest.NAME))
    assert content["inputs"] == {
        "../given/rows.parquet": manifest.file_digest(made.parents[1] / "given/rows.parquet")
    }
    assert content["files"] == {"index.parquet": manifest.file_digest(made)}
    assert content["versions"] == environment.versions()
    assert (content["job"], content["code"]) == ("expand", "c0de")
    assert content["trained_with"] == [{"torch": "1"}]
    assert {path.name for path in made.parent.iterdir()} == {"index.parquet", manifest.NAME}


@pytest.mark.parametrize("name", [manifest.NAME, "index.json"])
def test_a_file_is_checked_against_the_manifest_of_its_folder_or_its_own(made, name):
    made.with_name(manifest.NAME).rename(made.with_name(name))
    assert manifest.check(made) == manifest.file_digest(made)
    made.write_bytes(made.read_bytes() + b"\n")
    with pytest.raises(
        TableError, match=r"differs from what its job wrote.*make it again"
    ) as error:
        manifest.check(made)
    assert str(made) in str(error.value)


def test_a_file_without_a_manifest_may_be_any(made):
    made.with_name(manifest.NAME).unlink()
    made.write_bytes(b"anything")
    assert manifest.check(made) == manifest.file_digest(made)


def test_a_file_that_the_manifest_does_not_name_may_be_any(made):
    other = made.with_name("notes.txt")
    other.write_text("mine")
    assert manifest.check(other) == manifest.file_digest(other)


def test_a_file_that_is_not_there_is_told(made):
    made.unlink()
    with pytest.raises(TableError, match=r"index\.parquet: no such file; run the stage"):
        manifest.check(made)


@pytest.mark.parametrize("text", ["", "{", "\x00", '{"files": {'])
def test_a_manifest_that_cannot_be_read_is_told(made, text):
    made.with_name(manifest.NAME).write_text(text)
    with pytest.raises(TableError, match=r"manifest\.json: is damaged .*make it again"):
        manifest.check(made)


@pytest.mark.parametrize("text", ["[]", "null", '"files"', '{"a": 1}'])
def test_what_is_no_manifest_is_none(made, text):
    made.with_name(manifest.NAME).write_text(text)
    assert manifest.read(made.with_name(manifest.NAME)) is None
    assert manifest.check(made) == manifest.file_digest(made)


def test_a_job_that_is_given_a_changed_file_makes_nothing(made, tmp_path):
    made.write_bytes(b"changed")
    record = manifest.Draft({"job": "train"}, tmp_path / "train" / manifest.NAME)
    with pytest.raises(TableError, match="differs from what its job wrote"):
        record.takes(made)
    assert record.inputs == {}
    assert not (tmp_path / "train").exists()


# ---- whole or not at all


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, b"before"])
@pytest.mark.parametrize("written", [None, b"half"])
def test_after_an_exception_nothing_half_written_is_left(tmp_path, error, before, written):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(error), tables.whole(path) as temporary:
        if written is not None:
            temporary.write_bytes(written)
        assert not path.exists() or path.read_bytes() == before
        raise error
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == (
        [("file", before)] if before is not None else []
    )


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "folder" / "file"
    with tables.whole(path) as temporary:
        temporary.write_bytes(b"whole")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]
