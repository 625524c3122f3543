"""Folds: no run nor its copy is on both sides, and what is held out moves nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.core.budgets import budget_numbers
from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law
from isoloss.fit.holdout import copies, folds, held_out

RULES = [
    "largest_compute",
    {"rule": "largest_compute", "least": 12},
    "roll_out",
    {"rule": "roll_out", "stages": 3},
    {"rule": "roll_out", "by": "n_params", "stages": 2},
    "leave_one_out",
    {"rule": "leave_one_out", "by": "n_params"},
    {"rule": "random", "fraction": 0.3, "repeats": 7},
    {"rule": "random", "by": "n_params", "fraction": 0.3, "repeats": 3},
]


@pytest.fixture(scope="module")
def runs(chinchilla_runs):
    """Runs with a second seed for a third of the settings."""
    runs = chinchilla_runs(noise=0.01).assign(seed=0)
    again = runs.iloc[::3].assign(seed=1)
    again["run_id"] += "-again"
    return pd.concat([runs, again], ignore_index=True)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_run_and_its_copies_are_on_one_side(runs, rule):
    folds_made = folds(runs, rule, seed=0)
    assert folds_made
    for fold in folds_made:
        assert fold.out.any() and not (fold.out & fold.seen).any()
        same = copies(runs)
        assert not set(same[fold.out]) & set(same[fold.seen])
    assert len({fold.name for fold in folds_made}) == len(folds_made)


def test_rules_hold_out_what_they_say(runs):
    flops = runs["n_flops"].to_numpy()
    (largest,) = folds(runs, "largest_compute", 0)
    assert flops[largest.out].min() > flops[largest.seen].max()
    (more,) = folds(runs, {"rule": "largest_compute", "least": 12}, 0)
    assert more.out.sum() >= 12 > largest.out.sum()
    np.testing.assert_array_equal(
        held_out(runs, {"rule": "largest_compute", "least": 12}), more.out
    )
    for fold in folds(runs, "roll_out", 0):
        assert flops[fold.seen].max() < flops[fold.out].min()
    everywhere = sum(f.out.astype(int) for f in folds(runs, "leave_one_out", 0))
    assert (everywhere == 1).all()
    assert len(folds(runs, "leave_one_out", 0)) == budget_numbers(flops).max() + 1
    random = folds(runs, {"rule": "random", "fraction": 0.3, "repeats": 7}, 0)
    assert len(random) == 7
    assert all(0.15 < fold.out.mean() < 0.45 for fold in random)
    again = folds(runs, {"rule": "random", "fraction": 0.3, "repeats": 7}, 0)
    assert all((a.out == b.out).all() for a, b in zip(random, again, strict=True))
    assert folds(runs, "none", 0) == folds(runs, None, 0) == []


def test_a_column_that_has_a_letter_may_be_called_by_it(runs):
    one, other = (folds(runs, {"rule": "leave_one_out", "by": by}, 0) for by in ("N", "n_params"))
    assert [fold.name for fold in one] == [fold.name for fold in other]
    assert all((a.seen == b.seen).all() for a, b in zip(one, other, strict=True))


def test_random_folds_by_a_column_hold_out_all_runs_of_a_value(runs):
    sizes = runs["n_params"].nunique()
    for fold in folds(runs, {"rule": "random", "by": "n_params", "fraction": 0.3, "repeats": 5}, 0):
        unseen = set(runs.loc[fold.out, "n_params"])
        assert len(unseen) == round(0.3 * sizes)
        assert (fold.out == runs["n_params"].isin(unseen)).all()
        assert (fold.seen == ~fold.out).all()


def test_what_folds_predict_of_the_runs_that_they_hold_out_is_kept_by_run(runs):
    rule = {"rule": "leave_one_out", "by": "n_params"}
    fit = fit_law(runs, "chinchilla", holdout=rule, interval="none")
    residuals = fit.residuals.set_index("run_id").loc[runs["run_id"]]
    for fold, rmse in zip(folds(runs, rule, 0), fit.scores["rmse"], strict=True):
        errors = residuals["loss"][fold.out] - residuals["predicted_unseen"][fold.out]
        assert np.sqrt((errors**2).mean()) == pytest.approx(rmse, rel=1e-12)
    some = fit_law(runs, "chinchilla", holdout="roll_out", interval="none").residuals
    first = runs["n_flops"] == runs["n_flops"].min()
    assert some["predicted_unseen"].isna()[first].all()
    assert some["predicted_unseen"].notna().any()
    none = fit_law(runs, "chinchilla", interval="none").residuals
    assert none["predicted_unseen"].isna().all()


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_permuted_held_out_losses_leave_every_prediction_of_a_fold_bitwise_equal(runs, rule):
    """What a fold predicts is a function of what it sees: errors change as the losses do."""
    settings = {"holdout": rule, "interval": "none"}
    fold = folds(runs, rule, 0)[-1]
    shuffled = runs.copy()
    order = np.random.default_rng(0).permutation(fold.out.sum())
    shuffled.loc[fold.out, "loss"] = runs.loc[fold.out, "loss"].to_numpy()[order]
    seen = [t[fold.seen].reset_index(drop=True) for t in (runs, shuffled)]
    fits = [fit_law(t, "chinchilla", interval="none") for t in seen]
    pd.testing.assert_frame_equal(*(fit.params for fit in fits), check_exact=True)
    one, other = (fit_law(t, "chinchilla", **settings).scores for t in (runs, shuffled))
    row = one["fold"] == fold.name
    observed = runs.loc[fold.out, "loss"].to_numpy()
    columns = {"N": "n_params", "D": "n_samples"}
    predicted = fits[0].loss(**{k: runs.loc[fold.out, c].to_numpy() for k, c in columns.items()})
    for table, losses in ((one, observed), (other, observed[order])):
        rmse = np.sqrt(np.mean((losses - predicted) ** 2))
        assert table.loc[row, "rmse"].item() == pytest.approx(rmse, rel=1e-12)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("roll_oud", "did you mean 'roll_out'?"),
        ({"rule": "random", "fractoin": 0.1}, "did you mean 'fraction'?"),
        ({"rule": "leave_one_out", "by": "n_param"}, "did you mean 'n_params'?"),
        ({"rule": "random", "by": "n_param"}, "did you mean 'n_params'?"),
    ],
)
def test_what_is_not_known_is_told_with_the_nearest(runs, rule, message):
    with pytest.raises(IsolossError) as error:
        folds(runs, rule, 0)
    assert message in str(error.value)


def test_the_largest_of_a_variable_that_the_law_lacks_are_held_out_alone():
    size, experts = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 8), [1, 4, 16]))
    table = pd.DataFrame({"N": size, "experts": experts, "D": 1e10, "loss": 2 + 50 / size**0.3})
    runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
    assert held_out(runs, "largest:experts").tolist() == (experts == 16).tolist()


@pytest.fixture(scope="module")
def alike():
    """Runs of 4 sizes, each with 3 numbers of experts and 2 seeds, and a name for every run."""
    grid = [(n, e, s) for n in np.geomspace(1e7, 1e9, 4) for e in (1, 4, 16) for s in (0, 1)]
    table = pd.DataFrame(grid, columns=["N", "experts", "seed"]).assign(D=1e10)
    table["loss"] = 2 + 50 / table["N"] ** 0.3
    table["name"] = [f"run {i}" for i in range(len(table))]
    return isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})


@pytest.mark.parametrize("rule", ["leave_one_out", "random", "roll_out"])
def test_runs_that_differ_in_the_column_held_out_by_are_not_copies(alike, rule):
    """Chinchilla's law reads N and D, in which runs of other numbers of experts are alike."""
    divisions = folds(alike, {"rule": rule, "by": "experts"}, 0, ("N", "D"))
    assert divisions
    for fold in divisions:
        unseen = set(alike.loc[fold.out, "experts"])
        assert (fold.out == alike["experts"].isin(unseen)).all()
        left = alike["experts"] < min(unseen) if rule == "roll_out" else ~fold.out
        assert (fold.seen == left).all()


def test_laws_are_compared_by_the_same_folds_whatever_their_variables(alike, monkeypatch):
    seen = {}

    def fitted(runs, law, holdout, formula, **_):
        fit = fit_law(runs, law, formula=formula, holdout=holdout, interval="none")
        if holdout != "none":
            seen[formula] = fit.scores[["n_fitted", "n_held_out"]]
        return fit

    monkeypatch.setattr("isoloss.fit.compare.fit_law", fitted)
    formulas = ["loss = E + A / N**a", "loss = E + A / N**a + B / experts**b"]
    rule = {"rule": "random", "repeats": 3}
    isoloss.compare_laws(alike, [{"formula": one} for one in formulas], holdout=rule)
    pd.testing.assert_frame_equal(*(seen[one] for one in formulas))


@pytest.mark.parametrize("by", ["seed", "run_id", "name"])
def test_copies_of_runs_held_out_by_seed_or_by_name_are_not_fitted(alike, by):
    for fold in folds(alike, {"rule": "leave_one_out", "by": by}, 0, ("N", "D")):
        same = copies(alike)
        assert fold.out.any() and not set(same[fold.out]) & set(same[fold.seen])


def test_points_of_one_run_are_on_one_side_whatever_column_folds_are_by(alike):
    points = pd.concat([alike.assign(of_run=alike["run_id"], step=i) for i in (1, 2)])
    points = points.reset_index(drop=True).assign(run_id=range(2 * len(alike)))
    for fold in folds(points, {"rule": "leave_one_out", "by": "step"}, 0, ("N", "D")):
        assert fold.out.any() and not fold.seen.any()
