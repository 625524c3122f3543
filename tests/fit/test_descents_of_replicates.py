"""Descents of replicates: few steps along curved valleys, and an end where nothing is to gain."""

from types import SimpleNamespace

import numpy as np
import pytest

from isoloss.fit import descent
from isoloss.fit.descent import REPLICATE, SETTLED, Descents, minimise_all
from isoloss.fit.objectives import Objective
from isoloss.fit.solve import Constraints, Optimum
from isoloss.laws.broken_power_law import make as broken
from isoloss.laws.formula import make as formula


@pytest.fixture(scope="module")
def valley():
    """A formula whose amplitudes trade with exponents, fitted, and weights of 20 replicates."""
    rng, n = np.random.default_rng(1), 20
    data = {"N": np.geomspace(1e7, 1e10, n)[rng.permutation(n)], "D": np.geomspace(1e8, 1e11, n)}
    loss = 1 + 6 * np.exp(-0.1 * np.log(data["N"])) + 400 / (data["D"] + 1e9) ** 0.3
    loss *= np.exp(rng.normal(0, 0.003, n))
    text = "loss = E + A * exp(-k * log(N)) + B / (D + S)**beta"
    law = formula(text, variables=["N", "D"], any_sign=[])
    fit = Optimum(law, data, loss, np.ones(n), Objective(), Constraints())
    return fit, rng.multinomial(n, np.full(n, 1 / n), size=20).astype(float)


def replicates(fit, weight) -> Descents:
    """What replicates ask for."""
    begin = np.repeat(fit.ends.free[:1], len(weight), axis=0)
    return Descents(fit.problem, begin, weight, settled=SETTLED)


def test_replicates_get_along_a_valley_of_amplitudes_and_exponents_in_few_steps(valley):
    asked = replicates(*valley)
    ends = minimise_all([asked])[0]
    assert ends.converged.all()
    assert np.median(ends.iterations) < 60


def test_a_replicate_ends_after_so_many_steps(valley, monkeypatch):
    monkeypatch.setattr(descent, "REPLICATE", 15)
    asked = replicates(*valley)
    assert asked.most == 15
    assert minimise_all([asked])[0].iterations.max() <= 15


def test_only_replicates_have_a_limit_of_their_own(valley):
    fit, weight = valley
    asked = replicates(fit, weight)
    assert asked.most == REPLICATE
    assert Descents(fit.problem, asked.begin, weight).most == fit.problem.most > REPLICATE


def test_a_replicate_that_has_settled_is_as_low_as_one_whose_gradient_vanishes(valley):
    fit, weight = valley
    settled = minimise_all([replicates(fit, weight)])[0]
    again = minimise_all([Descents(fit.problem, settled.free, weight)])[0]
    assert (settled.objective <= again.objective * (1 + 1e-8) + 1e-15).all()


def test_the_search_of_a_card_steps_by_values_of_amplitudes_alone():
    n = 12
    data = {"D": np.geomspace(1e6, 1e9, n)}
    loss = 1 + 5 * data["D"] ** -0.1 * np.exp(np.random.default_rng(0).normal(0, 0.003, n))
    on_runs = broken("D").on(data)
    problem = SimpleNamespace(law_on_runs=on_runs, most=1000)
    begin, weight = np.zeros((1, 6)), np.ones_like(loss)
    assert not Descents(problem, begin, weight).turning
    assert Descents(problem, begin, weight, settled=SETTLED).turning
