"""Fits that leave little free, of every law: one parameter, or amplitudes alone."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from plain_laws import of_sizes

import isoloss
from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law
from isoloss.fit.coordinates import scale_of

NOISE = 0.003
BUDGET = 1e21
TWO_ARMS = {"base": [3.5288, 3.3366, 3.1524, 2.9971], "new": [3.4848, 3.3025, 3.1182, 2.9720]}


def choices(spec: dict) -> list:
    return spec.get("enum", [True, False] if spec["type"] == "boolean" else [spec["default"]])


def cases():
    """Every law that minimises an objective, with every choice of its options."""
    for name in of_sizes():
        options = registry.options("law", name)
        for chosen in itertools.product(*map(choices, options.values())):
            given = dict(zip(options, chosen, strict=True))
            law = registry.card("law", name).make(**given)
            if not law.recipe:
                yield pytest.param(name, given, law, id=" ".join([name, *map(str, chosen)]))


LAWS = list(cases())
every_law = pytest.mark.parametrize(("name", "options", "law"), LAWS)
# a law of one variable has the same formula in N, D and C
IN_N = [case for case in LAWS if case.values[1].get("variable", "N") == "N"]
every_formula = pytest.mark.parametrize(("name", "options", "law"), IN_N)
every_formula_of_amplitudes = pytest.mark.parametrize(
    ("name", "options", "law"),
    [case for case in IN_N if any(term.amplitude for term in case.values[2].terms)],
)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """25 runs of each of two groups, without losses."""
    n, d = np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e12, 5))
    one = {"N": n.ravel(), "D": d.ravel(), "C": 6 * (n * d).ravel()}
    unique = one["D"] / np.tile([1, 2, 4, 8, 16], 5)
    runs = pd.DataFrame({**one, "U": unique})
    return pd.concat([runs.assign(group="a"), runs.assign(group="b")], ignore_index=True)


def with_losses(law, table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """The runs with losses of the law in the middle of its starts, and the parameters there."""
    data = {v: table[v].to_numpy(float) for v in law.variables}
    middle = np.array([term.starts[len(term.starts) // 2] for term in law.terms])
    theta = scale_of(law, data, np.full(len(table), 3.0)).outer(middle)
    noise = np.exp(NOISE * np.random.default_rng(0).standard_normal(len(table)))
    columns = {"N": "N", "D": "D", "group": "group", "loss": "loss"}
    if "U" in law.variables:
        columns["U"] = "U"
    runs = isoloss.read_runs(table.assign(loss=law.loss(theta, data) * noise), columns)
    return runs, law.values(theta)


@pytest.fixture(scope="module")
def two_arms() -> pd.DataFrame:
    flops = [1e18, 3e18, 1e19, 3e19]
    arms = [pd.DataFrame({"arm": arm, "C": flops, "L": loss}) for arm, loss in TWO_ARMS.items()]
    return isoloss.read_runs(pd.concat(arms), {"C": "C", "loss": "L", "group": "arm"}, need=1)


def estimate(fit, term: str) -> pd.Series:
    return fit.params[fit.params["term"] == term].set_index("group")["estimate"]


def test_two_arms_of_one_free_parameter_converge_and_are_compared(two_arms):
    fixed = {"E": 1.6, "alpha": 0.0941}
    fit = fit_law(two_arms, "power_law", {"variable": "C"}, fixed=fixed, bootstrap=200)
    assert list(fit.summary["status"]) == ["converged", "converged"]
    assert estimate(fit, "A").to_dict() == pytest.approx({"base": 95.20, "new": 93.22}, abs=0.005)
    row = fit.gain(BUDGET, "base", "new").iloc[0]
    assert row["gain"] == pytest.approx((95.20 / 93.22) ** (1 / 0.0941), rel=1e-3)
    assert row["gain"] == pytest.approx(1.2499, abs=5e-5)
    assert row["gain_low"] < row["gain"] < row["gain_high"]


def test_a_parameter_that_is_fixed_keeps_its_value_without_rounding(two_arms):
    fixed = {"E": 1.6, "alpha": 0.0941}
    for interval in ("bootstrap", "profile"):
        fit = fit_law(
            two_arms, "power_law", {"variable": "C"}, fixed=fixed, bootstrap=50, interval=interval
        )
        for term, value in fixed.items():
            rows = fit.params[fit.params["term"] == term]
            assert (rows[["estimate", "ci_low", "ci_high"]] == value).all(axis=None)
            assert (rows["std_error"] == 0).all()
            assert set(rows["ci_method"]) == {"fixed"}
        free = fit.params[fit.params["term"] == "A"]
        assert (free["ci_low"] < free["estimate"]).all()
        assert (free["estimate"] < free["ci_high"]).all()


@every_formula
def test_any_parameter_alone_is_found_beside_the_others(name, options, law, table):
    runs, truth = with_losses(law, table)
    for term in law.terms:
        fixed = {k: v for k, v in truth.items() if k != term.name}
        for shared in ([], [term.name]):
            fit = fit_law(runs, name, options, fixed=fixed, shared=shared, bootstrap=0)
            assert set(fit.summary["status"]) == {"converged"}, (term.name, shared)
            assert (fit.summary["rmse"] / runs["loss"].abs().mean() < 2 * NOISE).all()


@every_formula_of_amplitudes
def test_amplitudes_alone_are_found(name, options, law, table):
    runs, truth = with_losses(law, table)
    free = [term.name for term in law.terms if term.amplitude]
    fixed = {k: v for k, v in truth.items() if k not in free}
    for shared in ([], free[:1]):
        fit = fit_law(runs, name, options, fixed=fixed, shared=shared, bootstrap=0)
        assert set(fit.summary["status"]) == {"converged"}
        assert (fit.summary["n_starts"] > 1).all()
        assert (fit.summary["rmse"] / runs["loss"].abs().mean() < 2 * NOISE).all()


def test_one_free_parameter_with_two_optima_gives_the_lower_one():
    size = np.geomspace(1e7, 1e10, 30)
    loss = np.where(np.arange(30) < 20, 20 / size**0.1, 20 / size**0.14)
    runs = isoloss.read_runs(pd.DataFrame({"N": size, "L": loss}), {"N": "N", "loss": "L"}, need=1)
    options = {"variable": "N", "offset": False}
    fit = fit_law(runs, "power_law", options, fixed={"A": 20.0}, bootstrap=0)
    assert estimate(fit, "alpha")["all"] == pytest.approx(0.1, abs=1e-3)
    assert fit.summary.loc[0, "status"] == "converged"


def test_tied_exponents_are_one_free_parameter(chinchilla_runs, truth):
    runs = chinchilla_runs()
    runs["loss"] = 1.7 + 120 / runs["n_params"] ** 0.38 + 900 / runs["n_samples"] ** 0.38
    fixed = {k: truth[k] for k in ("E", "A", "B")}
    fit = fit_law(runs, "chinchilla", fixed=fixed, tied=[["alpha", "beta"]], bootstrap=0)
    assert fit.summary.loc[0, "status"] == "converged"
    assert estimate(fit, "beta")["all"] == pytest.approx(0.38, rel=1e-5)


def test_nothing_left_to_fit_is_an_error(chinchilla_runs, truth):
    with pytest.raises(IsolossError, match="no parameter is left to fit"):
        fit_law(chinchilla_runs(), "chinchilla", fixed=truth, bootstrap=0)


@pytest.mark.parametrize("bounds", [(-100.0, 100.0), (-100.0, None), (-5.0, -1.0), (None, 0.0)])
def test_bounds_below_zero_of_a_term_above_it_are_refused(bounds):
    x = np.linspace(10.0, 50.0, 30)
    runs = isoloss.read_runs(pd.DataFrame({"x": x, "y": x**0.8 - 3}), {"x": "x", "y": "y"})
    with pytest.raises(IsolossError, match=r"bounds E: found .* write the limit E > -"):
        fit_law(runs, formula="y = E + x**g", bounds={"E": bounds}, bootstrap=0)
    with pytest.raises(IsolossError, match=r"fixed E: found -3.0; .* write the limit E > -6"):
        fit_law(runs, formula="y = E + x**g", fixed={"E": -3.0}, bootstrap=0)
    if bounds[0] is None:
        return
    fit = fit_law(runs, formula="y = E + x**g; E > -200", bounds={"E": bounds}, bootstrap=0)
    assert estimate(fit, "E")["all"] == pytest.approx(-3, rel=1e-6)


@every_law
def test_a_gain_is_a_number_or_an_error_that_says_what_is_needed(name, options, law, table):
    runs, _ = with_losses(law, table)
    has_gains = law.allocates or law.variables == ("C",)
    fit = fit_law(runs, name, options, bootstrap=3 if has_gains else 0)
    if has_gains:
        row = fit.gain([BUDGET, 2 * BUDGET], "a", "b").iloc[0]
        loss, same = row["loss"], fit.gain(BUDGET, "a", "a").iloc[0]
        if name == "growth":  # what rises with compute is reached by less of it: no gain
            assert np.isnan([row["gain"], same["gain"]]).all()
            return
        assert same["gain"] == pytest.approx(1.0, rel=1e-6)
        best = law.least_loss(fit.theta("b"), BUDGET / row["gain"])
        assert best == pytest.approx(loss, rel=1e-9)
    else:
        with pytest.raises(IsolossError, match="gives no loss for a budget"):
            fit.gain(BUDGET, "a", "b")


def test_a_group_that_cannot_reach_a_loss_has_no_gain(two_arms):
    fit = fit_law(two_arms, "power_law", {"variable": "C"}, fixed={"alpha": 0.0941}, bootstrap=20)
    law = fit.law
    far = fit.gain(1e60, "base", "new").iloc[0]
    floor = float(np.exp(fit.theta("new")[law.index("E")]))
    assert np.isnan(far["gain"]) == (far["loss"] < floor)
