"""Runs under a schedule of weightings: what they are trained on, and which run is which."""

from __future__ import annotations

import os
import signal
from itertools import islice

import numpy as np
import pytest
from images_in_memory import labelled
from rows_in_memory import dataset_of, expand_table, index_of

from isoloss.core import tables
from isoloss.core.seeds import generator
from isoloss.records.store import Store
from isoloss.tasks._dataset import Index
from isoloss.train import child
from isoloss.train.checkpoint import Checkpoint
from isoloss.train.identity import RunContent, run_digest
from isoloss.train.plan import plan_sweep
from isoloss.train.shard import ShardSetup, train_shard

TINY = {"n_layers": 1, "context": 16, "head_width": 4, "batch_size": 2, "n_samples": 1280}
LAST_ALL = [{"weighting": "few", "until": 0.2}, {"weighting": "natural"}]
WEIGHTS = {"natural": {}, "docs": {"kind": {"docstring": 2.0, "code": 0.0, "comment": 0.0}}}
SCHEDULES = {
    "single": [{"weighting": "natural"}],
    "late": [{"weighting": "natural", "until": 0.8}, {"weighting": "docs"}],
    "early": [{"weighting": "natural", "until": 0.5}, {"weighting": "docs", "until": 1}],
    "as_late": [{"weighting": "natural", "until": 0.801}, {"weighting": "docs"}],
}


def planned(**settings) -> list[dict]:
    sweep = {"model": "transformer", "trainer": "builtin", "settings": TINY, "shards": 1}
    sweep |= {"cells": [{"d_model": 8, **settings}], "n_params": "nonembed", "n_flops": "6nd"}
    return plan_sweep(sweep).drop(columns=["shard", "budget"]).to_dict("records")


def content_of(rows, *schedules) -> RunContent:
    indices = {name: index_of(expand_table(rows, w, seed=3)[0]) for name, w in WEIGHTS.items()}
    return RunContent("language_model", dataset_of(rows), indices, *schedules)


@pytest.fixture(scope="module")
def content(rows):
    return content_of(rows, SCHEDULES)


@pytest.fixture(scope="module")
def train(content, tmp_path_factory):
    """Train runs under these weightings and schedules, with an empty store unless given."""

    def run(runs, store=None, **settings):
        store = store or Store(tmp_path_factory.mktemp("store"))
        known = {"seed": 3, "code": "code", "code_here": "code", "among": {}}
        known |= {"valid_tokens": 512, "checkpoint_minutes": 0, **settings}
        shard = train_shard(runs, ShardSetup(content, store, **known))
        return tables.conform("shard", shard).to_pandas().set_index("run_id", drop=False)

    return run


@pytest.fixture(scope="module")
def shard(train):
    """A run under each weighting and schedule, by its name."""
    runs = planned(weighting=["natural", "docs", "single", "late", "early"])
    by_id = {run["run_id"]: run["weighting"] for run in runs}
    return train(runs).rename(index=by_id)


def identity(content, weighting, **settings):
    (run,) = planned(weighting=weighting, **settings)
    return content.identity(run, seed=3, valid_tokens=512, code="code")


def curve(row) -> list[tuple]:
    return [(point["step"], point["loss_nats"]) for point in row["curve"]]


def test_a_schedule_of_one_phase_is_its_weighting_bit_for_bit(shard):
    single, natural = shard.loc["single"], shard.loc["natural"]
    assert (single["status"], single["run_digest"]) != (natural["status"], natural["run_digest"])
    assert curve(single) == curve(natural)
    same = ["loss_nats", "n_unique", "status"]
    assert list(single[same]) == list(natural[same])


def test_until_its_first_phase_ends_a_run_is_that_under_its_first_weighting(shard):
    late, natural = curve(shard.loc["late"]), curve(shard.loc["natural"])
    assert [a == b for a, b in zip(late, natural, strict=True)] == [s <= 32 for s, _ in late]


def test_tokens_of_rows_that_two_phases_share_are_counted_once(train, rows):
    training = rows[rows["split"] == "train"]
    n_tokens = int(training["n_tokens"].sum())
    (row,) = train(planned(weighting="early", n_samples=8 * n_tokens)).to_dict("records")
    assert n_tokens - 16 <= row["n_unique"] <= n_tokens


def test_items_of_a_phase_are_of_its_rows_only(content):
    settings = identity(content, "late")
    task = content.task(settings)
    assert [phase.steps for phase in task.phases] == [32, 8]
    side, docs = content.training("natural", "docs"), content.training("docs")
    first = content.training("natural")
    for phase, weighting in zip(task.phases, (first, docs), strict=True):
        tokens = np.arange(phase.first * 16, phase.end * 16 + 1)
        assert set(side.row(tokens)) <= set(weighting.rows)
    assert task.phases[1].first * 16 >= len(first) > (task.phases[1].first - 1) * 16
    assert (len(side) - 1) // 16 == task.phases[1].end


def test_an_identity_has_the_content_and_the_steps_of_every_phase(content):
    ordinary, late = identity(content, "natural"), identity(content, "late")
    assert isinstance(ordinary["training"], str)
    assert late["training"]["phases"] == [
        {"steps": 32, "digest": ordinary["training"]},
        {"steps": 8, "digest": identity(content, "docs")["training"]},
    ]
    names = ("natural", "single", "late", "early")
    assert len({run_digest(identity(content, name)) for name in names}) == len(names)
    assert identity(content, "as_late")["training"] == late["training"]  # the same steps


def test_a_run_under_no_schedule_does_not_know_that_there_are_any(content, rows):
    assert identity(content_of(rows), "natural") == identity(content, "natural")


@pytest.mark.parametrize("step", [10, 35], ids=["in the first phase", "in the last phase"])
def test_a_run_that_was_cut_off_ends_bit_for_bit_the_same(
    train, shard, tmp_path, monkeypatch, step
):
    class CutShort(Checkpoint):
        """Saves a state at one step, and is killed."""

        def due(self):
            return True

        def save(self, state):
            if state["step"] == step:
                super().save(state)
                os.kill(os.getpid(), signal.SIGKILL)

    store, runs = Store(tmp_path), planned(weighting="late")
    with monkeypatch.context() as patch:
        patch.setattr(child, "Checkpoint", CutShort)
        assert train(runs, store=store)["status"].item() == "failed"
    again, whole = train(runs, store=store).iloc[0], shard.loc["late"]
    assert again["attempts"] == 2
    assert curve(again) == curve(whole)
    assert again["loss_nats"] == whole["loss_nats"] and again["n_unique"] == whole["n_unique"]


def test_images_that_two_phases_share_are_counted_once():
    dataset, ones = labelled(20, 5), np.ones(20, np.int64)
    indices = {
        "natural": Index(np.arange(20), ones),
        "twice": Index(np.arange(8, 20), 2 * ones[8:]),
        "few": Index(np.arange(4), ones[:4]),
    }
    phases = [{"weighting": "few", "until": 0.1}, {"weighting": "twice"}]
    content = RunContent("classification", dataset, indices, {"late": phases, "all": LAST_ALL})
    counts = []
    for weighting in ("late", "all"):
        settings = {"weighting": weighting, "n_steps": 10, "inputs": 16, "classes": 10}
        training = content.digests(settings)["training"]
        about = {"settings": settings, "training": training, "valid_items": 5, "seed": 0}
        task = content.task(about)
        seen = np.zeros(task.n_items, bool)
        for items in islice(task.batches(6, generator(0, "order", "x")), 10):
            seen[items] = True
        counts.append(task.n_unique(seen))
    assert counts == [4 + 12, 20]
