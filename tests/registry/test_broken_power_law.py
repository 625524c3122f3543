"""The broken power law reaches the parameters that its paper prints."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.laws import broken_power_law

# Caballero et al., arXiv:2210.14891, figure 4 (right): 4 digit addition, as their code has it
PUBLISHED = dict(a=0.413885, b=2.277272, c_0=0.0550773, c_1=5.662904, d_1=612.5836, f_1=0.059193)
GENTLE = {"a": 0.1, "b": 2.0, "c_0": 0.1, "c_1": 0.5, "d_1": 1e4, "f_1": 0.3}
DESCENT = {"a": 0.1, "b": 2.0, "c_0": 0.6, "c_1": -0.5, "d_1": 1e4, "f_1": 0.3}


def fitted(values: dict[str, float], sizes: np.ndarray, noise: float = 0.0, **settings):
    law = broken_power_law.make("D")
    loss = law.loss(law.theta(values), {"D": sizes})
    loss = loss * np.exp(noise * np.random.default_rng(0).standard_normal(len(sizes)))
    runs = isoloss.read_runs(pd.DataFrame({"D": sizes, "loss": loss}), {"D": "D", "loss": "loss"},
                             need=1)  # fmt: skip
    return isoloss.fit_law(runs, "broken_power_law", {"variable": "D"}, bootstrap=0, **settings)


def test_the_parameters_of_the_papers_figure_are_found():
    fit = fitted(PUBLISHED, np.geomspace(1, 4095, 40))
    assert fit.summary["status"].item() == "converged"
    assert fit.values == pytest.approx(PUBLISHED, rel=1e-5)


@pytest.mark.parametrize("values", [GENTLE, DESCENT], ids=["gentle", "descent"])
def test_wider_bounds_find_no_worse_an_optimum(values):
    """c_1 within 4 and f_1 above e^-4 are the bounds that it once had."""
    before = {"c_1": [-4.0, 4.0], "f_1": [np.exp(-4.0), np.exp(2.0)]}
    sizes = np.geomspace(1e2, 1e6, 24)
    wide, narrow = (fitted(values, sizes, 0.01, **s) for s in ({}, {"bounds": before}))
    objective = [fit.summary["objective_value"].item() for fit in (wide, narrow)]
    assert objective[0] <= objective[1] * (1 + 1e-9)


TWICE = {"a": 0.1, "b": 2.0, "c_0": 0.05, "c_1": 0.5, "d_1": 1e3, "f_1": 0.2, "c_2": -0.4,
         "d_2": 1e6, "f_2": 0.2}  # fmt: skip
THRICE = {**TWICE, "c_3": 0.3, "d_3": 1e8, "f_3": 0.3}
more_breaks = pytest.mark.parametrize("values", [TWICE, THRICE], ids=["two", "three"])


@more_breaks
def test_every_further_break_has_three_more_parameters(values):
    law = broken_power_law.make("D", breaks=(len(values) - 3) // 3)
    assert [term.name for term in law.terms] == list(values)
    shown = law.latex.replace("{", "").replace("}", "")
    assert all(term.symbol in law.formula and term.symbol in shown for term in law.terms)
    assert 1 <= len(law.starts()) <= 200
    x = np.geomspace(10, 1e10, 30)
    theta, data = law.theta(values), {"D": x}
    expected = values["b"] * x ** -values["c_0"]
    for i in range(1, law.breaks + 1):
        c, d, f = (values[f"{name}_{i}"] for name in "cdf")
        expected *= (1 + (x / d) ** (1 / f)) ** (-c * f)
    expected += values["a"]
    np.testing.assert_allclose(law.loss(theta, data), expected, rtol=1e-10)
    np.testing.assert_allclose(eval(law.python, {**values, "D": x}), expected, rtol=1e-10)
    step = 1e-5 * np.eye(len(theta))
    ahead, behind = law.loss(theta + step, data), law.loss(theta - step, data)
    slopes = (ahead - behind).T / 2e-5
    np.testing.assert_allclose(law.gradient(theta, data), slopes, rtol=1e-4, atol=1e-7)
    matrix, shift = law.rescaling({"D": 7.0}, 0.4)
    other = law.loss(matrix @ theta + shift, {"D": x / np.exp(7.0)}) * np.exp(0.4)
    np.testing.assert_allclose(other, expected, rtol=1e-9)


def test_two_breaks_are_found_where_runs_lie_on_all_sides():
    law, sizes = broken_power_law.make("D", breaks=2), np.geomspace(10, 1e9, 60)
    loss = law.loss(law.theta(TWICE), {"D": sizes})
    table = pd.DataFrame({"D": sizes, "loss": loss})
    runs = isoloss.read_runs(table, {"D": "D", "loss": "loss"}, need=1)
    options = {"variable": "D", "breaks": 2}
    fit = isoloss.fit_law(runs, "broken_power_law", options, bootstrap=0)
    assert fit.values == pytest.approx(TWICE, rel=1e-3)


@more_breaks
def test_many_starts_agree_and_breaks_are_in_order_in_every_replicate(values):
    """Simulated runs with noise: before, breaks came in any order, and 1 of 48 starts agreed."""
    breaks = (len(values) - 3) // 3
    law, sizes = broken_power_law.make("D", breaks=breaks), np.geomspace(10, 1e11, 60)
    noise = 0.002 * np.random.default_rng(0).standard_normal(len(sizes))
    loss = law.loss(law.theta(values), {"D": sizes}) * np.exp(noise)
    table = pd.DataFrame({"D": sizes, "loss": loss})
    runs = isoloss.read_runs(table, {"D": "D", "loss": "loss"}, need=1)
    options = {"variable": "D", "breaks": breaks}
    fit = isoloss.fit_law(runs, "broken_power_law", options, bootstrap=20, delta=0.01)
    summary = fit.summary.iloc[0]
    assert summary["status"] == "converged"
    assert summary["n_agree"] >= {2: 24, 3: 8}[breaks]  # of 48; the third break is a weak one
    places = np.array([fit.replicates[f"d_{i}"] for i in range(1, breaks + 1)])
    assert (np.diff(places, axis=0) > 0).all()
    estimates = [fit.values[f"d_{i}"] for i in range(1, breaks + 1)]
    assert np.log10(estimates) == pytest.approx([3, 6, 8][:breaks], abs=0.2)
