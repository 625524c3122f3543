"""The benchmark of verdicts: what its tables hold, and when it calls a fit good."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import isoloss

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    """The module benchmarks/verdict.py, which is run as a program."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("verdict")
    finally:
        sys.path.remove(str(FOLDER))


def test_every_case_makes_a_table_of_its_own_with_what_a_user_has(benchmark):
    cases = benchmark.cases()
    assert len({case.name for case in cases}) == len(cases)
    for case in cases:
        one, other = (case.make(np.random.default_rng(seed)) for seed in (0, 1))
        columns = ["N", "error"] if case.formula else ["params", "tokens", "loss"]
        assert np.isfinite(one.rows[columns]).all(axis=None)
        assert not np.array_equal(one.rows[columns[-1]], other.rows[columns[-1]])
        assert case.formula or (one.truth.shape == (5,) and one.flops > 0)


def test_a_fit_of_the_law_is_good_and_one_of_other_losses_is_not(benchmark):
    table = benchmark.simulated(benchmark.grid(6, 10), np.random.default_rng(0))

    def judged(loss: pd.Series) -> tuple[bool, bool]:
        runs = isoloss.read_runs(
            table.rows.assign(loss=loss), {"N": "params", "D": "tokens", "loss": "loss"}
        )
        return benchmark.against_truth(isoloss.fit_law(runs, "chinchilla", bootstrap=200), table)

    assert judged(table.rows["loss"]) == (True, True)
    assert judged(table.rows["loss"] * 1.1) == (False, False)


def test_right_is_a_good_fit_called_sound_and_a_bad_one_called_unusable(benchmark):
    counts = {"tables": 10, "good": 5, "sound": 4, "sound, good": 3, "with care": 2}
    counts |= {"with care, good": 1, "do not use": 4, "do not use, good": 1, "refused": 0}
    row = pd.Series({"case": "mine", "checks": "pooled 4", "refused, good": 0, **counts})
    assert benchmark.cells(row) == ["mine", "50", "40 (75)", "20 (50)", "40 (75)", "0", "pooled 4"]
