"""Laws that are written as formulas: those that are cards too, and those of any other form."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.fit.objectives import Objective
from isoloss.fit.solve import Constraints, solve
from isoloss.laws._formula import FormulaLaw, FormulaSum, formula_law
from isoloss.laws._make import made_law

CARDS = [
    ("chinchilla", {"E": "positive"}, "E + A / N**alpha + B / D**beta"),
    ("chinchilla", {"E": "any"}, "E + A * N**-alpha + B / D**beta; E > -100"),
    ("power_law", {"variable": "D", "offset": True}, "loss = E + A * (1 / D)**alpha"),
    ("power_law", {"variable": "N", "offset": False}, "A / N**alpha"),
    ("growth", {"variable": "C", "offset": True}, "E + A * C**gamma; gamma > 0"),
    ("growth", {"variable": "D", "offset": False}, "A * D**gamma; gamma > 0"),
    ("over_training", {}, "E + a / (6 * N**2)**eta + b * (6 * D * D)**-eta"),
]
every_card = pytest.mark.parametrize(("card", "options", "text"), CARDS)


def points(count: int = 40, seed: int = 0) -> dict[str, np.ndarray]:
    """Runs of any sizes."""
    rng = np.random.default_rng(seed)
    n, d = 10 ** rng.uniform(7, 10, count), 10 ** rng.uniform(9, 12, count)
    return {"N": n, "D": d, "C": 6 * n * d, "experts": 2.0 ** rng.integers(0, 8, count)}


def noisy(loss: np.ndarray, size: float = 0.003) -> np.ndarray:
    return loss * np.exp(np.random.default_rng(1).normal(0, size, len(loss)))


DATA = points()
LOSS = noisy(1.7 + 400 / DATA["N"] ** 0.34 + 410 / DATA["D"] ** 0.28)
GROWING = noisy(0.5 + 0.02 * DATA["C"] ** 0.05 + 0.1 * (DATA["D"] / 1e9) ** 0.3)


def fitted(law, loss=LOSS, data=DATA, constraints=None, starts=None, objective=None):
    own = {name: data[name] for name in law.variables}
    weight, held = np.ones(len(loss)), constraints or Constraints()
    law = law.settled(own, loss)
    return solve(law, own, loss, weight, objective or Objective(), held, starts)


def values(fit) -> dict[str, float]:
    return fit.law.values(fit.theta)


@every_card
def test_a_card_that_is_written_as_a_formula_is_fitted_to_the_same(card, options, text):
    loss = GROWING if card == "growth" else LOSS
    own = made_law(card, options)
    typed = formula_law(text, own.variables)
    assert isinstance(typed, FormulaSum)
    one, other = fitted(own, loss), fitted(typed, loss)
    assert other.objective_value == pytest.approx(one.objective_value, rel=1e-9)
    assert values(other) == pytest.approx(values(one), rel=1e-9 if one.sound else 1e-6)
    assert other.search()["n_agree"] > 1


@pytest.mark.parametrize(
    "held",
    [
        Constraints(fixed={"E": 1.7}),
        Constraints(tied=[["alpha", "beta"]]),
        Constraints(bounds={"alpha": [0.4, None], "A": [1.0, 900.0]}),
        Constraints(fixed={"beta": 0.28, "alpha": 0.34}, tied=[["A", "B"]]),
    ],
)
def test_parameters_are_held_tied_and_bounded_as_those_of_a_card(held):
    one = fitted(made_law("chinchilla", {"E": "positive"}), constraints=held)
    other = fitted(formula_law("E + A / N**alpha + B / D**beta", ["N", "D"]), constraints=held)
    general = fitted(FormulaLaw(other.law.asked), constraints=held)
    assert values(other) == pytest.approx(values(one), rel=1e-9)
    assert other.objective_value == pytest.approx(one.objective_value, rel=1e-9)
    assert isinstance(general.law, FormulaLaw)
    assert values(general) == pytest.approx(values(one), rel=1e-6)
    assert general.at_bound() == [one.at_bound()[one.law.index(t.name)] for t in general.law.terms]


def test_starts_are_given_in_the_users_units():
    law = formula_law("E + (A / N)**alpha + B / D**beta", ["N", "D"])
    start = law.theta({"E": 1.5, "A": 4e7, "alpha": 0.3, "B": 500.0, "beta": 0.3})
    assert values(fitted(law, starts=[start])) == pytest.approx(values(fitted(law)), rel=1e-6)
