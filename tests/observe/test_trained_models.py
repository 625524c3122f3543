"""Trained models come with what they were trained on, or not at all."""

from __future__ import annotations

import shutil
from itertools import repeat
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rows_in_memory import dataset_of, expand_table, index_of
from safetensors.torch import load_file

from isoloss.core.problems import TableError
from isoloss.observe.trained import TrainedModels, digest_of
from isoloss.records.store import Store
from isoloss.train.checkpoint import save_weights
from isoloss.train.identity import RunContent, run_digest
from isoloss.train.plan import plan_sweep
from isoloss.train.run import train_run

SWEEP = {
    "model": "transformer",
    "trainer": "builtin",
    "settings": {"n_layers": 1, "context": 16, "head_width": 4, "n_samples": 640},
    "shards": 1,
    "cells": [{"d_model": [4, 8]}],
    "n_params": "nonembed",
    "n_flops": "6nd",
}
NO_CHECKPOINT = SimpleNamespace(load=lambda: None, due=lambda: False, steps=())


def content_of(rows, **weights) -> RunContent:
    indices = {"natural": index_of(expand_table(rows, weights, seed=3)[0])}
    return RunContent("language_model", dataset_of(rows), indices)


@pytest.fixture(scope="module")
def trained(rows, tmp_path_factory) -> tuple[Store, dict[str, float]]:
    """A store with two finished runs, and their losses by digest."""
    store, losses = Store(tmp_path_factory.mktemp("trained") / "store"), {}
    content = content_of(rows)
    for run in plan_sweep(SWEEP).drop(columns=["shard", "budget"]).to_dict("records"):
        identity = content.identity(run, seed=3, valid_tokens=512, code="code")
        digest, made = (
            run_digest(identity),
            train_run(identity, content, repeat(None), NO_CHECKPOINT),
        )
        row = {"run_id": run["run_id"], "run_digest": digest, "status": "done", "code": "code"}
        save_weights(made.weights, store.weights(digest), run_digest=digest, model=run["model"])
        store.save({**row, "attempts": 1, "seconds": 1.0, **made.measured}, identity)
        losses[digest] = made.measured["loss_nats"]
    return store, losses


def load(store, rows, digest, seed=3, **weights):
    content = content_of(rows, **weights)
    return TrainedModels(content, store, "observe llc", seed).load(digest, lambda share: None)


def test_a_model_has_the_validation_loss_of_its_run(trained, rows):
    store, losses = trained
    for digest, loss in losses.items():
        model = load(store, rows, digest)
        assert not model.module.training
        assert model.task.evaluate(model.module)[0] == loss
        assert set(model.weights) == set(model.module.state_dict())


def test_the_seed_is_of_the_study_and_the_content_of_the_weights_and_of_no_path(
    trained, rows, tmp_path
):
    store, losses = trained
    one, other = losses
    copied = Store(shutil.copytree(store.root, tmp_path / "moved"))
    seed = load(store, rows, one).seed
    assert load(copied, rows, one).seed == seed
    assert len({seed, load(store, rows, other).seed, load(store, rows, one, seed=4).seed}) == 3


def test_other_data_than_those_of_a_run_are_refused(trained, rows):
    store, losses = trained
    with pytest.raises(TableError, match="trained on other data than those given"):
        load(store, rows, next(iter(losses)), kind={"code": 2.0})


def test_tensors_that_are_not_those_of_the_model_are_refused(trained, rows, tmp_path):
    store, losses = trained
    digest = next(iter(losses))
    copied = Store(shutil.copytree(store.root, tmp_path / "store"))
    tensors = load_file(copied.weights(digest))
    tensors["blocks.1.read"] = torch.zeros(2)
    (copied.path(digest).with_name("manifest.json")).unlink()
    save_weights(tensors, copied.weights(digest), run_digest=digest, model="transformer")
    with pytest.raises(TableError, match="other tensors than the model of its run"):
        load(copied, rows, digest)


def test_the_digest_of_weights_is_of_their_content():
    weights = {"a": np.arange(6.0).reshape(2, 3), "b": np.ones(2)}
    same = {"b": np.ones(2), "a": np.asfortranarray(weights["a"])}
    assert digest_of(weights) == digest_of(same)
    changes = [{"a": weights["a"].T}, {"b": np.array([1.0, 2.0])}, {"b": np.ones(2, "float32")}]
    assert len({digest_of(weights), *(digest_of(weights | one) for one in changes)}) == 4
