"""Laws fitted to another column of the runs than the loss, such as a local learning coefficient."""

from __future__ import annotations

import runpy

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law

N = np.geomspace(1e3, 1e5, 8)
GROWTH = {"law": "growth", "options": {"variable": "N", "offset": False}, "bootstrap": 30}


@pytest.fixture(scope="module")
def runs(make_runs):
    """Runs of two seeds whose coefficient grows as 0.5 N^0.4, one of them without a value."""
    n = np.tile(N, 2)
    noise = np.exp(0.03 * np.random.default_rng(0).standard_normal(n.size))
    coefficient = 0.5 * n**0.4 * noise
    coefficient[3] = np.nan
    loss = 1.5 + 40 / n**0.5
    return make_runs(n, 1e6, loss, llc_mean=coefficient, llc_status="ok", seed=np.arange(16) // 8)


@pytest.fixture(scope="module")
def fit(runs):
    return fit_law(runs, response="llc_mean", **GROWTH)


def test_a_growing_quantity_is_fitted_in_place_of_the_loss(fit):
    assert fit.values == pytest.approx({"A": 0.5, "gamma": 0.4}, rel=0.1)
    assert fit.responses == ["llc_mean"] and fit.quantity == "llc_mean"
    assert set(fit.params["unit"]) == {"1"}
    assert fit.summary["n_runs"].item() == 15 and fit.summary["n_dropped"].item() == 1
    doubts = fit.findings.set_index("check")["found"]
    assert doubts["diverged"] == "1 of 16 runs have no llc_mean: run3"


def test_reports_say_what_is_fitted_and_not_that_it_is_a_loss(fit, tmp_path):
    (tmp_path / "fit").mkdir()
    files = isoloss.export_fit(fit, tmp_path / "fit")
    texts = [repr(fit), fit._repr_html_(), *(file.read_text() for file in files)]
    assert repr(fit).startswith("growth: llc_mean = A N^γ\n")
    for text in texts:
        assert "llc_mean" in text.replace("\\", "")
        prose = text.partition("import numpy")[0].lower().partition("## bibtex")[0]
        for other in ("isoloss", "a loss falls", "huber loss"):
            prose = prose.replace(other, "")
        assert "nats" not in prose and "loss" not in prose
    law = runpy.run_path(str(files[0]))["law"]
    there = fit.predict(N=1e4)["llc_mean"].item()
    assert law([{"N": 1e4}], "all")[0]["llc_mean"] == pytest.approx(there)


def test_predictions_bear_its_name(fit):
    point = fit.predict(N=[1e4, 1e6])
    assert list(point) == ["N", "llc_mean", "low", "high", "distance", "farthest"]
    assert (point["low"] < point["llc_mean"]).all() and (point["llc_mean"] < point["high"]).all()
    assert point["llc_mean"].iloc[0] == pytest.approx(0.5 * 1e4**0.4, rel=0.05)


def test_a_saved_fit_is_the_same_fit(fit, tmp_path):
    fit.save(tmp_path / "fit")
    again = isoloss.load_fit(tmp_path / "fit")
    assert again == fit and again.quantity == "llc_mean" and repr(again) == repr(fit)


def test_no_budget_is_divided_by_what_is_not_a_loss(runs):
    varied = runs.assign(n_samples=np.tile([1e6, 3e6], 8), n_flops=np.arange(16) + 1e9)
    fit = fit_law(varied, "chinchilla", response="llc_mean", bootstrap=0)
    assert fit.law.allocates and not fit.allocates
    reason = "chinchilla: is fitted to 'llc_mean', and the best of a budget is that of least loss"
    for decide in (fit.allocate, fit.budget_for, fit.data_for):
        with pytest.raises(IsolossError, match=reason):
            decide(1e12)
    with pytest.raises(IsolossError, match=reason):
        fit.gain(1e12, "all", "all")
    with pytest.raises(IsolossError, match="a fit of 'llc_mean' does not give the best N and D"):
        fit.plot("isoloss")


def test_figures_of_one_fit_name_it(fit):
    axes = fit.plot("predicted_observed")
    assert axes.get_xlabel() == "Predicted llc_mean" and axes.get_ylabel() == "Observed llc_mean"
    assert "llc_mean = A N^γ" in axes.get_title(loc="left")
    axes = fit.plot("isoflop_profiles")
    drawn = axes.collections[0].get_offsets()[:, 1]
    assert axes.get_ylabel() == "llc_mean" and drawn.max() > 10
    panels = fit.plot("bootstrap_pairs")
    assert [one.get_xlabel() for one in panels[-2:]] == ["$A$", "$γ$"]


def test_the_fit_of_the_loss_beside_it_is_what_it_was(runs):
    settings = {"options": {"variable": "N"}, "bootstrap": 5}
    fit = fit_law(runs, "power_law", **settings)
    bare = fit_law(runs.drop(columns=["llc_mean", "llc_status"]), "power_law", **settings)
    assert fit.quantity == "loss" and "response" not in fit.facts
    for name in set(fit.tables) - {"points"}:
        pd.testing.assert_frame_equal(fit.tables[name], bare.tables[name])


REFUSED = {
    "an unknown column": ("llc_maen", {}, "no column 'llc_maen'; did you mean 'llc_mean'"),
    "a column of words": ("llc_status", {}, "the column 'llc_status' does not hold numbers"),
    "an empty column": ("budget", {}, "no run has a value of 'budget'"),
    "values below 0": (
        "signed",
        {},
        "2 of 16 runs have a 'signed' that is not above 0: run0, run9",
    ),
    "a letter of the law": ("N", {}, "'N' has a meaning of its own"),
    "an end of an interval": ("low", {}, "'low' has a meaning of its own"),
    "a size": ("n_params", {}, "'n_params' is a setting or a label of runs"),
    "several columns": (["llc_mean"], {}, "no column ['llc_mean']"),
    "values beyond floats": (
        "huge",
        {},
        "'huge' is 9.69e+200 to 4.06e+201 in size; take a unit in which",
    ),
    "values that vanish": ("tiny", {}, "it is 1e-100 to 1e+100"),
    "infinite values": ("endless", {}, "no run has a value of 'endless'"),
    "no name": ("", {}, "no column ''"),
    "a law of mixtures": ("llc_mean", {"law": "log_linear"}, "one of the losses by domain"),
    "a frontier": ("llc_mean", {"law": "envelope"}, "one of the least loss of every budget"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_fitted_is_refused_with_the_reason(runs, case):
    response, settings, reason = REFUSED[case]
    signed = runs["llc_mean"].fillna(1.0).mask(runs["run_id"].isin(["run0", "run9"]), -0.1)
    size = 30 + runs["n_params"] / 1e3
    scaled = {"huge": 3.125e199 * size, "tiny": 1e-200 * size, "N": size, "low": size}
    given = runs.assign(signed=signed, endless=np.inf, **scaled)
    asked = {**GROWTH, **settings}
    if settings:
        asked.pop("options")
    with pytest.raises(IsolossError) as told:
        fit_law(given, response=response, **asked)
    assert reason in str(told.value)


def test_runs_with_values_above_zero_are_fitted_where_they_are_selected(runs):
    some = runs.assign(llc_mean=runs["llc_mean"].mask(runs["run_id"] == "run0", -0.1))
    fit = fit_law(some, response="llc_mean", where="llc_mean > 0", **GROWTH)
    assert fit.summary["n_runs"].item() == 14 and fit.summary["n_dropped"].item() == 2


def test_values_far_from_1_are_fitted_as_those_near_it(runs):
    far = runs.assign(llc_mean=1e90 * runs["llc_mean"].astype("Float64"))
    fit = fit_law(far, response="llc_mean", **GROWTH)
    assert fit.values["A"] == pytest.approx(0.5e90, rel=0.1)
    assert fit.summary["n_dropped"].item() == 1
