"""Laws that are written as formulas: those that are cards too, and those of any other form."""

from __future__ import annotations

import numpy as np
import pytest

from isoloss.core.problems import IsolossError
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


FORMS = {
    "E + A * N**-alpha * (1 + experts / S)**-gamma": {
        "E": 1.6, "A": 46.0, "alpha": 0.2, "S": 4.0, "gamma": 0.09,
    },
    "exp(a + b * log(N) + c * log(D) + e * log(N)**2)": {
        "a": 5.0, "b": -0.2, "c": -0.03, "e": 0.003,
    },
    "E + A / N**alpha + c * (log(experts) - m)**2": {
        "E": 2.0, "A": 100.0, "alpha": 0.3, "c": 0.02, "m": 2.5,
    },
    "E + A / N**alpha - h * tanh(k * (log(D) - 24))": {
        "E": 2.0, "A": 100.0, "alpha": 0.3, "h": 0.2, "k": 0.7,
    },
    "E + A / N**alpha * exp(-experts / g)": {
        "E": 2.0, "A": 100.0, "alpha": 0.3, "g": 3.0,
    },
    "E + A / N**alpha * tanh(experts / g)": {
        "E": 2.0, "A": 100.0, "alpha": 0.3, "g": 3.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("text", FORMS)
def test_a_law_of_any_form_is_recovered_from_runs_without_noise(text):
    law = formula_law(text, [name for name in DATA if name in text])
    assert isinstance(law, FormulaLaw)
    own = {name: DATA[name] for name in law.variables}
    true = FORMS[text]
    fit = fitted(law, law.loss(law.theta(true), own), objective=Objective("log_mse"))
    given = fit.law.values(fit.theta)
    assert {k: abs(v) for k, v in given.items()} == pytest.approx(
        {k: abs(v) for k, v in true.items()}, rel=1e-5
    )
    assert fit.search()["n_agree"] > 8


def test_derivatives_of_a_formula_by_its_coordinates_are_exact():
    law = formula_law("E + A * N**-alpha * (1 + experts / S)**-gamma", ["N", "experts"])
    own = {name: DATA[name] for name in law.variables}
    theta = law.theta({"E": 1.6, "A": 46.0, "alpha": 0.2, "S": 4.0, "gamma": 0.09})
    step = 1e-6 * np.eye(5)
    ahead, behind = law.loss(theta + step, own), law.loss(theta - step, own)
    np.testing.assert_allclose(law.gradient(theta, own), (ahead - behind).T / 2e-6, rtol=1e-6)
    on_runs, slope = law.on(own), np.linspace(-1, 1, len(LOSS))[None]
    sums = on_runs.sums(on_runs.at(theta[None])[1], slope, 0 * slope, 0 * slope)
    change = law.gradient(theta + step, own) - law.gradient(theta - step, own)
    expected = np.einsum("n,inp->ip", slope[0], change) / 2e-6
    np.testing.assert_allclose(sums.hessian[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "log", "free"),
    [
        ("E + A / N**alpha", "E A", "alpha"),
        ("a + b * log(N)", "", "a b"),
        ("E - A * N**-alpha; A >= -3", "E", "A alpha"),
        ("E + A * (N / S)**-alpha * (1 + B * experts**beta)", "E A S B", "alpha beta"),
        ("sigmoid(a + b * log(N))", "", "a b"),
        ("c * (log(N) - m)**2 + E; c > 0; m > 0", "c m E", ""),
        ("E + (A / N)**alpha; 0 < alpha < 1", "E A", "alpha"),
    ],
)
def test_a_parameter_has_the_sign_that_the_form_or_a_limit_gives_it(text, log, free):
    terms = formula_law(text, ["N", "experts"]).terms
    assert [term.name for term in terms if term.log] == log.split()
    assert [term.name for term in terms if not term.log] == free.split()


def test_limits_that_the_user_writes_are_bounds():
    text = "E + (A / N)**alpha + B / D**beta; 0.4 < alpha < 0.5; E <= 1.2"
    for law in (formula_law(text, ["N", "D"]), formula_law(text.replace("(A / N)", "A / N"), "ND")):
        fit = fitted(law)
        assert 0.4 <= values(fit)["alpha"] <= 0.5
        assert values(fit)["E"] <= 1.2 * (1 + 1e-9)
        assert dict(zip([t.name for t in law.terms], fit.at_bound(), strict=True))["E"]


@pytest.mark.parametrize("text", ["E + A / N**alpha", "(A / N)**alpha + E", "A / N**alpha"])
def test_responses_that_are_not_all_above_zero_free_the_sign_of_the_offset(text):
    loss = 30 / DATA["N"] ** 0.2 - 0.8
    law = formula_law(text, ["N"])
    settled = law.settled({"N": DATA["N"]}, loss)
    freed = "E" if "E" in text else "A"
    assert settled.decided == {"any_sign": [freed]}
    assert not settled.terms[settled.index(freed)].log
    again = made_law("formula", {"formula": text, "variables": ["N"], **settled.decided})
    assert again == settled != law
    assert law.settled({"N": DATA["N"]}, loss + 5) == law
    if freed == "E":
        fit = fitted(law, loss, objective=Objective("huber"))
        assert values(fit)["E"] == pytest.approx(-0.8, rel=1e-4)


@pytest.mark.parametrize("limit", ["", "; k > 0", "; 0 < k < 1", "; 0.4 < k"])
def test_an_exponent_in_an_exp_is_the_exponent(limit):
    loss = noisy(1.7 + 400 / DATA["N"] ** 0.34)
    one = fitted(formula_law(f"E + A * exp(-k * log(N)){limit}", ["N"]), loss)
    other = fitted(formula_law(f"E + A * N**-k{limit}", ["N"]), loss)
    assert values(one) == pytest.approx(values(other), rel=1e-6)
    held = values(one)
    rebuilt = held["E"] + held["A"] * np.exp(-held["k"] * np.log(DATA["N"]))
    np.testing.assert_allclose(rebuilt, one.law.loss(one.theta, {"N": DATA["N"]}), rtol=1e-9)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "top * sigmoid(k * (x - m)); k > 0",
        "top * sigmoid((x - m) / w); w > 0",
        "low + top * sigmoid(k * (x - m))",
        "low + (high - low) * sigmoid(k * (x - m)); k > 0",
        "low + top / (1 + exp(-k * (x - m))); k > 0",
    ],
)
def test_the_middle_of_a_sigmoid_is_sought_among_the_runs(text, zeros):
    x = np.linspace(1.2, 3.6, 50)
    share = np.round(0.9 / (1 + np.exp(-4 * (x - 2.6))), 2)
    loss = share if zeros else np.maximum(share, 0.004)
    fit = fitted(formula_law(text, ["x"]), loss, {"x": x}, objective=Objective("mse"))
    assert values(fit)["m"] == pytest.approx(2.6, abs=0.02)
    assert fit.search()["n_agree"] > 16


def test_runs_at_which_a_formula_has_no_value_are_named():
    data = {"N": np.array([1e7, 1e8, 1e9, 1e9]), "x": np.array([1.0, 0.0, 2.0, 0.0])}
    law = formula_law("E + A / N**alpha + b / x", ["N", "x"])
    with pytest.raises(IsolossError, match=r"run r2 \(N = 1e\+08, x = 0\), run r4"):
        law.settled(data, np.full(4, 3.0), ["r1", "r2", "r3", "r4"])


def test_a_formula_without_parameters_is_refused():
    with pytest.raises(IsolossError, match="no parameter"):
        formula_law("N + D", ["N", "D"])


MESSY = [
    "E + F + A * B / N**alpha",
    "A / N**(alpha + beta)",
    "E + A * exp(-k * x)",
    "where(N < S, A / N**a, B / N**b)",
    "log(E + A / N**a)",
    "A / N**a / (1 - B * x)",
    "E + A * x + B * x",
]


@pytest.mark.parametrize("seed", range(len(MESSY)))
def test_runs_that_do_not_identify_a_formula_end_in_a_fit(seed):
    rng = np.random.default_rng(seed)
    count = [6, 7, 40][seed % 3]
    data = {
        "N": np.repeat(10 ** rng.uniform(7, 9, 3), count)[:count],
        "x": rng.integers(0, 3, count),
    }
    loss = (
        rng.normal(0, 10.0 ** rng.integers(-3, 4), count) if seed % 2 else rng.uniform(1, 3, count)
    )
    text = MESSY[seed]
    law = formula_law(text, [name for name in data if name in text])
    objective = Objective("huber", delta=float(np.std(loss)) / 10)
    own = {name: np.asarray(data[name], dtype=float) for name in law.variables}
    fit = fitted(law, loss, own, objective=objective)
    assert np.isfinite(fit.theta).all()
    assert np.isfinite(fit.objective_value)
    weight = rng.integers(0, 3, (5, count)).astype(float)
    assert fit.replicates(weight).estimates.theta.shape == (5, len(fit.theta))


def test_a_typed_law_of_n_and_d_divides_a_budget_as_the_card_does():
    card = made_law("chinchilla", {"E": "positive"})
    own = {"E": 1.7, "A": 400.0, "B": 410.0, "alpha": 0.34, "beta": 0.28}
    for text, typed in (
        ("E + A / N**alpha + B / D**beta", own),
        ("E + 2 * A * (N**2 / 1e6)**-alpha + B / D**beta", {**own, "alpha": 0.17}),
    ):
        law = formula_law(text, ["N", "D"])
        if "1e6" in text:
            typed["A"] = own["A"] / 2 / 1e6**0.17
        assert law.allocates
        allocated = law.allocate(law.theta(typed), 1e21)
        np.testing.assert_allclose(allocated, card.allocate(card.theta(own), 1e21), rtol=1e-9)
    for text in (
        "E + A / N**alpha",
        "E - A / N**a + B / D**b",
        "E + A / N**a + B / D**b + F / N**c",
    ):
        law = formula_law(text, [name for name in "ND" if name in text])
        assert not law.allocates
        with pytest.raises(IsolossError, match="does not give the best N and D"):
            law.allocate(np.zeros(len(law.terms)), 1e21)


@pytest.mark.parametrize(
    "text",
    [
        "E + A * where(N < S, 0, 1)",
        "E + A * where(N < S, 0, log(N / S))",
        "E + A * log(min(N, S))",
        "E + A * max(0, log(N / S))",
    ],
)
def test_a_threshold_is_found_among_the_runs(text):
    law = formula_law(text, ["N"])
    data = {"N": np.geomspace(1e6, 1e9, 60)}
    loss = law.loss(law.theta({"E": 3.0, "A": 1.5, "S": 3e7}), data)
    fit = fitted(law, loss, data)
    assert fit.objective_value < 1e-12
    assert values(fit)["S"] == pytest.approx(3e7, rel=0.15)  # between two runs, where it is a step


def test_a_law_is_shown_as_typed_without_its_limits():
    text = "loss = E +\n  A * where(N < S, (N / S)**-a, 1)\nS > 0; 0 < a < 1"
    assert formula_law(text, ["N"]).formula == "loss = E + A * where(N < S, (N / S)**-a, 1)"


def test_a_variable_at_0_has_no_value_and_gives_no_warning():
    law = formula_law("E + A / N**alpha", ["N"])
    theta = law.theta({"E": 1.0, "A": 2.0, "alpha": 0.3})
    sizes = {"N": np.array([0.0, -1.0, 1.0])}
    assert np.isfinite(law.loss(theta, sizes)).tolist() == [False, False, True]
    assert np.isfinite(law.gradient(theta, sizes)[:, 1]).tolist() == [False, False, True]
