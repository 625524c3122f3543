"""Bends that a formula has and its runs do not show; amplitudes that are limited to one sign."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.core.problems import IsolossError
from isoloss.fit.objectives import Objective
from isoloss.fit.solve import Constraints, solve
from isoloss.formulas import as_text, read_expression
from isoloss.formulas.simpler import simpler_parts, tidy
from isoloss.laws._formula import FormulaLaw, FormulaSum, formula_law

X = np.linspace(0.5, 40, 20)
NOISE = np.exp(0.003 * np.random.default_rng(5).standard_normal(20))
STRAIGHT, POWER = (3 - 0.02 * X) * NOISE, (1.5 + 2 * X**-0.4) * NOISE
FADING, LEVEL = (1.5 + 2 * np.exp(-X / 7)) * NOISE, (3 - X / (1 + X / 5) / 9) * NOISE


def told_of(text: str, loss: np.ndarray, bootstrap: int = 0, **settings):
    """A fit, and what its findings say of bends."""
    table = pd.DataFrame({"x": X, "loss": loss})
    runs = isoloss.read_runs(table, {"x": "x", "loss": "loss"})
    fit = isoloss.fit_law(runs, formula=text, bootstrap=bootstrap, **settings)
    return fit, fit.findings[fit.findings["check"] == "bend"]


FORMS = [
    ("E + A * (1 + x / S)**-a", POWER, "(1 + x / S)**-a", "x**-a"),
    ("E + A / (x + S)**a", POWER, "(x + S)**a", "x**a"),
    ("E - A * tanh(x / S)", STRAIGHT, "tanh(x / S)", "x"),
]
MORE = [
    ("E + A / (1 + B * x**b)", POWER, "1 + B * x**b", "x**b"),
    ("E + A * (1 + x / S)**-g", FADING, "(1 + x / S)**-g", "exp(-g * x)"),
    ("E - A * (1 - exp(-x / S))", STRAIGHT, "1 - exp(-x / S)", "x"),
    ("a * softplus(b + c * x)", STRAIGHT, "softplus(b + c * x)", "b + c * x"),
    ("E + A * softplus(k * (m - x))", STRAIGHT, "softplus(k * (m - x))", "m - x"),
]


@pytest.mark.parametrize(
    ("text", "loss", "part", "simple"),
    [*FORMS, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE)],
)
def test_a_bend_that_the_runs_do_not_show_ends_in_a_fit_that_names_the_simpler_form(
    text, loss, part, simple
):
    """Most of these ended without having converged, or with one start at the optimum."""
    fit, doubts = told_of(f"loss = {text}", loss, bootstrap=20 if text == FORMS[0][0] else 0)
    [row] = doubts.to_dict("records")
    assert fit.summary["status"].item() != "not_converged"
    assert fit.summary["n_agree"].item() >= 2
    if text == FORMS[0][0]:  # of 200 replicates 123 were lost in the valley
        assert fit.summary["n_replicates_converged"].item() == 20
    assert row["found"].startswith("the runs show no bend in x at ")
    assert row["found"].endswith(f": {part} does no better than {simple}")
    assert row["remedy"].startswith(f"write {simple} in the place of {part}")
    assert row["found"] in fit.summary["message"].item()


@pytest.mark.parametrize("power", ["g", "-g"])
@pytest.mark.parametrize("g", [-0.5, 0.5])
def test_a_bracket_rises_and_falls_whatever_the_sign_before_its_exponent(power, g):
    """All starts rose with x, and runs that fall got a constant: an objective 170 times higher."""
    x = np.geomspace(1, 1e3, 30)
    noise = 3e-4 * np.random.default_rng(0).standard_normal(30)
    y = 1 + 3 * (1 + x / 1e5) ** g + noise
    runs = isoloss.read_runs(pd.DataFrame({"x": x, "y": y}), {"x": "x", "y": "y"})
    text = f"y = E + A * (1 + x / S)**{power}"
    bracket, line = (
        isoloss.fit_law(runs, formula=one, bootstrap=0).summary["objective_value"].item()
        for one in (text, "y = a + b * x; b > -1")
    )
    assert bracket < 1.1 * line


def test_a_bend_that_the_runs_show_is_not_doubted():
    fit, doubts = told_of("loss = E - A * x / (1 + x / S)", LEVEL)
    assert doubts.empty and fit.values["S"] == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize(
    ("text", "values", "simple"),
    [
        ("A * sigmoid(k * x)", {"A": 1.0, "k": -9.0}, ["exp(k * x)"]),
        ("A * sigmoid(k * x)", {"A": 1.0, "k": 9.0}, ["1"]),
        ("A * max(x, T)", {"A": 1.0, "T": 0.1}, ["x"]),
        ("A * log(1 + x / S)", {"A": 1.0, "S": 99.0}, ["x / S", "1"]),
        ("A * sqrt(S + x**2)", {"A": 1.0, "S": 0.01}, ["x**2"]),
        ("E + A / (1 + x / S + x * T)", {"E": 1.0, "A": 1.0, "S": 3.0, "T": 0.3}, []),
    ],
)
def test_parts_that_are_nearly_simpler_are_known_by_the_values_at_the_runs(text, values, simple):
    given = {**values, "x": np.array([1.0, 2.0, 4.0])}
    parts = simpler_parts(read_expression(text), list(values), given)
    assert [as_text(tidy(one.simple)) for one in parts] == simple


SIZES = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e3, 1e5, 4))
RUNS = {"N": SIZES[0].ravel(), "V": SIZES[1].ravel()}
FALLING = (3 + 40 / RUNS["N"] ** 0.25 - 20 / RUNS["V"] ** 0.4) * NOISE


def searched(text: str, constraints: Constraints | None = None):
    law = formula_law(text, ["N", "V"])
    held = constraints or Constraints()
    return solve(law, RUNS, FALLING, np.ones(20), Objective(), held)


@pytest.mark.parametrize(
    ("kind", "subtracted", "limited"),
    [
        (FormulaSum, "E + A/N**a - B/V**b", "E + A/N**a + B/V**b; B < 0"),
        (FormulaLaw, "E + A/N**a - B/(V + 9)**b", "E + A/N**a + B/(V + 9)**b; B < 0"),
    ],
)
def test_an_amplitude_limited_to_values_below_0_is_fitted_as_one_that_is_subtracted(
    kind, subtracted, limited
):
    """It took the slow path, with other starts of which few agreed."""
    one, other = searched(subtracted), searched(limited)
    assert isinstance(other.law, kind)
    assert other.objective_value == one.objective_value
    assert other.search()["n_agree"] == one.search()["n_agree"]
    values, signs = one.law.values(one.theta), other.law.values(other.theta)
    assert signs == {**values, "B": -values["B"]} and signs["B"] < 0
    step = 1e-6 * np.eye(5)
    ahead, behind = (other.law.loss(other.theta + turn * step, RUNS) for turn in (1, -1))
    slopes = other.law.gradient(other.theta, RUNS)
    np.testing.assert_allclose(slopes, (ahead - behind).T / 2e-6, rtol=1e-5, atol=1e-8)
    assert signs == pytest.approx(other.law.values(other.law.theta(signs)))


def test_bounds_and_values_of_an_amplitude_below_0_are_in_its_own_unit():
    text = "E + A/N**a + B/V**b; B < 0"
    bounded = searched(text, Constraints(bounds={"B": [-15.0, -2.0]}))
    assert bounded.law.values(bounded.theta)["B"] == pytest.approx(-15.0)
    assert bounded.at_bound() == [False, False, False, True, False]
    fixed = searched(text, Constraints(fixed={"B": -18.0}))
    assert fixed.law.values(fixed.theta)["B"] == pytest.approx(-18.0)
    for wrong in (Constraints(fixed={"B": 3.0}), Constraints(bounds={"B": [-1.0, 2.0]})):
        with pytest.raises(IsolossError, match="the formula has it below 0"):
            searched(text, wrong)
    with pytest.raises(IsolossError, match="opposite signs"):
        searched(text, Constraints(tied=[["A", "B"]]))


def test_intervals_of_an_amplitude_below_0_ascend():
    runs = isoloss.read_runs(
        pd.DataFrame({**RUNS, "loss": FALLING}), {"N": "N", "V": "V", "loss": "loss"}
    )
    formula = "loss = E + A/N**a + B/V**b; B < 0"
    fit = isoloss.fit_law(runs, formula=formula, bootstrap=12, interval="profile")
    row = fit.params.set_index("term").loc["B"]
    assert row["ci_low"] < row["estimate"] < row["ci_high"] < 0


@pytest.mark.parametrize(
    ("text", "loss", "remedy"),
    [
        ("E + A / x**a", 2.0 / X**0.3 - 0.3, "if E may be below 0, write the limit E > -10"),
        (
            "E + A * x",
            STRAIGHT,
            "leave the term of A out; if A may be below 0, write the limit A <",
        ),
        ("E + A * x; A < 0", 6 - STRAIGHT, "leave the term of A out; if A may be above 0, write"),
    ],
)
def test_a_size_that_the_runs_want_beyond_0_gets_the_limit_to_type(text, loss, remedy):
    text = f"loss = {text}" + ("; A > 0" if text.endswith("x") else "")
    fit, _ = told_of(text, loss)
    bounds = fit.findings[fit.findings["check"] == "bounds"]
    assert [one[: len(remedy)] for one in bounds["remedy"]] == [remedy]


@pytest.mark.parametrize("text", ["E + A / x**a", "E + A * x**a"])
def test_values_that_rise_to_a_level_get_the_limit_of_the_amplitude_to_type(text):
    """The verdict named a limit of E, at which E lay again."""
    level = (2 - 1.5 * X**-0.4) * NOISE
    fit, _ = told_of(f"loss = {text}", level)
    bounds = fit.findings[fit.findings["check"] == "bounds"]
    assert list(bounds["remedy"]) == ["if A may be below 0, write the limit A < 0 in the formula"]
    again, _ = told_of(f"loss = {text}; A < 0", level)
    assert again.summary["status"].item() == "converged"


def test_bounds_in_the_place_of_a_limit_in_the_formula_are_told():
    text = "loss = E + A / x**a; 0 < a < 0.3"
    fit, _ = told_of(text, POWER, bounds={"a": [0.1, 2.0]})
    words = "bounds of a (0.1 to 2) take the place of its limit in the formula (0 to 0.3)"
    assert words in fit.summary["message"].item() and fit.values["a"] > 0.3
    same, _ = told_of(text, POWER, bounds={"a": [0.0, 0.3]})
    assert "take the place" not in same.summary["message"].item()


def test_a_search_lost_on_the_way_to_an_exponential_ends_there_and_names_it_first():
    """x from 0: one start of 32 ended lowest, not converged, 1.17 times the exponential above."""
    x = np.linspace(0, 10, 40)
    y = 1 + 3 * np.exp(-0.3 * x) + 3e-4 * np.random.default_rng(0).standard_normal(40)
    runs = isoloss.read_runs(pd.DataFrame({"x": x, "y": y}), {"x": "x", "y": "y"})
    bracket, simple = (
        isoloss.fit_law(runs, formula=f"y = E + A * {one}", bootstrap=0)
        for one in ("(1 + x / S)**-g", "exp(-g * x)")
    )
    row, known = bracket.summary.iloc[0], simple.summary.iloc[0]
    assert row["objective_value"] < 1.02 * known["objective_value"]
    assert row["n_agree"] >= 2 and row["verdict"] == "with care"
    first = bracket.findings.iloc[0]["remedy"]
    assert first == "write exp(-g * x) in the place of (1 + x / S)**-g, or add runs of other x"


def test_a_part_without_a_variable_is_not_taken_for_a_bend():
    """`high - low`, with low fixed at 25 beside values below 1, ended in an IndexError."""
    x = np.linspace(-3, 3, 40)
    y = 0.25 + 0.65 / (1 + np.exp(-1.3 * x)) + 0.003 * np.random.default_rng(0).standard_normal(40)
    runs = isoloss.read_runs(pd.DataFrame({"x": x, "y": y}), {"x": "x", "y": "y"})
    text = "y = low + (high - low) * sigmoid(k * (x - m))"
    fit = isoloss.fit_law(runs, formula=text, bootstrap=0, fixed={"low": 25})
    assert fit.values["low"] == 25 and "bend" not in set(fit.findings["check"])
