"""Objectives: their values are those of the formulas, their derivatives those of the values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.fit.objectives import OBJECTIVES, SMOOTH, Objective

LOSS = np.array([1.2, 2.0, 3.7])
every = pytest.mark.parametrize("name", OBJECTIVES)
errors = st.lists(st.floats(-1, 1), min_size=3, max_size=3).map(np.array)


def corners(objective: Objective, residual: np.ndarray) -> bool:
    """Whether a residual lies where a slope or a curvature jumps."""
    width = SMOOTH * 2.0 if "mae" in objective.name else objective.delta
    return bool((np.abs(np.abs(residual) - width) < 1e-5).any() or (np.abs(residual) < 1e-5).any())


@every
@given(error=errors)
def test_derivatives_are_those_of_the_values(name, error):
    objective, step = Objective(name, 0.1), 1e-6
    predicted = LOSS * np.exp(error)
    if corners(objective, objective.residual(predicted, LOSS)):
        return
    derivatives = objective.penalty(predicted, LOSS)
    np.testing.assert_array_equal(derivatives.value, objective.values(predicted, LOSS))
    above, below = (objective.values(predicted + s, LOSS) for s in (step, -step))
    scale = np.abs(derivatives.slope).max() + 1
    np.testing.assert_allclose(derivatives.slope, (above - below) / (2 * step), atol=1e-6 * scale)
    above, below = (objective.penalty(predicted + s, LOSS).slope for s in (step, -step))
    np.testing.assert_allclose(
        derivatives.curvature, (above - below) / (2 * step), atol=1e-4 * scale
    )


@every
@given(error=errors, other=errors)
def test_the_square_of_the_weights_lies_above_the_penalty(name, error, other):
    objective = Objective(name, 0.1)
    here, there = LOSS * np.exp(error), LOSS * np.exp(other)
    penalty = objective.penalty(here, LOSS)
    r, s = objective.residual(here, LOSS), objective.residual(there, LOSS)
    weight = penalty.weight * (here**2 if objective.logarithmic else 1.0)
    square = penalty.value + 0.5 * weight * (s**2 - r**2)
    if name != "asymmetric_mae":  # its weight holds on the side it is on
        assert (objective.values(there, LOSS) <= square * (1 + 1e-9) + 1e-12).all()
    assert (weight >= 0).all()


@every
def test_a_perfect_prediction_costs_nothing_and_any_other_something(name):
    objective = Objective(name)
    np.testing.assert_array_equal(objective.values(LOSS, LOSS), 0.0)
    for factor in (0.9, 1.1):
        assert (objective.values(factor * LOSS, LOSS) > 0).all()


def test_values_are_those_of_the_formulas():
    error = np.array([0.0005, -0.02, 0.3])
    predicted, shifted = LOSS * np.exp(error), LOSS + error
    huber = np.array([0.0005**2 / 2, 1e-3 * (0.02 - 5e-4), 1e-3 * (0.3 - 5e-4)])
    np.testing.assert_allclose(Objective("huber_log", 1e-3).values(predicted, LOSS), huber)
    np.testing.assert_allclose(Objective("huber", 1e-3).values(shifted, LOSS), huber, rtol=1e-9)
    np.testing.assert_allclose(Objective("log_mse").values(predicted, LOSS), error**2)
    np.testing.assert_allclose(Objective("mse").values(shifted, LOSS), error**2)
    near = {"rtol": 0, "atol": SMOOTH * 20}  # of absolute values, to the width of their squares
    np.testing.assert_allclose(Objective("mae").values(shifted, LOSS), np.abs(error), **near)
    heavy = np.where(error > 0, 10, 1) * np.abs(error)
    np.testing.assert_allclose(Objective("asymmetric_mae").values(shifted, LOSS), heavy, **near)


@every
def test_where_the_law_predicts_no_loss_the_penalty_is_infinite(name):
    with np.errstate(invalid="ignore"):
        assert np.isinf(Objective(name).values(np.array([np.nan, 1.0, 1.0]), LOSS)[0])


@every
def test_leading_dimensions_are_kept(name):
    at = LOSS * np.exp(np.linspace(-0.1, 0.1, 6).reshape(2, 3, 1))
    wide = Objective(name).penalty(at, LOSS)
    for value in (wide.value, wide.slope, wide.curvature, wide.weight):
        assert value.shape == (2, 3, 3)
    np.testing.assert_array_equal(wide.value[1, 2], Objective(name).penalty(at[1, 2], LOSS).value)
