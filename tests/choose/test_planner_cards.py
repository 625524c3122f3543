"""What each planner card chooses, beside the contract that all of them keep."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law
from isoloss.planners._ensemble import Ensemble, Grid, grid
from isoloss.planners._planner import State

LARGEST = 1e20  # FLOP, of the runs of `chinchilla_runs`


@pytest.fixture(scope="module")
def runs(chinchilla_runs):
    return chinchilla_runs(noise=0.01, seed=3)


@pytest.fixture(scope="module")
def fit(runs):
    return fit_law(runs, "chinchilla", bootstrap=200)


def state_of(fit, runs, **changes) -> State:
    flops = runs["n_flops_6nd"]
    known = {"spent": flops.sum(), "largest": flops.max(), "left": None, "target": None}
    return State(fit, runs, **{**known, "seed": 0, **changes})


def chosen(name: str, state: State, **options) -> list:
    card = registry.card("planner", name)
    return card.choose(state, **{**registry.defaults("planner", name), **options})


def test_sizes_of_one_budget_reach_beyond_both_ends_of_the_interval(fit, runs):
    state = state_of(fit, runs)
    best, sizes = state.optimum(3 * LARGEST), chosen("isoflop", state, factor=3, runs=5)
    np.testing.assert_allclose([choice.flops for choice in sizes], 3 * LARGEST)
    n = sorted(choice.n_params for choice in sizes)
    np.testing.assert_allclose([n[0], n[-1]], [best.n_low / 2, best.n_high * 2])
    np.testing.assert_allclose(np.diff(np.log(n)), np.log(n[1] / n[0]))
    off = [abs(np.log(choice.n_params / best.n_params)) for choice in sizes]
    assert off == sorted(off)


@pytest.mark.parametrize("bootstrap", [0, 200])
def test_sizes_of_one_budget_stay_near_the_optimum_where_it_is_not_known(bootstrap, runs):
    state = state_of(fit_law(runs, "chinchilla", bootstrap=bootstrap), runs)
    best = state.optimum(2 * LARGEST)
    n = [choice.n_params for choice in chosen("isoflop", state, beyond=100, widest=1.5)]
    np.testing.assert_allclose(sorted(n), best.n_params * np.array([1 / 1.5, 1, 1.5]))


def test_candidates_lie_within_what_the_runs_reach_and_the_budget_of_the_round(fit, runs):
    possible = grid(state_of(fit, runs), 2.0)
    assert possible.flops.max() == pytest.approx(2 * LARGEST)
    assert possible.flops.min() >= runs["n_flops_6nd"].min() * (1 - 1e-9)
    assert possible.n_params.min() >= runs["n_params"].min()
    assert possible.n_samples.min() >= runs["n_samples"].min()
    ratios, before = possible.n_samples / possible.n_params, runs["n_samples"] / runs["n_params"]
    assert before.min() / 2 <= ratios.min() * 1.001 and ratios.max() <= 2 * before.max() * 1.001


def test_what_a_run_teaches_is_its_share_of_the_variance_and_is_learned_once(fit, runs):
    state, run = state_of(fit, runs), Grid(np.array([1e9, 1e9]), np.array([1e10, 1e10]))
    ensemble = Ensemble(state, run, 1e22)
    before, gain, of_loss = ensemble.variance(), ensemble.gain(), ensemble.disagreement()
    assert 0 < gain[0] < before
    ensemble.learn(0)
    assert ensemble.variance() == pytest.approx(before - gain[0])
    # the precision of a loss grows by that of the run, and so do those of the same run
    np.testing.assert_allclose(1 / ensemble.disagreement(), 1 / of_loss + 1 / ensemble.noise)
    assert ensemble.gain()[1] < gain[1]


def test_the_noise_is_that_of_the_runs_around_the_law(fit, runs):
    ensemble = Ensemble(state_of(fit, runs), Grid(np.array([1e9]), np.array([1e10])), 1e22)
    assert ensemble.noise**0.5 == pytest.approx(0.01, rel=0.3)


@pytest.mark.parametrize("name", ["least_variance", "disagreement"])
def test_runs_chosen_in_turn_cost_no_more_together_than_the_factor(name, fit, runs):
    choices = chosen(name, state_of(fit, runs, target=1e22), factor=1.5, runs=30)
    assert 1 < len(choices) == len({(choice.n_params, choice.n_samples) for choice in choices})
    assert sum(choice.flops for choice in choices) <= 1.5 * LARGEST * (1 + 1e-6)
    assert "shrink the SD of ln N at C = 1e22 FLOP from" in choices[0].reason


def test_the_first_run_of_least_variance_tells_most_for_its_compute(fit, runs):
    state = state_of(fit, runs, target=1e22)
    possible = grid(state, 2.0)
    rate = Ensemble(state, possible, 1e22).gain() / possible.flops
    (first,) = chosen("least_variance", state, runs=1)
    assert first.n_params == pytest.approx(possible.n_params[np.argmax(rate)])


@pytest.mark.parametrize("name", ["least_variance", "disagreement"])
def test_without_replicates_there_is_nothing_to_weigh(name, runs):
    without = fit_law(runs, "chinchilla", bootstrap=0)
    with pytest.raises(IsolossError, match=r"0 of 0 replicates .*; give the fit more `bootstrap`"):
        chosen(name, state_of(without, runs))
