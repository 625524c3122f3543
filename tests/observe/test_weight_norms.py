"""The weights of a run come from the store as they were saved, or not at all."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from isoloss.core import tables
from isoloss.core.problems import TableError
from isoloss.observe import job
from isoloss.records import manifest
from isoloss.records.store import Store
from isoloss.records.weights import load_weights
from isoloss.tasks._content import Files

WEIGHTS = {"b": np.arange(6, dtype="float32").reshape(2, 3), "a": np.ones(2, "float32")}


def saved(store: Store, run_digest: str, stored_digest: str | None = None) -> None:
    """Save weights as a run does, with a manifest beside them."""
    path = store.weights(run_digest)
    path.parent.mkdir(parents=True)
    about = json.dumps({"run_digest": stored_digest or run_digest})
    save_file(WEIGHTS, path, metadata={tables.METADATA.decode(): about})
    manifest.Draft({}, path.with_name(manifest.NAME)).makes([path])


def test_weights_are_those_that_were_saved_in_the_order_of_their_names(tmp_path):
    store = Store(tmp_path)
    saved(store, "0" * 32)
    weights = load_weights(store, "0" * 32)
    assert list(weights) == ["a", "b"]
    for name, values in WEIGHTS.items():
        np.testing.assert_array_equal(weights[name], values)


def test_weights_that_were_not_kept_are_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(TableError, match=r"no weights were kept of this run.*keep_weights: true"):
        load_weights(Store(tmp_path), "0" * 32)


def test_damaged_weights_are_an_error(tmp_path):
    store = Store(tmp_path)
    saved(store, "0" * 32)
    content = bytearray(store.weights("0" * 32).read_bytes())
    content[-1] ^= 1
    store.weights("0" * 32).write_bytes(content)
    with pytest.raises(TableError, match="differs from what its job wrote"):
        load_weights(store, "0" * 32)


def test_the_weights_of_another_run_are_an_error(tmp_path):
    store = Store(tmp_path)
    saved(store, "0" * 32, stored_digest="1" * 32)
    with pytest.raises(TableError, match=re.escape(f"weights of the run {'1' * 32}")):
        load_weights(store, "0" * 32)


def test_a_run_that_the_observable_cannot_measure_is_named(tmp_path):
    store = Store(tmp_path / "store")
    saved(store, "0" * 32)
    shard = pd.DataFrame(columns=tables.schema("shard").names, index=[0])
    shard = shard.assign(
        run_id="d6-s0", run_digest="0" * 32, status="done", losses=[[]], curve=[[]]
    )
    numbers = ["n_unique", "loss_nats", "attempts", "seconds"]
    shard = shard.assign(**dict.fromkeys(numbers, 1), **dict.fromkeys(["device", "code"], "x"))
    tables.write("shard", shard, tmp_path / "shard.parquet", {})
    entry = {"card": "structural_entropy", "options": {}}
    none = Files([], [], [])
    files = tmp_path / "shard.parquet", none, store.root, tmp_path / "out.parquet"
    words = "run d6-s0: weights: a hidden layer needs 2 weight matrices .* in the option `tensors`"
    with pytest.raises(TableError, match=words):
        job.run({"observe": entry}, *files, {})
    assert not files[-1].exists()
