"""A study through the profile: the same bytes as here, GPUs, failing runs, time limits."""

import json
import re

import pytest
from cluster import until
from on_cluster import PROGRAM, OnCluster, programs, same
from running import snakemake, write

pytestmark = pytest.mark.slurm
FEW = {"card": "markov_chain", "options": {"documents": 20}}
BUILTIN = {
    "dataset": "text",
    "model": "transformer",
    "shards": 2,
    "valid_tokens": 256,
    "settings": {"context": 16},
    "cells": [{"d_model": [4, 8], "n_samples": [1024, 2048]}],
}
WHOLE = {
    "study": "whole",
    "load": {"text": FEW},
    "train": {"own": programs(shards=1, steps=1, gpus=2), "sizes": BUILTIN},
    "observe": {"norms": {"card": "weight_norms", "sweep": "sizes"}},
    "fit": {"law": {"card": "power_law", "sweep": "sizes", "bootstrap": 10}},
    "plot": {"curves": {"card": "learning_curves", "sweep": "sizes"}},
}


def test_a_whole_study_gives_the_bytes_that_it_gives_here(tmp_path, cluster):
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
    study = OnCluster(there, cluster, WHOLE)
    printed = study.run()
    (here / "train.py").write_text(PROGRAM)
    process = snakemake(here, "--configfile", write(here, WHOLE), cold=True)
    assert process.returncode == 0, process.stdout + process.stderr
    same(study.results, here / "results/whole")
    study.finished_once(8)
    sent = re.findall(r"has been submitted with SLURM jobid \d+ \(log: \S*/rule_(\w+?)/", printed)
    assert {"load_rows", "expand_rows", "train_shard", "fit_law"} <= set(sent)
    assert not {"plan_sweep", "gather_sweep", "plot_figure", "write_summary"} & set(sent)
    starts = sorted(study.results.glob("store/*/run/starts.txt"))
    assert [file.read_text() for file in starts] == ["0 0,1\n"] * 4
    assert "Nothing to be done" in study.run()


def test_a_run_that_fails_is_told_and_the_others_go_on(tmp_path, cluster):
    study = OnCluster(
        tmp_path, cluster, {"study": "bad", "train": {"own": programs(steps=1, bad=1)}}
    )
    study.run("runs")
    study.finished_once(4, failed=1)
    assert "width16" in study.isoloss("status")
    assert "this width is bad" in study.isoloss("status")


def test_a_run_over_its_time_limit_is_continued_by_the_retry(tmp_path, cluster):
    sweep = programs(shards=1, steps=900) | {"cells": [{"width": 2}]}
    study = OnCluster(tmp_path, cluster, {"study": "long", "train": {"own": sweep}})
    limits = ["train_shard:runtime=2", "train_shard:slurm_extra='--signal=TERM@60'"]
    study.run("runs", "--set-resources", *limits, "--retries", "4")
    study.finished_once(1)
    (starts,) = study.results.glob("store/*/run/starts.txt")
    begun = [int(line.split()[0]) for line in starts.read_text().splitlines()]
    assert begun == sorted(begun)
    assert len(begun) > 1
    assert begun[-1] > 0
    assert [
        json.loads(file.read_text()) for file in study.results.glob("store/*/run/result.json")
    ] == [{"loss": 1.5}]


def test_a_canary_is_sent_alone_and_found_by_its_shard(tmp_path, cluster):
    study = OnCluster(tmp_path, cluster, {"study": "bird", "train": {"own": programs(steps=1)}})
    study.run("canary")
    until(lambda: study.started() == 1, "one run was started")
    study.run("runs")
    study.finished_once(4)
