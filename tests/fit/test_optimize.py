"""The search: what it ends at is an optimum, the best one, of whatever is asked of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from isoloss.core import registry
from isoloss.core.matrices import cholesky_solve
from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law, optimize, resample
from isoloss.fit.descent import alone, minimise
from isoloss.fit.objectives import OBJECTIVES, Objective
from isoloss.fit.optimize import may_lie_below, refit
from isoloss.fit.prepare import variables
from isoloss.fit.solve import Constraints, Optimum


@pytest.fixture(scope="module")
def solved(chinchilla_runs):
    """A maker of optima of the Chinchilla law on noisy runs."""

    def solve(name="huber_log", delta=1e-3, seed=0, noise=0.01, **constraints):
        runs = chinchilla_runs(noise=noise, seed=seed)
        law = registry.card("law", "chinchilla").make()
        loss = runs["loss"].to_numpy(float)
        data, ones = variables(runs, law.variables), np.ones(len(loss))
        return Optimum(law, data, loss, ones, Objective(name, delta), Constraints(**constraints))

    return solve


def value(optimum, free, weight):
    """The objective, computed from scratch."""
    return float(optimum.problem.penalties(np.asarray(free)[None])[0] @ weight)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_point_near_an_end_is_lower(solved, name):
    optimum = solved(name)
    best = optimum.ends.free[0]
    assert optimum.converged[0]
    here = value(optimum, best, optimum.weight)
    assert here == pytest.approx(optimum.ends.objective[0], rel=1e-12)
    rng = np.random.default_rng(0)
    for size in (1e-6, 1e-4, 1e-2):
        for _ in range(30):
            there = best + size * rng.standard_normal(len(best))
            assert value(optimum, there, optimum.weight) >= here * (1 - 1e-12)


@pytest.mark.parametrize("name", ["huber_log", "log_mse", "mse", "huber"])
def test_a_search_of_another_library_from_there_finds_nothing_lower(solved, name):
    optimum = solved(name, delta=0.01)
    best = optimum.ends.free[0]
    result = minimize(
        lambda free: value(optimum, free, optimum.weight), best, method="Nelder-Mead",
        options={"xatol": 1e-10, "fatol": 1e-16, "maxiter": 4000},
    )  # fmt: skip
    assert result.fun >= optimum.ends.objective[0] * (1 - 1e-9)


def test_every_replicate_is_a_global_optimum(solved):
    """Each is as low as the best of all starts of the grid, descended for it alone."""
    optimum = solved(noise=0.02)
    count = len(optimum.weight)
    rng = np.random.default_rng(3)
    weight = rng.multinomial(count, np.full(count, 1 / count), size=12).astype(float)
    refits = refit(optimum.problem, optimum.ends, weight)
    assert refits.converged.all()
    for i, row_weight in enumerate(weight):
        each = minimise(optimum.problem, optimum.begin, row_weight)
        assert refits.objective[i] <= each.objective.min() * (1 + 1e-9)


def test_replicates_with_losses_of_their_own_are_fits_of_those(solved):
    optimum = solved()
    rng = np.random.default_rng(0)
    losses = optimum.size * optimum.problem.loss * np.exp(0.01 * rng.standard_normal((5, 35)))
    weight = np.broadcast_to(optimum.weight, losses.shape)
    replicates = optimum.replicates(weight, losses)
    assert replicates.converged.all()
    law, data = optimum.law, optimum.scale
    assert data.loss != 0
    for theta, loss in zip(replicates.estimates.theta, losses, strict=True):
        own = optimum.problem.law_on_runs.data
        raw = {k: v * np.exp(data.variables[k]) for k, v in own.items()}
        alone = Optimum(law, raw, loss, optimum.weight, optimum.objective, Constraints())
        np.testing.assert_allclose(theta, alone.theta, rtol=1e-6)


def test_the_end_of_a_start_does_not_depend_on_its_companions(solved):
    optimum = solved()
    together = minimise(optimum.problem, optimum.begin, optimum.weight)
    for i in (0, 7, 23):
        alone = minimise(optimum.problem, optimum.begin[i : i + 1], optimum.weight)
        np.testing.assert_allclose(alone.free[0], together.free[i], rtol=1e-9, atol=1e-9)


def test_fixed_tied_and_bounded_terms_stay_where_they_are_held(solved):
    held = solved(fixed={"E": 1.65}, tied=[["alpha", "beta"]], bounds={"A": [100, 110]})
    e, a, _, alpha, beta = held.theta
    assert np.exp(e) == pytest.approx(1.65, rel=1e-12)
    assert alpha == pytest.approx(beta, rel=1e-12)
    assert 100 * (1 - 1e-12) <= np.exp(a) <= 110 * (1 + 1e-12)
    free = solved()
    assert held.ends.objective[0] > free.ends.objective[0]
    tied = solved(tied=[["A", "B"]])
    assert tied.theta[1] == pytest.approx(tied.theta[2], rel=1e-12)
    open_ = solved(bounds={"alpha": [0.2, None]})
    np.testing.assert_allclose(open_.theta, free.theta, rtol=1e-8)


def test_units_do_not_matter(solved, chinchilla_runs):
    law = registry.card("law", "chinchilla").make()
    runs = chinchilla_runs(noise=0.01)
    base = solved()
    for scale_n, scale_d, scale_l in ((1e-6, 1.0, 1.0), (1.0, 1e-9, 1e6), (1e12, 1e12, 1e-8)):
        data = {"N": runs["n_params"] * scale_n, "D": runs["n_samples"] * scale_d}
        data = {k: v.to_numpy(float) for k, v in data.items()}
        loss = runs["loss"].to_numpy(float) * scale_l
        other = Optimum(law, data, loss, base.weight, Objective(), Constraints())
        assert other.converged[0]
        np.testing.assert_allclose(other.theta[3:], base.theta[3:], rtol=1e-7)
        assert np.exp(other.theta[0]) == pytest.approx(np.exp(base.theta[0]) * scale_l, rel=1e-7)


@settings(max_examples=40)
@given(size=st.integers(1, 7), seed=st.integers(0, 1000))
def test_small_systems_are_solved_and_indefinite_ones_told(size, seed):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((4, size, size + 2))
    matrix = root @ np.swapaxes(root, -1, -2)
    matrix[3] -= 2 * np.linalg.eigvalsh(matrix[3])[-1] * np.eye(size)
    right = rng.standard_normal((4, size))
    solution, sound = cholesky_solve(matrix, right)
    np.testing.assert_array_equal(sound, [True, True, True, False])
    for i in range(3):
        np.testing.assert_allclose(matrix[i] @ solution[i], right[i], atol=1e-8)


def test_a_group_that_is_one_cluster_cannot_be_drawn_with_others_that_share(chinchilla_runs):
    seeds = np.arange(35) % 5
    sides = [chinchilla_runs(noise=0.002, seed=seed).assign(group=g) for seed, g in enumerate("ab")]
    both = pd.concat([sides[0].assign(depth=seeds), sides[1].assign(depth=7)], ignore_index=True)
    both["run_id"] = [f"run{i}" for i in range(len(both))]
    asked = {"shared": ["alpha"], "cluster": "depth"}
    with pytest.raises(IsolossError, match="cluster: all runs of b have one 'depth'"):
        fit_law(both, "chinchilla", bootstrap=10, **asked)
    assert set(fit_law(both, "chinchilla", bootstrap=0, **asked).summary["status"]) == {"converged"}
    apart = fit_law(both, "chinchilla", bootstrap=10, cluster="depth").summary.set_index("group")
    assert list(apart["n_replicates"]) == [10, 0]
    assert "no intervals: all runs are one cluster" in apart.loc["b", "message"]


def test_groups_that_share_terms_have_them_in_common_and_the_rest_of_their_own(chinchilla_runs):
    a = chinchilla_runs(noise=0.002).assign(group="a")
    b = chinchilla_runs(noise=0.002, seed=1, offset=2.2).assign(group="b")
    b["run_id"] += "b"
    both = pd.concat([a, b], ignore_index=True)
    fit = fit_law(both, "chinchilla", shared=["alpha", "beta", "A", "B"], bootstrap=40)
    one, two = (fit.rows_of("params", g).set_index("term") for g in "ab")
    for term in ("alpha", "beta", "A", "B"):
        assert one.loc[term, "estimate"] == pytest.approx(two.loc[term, "estimate"], rel=1e-9)
        assert one.loc[term, "ci_low"] == pytest.approx(two.loc[term, "ci_low"], rel=1e-9)
    assert one.loc["E", "estimate"] == pytest.approx(1.7, rel=0.02)
    assert two.loc["E", "estimate"] == pytest.approx(2.2, rel=0.02)
    assert set(fit.summary["status"]) == {"converged"}
    # the same runs in both groups: what is shared is what one group alone finds
    twins = pd.concat([a, a.assign(group="b", run_id=a["run_id"] + "b")], ignore_index=True)
    shared = fit_law(twins, "chinchilla", shared=["alpha"], bootstrap=0)
    alone = fit_law(a, "chinchilla", bootstrap=0)
    for group in "ab":
        np.testing.assert_allclose(shared.theta(group), alone.theta(), rtol=1e-7)
    with pytest.raises(IsolossError, match="did you mean 'alpha'"):
        fit_law(both, "chinchilla", shared=["alhpa"], bootstrap=0)
    with pytest.raises(IsolossError, match="neither profiles nor folds"):
        fit_law(both, "chinchilla", shared=["alpha"], holdout="random", bootstrap=0)


def test_a_function_of_ones_own_is_minimised_too(chinchilla_runs):
    runs = chinchilla_runs(noise=0.01)
    ours = fit_law(runs, "chinchilla", objective="log_mse", bootstrap=20)
    theirs = fit_law(runs, "chinchilla", objective=np.square, bootstrap=20)
    np.testing.assert_allclose(theirs.theta(), ours.theta(), rtol=1e-5)
    np.testing.assert_allclose(theirs.params["ci_low"], ours.params["ci_low"], rtol=1e-3)
    assert "callable" in theirs.summary.loc[0, "objective"]

    def cauchy(residual):
        return np.log1p((residual / 0.01) ** 2)

    fit = fit_law(runs, "chinchilla", objective=cauchy, bootstrap=0)
    assert fit.summary.loc[0, "status"] == "converged"


@pytest.mark.parametrize("size", [1e-300, 1e-12, 1.0, 1e200])
@pytest.mark.parametrize("seed", range(5))
def test_no_replicate_whose_objective_is_lower_elsewhere_is_missed(seed, size):
    rng = np.random.default_rng(seed)
    penalties = size * np.exp(rng.normal(scale=4, size=(300, 30)))
    penalties[rng.random(penalties.shape) < 0.01] = np.inf
    weight = rng.multinomial(30, np.full(30, 1 / 30), size=300) * rng.random(30)
    value = np.where(weight[:, None] > 0, penalties[None], 0.0) * weight[:, None]
    value = value.sum(axis=-1)  # of every point, for every replicate
    np.fill_diagonal(value, np.inf)
    lowest = value.min(axis=1)
    limit = lowest * np.where(rng.random(300) < 0.5, 1 + 1e-12, 0.5)  # half of them are lower
    positions = may_lie_below(penalties, weight, limit, own=True)
    assert set(np.flatnonzero(lowest < limit)) <= set(positions)
    assert len(positions) < 250


def test_a_start_that_cannot_reach_the_best_end_any_more_stops():
    rng, card = np.random.default_rng(0), registry.card("law", "chinchilla")
    theta = card.make().theta(card.PRESETS["hoffmann"]["values"])
    flops, ratio = np.exp(rng.uniform(np.log([[1e15], [10]]), np.log([[1e16], [100]]), (2, 100)))
    data = {"N": np.sqrt(flops / 6 / ratio), "D": np.sqrt(flops / 6 * ratio)}
    loss = card.make().loss(theta, data) + rng.exponential(0.1, 100)
    objective = Objective("asymmetric_mae", smooth=1e-4)
    laws = {"any": card.make(E="any"), "positive": card.make()}
    optima = {
        name: Optimum(law, data, loss, np.ones(100), objective, Constraints())
        for name, law in laws.items()
    }
    problem, begin = optima["any"].problem, optima["any"].begin[::4]
    each = minimise(problem, begin, np.ones(100))
    rivals = minimise(problem, begin, np.ones(100), rivals=True)
    assert rivals.iterations.sum() < 0.9 * each.iterations.sum()
    assert each.converged.all() and not rivals.converged.all()
    assert rivals.objective.min() <= each.objective.min() * (1 + 1e-9)
    ends = optima["any"].ends
    assert optima["any"].objective_value == pytest.approx(optima["positive"].objective_value, 1e-9)
    assert ends.objective[0] <= each.objective.min() * (1 + 1e-9)


def test_replicates_at_a_bound_take_few_steps(solved):
    fit = solved(bounds={"alpha": (None, 0.2), "beta": (0.5, None)})
    count = len(fit.weight)
    weight = resample.weights(np.ones(count), np.arange(count), 200, np.random.default_rng(0))
    ends, converged = alone(fit.refitting(weight, None))
    assert fit.at_bound() == [False, False, False, True, True] and converged.all()
    assert ends.iterations.mean() < 18.5


def test_replicates_with_own_losses_try_few_of_the_ends(chinchilla_runs, monkeypatch):
    calls, own = [], optimize._own
    monkeypatch.setattr(optimize, "_own", lambda *args: calls.append(1) or own(*args))
    fit = fit_law(chinchilla_runs(noise=0.01), "chinchilla", interval="residual", bootstrap=300)
    assert fit.summary.loc[0, "n_replicates_converged"] == 300
    assert len(calls) <= 8 * optimize.TRIED
