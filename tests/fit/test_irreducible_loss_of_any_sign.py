"""Chinchilla's law where the irreducible loss E may be 0 or below."""

from __future__ import annotations

import runpy

import numpy as np
import pandas as pd
import pytest

from isoloss.aggregate import read_runs
from isoloss.fit import fit_law
from isoloss.fitted.export import export_fit
from isoloss.laws import chinchilla

TRUTH = {"E": -0.2, "A": 60.0, "B": 200.0, "alpha": 0.3, "beta": 0.25}
LAW = chinchilla.make(E="any")


@pytest.fixture(scope="module")
def runs():
    """Runs whose losses are all above 0, of a law whose E is below."""
    N, D = (
        side.ravel() for side in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6))
    )
    rng = np.random.default_rng(0)
    loss = LAW.loss(LAW.theta(TRUTH), {"N": N, "D": D}) * np.exp(rng.normal(0, 1e-3, len(N)))
    assert (loss > 0).all()
    return read_runs(
        pd.DataFrame({"N": N, "D": D, "loss": loss}), {k: k for k in ("N", "D", "loss")}
    )


def test_the_fit_ends_below_zero(runs):
    fit = fit_law(runs, "chinchilla", {"E": "any"}, bootstrap=50)
    row = fit.params.set_index("term").loc["E"]
    assert row["ci_low"] < row["estimate"] < row["ci_high"] < 0
    assert row["estimate"] == pytest.approx(TRUTH["E"], abs=0.01)
    summary = fit.summary.loc[0]
    assert summary["status"] == "converged"
    assert summary["n_agree"] >= 49
    positive = fit_law(runs, "chinchilla", bootstrap=0)
    assert positive.values["E"] > 0
    assert summary["objective_value"] < positive.summary.loc[0, "objective_value"]


def test_where_e_is_above_zero_both_are_the_same_law(runs):
    shifted = runs.assign(loss=runs["loss"] + 2.0)
    either = [fit_law(shifted, "chinchilla", {"E": E}, bootstrap=0) for E in ("any", "positive")]
    assert either[0].values == pytest.approx(either[1].values, rel=1e-5)
    assert either[0].allocate(1e21)["N"][0] == pytest.approx(
        either[1].allocate(1e21)["N"][0], rel=1e-5
    )


def test_derivatives_are_those_of_the_loss():
    data = {"N": np.array([1e6, 1e8]), "D": np.array([1e9, 1e10])}
    theta = LAW.theta(TRUTH)
    gradient = LAW.gradient(theta, data)
    for i in range(5):
        step = np.eye(5)[i] * 1e-6
        change = LAW.loss(theta + step, data) - LAW.loss(theta - step, data)
        np.testing.assert_allclose(gradient[:, i], change / 2e-6, rtol=1e-6)
    on_runs = LAW.on(data)
    loss, inner = on_runs.at(theta[None])
    np.testing.assert_allclose(loss[0], LAW.loss(theta, data))
    one, none = np.ones((1, 2)), np.zeros((1, 2))
    np.testing.assert_allclose(
        on_runs.sums(inner, one, none, none).gradient[0], gradient.sum(axis=0)
    )
    hessian = on_runs.sums(inner, one, none, none).hessian[0]
    for i in range(5):
        step = np.eye(5)[i] * 1e-5
        change = LAW.gradient(theta + step, data) - LAW.gradient(theta - step, data)
        np.testing.assert_allclose(
            hessian[i], change.sum(axis=0) / 2e-5, atol=1e-6 * np.abs(hessian).max()
        )


def test_the_law_in_the_scale_of_the_runs_is_the_same_law():
    data = {"N": np.array([1e6, 1e8]), "D": np.array([1e9, 1e10])}
    scales = {"N": np.log(1e7), "D": np.log(3e9)}
    matrix, shift = LAW.rescaling(scales, np.log(2.5))
    inner = matrix @ LAW.theta(TRUTH) + shift
    scaled = {name: values / np.exp(scales[name]) for name, values in data.items()}
    np.testing.assert_allclose(2.5 * LAW.loss(inner, scaled), LAW.loss(LAW.theta(TRUTH), data))


def test_the_exported_file_predicts_the_same(runs, tmp_path):
    fit = fit_law(runs, "chinchilla", {"E": "any"}, bootstrap=0)
    export_fit(fit, tmp_path)
    law = runpy.run_path(str(tmp_path / "law.py"))["law"]
    predicted = law([{"N": 1e8, "D": 1e10}], "all")[0]["loss"]
    assert predicted == pytest.approx(fit.predict(N=1e8, D=1e10)["loss"][0])
