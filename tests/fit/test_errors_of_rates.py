"""An error rate or an accuracy errs by differences, though all of its values are above 0."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.fit.coverage_scaled import SIMULATED
from isoloss.fit.evidence import covering
from isoloss.fit.objectives import Objective
from isoloss.fitted.errors import errors_of
from isoloss.fitted.facts import record
from isoloss.laws import chinchilla, downstream_accuracy, downstream_error, formula
from isoloss.quickfit.report import _errors

LATE = "error = top / (1 + (N / N_half)**a); N_half > 0"
TRUTH = {"top": 0.8, "N_half": 3e8, "a": 0.6}


def late(N):
    return TRUTH["top"] / (1 + (N / TRUTH["N_half"]) ** TRUTH["a"])


def runs_of(count, seed=0):
    """Tables of 36 runs, each a group, with the noise of 1000 questions."""
    rng, N = np.random.default_rng(seed), np.geomspace(1e7, 1e11, 36)
    tables = [
        pd.DataFrame({"N": N, "error": rng.binomial(1000, late(N)) / 1000, "table": f"{i:02}"})
        for i in range(count)
    ]
    return isoloss.read_runs(pd.concat(tables), {"N": "N", "group": "table"}, need=0)


@pytest.mark.parametrize(
    ("limits", "objective"),
    [
        ("; 0 <= error <= 1", "huber_scaled(delta=0.01)"),
        ("; error >= 0", "huber_log(delta=0.001)"),
    ],
)
def test_the_objective_follows_the_range_that_is_stated(limits, objective):
    fit = isoloss.fit_law(runs_of(1), formula=LATE + limits, bootstrap=0)
    assert fit.summary["objective"].item() == objective
    if "scaled" in objective:
        assert fit.summary["verdict"].item() == "sound"


def test_a_range_with_a_greatest_value_makes_errors_differences():
    for text, additive in {"error <= 1": True, "error >= 0": False, "a > 0": False}.items():
        law = formula.make(formula=f"error = a + b * x; {text}", variables=["x"], any_sign=[])
        assert law.additive == additive
    assert downstream_error.make().additive and downstream_accuracy.make().additive
    assert not chinchilla.make().additive


def test_errors_of_a_response_with_a_greatest_value_are_differences_in_its_size():
    observed, predicted = np.array([0.03, 0.04]), np.array([0.04, 0.03])
    errors = errors_of(observed, predicted, additive=True)
    assert errors.of(observed, predicted) == pytest.approx([-0.2828, 0.2828], abs=1e-4)
    assert errors.added(predicted, errors.of(observed, predicted)) == pytest.approx(observed)


def test_coverage_of_scaled_differences_is_looked_up_in_simulations_of_rates():
    objective = Objective("huber_scaled", 0.01)
    for interval in ("bootstrap", "residual", "parametric", "profile"):
        for runs in (24, 60, 240):
            count, _, share = covering(interval, objective, runs + 1, None)
            assert count == runs and 0.5 < share < 1
    assert covering("bootstrap", objective, 40, 8) is None
    assert len(SIMULATED) == 12


def test_runs_held_out_of_a_rate_err_by_differences_within_its_range():
    settings = {"formula": f"{LATE}; 0 <= error <= 1", "bootstrap": 0}
    fit = isoloss.fit_law(runs_of(1), holdout="largest:N", **settings)
    assert fit.scores["mape"].isna().all() and fit.scores["rmse"].item() < 0.1
    held = _errors(record(fit))
    assert "of largest N," in held and "RMSE" in held and "%" not in held
    losses = settings["formula"].removesuffix(" <= 1").replace("0 <= error", "error >= 0")
    fit = isoloss.fit_law(runs_of(1), formula=losses, holdout="largest:N", bootstrap=0)
    assert "% of" in _errors(record(fit))


def test_folds_predict_no_value_outside_the_range_of_the_response():
    N = np.geomspace(1e7, 1e9, 12)
    table = pd.DataFrame({"N": N, "error": np.maximum(0.02, 0.9 - 0.8 * np.log10(N / 1e7))})
    runs = isoloss.read_runs(table, {"N": "N"}, need=0)
    law = "error = top - slope * log10(N); 0 <= error <= 1"
    rule = {"rule": "roll_out", "by": "n_params", "stages": 3}
    residuals = isoloss.fit_law(runs, formula=law, holdout=rule, bootstrap=0).residuals
    assert residuals["predicted_unseen"].min() == 0


@pytest.mark.slow
def test_intervals_hold_the_truth_on_simulated_error_rates():
    fit = isoloss.fit_law(runs_of(40), formula=f"{LATE}; 0 <= error <= 1", bootstrap=300)
    params = fit.params.assign(truth=fit.params["term"].map(TRUTH))
    inside = (params["ci_low"] <= params["truth"]) & (params["truth"] <= params["ci_high"])
    assert (inside.groupby(params["term"]).mean() >= 0.85).all()
    assert (fit.summary["verdict"] == "sound").sum() >= 36
