"""What can be wrong with the observations of a study, and what they change in it."""

import copy
import json
import math

import pandas as pd
import pytest
from running import tiny

from isoloss.core import tables
from isoloss.core.problems import StudyError
from isoloss.plot.draw import inputs
from isoloss.records import manifest, provenance
from isoloss.study import check, flow
from isoloss.train.settings import cards_of

RUN_CARDS = cards_of({"model": "transformer", "trainer": "builtin"})
OBSERVE = {"norms": {"card": "weight_norms", "sweep": "grid"}}
FIGURE = {"card": "observations", "sweep": "grid", "observation": "norms"}


@pytest.fixture
def config(tmp_path):
    """The tiny study with an observation and a figure of it."""
    (tmp_path / "a.py").write_text("x = 1\n")
    return tiny(tmp_path) | {"observe": copy.deepcopy(OBSERVE), "plot": {"norms": dict(FIGURE)}}


def test_a_study_with_observations_is_complete_and_names_their_jobs(config):
    checked = check.check(config)
    assert checked["observe"]["norms"]["options"] == {"parts": "matrices"}
    whole = flow.Flow(checked, "results/tiny")
    jobs = [job for job in whole.jobs if job.stage == "observe"]
    assert [job.out for job in jobs] == [f"observe/norms/grid/{shard}.parquet" for shard in "01"]
    assert whole.inputs(jobs[0]) == ["train/grid/0.parquet"]
    assert set(whole.targets("observe")) < set(whole.targets())
    figure = whole.job("plot", figure="norms")
    assert [job.out for job in jobs] == whole.inputs(figure)[1:]


LLC = {"card": "llc", "sweep": "grid"}


def with_coefficient(config, **options):
    """The study with another observation, of the local learning coefficient."""
    return config | {"observe": {**config["observe"], "llc": {**LLC, "options": options}}}


def test_an_observable_that_reads_data_has_the_inputs_and_triggers_of_training(config):
    whole = flow.Flow(check.check(with_coefficient(config)), "results/tiny")
    names = {"observation": "llc", "sweep": "grid", "shard": "0"}
    inputs = whole.inputs(whole.job("observe", **names))
    assert inputs == [
        "train/grid/0.parquet",
        "load/few/rows.parquet",
        "load/few/tokens.npy",
        *(f"expand/few/{weighting}/index.parquet" for weighting in whole.used("grid", "0")),
    ]
    assert whole.inputs(whole.job("train", sweep="grid", shard="0")) == inputs[1:]
    specification = json.loads(whole.specification("observe", **names))
    assert specification["task"] == "language_model" and specification["seed"] == 3
    assert "join" not in specification["observe"]
    assert {job.stage for job in whole.needs(whole.job("observe", **names))} == {
        "load",
        "expand",
        "train",
    }
    norms = json.loads(whole.specification("observe", **names | {"observation": "norms"}))
    assert "seed" not in norms


def test_code_of_the_sampler_and_contracts_of_its_tables_are_code_of_its_observation_only(
    config, monkeypatch
):
    whole = flow.Flow(check.check(with_coefficient(config)), "results/tiny")
    names = {"sweep": "grid", "shard": "0"}
    jobs = [whole.job("observe", observation=name, **names) for name in ("norms", "llc")]
    sampler = provenance.file_of("isoloss.posterior.sampler")
    files = [whole.code_files("observe", **job.names) for job in jobs]
    assert [sampler in each for each in files] == [False, True]
    before = [whole.code_here("observe", **job.names) for job in jobs]
    edited = copy.deepcopy(tables.contract())
    edited["tables"]["llc_chain"]["columns"]["more"] = {"type": "int64"}
    monkeypatch.setattr(tables, "contract", lambda: edited)
    after = [whole.code_here("observe", **job.names) for job in jobs]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]


def test_files_beside_a_jobs_own_are_known_as_its(config, tmp_path):
    whole = flow.Flow(check.check(with_coefficient(config)), "results/tiny")
    job = whole.job("observe", observation="llc", sweep="grid", shard="1")
    files = [f"observe/llc/grid/1{end}.parquet" for end in ("", ".llc", ".llc_trace")]
    assert [whole.maker_of(file) for file in files] == [job] * 3
    for name in ("1.parquet", "1.llc.parquet", "a.b.png"):
        (tmp_path / name).write_bytes(b"x")
    record = {"job": "observe/llc/grid/1"}
    for own in (["1.parquet", "1.llc.parquet"], ["a.b.png"]):
        place = tmp_path / f"{own[0].rpartition('.')[0]}.json"
        manifest.Draft(record, place).makes([tmp_path / name for name in own])
        assert [manifest.place_of(tmp_path / name) for name in own] == [place] * len(own)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lr": [1e-4, -1]}, r"observe\.llc\.options\.lr\[1\]: found -1"),
        ({"lr": []}, r"observe\.llc\.options\.lr: found \[\]; needs at least one entry"),
        ({"n_beta": math.nan}, r"observe\.llc\.options\.n_beta: found nan"),
        ({"num_draws": 10**8, "num_chains": 10**4}, r"llc\.options\.num_draws: 1e\+12 steps"),
        ({"sampling_method": "sgld"}, r"one of sgmcmc_sgld, rmsprop_sgld"),
        ({"num_draw": 3}, "did you mean 'num_draws'"),
    ],
)
def test_options_of_a_sampler_out_of_range_are_said_before_anything_runs(config, options, words):
    with pytest.raises(StudyError, match=words):
        check.check(with_coefficient(config, **options))


def test_numbers_of_a_list_may_be_written_as_yaml_reads_them(config):
    checked = check.check(with_coefficient(config, lr=["1e-4", 0.5]))
    assert checked["observe"]["llc"]["options"]["lr"] == [1e-4, 0.5]
    assert checked["observe"]["llc"]["join"] is True


def test_runs_of_a_program_have_no_model_to_observe(config):
    command = {"run": "python a.py", "results": "m.jsonl", "loss": "loss", "n_params": 3}
    config["train"]["own"] = {
        "trainer": "command",
        "command": command,
        "cells": [{"n_samples": 100, "width": [1, 2]}],
    }
    for card in ("llc", "weight_norms"):
        config["observe"] = {"of_own": {"card": card, "sweep": "own"}}
        config["plot"] = {}
        with pytest.raises(StudyError, match="those of a command, whose weights are not in the"):
            check.check(config)


def test_without_observations_a_study_has_no_such_job(config):
    del config["observe"], config["plot"]
    whole = flow.Flow(check.check(config), "results/tiny")
    assert "observe" not in {job.stage for job in whole.jobs}


def test_observing_changes_nothing_of_what_makes_the_runs(config):
    plain = {key: value for key, value in config.items() if key not in ("observe", "plot")}
    with_, without = (flow.Flow(check.check(c), "results/tiny") for c in (config, plain))
    for job in without.jobs:
        if job.stage in ("plan", "train", "aggregate"):
            assert with_.specification(job.stage, **job.names) == without.specification(
                job.stage, **job.names
            )
            assert with_.code(job.stage, **job.names) == without.code(job.stage, **job.names)
    modules = provenance.run_code(RUN_CARDS)
    assert not [m for m in modules if "observ" in m or m == "isoloss.records.weights"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["observe"]["norms"].update(card="weight_norm"), "did you mean 'weight_norms'"),
        (lambda c: c["observe"]["norms"].update(sweep="gird"), "'gird' is not in train"),
        (lambda c: c["observe"]["norms"].update(options={"part": 1}), "did you mean 'parts'"),
        (lambda c: c["observe"]["norms"].update(options={"parts": "rows"}), 'found "rows"'),
        (lambda c: c["train"]["grid"].update(keep_weights=False), "does not keep the weights"),
        (lambda c: c["plot"]["norms"].pop("observation"), "name one of `observe`"),
        (lambda c: c["plot"]["norms"].update(observation="norm"), "did you mean 'norms'"),
        (lambda c: c["plot"]["norms"].update(sweep="short"), "measures 'grid', not 'short'"),
        (
            lambda c: c["plot"]["norms"].update(card="learning_curves"),
            "the card 'learning_curves' shows no observation",
        ),
        (
            lambda c: c["plot"]["norms"].update(card="llc_scaling"),
            "the figure shows llc, which the observable 'weight_norms' does not write",
        ),
    ],
)
def test_what_is_wrong_with_an_observation_is_said_before_anything_runs(config, change, words):
    change(config)
    with pytest.raises(StudyError, match=words):
        check.check(config)


def test_a_table_that_is_in_several_files_is_drawn_whole(tmp_path):
    rows = pd.DataFrame(
        {
            "run_id": ["a", "b"],
            "observable": "weight_norms",
            "quantity": "frobenius_norm",
            "part": "tokens",
            "value": [1.0, 2.0],
        }
    )
    files = [tmp_path / f"{i}.parquet" for i in range(2)]
    for i, file in enumerate(files):
        tables.write("observations", rows.iloc[[i]], file, {})
    assert inputs(files).tables["observations"]["value"].tolist() == [1.0, 2.0]
