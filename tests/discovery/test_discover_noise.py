"""What a search does about noise: what hold-outs may miss by it, and the median of laws."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.discovery.discovery import median_of
from isoloss.discovery.grammar import forms
from isoloss.discovery.holdouts import holdouts
from isoloss.discovery.roles import Columns
from isoloss.discovery.scaled import blocks_of, scale_of
from isoloss.discovery.search import edge_of, fitted, noise_of, scatter_of

ROLES = Columns(("size", "loss"), ("size",), frozenset({"size"}))
HILL = "E + A / (1 + (size/size_0)**alpha)"
SQUARE = "exp(A + B*log(size) + F*log(size)**2)"
LINE = "A + B*log(size)"


def edge_of_sizes(size, response, positive=True):
    group = np.arange(size.size) // size.shape[-1]
    variables = {"size": size.ravel()}
    data = scale_of(variables, ROLES).apply(variables)
    held = holdouts(variables, ROLES.sizes, group, 6)
    return edge_of(blocks_of(data, response.ravel(), group), held, positive)


def form_of(text, positive=True):
    return next(form for form in forms(ROLES, positive) if form.text == text)


@pytest.fixture(scope="module")
def hills():
    """Four models whose loss levels off on either side, with noise of 2 %."""
    draws = np.random.default_rng(5)
    size = np.tile(200 * 2.0 ** np.arange(10), (4, 1))
    e, a, d, h = draws.uniform([1, 1, 4e3, 0.6], [2, 3, 4e4, 1.4], (4, 4)).T[..., None]
    loss = (e + a / (1 + (size / d) ** h)) * (1 + 0.02 * draws.normal(size=size.shape))
    edge = edge_of_sizes(size, loss)
    return {text: fitted(form_of(text), edge, seed=0) for text in (HILL, SQUARE)}


def test_noise_in_the_fits_without_the_largest_runs_is_not_held_against_the_right_form(hills):
    noise = noise_of(list(hills.values()))
    right, wrong = hills[HILL], hills[SQUARE]
    assert right.error > 1.3 * wrong.error  # by itself what is missed says the contrary
    assert right.score(noise) < wrong.score(noise)


def test_standard_errors_explain_a_part_of_the_error_held_out(hills):
    one = hills[HILL]
    assert (one.unexplained(noise_of([one])) < one.errors).all()
    assert np.allclose(one.unexplained(1e-12), one.errors)
    assert (one.scatter > 0).all() and one.far > 0


def test_the_scatter_of_a_line_is_that_of_a_regression():
    size = np.geomspace(1e6, 1e9, 12)[None]
    response = 3 - 0.1 * np.log(size) - np.linspace(0, 1e-3, 12) ** 2
    edge = edge_of_sizes(size, response, positive=False)
    one = fitted(form_of(LINE, positive=False), edge, seed=0)
    errors, far = scatter_of(edge.model(one.form), edge, np.tile(one.theta, (len(edge.out), 1, 1)))
    design = np.stack([np.ones(12), np.log(size[0])], axis=1)
    out = edge.out[0, 0]
    inverse = np.linalg.inv(design[~out].T @ design[~out])
    expected = np.sqrt(np.einsum("np,pq,nq->n", design[out], inverse, design[out])).mean()
    assert errors[0] == pytest.approx(expected, rel=1e-6)
    hat = design @ np.linalg.inv(design.T @ design) @ design.T
    assert far == pytest.approx(np.sqrt(np.diag(hat)).mean(), rel=1e-6)


def test_a_law_that_misses_less_weighs_more_in_the_median():
    made = np.array([[1.0], [2.0], [3.0], [4.0]])
    assert median_of(made, [0.0] * 4) == 2.5
    assert median_of(made, [0.0, 0.5, 1.0, 1.0]) == 2.0
    assert median_of(made, [-3.0, 0.0, 0.0, 0.0]) == 1.0
