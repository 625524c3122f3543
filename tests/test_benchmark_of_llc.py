"""The benchmark of the local learning coefficient: its contenders do the same work."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    """The module benchmarks/llc.py, which is run as a program."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("llc")
    finally:
        sys.path.remove(str(FOLDER))


def test_the_plain_loop_finds_the_same_coefficient(benchmark):
    work = benchmark.perceptron("tiny", 6, [4], (150, 300))
    ours, loop = (f(work, 150) for f in (benchmark.by_isoloss, benchmark.by_loop))
    assert ours.shape == loop.shape == (4, 150)
    estimates = benchmark.estimate(work, loop), benchmark.estimate(work, ours)
    assert benchmark.compared(*estimates).startswith("yes: LLC")
    assert np.isfinite(estimates).all()
    off = benchmark.estimate(work, loop + 1.0)
    assert benchmark.compared(off, estimates[1]).startswith("NO: LLC")


def test_a_row_has_the_whole_call_a_further_step_and_the_share_of_the_floor(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "CONTENDERS", {"isoloss": benchmark.by_isoloss})
    monkeypatch.setattr(benchmark, "DEVINTERP", False)
    row = benchmark.measure(benchmark.perceptron("tiny", 6, [4], (20, 60)), 1).loc[0]
    assert row["seconds"] > 0 and row["ratio"] == row["marginal_ratio"] == 1
    assert row["floor_share"] == pytest.approx(row["floor_us"] / row["marginal_us"])
    assert np.isfinite(row["floor_us"]) and "4 chains of 20 steps" in row["note"]
