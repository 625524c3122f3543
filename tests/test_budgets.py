"""Runs of the same budget are the same ones for hold-outs, laws and figures."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.core import budgets
from isoloss.core.budgets import SAME_BUDGET, budget_numbers
from isoloss.figures import _figure
from isoloss.fit.holdout import folds
from isoloss.laws import _budgets

COMPUTE = st.lists(st.floats(1e10, 1e25), min_size=1, max_size=30)


@given(COMPUTE)
def test_budgets_are_numbered_by_size_and_none_is_wider_than_the_limit(flops):
    numbers = budget_numbers(np.array(flops))
    order = np.argsort(flops, kind="stable")
    assert (np.diff(numbers[order]) >= 0).all()
    assert sorted(set(numbers)) == list(range(numbers.max() + 1))
    smallest = [np.array(flops)[numbers == k].min() for k in range(numbers.max() + 1)]
    for k, low in enumerate(smallest):
        assert np.array(flops)[numbers == k].max() <= low * SAME_BUDGET
        assert k == 0 or low > smallest[k - 1] * SAME_BUDGET


def test_runs_without_a_gap_are_several_budgets():
    flops = 1e18 * 1.01 ** np.arange(100)  # ten of them are within a factor of 1.1
    np.testing.assert_array_equal(budget_numbers(flops), np.arange(100) // 10)


@pytest.mark.parametrize(
    ("flops", "numbers"),
    [
        ([], []),
        ([np.nan, np.nan], [0, 0]),
        ([np.nan, 5.0, 1.0], [1, 1, 0]),
        ([0.0, 0.0, 1.0], [0, 0, 1]),
        ([np.inf, 1.0, np.inf], [1, 0, 1]),
    ],
)
def test_compute_that_is_not_an_ordinary_number_has_a_budget(flops, numbers):
    assert list(budget_numbers(np.array(flops))) == numbers


@given(COMPUTE)
def test_holdouts_laws_and_figures_agree_on_what_a_budget_is(make_runs, flops):
    flops = np.array(flops)
    numbers = budget_numbers(flops)
    expected = [set(np.flatnonzero(numbers == k)) for k in range(numbers.max() + 1)]
    runs = make_runs(np.ones(len(flops)), flops / 6, np.ones(len(flops)))
    runs = runs.assign(n_flops=flops, n_flops_6nd=flops)
    of_law = _budgets.budgets_of({"C": flops, "N": np.ones(len(flops))}, np.ones(len(flops)))
    assert [set(budget.runs) for budget in of_law] == expected
    levels = _figure.budgets(runs).to_numpy()
    assert [set(np.flatnonzero(levels == one)) for one in np.unique(levels)] == expected
    if len(expected) > 1:
        (largest,) = folds(runs, "largest_compute", 0)
        assert set(np.flatnonzero(largest.out)) == expected[-1]


def test_the_example_is_true():
    assert doctest.testmod(budgets).failed == 0
