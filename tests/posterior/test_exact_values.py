"""Exact coefficients: integers of any type, and what is out of range."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from isoloss.posterior import exact
from isoloss.posterior.settings import Settings


def test_integers_of_numpy_do_not_overflow():
    small, large = np.array([60, 30, 50], np.int8), 10 ** np.arange(10, 13)
    assert exact.reduced_rank(*small, np.int8(0)) == exact.reduced_rank(60, 30, 50, 0)
    assert exact.deep_linear(large, 5) == exact.deep_linear([int(width) for width in large], 5)
    assert exact.deep_linear(np.array([4, 3, 3, 4], np.uint8), 1) == (Fraction(11, 2), 3)
    assert exact.tanh_one_input(np.int8(100)) == exact.tanh_one_input(100) == (5, 2)
    assert type(exact.reduced_rank(*small, 0)[1]) is int


REFUSED = {
    "fewer than no parameters": lambda: exact.regular(-1),
    "no power": lambda: exact.monomial([]),
    "an odd power": lambda: exact.monomial([2, 3]),
    "a power of 0": lambda: exact.monomial([0]),
    "an odd power at finite n_beta": lambda: exact.monomial_at([3], 1000, 1),
    "a negative pull": lambda: exact.monomial_at([4], 1000, -1),
    "a pull too weak for the rule": lambda: exact.monomial_at([2, 2], 1000, 1e-12),
    "an n_beta too small for the rule": lambda: exact.monomial_at([2], 1e-8, 0),
    "no n_beta": lambda: exact.monomial_at([2], float("nan"), 0),
    "a width of 0": lambda: exact.reduced_rank(3, 0, 3, 0),
    "negative widths": lambda: exact.deep_linear([-1, -1], -2),
    "a negative rank": lambda: exact.deep_linear([3, 3], -1),
    "no hidden unit": lambda: exact.tanh_one_input(0),
    "a saddle": lambda: exact.quadratic([1.0, -1.0], Settings(lr=1e-4, n_beta=100.0)),
    "an unknown curvature": lambda: exact.quadratic([np.nan], Settings(lr=1e-4, n_beta=100.0)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_exact_value_is_refused(case):
    with pytest.raises(ValueError, match=r"needed|power|to 1e\+08|rank|curvature"):
        REFUSED[case]()


def test_a_quadratic_at_infinite_temperature_has_a_coefficient_of_0():
    assert exact.quadratic([1.0, 0.0], Settings(lr=1e-4, n_beta=0.0)) == 0
