"""The choices of a round: where planners are followed, and where rounds end."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from isoloss.choose.choices import choices_of
from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law

LARGEST = 1e20  # FLOP, of the runs of `chinchilla_runs`


@pytest.fixture(scope="module")
def runs(chinchilla_runs) -> pd.DataFrame:
    return chinchilla_runs(noise=0.01, seed=3)


@pytest.fixture(scope="module")
def fit(runs):
    return fit_law(runs, "chinchilla", bootstrap=40)


def chosen(fit, runs, options=None, **settings) -> pd.DataFrame:
    settings = {"planner": "scale_up", "options": options or {}, **settings}
    return choices_of(fit, runs, settings, round_number=1)


def only_reason(choices: pd.DataFrame) -> str:
    """The reason of an empty round."""
    assert len(choices) == 1 and choices["choice"].isna().all()
    return choices["reason"].item()


def test_a_step_goes_to_the_optimum_of_a_larger_budget(fit, runs):
    choices = chosen(fit, runs, {"factor": 4})
    best = fit.allocate(4 * LARGEST).iloc[0]
    assert choices["n_params"].item() == pytest.approx(best["N"])
    assert choices["n_samples"].item() == pytest.approx(best["D"])
    assert choices["n_flops"].item() == pytest.approx(4 * LARGEST)
    reason = choices["reason"].item()
    assert reason.startswith("the optimum at C = 4e20 FLOP by the fit of 35 runs: N = ")
    assert "[" in reason and "the loss there is predicted as " in reason


def test_a_step_of_several_runs_has_budgets_in_equal_ratios_the_largest_first(fit, runs):
    choices = chosen(fit, runs, {"factor": 8, "runs": 3})
    np.testing.assert_allclose(choices["n_flops"], [8 * LARGEST, 4 * LARGEST, 2 * LARGEST])


def test_a_step_ends_at_the_target(fit, runs):
    assert chosen(fit, runs, {"factor": 8}, target=3e20)["n_flops"].item() == pytest.approx(3e20)


def test_a_spent_budget_is_an_empty_round(fit, runs):
    spent = runs["n_flops_6nd"].sum()
    reason = only_reason(chosen(fit, runs, budget=spent))
    assert reason == "the budget is spent: 7.78e20 of 7.78e20 FLOP by 35 runs"


def test_choices_that_cost_more_than_is_left_are_left_out_and_the_others_kept(fit, runs):
    budget = runs["n_flops_6nd"].sum() + 7 * LARGEST
    choices = chosen(fit, runs, {"factor": 8, "runs": 3}, budget=budget)
    assert list(choices["choice"].fillna(-1)) == [0, 1, -1]
    *others, last = choices["reason"]
    assert "left out: it costs more than is left of the budget, 8e20 of 7e20 FLOP" in last
    assert not any("left out" in reason for reason in others)
    assert choices["n_flops"].iloc[-1] == pytest.approx(8 * LARGEST)


def test_a_round_of_which_nothing_is_affordable_is_empty_with_a_row_for_each_choice(fit, runs):
    budget = runs["n_flops_6nd"].sum() + 0.5 * LARGEST
    choices = chosen(fit, runs, {"factor": 8, "runs": 3}, budget=budget)
    assert len(choices) == 3 and choices["choice"].isna().all()
    assert all("costs more than is left of the budget" in reason for reason in choices["reason"])


def test_the_budget_left_is_that_beside_the_choices_before(fit, runs):
    budget = runs["n_flops_6nd"].sum() + 13 * LARGEST
    choices = chosen(fit, runs, {"factor": 8, "runs": 3}, budget=budget)
    np.testing.assert_allclose(choices["n_flops"], [8 * LARGEST, 4 * LARGEST, 2 * LARGEST])
    assert list(choices["choice"].fillna(-1)) == [0, 1, -1]
    assert choices["reason"].iloc[-1].count("left of the budget, 2e20 of 1e20 FLOP") == 1


def test_a_narrow_interval_at_the_target_is_an_empty_round(fit, runs):
    best = fit.allocate(1e22).iloc[0]
    ratio = best["N_high"] / best["N_low"]
    assert chosen(fit, runs, target=1e22, until=ratio * 0.999)["choice"].notna().all()
    choices = chosen(fit, runs, target=1e22, until=ratio * 1.001)
    assert "which is narrow enough: its ends have a ratio of" in only_reason(choices)
    assert choices["n_params"].item() == pytest.approx(best["N"])


def test_without_a_target_the_interval_is_that_at_the_largest_choice(fit, runs):
    best = fit.allocate(4 * LARGEST).iloc[0]
    ratio = best["N_high"] / best["N_low"]
    options = {"factor": 4, "runs": 2}
    assert "C = 4e20 FLOP" in only_reason(chosen(fit, runs, options, until=ratio * 1.001))
    assert len(chosen(fit, runs, options, until=ratio * 0.999)) == 2


def test_without_an_interval_a_round_goes_on_and_says_so(runs):
    choices = chosen(fit_law(runs, "chinchilla", bootstrap=0), runs, until=100.0)
    assert choices["choice"].notna().all() and choices["n_low"].isna().all()
    predicted = choices["loss_predicted"].item()
    assert choices["reason"].item().endswith(f"; the loss there is predicted as {predicted:.4g}")
    assert "[" not in choices["reason"].item()


def test_a_fit_that_is_not_to_be_used_is_followed_and_told(runs):
    fit = fit_law(runs, "chinchilla", bootstrap=2)
    sound = chosen(fit, runs)
    fit.summary.loc[0, ["verdict", "reasons"]] = ["do not use", "no start converged"]
    doubtful = chosen(fit, runs)
    told = "; this fit is not to be used: no start converged"
    assert doubtful["reason"].item() == sound["reason"].item() + told
    assert doubtful["n_params"].item() == sound["n_params"].item()


@pytest.mark.parametrize("status", ["done", "diverged", "failed"])
def test_a_run_that_was_trained_before_is_not_chosen_again(fit, runs, status):
    first = chosen(fit, runs, {"factor": 2})
    again = runs.iloc[:1].assign(run_id="again", status=status, n_flops_6nd=LARGEST)
    again = again.assign(n_params=first["n_params"].item() * 1.004)
    again = again.assign(n_samples=first["n_samples"].item() / 1.004)
    reason = only_reason(chosen(fit, pd.concat([runs, again]), {"factor": 2}))
    assert reason.startswith(f"left out: run again has this N and D already ({status}); ")


def test_two_choices_that_are_one_run_are_trained_once(fit, runs):
    choices = chosen(fit, runs, {"factor": 1.005, "runs": 2})
    assert list(choices["choice"].fillna(-1)) == [0, -1]
    assert choices["reason"].iloc[1].startswith("left out: another choice of this round")


def test_runs_that_diverged_cost_compute_and_do_not_set_the_scale(fit, runs):
    lost = runs.iloc[:1].assign(run_id="lost", status="diverged", n_flops_6nd=100 * LARGEST)
    both = pd.concat([runs, lost], ignore_index=True)
    assert chosen(fit, both)["n_flops"].item() == pytest.approx(2 * LARGEST)
    assert only_reason(chosen(fit, both, budget=100 * LARGEST)).startswith("the budget is spent")
    message = "none of the runs so far ended well; see `status_reason`"
    with pytest.raises(IsolossError, match=message):
        chosen(fit, runs.assign(status="diverged"))


@pytest.mark.parametrize("answer", [None, [(1e4, 1e6)], 3])
def test_a_planner_that_returns_no_choices_is_told_by_name(answer, fit, runs, monkeypatch):
    monkeypatch.setattr(registry.card("planner", "scale_up"), "choose", lambda *_, **__: answer)
    with pytest.raises(IsolossError, match="planner scale_up: its `choose` returned"):
        choices_of(fit, runs, {"planner": "scale_up"}, 1)


def test_a_law_that_does_not_divide_a_budget_is_told_the_laws_that_do(runs):
    power = fit_law(runs, "power_law", bootstrap=0)
    laws = "chinchilla, envelope, formula, isoflop_parabolas, kaplan, over_training"
    with pytest.raises(IsolossError, match=f"the law power_law: its law does not .*; .* {laws}$"):
        chosen(power, runs)


def test_a_fit_without_an_optimum_is_an_empty_round(runs):
    held = fit_law(runs, "chinchilla", fixed={"alpha": -0.1}, bootstrap=0)
    reason = only_reason(chosen(held, runs))
    assert reason.startswith("the fit of 35 runs has no best N and D of a budget (E = ")
    assert "alpha = -0.1" in reason and "more seeding runs" in reason


def test_fits_of_several_groups_need_one_to_be_selected(runs):
    two = pd.concat([runs, runs.assign(group="b")], ignore_index=True)
    two["run_id"] = [f"r{i}" for i in range(len(two))]
    with pytest.raises(IsolossError, match=r"fits of 2 groups.*select one of them with `where`"):
        chosen(fit_law(two, "chinchilla", bootstrap=0), two)


@pytest.mark.parametrize("law", ["isoflop_parabolas", "envelope", "kaplan", "over_training"])
def test_every_law_that_divides_a_budget_chooses(law, runs):
    choices = chosen(fit_law(runs, law, bootstrap=4), runs)
    assert math.isfinite(choices["loss_predicted"].item())
    assert choices["n_flops"].item() == pytest.approx(2 * LARGEST)


@pytest.mark.parametrize("planner", ["least_variance", "disagreement"])
def test_planners_that_weigh_single_runs_need_a_law_that_is_fitted_to_them(planner, runs):
    message = f"planner {planner}: it cannot choose by 'envelope', a law of kind frontier; take"
    with pytest.raises(IsolossError, match=message):
        chosen(fit_law(runs, "envelope", bootstrap=20), runs, planner=planner)
