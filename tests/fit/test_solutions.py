"""However a law is fitted, tables read the same from it: estimate, evidence and replicates."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.core import registry
from isoloss.fit.objectives import Objective
from isoloss.fit.prepare import variables
from isoloss.fit.shared import SharedOptimum
from isoloss.fit.solution import Solution, join_replicates
from isoloss.fit.solve import Constraints, Optimum, solve

SHARED = ("E", "alpha")
KINDS = ("optimum", "shared", "estimator")


def parts_of(runs, law):
    """Data, losses and weights of runs."""
    data = variables(runs, law.variables)
    return data, runs["loss"].to_numpy(float), np.ones(len(runs))


@pytest.fixture(scope="module")
def groups(chinchilla_runs):
    """A maker of two groups of runs that differ in their noise, as parts of the Chinchilla law."""

    def make(law, noise=0.01):
        return [parts_of(chinchilla_runs(noise=noise, seed=seed), law) for seed in (1, 2)]

    return make


@pytest.fixture(scope="module")
def solution(groups):
    """A maker of a solution of every kind."""

    def make(kind) -> Solution:
        card = "isoflop_parabolas" if kind == "estimator" else "chinchilla"
        law = registry.card("law", card).make()
        both, huber = groups(law), Objective("huber_log", 1e-3)
        if kind == "shared":
            return SharedOptimum(law, both, SHARED, huber, Constraints()).fits[1]
        return solve(law, *both[1], huber, Constraints())

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_a_solution_of_any_kind_has_all_that_the_tables_read(solution, kind):
    one = solution(kind)
    count = len(one.law.terms)
    assert one.estimate.theta.shape == (count,) and one.sound
    assert one.at_bound() == [False] * count
    assert one.minimised == (one.law.recipe or "huber_log(delta=0.001)")
    starts = one.starts()
    np.testing.assert_allclose(starts.loc[0, "end"], one.estimate.theta, rtol=1e-12)
    assert starts.loc[0, "status"] == "converged"
    assert one.search().get("n_starts", 1) == len(starts)
    assert set(one.undetermined(["E"])) == (set() if one.law.recipe else {"E"})
    profiles = one.profiles(np.arange(35), 0.95)
    assert profiles["term"].nunique() == (count if kind == "optimum" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_replicates_with_the_weights_of_the_fit_are_the_fit(solution, kind):
    one = solution(kind)
    runs = 70 if kind == "shared" else 35  # those of all groups that share parameters
    replicates = one.replicates(np.ones((3, runs)))
    assert len(replicates) == 3 and replicates.converged.all()
    assert len(replicates.kept) == 3
    expected = np.broadcast_to(one.estimate.theta, replicates.estimates.theta.shape)
    np.testing.assert_allclose(replicates.estimates.theta, expected, rtol=1e-6)
    none = one.replicates(np.ones((0, runs)))
    assert none.estimates.theta.shape == (0, len(one.law.terms)) and len(none) == 0
    assert len(join_replicates([none, replicates])) == 3


def test_replicates_of_a_group_are_its_part_of_those_of_all(groups):
    law = registry.card("law", "chinchilla").make()
    both, huber = groups(law), Objective("huber_log", 1e-3)
    whole = SharedOptimum(law, both, SHARED, huber, Constraints())
    weight = np.random.default_rng(0).multinomial(70, np.full(70, 1 / 70), size=4).astype(float)
    own = [fit.replicates(weight).estimates.theta for fit in whole.fits]
    for i, name in enumerate(term.name for term in law.terms):
        assert np.allclose(own[0][:, i], own[1][:, i], rtol=1e-9) == (name in SHARED)
    for drawn, theta in zip(weight, np.stack(own, axis=1), strict=True):
        parts = [(*part[:2], w) for part, w in zip(both, np.split(drawn, 2), strict=True)]
        alone = SharedOptimum(law, parts, SHARED, huber, Constraints())
        expected = [fit.estimate.theta for fit in alone.fits]
        np.testing.assert_allclose(theta, expected, rtol=1e-4)


def test_groups_that_fit_exactly_have_converged_and_so_have_their_replicates(groups):
    law = registry.card("law", "chinchilla").make()
    exact = SharedOptimum(law, groups(law, noise=0.0), SHARED, Objective("mse"), Constraints())
    assert all(fit.sound for fit in exact.fits)
    assert all(one.converged.all() for one in exact.replicates(np.ones((2, 70))))


def test_a_bound_of_one_group_is_told_of_that_group(groups):
    law = registry.card("law", "chinchilla").make()
    (data, loss, weight), _ = groups(law)
    middle = np.exp(np.mean(np.log(data["D"])))
    part = 900 / middle**0.41 * (middle / data["D"]) ** 0.6
    steep = 1.7 + 120 / data["N"] ** 0.34 + part
    both = [(data, loss, weight), (data, steep, weight)]
    alone = [Optimum(law, *part, Objective(), Constraints()).theta[4] for part in both]
    assert alone[0] < 0.5 < alone[1]
    bounds = Constraints(bounds={"beta": (None, 0.5)})
    fits = SharedOptimum(law, both, ("alpha",), Objective(), bounds).fits
    assert [fit.at_bound()[4] for fit in fits] == [False, True]
