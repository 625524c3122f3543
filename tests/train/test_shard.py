"""Training the runs of a shard: what a run is worth does not depend on its companions."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import signal
import threading

import numpy as np
import pandas as pd
import pytest
import torch
from rows_in_memory import dataset_of, expand_table, index_of
from safetensors import safe_open
from safetensors.torch import load_file

from isoloss.core import tables
from isoloss.core.problems import IsolossError, TableError
from isoloss.records import environment, manifest
from isoloss.records.store import Store
from isoloss.records.weights import load_weights
from isoloss.train import child, watch
from isoloss.train.checkpoint import Checkpoint
from isoloss.train.identity import VERSIONS, RunContent
from isoloss.train.plan import plan_sweep
from isoloss.train.shard import ShardSetup, train_shard

TINY = {"n_layers": 1, "context": 16, "head_width": 4, "batch_size": 2, "n_samples": 1280}
VALID = 512
MADE_BY = {c: environment.versions()[name] for c, name in VERSIONS.items()} | {"code": "code"}


def spell(*cells) -> list[dict]:
    """Tiny runs as a shard's JSON holds them."""
    sweep = {
        "model": "transformer",
        "trainer": "builtin",
        "settings": TINY,
        "shards": 1,
        "cells": list(cells),
    }
    plan = plan_sweep(sweep | {"n_params": "nonembed", "n_flops": "6nd"})
    return plan.drop(columns=["shard", "budget"]).to_dict("records")


@pytest.fixture(scope="module")
def train(rows, tmp_path_factory):
    """Train runs on the synthetic rows under two weightings, with an empty store unless given."""
    weights = {"natural": {}, "double": {"kind": {"code": 2.0}}}
    indices = {name: index_of(expand_table(rows, w, seed=3)[0]) for name, w in weights.items()}

    def run(runs, rows=rows, store=None, **settings):
        store = store or Store(tmp_path_factory.mktemp("store"))
        known = {"seed": 3, "code": "code", "valid_tokens": VALID, "checkpoint_minutes": 0}
        known |= {"code_here": settings.get("code", "code"), "among": {}, **settings}
        shard = train_shard(
            runs,
            ShardSetup(RunContent("language_model", dataset_of(rows), indices), store, **known),
        )
        return tables.conform("shard", shard).to_pandas().set_index("run_id", drop=False)

    return run


@pytest.fixture(scope="module")
def runs():
    return spell({"d_model": [4, 8], "weighting": ["natural", "double"]}, {"d_model": 8, "seed": 1})


@pytest.fixture(scope="module")
def together(train, runs):
    return train(runs)


def numbers(row) -> tuple:
    """All that a run is worth; only its seconds are left out."""
    nested = [[tuple(sorted(entry.items())) for entry in row[c]] for c in ("losses", "curve")]
    plain = row[["run_digest", "loss_nats", "n_unique", "status"]]
    return tuple(plain), *map(tuple, nested)


def test_every_run_is_done_and_a_row_in_order(together, runs):
    assert list(together["run_id"]) == [run["run_id"] for run in runs]
    assert set(together["status"]) == {"done"}
    assert together["status_reason"].isna().all()
    assert together["loss_nats"].between(0.5, np.log(256)).all()
    assert together["run_digest"].is_unique


@pytest.mark.parametrize("order", [[1], [4], [3, 1], [4, 3, 2, 1, 0]])
def test_a_run_is_bitwise_the_same_with_any_companions(train, runs, together, order):
    again = train([runs[i] for i in order])
    for run_id, row in again.iterrows():
        assert numbers(row) == numbers(together.loc[run_id])


def test_seeds_of_run_and_study_and_the_weighting_make_another_run(train, runs, together):
    losses = list(together["loss_nats"])
    losses += list(train(runs[1:2], seed=4)["loss_nats"])
    assert len(set(losses)) == len(losses)


def test_a_run_that_diverges_is_a_row_and_the_others_go_on(train, runs, together):
    (wild,) = spell({"d_model": 8, "peak_learning_rate": 1e6})
    shard = train([wild, runs[0]])
    gone = shard.loc[wild["run_id"]]
    assert gone["status"] == "diverged"
    assert "step" in gone["status_reason"] or "guessing" in gone["status_reason"]
    assert np.isnan(gone["loss_nats"]) and gone["losses"] is None
    assert numbers(shard.loc[runs[0]["run_id"]]) == numbers(together.loc[runs[0]["run_id"]])


def test_a_shard_in_which_nothing_is_done_is_still_a_table(train):
    shard = train(spell({"d_model": 8, "peak_learning_rate": [1e6, 1e7]}))
    assert list(shard["status"]) == ["diverged"] * 2
    assert train([]).empty


def test_an_unexpected_error_is_a_row_with_its_reason(train, runs, together, monkeypatch, capfd):
    real = child.train_run

    def breaks(identity, *rest):
        if identity["settings"]["weighting"] == runs[0]["weighting"]:
            raise MemoryError("no room left")
        return real(identity, *rest)

    monkeypatch.setattr(child, "train_run", breaks)
    shard = train(runs[:2])
    gone, fine = (shard.loc[run["run_id"]] for run in runs[:2])
    assert gone["status"] == "failed"
    assert gone["status_reason"].startswith("MemoryError: no room left; run fewer jobs at once")
    assert "Traceback" in capfd.readouterr().err
    assert numbers(fine) == numbers(together.loc[fine["run_id"]])


@pytest.mark.parametrize("tag_key", ["kind", "domain"])
def test_losses_by_tag_add_up_to_the_loss(together, tag_key):
    for row in together.itertuples():
        losses = pd.DataFrame(list(row.losses))
        rows = losses[losses["tag_key"] == tag_key]
        assert set(losses["split"]) == {"valid"}
        assert rows["n_tokens"].sum() == VALID
        mean = (rows["loss_nats"] * rows["n_tokens"]).sum() / VALID
        assert mean == pytest.approx(row.loss_nats, rel=1e-9)


def test_the_curve_rises_to_the_last_step_and_holds_means(together, runs):
    for run, curve in zip(runs, together["curve"], strict=True):
        steps = [point["step"] for point in curve]
        assert steps == sorted(set(steps))
        assert steps[-1] == run["n_steps"]
        assert [p["n_samples"] for p in curve] == [s * run["batch_items"] * 16 for s in steps]
        assert curve[-1]["loss_nats"] < curve[0]["loss_nats"]


def test_validation_needs_no_more_tokens_than_there_are(train, rows, runs):
    (row,) = train(runs[:1], valid_tokens=10**9).itertuples()
    tokens = int(rows.loc[rows["split"] == "valid", "n_tokens"].sum())
    assert (
        sum(e["n_tokens"] for e in row.losses if e["tag_key"] == "kind") == (tokens - 1) // 16 * 16
    )


def test_unique_tokens_are_those_of_the_dataset_seen(train, rows):
    training = int(rows.loc[rows["split"] == "train", "n_tokens"].sum())
    sizes = {"d_model": 4, "weighting": ["natural", "double"]}
    runs = spell(*({**sizes, "n_samples": n} for n in (320, 4 * training)))
    few, few_double, all_, all_double = train(runs)["n_unique"]
    assert few == 320
    assert few_double <= 320
    assert training - 16 <= all_ <= training
    assert training - 16 <= all_double <= training
    assert runs[2]["n_samples"] > 3 * training


@pytest.mark.parametrize("epochs", [1, 2.5, 8])
def test_a_run_that_repeats_its_data_has_seen_what_it_could(train, epochs):
    (run,) = spell({"d_model": 4, "n_unique": 645, "epochs": epochs})
    assert run["n_available"] == 640  # whole windows
    assert abs(run["n_samples"] - epochs * 640) <= 16 * run["batch_items"] / 2
    (row,) = train([run]).itertuples()
    assert (row.status, row.n_unique) == ("done", 640)


def test_distinct_tokens_are_part_of_a_runs_identity_and_the_same_for_all_sizes(train):
    runs = spell({"d_model": [4, 8], "n_unique": [320, 640]})
    shard = train(runs)
    assert shard["run_digest"].is_unique and shard["loss_nats"].is_unique
    assert list(shard["n_unique"]) == [320, 640, 320, 640]


def test_more_distinct_tokens_than_there_are_fail_a_run_with_both_numbers(train, rows):
    training = int(rows.loc[rows["split"] == "train", "n_tokens"].sum())
    (row,) = train(spell({"d_model": 4, "n_unique": 10 * training})).itertuples()
    assert row.status == "failed"
    assert "n_unique is" in row.status_reason and "change n_unique" in row.status_reason


def test_no_validation_rows_fail_a_run_with_a_reason_that_says_so(train, rows, runs):
    (row,) = train(runs[:1], rows=rows.assign(split="train")).itertuples()
    assert row.status == "failed"
    assert "validation" in row.status_reason


def starts(store):
    return [line["run_id"] for line in store.journal() if line["event"] == "start"]


def test_a_finished_run_is_never_trained_again(train, runs, together, tmp_path):
    store = Store(tmp_path)
    train(runs[:2], store=store)
    shard = train(runs, store=store)
    assert starts(store) == [run["run_id"] for run in runs]
    again = train(runs[::-1], store=store)
    assert len(starts(store)) == len(runs)
    pd.testing.assert_frame_equal(shard, again.loc[shard.index])
    unlike = ["seconds"]
    pd.testing.assert_frame_equal(shard.drop(columns=unlike), together.drop(columns=unlike))


@pytest.mark.parametrize("change", [{"seed": 4}, {"valid_tokens": 2 * VALID}])
def test_a_run_with_another_identity_is_another_run(train, runs, tmp_path, change):
    store = Store(tmp_path)
    train(runs[:1], store=store)
    train(runs[:1], store=store, **change)
    assert len(starts(store)) == 2


def test_changed_code_that_makes_numbers_trains_again(train, runs, tmp_path):
    store = Store(tmp_path)
    train(runs[:1], store=store)
    train(runs[:1], store=store, code="other code")
    assert len(starts(store)) == 2


def test_a_failed_run_is_tried_again_so_often_and_a_diverged_one_never(
    train, runs, tmp_path, monkeypatch
):
    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(child, "train_run", lambda *_: 1 / 0)
        assert train(runs[:1], store=store)["attempts"].tolist() == [1]
        assert train(runs[:1], store=store)["attempts"].tolist() == [2]
        assert train(runs[:1], store=store)["status"].tolist() == ["failed"]
        assert len(starts(store)) == 2
    shard = train(runs[:1], store=store, max_attempts=3)
    assert (shard["status"].item(), shard["attempts"].item()) == ("done", 3)
    wild = spell({"d_model": 8, "peak_learning_rate": 1e6, "clip_norm": 1e9})
    assert train(wild, store=store)["status"].item() == "diverged"
    assert train(wild, store=store, max_attempts=9)["attempts"].item() == 1


def test_a_child_that_is_killed_is_a_failed_run_and_the_others_go_on(
    train, runs, together, tmp_path, monkeypatch
):
    real = child.train_run

    def killed(identity, *rest):
        if identity["settings"]["d_model"] == runs[0]["d_model"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(identity, *rest)

    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(child, "train_run", killed)
        shard = train([runs[0], runs[2]], store=store)
    gone, fine = (shard.loc[runs[i]["run_id"]] for i in (0, 2))
    assert gone["status"] == "failed"
    assert "SIGKILL" in gone["status_reason"]
    assert "SIGKILL" in store.failures(gone["run_digest"]).read_text()
    assert numbers(fine) == numbers(together.loc[fine["run_id"]])
    again = train(runs[:1], store=store).iloc[0]
    assert (again["status"], again["attempts"]) == ("done", 2)
    assert again["loss_nats"] == together.loc[again["run_id"], "loss_nats"]


def test_a_run_that_was_cut_off_goes_on_and_ends_bit_for_bit_the_same(
    train, runs, together, tmp_path, monkeypatch
):
    class CutShort(Checkpoint):
        """Saves a state at every step, and is killed after ten."""

        saved = 0

        def due(self):
            return True

        def save(self, state):
            super().save(state)
            self.saved += 1
            if self.saved == 10:
                os.kill(os.getpid(), signal.SIGKILL)

    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(child, "Checkpoint", CutShort)
        train(runs[:1], store=store)
    digest = together.loc[runs[0]["run_id"], "run_digest"]
    assert Checkpoint(store.state(digest), 0, MADE_BY).load()["step"] == 10
    steps = []
    real = child.train_run

    def counted(*given):
        steps.append(given[-1].load()["step"])
        os.write(pipe[1], b"%d" % steps[-1])
        return real(*given)

    pipe = os.pipe()
    monkeypatch.setattr(child, "train_run", counted)
    shard = train(runs[:1], store=store).iloc[0]
    assert os.read(pipe[0], 10) == b"10"
    assert numbers(shard)[1:] == numbers(together.loc[shard["run_id"]])[1:]
    assert shard["loss_nats"] == together.loc[shard["run_id"], "loss_nats"]
    assert not store.state(digest).exists()


def test_a_state_of_other_code_is_not_gone_on_from(tmp_path, capsys):
    Checkpoint(tmp_path / "state.safetensors", 1, {"code": "a"}).save({"step": 3})
    assert Checkpoint(tmp_path / "state.safetensors", 1, {"code": "a"}).load()["step"] == 3
    assert Checkpoint(tmp_path / "state.safetensors", 1, {"code": "b"}).load() is None
    assert "starting anew" in capsys.readouterr().err


def flipped(place):
    """A change of one byte of a file's content."""

    def change(content):
        return content[:place] + bytes([content[place] ^ 1]) + content[place:][1:]

    return change


HARMS = {
    "flipped at the head": flipped(0),
    "flipped in the header": flipped(40),
    "flipped in a tensor": flipped(-40),
    "truncated": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "empty": lambda content: b"",
    "not a state": lambda content: b"pickled".ljust(len(content), b"."),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_state_that_is_damaged_is_told_and_not_gone_on_from(tmp_path, capsys, harm):
    checkpoint = Checkpoint(tmp_path / "state.safetensors", 1, {"code": "a"})
    values = {"step": 3, "curve": [{"loss_nats": 0.1}], "since": [], "first": None}
    tensors = {"weights a": torch.arange(100.0), "optimizer count": torch.tensor(3.0)}
    tensors |= {"draws": torch.arange(9, dtype=torch.uint8), "none": torch.empty(0, 3)}
    checkpoint.save(values | tensors)
    state = checkpoint.load()
    assert {name: state[name] for name in values} == values
    assert all(torch.equal(state[name], value) for name, value in tensors.items())
    checkpoint.path.write_bytes(harm(checkpoint.path.read_bytes()))
    assert checkpoint.load() is None
    assert "damaged; starting anew" in capsys.readouterr().err


def test_a_state_is_safetensors(tmp_path):
    Checkpoint(tmp_path / "state", 1, {"code": "a"}).save({"step": 3, "b": torch.ones(3)})
    with safe_open(tmp_path / "state", framework="numpy") as file:
        assert list(file.keys()) == ["b"]
        assert (file.get_tensor("b") == 1).all()


def test_where_no_state_can_be_written_the_run_goes_on_and_tells_it_once(
    tmp_path, capsys, monkeypatch
):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    models = {3: tmp_path / "step-3.safetensors"}
    checkpoint = Checkpoint(tmp_path / "state.safetensors", 1, {"code": "a"}, models)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        for _ in range(2):
            checkpoint.save({"step": 3})
            checkpoint.keep(3, {"a": torch.ones(3)})
    told = capsys.readouterr().err
    assert told.count("No space left on device") == 1
    assert "no state saved" in told and "the run goes on without; make room" in told
    assert list(tmp_path.iterdir()) == []
    checkpoint.keep(3, {"a": torch.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["step-3.safetensors"]


def test_a_run_trained_by_code_that_does_not_count_is_trained_again(train, runs, tmp_path):
    store = Store(tmp_path)
    train(runs[:1], store=store, code_here="accepted", among={"code": {"code", "accepted"}})
    assert len(starts(store)) == 1
    train(runs[:1], store=store, among={"code": {"code", "accepted"}})
    assert len(starts(store)) == 1
    train(runs[:1], store=store, among={"code": {"code"}})  # it is not accepted any more
    assert len(starts(store)) == 2


def test_other_tags_of_the_validation_rows_are_another_run(train, runs, rows, tmp_path):
    store = Store(tmp_path)
    train(runs[:1], store=store)
    tags = [[(key, f"other {value}") for key, value in pairs] for pairs in rows["tags"]]
    losses = train(runs[:1], rows=rows.assign(tags=tags), store=store)["losses"].item()
    assert len(starts(store)) == 2
    assert all(entry["domain"].startswith("other ") for entry in losses)


def test_runs_that_the_index_knows_are_not_read_again(train, runs, together, tmp_path, monkeypatch):
    first = Store(tmp_path).indexed("grid.0")
    shard = train(runs[:2], store=first)
    first.write_index("grid.0", shard["run_digest"])
    monkeypatch.setattr(Store, "_checked", lambda *_: pytest.fail("a run was read"))
    again = train(runs[:2], store=Store(tmp_path).indexed("grid.0"))
    files = tmp_path / "a.parquet", tmp_path / "b.parquet"
    for file, table in zip(files, (shard, again), strict=True):
        tables.write("shard", table.reset_index(drop="run_id" in table), file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_run_that_another_process_trains_is_left_to_it(train, runs, together, tmp_path, capfd):
    store = Store(tmp_path)
    digest = together.loc[runs[0]["run_id"], "run_digest"]
    fork = multiprocessing.get_context("fork")
    holds, let_go = fork.Event(), fork.Event()
    elsewhere = Store(tmp_path / "elsewhere")
    train(runs[:1], store=elsewhere)

    def other():
        with store.claim(digest) as claim:
            assert claim
            holds.set()
            let_go.wait(60)
            shutil.copytree(elsewhere.folder(digest), store.folder(digest), dirs_exist_ok=True)

    process = fork.Process(target=other)
    process.start()
    assert holds.wait(60)
    assert store.running(digest)
    threading.Timer(0.5, let_go.set).start()
    shard = train(runs[:2], store=store)
    process.join()
    assert starts(store) == [runs[1]["run_id"]]
    assert "another process is training it" in capfd.readouterr().err
    assert numbers(shard.iloc[0]) == numbers(together.loc[runs[0]["run_id"]])


def test_weights_are_kept_or_not(train, runs, tmp_path):
    digest = train(runs[:1], store=(store := Store(tmp_path / "a")))["run_digest"].item()
    tensors = load_file(store.weights(digest))
    assert sum(t.numel() for t in tensors.values()) >= runs[0]["n_params_total"]
    train(runs[:1], store=(store := Store(tmp_path / "b")), keep_weights=False)
    assert not store.weights(digest).exists()


def test_models_are_kept_at_chosen_steps_and_listed_and_removed_with_the_run(
    train, runs, together, tmp_path
):
    store = Store(tmp_path)
    shard = train(runs[:1], store=store, checkpoints=[0.5, 4, 10**6]).iloc[0]
    digest, last = shard["run_digest"], runs[0]["n_steps"]
    assert numbers(shard) == numbers(together.loc[shard["run_id"]])
    names = ["step-20.safetensors", "step-4.safetensors"]
    assert last == 40 and [path.name for path in store.checkpoints(digest)] == names
    assert set(names) < set(manifest.read(store.folder(digest) / manifest.NAME)["files"])
    early, half, whole = (load_weights(store, digest, step) for step in (4, 20, None))
    assert early.keys() == half.keys() == whole.keys()
    assert not (early["tokens"] == half["tokens"]).all()
    assert not (half["tokens"] == whole["tokens"]).all()
    with pytest.raises(TableError, match=r"set `checkpoints: \[5\]`"):
        load_weights(store, digest, 5)
    assert store.damage(digest) == []
    content = store.checkpoint(digest, 4).read_bytes()
    store.checkpoint(digest, 4).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert [path.name for path, _ in store.damage(digest)] == ["step-4.safetensors"]
    store.reopen(digest, shard["run_id"])
    assert store.checkpoints(digest) == []


def test_another_list_of_steps_trains_nothing_again(train, runs, tmp_path):
    store = Store(tmp_path)
    train(runs[:1], store=store)
    train(runs[:1], store=store, checkpoints=[4])
    assert len(starts(store)) == 1


def test_a_run_that_was_cut_off_has_every_model_it_was_to_keep(
    train, runs, together, tmp_path, monkeypatch
):
    class CutShort(Checkpoint):
        """Saves a state after the fifth step, and is killed after the tenth."""

        def due(self):
            return True

        def save(self, state):
            if state["step"] == 5:
                super().save(state)
            if state["step"] == 10:
                os.kill(os.getpid(), signal.SIGKILL)

    whole, cut, again = (Store(tmp_path / name) for name in ("whole", "cut", "again"))
    digest = train(runs[:1], store=whole, checkpoints=[4, 8, 12])["run_digest"].item()
    for store in (cut, again):
        with monkeypatch.context() as patch:
            patch.setattr(child, "Checkpoint", CutShort)
            train(runs[:1], store=store, checkpoints=[4, 8, 12])
        assert [path.name for path in store.checkpoints(digest)] == [
            "step-4.safetensors",
            "step-8.safetensors",
        ]
    assert train(runs[:1], store=cut, checkpoints=[4, 8, 12])["status"].item() == "done"
    contents = [[path.read_bytes() for path in s.checkpoints(digest)] for s in (whole, cut)]
    assert contents[0] == contents[1] and len(contents[0]) == 3
    again.state(digest).write_bytes(b"damaged")  # it starts anew: nothing of before is left
    train(runs[:1], store=again, checkpoints=[12])
    assert [path.name for path in again.checkpoints(digest)] == ["step-12.safetensors"]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), None])
def test_a_run_that_lacks_memory_says_what_to_do_and_the_others_go_on(
    train, runs, together, monkeypatch, error
):
    real = child.train_run

    def lacks(identity, *rest):
        if identity["settings"]["d_model"] == runs[0]["d_model"]:
            if error is not None:
                raise error
            torch.empty(2**52)
        return real(identity, *rest)

    monkeypatch.setattr(child, "train_run", lacks)
    shard = train([runs[0], runs[2]])
    gone, fine = (shard.loc[runs[i]["run_id"]] for i in (0, 2))
    assert gone["status"] == "failed"
    assert gone["status_reason"].endswith("make a step smaller (builtin: raise `accumulate`)")
    assert numbers(fine) == numbers(together.loc[fine["run_id"]])


def test_the_device_of_a_run_is_told_and_one_that_is_not_there_fails_with_a_remedy(train):
    (auto, cuda) = spell({"d_model": 4, "device": ["auto", "cuda"]})
    here = "cuda" if torch.cuda.is_available() else "cpu"
    assert train([auto])["device"].item() == here
    gone = train([cuda]).iloc[0]
    if here == "cpu":
        assert gone["status"] == "failed"
        assert "no CUDA device here; set `device: auto`" in gone["status_reason"]
    else:
        assert (gone["status"], gone["device"]) == ("done", "cuda")


def test_under_a_strict_environment_other_versions_train_again(train, runs, tmp_path, monkeypatch):
    store = Store(tmp_path)
    train(runs[:1], store=store)
    strict = {"torch_version": {environment.versions()["torch"]}}
    train(runs[:1], store=store, among=strict)
    assert len(starts(store)) == 1
    then = {**environment.versions(), "torch": "9.9"}
    monkeypatch.setattr(environment, "versions", lambda: then)
    assert train(runs[:1], store=store)["torch_version"].item() != "9.9"
    assert len(starts(store)) == 1
    shard = train(runs[:1], store=store, among={"torch_version": {"9.9"}})
    assert shard["torch_version"].item() == "9.9"
    assert len(starts(store)) == 2


def test_a_run_that_cannot_be_saved_stops_the_job(train, runs, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "save", full)
    with pytest.raises(IsolossError, match="could not be saved"):
        train(runs[:1], store=Store(tmp_path))


def test_a_killed_job_leaves_starts_in_the_journal_and_no_run(train, runs, tmp_path, monkeypatch):
    class Killed(BaseException):
        """As by a signal: no handler sees it."""

    def killed(*_):
        raise Killed

    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(watch.Trainer, "_answer", killed)
        with pytest.raises(Killed):
            train(runs[:1], store=store)
    assert not list(tmp_path.rglob("run.parquet"))
    assert train(runs[:1], store=store)["attempts"].item() == 1
