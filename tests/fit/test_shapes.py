"""Settings of a wrong shape or that contradict each other are errors that name their place."""

from __future__ import annotations

import doctest

import pytest

import isoloss
from isoloss.core.problems import IsolossError
from isoloss.fit import shapes


@pytest.fixture(scope="module")
def runs(chinchilla_runs):
    return chinchilla_runs(noise=0.01)


def test_the_examples_hold():
    assert doctest.testmod(shapes).failed == 0


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *(("options", value) for value in (3, ["variable"])),
        *(("fixed", value) for value in (3, ["E"])),
        *(("bounds", value) for value in (3, ["E"], {"E": 1.0}, {"E": (1.0,)}, {"E": "ab"})),
        *(("tied", value) for value in (3, "alpha", ["alpha", "beta"], [["alpha"]])),
        *(("shared", value) for value in (3, "alpha", [3])),
        *(("holdout", value) for value in (3, ["random"], {"rule": "largest", "variable": 3})),
        *(("starts", value) for value in (8, [], [1.0], [[1.0, 2.0]], [["a"]])),
        ("loss_unit", 3),
        ("profiles", "yes"),
        ("bounds E", {"E": (2.0, 1.0)}),
        ("bounds E", {"E": (1.0, 1.0)}),
        ("bounds beta", {"beta": (0.1, 1.0)}),
        ("tied beta", [["alpha", "beta"], ["beta", "alpha"]]),
        ("holdout", {"rule": "random", "by": ["N"]}),
        ("holdout", {"rule": "leave_one_out", "least": 3}),
        ("holdout", {"rule": "random", "apart": "experts"}),
    ],
    ids=str,
)
def test_what_has_a_wrong_shape_is_told_with_its_place(runs, place, value):
    name = place.split(" ")[0]
    beside = {"tied": [["alpha", "beta"]]} if place == "bounds beta" else {}
    with pytest.raises(IsolossError) as error:
        isoloss.fit_law(runs, "chinchilla", **{name: value}, **beside, bootstrap=0)
    assert error.value.problems[0].place.startswith(place)
    assert error.value.problems[0].remedy


def test_a_parameter_above_0_is_not_tied_to_one_of_any_sign(runs):
    settings = {"formula": "loss = E + A / N**alpha + B / D**beta", "bootstrap": 0}
    with pytest.raises(IsolossError, match="one of A and alpha is above 0 by the law"):
        isoloss.fit_law(runs, **settings, tied=[["A", "alpha"]])


def test_a_column_that_is_not_there_is_told_before_anything_is_fitted(runs, monkeypatch):
    monkeypatch.setattr("isoloss.fit.law._solved", pytest.fail)
    with pytest.raises(IsolossError, match="did you mean 'n_params'"):
        isoloss.fit_law(runs, "chinchilla", holdout={"rule": "random", "by": "n_param"})


def test_groups_share_a_parameter_beside_the_largest_values_held_out(runs):
    two = runs.assign(group=["a", "b"] * (len(runs) // 2) + ["a"] * (len(runs) % 2))
    settings = {"shared": ["alpha"], "fixed": {"E": 1.7}, "bootstrap": 0}
    fit = isoloss.fit_law(two, "chinchilla", holdout="largest:N", **settings)
    assert (fit.summary["n_held_out"] > 0).all()
