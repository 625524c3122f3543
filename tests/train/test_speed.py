"""A step is timed on random data, in a process of its own."""

from __future__ import annotations

import time

from isoloss.train.plan import plan_runs
from isoloss.train.speed import SECONDS, measured, seconds_a_step

SWEEP = {"model": "transformer", "trainer": "builtin", "shards": 1, "settings": {}}
SWEEP |= {"n_params": "nonembed", "n_flops": "6nd"}
SETTINGS = {"n_layers": 1, "context": 16, "n_samples": 1e9}


def runs(*cells) -> list[dict]:
    return plan_runs(SWEEP | {"settings": SETTINGS, "cells": list(cells)})


def test_a_run_of_hours_is_timed_in_seconds():
    (run,) = runs({"d_model": 8})
    assert run["n_steps"] > 10**6
    begun = time.perf_counter()
    seconds = seconds_a_step(run)
    assert 0 < seconds < SECONDS
    assert time.perf_counter() - begun < 600


def test_runs_are_timed_one_by_one_and_one_that_cannot_be_has_its_reason():
    small, wrong = runs({"d_model": [8, 12]})
    first, second = measured([small, {**wrong, "batch_items": 0}])
    assert first.seconds > 0 and first.reason == ""
    assert second.seconds is None and second.reason != ""
    (gone,) = measured([{**small, "trainer": "gone"}])
    assert gone.seconds is None and "'gone'" in gone.reason
