"""Groups are searched side by side, and none of them is moved by its companions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.core.matrices import FEW, cholesky_solve
from isoloss.fit import descent, fit_law
from isoloss.laws import broken_power_law
from isoloss.laws._law import LawOnRuns

SIZES = {"a": 9, "b": 14, "c": 14}  # runs: groups are filled up to 16
LAWS = {
    "power_law": {"variable": "D"},
    "broken_power_law": {"variable": "D"},
    "formula": {
        "formula": "loss = E + A * exp(-k * log(D)**2) + B / D**beta",
        "variables": ["D"],
    },
}
QUICK = {"bootstrap": 3, "delta": 0.01}


@pytest.fixture(scope="module")
def runs():
    """Runs of four groups of different sizes."""
    rng, parts = np.random.default_rng(3), []
    for group, count in SIZES.items():
        d = np.geomspace(1e6, 1e10, count)
        loss = 1 + rng.uniform(5, 20) * d**-0.15 / (1 + d / 10 ** rng.uniform(7, 9)) ** 0.1
        noisy = loss * np.exp(rng.normal(0, 0.003, count))
        parts.append(pd.DataFrame({"N": 1e8, "D": d, "loss": noisy, "group": group}))
    columns = {name: name for name in ("N", "D", "loss", "group")}
    return isoloss.read_runs(pd.concat(parts, ignore_index=True), columns)


def numbers(fit, group):
    """All numbers of the tables of a group's fit."""
    names = ("params", "summary", "starts", "replicates", "scores")
    tables = (getattr(fit, name) if hasattr(fit, name) else fit.tables[name] for name in names)
    rows = (table[table["group"] == group].select_dtypes("number") for table in tables)
    return np.concatenate([own.to_numpy(float).ravel() for own in rows])


CASES = [
    *(("power_law", name) for name in ("huber_log", "huber")),
    ("broken_power_law", "huber_log"),
    ("formula", "log_mse"),
]


@pytest.mark.parametrize(("law", "objective"), CASES)
def test_a_group_alone_has_the_numbers_that_it_has_in_company(runs, law, objective):
    settings = {**QUICK, "objective": objective, "options": LAWS[law]}
    if law == "power_law":
        settings["holdout"] = {"rule": "random", "repeats": 3}
    whole = fit_law(runs[runs["group"] != "c"], law, **settings)
    alone = fit_law(runs[runs["group"] == "b"], law, **settings)
    np.testing.assert_allclose(numbers(whole, "b"), numbers(alone, "b"), rtol=1e-12)


def test_descents_of_groups_advance_in_few_calls(runs, monkeypatch):
    counts, real = [], descent._Block.look

    def noted(block, free, below):
        counts.append(len(free))
        return real(block, free, below)

    monkeypatch.setattr(descent._Block, "look", noted)
    settings = {**QUICK, "bootstrap": 0, "options": LAWS["power_law"]}
    each = []
    for group in ("b", "c"):  # as many runs, so that they share every block
        fit_law(runs[runs["group"] == group], "power_law", **settings)
        each.append(len(counts))
        counts.clear()
    fit_law(runs[runs["group"].isin(["b", "c"])], "power_law", **settings)
    assert len(counts) <= max(each) + 5


def test_what_is_held_of_replicates_does_not_grow_with_the_groups(runs, monkeypatch):
    sizes, real = [], descent.together

    def noted(searches):
        sizes.append(len(searches))
        return real(searches)

    monkeypatch.setattr("isoloss.fit.law.SEARCHED", 200)
    monkeypatch.setattr("isoloss.fit.solve.together", noted)
    fit_law(runs, "power_law", options=LAWS["power_law"], bootstrap=4)
    # searches and replicates of two groups, then of the third
    assert [size for size in sizes if size] == [2, 2, 1, 1]


@pytest.mark.parametrize("breaks", [1, 2])
def test_exact_second_derivatives_are_those_of_differences(breaks):
    law, rng = broken_power_law.make("D", breaks), np.random.default_rng(0)
    data = {"D": np.exp(rng.normal(0, 2, 12))}
    theta = 0.5 * rng.normal(size=(3, len(law.terms)))
    slope, curvature, weight = rng.normal(size=(3, 3, 12))
    sums = []
    for on_runs in (law.on(data), LawOnRuns(law, data)):
        loss, inner = on_runs.at(theta)
        np.testing.assert_array_equal(loss, law.loss(theta, data))
        sums.append(on_runs.sums(inner, slope, curvature, weight))
    for name in ("gradient", "absolute", "hessian", "outer"):
        ours, plain = (getattr(one, name) for one in sums)
        np.testing.assert_allclose(ours, plain, atol=1e-6 * np.abs(plain).max())


def test_a_system_is_solved_to_the_same_bits_in_any_company():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((3 * FEW, 5, 7))
    matrix, right = root @ np.swapaxes(root, -1, -2), rng.standard_normal((3 * FEW, 5))
    matrix[1] *= -1
    solution, sound = cholesky_solve(matrix, right)
    few, few_sound = cholesky_solve(matrix[:FEW], right[:FEW])
    assert sound.sum() == 3 * FEW - 1 and not few_sound[1]
    np.testing.assert_array_equal(few, solution[:FEW])
