"""What a study asks of a cluster: it reaches the jobs, and no result depends on it."""

import copy
import math

import pytest

from isoloss.__main__ import name_of_jobs
from isoloss.core.problems import StudyError
from isoloss.study import check, cluster
from isoloss.study.flow import Flow

SWEEP = {
    "dataset": "text",
    "model": "transformer",
    "cells": [{"d_model": [4, 8], "n_samples": 640}],
}
STUDY = {
    "study": "asks",
    "load": {"text": {"card": "markov_chain", "options": {"documents": 20}}},
    "train": {"sweep": SWEEP},
}
ALL = {
    "minutes": 30,
    "memory_mb": 500,
    "gpus": 2,
    "gpu_model": "a100",
    "nodes": 1,
    "partition": "gpu,long",
    "account": "me",
    "qos": "high",
    "constraint": "a100&nvlink",
}


def study(**resources):
    config = copy.deepcopy(STUDY)
    if resources:
        config["train"]["sweep"]["resources"] = resources
    return check.check(config, "study.yaml")


def test_a_sweep_is_asked_for_what_it_says():
    config = study(**ALL)
    asked = {name: cluster.asked(config, "sweep", name) for name in cluster.ASKED}
    assert asked == {
        "gpu": 2,
        "gpu_model": "a100",
        "nodes": 1,
        "slurm_partition": "gpu,long",
        "slurm_account": "me",
        "qos": "high",
        "constraint": "a100&nvlink",
    }
    assert [cluster.memory_mb(config, "sweep", attempt) for attempt in (1, 2, 3)] == [
        500,
        1000,
        1500,
    ]
    assert cluster.memory_mb(study(), "sweep", 1) == cluster.MEMORY_MB


def test_no_job_is_due_for_another_wish(tmp_path):
    with_all, without = (Flow(study(**asked), tmp_path) for asked in (ALL, {}))
    for job in without.jobs:
        about = job.stage, job.names
        assert with_all.specification(job.stage, **job.names) == without.specification(
            job.stage, **job.names
        ), about


@pytest.mark.parametrize(
    "value", ["gpu; touch x", "$(touch x)", "`x`", "a b", "--x=y\n", "", "gpü"]
)
@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint", "gpu_model"])
def test_characters_of_a_shell_are_refused(key, value):
    with pytest.raises(StudyError, match=f"resources.{key}"):
        study(**{key: value})


@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint"])
def test_what_looks_like_an_option_is_refused(key):
    with pytest.raises(StudyError, match=f"resources.{key}"):
        study(**{key: "-x"})


@pytest.mark.parametrize("value", ["a100-sxm4", "a100:2"])
def test_a_model_that_the_executor_would_refuse_is_refused_before_anything_runs(value):
    with pytest.raises(StudyError, match=r"resources\.gpu_model"):
        study(gpu_model=value)


def test_a_time_limit_is_what_the_study_says_or_follows_from_the_runs_that_are_left(
    tmp_path, monkeypatch
):
    given = cluster.Times(Flow(study(minutes=30), tmp_path), measures=False)
    assert [given.minutes("sweep", "0", attempt) for attempt in (1, 2)] == [30, 60]
    monkeypatch.setattr(
        "isoloss.study.forecast.of_shards",
        lambda flow, measure: {("sweep", "0"): 3600.0, ("sweep", "1"): math.inf},
    )
    times = cluster.Times(Flow(study(), tmp_path), measures=False)
    assert times.minutes("sweep", "0", 1) == cluster.START_MINUTES + 120
    assert times.minutes("sweep", "1", 2) == 2 * cluster.UNKNOWN_MINUTES
    assert times.minutes("sweep", "2", 1) == cluster.START_MINUTES


def test_the_shards_of_a_study_without_runs_are_predicted_by_what_they_lack(tmp_path):
    from isoloss.study import forecast

    flow = Flow(study(), tmp_path)
    planned = {shard: runs for shard, runs in flow.planned("sweep").items() if runs}
    seconds = forecast.of_shards(flow, measure=False)
    assert {shard for _, shard in seconds} == set(planned)
    assert all(0 < one < 60 for one in seconds.values())


def test_memory_of_a_command_is_said_once():
    run = {"run": "true {width}", "results": "x.json", "loss": "loss", "memory_mb": 100}
    sweep = {"trainer": "command", "command": run, "cells": [{"width": [1, 2]}]}
    config = {"study": "x", "train": {"s": sweep}}
    assert cluster.memory_mb(check.check(config, "s.yaml"), "s", 2) == 200
    sweep["resources"] = {"memory_mb": 5}
    with pytest.raises(StudyError, match=r"train\.s\.resources\.memory_mb"):
        check.check(config, "s.yaml")


def test_names_of_jobs_follow_the_command_line(tmp_path, monkeypatch):
    (tmp_path / "s.yaml").write_text("study: laws\n")
    monkeypatch.chdir(tmp_path)
    there = name_of_jobs(["--configfile", "s.yaml", "--directory", "x"])
    assert there == cluster.job_name("laws", tmp_path / "x")
    assert name_of_jobs(["-n"]) == cluster.job_name("study", tmp_path)
    (tmp_path / "s.yaml").write_text("study: [")
    assert name_of_jobs(["--configfile", "s.yaml"]) == cluster.job_name("study", tmp_path)
