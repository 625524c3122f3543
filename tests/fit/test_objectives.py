"""What a fit minimises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.fit.objectives import OBJECTIVES, Objective

LOSS = np.array([1.9, 2.5, 3.7, 3.7])


def value(objective: Objective, log_predicted) -> np.ndarray:
    return objective.terms(np.asarray(log_predicted), LOSS)[0]


@pytest.mark.parametrize("name", OBJECTIVES)
@given(residual=st.lists(st.floats(-0.2, 0.2), min_size=4, max_size=4))
def test_derivatives_are_those_of_the_values(name, residual):
    objective = Objective(name, delta=0.05)
    at, step = np.log(LOSS) + np.array(residual), 1e-6
    slopes = objective.terms(at, LOSS)[1]
    numeric = (value(objective, at + step) - value(objective, at - step)) / (2 * step)
    np.testing.assert_allclose(slopes, numeric, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_perfect_prediction_costs_nothing_and_any_other_something(name):
    objective = Objective(name)
    terms, slopes = objective.terms(np.log(LOSS), LOSS)
    assert np.abs(terms).max() == pytest.approx(0, abs=1e-28)
    assert np.abs(slopes).max() == pytest.approx(0, abs=1e-14)
    for shift in (-0.3, 1e-5):
        assert (value(objective, np.log(LOSS) + shift) > 0).all()


def test_values_are_those_of_the_formulas():
    at = np.log(LOSS) + np.array([0.0004, -0.0004, 0.02, -0.02])
    line = 1e-3 * (0.02 - 0.0005)
    expected = {
        "huber_log": [8e-8, 8e-8, line, line],
        "log_mse": [1.6e-7, 1.6e-7, 4e-4, 4e-4],
        "mse": (np.exp(at) - LOSS) ** 2,
    }
    assert set(expected) == set(OBJECTIVES)
    for name, terms in expected.items():
        np.testing.assert_allclose(value(Objective(name), at), terms, rtol=1e-9)


def test_an_objective_says_what_it_is():
    assert str(Objective("huber_log", 1e-3)) == "huber_log(delta=0.001)"
    assert str(Objective("mse")) == "mse"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_leading_dimensions_are_kept(name):
    at = np.log(LOSS) + np.linspace(-0.1, 0.1, 6).reshape(2, 3, 1)
    terms, slopes = Objective(name).terms(at, LOSS)
    assert terms.shape == slopes.shape == (2, 3, 4)
    np.testing.assert_array_equal(terms[1, 2], value(Objective(name), at[1, 2]))
