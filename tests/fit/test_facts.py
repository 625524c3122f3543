"""The record of facts about a fit, which all reports are written from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from isoloss.core import units
from isoloss.fit import fit_law
from isoloss.fitted.facts import allocations, best_mixture, count_runs, gains, record, selection
from isoloss.fitted.optima import optima, text_of
from isoloss.fitted.optimum import asked_question
from isoloss.quickfit import many


@pytest.fixture(scope="module")
def fit(chinchilla_runs):
    """A fit of two groups that holds out the largest budget."""
    parts = [chinchilla_runs(noise=0.003, seed=i, group=f"g{i}") for i in (0, 1)]
    runs = pd.concat(parts, ignore_index=True)
    runs["run_id"] = [f"r{i}" for i in range(len(runs))]
    runs.loc[3, "status"] = "failed"
    return fit_law(runs, "chinchilla", bootstrap=12, holdout="largest_compute")


@pytest.fixture(scope="module")
def mixture_fit(make_runs):
    """A fit of losses that are straight lines in the proportions of three domains."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), size=20)
    losses = 2 + shares @ np.array([[-1.0, 0.5], [0.2, -0.4], [0.1, 0.3]])
    losses += 0.01 * rng.standard_normal(losses.shape)
    columns = {f"p_{domain}": shares[:, i] for i, domain in enumerate("abc")}
    columns |= {f"loss_{domain}": losses[:, i] for i, domain in enumerate("ab")}
    n = np.full(20, 1e8)
    return fit_law(make_runs(n, n, losses.mean(axis=1), **columns), "linear_mixture", bootstrap=8)


def test_the_record_holds_what_the_tables_say(fit):
    facts = record(fit)
    assert facts.groups == ("g0", "g1") and facts.responses == ("loss",)
    assert facts.allocates and facts.level == 0.95 and not facts.unsound
    for one, row in zip(facts.fits, fit.summary.itertuples(), strict=True):
        assert facts.of(one.group) == [one]
        same = ("n_runs", "n_held_out", "n_dropped", "rmse", "r2", "status", "message", "condition")
        assert [getattr(one, name) for name in same] == [getattr(row, name) for name in same]
        assert one.agreement == f"{row.n_agree} of {row.n_starts} starts agree"
        params = fit.rows_of("params", one.group)
        for parameter, p in zip(one.parameters, params.itertuples(), strict=True):
            assert (parameter.term, parameter.estimate) == (p.term, p.estimate)
            assert (parameter.low, parameter.high) == (p.ci_low, p.ci_high)
        (fold,) = one.folds
        (score,) = fit.rows_of("scores", one.group).itertuples()
        assert (fold.rule, fold.rmse) == ("largest_compute", score.rmse)


def test_a_parameter_is_identified_where_its_interval_spans_no_more_than_a_factor_of_ten(fit):
    wide = fit.params["term"] == "A"
    params = fit.params.assign(ci_low=1.0, ci_high=np.where(wide, 11.0, 9.0), at_bound=wide)
    facts = record(type(fit)(fit.law, {**fit.tables, "params": params}, fit.facts))
    states = [(p.term, p.identified, p.at_bound) for p in facts.fits[0].parameters]
    assert states == [(term, term != "A", term == "A") for term in ("E", "A", "B", "alpha", "beta")]


def test_allocations_are_those_of_the_fit(fit):
    (best,) = allocations(fit, "g1", [1e21], largest=1e20)
    row = fit.allocate(1e21, "g1").iloc[0]
    assert best.exists and best.times_largest == pytest.approx(10)
    assert best.n_params.estimate == row["N"] and best.n_params.low == row["N_low"]
    assert best.loss.high == row["loss_high"]


def test_a_budget_is_outside_the_runs_where_its_best_n_or_d_is(fit):
    points = fit.points
    largest = points.loc[points["group"] == "g1", "n_flops_6nd"].max()
    wide = points.assign(n_flops_6nd=np.where(points["n_flops_6nd"] < largest, 1.0, 1e60))
    wide = replace(fit, tables={**fit.tables, "points": wide})
    best = allocations(wide, "g1", [1e30, 1e59], largest=1e60)
    for one in best:  # whose compute alone is inside
        ends = fit.rows_of("ranges", "g1").set_index("variable")["high"].astype(float)
        far = {"N": one.n_params.estimate / ends["N"], "D": one.n_samples.estimate / ends["D"]}
        assert one.reach.variable == max(far, key=far.__getitem__)
        assert one.reach.factor == pytest.approx(max(far.values()))
    (small,) = allocations(fit, "g1", [1e6], largest=largest)  # below the least run
    assert small.reach.outside and small.reach.variable == "C"
    table = fit.predict("g1", N=[1e3, 1e9], D=1e40)
    assert list(table["farthest"]) == ["D", "D"]
    assert fit.outside({"N": [1e3]}, "g1")["farthest"].item() == "N"


def test_of_many_groups_the_least_and_the_most_are_shown(fit):
    own = {group: allocations(fit, group, [1e20, 1e21], largest=1e20) for group in fit.groups}
    many_of = {f"{group}{i}": ones for i in range(4) for group, ones in own.items()}
    text = many.allocations(many_of)
    assert text.startswith("budgets of 8 groups, least to most") and text.count("\n") == 4
    ends = sorted(ones[0].n_params.estimate for ones in own.values())
    assert " to ".join(map(units.count, ends)) in text
    ones = [one for one in gains(fit, [1e20], 1e20) for _ in range(2)]
    ones = [replace(one, group=f"g{i}") for i, one in enumerate(ones, start=1)]
    assert "compute-equivalent gain of 2 groups over g0" in many.gains(ones)
    question = asked_question({"over": "N", "subject_to": "6*N*D <= 1e21"})
    answers = [one for _ in range(4) for one in optima(fit, question)]
    answers = [replace(one, group=f"g{i}") for i, one in enumerate(answers)]
    none = replace(answers[0], group="g8", chosen=(), problem="there is none")
    told = text_of([*answers, none])
    assert "in 9 groups, least to most" in told and "none in 1 of them, such as g8: there" in told
    assert told.count("\n") == 7


def test_points_along_runs_are_counted_with_their_runs(chinchilla_runs):
    runs = chinchilla_runs(noise=0.003)
    runs["of_run"] = [f"run{i % 7}" for i in range(len(runs))]
    facts = record(fit_law(runs, "chinchilla", bootstrap=0))
    assert facts.fits[0].fitted_rows == "35 points of 7 runs"
    assert "35 points of 7 runs" in repr(fit_law(runs, "chinchilla", bootstrap=0))


def test_runs_are_counted_by_what_became_of_them():
    reasons = [None, "no loss", "no loss", "N is 0", None]
    states = ["done", "dropped", "dropped", "dropped", "failed"]
    counts = count_runs(pd.DataFrame({"status": states, "status_reason": reasons}))
    assert (counts.n_rows, counts.n_done) == (5, 1)
    dropped = [(lost.reason, lost.n_runs) for lost in counts.of("dropped")]
    assert dropped == [("no loss", 2), ("N is 0", 1)]
    assert [(lost.reason, lost.n_runs) for lost in counts.of("failed")] == [("", 1)]
    assert not counts.of("diverged")


def test_what_fits_looked_at_is_counted_by_group(fit):
    one, both = selection([fit], "g0"), selection([fit, fit])
    assert one.n_runs == (fit.residuals["group"] == "g0").sum()
    assert both.n_runs == len(fit.residuals) and both.n_points == 0


def test_points_that_fits_looked_at_are_counted_beside_their_runs(chinchilla_runs):
    runs = chinchilla_runs(noise=0.003)
    runs["of_run"] = [f"run{i % 7}" for i in range(len(runs))]
    looked_at = selection([fit_law(runs, "chinchilla", bootstrap=0)])
    assert (looked_at.n_runs, looked_at.n_points) == (7, 35)


def test_the_best_mixture_is_that_of_the_fit(mixture_fit):
    best = best_mixture(mixture_fit, "all", mixture_fit.responses, 5)
    rows = mixture_fit.best_mixture(dict.fromkeys(mixture_fit.responses, 1.0), replicates=5)
    shares = {share.domain: share.proportion.estimate for share in best.shares}
    assert shares == dict(zip(rows["domain"], rows["proportion"], strict=True))
    assert best.loss.estimate == rows["loss"].iloc[0] and best.n_replicates == 5
    ranges = mixture_fit.ranges.drop_duplicates("variable").set_index("variable")
    for share in best.shares:
        assert share.least == ranges.loc[f"p_{share.domain}", "low"]
        near = min(abs(shares[share.domain] - end) for end in (share.least, share.most))
        assert share.at_edge == (near < 1e-4)
