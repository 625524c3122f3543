"""A fit in use: predictions, allocations, and files."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import ndtr, ndtri

from isoloss.core.problems import TableError
from isoloss.fit import fit_law
from isoloss.fitted import TABLES, load_fit, quantiles


@pytest.fixture(scope="module")
def fit(chinchilla_runs):
    """A fit to nearly clean runs, with a small bootstrap."""
    return fit_law(chinchilla_runs(noise=0.003), "chinchilla", bootstrap=30)


def test_predictions_follow_the_formula_inside_their_intervals(fit):
    n, d = np.array([1e7, 1e9, 3e10]), np.array([1e9, 1e11, 5e11])
    predictions = fit.predict(N=n, D=d)
    p = dict(zip(fit.params["term"], fit.params["estimate"], strict=True))
    expected = p["E"] + p["A"] / n ** p["alpha"] + p["B"] / d ** p["beta"]
    np.testing.assert_allclose(predictions["loss"], expected, rtol=1e-12)
    assert (predictions["low"] <= predictions["loss"]).all()
    assert (predictions["loss"] <= predictions["high"]).all()
    assert (predictions["low"] < predictions["high"]).all()
    wider = fit.predict(N=n, D=d, level=0.99)
    assert ((wider["low"] <= predictions["low"]) & (predictions["high"] <= wider["high"])).all()


@pytest.mark.parametrize("flops", [1e17, 1e21, 5.76e23])
def test_allocations_are_the_numeric_optimum_inside_their_intervals(fit, flops):
    allocation = fit.allocate(flops).iloc[0]
    best = minimize_scalar(
        lambda log_n: fit.predict(N=np.exp(log_n), D=flops / 6 / np.exp(log_n))["loss"].item(),
        bounds=np.log([1e3, flops / 6e3]),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert allocation["N"] == pytest.approx(np.exp(best.x), rel=1e-4)
    assert allocation["loss"] == pytest.approx(best.fun, rel=1e-10)
    assert 6 * allocation["N"] * allocation["D"] == pytest.approx(flops, rel=1e-12)
    assert allocation["tokens_per_parameter"] == pytest.approx(
        allocation["D"] / allocation["N"], rel=1e-12
    )
    for name in ("N", "D", "tokens_per_parameter", "loss"):
        assert allocation[f"{name}_low"] <= allocation[name] <= allocation[f"{name}_high"]
    assert allocation["replicates"] == len(fit.replicate_thetas())


def test_many_budgets_are_a_row_each(fit):
    table = fit.allocate([1e18, 1e20, 1e22])
    assert list(table["C"]) == [1e18, 1e20, 1e22]
    assert table["N"].is_monotonic_increasing and table["loss"].is_monotonic_decreasing
    pd.testing.assert_frame_equal(table.iloc[[1]].reset_index(drop=True), fit.allocate(1e20))


def test_without_a_bootstrap_intervals_are_empty_not_wrong(chinchilla_runs):
    fit = fit_law(chinchilla_runs(noise=0.003), "chinchilla", bootstrap=0)
    assert fit.predict(N=1e9, D=1e11)[["low", "high"]].isna().all().all()
    best = fit.allocate(1e21)
    assert best.filter(regex="_(low|high)$").isna().all().all()
    assert best["N"].item() > 0 and best["replicates"].item() == 0


def test_a_fit_that_was_saved_is_loaded_as_it_was(fit, tmp_path):
    fit.save(tmp_path / "fit", study="s")
    again = load_fit(tmp_path / "fit")
    for name in TABLES:
        columns = list(again.tables[name].columns)
        pd.testing.assert_frame_equal(
            again.tables[name],
            fit.tables[name][columns],
            check_dtype=len(fit.tables[name]) > 0,
        )
    assert again == fit
    assert again.law == fit.law
    assert again.facts["study"] == "s"
    pd.testing.assert_frame_equal(again.allocate(1e21), fit.allocate(1e21))
    assert sorted(file.stem for file in (tmp_path / "fit").iterdir()) == sorted(TABLES)


@pytest.mark.parametrize("bootstrap", [0, 2])
def test_options_of_the_law_are_saved_with_the_fit(chinchilla_runs, tmp_path, bootstrap):
    settings = {"options": {"variable": "D"}, "bootstrap": bootstrap}
    fit = fit_law(chinchilla_runs(noise=0.01), "power_law", **settings)
    fit.save(tmp_path)
    assert load_fit(tmp_path).law == fit.law
    assert load_fit(tmp_path).law.variables == ("D",)


def test_loading_from_where_no_fit_is_says_what_is_missing(tmp_path):
    with pytest.raises(TableError, match=r"params\.parquet: no such file"):
        load_fit(tmp_path)


def test_quantiles_of_nothing_are_not_numbers():
    low, high = quantiles(np.empty((0, 3)), 0.95)
    assert low.shape == high.shape == (3,)
    assert np.isnan([low, high]).all()
    assert quantiles(np.arange(101.0), 0.9) == pytest.approx((5, 95))


def test_percentiles_are_corrected_for_the_median_bias_of_the_replicates():
    values = np.arange(101.0)
    plain = quantiles(values, 0.9)
    assert quantiles(values, 0.9, 50.0) == pytest.approx(plain)  # in the middle: nothing to correct
    z = ndtri((np.sum(values < 60) + 0.5) / 101)
    ends = 100 * ndtr(2 * z + ndtri(np.array([0.05, 0.95])))
    assert quantiles(values, 0.9, 60.0) == pytest.approx(ends)
    far = quantiles(values, 0.9, 1e9)  # corrected in part: an interval is left
    assert far[0] < far[1] <= 100
    many = quantiles(np.stack([values, values[::-1] + 7], axis=-1), 0.9, np.array([60.0, 67.0]))
    np.testing.assert_allclose(many[0], [ends[0], ends[0] + 7])
    np.testing.assert_allclose(many[1], [ends[1], ends[1] + 7])
