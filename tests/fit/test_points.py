"""Points along training curves and mixtures of a sweep: what a law is fitted to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law
from isoloss.fit.holdout import copies, folds
from isoloss.fit.points import PER_DECADE, by_domain, points

STEPS = np.unique(np.geomspace(1, 4000, 60).round().astype(int))
BATCH = 512.0


def law(n, d):
    """Loss of N and D."""
    return 1.7 + 400 / n**0.35 + 300 / d**0.3


@pytest.fixture(scope="module")
def sweep(make_runs):
    """Runs of five sizes and two seeds, all of one length, and their curves."""
    sizes = np.repeat(np.geomspace(1e4, 1e6, 5), 2)
    length = BATCH * STEPS[-1] * np.ones(10)
    runs = make_runs(sizes, length, law(sizes, length))
    runs = runs.assign(seed=np.tile([0, 1], 5), n_unique=1e5)
    ends = BATCH * STEPS
    middles = (ends + np.concatenate([[0], ends[:-1]])) / 2
    curves = [
        pd.DataFrame({"run_id": run_id, "step": STEPS, "n_samples": ends, "loss": law(n, middles)})
        for run_id, n in zip(runs["run_id"], sizes, strict=True)
    ]
    return runs, pd.concat(curves, ignore_index=True).sample(frac=1, random_state=0)


def test_runs_stay_as_they_are(sweep):
    assert points(sweep[0]) is sweep[0]


def test_points_of_curves_lie_in_the_middle_of_what_their_loss_is_the_mean_of(sweep):
    runs, curves = sweep
    table = points(runs, "curves", curves)
    assert len(table) == len(curves) and table["run_id"].is_unique
    assert set(table["of_run"]) == set(runs["run_id"])
    expected = law(table["n_params"], table["n_samples"])
    np.testing.assert_allclose(table["loss"], expected, rtol=1e-12)
    np.testing.assert_allclose(table["n_flops"], 6 * table["n_params"] * table["n_samples"])
    assert (table["n_unique"] == np.minimum(1e5, table["n_samples"])).all()
    unfinished = runs.assign(status=["failed", *["done"] * 9])
    assert set(points(unfinished, "curves", curves)["of_run"]) == set(runs["run_id"][1:])


def test_isoflop_reads_every_curve_at_common_budgets(sweep):
    runs, curves = sweep
    along, table = points(runs, "curves", curves), points(runs, "isoflop", curves)
    tens = np.log10(table["n_flops"]) * PER_DECADE
    np.testing.assert_allclose(tens, tens.round(), atol=1e-9)
    np.testing.assert_allclose(table["n_flops"], 6 * table["n_params"] * table["n_samples"])
    error = table["loss"] / law(table["n_params"], table["n_samples"]) - 1
    assert np.abs(error[table["n_samples"] > 1e4]).max() < 2e-3  # straight between two points
    for name, run_points in table.groupby("of_run"):
        own = along.loc[along["of_run"] == name, "n_flops"]
        assert own.min() <= run_points["n_flops"].min() and run_points["n_flops"].max() <= own.max()
    assert table.groupby("n_flops")["of_run"].nunique().max() > 4


def test_no_curves_and_unknown_kinds_are_told(sweep):
    runs, curves = sweep
    with pytest.raises(IsolossError, match=r"no run has a training curve; .*points: runs"):
        points(runs, "curves")
    with pytest.raises(IsolossError, match=r"unknown 'curve'.*curves"):
        points(runs, "curve", curves)


@pytest.mark.parametrize(
    "rule", ["largest_compute", "leave_one_out", {"rule": "random", "repeats": 3}], ids=str
)
def test_points_of_a_run_and_of_its_copy_are_on_one_side(sweep, rule):
    table = points(sweep[0], "curves", sweep[1])
    same = copies(table)
    assert same.max() == 4  # the sizes
    assert (table.groupby("of_run")["run_id"].count() == len(STEPS)).all()
    for fold in folds(table, rule, 0):
        assert fold.out.any() and fold.seen.any()
        assert not set(same[fold.out]) & set(same[fold.seen])


def test_a_roll_out_along_curves_predicts_what_comes_later(sweep):
    table = points(sweep[0], "curves", sweep[1])
    rolled = folds(table, {"rule": "roll_out", "by": "n_samples", "stages": 4}, 0)
    assert len(rolled) == 3
    for fold in rolled:
        assert table["n_samples"][fold.seen].max() < table["n_samples"][fold.out].min()
        assert set(table["of_run"][fold.seen]) == set(table["of_run"][fold.out])


def test_a_learning_curve_law_by_size_finds_the_curve_and_draws_whole_runs(sweep):
    table = points(sweep[0], "curves", sweep[1]).query("n_samples > 1e4")
    fit = fit_law(table, "learning_curve", group="n_params", bootstrap=40)
    assert len(fit.groups) == 5
    for group in fit.groups:
        terms = fit.rows_of("params", group).set_index("term")["estimate"]
        np.testing.assert_allclose(terms["beta"], 0.3, rtol=0.02)
        np.testing.assert_allclose(terms["E"], law(float(group), np.inf), rtol=0.02)
    assert set(fit.params["ci_method"]) == {"bootstrap over of_run, bias-corrected percentile"}
    assert set(fit.points["run_id"]) == set(table["run_id"])
    # two runs a size, the same but for their seed: whatever is drawn, the curve is the same
    assert (fit.params["ci_high"] - fit.params["ci_low"]).abs().max() < 1e-4 * 400


def test_an_envelope_of_curves_finds_the_frontier(make_runs):
    sizes = np.geomspace(3e3, 3e6, 25)
    tokens = np.full(25, 1e9)
    runs = make_runs(sizes, tokens, law(sizes, tokens))
    ends = np.geomspace(1e5, 1e9, 120)
    middles = (ends + np.concatenate([[0], ends[:-1]])) / 2
    curves = pd.concat(
        [
            pd.DataFrame(
                {"run_id": r, "step": range(120), "n_samples": ends, "loss": law(n, middles)}
            )
            for r, n in zip(runs["run_id"], sizes, strict=True)
        ]
    )
    table = points(runs, "isoflop", curves).query("3e10 < n_flops < 1e14")
    fit = fit_law(table, "envelope", bootstrap=0, interval="none")
    a = fit.params.set_index("term").loc["a", "estimate"]
    assert abs(a - 0.3 / 0.65) < 0.02  # beta / (alpha + beta)


def test_mixtures_and_losses_become_columns(make_runs):
    runs = make_runs([1e6, 1e6], [1e8, 1e8], [2.0, 2.1])
    ids = list(runs["run_id"])
    mixtures = pd.DataFrame(
        [(i, "kind", k, p) for i, ps in zip(ids, [(0.3, 0.7), (0.6, 0.4)], strict=True)
         for k, p in zip(("code", "prose"), ps, strict=True)]
        + [(i, "domain", "all", 1.0) for i in ids],
        columns=["run_id", "tag_key", "domain", "proportion"],
    )  # fmt: skip
    losses = pd.DataFrame(
        [
            (i, step, split, "kind", k, step + 0.1 * (k == "code") + (split == "test"))
            for i in ids
            for step in (5, 10)
            for split in ("valid", "test")
            for k in ("code", "prose")
        ],
        columns=["run_id", "step", "split", "tag_key", "domain", "loss"],
    )
    wide = by_domain(runs, mixtures, losses, "kind")
    assert list(wide["p_code"]) == [0.3, 0.6] and list(wide["p_prose"]) == [0.7, 0.4]
    assert list(wide["loss_code"]) == [10.1, 10.1] and list(wide["loss_prose"]) == [10.0, 10.0]
    with pytest.raises(IsolossError, match="the rows have 2 tags; name one: domain, kind"):
        by_domain(runs, mixtures, losses)
    with pytest.raises(IsolossError, match=r"no tag 'kid'.*kind"):
        by_domain(runs, mixtures, losses, "kid")
    alone = mixtures[mixtures["tag_key"] == "kind"]
    pd.testing.assert_frame_equal(by_domain(runs, alone, losses), wide)
