"""Schedules of weightings in a study: what is read, which jobs they make, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoloss.core.problems import StudyError
from isoloss.study import check
from isoloss.study.flow import STAGES, Flow

LATE = {"phases": [{"weighting": "natural", "until": 0.8}, {"weighting": "docs"}]}


def study(phases=LATE, **cell) -> dict:
    cell = {"n_samples": 1e5, "d_model": 8, "weighting": ["natural", "late"]} | cell
    sweep = {"dataset": "lib", "model": "transformer", "cells": [cell], "shards": 2}
    expand = {"natural": {}, "docs": {"kind": {"docstring": 2}}, "late": phases, "unused": {}}
    expand["design"] = {"mixtures": {"tag_key": "kind", "points": 2}}
    load = {"lib": {"card": "python_stdlib"}}
    return {"study": "phases", "load": load, "expand": expand, "train": {"sweep": sweep}}


def refused(given: dict) -> str:
    with pytest.raises(StudyError) as error:
        check.check(given)
    return str(error.value)


def flow(given: dict) -> Flow:
    return Flow(check.check(given), Path("results/phases"))


def test_a_sweep_reads_the_rows_of_the_phases_and_a_schedule_has_none():
    jobs = {job.label for job in flow(study()).jobs if job.stage == "expand"}
    assert jobs == {"expand/lib/natural", "expand/lib/docs"}
    only = flow(study(weighting="late"))
    assert only.used("sweep") == ["docs", "natural"]
    inputs = STAGES["aggregate"].inputs(only, sweep="sweep")
    assert inputs["audits"] == [f"expand/lib/{w}/audit.parquet" for w in ("docs", "natural")]


def test_a_job_is_made_anew_when_the_phases_of_its_own_runs_change():
    later = {"phases": [{"weighting": "natural", "until": 0.9}, {"weighting": "docs"}]}
    before, after = flow(study()), flow(study(later))
    for shard in before.shards("sweep"):
        names = {run["weighting"] for run in before.planned("sweep")[shard]}
        at = {"sweep": "sweep", "shard": shard}
        same = before.settings("train", **at) == after.settings("train", **at)
        assert same == ("late" not in names)
        assert before.settings("plan", sweep="sweep") == after.settings("plan", sweep="sweep")
    at = {"sweep": "sweep"}
    assert before.settings("aggregate", **at) != after.settings("aggregate", **at)


def test_a_phase_may_be_a_point_of_a_design():
    phases = [{"weighting": "design_01", "until": 0.5}, {"weighting": "natural", "until": 1}]
    used = flow(study({"phases": phases})).used("sweep")
    assert used == ["design_01", "natural"]


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([("natural", 0.5), ("dosc", None)], r"expand.late.phases[1].weighting: 'dosc' is not in"),
        ([("natural", 0.5), ("late", None)], "'late' is a schedule itself; write its phases out"),
        ([("natural", None), ("docs", None)], "phases[0]: `until` is missing, which only the last"),
        ([("natural", 0.5), ("docs", 0.9)], "the last phase ends at 0.9 of the run"),
        ([("natural", 0.5), ("docs", 0.5), ("natural", None)], "`until` of its phases: 0.5, 0.5"),
        ([("natural", 1), ("docs", None)], "`until` of its phases: 1, 1; each phase ends later"),
        ([("natural", 1.5), ("docs", None)], "phases[0].until: found 1.5; needs at most 1"),
        ([("natural", 0), ("docs", None)], "phases[0].until: found 0; needs more than 0"),
        ([], "expand.late.phases: found []; needs at least one entry"),
    ],
)
def test_phases_that_make_no_sense_are_refused(phases, message):
    entries = [{"weighting": w} | ({} if u is None else {"until": u}) for w, u in phases]
    assert message in refused(study({"phases": entries}))


def test_a_schedule_is_one_form_of_a_weighting_alone():
    message = refused(study(LATE | {"kind": {"docstring": 2}}))
    assert "expand.late.kind: it is beside 'phases'" in message


def test_a_phase_without_a_step_is_refused_with_the_run_that_lacks_it():
    short = {"phases": [{"weighting": "natural", "until": 0.99}, {"weighting": "docs"}]}
    message = refused(study(short, n_samples=[1e5, 2560]))
    assert "train.sweep.cells: phase 2 of 'late' (docs) has no step in a run of 10 steps" in message
    assert "late-D2560" in message and "late-D1e05" not in message
    check.check(study(short))


def test_a_phase_may_lack_a_step_in_a_run_that_is_not_the_shortest():
    ends = [("natural", 0.5), ("docs", 0.55), ("natural", 1)]
    middle = {"phases": [{"weighting": weighting, "until": until} for weighting, until in ends]}
    a_step = 4 * 64
    check.check(study(middle, n_samples=10 * a_step))
    message = refused(study(middle, n_samples=[10 * a_step, 11 * a_step]))
    assert "phase 2 of 'late' (docs) has no step in a run of 11 steps" in message


def test_other_entries_that_are_not_weightings_do_not_hide_what_is_wrong_with_phases():
    given = study({"phases": [{"weighting": "dosc"}]})
    given["expand"] |= {"five": 5, "none": None}
    message = refused(given)
    assert "expand.five" in message and "'dosc' is not in expand" in message


def test_a_part_of_the_rows_is_refused_under_a_schedule_only():
    message = refused(study(n_samples=[1e5], n_unique=5120))
    assert "n_unique with the schedule 'late', whose phases have rows of their own" in message
    check.check(study(n_unique=5120, weighting="natural"))


def test_a_circle_through_a_schedule_is_told():
    given = study()
    given["expand"]["docs"] = {"mixture": {"tag_key": "kind", "fit": "law"}}
    law = {"card": "mixture_power", "sweep": "sweep", "tag_key": "kind"}
    given["fit"] = {"law": law | {"domain_weights": {"code": 1}}}
    message = refused(given)
    assert "a circle: weighting docs -> fit law -> sweep sweep -> weighting late -> " in message
