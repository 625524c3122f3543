"""A fit as people use it: typed, compared, drawn, read."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest
from names import NASTY

from isoloss.core import registry
from isoloss.core.escape import terminal
from isoloss.core.problems import IsolossError
from isoloss.fit import fit_law
from isoloss.fitted import Fit, load_fit

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

OF_ONE_FIT = {
    "bootstrap_pairs": 25,
    "fit_residuals": 3,
    "isoflop_profiles": 1,
    "isoloss": 1,
    "law_comparison": 1,
    "optimal_frontier": 3,
    "predicted_observed": 1,
    "profile_curves": 5,
    "scaling_curve": 1,
    "variable_curves": 1,
}


@pytest.fixture(scope="module")
def fit(chinchilla_runs) -> Fit:
    """A fit with everything that a figure can show."""
    settings = {"bootstrap": 30, "holdout": "largest_compute", "profiles": True}
    return fit_law(chinchilla_runs(noise=0.003), "chinchilla", **settings)


@pytest.fixture(scope="module")
def two(chinchilla_runs) -> Fit:
    """A fit of two groups."""
    parts = [chinchilla_runs(noise=0.003, seed=i, group=f"g{i}") for i in (0, 1)]
    runs = pd.concat(parts, ignore_index=True)
    runs["run_id"] = [f"r{i}" for i in range(len(runs))]
    return fit_law(runs, "chinchilla", bootstrap=3)


@pytest.fixture(scope="module")
def mixture(make_runs) -> Fit:
    """A mixture law of three domains with hostile names."""
    domains = ["web", "<script>alert(1)</script>", "$\\frac$"]
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 14)
    columns = {f"p_{d}": shares[:, i] for i, d in enumerate(domains)}
    columns |= {f"loss_{d}": 2 + np.exp(-2 * shares[:, i]) for i, d in enumerate(domains)}
    n = np.full(14, 1e6)
    return fit_law(make_runs(n, n, n, **columns), "linear_mixture", bootstrap=4)


@pytest.fixture(autouse=True)
def no_figures_left():
    """Close the figures of a test."""
    yield
    pyplot.close("all")


def test_typed_in_a_shell_a_fit_is_a_short_report(fit):
    report = repr(fit)
    lines = report.splitlines()
    assert len(lines) < 20 and max(map(len, lines)) < 200
    assert lines[0] == "chinchilla: L = E + A / N^α + B / D^β"
    assert "28 runs (7 held out)" in report and "30 refits" in report
    assert lines[-1].startswith("converged; ") and lines[-1].endswith("starts agree")
    (line,) = [line for line in lines if line.startswith("  α")]
    row = fit.params.set_index("term").loc["alpha"]
    assert line.split()[1:] == [
        f"{row['estimate']:.4g}", f"[{row['ci_low']:.3g},", f"{row['ci_high']:.3g}]", "1"
    ]  # fmt: skip


def test_a_report_warns_of_what_is_not_to_be_believed(make_runs):
    n = np.geomspace(1e6, 1e9, 12)
    runs = make_runs(n, np.full(12, 1e10), 2 + 30 / n**0.3)
    report = repr(fit_law(runs, "chinchilla", bootstrap=5))
    assert len(report.splitlines()) < 20 and max(map(len, report.splitlines())) <= 120
    assert "AT BOUND" in report or "UNDETERMINED" in report
    assert "not identified by these runs" in report


def test_a_fit_of_many_groups_is_a_line_a_group(two, chinchilla_runs):
    report = repr(two)
    assert "verdict" in report.splitlines()[0] + report.splitlines()[1]
    assert re.findall(r"^  (g\d) +loss ", report, flags=re.M) == ["g0", "g1"]
    runs = pd.concat([chinchilla_runs(0.01, i, group=f"g{i:02d}") for i in range(30)])
    runs["run_id"] = [f"r{i}" for i in range(len(runs))]
    report = repr(fit_law(runs, "chinchilla", bootstrap=0))
    assert len(report.splitlines()) < 20
    assert "... and 20 more fits in fit.summary" in report


class Tags(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_data(self, data):
        self.text += data


def test_in_a_notebook_a_fit_is_a_small_table(fit):
    page = Tags()
    page.feed(fit._repr_html_())
    counts = pd.Series([tag for tag, _ in page.tags]).value_counts()
    assert counts["table"] == 1 and counts["tr"] == 6 and counts["td"] == 25
    assert "chinchilla" in page.text and "28 runs (7 held out)" in page.text


# no table of pandas holds half of a surrogate pair
@pytest.mark.parametrize("name", [name for name in NASTY if name != "\ud800"])
def test_names_of_groups_are_no_markup_in_a_notebook_and_move_no_cursor(two, name):
    tables = {
        table: rows.assign(group=np.where(rows["group"] == "g0", name, "g1").astype(object))
        for table, rows in two.tables.items()
        if table != "points"
    }
    hostile = dataclasses.replace(two, tables={**two.tables, **tables})
    page, plain = Tags(), Tags()
    page.feed(hostile._repr_html_())
    plain.feed(two._repr_html_())
    assert page.tags == plain.tags
    assert terminal(repr(hostile)) == repr(hostile)  # nothing moves the cursor
    assert repr(hostile).count("\n") == repr(two).count("\n")


def test_names_of_domains_are_no_markup_either(mixture):
    page = Tags()
    page.feed(mixture._repr_html_())
    assert "script" not in {tag for tag, _ in page.tags}
    assert "<script>alert(1)</script>" in page.text
    assert "\\frac" in repr(mixture)


def test_fits_are_equal_if_their_law_and_their_numbers_are(fit, two, mixture, tmp_path):
    fit.save(tmp_path / "a", law="one")
    mixture.save(tmp_path / "b")
    assert fit == load_fit(tmp_path / "a") and mixture == load_fit(tmp_path / "b")
    assert fit != two and fit != mixture and two != mixture
    params = fit.params.assign(estimate=fit.params["estimate"] * (1 + 1e-12))
    assert fit != dataclasses.replace(fit, tables={**fit.tables, "params": params})
    renamed = dataclasses.replace(fit, facts={**fit.facts, "options": {"other": 1}})
    assert fit != renamed
    assert fit != "a fit" and (fit == None) is False  # noqa: E711
    with pytest.raises(TypeError, match="unhashable"):
        hash(fit)


def test_replicates_have_a_column_a_parameter_in_its_unit(fit, two):
    terms = [term.name for term in fit.law.terms]
    labels = ["group", "response", "replicate", "converged"]
    assert list(fit.replicates) == [*labels, *terms]
    assert len(fit.replicates) == 30
    kept = fit.replicates[fit.replicates["converged"]]
    spread = kept[terms].std().to_numpy()
    np.testing.assert_allclose(spread, fit.params["std_error"], rtol=1e-12)
    assert ((kept["A"] > 20) & (kept["A"] < 1000)).all()  # not its logarithm
    assert list(two.replicates["group"]) == ["g0"] * 3 + ["g1"] * 3


def test_without_a_bootstrap_there_are_no_replicates_but_their_columns(chinchilla_runs):
    none = fit_law(chinchilla_runs(0.01), "chinchilla", bootstrap=0).replicates
    assert len(none) == 0 and list(none)[4:] == ["E", "A", "B", "alpha", "beta"]


def test_replicates_of_a_mixture_law_are_those_of_every_response(mixture):
    replicates = mixture.replicates
    assert list(replicates["response"].unique()) == mixture.responses
    for response in mixture.responses:
        terms = [term.name for term in mixture.law_of(response).terms]
        rows = replicates[replicates["response"] == response]
        assert rows[terms].notna().all().all()


def test_values_are_a_dict_by_parameter(fit, two):
    expected = dict(zip(fit.params["term"], fit.params["estimate"], strict=True))
    assert fit.values == expected
    assert all(type(value) is float for value in fit.values.values())
    assert two.values == two.values_of("g0") != two.values_of("g1")
    with pytest.raises(IsolossError, match="no such fit"):
        two.values_of("g7")


@pytest.mark.parametrize(("card", "panels"), OF_ONE_FIT.items())
def test_a_fit_draws_every_card_that_reads_a_fit_alone(fit, card, panels):
    axes = fit.plot(card)
    if panels == 1:
        assert isinstance(axes, Axes) and axes.has_data()
        axes = np.array([axes])
    assert axes.shape == (panels,)
    figures = {one.figure for one in axes}
    assert figures == {pyplot.figure(number) for number in pyplot.get_fignums()}
    axes[0].figure.canvas.draw()


NOT_DRAWN = r"draw it in a study|show a fit of a mixture law|fit them with `group`"


def test_the_cards_that_a_fit_cannot_draw_say_where_they_are_drawn(fit):
    for card in set(registry.names("figure")) - set(OF_ONE_FIT):
        with pytest.raises(IsolossError, match=NOT_DRAWN):
            fit.plot(card)
    assert not pyplot.get_fignums()


def test_a_mixture_law_is_drawn_and_divides_no_budget(mixture):
    assert len(mixture.plot("mixture_response")) == 3
    with pytest.raises(
        IsolossError, match="linear_mixture does not give the best N and D of a budget"
    ):
        mixture.plot("isoloss")


def test_a_card_is_drawn_on_axes_that_are_there(fit):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5), layout="constrained")
    label = right.set_xlabel(r"$\alpha$")
    assert fit.plot("isoloss", ax=left) is left
    assert left.get_xlabel() == "Model size N (parameters)" and not right.has_data()
    assert label.get_parse_math()  # what the user wrote is drawn as the user meant it
    assert fit.plot("predicted_observed", ax=right) is right
    assert figure.get_supxlabel() == "35 runs"
    figure.canvas.draw()
    with pytest.raises(IsolossError, match="leave `ax` out"):
        fit.plot("bootstrap_pairs", ax=left)


def test_options_of_a_card_are_checked(fit):
    assert fit.plot("isoloss", reach=2).has_data()
    with pytest.raises(IsolossError, match=r"options of isoloss\.reac: .*did you mean 'reach'"):
        fit.plot("isoloss", reac=2)
    with pytest.raises(IsolossError, match="group 'x' is not in it"):
        fit.plot("isoloss", group="x")
    with pytest.raises(IsolossError, match="did you mean 'isoloss'"):
        fit.plot("isolos")


def test_fitting_and_reading_a_fit_imports_no_figures(fit, tmp_path):
    fit.save(tmp_path)
    code = (
        f"import isoloss; fit = isoloss.load_fit({str(tmp_path)!r}); repr(fit); fit.values\n"
        "import sys; print('matplotlib' in sys.modules, 'scipy.optimize' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
