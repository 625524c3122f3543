"""Mixture laws that are searched for side by side, and sums of their losses."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.core import registry
from isoloss.laws._law import Law
from isoloss.laws._make import made_law
from isoloss.laws._mixture import Curvature, descend

DOMAINS = ("p_web", "p_code", "p_books")
ESTIMATING = ["linear_mixture", "log_linear", "mixture_power", "transfer_power"]


def shares(n: int, seed: int) -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(seed).dirichlet(np.ones(len(DOMAINS)), n)
    return dict(zip(DOMAINS, drawn.T, strict=True))


def sample(n: int, seed: int):
    """Runs with losses and weights, one of them 0."""
    rng, mixtures = np.random.default_rng(seed), shares(n, seed)
    loss = 2 + 0.3 * (mixtures["p_web"] + 0.05) ** -0.3 + 0.1 * mixtures["p_code"]
    weight = np.where(np.arange(n) == 1, 0.0, rng.integers(1, 4, n))
    return mixtures, loss + 0.003 * rng.standard_normal(n), weight


def law_of(name: str, response: str = "loss_web") -> Law:
    return made_law(name, registry.defaults("law", name), DOMAINS).for_response(response)


def loss_of(law: Law, estimate, there) -> np.ndarray:
    return law.given(estimate.state).loss(estimate.theta, there)


@pytest.mark.parametrize("name", ESTIMATING)
def test_laws_searched_for_together_are_those_searched_for_one_by_one(name):
    law, there = law_of(name), shares(12, 99)
    samples = [sample(n, seed) for seed, n in enumerate((8, 25, 13, 61))]
    mixtures, loss, _ = samples[0]
    samples.append((mixtures, np.full(len(loss), 2.5), np.ones(len(loss))))
    samples.append((mixtures, loss, np.zeros(len(loss))))
    together = law.estimates(samples)
    for one, own in zip(together, samples, strict=True):
        expected = loss_of(law, law.estimate(*own), there)
        np.testing.assert_allclose(loss_of(law, one, there), expected, rtol=1e-5)
    assert np.isnan(loss_of(law, together[-1], there)).all()


@pytest.mark.parametrize("name", [*ESTIMATING, "exponential_mixing"])
@pytest.mark.parametrize("alike", [True, False])
def test_a_sum_of_losses_is_the_sum_of_the_laws(name, alike):
    there, parts, expected = shares(9, 5), [], 0.0
    for i, response in enumerate(("loss_web", "loss_code")):
        law = law_of(name, response)
        runs = sample(14, 3 if alike else i)
        theta = np.linspace(-1.0, 0.5, len(law.terms))
        one = law.estimate(*runs) if law.recipe else law.from_numbers(theta)
        parts.append((0.3 + i, law, one))
        expected = expected + (0.3 + i) * loss_of(law, one, there)
    np.testing.assert_allclose(parts[0][1].combined(parts)(there), expected, rtol=1e-9)


def test_descents_end_at_minima_inside_bounds_from_where_the_objective_is_curved_down():
    """(x^2 - 1)^2 + (y - 3)^2: minima at x of 1 and -1, between them it is curved down."""

    def look(rows: np.ndarray, at: np.ndarray) -> Curvature:
        x, y = at.T
        value = (x**2 - 1) ** 2 + (y - 3) ** 2
        curvature = np.zeros((len(at), 2, 2))
        curvature[:, 0, 0], curvature[:, 1, 1] = 12 * x**2 - 4, 2.0
        return Curvature(value, np.stack([4 * x * (x**2 - 1), 2 * (y - 3)], axis=1), curvature)

    start = np.array([[0.1, 0.0], [-0.2, 9.0], [3.0, 1.0]])
    low, high = np.full((3, 2), -5.0), np.tile([5.0, 2.0], (3, 1))
    ends = descend(look, start, low, high, 1e-12, 100, 0.5)
    np.testing.assert_allclose(ends, [[1.0, 2.0], [-1.0, 2.0], [1.0, 2.0]], atol=1e-4)
