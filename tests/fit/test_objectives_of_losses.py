"""A user's penalty of (observed, predicted) is minimised like a named one, its corners included."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isoloss.aggregate import read_runs
from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law
from isoloss.fit.objectives import OBJECTIVES, SHARP, SMOOTH, Objective, objective_of

LOSS = np.array([1.2, 2.0, 3.7])


def asymmetric(observed, predicted, w=10.0):
    """A penalty that writes into an array of its own, as users' functions do."""
    error = observed - predicted
    error[error < 0] *= -w
    return error


def pinball(observed, predicted):
    error = observed - predicted
    return np.maximum(0.9 * error, -0.1 * error)


PENALTIES = {
    "mae": (lambda observed, predicted: np.abs(predicted - observed), "mae", {}),
    "asymmetric_mae": (asymmetric, "asymmetric_mae", {"above": 10.0}),
    "mse": (lambda observed, predicted: (predicted - observed) ** 2, "mse", {}),
}


@pytest.fixture(scope="module")
def runs():
    """Thirty runs of a law with noise."""
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"N": 10 ** rng.uniform(6, 9, 30), "D": 10 ** rng.uniform(9, 11, 30)})
    table["loss"] = 1.7 + 400 / table.N**0.34 + 400 / table.D**0.28 + rng.exponential(0.05, 30)
    return read_runs(table, {"N": "N", "D": "D", "loss": "loss"})


@pytest.mark.parametrize("name", PENALTIES)
def test_the_derivatives_of_a_function_are_those_of_the_named_penalty(name):
    function, own, settings = PENALTIES[name]
    given = objective_of(function, 1e-3)
    named = objective_of({"name": own, **settings}, 1e-3)
    for error in (0.3, -0.4, 0.0123):
        predicted = LOSS + error * np.array([1.0, -1.0, 0.5])
        ours, theirs = given.penalty(predicted, LOSS), named.penalty(predicted, LOSS)
        np.testing.assert_allclose(ours.value, theirs.value, rtol=2e-3 * SMOOTH / 1e-5, atol=1e-3)
        np.testing.assert_allclose(ours.slope, theirs.slope, rtol=1e-4)
        np.testing.assert_allclose(ours.curvature, theirs.curvature, atol=1e-3)


def test_only_a_corner_is_approached_from_smooth_ones():
    sharp = {"smooth": SHARP}
    for name, (function, own, _) in PENALTIES.items():
        for objective in (
            objective_of({"of_losses": function, **sharp}, 1.0),
            objective_of({"name": own, **sharp}, 1.0),
        ):
            assert bool(objective.halving(LOSS)) == (name != "mse")
    assert objective_of("mae", 1.0).halving(LOSS) == []


@pytest.mark.parametrize("name", PENALTIES)
def test_a_law_fitted_with_a_function_is_that_of_the_named_objective(runs, name):
    function, own, settings = PENALTIES[name]
    fits = [
        fit_law(runs, "chinchilla", objective=objective, bootstrap=0)
        for objective in (
            {"of_losses": function, "smooth": SHARP},
            {"name": own, "smooth": SHARP, **settings},
        )
    ]
    given, named = (fit.summary.loc[0] for fit in fits)
    # corners are round within SHARP, in two ways
    assert given["objective_value"] == pytest.approx(named["objective_value"], rel=1e-5)
    assert given["status"] == named["status"] == "converged"
    assert fits[0].values == pytest.approx(fits[1].values, rel=1e-3)


def test_sharp_corners_end_lower_than_blunt_ones_and_every_start_agrees(runs):
    def absolute(fit):
        predicted = fit.residuals["predicted"].to_numpy()
        return np.abs(predicted - runs["loss"].to_numpy()).sum()

    blunt = fit_law(runs, "chinchilla", objective="mae", bootstrap=0)
    sharp = fit_law(runs, "chinchilla", objective={"name": "mae", "smooth": SHARP}, bootstrap=0)
    assert absolute(sharp) <= absolute(blunt) * (1 + 1e-12)
    summary = sharp.summary.loc[0]
    assert summary["n_agree"] == summary["n_starts"]


def test_a_pinball_is_known_to_have_a_corner_and_fits_a_quantile(runs):
    objective = {"of_losses": pinball, "smooth": SHARP}
    fit = fit_law(runs, "chinchilla", objective=objective, bootstrap=0)
    error = fit.residuals["predicted"].to_numpy() - runs["loss"].to_numpy()
    assert (error < -1e-6).mean() <= 0.1 <= (error < 1e-6).mean()
    assert fit.summary.loc[0, "objective"] == "callable pinball"


def test_functions_are_told_apart_by_how_many_arguments_they_need():
    of_residuals = objective_of(np.abs, 1e-3), objective_of(lambda r, delta=1.0: r**2, 1e-3)
    assert all(one.logarithmic for one in of_residuals)
    of_losses = objective_of(asymmetric, 1e-3), objective_of(pinball, 1e-3)
    assert not any(one.logarithmic for one in of_losses)


def test_an_objective_in_the_scale_of_the_runs_sees_losses_in_their_own_unit():
    seen = []

    def penalty(observed, predicted):
        seen.append(observed.copy())
        return (observed - predicted) ** 2

    objective_of(penalty, 1e-3).divided(2.0).values(LOSS / 2, LOSS / 2)
    np.testing.assert_allclose(seen[0], LOSS)


def test_the_weight_of_predictions_above_the_loss_is_a_setting():
    three = objective_of({"name": "asymmetric_mae", "above": 3.0}, 1e-3)
    assert str(three) == "asymmetric_mae(above=3)"
    near = {"rtol": 0, "atol": 1e-3}
    np.testing.assert_allclose(three.values(LOSS + 0.1, LOSS), 0.3, **near)
    np.testing.assert_allclose(three.values(LOSS - 0.1, LOSS), 0.1, **near)
    assert str(Objective("asymmetric_mae")) == "asymmetric_mae"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ("huber_lag", "objective: unknown 'huber_lag'; did you mean 'huber_log'?"),
        (7, "objective: unknown 7"),
        ({"delta": 1.0}, "objective: unknown None"),
        ({"name": "mae", "widht": 1}, "objective.widht: no such setting"),
        ({"name": "huber", "delta": -1}, "objective.delta: found -1; needs a number, 1e-09 to"),
        ({"name": "mae", "smooth": True}, "objective.smooth: found True"),
        ({"name": "mae", "of_losses": asymmetric}, "objective: unknown 'mae'"),
    ],
)
def test_what_is_wrong_with_an_objective_is_said(runs, asked, reason):
    with pytest.raises(IsolossError) as caught:
        fit_law(runs, "chinchilla", objective=asked)
    assert reason in str(caught.value)
    assert set(OBJECTIVES) >= {"huber_log", "mae"}


@pytest.mark.parametrize(
    ("penalty", "reason"),
    [
        (lambda observed, predicted: 1.0, "an array of shape () for 30 runs"),
        (lambda observed, predicted: observed[1:], "an array of shape (29,) for 30 runs"),
        (lambda observed, predicted: 1 / 0, "it failed with ZeroDivisionError: division by zero"),
    ],
    ids=["a number", "one too few", "an error"],
)
def test_a_function_that_gives_no_penalties_is_named(runs, penalty, reason):
    with pytest.raises(IsolossError) as caught:
        fit_law(runs, "chinchilla", objective=penalty)
    assert f"objective <lambda>: {reason}" in str(caught.value).replace("it returned ", "")
