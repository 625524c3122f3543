"""Fitting: known parameters are found again, and what is no optimum is not called one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.fit import descent, fit_law
from isoloss.fit.points import by_domain
from isoloss.fitted import quantiles

QUICK = {"bootstrap": 0}


def estimates(fit, group="all") -> dict[str, float]:
    rows = fit.params[fit.params["group"] == group]
    return dict(zip(rows["term"], rows["estimate"], strict=True))


def verdict(fit) -> tuple[str, str]:
    return tuple(fit.summary.loc[0, ["status", "message"]])


def shuffled(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.sample(frac=1, random_state=1).reset_index(drop=True)


@pytest.fixture(scope="module")
def power_runs(make_runs):
    """A maker of runs that follow a power law in C, with an offset E."""

    def make(noise=0.0, seed=0, offset=1.5, runs=14):
        flops = np.geomspace(1e15, 1e20, runs)
        blur = np.exp(noise * np.random.default_rng(seed).standard_normal(runs))
        return make_runs((flops / 120) ** 0.5, (flops / 0.3) ** 0.5, flops * 0).assign(
            n_flops=flops, loss=(offset + 50 * flops**-0.12) * blur
        )

    return make


@pytest.mark.parametrize("objective", ["huber_log", "log_mse", "mse"])
def test_the_chinchilla_law_is_found_again_in_clean_data(chinchilla_runs, truth, objective):
    fit = fit_law(chinchilla_runs(), "chinchilla", objective=objective, bootstrap=0)
    assert estimates(fit) == pytest.approx(truth, rel=1e-4)
    assert verdict(fit)[0] == "converged"
    assert fit.summary.loc[0, "rmse"] < 1e-6
    assert fit.summary.loc[0, "r2"] == pytest.approx(1)


@pytest.mark.parametrize("variable", ["N", "D", "C"])
def test_a_power_law_is_found_again_in_clean_data(power_runs, variable):
    runs = power_runs()
    column = {"N": "n_params", "D": "n_samples", "C": "n_flops"}[variable]
    runs["loss"] = 1.5 + 50 * runs[column] ** -0.12
    fit = fit_law(runs, "power_law", {"variable": variable}, **QUICK)
    assert estimates(fit) == pytest.approx({"E": 1.5, "A": 50, "alpha": 0.12}, rel=1e-4)
    assert verdict(fit)[0] == "converged"
    assert fit.summary.loc[0, "formula"] == fit.law.formula


def test_held_out_losses_do_not_move_the_fit(chinchilla_runs):
    settings = {"holdout": "largest_compute", "bootstrap": 3}
    runs = chinchilla_runs(noise=0.01)
    last = runs["n_flops"] > runs["n_flops"].max() / 1.1
    fit = fit_law(runs, "chinchilla", **settings)
    assert fit.summary.loc[0, "n_held_out"] == last.sum() == 7
    permuted, changed = runs.copy(), runs.copy()
    permuted.loc[last, "loss"] = runs.loc[last, "loss"].to_numpy()[::-1]
    changed.loc[last, "loss"] += 5.0
    for other in (permuted, changed):
        again = fit_law(other, "chinchilla", **settings)
        pd.testing.assert_frame_equal(again.params, fit.params, check_exact=True)
        assert again.replicates.equals(fit.replicates)
        assert again.summary.loc[0, "held_out_rmse"] != fit.summary.loc[0, "held_out_rmse"]


def test_held_out_error_is_that_of_the_runs_not_seen(chinchilla_runs):
    runs = chinchilla_runs(noise=0.01)
    fit = fit_law(runs, "chinchilla", holdout="largest_compute", **QUICK)
    unseen = fit.residuals[fit.residuals["held_out"]]
    assert set(unseen["run_id"]) == set(runs["run_id"][runs["budget"] == 1e20])
    observed, summary = unseen["loss"], fit.summary.loc[0]
    rms = np.sqrt(np.mean((observed - unseen["predicted"]) ** 2))
    assert summary["held_out_rmse"] == pytest.approx(rms)
    last = runs.loc[np.isclose(runs["budget"], 1e19), "loss"].mean()
    assert summary["held_out_baseline_rmse"] == pytest.approx(
        np.sqrt(np.mean((observed - last) ** 2))
    )


def test_the_order_of_rows_does_not_matter(chinchilla_runs):
    runs = chinchilla_runs(noise=0.01)
    fits = [fit_law(table, "chinchilla", **QUICK) for table in (runs, shuffled(runs))]
    assert estimates(fits[1]) == pytest.approx(estimates(fits[0]), rel=1e-8)


@pytest.mark.parametrize("objective", ["huber_log", "mse"])
def test_a_weight_of_two_is_the_row_twice(chinchilla_runs, objective):
    runs = chinchilla_runs(noise=0.01)
    twice = runs.iloc[::3]
    weighted = runs.assign(fit_weight=np.where(runs.index % 3 == 0, 2.0, 1.0))
    repeated = pd.concat([runs, twice.assign(run_id=twice["run_id"] + "b")], ignore_index=True)
    fits = [fit_law(t, "chinchilla", objective=objective, **QUICK) for t in (weighted, repeated)]
    assert estimates(fits[1]) == pytest.approx(estimates(fits[0]), rel=1e-6)
    values = [fit.summary.loc[0, "objective_value"] for fit in fits]
    assert values[1] == pytest.approx(values[0], rel=1e-9)


def test_runs_without_weight_or_result_are_counted_and_left_out(power_runs):
    runs = power_runs(noise=0.01)
    wrong = runs.iloc[:3].assign(run_id=["x", "y", "z"], loss=[9.0, np.nan, 9.0])
    wrong = wrong.assign(status=["dropped", "diverged", "done"], fit_weight=[1.0, 1.0, 0.0])
    fits = [fit_law(t, "power_law", **QUICK) for t in (runs, pd.concat([runs, wrong]))]
    assert estimates(fits[1]) == estimates(fits[0])
    assert [fit.summary.loc[0, "n_dropped"] for fit in fits] == [0, 3]
    assert list(fits[1].residuals["run_id"]) == list(runs["run_id"])


def test_every_group_has_a_fit_of_its_own(power_runs):
    settings = {"bootstrap": 3}
    arms = [power_runs(0.01).assign(group="a"), power_runs(0.01, 1, 2.5).assign(group="b")]
    both = pd.concat([arm.assign(run_id=arm["group"] + arm["run_id"]) for arm in arms])
    fit = fit_law(shuffled(both), "power_law", **settings)
    assert fit.groups == ["a", "b"]
    for group, members in shuffled(both).groupby("group"):
        alone = fit_law(members, "power_law", **settings)
        assert estimates(alone, group) == estimates(fit, group)
        pd.testing.assert_frame_equal(fit.predict(group, C=1e21), alone.predict(group, C=1e21))


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("law", ["chinchilla", "power_law"])
def test_an_offset_that_the_data_do_not_have_is_at_its_bound(
    chinchilla_runs, power_runs, law, noise
):
    maker = {"chinchilla": chinchilla_runs, "power_law": power_runs}[law]
    runs = maker(noise=noise, seed=2, offset=0.0)
    fit = fit_law(runs, law, **QUICK)
    assert verdict(fit)[0] == "at_bound"
    assert "E" in verdict(fit)[1]
    assert list(fit.params.loc[fit.params["at_bound"], "term"]) == ["E"]


def test_an_end_that_is_no_optimum_is_told(chinchilla_runs, monkeypatch):
    monkeypatch.setattr(descent.Descents, "most", 1)
    fit = fit_law(chinchilla_runs(noise=0.01), "chinchilla", **QUICK | {"bootstrap": 2})
    status, message = verdict(fit)
    assert status == "not_converged"
    assert "gradient does not vanish" in message
    assert "2 of 2 replicates did not converge" in message
    assert set(fit.starts["status"]) == {"not_converged"}
    assert fit.params[["ci_low", "ci_high", "std_error"]].isna().all().all()


def test_an_optimum_that_one_start_reaches_alone_is_told(chinchilla_runs):
    one = registry.card("law", "chinchilla").make().starts()[:1]
    fit = fit_law(chinchilla_runs(noise=0.01), "chinchilla", bootstrap=0, starts=one)
    assert fit.summary.loc[0, "n_agree"] == 1
    assert verdict(fit)[0] == "not_converged"
    assert "only one start ends here" in verdict(fit)[1]


def test_starts_hold_the_evidence_best_first(chinchilla_runs):
    fit = fit_law(chinchilla_runs(noise=0.01), "chinchilla", **QUICK)
    starts, summary = fit.starts, fit.summary.loc[0]
    assert len(starts) == summary["n_starts"] == 49
    assert starts["objective_value"].is_monotonic_increasing
    assert starts.loc[0, "objective_value"] == summary["objective_value"]
    np.testing.assert_allclose(starts.loc[0, "end"], fit.theta(), rtol=1e-12)
    near = starts["objective_value"] <= summary["objective_value"] * (1 + 1e-6)
    assert summary["n_agree"] == near.sum()


@pytest.mark.parametrize(("holdout", "runs", "count"), [("none", 2, 2), ("largest_compute", 3, 2)])
def test_fewer_runs_than_terms_is_an_error_with_the_numbers(power_runs, holdout, runs, count):
    with pytest.raises(IsolossError, match=f"power_law.*{count} runs for 3 parameters"):
        fit_law(power_runs(runs=runs), "power_law", holdout=holdout)


def test_the_bootstrap_depends_on_its_seed_only(power_runs):
    runs = power_runs(noise=0.01)
    first, same, other = (fit_law(runs, "power_law", bootstrap=12, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first.params, same.params, check_exact=True)
    pd.testing.assert_frame_equal(first.replicates, same.replicates, check_exact=True)
    assert estimates(other) == estimates(first)
    assert (other.params["std_error"] != first.params["std_error"]).all()
    assert len(first.replicates) == first.summary.loc[0, "n_replicates"] == 12


def test_intervals_come_from_the_converged_replicates(power_runs):
    fit = fit_law(power_runs(noise=0.01), "power_law", bootstrap=20, ci_level=0.8)
    thetas = fit.replicate_thetas()
    assert len(thetas) == fit.summary.loc[0, "n_replicates_converged"]
    for i, term in enumerate(fit.law.terms):
        row = fit.params.iloc[i]
        values = term.value(thetas[:, i])
        ends = quantiles(values, 0.8, row["estimate"])
        assert [row["ci_low"], row["ci_high"]] == pytest.approx(ends)
        assert row["std_error"] == pytest.approx(np.std(values, ddof=1))
        assert row["ci_level"] == 0.8


def test_a_run_of_little_weight_moves_no_replicate(power_runs):
    runs = power_runs(noise=1e-4)
    outlier = runs.iloc[[7]].assign(run_id="outlier", fit_weight=1e-12, loss=9.0)
    both = pd.concat([runs, outlier], ignore_index=True)
    fit = fit_law(both, "power_law", objective="mse", bootstrap=12)
    offsets = np.exp(fit.replicate_thetas()[:, 0])
    assert offsets == pytest.approx(np.full(12, 1.5), abs=0.02)


def test_seed_noise_is_pooled_over_settings_with_several_seeds(power_runs):
    runs = power_runs(noise=0.01).assign(seed=0)
    more = runs.iloc[[2, 2, 5]].assign(seed=[1, 2, 1], run_id=["x", "y", "z"])
    more["loss"] += [0.01, 0.03, -0.02]
    fit = fit_law(pd.concat([runs, more], ignore_index=True), "power_law", **QUICK)
    squares = 3 * np.var([0, 0.01, 0.03]) + 2 * np.var([0, -0.02])
    assert fit.summary.loc[0, "seed_sd"] == pytest.approx(np.sqrt(squares / 3))
    assert np.isnan(fit_law(runs, "power_law", **QUICK).summary.loc[0, "seed_sd"])


def test_seed_noise_of_a_sweep_does_not_depend_on_what_else_was_measured(make_runs):
    """A mixture law reads shares and losses by domain beside the runs; the losses are no setting.

    Half of the squared difference of two seeds is the variance of their cell.
    """
    shares = np.repeat([0.1, 0.3, 0.5, 0.7, 0.9], 2)
    noise = np.array([0.01, -0.01, 0.03, -0.03, 0.02, -0.02, 0.005, -0.005, 0.04, -0.04])
    loss = 3.0 - shares + noise
    names = [f"share {share}" for share in shares]
    runs = make_runs([1e6] * 10, [1e8] * 10, loss, weighting=names, seed=[0, 1] * 5)
    runs = runs.assign(run_digest=[f"{i:032x}" for i in range(10)], learning_rate=3e-4)
    runs = runs.assign(n_unique=np.arange(10.0))  # differs with the order that the seed draws
    known = {"run_id": runs["run_id"], "tag_key": "kind"}
    domains = {"code": shares, "prose": 1 - shares}
    mixtures = [pd.DataFrame({**known, "domain": d, "proportion": p}) for d, p in domains.items()]
    measured = {**known, "step": 9, "split": "valid", "loss": loss}
    losses = [pd.DataFrame({**measured, "domain": domain}) for domain in domains]
    rows = by_domain(runs, pd.concat(mixtures), pd.concat(losses))
    fit = fit_law(rows, "linear_mixture", **QUICK)
    pooled = np.sqrt(np.sum(noise**2) / 5)
    assert list(fit.summary["response"]) == ["loss_code", "loss_prose"]
    np.testing.assert_allclose(fit.summary["seed_sd"], pooled, rtol=1e-12)


@pytest.mark.parametrize(
    ("column", "loose"), [("n_params", {"E", "A", "alpha"}), ("n_samples", {"E", "B", "beta"})]
)
def test_terms_that_the_data_do_not_determine_are_named(chinchilla_runs, column, loose):
    runs = chinchilla_runs(noise=0.01).assign(**{column: 1e6})
    status, message = verdict(fit_law(runs, "chinchilla", **QUICK))
    assert status != "converged"
    assert all(term in message for term in loose), message


def test_groups_without_a_finished_run_are_left_out(power_runs):
    lost = power_runs().assign(group="lost", status="dropped")
    runs = pd.concat([power_runs().assign(group="kept"), lost], ignore_index=True)
    assert fit_law(runs, "power_law", **QUICK).groups == ["kept"]
    with pytest.raises(IsolossError, match="0 runs for 3 parameters"):
        fit_law(lost, "power_law", **QUICK)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"holdout": "largest_comput"}, "did you mean 'largest_compute'?"),
        ({"objective": "huber_lag"}, "did you mean 'huber_log'?"),
        ({"options": {"varible": "N"}}, "did you mean 'variable'?"),
    ],
)
def test_a_name_that_is_not_known_is_an_error_with_the_nearest(power_runs, settings, message):
    with pytest.raises(IsolossError) as error:
        fit_law(power_runs(), "power_law", **settings, **QUICK)
    assert message in str(error.value)


def test_none_holds_nothing_out(power_runs):
    fit = fit_law(power_runs(), "power_law", holdout=None, **QUICK)
    assert fit.summary.loc[0, "n_held_out"] == 0


def test_terms_that_are_held_need_no_runs(power_runs):
    runs = power_runs(runs=2)
    fit = fit_law(runs, "power_law", fixed={"E": 1.5}, **QUICK)
    assert estimates(fit) == pytest.approx({"E": 1.5, "A": 50, "alpha": 0.12}, rel=1e-6)
    with pytest.raises(IsolossError, match="2 runs for 3 parameters"):
        fit_law(runs, "power_law", **QUICK)


@pytest.mark.parametrize(
    ("unit", "label"),
    [("bits/byte", "Predicted loss (bits/byte)"), ("error", "Predicted error rate")],
)
def test_parameters_and_scores_have_the_unit_of_the_loss(unit, label):
    n = np.geomspace(1e7, 1e9, 8)
    table = pd.DataFrame({"N": n, "D": 1e9, "loss": 0.1 + 40 / n**0.34})
    runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
    fit = isoloss.fit_law(runs, "power_law", {"variable": "N"}, bootstrap=0, loss_unit=unit)
    assert list(fit.params["unit"]) == [unit, unit, "1"]
    assert fit.loss_unit == unit and "nats" not in repr(fit)
    axes = fit.plot("predicted_observed")
    assert axes.get_xlabel() == label


@pytest.mark.parametrize("columns", [["N", "D", "loss"], ["N", "D", "loss", "group"]])
def test_a_table_that_read_runs_did_not_make_is_told(columns):
    table = pd.DataFrame({name: [1e6, 2e6, 3e6] for name in columns})
    with pytest.raises(IsolossError, match=r"no column 'run_id'; make one with isoloss.read_runs"):
        fit_law(table, "chinchilla")
