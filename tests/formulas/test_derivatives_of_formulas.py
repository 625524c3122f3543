"""Values and derivatives of formulas: exact, for many parameters at once, and finite."""

from __future__ import annotations

import numpy as np
import pytest
from formula_trees import PARAMETERS, complex_value, trees
from hypothesis import given, settings

from isoloss.formulas import Evaluator, divide, read_expression, read_formula

RNG = np.random.default_rng(7)
DATA = {"N": 10 ** RNG.uniform(0, 1, 9), "D": 10 ** RNG.uniform(0, 2, 9), "X": 2.0 ** np.arange(9)}
FORMULAS = [
    "E + A / (N**alpha * X**gamma) + B / D**beta",
    "L * (1 + (N / 3)**(1 / f))**(-c * f) * N**-b",
    "a * sigmoid(k * (log(N) - m)) + 1 / (1 + exp(-k * log(D))) + log(1 + exp(a * N))",
    "tanh(a * log(N)) * softplus(c * log2(X) - d)**2 + abs(a - c * N) * max(a, max(c, d * D))",
    "E + (A * N**-alpha + (B * D**-beta)**gamma)**delta",
    "E + (A * X)**alpha - (a / (b + N**c))**2.5 + exp(-b * N**c) / (N - 20)**2",
    "where(D > 8, B * D**-beta, A) + sqrt(a * N**b) - min(a, N**b) / 3",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_derivatives_are_those_of_the_complex_step(text):
    tree = read_formula(text).tree
    names = divide(read_formula(text), list(DATA))[1]
    values = {name: RNG.uniform(0.1, 0.6, (3, 1)) for name in names}
    evaluator, all_values = Evaluator(tree, names), {**DATA, **values}
    value, gradient = evaluator.gradient(all_values)
    np.testing.assert_allclose(value, complex_value(tree, all_values).real, rtol=1e-13)
    for i, name in enumerate(names):
        step = complex_value(tree, {**all_values, name: values[name] + 1e-30j}).imag / 1e-30
        np.testing.assert_allclose(gradient[..., i], step, rtol=1e-10, atol=1e-12)
    slope = RNG.normal(size=(3, 9))
    curvature = evaluator.curvature(all_values, slope)
    for i, name in enumerate(names):
        near = [{**all_values, name: values[name] + step} for step in (1e-6, -1e-6)]
        ahead, behind = (evaluator.gradient(one)[1] for one in near)
        difference = np.einsum("bn,bnp->bp", slope, ahead - behind) / 2e-6
        scale = np.abs(curvature).max()
        np.testing.assert_allclose(curvature[:, i], difference, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("text", FORMULAS)
def test_an_evaluator_bound_to_data_gives_the_same(text):
    names = divide(read_formula(text), list(DATA))[1]
    evaluator = Evaluator(read_formula(text).tree, names)
    theta = RNG.uniform(0.1, 0.6, (4, len(names)))
    columns = {name: theta[:, i, None] for i, name in enumerate(names)}
    bound = evaluator.on(DATA)
    expected, gradient = evaluator.gradient({**DATA, **columns})
    slope, curvature, weight = RNG.normal(size=(3, 4, 9))
    bound.step = 3  # two blocks
    np.testing.assert_allclose(bound.at(theta), expected, rtol=1e-13)
    np.testing.assert_allclose(bound.jacobian(theta), gradient, rtol=1e-12)
    bent = evaluator.curvature({**DATA, **columns}, slope)
    np.testing.assert_allclose(bound.curvature(theta, slope), bent, rtol=1e-10)
    sums = bound.sums(theta, slope, curvature, weight)
    np.testing.assert_allclose(sums.bent, bent, rtol=1e-10)
    for factor, total in ((curvature, sums.curved), (weight, sums.weighed)):
        whole = np.einsum("bn,bnp,bnq->bpq", factor, gradient, gradient)
        np.testing.assert_allclose(total, whole, rtol=1e-9, atol=1e-12 * np.abs(whole).max())
    absolute = np.einsum("bn,bnp->bp", np.abs(slope), np.abs(gradient))
    np.testing.assert_allclose(sums.absolute, absolute, rtol=1e-12)
    total = np.einsum("bn,bnp->bp", slope, gradient)
    np.testing.assert_allclose(sums.gradient, total, atol=1e-12 * absolute.max())


@settings(max_examples=100, deadline=None)
@given(trees)
def test_values_of_any_tree(tree):
    values = {"A": 0.7, "alpha": 0.3, "k": 1.4, "N": np.array([1.5, 3.0]), "D": 2.5}
    value, gradient = Evaluator(tree, PARAMETERS).gradient(values)
    expected = complex_value(tree, values)
    real = np.isfinite(expected.real) & (expected.imag == 0) & (np.abs(expected) < 1e100)
    expected, value = np.broadcast_arrays(np.where(real, expected.real, 0.0), value)
    finite = np.broadcast_to(real, value.shape) & np.isfinite(value)
    np.testing.assert_allclose(value[finite], expected[finite], rtol=1e-6, atol=1e-6)
    assert gradient.shape == (*value.shape, 3)


def values_of(text: str, **given_values) -> tuple[np.ndarray, np.ndarray]:
    """Value and derivatives by k and c."""
    return Evaluator(read_expression(text), ["k", "c"]).gradient(given_values)


@pytest.mark.parametrize("x", [-1e3, -40.0, 0.0, 40.0, 1e3])
@pytest.mark.parametrize(
    "text",
    [
        "1 / (1 + exp(-k * x))",
        "sigmoid(k * x)",
        "tanh(k * x)",
        "softplus(k * x)",
        "log(1 + exp(k * x))",
    ],
)
def test_nothing_overflows(text, x):
    value, slopes = values_of(text, k=1.0, c=0.0, x=x)
    assert np.isfinite(value) and np.isfinite(slopes).all()
    limits = {"tanh": np.sign(x), "soft": max(x, 0.0), "log(": max(x, 0.0)}
    if abs(x) == 1e3:
        assert value == pytest.approx(limits.get(text[:4], float(x > 0)))


def test_zero_to_a_power_is_zero_with_finite_derivatives():
    zeros = np.array([0.0, 0.0, 2.0])
    value, slopes = values_of("c * x**k + (c * x)**k", k=0.5, c=3.0, x=zeros)
    assert value[:2].tolist() == [0.0, 0.0]
    assert slopes[:2].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert np.isfinite(slopes).all()
    assert not np.isfinite(values_of("c * x**-k", k=0.5, c=3.0, x=zeros)[0][:2]).any()
    assert not np.isfinite(values_of("c * log(x) + k", k=0.5, c=3.0, x=zeros)[0][:2]).any()


def test_derivatives_at_ties():
    assert values_of("max(k, c)", k=1.0, c=1.0)[1].tolist() == [1.0, 0.0]
    assert values_of("min(k, c)", k=1.0, c=1.0)[1].tolist() == [1.0, 0.0]
    assert values_of("abs(k - c)", k=1.0, c=1.0)[1].tolist() == [0.0, 0.0]


def test_a_sign_of_a_parameter_is_kept():
    assert values_of("abs(k) + (k * c)**2", k=-2.0, c=-3.0)[0] == 38.0
    value, slopes = values_of("(k * c)**0.5 + exp(log(c))", k=2.0, c=2.0)
    assert value == pytest.approx(4.0) and slopes[0] == pytest.approx(0.5)
    assert np.isnan(values_of("x**k", k=0.5, c=1.0, x=-2.0)[0])


def test_derivatives_by_variables_and_points_of_their_own():
    law = Evaluator(read_expression("E + A * N**-a"), ["N"])
    sizes = np.array([[1.0, 4.0], [9.0, 16.0]])
    value, slopes = law.gradient({"E": 1.0, "A": np.array([[2.0], [4.0]]), "a": 0.5, "N": sizes})
    np.testing.assert_allclose(value, [[3, 2], [7 / 3, 2]])
    np.testing.assert_allclose(slopes[..., 0], -0.5 * np.array([[2.0], [4.0]]) * sizes**-1.5)
    curvature = law.curvature({"E": 1.0, "A": 2.0, "a": 0.5, "N": sizes}, 1.0)
    np.testing.assert_allclose(curvature[:, 0, 0], (1.5 * sizes**-2.5).sum(axis=-1))
