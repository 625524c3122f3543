"""The loss against one variable: what is drawn of runs, law, interval, offset and groups."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.figures import _figure
from isoloss.figures._figure import STYLE, Inputs, run_ids
from isoloss.fit import fit_law

BUDGETS = np.geomspace(1e17, 1e20, 12)


@pytest.fixture(scope="module")
def arms(make_runs):
    """Runs of two optimisers by C, with a known offset that they identify."""
    rng, parts = np.random.default_rng(3), []
    for group, factor in (("adam", 900.0), ("muon", 700.0)):
        loss = (1.5 + factor / BUDGETS**0.17) * np.exp(0.001 * rng.normal(size=len(BUDGETS)))
        n = np.sqrt(BUDGETS / 120)
        runs = make_runs(n, BUDGETS / 6 / n, loss, group=group)
        parts.append(runs.assign(run_id=[f"{group}{i}" for i in range(len(runs))]))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def fit(arms):
    return fit_law(arms, "power_law", bootstrap=30, holdout="largest_compute")


def drawn(fit, runs, **options):
    """Figure, its texts and its table."""
    from matplotlib.text import Text

    shown = Inputs(tables={"runs": runs}, fits={"arms": fit})
    options = registry.defaults("figure", "scaling_curve") | options
    figure, table = registry.card("figure", "scaling_curve").draw(shown, **options)
    return figure, [text.get_text() for text in figure.findobj(Text)], table


def test_every_group_has_its_runs_its_law_and_its_offset(fit, arms):
    figure, texts, table = drawn(fit, arms, reach=1000)
    assert run_ids(table) == set(arms["run_id"])
    for group in ("adam", "muon"):
        of_group = table[table["group"] == group]
        law = of_group[of_group["what"] == "law"]
        expected = fit.predict(group, C=law["n_flops"])
        np.testing.assert_allclose(law["loss"], expected["loss"])
        np.testing.assert_allclose(law["low"], expected["low"])
        assert law["n_flops"].max() == pytest.approx(1000 * BUDGETS.max())
        assert (law["beyond"].astype(bool) == (law["n_flops"] > BUDGETS.max() * 1.0001)).all()
        offset = of_group.loc[of_group["what"] == "offset", "loss"]
        assert offset.item() == fit.params.set_index(["group", "term"])["estimate"][group, "E"]
    assert {"adam", "muon", "held out", "beyond the runs", "offset E"} <= set(texts)
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert len(colours) == 2
    held = table[(table["what"] == "run") & table["held_out"].astype("boolean")]
    assert set(held["run_id"]) == {"adam11", "muon11"}


def test_one_group_is_counted_and_has_its_parameters_in_the_title(fit, arms):
    _, texts, table = drawn(fit, arms, group="muon")
    assert set(table["group"]) == {"muon"}
    assert any(text.startswith("12 of 24 runs (group muon)") for text in texts)
    assert any("α = 0.1" in text for text in texts)
    with pytest.raises(IsolossError, match="group 'muo' is not in it; did you mean 'muon'"):
        drawn(fit, arms, group="muo")


def test_the_distance_from_the_offset_is_straight_in_logarithms(fit, arms):
    figure, texts, _ = drawn(fit, arms, scale="above_offset")
    x, y = figure.axes[0].lines[0].get_data()
    slopes = np.diff(np.log(y)) / np.diff(np.log(x))
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-6)
    assert "Loss L - E (nats/token)" in texts
    plain = fit_law(arms, "power_law", {"variable": "C", "offset": False}, bootstrap=0)
    with pytest.raises(IsolossError, match=r"law of arms has no offset E.*use log or linear"):
        drawn(plain, arms, scale="above_offset")


def test_an_offset_that_the_runs_do_not_identify_is_not_drawn(arms):
    few = arms[arms["group"] == "adam"]
    vague = fit_law(few, "power_law", bootstrap=10)
    vague.params.loc[vague.params["term"] == "E", "ci_low"] = 0.1
    _, texts, table = drawn(vague, few)
    assert "offset" not in set(table["what"])
    assert "offset E" not in texts


def test_a_law_that_divides_budgets_is_drawn_as_the_least_loss_of_a_budget(chinchilla_runs):
    runs = chinchilla_runs(noise=0.002, seed=1)
    plane = fit_law(runs, "chinchilla", bootstrap=10)
    _, texts, table = drawn(plane, runs, reach=10)
    law = table[table["what"] == "law"].iloc[::40]
    np.testing.assert_allclose(law["loss"], plane.allocate(law["n_flops"])["loss"])
    assert "Training compute 6 N D (FLOP)" in texts
    assert any(text.startswith("Least loss of a budget by") for text in texts)
    assert any("(95 % intervals)" in text for text in texts)


def test_a_legend_of_many_groups_covers_no_run(make_runs):
    x = np.tile(np.geomspace(1e17, 1e20, 6), 12)
    n = np.sqrt(x / 120)
    runs = make_runs(n, x / 6 / n, 2.0 + 1e3 / n**0.3)
    runs["group"] = np.repeat([f"arm {letter}" for letter in "abcdefghijkl"], 6)
    settings = {"variable": "C", "offset": False}
    with matplotlib.rc_context(STYLE):
        figure, _, _ = drawn(fit_law(runs, "power_law", settings, bootstrap=0), runs)
        figure.get_layout_engine().execute(figure)
    (axes,), page = figure.axes, figure.bbox
    legend = axes.get_legend().get_window_extent()
    assert not legend.overlaps(axes.get_window_extent())
    assert page.y0 <= legend.y0 and legend.y1 <= page.y1 and legend.x1 <= page.x1
    assert axes.get_window_extent().width > 6 * figure.dpi  # as wide as with a legend in it


def test_a_law_of_a_response_that_grows_is_drawn(arms):
    runs = arms.assign(score=3e-3 * arms["n_params"] ** 0.4)
    grows = fit_law(
        runs, "growth", {"variable": "N", "offset": False}, response="score", bootstrap=0
    )
    _, texts, table = drawn(grows, runs)
    assert {"score (1)", "score"} & set(texts)
    assert table.loc[table["what"] == "run", "loss"].max() == runs["score"].max()


def test_a_fit_of_several_variables_that_divides_nothing_is_refused(chinchilla_runs):
    runs = chinchilla_runs(noise=0.01, seed=1).assign(n_unique=lambda t: t["n_samples"] / 2)
    held = fit_law(runs, "data_constrained", bootstrap=0)
    with pytest.raises(IsolossError, match=r"data_constrained is a law in N, D, U.*one variable"):
        held.plot("scaling_curve")


def test_an_accuracy_is_drawn_along_the_loss_of_its_runs(arms):
    accuracy = 0.9 / (1 + np.exp(arms["loss"] - 2.2))
    runs = arms.assign(accuracy=accuracy)
    formula = "accuracy = high * sigmoid(-k * (loss - m)); k > 0"
    fit = fit_law(runs, formula=formula, where="group == 'adam'", bootstrap=0)
    figure, texts, table = drawn(fit, runs)
    shown = table[table["what"] == "run"].set_index("run_id")
    own = runs[runs["group"] == "adam"].set_index("run_id")
    np.testing.assert_allclose(shown["loss_below"], own["loss"].loc[shown.index])
    np.testing.assert_allclose(shown["loss"], own["accuracy"].loc[shown.index])
    assert {"Loss", "accuracy"} <= set(texts)
    assert table["loss_below"].max() == pytest.approx(own["loss"].max())  # not beyond the runs
    (axes,) = figure.axes  # an accuracy has no decades, and a loss as a variable has none
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "linear")
    options = registry.defaults("figure", "fit_residuals")
    shown = Inputs(tables={"runs": runs}, fits={"task": fit})
    figure, table = registry.card("figure", "fit_residuals").draw(shown, **options)
    assert figure.axes[0].get_xlabel() == "Loss"
    residuals = table.set_index("run_id")
    np.testing.assert_allclose(residuals["loss_below"], own["loss"].loc[residuals.index])


def test_a_title_breaks_no_parameter_from_its_interval():
    part = _figure.unbroken("N_half = 191M [148M, 228M]")
    title = _figure.wrapped(", ".join([part] * 3), 3.0)
    assert title == ",\n".join(["N_half = 191M [148M, 228M]"] * 3)


def test_ticks_of_decades_have_no_more_decimals_than_they_need():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    shown = {}
    for low, high in ((1e-4, 1e-2), (2.0, 3.5)):
        _figure.log_axis(axes.xaxis, low, high)
        form = axes.xaxis.get_major_formatter()
        shown[low] = [form(tick) for tick in axes.xaxis.get_majorticklocs()]
    assert shown[1e-4] == ["0.0001", "0.0003", "0.001", "0.003", "0.01"]
    assert len({len(text) for text in shown[2.0]}) == 1


def test_many_fits_with_a_doubt_are_counted(make_runs):
    n = np.tile([1e7, 1e8, 1e9], 14)
    runs = make_runs(n, np.full(42, 1e9), 2 + 100 / n**0.3)
    runs["group"] = np.repeat([f"arm {number}" for number in range(14)], 3)
    fit = fit_law(runs, "power_law", {"variable": "N"}, bootstrap=0)
    _, texts, _ = drawn(fit, runs)
    assert any("14 of 14 fits of arms" in text.replace("\n", " ") for text in texts)


def test_names_of_several_letters_are_upright_in_labels():
    named = Inputs({}, {}).named
    assert [named("k"), named("middle"), named("N_half")] == [
        "$k$", r"$\mathrm{middle}$", r"$N_{\mathrm{half}}$",
    ]  # fmt: skip
