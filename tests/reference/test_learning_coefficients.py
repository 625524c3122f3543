"""Learning coefficients and multiplicities that are known exactly, by the papers' formulas."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest

from isoloss.posterior import exact


@pytest.mark.parametrize(
    ("inputs", "hidden", "outputs", "rank", "coefficient", "multiplicity"),
    [
        (5, 3, 5, 0, "13/2", 2),
        (5, 4, 5, 0, "8", 1),
        (4, 3, 8, 0, "6", 1),
        (5, 3, 5, 2, "19/2", 2),
        (6, 3, 6, 3, "27/2", 1),
        (4, 2, 4, 1, "5", 2),
    ],
)
def test_reduced_rank_regression(inputs, hidden, outputs, rank, coefficient, multiplicity):
    expected = (Fraction(coefficient), multiplicity)
    assert exact.reduced_rank(inputs, hidden, outputs, rank) == expected


def test_each_case_of_reduced_rank_regression():
    assert exact.reduced_rank(5, 4, 5, 0) == (Fraction(8), 1)  # 1 (a)
    assert exact.reduced_rank(1, 1, 1, 0) == (Fraction(1, 2), 2)  # 1 (b): w1^2 w2^2
    assert exact.reduced_rank(1, 1, 3, 0) == (Fraction(1, 2), 1)  # 2: the single row of A is 0
    assert exact.reduced_rank(3, 1, 1, 0) == (Fraction(1, 2), 1)  # 3
    assert exact.reduced_rank(2, 7, 3, 0) == (Fraction(3), 1)  # 4: any product, regular in B A


@pytest.mark.parametrize(
    ("widths", "rank", "coefficient", "multiplicity"),
    [((5, 2, 2, 5), 2, "8", 1), ((4, 3, 3, 4), 1, "11/2", 3)],
)
def test_deep_linear_networks(widths, rank, coefficient, multiplicity):
    assert exact.deep_linear(widths, rank) == (Fraction(coefficient), multiplicity)


@pytest.mark.parametrize(
    ("hidden", "coefficient", "multiplicity"), [(1, "1/2", 2), (2, "2/3", 1), (3, "5/6", 1)]
)
def test_tanh_of_one_input_without_a_signal(hidden, coefficient, multiplicity):
    assert exact.tanh_one_input(hidden) == (Fraction(coefficient), multiplicity)


def test_regular_models_and_monomials():
    assert exact.regular(7) == (Fraction(7, 2), 1)
    assert exact.monomial([4]) == (Fraction(1, 4), 1)
    assert exact.monomial([6]) == (Fraction(1, 6), 1)
    assert exact.monomial([2, 2]) == (Fraction(1, 2), 2)


def test_one_hidden_layer_is_reduced_rank_regression_for_all_widths_up_to_8():
    cases = [
        (widths, rank)
        for widths in product(range(1, 9), repeat=3)
        for rank in range(min(widths) + 1)
    ]
    assert len(cases) == 1808
    for widths, rank in cases:
        assert exact.deep_linear(widths, rank) == exact.reduced_rank(*widths, rank), (widths, rank)


def test_a_network_without_hidden_layers_is_regular():
    for widths in product(range(1, 6), repeat=2):
        for rank in range(min(widths) + 1):
            assert exact.deep_linear(widths, rank) == exact.regular(widths[0] * widths[1])


def test_the_order_of_the_widths_does_not_matter_without_a_signal():
    for widths in ([2, 3, 5, 4], [5, 4, 3, 2], [4, 2, 5, 3]):
        assert exact.deep_linear(widths, 0) == exact.deep_linear(sorted(widths), 0)


def test_a_very_wide_layer_does_not_matter():
    assert exact.deep_linear([4, 3, 50, 4], 1) == exact.deep_linear([4, 3, 4], 1)


@pytest.mark.parametrize("rank", [-1, 4])
def test_a_rank_beyond_the_widths_is_refused(rank):
    with pytest.raises(ValueError, match="rank"):
        exact.reduced_rank(5, 3, 5, rank)
    with pytest.raises(ValueError, match="rank"):
        exact.deep_linear([5, 3, 5], rank)


@pytest.mark.parametrize(
    ("n_beta", "llc"), [(100, 0.3542), (1000, 0.3903), (1e4, 0.4123), (1e6, 0.4375)]
)
def test_two_squares_at_finite_temperature(n_beta, llc):
    assert exact.monomial_at([2, 2], n_beta, localization=1.0) == pytest.approx(llc, abs=5e-5)


@pytest.mark.parametrize("power", [2, 4, 6, 8])
def test_one_power_without_localization_is_exact_at_any_temperature(power):
    assert exact.monomial_at([power], 50.0, localization=0.0) == pytest.approx(1 / power, rel=1e-9)


def test_a_square_with_localization_is_the_formula_of_a_normal_density():
    assert exact.monomial_at([2], 50.0, localization=7.0) == pytest.approx(50 / 107, rel=1e-9)


def test_two_squares_without_localization_have_no_integral():
    with pytest.raises(ValueError, match="localization"):
        exact.monomial_at([2, 2], 100.0, localization=0.0)
