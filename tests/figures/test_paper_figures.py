"""Figures for a paper: width, captions, and what a user's own Matplotlib settings say."""

from __future__ import annotations

import matplotlib
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError
from isoloss.figures import _figure, _paper
from isoloss.fit import fit_law
from isoloss.plot.draw import draw
from isoloss.quickfit.law import law_of_table, save

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def fit(chinchilla_runs):
    return fit_law(chinchilla_runs(noise=0.01, seed=1), "chinchilla", bootstrap=10)


def test_a_figure_of_a_fit_takes_the_width_of_a_column_and_has_no_title(fit):
    from matplotlib import pyplot

    axes = fit.plot("isoflop_profiles", style="paper")
    assert axes.figure.get_figwidth() == 3.25
    assert axes.get_title(loc="left") == axes.get_title() == axes.figure.get_supxlabel() == ""
    assert axes.get_xlabel() == "Parameters $N$"
    assert fit.plot("isoloss", style="paper", width=6.75).figure.get_figwidth() == 6.75
    pyplot.close("all")


@pytest.mark.parametrize("style", ["screen", "paper"])
def test_a_tight_layout_of_a_user_is_not_that_of_a_figure(fit, style):
    from matplotlib import pyplot

    with matplotlib.rc_context({"figure.autolayout": True}):
        figure = fit.plot("isoflop_profiles", style=style).figure
    assert isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine)
    pyplot.close("all")


def test_square_panels_of_a_paper_are_as_wide_as_their_places(chinchilla_runs, fit):
    runs = chinchilla_runs(noise=0.01, seed=1)
    fits = {f"a law with a long name {number}": fit for number in range(4)}
    canvas = _figure.canvas_of("paper", 6.75)
    with matplotlib.rc_context(_figure.style_of("paper")):
        shown = _figure.Inputs({"runs": runs}, fits, canvas=canvas)
        figure, _ = registry.card("figure", "predicted_observed").draw(shown, group="")
        _paper.finish(figure, canvas)
        figure.get_layout_engine().execute(figure)
    for axes in canvas.panels:
        axes.apply_aspect()
        place, panel = axes.get_position(original=True), axes.get_position()
        assert panel.width > 0.93 * place.width
        assert panel.width * 6.75 > 1.2


def test_axes_of_a_user_keep_the_size_of_their_figure(fit):
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(6.5, 2.5))
    assert fit.plot("scaling_curve", left, style="paper") is left
    assert tuple(figure.get_size_inches()) == (6.5, 2.5)
    assert left.xaxis.label.get_fontsize() == 8
    assert right.xaxis.label.get_fontsize() == 10
    pyplot.close(figure)


def test_fonts_and_colours_of_a_user_are_those_of_a_figure_for_a_paper_alone(fit):
    from matplotlib import pyplot

    own = {
        "font.family": "DejaVu Serif",
        "axes.prop_cycle": "cycler('color', ['#123456', '#abcdef'])",
        "font.size": 20,
        "axes.spines.top": True,
    }
    with matplotlib.rc_context(own):
        paper = fit.plot("scaling_curve", style="paper")
        screen = fit.plot("scaling_curve")
    assert paper.lines[0].get_color() == "#123456"
    assert paper.xaxis.label.get_fontname() == "DejaVu Serif"
    assert paper.xaxis.label.get_fontsize() == 8
    assert screen.lines[0].get_color() == "#0072B2"
    assert screen.xaxis.label.get_fontname() == "DejaVu Sans"
    pyplot.close("all")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            "latex failed\n! Error: Missing cm-super, requ\nired.\n\nmore",
            "Missing cm-super, required.",
        ),
        ("latex could not be found", "latex could not be found"),
    ],
)
def test_what_latex_lacks_is_told(error, reason):
    told = pytest.raises(IsolossError, match=f"text.usetex: .*{reason}; install what")
    with matplotlib.rc_context({"text.usetex": True}), told, _paper.latex_told():
        raise RuntimeError(error)
    with pytest.raises(RuntimeError, match="latex"), _paper.latex_told():
        raise RuntimeError(error)


def test_text_is_escaped_where_a_user_has_latex_draw_it():
    from matplotlib.figure import Figure

    from isoloss.figures._figure import parse_formulas

    figure = Figure()
    plain, formula = figure.text(0, 0, "95 % of a_b"), figure.text(0, 1, "$\\alpha$ & α")
    with matplotlib.rc_context({"text.usetex": True}):
        parse_formulas(figure, {formula.get_text()})
    assert plain.get_text() == r"95 \% of a\_b"
    assert formula.get_text() == r"$\alpha$ & \alpha "


@pytest.mark.parametrize(
    ("style", "width", "message"),
    [
        ("papr", None, "style: found 'papr'; did you mean 'paper'"),
        ("screen", 3.25, "width: a figure for a screen has its own; add `style: paper`"),
        ("paper", 0.5, "width: found 0.5; needs inches, 2 to 20"),
        ("paper", float("nan"), "width: found nan; needs inches, 2 to 20"),
    ],
)
def test_a_style_or_width_that_is_not_one_is_told(fit, style, width, message):
    with pytest.raises(IsolossError, match=message):
        fit.plot("isoloss", style=style, width=width)


@pytest.mark.parametrize("style", ["screen", "paper"])
def test_the_caption_is_in_every_file_of_a_figure(fit, style, tmp_path):
    files = fit.save(tmp_path / "fit", law="plane", sweep="s")
    runs = fit.points.assign(status="done", status_reason=None)
    tables.write("runs", runs, tmp_path / "runs.parquet", {"token": "byte"})
    out, options = tmp_path / "figure.png", registry.defaults("figure", "isoflop_profiles")
    given = [*files, tmp_path / "runs.parquet"]
    written = draw("isoflop_profiles", options, given, out, style=style)
    assert {file.suffix for file in written} == {".png", ".pdf", ".txt", ".parquet"}
    first = {file.suffix: file.read_bytes() for file in written}
    caption = out.with_suffix(".txt").read_text().rstrip("\n")
    assert caption.splitlines()[0].startswith("IsoFLOP profiles; lines: plane, L = E + A / N^α")
    assert caption.splitlines()[1].startswith("35 runs")
    assert tables.facts(out.with_suffix(".parquet"))["caption"] == caption
    with Image.open(out) as picture:
        assert picture.text["Description"] == caption
    again = draw("isoflop_profiles", options, given, out, style=style)
    assert first == {file.suffix: file.read_bytes() for file in again}


def test_a_quick_fit_draws_for_a_paper_if_it_is_given_a_width(chinchilla_runs, tmp_path):
    runs = chinchilla_runs(noise=0.01, seed=1)
    runs[["n_flops", "loss"]].iloc[::3].to_csv(tmp_path / "runs.csv", index=False)
    result = law_of_table(tmp_path / "runs.csv", given={"C": "n_flops"}, bootstrap=10)
    save(result, tmp_path / "out", width=4.0)
    with Image.open(tmp_path / "out" / "law.png") as picture:
        assert picture.size[0] == 1200
    assert tables.facts(tmp_path / "out" / "law.parquet")["card"] == "scaling_curve"
    with pytest.raises(IsolossError, match="width: found 40; needs inches"):
        save(result, tmp_path / "none", width=40)
    assert not (tmp_path / "none").exists()
