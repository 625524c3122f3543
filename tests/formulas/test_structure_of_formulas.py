"""What a formula is made of: amplitudes, power terms, roles and domains of its names."""

from __future__ import annotations

import numpy as np
import pytest
from formula_trees import trees
from hypothesis import given, settings

from isoloss.formulas import (
    Evaluator,
    amplitudes,
    domains,
    names_of,
    power_terms,
    read_expression,
    roles,
)

VARIABLES = ("N", "D", "experts")


def parameters_of(text: str) -> tuple:
    tree = read_expression(text)
    return tree, [name for name in names_of(tree) if name not in VARIABLES]


@pytest.mark.parametrize(
    ("text", "linear"),
    [
        ("E + A / (N**alpha * experts**gamma) + B / D**beta", "E A B"),
        ("K * (A * N**-a + B * D**-b)", "A B"),
        ("(E + A * N**-a) * (c + d * log(D))", "E A"),
        ("A**2 * N + exp(B) + C", "C"),
        ("where(N < 3, a, b * D) - a * log(k)", "a b"),
        ("A / B + A * N", "A"),
        ("max(A, N)", ""),
        ("E + A * where(N < S, 1, 2)", "E A"),
    ],
)
def test_linear_amplitudes(text, linear):
    assert amplitudes(*parameters_of(text)) == tuple(linear.split())


def test_power_terms_have_the_value_of_their_formula():
    text = (
        "E + A / (N**alpha * experts**gamma) - 2 * (B / (N * D / 1e3)**beta + C * N**(2 * kappa))"
    )
    rng = np.random.default_rng(3)
    values = {name: rng.uniform(0.2, 2.0) for name in names_of(read_expression(text))}
    total = 0.0
    terms = power_terms(read_expression(text), VARIABLES)
    assert [term.scale for term in terms] == ["E", "A", "B", "C"]
    for term in terms:
        value = term.factor * values[term.scale]
        for name, powers in term.exponents.items():
            product = np.exp(term.shifts.get(name, 0.0))
            for variable, power in powers.items():
                product *= values[variable] ** power
            value *= product ** -values[name]
        total += value
    expected = eval(text, {}, values)
    assert total == pytest.approx(expected, rel=1e-13)


def test_terms_of_exps_of_variables():
    (one, two) = power_terms(read_expression("E + A * exp(-k * D)"), VARIABLES)
    assert two.linear and two.exponents == {"k": {"D": 1.0}} and not one.exponents


@pytest.mark.parametrize(
    "text",
    [
        "E + N**-a",
        "3 + A * N**-a",
        "K * (A * N**-a + B * D**-b)",
        "A * N**-a + A * D**-b",
        "A * B * N**-a",
        "A * N**-a + a",
        "A * N**-0.5",
        "A * (N + 1)**-a",
        "E + A * log(N)",
        "A * exp(-k * D) * N**-a",
        "A * N**-(a + b)",
        "A * N**-(a * b)",
    ],
)
def test_what_is_not_a_sum_of_power_terms(text):
    assert power_terms(read_expression(text), VARIABLES) is None


def test_roles():
    text = "E + A * (N / S + B)**-a * sigmoid(k * D) + where(N > T, C, E * D)"
    assert roles(*parameters_of(text)) == {
        "E": {"offset", "amplitude"},
        "A": {"amplitude"},
        "S": {"scale"},
        "B": {"shift"},
        "a": {"exponent"},
        "k": {"argument"},
        "T": {"threshold"},
        "C": {"offset"},
    }


def test_domains():
    text = "A * (N / 1e9)**-a + B * D**b + c / experts + k * log(E * M) + sqrt(S) + U"
    assert domains(read_expression(text), ["A", "a", "B", "b", "c", "k"]) == {
        **dict.fromkeys(["A", "a", "B", "b", "c", "k", "U"], "any"),
        **dict.fromkeys(["N", "E", "M"], "positive"),
        **dict.fromkeys(["D", "S"], "nonnegative"),
        "experts": "nonzero",
    }


@settings(max_examples=40, deadline=None)
@given(trees)
def test_any_tree_has_a_structure_and_derivatives_at_any_values(tree):
    parameters = [name for name in names_of(tree) if name not in VARIABLES]
    assert set(amplitudes(tree, parameters)) <= set(parameters)
    assert set(roles(tree, parameters)) == set(parameters)
    assert set(domains(tree, parameters)) == set(names_of(tree))
    power_terms(tree, VARIABLES)
    data = {"N": np.array([0.0, 1.0, -2.0, 1e300]), "D": np.array([1e-300, 0.0, 5.0, 2.0])}
    theta = np.array([[0.0, 1.0, -3.0], [0.5, -1.0, 800.0], [1e200, 2.0, -1e5]])
    bound = Evaluator(tree, parameters).on(data)
    factor = np.ones((3, 4))
    sums = bound.sums(theta[:, : len(parameters)], factor, factor, factor)
    assert sums.bent.shape == (3, len(parameters), len(parameters))
