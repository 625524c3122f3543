"""A job that is told to end (SIGTERM), and what a run leaves to the next in one process."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from rows_in_memory import dataset_of, expand_table, index_of

from isoloss.core import tables
from isoloss.core.ending import TerminatedError, told_to_end
from isoloss.core.locks import LockLostError
from isoloss.records.store import CLAIM, Store
from isoloss.train import child, pristine, watch
from isoloss.train.identity import RunContent
from isoloss.train.plan import plan_sweep
from isoloss.train.shard import ShardSetup, train_shard

TINY = {"n_layers": 1, "context": 16, "head_width": 4, "batch_size": 2, "n_samples": 1280}


@pytest.fixture(scope="module")
def runs():
    """Four tiny runs of 40 steps."""
    cells = [{"d_model": [4, 8], "seed": [0, 1]}]
    sweep = {"model": "transformer", "trainer": "builtin", "settings": TINY, "shards": 1}
    plan = plan_sweep({**sweep, "cells": cells, "n_params": "nonembed", "n_flops": "6nd"})
    return plan.drop(columns=["shard", "budget"]).to_dict("records")


@pytest.fixture(scope="module")
def train(rows):
    """Train runs, with no state but those of runs that are told to end."""
    index = index_of(expand_table(rows, {}, seed=3)[0])
    content = RunContent("language_model", dataset_of(rows), {"natural": index})

    def run(runs, store):
        job = ShardSetup(content, store, 3, "code", "code", {}, 512, checkpoint_minutes=0)
        shard = tables.conform("shard", train_shard(runs, job)).to_pandas()
        return shard.set_index("run_id", drop=False)

    return run


@pytest.fixture(scope="module")
def alone(train, runs, tmp_path_factory):
    """Every run, each trained in a process of its own."""
    frames = [train([run], Store(tmp_path_factory.mktemp("store"))) for run in runs]
    return {frame["run_id"].item(): numbers(frame.iloc[0]) for frame in frames}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def numbers(row) -> tuple:
    """What a run is worth."""
    nested = [[tuple(sorted(entry.items())) for entry in row[c]] for c in ("losses", "curve")]
    return (row["status"], row["loss_nats"], row["n_unique"], *map(tuple, nested))


def events(store):
    return [line["event"] for line in store.journal()]


def told(train, runs, store) -> str:
    """What a job says that is told to end."""
    with told_to_end(), pytest.raises(TerminatedError) as error:
        train(runs, store)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    return str(error.value)


def at_step(patch, step, whom):
    """Send SIGTERM at a step of a run, and wait until the run is asked to end."""
    real = child._ticks

    def ticks(n_steps, shared, parent):
        for count, tick in enumerate(real(n_steps, shared, parent), 1):
            if count == step:
                os.kill(parent if whom == "job" else os.getpid(), signal.SIGTERM)
                while not shared.is_stopped():
                    time.sleep(0.001)
            yield tick

    patch.setattr(child, "_ticks", ticks)


@pytest.mark.parametrize(
    ("whom", "step"), [("job", None), ("child", None), ("job", 1), ("job", 39)]
)
def test_a_run_that_is_told_to_end_saves_its_state_and_goes_on_bit_for_bit(
    train, runs, alone, store, monkeypatch, tmp_path, whom, step
):
    step = step or random.randint(2, 38)
    with monkeypatch.context() as patch:
        at_step(patch, step, whom)
        message = told(train, runs[:2], store)
    assert message == f"{runs[0]['run_id']}: its state is saved after step {step + 1}"
    assert events(store) == ["start"]  # no end, and the other run is not begun
    (digest,) = store.kept()
    assert store.find(digest) is None and not store.running(digest)
    assert not store.failures(digest).exists()

    real = child.Checkpoint.load

    def load(checkpoint):
        (tmp_path / "from").write_text(str((state := real(checkpoint)) and state["step"]))
        return state

    monkeypatch.setattr(child.Checkpoint, "load", load)
    shard = train(runs[:1], store)
    assert (tmp_path / "from").read_text() == str(step + 1)
    shard = train(runs[:2], store)
    assert {run_id: numbers(row) for run_id, row in shard.iterrows()} == {
        run["run_id"]: alone[run["run_id"]] for run in runs[:2]
    }
    assert shard["attempts"].tolist() == [1, 1]
    assert events(store) == ["start", "start", "end", "start", "end"]
    assert not store.state(digest).exists()


def hangs(step=None):
    """A run that neither asks nor ends, and sends SIGTERM to its job."""

    def train_run(identity, content, ticks, checkpoint):
        for _ in range(step or 1):
            os.kill(os.getppid(), signal.SIGTERM)
            while not checkpoint.stops():
                time.sleep(0.001)
            time.sleep(0.1)
        time.sleep(600)

    return train_run


@pytest.mark.parametrize(("signals", "grace"), [(1, 0.2), (2, 600)])
def test_a_run_that_does_not_ask_is_ended_after_a_while_or_by_a_second_signal(
    train, runs, store, monkeypatch, signals, grace
):
    monkeypatch.setattr(watch, "GRACE", grace)
    monkeypatch.setattr(child, "train_run", hangs(signals))
    begun = time.monotonic()
    message = told(train, runs, store)
    assert time.monotonic() - begun < 60
    assert message in ("", f"{runs[0]['run_id']}: was ended before it had saved its state")
    assert events(store) == ["start"]


def test_a_run_that_ends_anyway_is_finished_and_the_next_is_not_begun(
    train, runs, alone, store, monkeypatch
):
    real = child.train_run

    def train_run(identity, content, ticks, checkpoint):
        trained = real(identity, content, ticks, checkpoint)
        os.kill(os.getppid(), signal.SIGTERM)
        while not checkpoint.stops():
            time.sleep(0.001)
        return trained

    with monkeypatch.context() as patch:
        patch.setattr(child, "train_run", train_run)
        assert told(train, runs, store) == f"{runs[0]['run_id']}: is finished"
    assert events(store) == ["start", "end"]
    (digest,) = store.kept()
    assert numbers(store.find(digest)) == alone[runs[0]["run_id"]]


def test_where_nobody_trains_the_job_ends_at_once(train, runs, store, monkeypatch):
    def find(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Store, "find", find)
    assert told(train, runs, store) == ""
    assert not store.root.exists()


def leave_all_behind():
    """Change all that a trainer card could change of its process."""
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("medium")
    torch.set_flush_denormal(True)
    np.seterr(all="raise")
    os.environ["LEFT"] = "behind"
    os.environ.pop("HOME", None)
    os.chdir("/")
    os.umask(0o077)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("error")


def seen():
    """The same, as a run finds it."""
    draws = torch.rand(1, device="cpu").item(), np.random.rand(), random.random()
    of_torch = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    of_torch += torch.get_default_device(), torch.get_float32_matmul_precision()
    denormal = float(torch.tensor(1e-30, device="cpu") * 1e-10)
    handlers = [signal.getsignal(number) is signal.SIG_IGN for number in (2, 15)]
    place = dict(os.environ), Path.cwd(), os.umask(0o022), np.geterr(), len(warnings.filters)
    return repr((draws, of_torch, denormal, handlers, place))


def test_nothing_that_a_run_leaves_behind_reaches_the_next(
    train, runs, alone, store, monkeypatch, tmp_path
):
    real, order = child.train_run, random.sample(runs, len(runs))

    def train_run(*given):
        with (tmp_path / "seen").open("a", encoding="utf-8") as file:
            print(os.getpid(), seen(), sep="\t", file=file)
        trained = real(*given)
        leave_all_behind()
        return trained

    before = seen()
    monkeypatch.setattr(child, "train_run", train_run)
    shard = train(order, store)
    os.umask(0o022)
    assert {run_id: numbers(row) for run_id, row in shard.iterrows()} == alone
    lines = [line.split("\t") for line in (tmp_path / "seen").read_text("utf-8").splitlines()]
    assert len({process for process, _ in lines}) == 1
    assert len({state for _, state in lines}) == 1
    assert before.partition("environ")[2] == lines[0][1].partition("environ")[2]


LEFT = []


def leave_a_thread():
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def leave_memory():
    LEFT.append(torch.ones(100_000_000, dtype=torch.uint8))


def leave_a_file():
    LEFT.append(Path(os.devnull).open())  # noqa: SIM115


@pytest.mark.parametrize("leave", [leave_a_thread, leave_memory, leave_a_file])
def test_a_run_that_leaves_what_cannot_be_put_back_is_the_last_of_its_process(
    train, runs, alone, store, monkeypatch, tmp_path, leave
):
    monkeypatch.setattr(pristine, "_MOST_GROWTH", 20_000_000)
    real = child.train_run

    def train_run(*given):
        with (tmp_path / "seen").open("a") as file:
            print(os.getpid(), file=file)
        trained = real(*given)
        leave()
        return trained

    monkeypatch.setattr(child, "train_run", train_run)
    shard = train(runs[:2], store)
    assert len(set((tmp_path / "seen").read_text().split())) == 2
    assert {i: numbers(row) for i, row in shard.iterrows()} == {i: alone[i] for i in shard.index}


def test_a_run_whose_claim_another_process_has_taken_is_not_saved(train, runs, store, monkeypatch):
    real = child.train_run

    def train_run(*given):
        (folder,) = store.kept()
        (store.folder(folder) / CLAIM).write_text("another process")
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(child, "train_run", train_run)
        with pytest.raises(LockLostError, match="nothing is written"):
            train(runs[:1], store)
    assert events(store) == ["start"]
    assert store.find(*store.kept()) is None
    store.folder(*store.kept()).joinpath(CLAIM).unlink(missing_ok=True)
    assert train(runs[:1], store)["attempts"].tolist() == [1]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda: os._exit(0), "its process ended with exit code 0"),
        (lambda: os.fork() or time.sleep(3), "its process was ended by SIGKILL"),
    ],
)
def test_a_process_that_ends_without_a_word_is_noticed_and_its_run_has_failed(
    train, runs, alone, store, monkeypatch, end, reason
):
    real = child.train_run

    def train_run(identity, *rest):
        if identity["settings"]["seed"] == 0:
            end()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(identity, *rest)

    monkeypatch.setattr(child, "train_run", train_run)
    shard = train(runs[:2], store)
    assert shard["status"].tolist() == ["failed", "done"]
    assert shard["status_reason"].iloc[0].startswith(reason)
    assert numbers(shard.iloc[1]) == alone[shard.index[1]]


def test_a_process_that_is_killed_before_it_reads_its_run_fails_that_run_alone(
    train, runs, store, monkeypatch
):
    def serve(tasks, jobs_end, *about):
        assert tasks.poll(60)
        os.kill(os.getpid(), signal.SIGKILL)

    real = watch.serve
    begun = []

    def first_is_killed(*given):
        (serve if not begun else real)(*given)

    start = watch._Child.__init__

    def counted(self, *given):
        start(self, *given)
        begun.append(self)

    monkeypatch.setattr(watch, "serve", first_is_killed)
    monkeypatch.setattr(watch._Child, "__init__", counted)
    shard = train(runs[:2], store)
    assert shard["status"].to_list() == ["failed", "done"]
    assert "SIGKILL" in shard["status_reason"].iloc[0]
