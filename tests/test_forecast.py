"""What a study will take is predicted before it starts."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.core.problems import IsolossError
from isoloss.study import check, forecast
from isoloss.study.flow import Flow
from isoloss.train.speed import Measurement

LARGE = {"n_flops": 1e12, "d_model": [8, 32, 64]}
positive = st.floats(1e-6, 1e9)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "speeds.json"


@pytest.fixture
def flow_of(tmp_path):
    """A maker of studies whose sweep `t` has the given cells, with an empty store."""

    def make(*cells, **changes) -> Flow:
        sweep = {"dataset": "stdlib", "model": "transformer", "cells": list(cells), "shards": 2}
        load = {"stdlib": {"card": "python_stdlib"}}
        study = {"study": "a", "load": load, "train": {"t": sweep}, **changes}
        return Flow(check.check(study), tmp_path / "a")

    return make


@pytest.fixture
def steps(monkeypatch):
    """Steps take a second for each TFLOP and ten milliseconds; the runs measured are kept."""
    asked = []

    def measured(runs):
        asked.extend(runs)
        return [Measurement(0.01 + run["n_flops_model"] / run["n_steps"] / 1e12) for run in runs]

    monkeypatch.setattr(forecast.speed, "measured", measured)
    return asked


def finish(flow, run, seconds, host=None, status="done", event="end"):
    """Note in the journal that a planned run ended, and leave a file for it in the store."""
    digest = run["run_id"]
    flow.store.path(digest).parent.mkdir(parents=True, exist_ok=True)
    flow.store.path(digest).touch()
    line = {"event": event, "run_digest": digest, "run_id": run["run_id"], "status": status}
    line |= {"seconds": seconds, "host": host or socket.gethostname(), "code": flow.run_code("t")}
    with (flow.store.root / "journal.jsonl").open("a", encoding="utf-8") as journal:
        journal.write(json.dumps(line) + "\n")


@given(st.dictionaries(positive, positive, min_size=1, max_size=5), positive)
def test_the_seconds_of_a_step_pass_through_what_was_measured(points, flops):
    points = sorted(points.items())
    for known, seconds in points:
        assert forecast.step_seconds(points, known) == pytest.approx(seconds)
    seconds = forecast.step_seconds(points, flops)
    least, most = min(s for _, s in points), max(s for _, s in points)
    beyond = max(1.0, flops / points[-1][0])
    assert least * (1 - 1e-9) <= seconds <= most * beyond * (1 + 1e-9)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.integers(1, 8))
def test_jobs_side_by_side_take_at_least_the_longest_and_at_most_one_after_the_other(times, jobs):
    took = forecast.in_parallel(times, jobs)
    assert max(max(times), sum(times) / jobs) <= took * (1 + 1e-9)
    assert took <= sum(times) * (1 + 1e-9) + 1e-9


def test_a_sweep_without_finished_runs_is_measured_once(flow_of, steps, cache):
    flow = flow_of(LARGE)
    (first,) = forecast.forecast(flow, cache=cache)
    assert [run["d_model"] for run in steps] == [8, 32, 64]
    assert "steps of 3 runs measured here" in first.source
    for run in first.left:
        measured = 0.01 * run["n_steps"] + run["n_flops_model"] / 1e12
        assert first.seconds[run["run_id"]] == pytest.approx(measured, rel=0.05)  # validation too
    steps.clear()
    (again,) = forecast.forecast(flow, cache=cache)
    assert again == first and steps == []
    cache.write_text("{")
    assert forecast.forecast(flow, cache=cache) == [first] and steps != []


def test_a_study_that_is_quick_anywhere_is_not_measured(flow_of, steps, cache):
    flow = flow_of({"n_flops": 1e8, "d_model": 8})
    (one,) = forecast.forecast(flow, cache=cache)
    assert steps == [] and 0 < one.total < forecast.QUICK
    (one,) = forecast.forecast(flow, always=True, cache=cache)
    assert len(steps) == 1 and one.source == "a step measured here"


def test_finished_runs_predict_the_others_and_are_not_left(flow_of, steps, cache):
    flow = flow_of(LARGE | {"seed": [0, 1]})
    runs = flow.plans.runs(flow.config["train"]["t"])
    for run in runs[:2]:  # of one size
        finish(flow, run, 50.0)
    finish(flow, runs[2], 80.0)
    (one,) = forecast.forecast(flow, cache=cache)
    assert steps == [] and one.source == "3 finished runs here"
    assert {run["run_id"] for run in one.left} == {run["run_id"] for run in runs[3:]}
    assert one.seconds[runs[3]["run_id"]] == pytest.approx(80)


def test_runs_of_this_machine_go_before_those_of_others(flow_of, steps, cache):
    flow = flow_of({"n_flops": 1e12, "d_model": 8, "seed": [0, 1, 2, 3]})
    runs = flow.plans.runs(flow.config["train"]["t"])
    finish(flow, runs[0], 500.0, host="elsewhere")
    finish(flow, runs[1], 500.0, host="elsewhere")
    (one,) = forecast.forecast(flow, cache=cache)
    assert one.source == "2 finished runs on elsewhere" and one.total == pytest.approx(1000)
    finish(flow, runs[2], 50.0)
    (one,) = forecast.forecast(Flow(flow.config, flow.root), cache=cache)
    assert one.source == "1 finished run here" and one.total == pytest.approx(50)


@pytest.mark.parametrize("lost", ["retried", "removed", "other code"])
def test_a_run_that_the_store_holds_no_more_is_left(flow_of, steps, cache, lost):
    flow = flow_of({"n_flops": 1e12, "d_model": 8, "seed": [0, 1]})
    for run in (runs := flow.plans.runs(flow.config["train"]["t"])):
        finish(flow, run, 50.0)
    if lost == "retried":
        flow.store.reopen(runs[0]["run_id"], runs[0]["run_id"])
    elif lost == "removed":
        flow.store.path(runs[0]["run_id"]).unlink()
    else:
        flow.store.note("end", "f" * 32, runs[0]["run_id"], status="done", seconds=1.0, code="old")
    (one,) = forecast.forecast(flow, cache=cache)
    assert [run["run_id"] for run in one.left] == [runs[0]["run_id"]]


def test_a_step_that_cannot_be_measured_is_told_with_its_reason(flow_of, monkeypatch, cache):
    monkeypatch.setattr(
        forecast.speed, "measured", lambda runs: [Measurement(None, "no device")] * len(runs)
    )
    (one,) = forecast.forecast(flow_of(LARGE), cache=cache)
    assert one.total is None
    assert "cannot be measured here (no device)" in forecast.table([one], 2)
    assert "unknown" in forecast.table([one], 2)


def test_a_step_too_large_for_this_machine_is_not_tried(flow_of, steps, cache):
    flow = flow_of({"n_samples": 1e6, "d_model": 8192})
    (one,) = forecast.forecast(flow, cache=cache)
    assert steps == [] and one.total is None and "nothing yet" in one.source


def test_the_table_has_runs_n_d_flop_and_times_of_every_sweep(flow_of, steps, cache):
    (one,) = forecast.forecast(flow_of(LARGE), cache=cache)
    head, line = forecast.table([one], 2).splitlines()
    names = "sweep runs left N D FLOP left device time 2 at once predicted from"
    assert " ".join(head.split()) == names
    assert line.startswith("t      3     3     1.54e+03 to 9.83e+04")
    assert forecast.duration(one.total) in line
    assert forecast.duration(forecast.in_parallel(one.shards(), 2)) in line


def test_more_device_hours_than_allowed_are_refused_by_sweep(flow_of, steps, cache):
    (one,) = forecast.forecast(flow_of(LARGE), cache=cache)
    hours = one.total / 3600
    forecast.check_cap([one], None)
    forecast.check_cap([one], 2 * hours)
    with pytest.raises(IsolossError, match=rf"max_device_hours: .*need {hours:.3g} device-hours"):
        forecast.check_cap([one], hours / 2)
