"""The compute-optimal frontier from budgets: of profiles that no parabola is, and of few minima."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.core import registry
from isoloss.laws import chinchilla
from isoloss.laws._budgets import budgets_of
from isoloss.laws.isoflop_parabolas import noise

TRUTHS = {
    "hoffmann": chinchilla.PRESETS["hoffmann"]["values"],
    "unequal": {"E": 1.7, "A": 1200.0, "B": 300.0, "alpha": 0.45, "beta": 0.27},
}
GRIDS = {"narrow": (4, 7, 1), "wide": (50, 11, 1), "off-centre": (10, 9, 3)}
BUDGETS = np.geomspace(1e18, 1e21, 7)
LAW = chinchilla.make()


def profiles(truth: str, width: float, sizes: int, centre=1.0) -> tuple[dict, np.ndarray]:
    """Runs of seven budgets around the best size times a factor, and their losses without noise."""
    theta = LAW.theta(TRUTHS[truth])
    best = LAW.allocate(theta[None], BUDGETS)[0]
    n = (best * centre)[:, None] * np.geomspace(1 / width, width, sizes)
    c = np.repeat(BUDGETS, sizes)
    data = {"N": n.ravel(), "D": c / 6 / n.ravel(), "C": c}
    return data, LAW.loss(theta, data)


def exponent(truth: str) -> float:
    values = TRUTHS[truth]
    return values["beta"] / (values["alpha"] + values["beta"])


def made(method: str = "parabola"):
    return registry.card("law", "isoflop_parabolas").make(method=method)


def exponents_of_draws(law, data, loss, noise: float, studies: int) -> np.ndarray:
    """a of simulated studies, each with noise of its own, (studies,)."""
    weight = np.ones(len(loss))
    drawn = [
        loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(loss)))
        for seed in range(studies)
    ]
    return np.array([law.estimate(data, each, weight).theta[1] for each in drawn])


def fitted(data, loss, **settings):
    table = pd.DataFrame({**data, "loss": loss})
    runs = isoloss.read_runs(table, {name: name for name in ("N", "D", "C", "loss")})
    return isoloss.fit_law(runs, "isoflop_parabolas", seed=0, **settings)


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("grid", GRIDS)
def test_the_exponent_of_a_known_law_has_hardly_a_bias(grid, truth):
    """Without noise below 0.005; in 12 studies with it below four standard errors and 0.005."""
    data, loss = profiles(truth, *GRIDS[grid])
    plain = made().estimate(data, loss, np.ones(len(loss))).theta[1]
    assert plain == pytest.approx(exponent(truth), abs=0.005)
    slopes = exponents_of_draws(made(), data, loss, 0.005, 12)
    error = slopes.std(ddof=1) / np.sqrt(12)
    assert abs(slopes.mean() - exponent(truth)) < 4 * error + 0.005
    assert slopes.std() < 0.03


def test_interpolation_finds_the_exponent_with_more_noise():
    data, loss = profiles("hoffmann", *GRIDS["narrow"])
    slopes = {m: exponents_of_draws(made(m), data, loss, 0.002, 10) for m in ("parabola", "akima")}
    for each in slopes.values():
        assert each.mean() == pytest.approx(exponent("hoffmann"), abs=0.02)
    assert slopes["akima"].std() > slopes["parabola"].std()


def test_intervals_hold_the_exponent_about_as_often_as_they_say():
    """Of 24 studies at a coverage of .95 fewer than 18 hold it once in ten thousand times."""
    data, loss = profiles("hoffmann", *GRIDS["wide"])
    law, weight, held = made(), np.ones(len(loss)), 0
    for seed in range(24):
        rng = np.random.default_rng(seed)
        own = loss * np.exp(0.005 * rng.standard_normal(len(loss)))
        drawn = rng.multinomial(len(loss), weight / len(loss), size=60).astype(float)
        many = law.again(law.estimate(data, own, weight), [(data, own, each) for each in drawn])
        low, high = np.quantile([one.theta[1] for one in many], [0.025, 0.975])
        held += low <= exponent("hoffmann") <= high
    assert held >= 18


def test_replicates_together_are_those_one_by_one():
    data, loss = profiles("unequal", *GRIDS["off-centre"])
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(loss), np.full(len(loss), 1 / len(loss)), size=20).astype(float)
    for method in ("parabola", "akima"):
        law = made(method)
        best = law.estimate(data, loss, np.ones(len(loss)))
        together = law.again(best, [(data, loss, each) for each in weights])
        for each, one in zip(weights, together, strict=True):
            (alone,) = law.again(best, [(data, loss, each)])
            np.testing.assert_allclose(one.theta, alone.theta, rtol=1e-9)


def test_intervals_of_interpolated_minima_are_not_called_sound():
    data, loss = profiles("unequal", *GRIDS["off-centre"])
    for method, narrow in (("parabola", False), ("akima", True)):
        law = made(method)
        doubts = law.doubts(law.estimate(data, loss, np.ones(len(loss))))
        assert any(d.grave and "method akima are too narrow" in d.found for d in doubts) == narrow


def test_a_budget_whose_best_size_is_at_an_edge_is_left_out_and_named():
    data, loss = profiles("hoffmann", *GRIDS["wide"])
    first = np.isclose(data["C"], BUDGETS[0])
    small = first & (data["N"] < np.median(data["N"][first]) * 1.01)
    best = made().estimate(data, loss, np.where(small, 0.0, 1.0))
    assert best.state.left_out == [0]
    doubt, *_ = made().doubts(best)
    words = "1 of 7 budgets is left out: C = 1e18 (least loss at the smallest size)"
    assert doubt.found == words and not doubt.grave
    assert best.theta[1] == pytest.approx(exponent("hoffmann"), abs=0.005)


def test_a_fit_says_which_budgets_it_left_out_and_is_not_converged_by_two():
    data, loss = profiles("hoffmann", *GRIDS["wide"])
    best = LAW.allocate(LAW.theta(TRUTHS["hoffmann"])[None], data["C"])[0]
    for edges, status, grade in ((1, "converged", "note"), (5, "undetermined", "care")):
        inside = (data["C"] > BUDGETS[edges - 1] * 1.1) | (data["N"] > 0.9 * best)
        fit = fitted({k: v[inside] for k, v in data.items()}, loss[inside], bootstrap=20)
        assert fit.summary["status"].item() == status
        assert f"{edges} of 7 budgets " in fit.summary["message"].item()
        findings = fit.findings[fit.findings["check"] == "frontier"]
        named = findings[findings["found"].str.contains("least loss at the smallest size")]
        assert list(named["grade"]) == [grade]
    assert fit.summary["verdict"].item() == "do not use"


def test_minima_that_noise_moves_by_more_than_the_frontier_rises_determine_nothing():
    data, loss = profiles("hoffmann", 4, 7)
    near = data["C"] < BUDGETS[2] * 1.1
    data, loss = {k: v[near] for k, v in data.items()}, loss[near]
    loss = loss * np.exp(0.01 * np.random.default_rng(3).standard_normal(len(loss)))
    law = made()
    best = law.estimate(data, loss, np.ones(len(loss)))
    assert law.undetermined(best) == ["N_0", "a"]
    assert (
        law.doubts(best)[0].found == "the spread of the minima leaves a known to within 0.36 only"
    )


def test_seeds_say_how_far_a_minimum_moves():
    """Of runs repeated with other seeds, the spread of a budget is that of its seeds."""
    data, loss = profiles("hoffmann", *GRIDS["narrow"])
    rng = np.random.default_rng(0)
    twice = {k: np.tile(v, 4) for k, v in data.items()}
    own = np.tile(loss, 4) * np.exp(0.01 * rng.standard_normal(4 * len(loss)))
    weight = np.ones(len(own))
    sd = noise(list(budgets_of(twice, weight)), own, weight)
    np.testing.assert_allclose(sd, 0.01, rtol=0.2)
    once = noise(list(budgets_of(data, np.ones(len(loss)))), own[: len(loss)], np.ones(len(loss)))
    np.testing.assert_allclose(once, 0.01, rtol=0.5)


@pytest.mark.parametrize("factor", [1.3, 1.05, 0.9])
@pytest.mark.parametrize("place", [0, 2, 3, 5, 6])
def test_one_wild_run_costs_its_own_budget_at_most(factor, place):
    data, loss = profiles("hoffmann", 6, 7)
    loss = loss * np.exp(0.003 * np.random.default_rng(3).standard_normal(len(loss)))
    clean = made().estimate(data, loss, np.ones(len(loss)))
    loss[3 * 7 + place] *= factor
    best = made().estimate(data, loss, np.ones(len(loss)))
    assert set(best.state.left_out) <= {3}
    assert best.theta[1] == pytest.approx(clean.theta[1], abs=0.005)


def test_least_losses_that_no_power_law_describes_are_a_doubt():
    """Those of a law with an offset bend in logarithms; without one they do not."""
    data, loss = profiles("hoffmann", 4, 7)
    for offset, misses in ((0.0, True), (TRUTHS["hoffmann"]["E"], False)):
        own = (loss - offset) * np.exp(0.002 * np.random.default_rng(0).standard_normal(len(loss)))
        best = made().estimate(data, own, np.ones(len(loss)))
        words = [doubt.found for doubt in made().doubts(best) if doubt.grave]
        assert (
            any("the least losses bend: L_0 C^-g misses them by" in each for each in words)
            == misses
        )


def test_the_envelope_leaves_out_budgets_whose_best_run_is_at_an_edge():
    envelope = registry.card("law", "envelope").make()
    data, loss = profiles("hoffmann", 8, 9)
    best = envelope.estimate(data, loss, np.ones(len(loss)))
    assert not best.state.left_out
    last = np.isclose(data["C"], BUDGETS[-1])
    small = ~last | (data["N"] < np.median(data["N"][last]) * 0.99)
    cut = envelope.estimate(data, loss, small.astype(float))
    assert cut.state.reasons[-1] == "least loss at the largest size"
    np.testing.assert_allclose(cut.theta[1], best.theta[1], atol=1e-6)


def test_how_the_best_size_grows_is_told_with_an_interval():
    data, loss = profiles("unequal", *GRIDS["wide"])
    fit = fitted(data, loss * np.exp(0.003 * np.random.default_rng(1).standard_normal(len(loss))),
                 bootstrap=100)  # fmt: skip
    row = fit.exponents([1e20, 1e23])
    assert (row["n_exponent_low"] < row["n_exponent"]).all()
    np.testing.assert_allclose(row["n_exponent"] + row["d_exponent"], 1.0)
    np.testing.assert_allclose(row["n_exponent"], fit.values["a"], rtol=1e-9)
