"""Rounds as jobs: their order, what makes them due, and what is known before they are chosen."""

import copy

import pandas as pd
import pytest

from isoloss.aggregate.sweep import gather_sweep
from isoloss.core import tables
from isoloss.report import rounds as report
from isoloss.study import check, forecast, status
from isoloss.study.flow import Flow
from isoloss.train.plan import plan_runs, with_choices
from isoloss.train.settings import free_settings

STUDY = {
    "study": "adaptive",
    "load": {"words": {"card": "markov_chain"}},
    "train": {
        "ladder": {
            "dataset": "words",
            "model": "transformer",
            "settings": {"context": 16, "n_layers": 1, "batch_size": 8},
            "cells": [{"d_model": [4, 6, 8], "n_samples": [2048, 4096, 8192]}],
            "rounds": {"count": 2, "fit": "law", "planner": "scale_up", "budget": 1e9},
        }
    },
    "observe": {"norms": {"card": "weight_norms", "sweep": "ladder"}},
    "fit": {"law": {"card": "chinchilla", "sweep": "ladder"}},
    "plot": {"map": {"card": "isoloss", "sweep": "ladder", "fits": ["law"]}},
}
PROGRAM = {
    "trainer": "command",
    "command": {
        "run": "train --n {n_params} --d {n_samples} --lr {lr}",
        "results": "out.json",
        "loss": "loss",
    },
    "settings": {"lr": 0.1},
    "cells": [{"n_params": [1000, 2000], "n_samples": [20_000, 40_000, 80_000]}],
    "rounds": {"count": 1, "fit": "law", "planner": "scale_up"},
}


def flow_of(root="results/adaptive", **rounds) -> Flow:
    """A study of rounds with its results, of which there are none."""
    config = copy.deepcopy(STUDY)
    config["train"]["ladder"]["rounds"] |= rounds
    return Flow(check.check(config), root)


def choices(*rows: tuple) -> pd.DataFrame:
    """A table of choices: number, N, D."""
    table = tables.empty("choices")
    chosen = pd.DataFrame(rows, columns=["choice", "n_params", "n_samples"])
    return chosen.reindex(columns=table.columns).assign(round=1, planner="scale_up", reason="why")


def test_every_job_comes_after_those_that_it_needs():
    flow = flow_of(count=50)
    place = {job.label: i for i, job in enumerate(flow.jobs)}
    for job in flow.jobs:
        assert all(place[other.label] < place[job.label] for other in flow.needs(job))
    assert flow.jobs[-1].stage == "summarize"


def test_the_fit_that_decides_is_made_for_every_round_and_so_are_observations():
    flow = flow_of()
    sweeps = ["ladder_0", "ladder_1", "ladder_2"]
    assert [job.names["sweep"] for job in flow.jobs if job.stage == "fit"] == sweeps
    observed = {job.names["sweep"] for job in flow.jobs if job.stage == "observe"}
    assert observed == set(sweeps)
    assert flow.inputs(flow.job("choose", sweep="ladder_1"))[:2] == [
        "aggregate/ladder_0/runs.parquet",
        "fit/ladder_0/law/params.parquet",
    ]


def test_choices_are_made_for_their_own_sake():
    """Deleted ones are made again, as a fit's tables are."""
    targets = flow_of().targets()
    assert {f"choose/ladder_{i}/choices.parquet" for i in (1, 2)} <= set(targets)


def test_one_more_round_makes_no_earlier_job_due():
    fewer, more = flow_of(), flow_of(count=3)
    for job in fewer.jobs:
        if job.stage not in ("plot", "summarize"):
            before = fewer.specification(job.stage, **job.names)
            assert more.specification(job.stage, **job.names) == before, job.label
            assert more.inputs(more.by_label[job.label]) == fewer.inputs(job), job.label


@pytest.mark.parametrize(
    ("change", "due"),
    [
        ({"options": {"factor": 4.0}}, {"choose/ladder_1", "choose/ladder_2"}),
        ({"until": 2.0, "target": 1e12}, {"choose/ladder_1", "choose/ladder_2"}),
        ({"budget": 2e9}, {"choose/ladder_1", "choose/ladder_2"}),
    ],
)
def test_what_rounds_are_chosen_by_matters_to_the_choice_alone(change, due):
    before, after = flow_of(), flow_of(**change)
    changed = {
        job.label
        for job in before.jobs
        if before.specification(job.stage, **job.names)
        != after.specification(job.stage, **job.names)
    }
    assert changed == due


def test_the_plan_of_a_round_has_the_runs_that_were_chosen():
    sweep = check.check(copy.deepcopy(STUDY))["train"]["ladder_1"]
    chosen = choices((0, 700.0, 5000.4), (None, 1e4, 1e6), (1, 2000.0, 9000.0))
    runs = plan_runs(with_choices(sweep, chosen))
    assert [run["n_params"] for run in runs] == [768, 1728]
    assert [run["n_samples"] for run in runs] == [4992, 8960]
    assert plan_runs(with_choices(sweep, choices((None, 1e4, 1e6)))) == []


def test_a_program_is_told_what_was_chosen_as_what_was_asked_for_in_a_cell():
    config = copy.deepcopy(STUDY) | {"train": {"ladder": copy.deepcopy(PROGRAM)}}
    del config["observe"], config["plot"], config["load"]
    train = check.check(config)["train"]
    assert free_settings(train["ladder_1"]).keys() == free_settings(train["ladder_0"]).keys()
    seeds = plan_runs(train["ladder_0"])
    (run,) = plan_runs(with_choices(train["ladder_1"], choices((0, 2000.2, 80_000.0))))
    assert run["run_id"] == seeds[-1]["run_id"]
    assert {key: run[key] for key in ("n_params", "n_samples", "lr")} == {
        "n_params": 2000,
        "n_samples": 80_000,
        "lr": 0.1,
    }


def shard_of(runs: list[dict], digests: list[str]) -> pd.DataFrame:
    """A shard in which these runs are done."""
    rows = [
        {
            "run_id": run["run_id"],
            "run_digest": digest,
            "n_unique": 100,
            "loss_nats": 2.0,
            "status": "done",
            "attempts": 1,
            "seconds": 1.0,
        }
        for run, digest in zip(runs, digests, strict=True)
    ]
    return pd.DataFrame([{**dict.fromkeys(tables.schema("shard").names), **row} for row in rows])


def test_a_run_that_is_chosen_again_counts_once_in_its_first_round():
    seeds = plan_runs(check.check(copy.deepcopy(STUDY))["train"]["ladder_0"])[:2]
    again = {**seeds[1], "run_id": "the same run in other words", "round": 2}
    other = {**seeds[1], "run_id": "another run", "round": 2}
    plan = pd.DataFrame([{**seeds[0], "round": 0}, {**seeds[1], "round": 1}, again, other])
    shards = [shard_of(seeds, ["a", "b"]), shard_of([seeds[1], again, other], ["b", "b", "c"])]
    runs = gather_sweep(plan, shards, {}, {})["runs"]
    assert list(runs["run_id"]) == [seeds[0]["run_id"], seeds[1]["run_id"], "another run"]
    assert list(runs["round"]) == [0, 1, 2]


def test_before_they_are_chosen_rounds_are_said_to_be_unknown(tmp_path):
    flow = flow_of(tmp_path)
    text = status.report(flow)
    assert "ladder_1: its runs are chosen when ladder_0 is fitted" in text
    seeds, first, second = forecast.forecast(flow, cache=tmp_path / "speeds.json")
    spent = sum(run["n_flops_6nd"] for run in seeds.runs)
    assert first.at_most[0] == pytest.approx(1e9 - spent)
    assert first.total > 0
    assert second.total == 0
    table = forecast.table([seeds, first, second], 2)
    assert f"at most {1e9 - spent:.3g}" in table
    assert "runs are chosen when ladder_0 is fitted" in table


def test_without_a_budget_nothing_is_known_of_rounds(tmp_path):
    config = copy.deepcopy(STUDY)
    del config["train"]["ladder"]["rounds"]["budget"]
    _, first, _ = forecast.forecast(Flow(check.check(config), tmp_path), cache=tmp_path / "s.json")
    assert first.total is None
    assert "unknown" in forecast.table([first], 2)


def test_the_summary_has_a_line_a_choice_and_the_reason_for_none():
    seeds = pd.DataFrame(plan_runs(check.check(copy.deepcopy(STUDY))["train"]["ladder_0"]))
    runs = seeds.assign(round=[0] * 8 + [1], status="done", loss=2.5)
    first = choices((0, 800.0, 8000.0)).assign(loss_predicted=2.4, loss_low=2.3, loss_high=2.45)
    second = choices((None, 900.0, 9000.0)).assign(round=2, reason="it is too late")
    text = "\n".join(report.table("ladder_2", [first, second], runs))
    assert "8 seeding runs, then 1 chosen in 2 rounds" in text
    row = next(line for line in text.splitlines() if line.startswith("  | 1 |"))
    assert row.split(" | ")[-4:] == ["768", "8.19k", "2.4 [2.3, 2.45]", "2.5 |"]
    assert "  - round 2 trains nothing: it is too late" in text


def test_the_run_of_a_choice_is_that_of_its_data_where_sizes_are_as_near():
    sizes, data = [2400.0, 1536.0], [208_480.0, 199_680.0]
    runs = pd.DataFrame({"round": [1, 2], "n_params": sizes, "n_samples": data, "loss": [2.3, 2.4]})
    chosen = choices((0, 1966.0, 199_651.0)).assign(round=2)
    lines = report.table("ladder_2", [chosen], runs.assign(status="done"))
    (row,) = [line for line in lines if line.startswith("  | 2 |")]
    assert "| 1.54k | 200k |" in row and row.endswith("| 2.4 |")
