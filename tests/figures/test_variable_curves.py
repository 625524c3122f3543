"""The loss against one variable with another as colours: what is drawn of runs, law and colours."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.figures._figure import STYLE, Inputs, run_ids
from isoloss.fit import fit_law

FORMULA = "loss = E + A / (N**a * experts**g) + B / D**b"
CARD = registry.card("figure", "variable_curves")


@pytest.fixture(scope="module")
def runs(make_runs):
    """Runs of all combinations of N, D and experts."""
    grid = np.meshgrid(np.geomspace(1e7, 1e9, 4), np.geomspace(1e9, 1e11, 3), [1.0, 8, 64])
    n, d, experts = (values.ravel() for values in grid)
    loss = 1.7 + 400 / (n**0.34 * experts**0.1) + 410 / d**0.28
    noise = np.exp(0.003 * np.random.default_rng(1).normal(size=len(n)))
    return make_runs(n, d, loss * noise, experts=experts)


@pytest.fixture(scope="module")
def fit(runs):
    return fit_law(runs, formula=FORMULA, bootstrap=20, holdout="largest:N")


def drawn(fit, runs, /, **options):
    """Figure, its texts and its table."""
    from matplotlib.text import Text

    options = registry.defaults("figure", "variable_curves") | options
    with matplotlib.rc_context(STYLE):
        figure, table = CARD.draw(Inputs({"runs": runs}, {"moe": fit}), **options)
    return figure, [text.get_text() for text in figure.findobj(Text)], table


def test_every_value_of_a_second_variable_has_its_colour_law_and_interval(fit, runs):
    figure, texts, table = drawn(fit, runs)
    assert run_ids(table) == set(runs["run_id"])
    assert list(table["shade"].unique()) == ["1", "8", "64"]
    law = table[table["what"] == "law"]
    for value, part in law.groupby("experts"):
        assert set(part["shade"]) == {f"{value:g}"} and set(part["n_samples"]) == {1e10}
        told = fit.predict(N=part["n_params"], D=part["n_samples"], experts=part["experts"])
        for column, ours in (("loss", "drawn"), ("low", "low"), ("high", "high")):
            np.testing.assert_allclose(part[ours], told[column])
    assert {"experts", "Model size N (parameters)", "Loss L (nats/token)", "held out"} <= set(texts)
    assert any(text.endswith("at D = 10B; runs moved there by the law") for text in texts)
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]
    assert len({line.get_color() for line in lines}) == 3
    beyond = law["beyond"].astype(bool)
    assert not beyond.any()  # of a colour that has runs along all of the axis


def test_runs_are_moved_along_the_law_so_that_their_residual_stays(fit, runs):
    table = drawn(fit, runs)[2]
    shown = table[table["what"] == "run"].set_index("run_id")
    own = fit.residuals.set_index("run_id").loc[shown.index]
    at_middle = fit.loss(N=shown["n_params"], D=np.full(len(shown), 1e10), experts=shown["experts"])
    np.testing.assert_allclose(shown["drawn"] / at_middle, own["loss"] / own["predicted"])
    there = shown["n_samples"] == 1e10
    assert (shown["drawn"] == shown["loss"])[there].all()
    _, texts, table = drawn(fit, runs, runs="observed")
    shown = table[table["what"] == "run"]
    assert (shown["drawn"] == shown["loss"]).all()
    assert any(text.endswith("at D = 10B; runs as they are") for text in texts)


def test_variables_are_chosen_and_a_curve_goes_on_beyond_its_runs(fit, runs):
    _, texts, table = drawn(fit, runs, x="experts", colour="D", reach=4)
    assert list(table["shade"].unique()) == ["1B", "10B", "100B"]
    assert "Training data D (tokens)" in texts and "beyond its runs" in texts
    law = table[table["what"] == "law"]
    assert law["experts"].max() == pytest.approx(256)
    assert (law["beyond"].astype(bool) == (law["experts"] > 64)).all()


def test_many_values_are_ranges_of_as_many_runs(chinchilla_runs):
    runs = chinchilla_runs(noise=0.01, seed=1)
    plane = fit_law(runs, "chinchilla", bootstrap=0)
    figure, texts, table = drawn(plane, runs, x="N", colour="D", colours=4)
    shown = table[table["what"] == "run"]
    sizes = shown.groupby("shade").size()
    assert len(sizes) == 4 and sizes.min() >= 0.5 * sizes.max()
    assert all(" to " in label for label in sizes.index)
    assert set(sizes.index) <= set(texts)
    assert any("at D the middle of its range; runs moved there" in text for text in texts)
    assert len(figure.axes) == 2  # the bar of colours


def test_a_law_in_one_variable_has_one_colour(chinchilla_runs):
    runs = chinchilla_runs(noise=0.01, seed=1)
    fit = fit_law(runs, "power_law", {"variable": "N"}, bootstrap=0)
    figure, texts, table = drawn(fit, runs)
    with pytest.raises(IsolossError, match="colour: 'N' is the variable x"):
        drawn(fit, runs, colour="N")
    assert len(figure.axes) == 1 and list(table["shade"].unique()) == [""]
    assert not any("moved" in text for text in texts)
    np.testing.assert_array_equal(table["loss"].dropna(), table["drawn"][table["what"] == "run"])


def test_a_response_of_both_signs_is_moved_by_its_difference(runs):
    signed = runs.assign(score=runs["loss"] - 3, what=runs["experts"])
    fit = fit_law(signed, formula="score = A / N**a - E + F * log(what)", bootstrap=0)
    _, texts, table = drawn(fit, signed)
    shown = table[table["what"] == "run"].set_index("run_id")
    own = fit.residuals.set_index("run_id").loc[shown.index]
    assert set(shown["what_"]) == {1, 8, 64}  # a variable may be called as a column of the table
    np.testing.assert_allclose(shown["drawn"], own["loss"])
    assert "score" in texts


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": "U"}, r"x: 'U' is not a variable of the law, which has N, experts, D"),
        ({"colour": "expert"}, r"colour: 'expert' is not.*did you mean 'experts'"),
        ({"x": "N", "colour": "N"}, r"colour: 'N' is the variable x"),
    ],
)
def test_a_variable_that_the_law_does_not_have_is_told(fit, runs, options, message):
    with pytest.raises(IsolossError, match=message):
        drawn(fit, runs, **options)


def test_a_column_that_the_runs_do_not_have_is_told_before_anything_runs(runs):
    options = registry.defaults("figure", "variable_curves")
    known = pd.DataFrame({"n_params": [1], "experts": [2], "group": ["ALL"]})
    assert CARD.problems(options | {"x": "N", "colour": "experts"}, known) == []
    (problem,) = CARD.problems(options | {"colour": "expert"}, known)
    assert "colour" in str(problem) and "experts" in str(problem)
