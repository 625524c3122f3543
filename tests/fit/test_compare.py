"""Laws beside each other, one law under other choices, two arms, and decisions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law
from isoloss.fit.compare import compare_laws, sensitivity


@pytest.fixture(scope="module")
def runs(chinchilla_runs):
    """Runs of the Chinchilla law with little noise."""
    return chinchilla_runs(noise=0.003)


@pytest.fixture(scope="module")
def arms(chinchilla_runs):
    """Two groups; the second reaches every loss with half the compute of the first."""
    a = chinchilla_runs(noise=1e-4).assign(group="a")
    b = chinchilla_runs(noise=1e-4, seed=1).assign(group="b")
    # the same losses from a model and data smaller by the square root of 2 each
    b["n_params"], b["n_samples"] = b["n_params"] / np.sqrt(2), b["n_samples"] / np.sqrt(2)
    b["n_flops"] = b["n_flops_6nd"] = 6 * b["n_params"] * b["n_samples"]
    b["run_id"] += "b"
    return pd.concat([a, b], ignore_index=True)


@pytest.mark.parametrize("holdout", ["largest_compute", {"rule": "random", "repeats": 3}])
def test_the_law_that_made_the_runs_comes_first(runs, holdout):
    laws = {"chinchilla": {}, "kaplan": {}, "in C": {"law": "power_law"}, "tied": {
        "law": "chinchilla", "tied": [["alpha", "beta"]]}}  # fmt: skip
    ranking = compare_laws(runs, laws, holdout=holdout)
    assert ranking.loc[0, "law"] == "chinchilla"
    assert set(ranking["law"]) == set(laws)
    assert ranking["log_error"].is_monotonic_increasing
    assert ranking.loc[0, "aicc_above_best"] == 0
    assert (ranking["aicc_above_best"] >= 0).all()
    assert (ranking["folds"] == (1 if holdout == "largest_compute" else 3)).all()


def test_a_law_that_cannot_be_fitted_says_why_and_the_others_are_compared(runs):
    ranking = compare_laws(runs, ["chinchilla", "data_constrained"])
    lost = ranking[ranking["law"] == "data_constrained"].iloc[0]
    assert "variable U" in lost["status"]
    assert ranking.loc[ranking["law"] == "chinchilla", "status"].item() == "converged"


def test_sensitivity_has_the_fit_as_it_is_and_every_variant(runs):
    both = runs.assign(n_params_nonembed=0.8 * runs["n_params"])
    variants = sensitivity(both, "chinchilla", bootstrap=40)
    as_it_is = variants[variants["variant"] == "as it is"]
    assert (as_it_is["change"] == 0).all()
    names = set(variants["variant"])
    assert "without the 5 % of highest loss" in names and "N without embeddings" in names
    other = variants[variants["variant"] == "N without embeddings"].set_index("term")
    # a constant factor in N moves A alone, by its power
    base = as_it_is.set_index("term")["estimate"]
    assert other.loc["alpha", "estimate"] == pytest.approx(base["alpha"], rel=1e-6)
    expected = base["A"] * 0.8 ** base["alpha"]
    assert other.loc["A", "estimate"] == pytest.approx(expected, rel=1e-5)
    fewer = variants[variants["variant"] == "without the 5 % of highest loss"]
    assert (fewer["n_runs"] < len(runs)).all()
    own = sensitivity(runs, "chinchilla", keep={"big": "N > 1e8"}, conventions={}, bootstrap=0)
    assert set(own["variant"]) == {"as it is", "big"}


def test_the_gain_of_an_arm_is_the_compute_it_saves(arms):
    fit = fit_law(arms, "chinchilla", bootstrap=60)
    gain = fit.gain([1e19, 1e20], "a", "b")
    for row in gain.itertuples():
        assert row.gain == pytest.approx(2.0, rel=0.02)
        assert row.gain_low < row.gain < row.gain_high
    back = fit.gain(1e19, "b", "a")
    assert back["gain"].item() == pytest.approx(0.5, rel=0.02)


def test_decisions_are_inverses_of_each_other(runs):
    fit = fit_law(runs, "chinchilla", bootstrap=30)
    best = fit.allocate(1e21).iloc[0]
    there = fit.budget_for(best["loss"]).iloc[0]
    assert there["C"] == pytest.approx(1e21, rel=1e-6)
    assert there["C_low"] < there["C"] < there["C_high"]
    data = fit.data_for(best["N"]).iloc[0]
    assert data["D"] == pytest.approx(best["D"], rel=1e-6)
    assert data["D_low"] < data["D"] < data["D_high"]
    nowhere = fit.budget_for(0.1).iloc[0]  # below the irreducible loss
    assert np.isnan(nowhere["C"])


def test_how_far_outside_the_runs_an_answer_lies_is_told(runs):
    fit = fit_law(runs, "chinchilla", bootstrap=0)
    n, d = runs["n_params"].max(), runs["n_samples"].max()
    predictions = fit.predict(N=[n, 2 * n, n], D=[d, d, 5 * d])
    np.testing.assert_allclose(predictions["distance"], [1, 2, 5])


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda f: f.predict(N=1e9), "variable D: not given"),
        (lambda f: f.predict(N=1e9, D=1e9, tokens=3), "not one of the law"),
        (lambda f: f.predict("b", N=1e9, D=1e9), "no such fit"),
    ],
)
def test_a_question_that_has_no_answer_is_told(runs, ask, message):
    with pytest.raises(IsolossError) as error:
        ask(fit_law(runs, "chinchilla", bootstrap=0))
    assert message in str(error.value)


def test_a_law_in_one_variable_divides_no_budget(runs):
    with pytest.raises(IsolossError, match="does not give the best N and D of a budget"):
        fit_law(runs, "power_law", bootstrap=0).allocate(1e20)


@pytest.mark.parametrize("interval", ["bootstrap", "residual", "parametric", "profile"])
def test_intervals_hold_the_truth_and_say_how_they_were_made(chinchilla_runs, truth, interval):
    fit = fit_law(chinchilla_runs(noise=0.003), "chinchilla", interval=interval, bootstrap=200)
    for row in fit.params.itertuples():
        assert row.ci_low < row.estimate < row.ci_high
        middle = (row.ci_high - row.ci_low) / 2
        assert abs(row.estimate - truth[row.term]) < 4 * middle, row.term
    words = {"bootstrap": "over runs", "profile": "profile likelihood"}
    assert words.get(interval, interval) in fit.params.loc[0, "ci_method"]
    assert len(fit.profiles) == (125 if interval == "profile" else 0)


def test_the_noise_of_clusters_widens_profiles_and_one_cluster_has_no_intervals(chinchilla_runs):
    settings = {"interval": "profile", "bootstrap": 0, "objective": "log_mse"}
    wider = []
    for seed in range(4):
        runs = chinchilla_runs(noise=0.002, seed=seed)
        batch = np.arange(len(runs)) // 4
        shared = np.random.default_rng(seed).standard_normal(batch.max() + 1)
        runs = runs.assign(batch=batch, whole=1)
        runs["loss"] *= np.exp(0.004 * shared[batch])
        apart, together = (
            fit_law(runs, "chinchilla", cluster=cluster, **settings) for cluster in (None, "batch")
        )
        wide, narrow = (np.log(f.params["ci_high"] / f.params["ci_low"]) for f in (together, apart))
        wider.append(np.log(wide / narrow).mean())
    assert np.mean(wider) > 0.1
    assert "by batch" in together.params.loc[0, "ci_method"]
    for interval in ("profile", "bootstrap"):
        alone = fit_law(runs, "chinchilla", cluster="whole", interval=interval, bootstrap=20)
        assert alone.params[["ci_low", "ci_high"]].isna().all(axis=None)
        assert set(alone.params["ci_method"]) == {"none"}
        assert "no intervals: all runs are one cluster" in alone.summary.loc[0, "message"]
    with pytest.raises(IsolossError, match=r"draws one by one.*bootstrap or profile"):
        fit_law(runs, "chinchilla", cluster="batch", interval="residual")


def test_a_cluster_of_one_run_is_a_run(chinchilla_runs):
    runs = chinchilla_runs(noise=0.01)
    settings = {"interval": "profile", "bootstrap": 0}
    one, other = (
        fit_law(runs, "chinchilla", cluster=cluster, **settings) for cluster in (None, "run_id")
    )
    pd.testing.assert_frame_equal(one.profiles, other.profiles)


@pytest.mark.parametrize(
    ("interval", "settings", "note"),
    [
        ("bootstrap", {}, ""),
        ("parametric", {}, "in simulations of 24 runs such intervals of 95 % held"),
        (
            "bootstrap",
            {"cluster": "batch"},
            "fewer than in any design whose coverage was tested (8)",
        ),
        ("none", {}, ""),
        ("parametric", {"bootstrap": 0}, ""),
    ],
)
def test_intervals_that_cover_too_little_in_simulations_are_told(
    chinchilla_runs, interval, settings, note
):
    runs = chinchilla_runs(noise=0.01)
    runs = runs.assign(batch=np.arange(len(runs)) // 10)
    settings = {"bootstrap": 20, "delta": 0.01, **settings}
    fit = fit_law(runs, "chinchilla", interval=interval, **settings)
    message = fit.summary.loc[0, "message"]
    assert note in message if note else "simulations" not in message and "tested" not in message


def test_clusters_are_drawn_together(chinchilla_runs):
    runs = chinchilla_runs(noise=0.0)
    budget = runs.groupby("budget").ngroup()
    shared = np.random.default_rng(0).standard_normal(budget.max() + 1)
    runs["loss"] *= np.exp(0.01 * shared[budget])
    apart = fit_law(runs, "chinchilla", objective="log_mse", bootstrap=200)
    together = fit_law(runs, "chinchilla", objective="log_mse", bootstrap=200, cluster="budget")
    assert "over budget" in together.params.loc[0, "ci_method"]
    assert not np.allclose(apart.params["std_error"], together.params["std_error"], rtol=0.05)
    with pytest.raises(IsolossError, match="no column 'budgets'"):
        fit_law(runs, "chinchilla", cluster="budgets", bootstrap=5)


def test_a_convention_may_replace_a_column_of_any_name(chinchilla_runs):
    runs = chinchilla_runs().assign(**{"index": 1.0})
    runs["self"] = 1.0
    variants = sensitivity(
        runs, "chinchilla", keep={}, conventions={"own": {"self": "index"}}, bootstrap=0
    )
    assert set(variants["variant"]) == {"as it is", "own"}
    assert (variants["change"] == 0).all()
