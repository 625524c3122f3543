"""An expression is least where it says, over any variables under any constraints."""

from __future__ import annotations

import numpy as np
import pytest
from written_laws import Written, fit_of

import isoloss
from isoloss.core.problems import IsolossError
from isoloss.fitted.reach import of_row
from isoloss.laws import chinchilla
from isoloss.laws._formula import formula_law

SIZES = {"N": (1e7, 1e10), "D": (1e9, 1e12)}
VALUES = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.347, "beta": 0.367}


@pytest.fixture(scope="module")
def of_sizes():
    return fit_of(chinchilla.make(), VALUES, SIZES)


@pytest.fixture(scope="module")
def moe():
    text = "E + A / (N**alpha * (experts / (1 + experts / S))**gamma) + B / D**beta"
    law = Written(text + " + k * log(experts)**2", ("N", "D", "experts"), ("E", "A", "B", "S", "k"))
    values = {**VALUES, "S": 30.0, "gamma": 0.15, "k": 2e-4}
    return fit_of(law, values, {**SIZES, "experts": (1, 64)}, 0.01)


def test_the_division_of_a_budget_is_the_one_in_closed_form(of_sizes):
    budgets = [1e20, 1e22, 5.76e23]
    best = of_sizes.optimize(subject_to="6*N*D <= C", given={"C": budgets})
    exact = of_sizes.allocate(budgets)
    for name in ("N", "D", "loss"):
        for end in ("", "_low", "_high"):
            np.testing.assert_allclose(best[name + end], exact[name + end], rtol=1e-6)
    np.testing.assert_allclose(best["distance"], exact["distance"], rtol=1e-6)
    assert best["active"].tolist() == ["6*N*D <= C"] * 3
    assert best["replicates"].tolist() == exact["replicates"].tolist()


def test_experts_are_chosen_as_a_grid_of_all_choices_finds_them(moe):
    best = moe.optimize(over="experts", subject_to="6*N*D <= 1e21").iloc[0]
    experts = np.exp(np.linspace(0, 6, 601))[:, None]
    n = np.geomspace(1e8, 1e11, 601)[None, :]
    points = {"N": (n + 0 * experts).ravel(), "experts": (experts + 0 * n).ravel()}
    points["D"] = 1e21 / 6 / points["N"]
    losses = moe.loss(**points)
    at = int(np.argmin(losses))
    assert best["loss"] <= losses[at] + 1e-12
    for name in ("N", "D", "experts"):
        assert best[name] == pytest.approx(points[name][at], rel=0.02)
    assert best["experts_low"] < best["experts"] < best["experts_high"]


def test_a_whole_number_is_the_better_of_both_sides(moe):
    asked = {"over": "experts", "subject_to": "6*N*D <= 1e21"}
    free, whole = moe.optimize(**asked), moe.optimize(**asked, integers=["experts"])
    sides = np.floor(free["experts"].item()) + np.arange(2)
    around = moe.optimize(subject_to="6*N*D <= 1e21", given={"experts": sides})["loss"]
    assert whole["loss"].item() == pytest.approx(min(around), rel=1e-12)
    assert float(whole["experts"].item()).is_integer()
    few = moe.optimize(subject_to="6*N*D <= 1e21", within={"experts": (1, 8)})
    assert few["at_limit"].item() == "experts" and few["experts"].item() == pytest.approx(8)
    for open_end in ((None, 8), (few["experts"].item() * 0.5, None)):
        one = moe.optimize(subject_to="6*N*D <= 1e21", within={"experts": open_end})
        at_limit = one["at_limit"].item() == "experts"
        assert at_limit == (open_end[1] is not None) and one["experts"].item() >= 7.99


def test_an_optimum_inside_and_the_lower_of_two_valleys_are_found():
    text = "E + A / N**alpha + c * log(lr / (l * N**m))**2"
    law = Written(text, ("N", "lr"), ("E", "A", "c", "l"))
    values = {"E": 1.8, "A": 480.0, "alpha": 0.35, "c": 0.02, "l": 40.0, "m": -0.5}
    fit = fit_of(law, values, {"N": (1e7, 1e9), "lr": (1e-4, 1e-2)})
    best = fit.optimize(over="lr", given={"N": 1e8}).iloc[0]
    assert best["lr"] == pytest.approx(40.0 * 1e8**-0.5, rel=1e-7)
    assert best["distance"] == 1.0 and best["active"] == ""
    valleys = Written("E + a * (x**2 - 1)**2 + b * x", ("x",), ("E", "a"))
    fit = fit_of(valleys, {"E": 2.0, "a": 1.0, "b": 0.1}, {"x": (-2.0, 2.0)})
    best = fit.optimize(over="x").iloc[0]
    roots = np.roots([4.0, 0.0, -4.0, 0.1])
    assert best["x"] == pytest.approx(roots.real.min(), rel=1e-8)
    assert best["x_low"] < -1 < best["x_high"] or best["x_high"] < -0.9


def test_an_optimum_near_the_runs_comes_before_a_fall_far_outside_them():
    law = Written("E + A / N**alpha + k * log(N) - c * N", ("N",), ("E", "A", "k", "c"))
    values = {"E": 1.8, "A": 480.0, "alpha": 0.35, "k": 0.05, "c": 1e-14}
    best = fit_of(law, values, {"N": (1e7, 1e9)}).optimize(over="N").iloc[0]
    balance = (480 * 0.35 / 0.05) ** (1 / 0.35)
    assert best["lower_outside"] and best["N"] == pytest.approx(balance, rel=0.01)
    assert best["reached"] == 1.0 and np.isfinite(best["N_high"])


def test_a_model_that_is_served_is_smaller_as_published():
    # arXiv:2401.00448, figure 1: for the quality of a 13B model and 2e12 tokens of inference, one
    # of 7B saves 1.7e22 FLOP, 17 %
    values = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.336, "beta": 0.283}
    fit = fit_of(chinchilla.make(), values, SIZES)
    tokens = fit.data_for(13e9)["D"].item()
    loss = fit.loss(N=13e9, D=tokens).item()
    question = {"minimize": "6*N*D + 2*N*served", "subject_to": "loss <= target"}
    best = fit.optimize(**question, given={"served": 2e12, "target": loss})
    before = 6 * 13e9 * tokens + 2 * 13e9 * 2e12
    saved = before - best["minimum"].item()
    assert best["N"].item() == pytest.approx(7e9, rel=0.02)
    assert saved == pytest.approx(1.7e22, rel=0.01) and saved / before == pytest.approx(
        0.17, abs=0.005
    )
    assert best["loss"].item() == pytest.approx(loss, rel=1e-9)
    assert best["minimum_low"].item() < best["minimum"].item() < best["minimum_high"].item()


def test_variables_without_an_end_in_some_refits_leave_intervals_open():
    law = Written("E + A / N**alpha + k * log(N)", ("N",), ("E", "A"))
    values = {"E": 1.8, "A": 480.0, "alpha": 0.35, "k": 0.003}
    fit = fit_of(law, values, {"N": (1e7, 1e9)}, spread=0.8, replicates=200)
    best = fit.optimize(over="N").iloc[0]
    assert np.isfinite(best["N"]) and np.isinf(best["N_high"])


def test_constraints_that_say_the_same_and_equations_are_met(of_sizes):
    one = of_sizes.optimize(subject_to=["6*N*D <= 1e22"])
    two = of_sizes.optimize(subject_to=["1e22 >= 6*N*D", "N*D <= 1e22 / 6", "N <= 1e12"])
    equal = of_sizes.optimize(subject_to="6*N*D = 1e22")
    for other in (two, equal):
        np.testing.assert_allclose(other["N"], one["N"], rtol=1e-5)
    ratio = of_sizes.optimize(subject_to=["6*N*D <= 1e22", "D == 20*N"]).iloc[0]
    assert ratio["D"] == pytest.approx(20 * ratio["N"], rel=1e-8)
    assert ratio["N"] == pytest.approx((1e22 / 120) ** 0.5, rel=1e-8)


REFUSED = {
    "nothing to choose": ({}, "over: nothing is chosen; name some of N, D"),
    "a variable without a value": ({"over": "N"}, "variable D: is neither given nor chosen"),
    "compute by its letter": ({"subject_to": "6*N*D <= C"}, "write 6*N*D for compute"),
    "an unknown name": ({"over": ["N", "Dd"]}, "over Dd: is not a variable of the law; did you"),
    "a name that nobody gives": ({"minimize": "6*N*D + serve"}, "name serve: is neither"),
    "a misspelt value": ({"over": "N", "given": {"DD": 1e9}}, "given DD: is neither a variable"),
    "no end": ({"over": "D", "given": {"N": 1e9}}, "falls all the way to"),
    "no effect": ({"over": ["x"], "within": {"x": (1, 2)}, "given": {"N": 1e9, "D": 1e9}}, None),
    "out of reach": ({"minimize": "N*D", "subject_to": "loss <= 1.5"}, "the nearest has loss 1.8"),
    "not a relation": ({"subject_to": "6*N*D"}, "is not a comparison"),
    "limits": ({"subject_to": "N*D<=1e20", "within": {"N": (2, 1)}}, "the lower first"),
    "both ends open": ({"subject_to": "N*D<=1e20", "within": {"N": (None, None)}}, "no limit"),
    "beyond": ({"subject_to": "N*D<=1e20", "within": {"N": (1e30, None)}}, "give both limits"),
    "given and chosen": ({"over": "N", "given": {"N": 1, "D": 1}}, "is given a value"),
    "lengths": ({"subject_to": "N*D<=a*b", "given": {"a": [1, 2], "b": [1, 2, 3]}}, "one length"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_question_without_an_answer_says_why(name, of_sizes):
    asked, text = REFUSED[name]
    if text is None:
        assert of_sizes.optimize(**asked)["loss"].item() > 1.8
        return
    with pytest.raises(IsolossError) as error:
        of_sizes.optimize(**asked)
    assert text in str(error.value)


def test_laws_without_an_expression_and_mixtures_say_what_to_use():
    with pytest.raises(IsolossError, match="best_mixture"):
        isoloss.preset("exponential_mixing:internet").optimize(over="p_web")


def test_a_published_law_of_repeated_data_is_asked_as_any_other():
    law = isoloss.preset("data_constrained:muennighoff")
    best = law.optimize(subject_to="6*N*D <= 1e21", given={"U": 2.5e9}).iloc[0]
    n = best["N"] * np.exp(np.linspace(-1, 1, 401))
    losses = law.loss(N=n, D=1e21 / 6 / n, U=2.5e9)
    assert best["loss"] <= losses.min() + 1e-9
    assert np.isnan(best["N_low"]) and best["replicates"] == 0


def test_a_formula_of_an_accuracy_is_greatest_where_its_quadratic_is():
    text = "accuracy = lo + h * sigmoid(a + b * log(N)) - c * (log(lr) - m)**2"
    law = formula_law(text, ["N", "lr"])
    values = {"lo": 0.25, "h": 0.7, "a": -20.0, "b": 1.0, "c": 0.01, "m": -6.5}
    fit = fit_of(law, values, {"N": (1e7, 1e10), "lr": (1e-4, 1e-2)}, 0.001)
    fit.facts["response"] = "accuracy"
    best = fit.optimize("-accuracy", over="lr", given={"N": [1e8, 1e9]})
    np.testing.assert_allclose(best["lr"], np.exp(-6.5), rtol=1e-8)
    np.testing.assert_allclose(best["accuracy"], -best["minimum"])
    np.testing.assert_allclose(best["accuracy"], fit.loss(N=[1e8, 1e9], lr=np.exp(-6.5)))


@pytest.mark.parametrize("variable", ["loss", "x"])
def test_without_an_expression_what_was_fitted_is_least_and_the_nearest_to_a_limit_is_told(
    variable,
):
    """The loss was least, though a variable; and the nearest accuracy was the lowest one."""
    text = f"accuracy = lo + h * sigmoid(-k * ({variable} - m))"
    law = formula_law(text, [variable])
    values = {"lo": 0.25, "h": 0.6, "k": 3.0, "m": 2.6}
    fit = fit_of(law, values, {variable: (2.4, 4.6)}, 0.001)
    fit.facts["response"] = "accuracy"
    best = fit.optimize(over=variable, within={variable: (2.0, 4.0)})
    np.testing.assert_allclose(best["accuracy"], best["minimum"])
    assert best[variable].item() == 4.0
    nearest = r"the nearest has accuracy 0\.8[45]"
    with pytest.raises(IsolossError, match=nearest):
        fit.optimize(f"100 - {variable}", subject_to="accuracy >= 0.9")
    with pytest.raises(IsolossError, match=nearest):
        fit.optimize(f"{variable}**-1", subject_to="accuracy >= 0.9")


def test_how_far_a_point_is_outside_does_not_depend_on_the_points_beside_it(of_sizes):
    """Beside a point at 0 or below all were told in widths of the range, which are small."""
    alone = of_sizes.predict(N=1e5, D=1e10)
    beside = of_sizes.predict(N=[1e5, 0.0, -1e7], D=1e10)
    assert alone["distance"][0] == beside["distance"][0] == pytest.approx(100, rel=0.1)
    assert np.isinf(beside["distance"][1:]).all() and (beside["farthest"] == "N").all()
    told = [of_row(row).text for row in beside.to_dict("records")]
    assert told[1:] == ["N at or below 0"] * 2
