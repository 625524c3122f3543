"""What a figure draws is what its legend, axes and note say of it."""

from __future__ import annotations

import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.contour import QuadContourSet
from matplotlib.text import Text

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.figures import _figure, isoloss, learning_curves, mixture_response, optimal_frontier
from isoloss.figures._figure import Inputs
from isoloss.fit import fit_law
from isoloss.fitted.ties import tied_symbols


def drawn(card: str, tables: dict, fits: dict, **options):
    """A figure, and the table of what it draws."""
    given = registry.defaults("figure", card) | options
    with matplotlib.rc_context(_figure.STYLE):
        return registry.card("figure", card).draw(Inputs(tables, fits), **given)


def words(figure) -> str:
    """All that is written on a figure."""
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


def entries(figure) -> dict:
    """The artists of the legend of a figure, by their text."""
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    return dict(zip(texts, legend.legend_handles, strict=True))


@pytest.fixture(scope="module")
def runs(chinchilla_runs):
    return chinchilla_runs(noise=0.01, seed=1, weighting="natural").assign(seed=0)


@pytest.fixture(scope="module")
def fit(runs):
    return fit_law(runs, "chinchilla", bootstrap=20, profiles=True)


@pytest.fixture(scope="module")
def tied(runs):
    return fit_law(runs, "chinchilla", bootstrap=0, tied=[["alpha", "beta"]])


# The frontier


def test_the_legend_of_a_frontier_shows_each_law_as_it_is_drawn(runs, fit, tied):
    figure, _ = drawn("optimal_frontier", {"runs": runs}, {"plane": fit, "same": tied})
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["plane, 95 % interval", "same", "beyond the runs", "compute of the runs"]
    axes = figure.axes[0]
    bands = {tuple(color) for band in axes.collections for color in band.get_facecolor()}
    lines = {to_rgba(line.get_color()) for line in axes.lines}
    (across,) = axes.patches  # the compute of the runs
    assert [tuple(patch.get_facecolor()) for patch in legend.get_patches()] == [
        tuple(across.get_facecolor())
    ]
    shown = {to_rgba(line.get_color()) for line in legend.get_lines()}
    assert lines <= shown <= lines | {to_rgba(_figure.GREY)}
    with_band, without = legend.get_lines()[:2]
    stroke = with_band.get_path_effects()[0]._gc
    assert to_rgba(stroke["foreground"], stroke["alpha"]) in bands
    assert not without.get_path_effects()


def wild(ends: dict[int, float]) -> pd.DataFrame:
    """A frontier whose interval reaches to some ends at some budgets."""
    flops = np.geomspace(1e18, 1e24, 30)
    line = 20.0 * np.ones(30)
    high = line * 1.5
    high[list(ends)] = list(ends.values())
    table = {"law": "plane", "C": flops, "N": line, "N_low": line / 1.5, "N_high": high}
    return pd.DataFrame(table)


def test_an_interval_that_is_far_wider_than_the_lines_does_not_stretch_the_axis():
    sane, one_wild = wild({}), wild({4: 80_000.0})
    assert optimal_frontier._cut(sane, "N", optimal_frontier._limits(sane, "N")) == []
    low, high = optimal_frontier._limits(one_wild, "N")
    assert low < 20 / 1.5 and 30 < high <= 20 * optimal_frontier.REACHED
    (cut,) = optimal_frontier._cut(one_wild, "N", (low, high))
    assert (cut.law, cut.end, cut.high) == ("plane", 80_000.0, True)
    assert cut.flops == pytest.approx(one_wild["C"][4])
    assert optimal_frontier._words([cut]).endswith("N of plane up to 80k")


def test_an_arrow_marks_an_interval_that_is_cut_off_and_the_note_says_where_it_ends(runs):
    loose = fit_law(runs.iloc[[0, 6, 10, 17, 24, 28, 34]], "chinchilla", bootstrap=40)
    figure, table = drawn("optimal_frontier", {"runs": runs}, {"loose": loose})
    arrows = 0
    for axes, column in zip(figure.axes, optimal_frontier.PANELS, strict=True):
        low, high = axes.get_ylim()
        marks = [line.get_marker() for line in axes.lines]
        assert ("^" in marks) == (table[f"{column}_high"].max() > high)
        assert ("v" in marks) == (table[f"{column}_low"].min() < low)
        assert high <= optimal_frontier.REACHED * table[column].max() * 1.001
        arrows += marks.count("^") + marks.count("v")
    assert arrows
    assert "goes on beyond the panel" in entries(figure)
    assert "arrows: intervals that are wider than the panel" in words(figure)


# One law


def test_parameters_that_share_a_value_have_one_symbol(runs, fit, tied):
    assert tied_symbols(tied) == {"β": "α"} and tied_symbols(fit) == {}
    figure, _ = drawn("predicted_observed", {"runs": runs}, {"plane": tied})
    assert "B / D^α" in words(figure) and "β" not in words(figure)


def test_the_legend_of_predictions_lies_above_the_panel(runs, fit):
    figure, _ = drawn("predicted_observed", {"runs": runs}, {"plane": fit, "again": fit})
    figure.draw_without_rendering()
    for axes in figure.axes:
        legend = axes.get_legend().get_window_extent()
        assert legend.y0 >= axes.get_window_extent().y1 - 1
        assert legend.y1 <= figure.bbox.y1


@pytest.mark.parametrize("ends", [(1.388, 2.281), (2.03, 8.1), (1e-3, 4e-3), (-3, -1), (90, 1200)])
def test_contours_lie_at_round_losses(ends):
    levels, form = isoloss.contour_levels(*ends)
    assert 5 <= len(levels) <= isoloss.LEVELS + 1
    assert ends[0] <= levels[0] and levels[-1] <= ends[1]
    (step,) = {float(f"{step:.6g}") for step in np.diff(levels)}
    assert f"{step:.0e}"[0] in "125"
    assert [float(form % level) for level in levels] == list(levels)


def test_runs_on_one_spot_are_counted_by_area_and_in_the_note(runs, fit):
    again = pd.concat([runs, *3 * [runs.iloc[:2]]], ignore_index=True)
    again["run_id"] = [f"r{i}" for i in range(len(again))]
    of_all = fit_law(again, "chinchilla", bootstrap=0)
    figure, table = drawn("isoloss", {"runs": again}, {"plane": of_all})
    marks = isoloss.spots(again.assign(held_out=False))
    assert marks["n_runs"].sum() == len(again) == (table["what"] == "run").sum()
    (points,) = [c for c in figure.axes[0].collections if len(c.get_offsets()) == len(marks)]
    assert sorted(set(points.get_sizes())) == [isoloss.AREA, 4 * isoloss.AREA]
    assert "2 marks each stand for 4 runs of the same" in words(
        figure
    ) and "4 runs on one spot" in words(figure)
    (contours,) = figure.findobj(QuadContourSet)
    low, high = figure.axes[0].get_xlim()
    assert low < contours.get_paths()[1].vertices[:, 0].min() < high
    figure, _ = drawn("isoloss", {"runs": runs}, {"plane": fit})
    assert "on one spot" not in words(figure)


def test_every_interval_of_a_profile_is_in_the_legend_and_explained(runs, fit):
    figure, _ = drawn("profile_curves", {"runs": runs}, {"plane": fit})
    shown, axes = entries(figure), figure.axes[0]
    by_profile = shown["95 % interval by the profile"]
    assert tuple(by_profile.get_facecolor()) == tuple(axes.collections[0].get_facecolor()[0])
    styles = {(line.get_color(), line.get_linestyle()) for line in axes.lines}
    for label in ("95 % interval reported", "middle 95 % of the replicates", "estimate"):
        assert (shown[label].get_color(), shown[label].get_linestyle()) in styles
    for phrase in ("reported: bootstrap over runs", "without the correction for bias", "limit"):
        assert phrase in words(figure)


def test_the_colours_of_replicates_are_in_the_legend(runs, fit):
    figure, _ = drawn("bootstrap_pairs", {"runs": runs}, {"plane": fit}, terms=["A", "alpha"])
    (points,) = [c for axes in figure.axes for c in axes.collections]
    shown, shades = entries(figure), points.get_cmap()([0.0, 1.0])
    for label, shade in zip(("few replicates nearby", "many"), shades, strict=True):
        assert to_rgba(shown[label].get_color()) == tuple(shade)


def test_a_paper_that_is_too_narrow_for_a_matrix_of_panels_is_told_the_least_width(fit):
    with pytest.raises(IsolossError, match=r"2 inches are too few for 5 panels .* at least 2.75"):
        fit.plot("bootstrap_pairs", style="paper", width=2.0)


# Runs without a law


def test_the_note_of_weightings_counts_the_runs_that_are_compared(runs):
    double = runs.iloc[::7].assign(weighting="double", run_id=[f"x{i}" for i in range(5)])
    every = pd.concat([runs, double], ignore_index=True)
    of_domain = every.assign(domain="code", tag_key="kind")
    figure, table = drawn("weighting_effects", {"runs": every, "losses": of_domain}, {})
    assert len(set(table["run_id"]) | set(table["run_id_reference"])) == 10
    note = words(figure)
    assert "5 pairs" in note and "10" in note
    assert not re.search(rf"\b{len(every)} runs", note.replace(f"of {len(every)} runs", ""))


def test_of_many_learning_curves_the_longest_of_a_few_sizes_stand_out(runs):
    along = [runs.assign(n_samples=runs["n_samples"] * s, step=1) for s in (0.1, 1)]
    curves = pd.concat(along)[["run_id", "step", "n_samples", "loss"]]
    figure, _ = drawn("learning_curves", {"runs": runs, "curves": curves}, {}, most=6)
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() > 1]
    assert len(thick) == 6 and len(figure.axes[0].lines) == len(runs)
    sizes = runs["n_params"].nunique()
    phrase = (
        f"thick: the longest run of 6 of the {sizes} sizes; thin: the other {len(runs) - 6} runs"
    )
    assert phrase in words(figure)
    shown = runs.set_index("run_id").loc[learning_curves.longest(runs, 6)]
    assert shown["n_params"].is_monotonic_increasing
    assert shown["n_params"].iloc[[0, -1]].tolist() == [
        runs["n_params"].min(), runs["n_params"].max()
    ]  # fmt: skip


# Mixtures


@pytest.fixture(scope="module")
def mixtures(make_runs):
    """Runs of three domains with fifteen losses, and a law of them."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([1.0, 1.0, 1.0], 12)
    runs = make_runs(np.full(12, 1e6), np.full(12, 1e8), np.full(12, 2.0))
    names = ["x0", "code", "web", *[f"x{i}" for i in range(1, 12)], "books"]
    for domain, p in zip(("code", "web", "books"), shares.T, strict=True):
        runs[f"p_{domain}"] = p
    for number, name in enumerate(names):
        runs[f"loss_{name}"] = 2.0 + np.exp(-0.1 * number * runs["p_code"] - runs["p_web"])
    return runs, fit_law(runs, "log_linear", bootstrap=0)


def test_of_many_losses_those_of_the_domains_come_first_and_the_others_by_page(mixtures):
    runs, fit = mixtures
    figure, table = drawn("mixture_response", {"runs": runs}, {"mix": fit})
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert len(titles) == 8 and titles[:3] == ["code", "web", "books"]
    assert set(table["response"]) == {f"loss_{title}" for title in titles}
    assert f"8 of {len(fit.responses)} losses; option `page` shows the others" in words(figure)
    second, _ = drawn("mixture_response", {"runs": runs}, {"mix": fit}, page=2)
    others = [axes.get_title(loc="left") for axes in second.axes if axes.get_visible()]
    assert sorted(titles + others) == sorted(r.removeprefix("loss_") for r in fit.responses)
    named = ["loss_x3", "loss_web"]
    third, _ = drawn("mixture_response", {"runs": runs}, {"mix": fit}, responses=named)
    assert [axes.get_title(loc="left") for axes in third.axes if axes.get_visible()] == [
        "x3",
        "web",
    ]
    with pytest.raises(IsolossError, match="found 3, and there are 2; name one of 1 to 2"):
        drawn("mixture_response", {"runs": runs}, {"mix": fit}, page=3)
    with pytest.raises(IsolossError, match="response 'loss_wb' is not in it; did you mean"):
        drawn("mixture_response", {"runs": runs}, {"mix": fit}, responses=["loss_wb"])


def test_the_own_domain_of_a_panel_is_in_the_legend_as_it_is_drawn(mixtures):
    runs, fit = mixtures
    figure, _ = drawn("mixture_response", {"runs": runs}, {"mix": fit}, most=1)
    own = entries(figure)["thick: the panel's own domain"]
    of_domains = [axes for axes in figure.axes[:3]]
    for axes in of_domains:
        assert own.get_linewidth() in [line.get_linewidth() for line in axes.lines]
    colours = {line.get_color() for axes in of_domains for line in axes.lines}
    assert colours == {_figure.OKABE_ITO[0], _figure.GREY, mixture_response.PALE}
    assert own.get_color() in colours and "other domains" in entries(figure)


def test_the_bands_of_a_response_are_in_the_legend_if_there_are_some(mixtures):
    runs, fit = mixtures
    figure, _ = drawn("mixture_response", {"runs": runs}, {"mix": fit})
    assert "95 % interval" not in entries(figure)
    again = fit_law(runs, "log_linear", bootstrap=5, ci_level=0.9)
    figure, _ = drawn("mixture_response", {"runs": runs}, {"mix": again})
    assert "90 % interval" in entries(figure)


def test_an_interval_does_not_hide_how_a_loss_moves():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    p = np.linspace(0, 1, 5)
    line = pd.DataFrame(
        {"domain": "p_a", "proportion": p, "loss": 3 - p, "low": 1.9 - p, "high": 50}
    )
    colours = mixture_response.Colours({"p_a": "red"})
    assert mixture_response._set_limits(axes, line, None, colours)
    assert axes.get_ylim()[1] < 3.5
    assert not mixture_response._set_limits(
        axes, line.assign(low=line["loss"], high=3.1), None, colours
    )


def test_the_margin_of_an_axis_does_not_hide_how_little_losses_differ():
    low, high = _figure.span([1.800, 1.803], 1.04)
    assert 0.0005 < 1.800 - low < 0.001 and 0.0005 < high - 1.803 < 0.001
    assert _figure.span([2.0, 4.0], 1.04) == (2.0 / 1.04, 4.0 * 1.04)
    assert _figure.span([2.0, 2.0], 1.04) == (2.0 / 1.04, 2.0 * 1.04)


def test_a_long_formula_has_room_above_the_runs(chinchilla_runs):
    runs = chinchilla_runs(noise=0.01)
    runs["a_long_name"] = 1.0 + np.arange(len(runs)) % 5
    further = " + ".join(f"{letter} * log(a_long_name / best_{letter})**2" for letter in "FGH")
    for more in ("", f" + {further}"):
        formula = f"loss = E + A / N**alpha + B / D**beta{more}"
        fit = fit_law(runs, formula=formula, bootstrap=0, interval="none")
        figure, _ = drawn("predicted_observed", {"runs": runs}, {"law": fit})
        figure.draw_without_rendering()
        (axes,) = figure.axes
        texts = [text for text in axes.findobj(Text) if text.get_text()]
        assert max(text.get_window_extent().y1 for text in texts) <= figure.bbox.y1 + 1
        assert axes.get_window_extent().height > 3.3 * figure.dpi
