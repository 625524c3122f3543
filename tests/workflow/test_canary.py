"""`snakemake canary` trains the cheapest run of each sweep first, into the store."""

from collections import Counter

from running import snakemake, write

from isoloss.records.store import Store
from isoloss.study import canary

PROGRAM = """
import json, pathlib, sys
width, out = int(sys.argv[1]), pathlib.Path(sys.argv[2])
if width == 2 and not pathlib.Path("good").exists():
    sys.exit("not good")
(out / "result.json").write_text(json.dumps({"loss": 1 / width}))
"""
SWEEP = {
    "trainer": "command",
    "shards": 1,
    "command": {
        "run": "python train.py {width} {run_folder}",
        "results": "result.json",
        "loss": "loss",
        "n_params": "width",
        "n_samples": "1000",
    },
}
STUDY = {
    "study": "birds",
    "train": {
        "small": {**SWEEP, "cells": [{"width": [4, 2]}]},
        "large": {**SWEEP, "cells": [{"width": [32, 16]}]},
    },
}


def ends(store):
    """Width and status of every run that ended."""
    lines = [line for line in store.journal() if line["event"] == "end"]
    return [(line["run_id"].split("-")[0], line["status"]) for line in lines]


def test_one_that_fails_says_why_and_one_that_is_done_is_found_by_its_shard(tmp_path):
    (tmp_path / "train.py").write_text(PROGRAM)
    study, store = write(tmp_path, STUDY), Store(tmp_path / "results/birds/store")
    process = snakemake(tmp_path, "canary", "--configfile", study)
    assert process.returncode == 1
    assert "train.small: width2-s0-" in process.stderr
    assert "failed: exit code 1: not good; see" in process.stderr
    assert sorted(ends(store)) == [("width16", "done"), ("width2", "failed")]
    assert not (store.root.parent / "train").exists()
    (tmp_path / "good").touch()
    process = snakemake(tmp_path, "runs", "--configfile", study)
    assert process.returncode == 0, process.stderr
    trained = Counter(run for run, status in ends(store) if status == "done")
    assert trained == dict.fromkeys(["width2", "width4", "width16", "width32"], 1)


def test_it_is_the_run_with_the_fewest_flops_in_the_shard_that_has_it(shared):
    flow = shared.flow()
    assert canary.sweeps(flow.config) == ["grid", "short"]
    shard, run = canary.cheapest(flow, "grid")
    runs = [one for several in flow.planned("grid").values() for one in several]
    assert run["n_flops_model"] == min(one["n_flops_model"] for one in runs)
    assert run in flow.planned("grid")[shard]


def test_a_canary_that_was_trained_is_found(shared, tmp_path):
    flow = shared.flow()
    shard, run = canary.cheapest(flow, "short")
    inputs = {
        key: [flow.root / path for path in paths]
        for key, paths in flow.job("train", sweep="short", shard=shard)
        .of.inputs(flow, sweep="short", shard=shard)
        .items()
    }
    given = {**inputs, "study": flow.root / "config.yaml", "sweep": "short", "expects": None}
    before = flow.store.journal()
    row = canary.train({**given, "store": flow.store.root, "out": tmp_path / "canary.txt"})
    assert row["run_id"] == run["run_id"]
    assert flow.store.journal() == before


def test_a_round_has_none():
    config = {"train": {"first": {}, "second": {"round": {"before": "law"}}}}
    assert canary.sweeps(config) == ["first"]
