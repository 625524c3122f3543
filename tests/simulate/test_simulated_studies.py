"""Simulated studies: draws, estimators, and what the tables say of them."""

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.core import tables
from isoloss.core.problems import IsolossError
from isoloss.core.seeds import generator
from isoloss.simulate.noise import noise_of
from isoloss.simulate.plans import plan_of
from isoloss.simulate.recovery import wilson
from isoloss.simulate.truth import truth_of

TRUTH = {"card": "chinchilla", "preset": "hoffmann"}
SPAN = {"from": 1e18, "to": 10**21}  # an integer of more than 64 bits
TOKENS = {"from": 1e9, "to": 1e11}
SEEDS = {"kind": "seed_ranges", "C": SPAN, "N_to_D": {"from": 5, "to": 80}, "runs": 40}
ISOFLOP = {"kind": "isoflop", "C": {**SPAN, "points": 4}, "sizes": 5}
PLAIN = {"huber": {"card": "chinchilla", "bootstrap": 0}}
FLAT = {"card": "chinchilla", "values": {"E": 1.7, "A": 4e2, "B": 4e2, "alpha": 0, "beta": 0.3}}
NORMAL = {"kind": "normal", "sd": 0.01}


def simulated(**changed):
    """The tables of a small simulation."""
    asked = {"truth": TRUTH, "plan": SEEDS, "noise": NORMAL, "estimators": PLAIN}
    asked |= {"replicates": 2, "workers": 1} | changed
    return isoloss.simulate_studies(**asked)


@pytest.mark.parametrize(
    "plan",
    [
        {"kind": "grid", "N": {"from": 1e7, "to": 1e9, "points": 5}, "D": {**TOKENS, "points": 4}},
        ISOFLOP,
        {**ISOFLOP, "ratio": 20},
        SEEDS,
        {**SEEDS, "drawn": False},
        pd.DataFrame({"N": np.geomspace(1e7, 1e9, 9), "D": np.tile([1e9, 3e9, 1e10], 3)}),
    ],
    ids=["grid", "isoflop", "isoflop at a ratio", "seeds", "seeds drawn once", "table"],
)
def test_without_noise_every_plan_recovers_the_truth(plan):
    estimators = {name: {**PLAIN["huber"], "objective": name} for name in ("huber_log", "mse")}
    simulation = simulated(plan=plan, noise=None, estimators=estimators, budgets=[10**23])
    trials = simulation.trials
    assert (trials["status"] == "converged").all()
    assert set(trials["quantity"]) >= {"E", "A", "beta", "n_opt", "d_opt", "loss_opt", "n_exponent"}
    np.testing.assert_allclose(trials["estimate"], trials["truth"], rtol=1e-6)
    assert simulation.recovery["rmse"].max() < 1e-6


def test_the_tables_keep_their_contracts_and_count_their_rows():
    simulation = simulated(
        budgets=[1e22, 1e23], estimators={"b": PLAIN["huber"], "a": PLAIN["huber"]}
    )
    assert tables.conform("trials", simulation.trials).num_rows == 2 * 2 * (5 + 2 * 4)
    assert tables.conform("recovery", simulation.recovery).num_rows == 2 * (5 + 2 * 4)
    assert list(simulation.trials["estimator"].unique()) == ["b", "a"]
    one, other = (
        own.drop(columns="estimator") for _, own in simulation.trials.groupby("estimator")
    )
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))
    assert "n_exponent" in repr(simulation)


def test_results_depend_neither_on_workers_nor_on_the_number_of_replicates():
    mse = {"card": "chinchilla", "objective": "mse", "bootstrap": 5}
    asked = {"replicates": 13, "estimators": {"mse": mse}}
    alone, together = simulated(**asked), simulated(**asked, workers=3)
    pd.testing.assert_frame_equal(alone.trials, together.trials)
    pd.testing.assert_frame_equal(alone.recovery, together.recovery)
    fewer = simulated(**asked | {"replicates": 3}).trials
    first = alone.trials[alone.trials["replicate"] < 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(fewer, first)
    assert alone.trials["estimate"].nunique() == len(alone.trials)


def test_intervals_of_the_bootstrap_cover_about_as_often_as_they_say():
    """Of 40 studies at a coverage of .95 fewer than 33 cover once in a thousand times."""
    estimators = {"mse": {"card": "chinchilla", "objective": "mse", "bootstrap": 60}}
    simulation = simulated(replicates=40, estimators=estimators, budgets=[1e22])
    recovery = simulation.recovery.set_index("quantity")
    assert (recovery["n_converged"] == 40).all()
    assert recovery["coverage"].min() >= 33 / 40
    inside = (recovery["coverage_low"] < recovery["coverage"]) & (
        recovery["coverage"] <= recovery["coverage_high"]
    )
    assert inside.all()
    assert (recovery["bias"].abs() < 4 * recovery["bias_se"]).all()
    own = simulation.trials.query("quantity == 'alpha'")
    assert recovery.loc["alpha", "sd"] == pytest.approx(own["estimate"].std())
    assert recovery.loc["alpha", "coverage"] == own["covered"].mean()
    best = simulation.trials.query("quantity == 'n_opt'")
    log_ratio = np.log(best["estimate"] / best["truth"])
    assert recovery.loc["n_opt", "rmse"] == pytest.approx(np.sqrt((log_ratio**2).mean()))


def test_a_law_that_says_nothing_of_a_budget_is_compared_in_its_parameters():
    law = {"card": "power_law", "options": {"variable": "N"}}
    values = {"E": 1.7, "A": 400.0, "alpha": 0.34}
    trials = simulated(
        truth={**law, "values": values},
        noise=None,
        estimators={"in N": {**law, "bootstrap": 0}},
        budgets=[1e22],
        replicates=1,
    ).trials
    assert list(trials["quantity"]) == list(values)
    np.testing.assert_allclose(trials["estimate"], list(values.values()), rtol=1e-6)


def test_a_truth_outside_the_law_of_an_estimator_shows_as_bias_of_the_optimum():
    estimators = {
        "chinchilla": PLAIN["huber"],
        "parabolas": {"card": "isoflop_parabolas", "bootstrap": 0},
        "in C": {"card": "power_law", "options": {"variable": "C"}, "bootstrap": 0},
    }
    plan = {**ISOFLOP, "sizes": 7, "spread": 6}
    recovery = simulated(plan=plan, noise=None, estimators=estimators, budgets=[1e23]).recovery
    by_name = {name: set(own["quantity"]) for name, own in recovery.groupby("estimator")}
    assert by_name["parabolas"] == {"n_opt", "d_opt", "loss_opt", "n_exponent"}
    assert by_name["in C"] == {"loss_opt"}
    off = recovery.set_index(["estimator", "quantity"])["bias"]
    assert abs(off["chinchilla", "n_opt"]) < 1e-6 < abs(off["parabolas", "n_opt"]) < 0.5


def test_rounds_add_runs_by_which_a_law_is_known_better():
    rounds = {"count": 2, "planner": "isoflop", "options": {"factor": 10}}
    estimators = {"mse": {"card": "chinchilla", "objective": "mse", "bootstrap": 20}}
    asked = {"plan": {**SEEDS, "runs": 12}, "estimators": estimators, "replicates": 4}
    before, after = (
        simulated(**asked, budgets=[1e23], rounds=given).recovery.set_index("quantity")
        for given in (None, rounds)
    )
    assert (after["n_converged"] == 4).all()
    assert after.loc["loss_opt", "rmse"] < before.loc["loss_opt", "rmse"]
    assert after.loc["loss_opt", "median_width"] < before.loc["loss_opt", "median_width"] / 2


def test_rounds_that_cannot_be_chosen_are_trials_that_failed():
    few = {"mse": {"card": "chinchilla", "objective": "mse", "bootstrap": 5, "where": "C < 1.2e18"}}
    rounds = {"count": 1, "planner": "scale_up"}
    trials = simulated(plan={**SEEDS, "runs": 6}, estimators=few, rounds=rounds).trials
    assert trials["status"].str.startswith("failed: ").all()


@pytest.mark.parametrize(
    ("settings", "spread"),
    [
        ({"kind": "exponential", "mean": 0.1}, 0.1),
        ({"kind": "normal", "sd": 0.02}, 0.02),
        ({"kind": "normal", "sd": 0.02, "relative": True}, 0.06),
        ({"kind": "heavy_tailed", "scale": 0.02, "df": 5}, 0.02 * np.sqrt(5 / 3)),
        ({"kind": "heteroscedastic", "sd": 0.02, "power": 0}, 0.02),
        ({"kind": "heteroscedastic", "sd": 0.02, "power": 0.5, "at": 6 * 10**16}, 0.2),
        ({"kind": "heteroscedastic", "sd": 0.1, "power": 1, "of": "reducible", "at": 1}, 0.2),
        ({"kind": "none"}, 0.0),
    ],
)
def test_noise_has_the_spread_that_its_settings_say(settings, spread):
    values = {"E": 1.0, "A": 1e3, "B": 1e9, "alpha": 1 / 3, "beta": 1.0}
    runs = truth_of({"card": "chinchilla", "values": values}).runs(*np.full((2, 50_000), 1e9))
    assert runs.loss[0] == pytest.approx(3)
    noise = noise_of(settings).draw(generator(0, "test", str(settings)), runs)
    assert noise.std() == pytest.approx(spread, rel=0.05)


def test_noise_can_be_a_function_of_the_user():
    seen = []

    def noise(rng, N, D, loss):
        seen.append((N, D))
        return rng.gamma(2.0, 0.01, len(loss))

    trials = simulated(noise=noise).trials
    assert [len(N) for N, _ in seen] == [40, 40]
    assert not np.allclose(trials["estimate"], trials["truth"], rtol=1e-3)
    with pytest.raises(IsolossError, match="noise: the function gives an array of shape"):
        simulated(noise=lambda rng, N, D, loss: loss[:3])
    with pytest.raises(IsolossError, match="the function gives NaN or infinity"):
        simulated(noise=lambda rng, N, D, loss: np.nan)


def test_replicates_that_cannot_be_fitted_are_counted_with_their_reason():
    few = {"huber": {**PLAIN["huber"], "where": "C < 1.2e18"}}
    simulation = simulated(plan={**SEEDS, "runs": 6}, estimators=few, budgets=[1e22])
    assert simulation.trials["status"].str.startswith("failed: ").all()
    assert simulation.trials["status"].str.contains("add runs").all()
    assert simulation.trials["estimate"].isna().all()
    assert (simulation.recovery["n_converged"] == 0).all()
    assert simulation.recovery["mean"].isna().all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"truth": {"card": "chinchila"}}, "did you mean 'chinchilla'"),
        ({"truth": {"card": "chinchilla", "preset": "hofman"}}, "did you mean 'hoffmann'"),
        ({"truth": {"card": "chinchilla", "values": {"E": 1.0}}}, "parameter A: not given"),
        ({"truth": {**TRUTH, "values": {"E": 1.0}}}, "both values and preset"),
        ({"truth": {"card": "data_constrained"}}, "needs U"),
        ({"truth": {"card": "exponential_mixing"}}, "law of mixtures"),
        ({"truth": 5}, "truth: found 5; give `card`"),
        ({"truth": {}}, "truth.card: is missing"),
        ({"truth": {"card": "formula"}}, "truth.options.formula: is missing; write the law"),
        ({"truth": {"card": "power_law"}}, "truth: power_law has no presets; give `values`"),
        ({"truth": FLAT, "plan": ISOFLOP}, "plan.ratio: the true law has no best size"),
        ({"truth": FLAT, "budgets": [1e23]}, "budgets: the true law has no best N"),
        ({"truth": {"card": "chinchilla", "values": {"E": "x"}}}, "truth.values.E: found 'x'"),
        ({"plan": 7}, "plan: found 7; give `kind`"),
        ({"plan": lambda rng: 3}, "plan: the function gives 3; give N and D"),
        ({"noise": "none"}, "noise: found 'none'; give `kind`"),
        ({"estimators": "chinchilla"}, "estimators: found 'chinchilla'"),
        ({"estimators": {"a": "chinchilla"}}, "estimators.a: found 'chinchilla'; give `card`"),
        ({"estimators": {"a": {"card": "mixture_power"}}}, "a.card: .* is a law of mixtures"),
        ({"estimators": {"a": {**PLAIN["huber"], "fixed": {"alfa": 1}}}}, "did you mean 'alpha'"),
        ({"estimators": {"a": {**PLAIN["huber"], "tied": [["alpha", "b"]]}}}, "estimators.a.tied"),
        ({"rounds": 3}, "rounds: found 3; give `count`"),
        ({"rounds": {"count": 51, "planner": "scale_up"}}, "rounds.count: found 51; needs 1 to 50"),
        ({"budgets": 1e23}, r"budgets: found 1e\+23; give a list"),
        ({"plan": {"kind": "gird"}}, "plan.kind: found 'gird'; did you mean 'grid'"),
        ({"plan": {"kind": "grid", "N": SPAN}}, "plan.D: is missing"),
        ({"plan": {**ISOFLOP, "C": SPAN}}, "plan.C: found .*; give from, to, points"),
        ({"plan": {**SEEDS, "C": {"from": 2, "to": 1}}}, "plan.C: from 2 is above to 1"),
        ({"plan": {**SEEDS, "runs": 10**6}}, "1000000 runs; at most 100000"),
        ({"plan": pd.DataFrame({"N": [1.0]})}, "plan: no column D"),
        ({"plan": pd.DataFrame({"N": [1.0], "D": [0.0]})}, "1 of 1 runs have no N and D"),
        ({"noise": {"kind": "normal", "mean": 1}}, "noise.mean: not a setting of normal"),
        ({"noise": {"kind": "normal", "sd": -1}}, "noise.sd: found -1; needs a number above 0"),
        ({"noise": {"kind": "heteroscedastic", "sd": 1, "power": 1, "of": "c"}}, "noise.of"),
        ({"estimators": {}}, "estimators: there are none"),
        ({"estimators": {"a": {"card": "x"}}}, "estimators.a.card: found 'x'"),
        (
            {"estimators": {"a": {**PLAIN["huber"], "sweep": 1}}},
            "estimators.a.sweep: not a setting",
        ),
        ({"estimators": {"a": {**PLAIN["huber"], "objective": "l2"}}}, "estimators.a.objective"),
        ({"estimators": {"a": {**PLAIN["huber"], "where": "width > 3"}}}, "estimators.a.where"),
        ({"estimators": {"a": {"card": "isoflop_parabolas"}}}, "no parameter in common"),
        ({"rounds": {"planner": "scale_op"}}, "rounds.planner: found 'scale_op'; did you mean"),
        ({"rounds": {"planner": "scale_up", "fit": "x"}}, "rounds.fit: not a setting of rounds"),
        ({"rounds": {"planner": "scale_up", "options": {"factor": 0}}}, "rounds.options.factor"),
        ({"rounds": {"count": 0, "planner": "scale_up", "until": -1}}, "rounds.count: found 0"),
        ({"budgets": [0]}, r"budgets\[0\]: found 0"),
        ({"replicates": 0}, "replicates: found 0"),
        ({"workers": 1.5}, "workers: found 1.5"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(changed, message):
    with pytest.raises(IsolossError, match=message):
        simulated(**changed)


def test_all_problems_are_told_at_once():
    with pytest.raises(IsolossError) as error:
        simulated(plan={"kind": "grid"}, noise={"kind": "x"}, estimators={"plan": {"card": "x"}})
    places = [problem.place for problem in error.value.problems]
    assert places == ["plan.N", "plan.D", "noise.kind", "estimators.plan.card"]


def test_wilson_intervals_are_those_of_the_paper():
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753279))
    assert wilson(950, 1000) == pytest.approx((0.93469, 0.96187), abs=1e-4)
    assert np.isnan(wilson(0, 0)).all()


def test_seeds_are_drawn_evenly_in_the_logarithms_of_their_ranges():
    truth = truth_of(TRUTH)
    n, d = plan_of({**SEEDS, "runs": 4000}, truth).points(np.random.default_rng(0), truth)
    for values, low, high in ((6 * n * d, 1e18, 1e21), (d / n, 5, 80)):
        share = np.log(values / low) / np.log(high / low)
        assert 0 <= share.min() < 0.01 and 0.99 < share.max() <= 1
        assert share.mean() == pytest.approx(0.5, abs=0.02)
