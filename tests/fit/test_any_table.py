"""Fits of any table and any response: values of any sign, any variables, none of N, D and C."""

import runpy

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.core.problems import IsolossError, TableError
from isoloss.fit.objectives import Objective, spread_of
from isoloss.fitted.errors import errors_of
from isoloss.quickfit.law import largest_budgets

RNG = np.random.default_rng(7)
KINDS = {
    "negative": "loss = -E + A/N**alpha + G/V**gamma",
    "accuracy": "acc = a - b/N**beta; 0 <= acc <= 1",
    "experts": "loss = E + A/(N**alpha * experts**gamma)",
    "nothing": "loss = E + a*(log(lr) - m)**2",
}
VARIABLES = {
    "negative": ["N", "V"],
    "accuracy": ["N"],
    "experts": ["N", "experts"],
    "nothing": ["lr"],
}


def table_of(kind: str) -> pd.DataFrame:
    N, V = (one.ravel() for one in np.meshgrid(np.geomspace(1e7, 1e9, 5), [4e3, 16e3, 64e3, 256e3]))
    noise = RNG.standard_normal(len(N))
    if kind == "negative":
        loss = -3.0 + 30 / N**0.2 + 20 / V**0.4 + 0.002 * noise
        return pd.DataFrame({"size": N, "vocab size": V.astype(int), "unorm": loss})
    if kind == "accuracy":
        return pd.DataFrame({"N": N, "acc": np.clip(0.95 - 20 / N**0.23 + 0.003 * noise, 0, 1)})
    if kind == "experts":
        E = V / 4e3
        loss = (1.7 + 400 / (N**0.34 * E**0.1)) * np.exp(0.001 * noise)
        written = [f"{value:,.0f}" for value in E]
        return pd.DataFrame({"N": N, "num_experts": written, "loss": loss})
    rate = np.geomspace(1e-4, 1e-2, len(N))
    loss = 2.5 + 0.05 * (np.log(rate) - np.log(1e-3)) ** 2
    return pd.DataFrame({"lr": rate, "loss": loss + 0.001 * noise})


COLUMNS = {
    "negative": {"N": "size", "V": "vocab size", "loss": "unorm"},
    "accuracy": {"N": "N"},
    "experts": {"N": "N", "experts": "num_experts", "loss": "loss"},
    "nothing": {"lr": "lr", "loss": "loss"},
}


def runs_of(kind: str) -> pd.DataFrame:
    return isoloss.read_runs(table_of(kind), COLUMNS[kind], need=0, signed=kind == "negative")


def fitted(kind: str, **settings):
    options = {"formula": KINDS[kind], "variables": VARIABLES[kind]}
    response = "acc" if kind == "accuracy" else None
    asked = {"bootstrap": 12, "response": response} | settings
    return isoloss.fit_law(runs_of(kind), "formula", options, **asked)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def fit(kind):
    return fitted(kind, holdout={"rule": "largest", "variable": VARIABLES[kind][-1]})


def test_the_objective_follows_the_sign_of_the_values_and_is_told(kind, fit):
    scaled = kind in ("negative", "accuracy")
    name = "huber_scaled(delta=0.01)" if scaled else "huber_log(delta=0.001)"
    assert fit.summary["objective"].item() == name
    assert fit.summary["status"].item() == "converged" and fit.summary["r2"].item() > 0.95
    assert np.isfinite(fit.summary["aicc"].item())


def test_runs_of_the_largest_value_are_not_seen_and_are_predicted(kind, fit):
    name = VARIABLES[kind][-1]
    column = {"N": "n_params"}.get(name, name)
    unseen = fit.residuals.loc[fit.residuals["held_out"], "run_id"]
    values = runs_of(kind).set_index("run_id")[column]
    assert (values[unseen] == values.max()).all() and len(unseen) == (values == values.max()).sum()
    fold = fit.scores.iloc[0]
    assert fold["fold"] == f"largest {name}" and fold["rmse"] < 0.05
    assert np.isfinite(fold["run_coverage"])


def test_a_prediction_names_its_variables_and_how_far_it_is_from_the_runs(kind, fit):
    ends = fit.ranges.set_index("variable")["high"]
    told = fit.predict(**{name: 3.0 * ends[name] for name in VARIABLES[kind]})
    assert told["distance"].item() == pytest.approx(3.0)
    assert told["low"].item() <= told[fit.quantity].item() <= told["high"].item()
    if kind == "accuracy":
        top = fit.predict(N=1e30)
        assert top["high"].item() <= 1.0


def test_every_file_of_the_fit_is_written_and_opened(kind, fit, tmp_path):
    fit.save(tmp_path / "tables")
    assert isoloss.load_fit(tmp_path / "tables") == fit
    files = {file.name: file for file in isoloss.export_fit(fit, tmp_path)}
    predict = runpy.run_path(files["law.py"])["law"]
    point = {name: 1e3 for name in VARIABLES[kind]}
    told = fit.predict(**point)[fit.quantity].item()
    assert predict([point], "all")[0][fit.quantity] == pytest.approx(told, rel=1e-9)
    assert "nan" not in files["explain.md"].read_text()
    which = VARIABLES[kind][-1]
    paper = files["paper.md"].read_text()
    assert f"of largest {which}" in paper and "of most compute" not in paper
    assert ("robust standard deviation" in paper) == (kind in ("negative", "accuracy"))


@pytest.mark.parametrize("card", ["fit_residuals", "predicted_observed"])
def test_figures_have_axes_for_any_sign_and_any_variable(kind, fit, card):
    from matplotlib import pyplot

    panels = np.ravel(fit.plot(card))
    labels = " ".join(axes.get_xlabel() for axes in panels)
    scales = {axes.get_yscale() for axes in panels}
    pyplot.close("all")
    if card == "fit_residuals":
        assert all(name in labels for name in VARIABLES[kind])
    else:
        assert scales == ({"linear"} if kind == "negative" else {"log"})


def test_a_law_of_positive_values_refuses_others_and_names_the_runs():
    runs = runs_of("negative")
    with pytest.raises(
        IsolossError, match="20 of 20 runs have a 'loss' that is not above 0: row-1"
    ):
        isoloss.fit_law(runs, "power_law", {"variable": "N"})
    with pytest.raises(TableError, match="losses of 0 or below are fitted by a formula"):
        isoloss.read_runs(table_of("negative"), COLUMNS["negative"])


def test_values_outside_the_range_of_the_response_are_refused_by_their_runs():
    runs = runs_of("accuracy")
    runs.loc[[3, 8], "acc"] = [1.2, -0.1]
    options = {"formula": KINDS["accuracy"], "variables": ["N"]}
    with pytest.raises(IsolossError, match="2 of 20 runs lie outside 0 to 1: row-4, row-9"):
        isoloss.fit_law(runs, "formula", options, response="acc")


def test_a_law_that_leaves_the_range_at_its_runs_is_doubted():
    runs = runs_of("accuracy").assign(acc=lambda all: np.clip(all["acc"] * 1.4, 0, 1))
    options = {"formula": "acc = a - b/N**0.23; 0 <= acc <= 1", "variables": ["N"]}
    fit = isoloss.fit_law(runs, "formula", options, response="acc", bootstrap=0, objective="mse")
    assert "range" in set(fit.findings["check"])
    assert fit.residuals["predicted"].max() == 1.0


def test_a_variable_that_must_be_above_0_is_refused_by_its_runs():
    table = table_of("experts").assign(num_experts=[0, *range(1, 20)])
    runs = isoloss.read_runs(table, COLUMNS["experts"])
    options = {"formula": KINDS["experts"], "variables": VARIABLES["experts"]}
    with pytest.raises(IsolossError, match="1 of 20 runs have one that is not above 0: row-1"):
        isoloss.fit_law(runs, "formula", options)


def test_a_cell_of_a_variable_that_is_not_a_number_is_named_by_its_row():
    table = table_of("experts")
    table.loc[4, "num_experts"] = "many"
    with pytest.raises(TableError, match="row 5, column 'num_experts': 'many' is not a number"):
        isoloss.read_runs(table, COLUMNS["experts"])


def test_a_column_that_has_the_name_of_a_variable_is_set_aside():
    table = table_of("experts").assign(experts="other")
    runs = isoloss.read_runs(table, COLUMNS["experts"])
    assert runs["experts"].max() == 64 and set(runs["experts_given"]) == {"other"}


def test_runs_that_differ_in_a_variable_without_a_letter_are_not_copies():
    fit = fitted("nothing", holdout={"rule": "random", "repeats": 3})
    assert (fit.scores["n_held_out"] == 4).all() and np.isfinite(fit.scores["rmse"]).all()
    with pytest.raises(IsolossError, match="the runs have no compute C"):
        fitted("nothing", holdout="largest_compute")


@pytest.mark.parametrize("interval", ["residual", "parametric", "profile"])
def test_every_kind_of_interval_is_made_of_values_of_any_sign(interval):
    fit = fitted("negative", interval=interval)
    params = fit.params.set_index("term")
    assert params.loc["E", "estimate"] == pytest.approx(3.0, abs=0.05)
    assert params.loc["E", "ci_low"] < params.loc["E", "estimate"] < params.loc["E", "ci_high"]
    assert np.isfinite(params[["ci_low", "ci_high"]].to_numpy()).all()


def test_laws_are_compared_by_runs_of_the_largest_value():
    runs, both = runs_of("experts"), VARIABLES["experts"]
    laws = {
        "both": {"law": "formula", "options": {"formula": KINDS["experts"], "variables": both}},
        "size": {"law": "power_law", "options": {"variable": "N"}},
    }
    table = isoloss.compare_laws(runs, laws, holdout="largest:experts")
    assert list(table["law"]) == ["both", "size"]


def test_objectives_do_not_depend_on_the_unit_of_the_values():
    values = np.array([-3.0, -1.0, 0.5, 2.0, 90.0])
    assert spread_of(values) == pytest.approx(1.4826 * 1.5)
    assert spread_of(np.array([2.0, 2.0, 2.0, 5.0])) == pytest.approx(np.std([2, 2, 2, 5]))
    one = Objective("huber_scaled", 0.1).of_values(values)
    other = Objective("huber_scaled", 0.1).of_values(1e3 * values)
    predicted = values + np.array([0.1, -2.0, 0.0, 0.4, 1.0])
    same = one.penalty(predicted, values), other.penalty(1e3 * predicted, 1e3 * values)
    assert same[0].value == pytest.approx(same[1].value)
    assert same[0].slope == pytest.approx(1e3 * same[1].slope)
    assert same[0].curvature == pytest.approx(1e6 * same[1].curvature)


def test_errors_of_values_of_any_sign_are_differences_in_their_size():
    observed, predicted = np.array([3.0, -4.0]), np.array([2.0, -3.0])
    errors = errors_of(observed, predicted)
    assert errors.of(observed, predicted) == pytest.approx([0.2828, -0.2828], abs=1e-4)
    assert errors.added(predicted, errors.of(observed, predicted)) == pytest.approx(observed)
    assert not errors.relative and errors_of(np.abs(observed)).relative
    assert errors_of(np.zeros(3)).size == 1.0


def test_runs_without_compute_are_held_out_by_the_variable_that_spans_most():
    runs = runs_of("nothing").assign(batch=np.tile([16.0, 32.0, 64.0, 128.0], 5))
    options = {"formula": "loss = E + a*log(lr)**2 + b*log(batch)", "variables": ["lr", "batch"]}
    rule = {"rule": "largest", "variable": "lr", "least": 2}
    assert largest_budgets(runs, "formula", options) == rule
    assert largest_budgets(runs.assign(batch=0.0, lr=2.0), "formula", options) is None


def test_groups_that_share_parameters_have_errors_in_spreads_of_their_own():
    values = np.array([-3.0, -1.0, 0.5, 2.0, 90.0])
    joint = np.concatenate([values, 1e3 * values])
    objective = Objective("huber_scaled", 0.1).of_groups([values, 1e3 * values])
    assert objective.spread.tolist() == [spread_of(values)] * 5 + [spread_of(1e3 * values)] * 5
    penalty = objective.values(np.concatenate([values + 0.3, 1e3 * (values + 0.3)]), joint)
    assert penalty[:5] == pytest.approx(penalty[5:])
    rate, arm = np.tile(np.geomspace(1, 64, 8), 2), np.repeat(["a", "b"], 8)
    score = np.repeat([1.0, 5.0], 8) * (2 / rate**0.3 - 1)
    runs = isoloss.read_runs(
        pd.DataFrame({"rate": rate, "arm": arm, "score": score}), {"rate": "rate", "group": "arm"}
    )
    fit = isoloss.fit_law(runs, formula="score = A/rate**a - E", shared=["a"], bootstrap=0)
    assert [fit.values_of(arm)["E"] for arm in "ab"] == pytest.approx([1.0, 5.0])
