"""The figure of a simulation: which estimates count, how biases are written, what it is of."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from isoloss.core import registry, units
from isoloss.core.problems import IsolossError, StudyError
from isoloss.figures import _figure, _paper, recovery
from isoloss.figures._figure import Inputs
from isoloss.fit import fit_law
from isoloss.study import check
from isoloss.study.flow import Flow

CASES = {("A", np.nan): 400.0, ("alpha", np.nan): 0.3, ("n_opt", 1e20): 1e9, ("n_opt", 1e23): 3e10}


def simulated(estimators=("sharp", "blunt"), replicates=40) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trials and recovery: `sharp` has no bias, `blunt` a large one; one study is lost."""
    rng, trials, rows = np.random.default_rng(0), [], []
    for number, estimator in enumerate(estimators):
        for (quantity, flops), truth in CASES.items():
            log = quantity != "alpha"
            case = {"estimator": estimator, "quantity": quantity, "n_flops": flops, "truth": truth}
            estimates = truth * np.exp(rng.normal(0.2 * number, 0.05, replicates))
            status = np.where(np.arange(replicates) == 7, "not_converged", "converged")
            one = pd.DataFrame({"replicate": range(replicates), "estimate": estimates})
            trials.append(one.assign(status=status, **case))
            bias = 0.2 * number if log else truth * np.expm1(0.2 * number)
            level = {"coverage": 0.9, "coverage_low": 0.8, "coverage_high": 0.95, "ci_level": 0.95}
            counts = {"n_trials": replicates, "n_converged": replicates - 1}
            error = {"bias": bias, "bias_se": 0.01, "mean": truth * np.exp(0.2 * number)}
            rows.append({**case, "scale": "log" if log else "linear", **counts, **error, **level})
    return pd.concat(trials, ignore_index=True), pd.DataFrame(rows)


def drawn(trials, rows, quantities=()):
    """The figure, all that is written on it, and its table."""
    given = Inputs({"trials": trials, "recovery": rows}, {})
    figure, table = recovery.draw(given, list(quantities))
    figure.draw_without_rendering()
    return figure, " ".join(text.get_text() for text in figure.findobj(Text)), table


def test_every_quantity_has_a_panel_with_a_column_an_estimator():
    trials, rows = simulated()
    figure, words, table = drawn(trials, rows)
    assert len(figure.axes) == len(CASES) + 1
    for axes, truth in zip(figure.axes, CASES.values(), strict=False):
        assert axes.lines[0].get_ydata() == [truth, truth]
        low, high = axes.get_ylim()
        assert low < truth < high
        for column, points in enumerate(axes.collections):
            at, estimates = points.get_offsets().T
            assert len(estimates) == 39  # the one that did not converge does not count
            assert np.abs(at - column).max() < 0.31
    for part in ("best N at 1e20 FLOP", "best N at 1e23 FLOP", "alpha", "sharp", "blunt",
                 "40 simulated studies; sharp: up to 1 without an estimate"):  # fmt: skip
        assert part in words
    assert table.groupby("what").size().to_dict() == {"recovery": 8, "trial": 320}


def test_a_bias_is_relative_on_a_log_scale_and_bold_where_it_is_more_than_chance():
    figure, _, _ = drawn(*simulated(), ["A", "alpha"])
    scale, exponent = figure.axes[:2]
    assert [text.get_text() for text in scale.texts] == ["+0 %", "+22 %"]
    assert [text.get_text() for text in exponent.texts] == ["+0", "+0.066"]
    assert [text.get_weight() for text in scale.texts] == ["normal", "bold"]


def test_coverage_has_its_interval_beside_the_level():
    figure, _, _ = drawn(*simulated())
    axes = figure.axes[-1]
    assert axes.lines[0].get_ydata() == [0.95, 0.95]
    ends = {tuple(path.vertices[:, 1]) for bars in axes.collections for path in bars.get_paths()}
    assert ends == {(0.8, 0.95)}
    assert len(axes.lines) == 1 + 2 * len(CASES)


def test_an_estimator_that_does_not_give_a_quantity_and_no_intervals_are_drawn():
    trials, rows = simulated()
    lacking = (trials["estimator"] == "blunt") & (trials["quantity"] == "A")
    trials = trials[~lacking]
    rows = rows[~((rows["estimator"] == "blunt") & (rows["quantity"] == "A"))]
    nothing = dict.fromkeys(["coverage", "coverage_low", "coverage_high"], np.nan)
    rows.loc[rows["quantity"] == "alpha", ["mean", "bias"]] = np.nan
    trials.loc[trials["quantity"] == "alpha", "estimate"] = np.nan
    figure, words, _ = drawn(trials, rows.assign(**nothing))
    assert [text.get_text() for text in figure.axes[0].texts] == ["+0 %", "none"]
    assert [text.get_text() for text in figure.axes[1].texts] == ["none", "none"]
    assert "no intervals: set `bootstrap` in the estimators" in words


def test_a_narrow_paper_has_the_name_of_every_quantity():
    trials, rows = simulated()
    longer = {"A": "a scale", "alpha": "an exponent"}
    trials, rows = (table.replace({"quantity": longer}) for table in (trials, rows))
    canvas = _figure.canvas_of("paper", 2.0)
    with matplotlib.rc_context(_figure.style_of("paper")):
        shown = _figure.Inputs({"trials": trials, "recovery": rows}, {}, canvas=canvas)
        figure, _ = registry.card("figure", "recovery").draw(shown, quantities=[])
        _paper.finish(figure, canvas)
    labels = canvas.panels[-1].get_xticklabels()
    assert {label.get_text().split("\n")[0] for label in labels} == set(rows["quantity"])
    assert {label.get_rotation() for label in labels} == {90}


def test_a_quantity_that_is_not_estimated_is_told():
    with pytest.raises(IsolossError, match="quantities: 'alpa' is not estimated; did you mean 'al"):
        drawn(*simulated(), ["alpa"])


def test_a_fit_alone_has_no_simulation_to_show(chinchilla_runs):
    fit = fit_law(chinchilla_runs(), "chinchilla", bootstrap=0)
    with pytest.raises(IsolossError, match="reads simulate/recovery, which is no part of a fit"):
        fit.plot("recovery")


def study(**plot) -> dict:
    """A study with a simulation and a sweep, and a figure of the first."""
    span = {"from": 1e18, "to": 1e21}
    return {
        "study": "known",
        "load": {"words": {"card": "markov_chain"}},
        "train": {
            "sweep": {
                "dataset": "words",
                "model": "transformer",
                "settings": {"context": 16, "n_layers": 1},
                "cells": [{"d_model": [4, 6, 8], "n_samples": [2048, 4096, 8192]}],
            }
        },
        "fit": {"law": {"card": "chinchilla", "sweep": "sweep"}},
        "simulate": {
            "known": {
                "truth": {"card": "chinchilla", "preset": "hoffmann"},
                "plan": {
                    "kind": "seed_ranges",
                    "C": span,
                    "N_to_D": {"from": 5, "to": 80},
                    "runs": 20,
                },
                "estimators": {"mse": {"card": "chinchilla", "objective": "mse"}},
            }
        },
        "plot": {"story": {"card": "recovery", **plot}},
    }


def test_the_figure_reads_the_tables_of_its_simulation():
    flow = Flow(check.check(study(simulation="known")), "results/known")
    job = flow.job("plot", figure="story")
    assert flow.inputs(job) == [
        "simulate/known/recovery.parquet",
        "simulate/known/trials.parquet",
    ]
    assert registry.inputs("recovery") == ["simulate/recovery", "simulate/trials"]


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        ({"sweep": "sweep"}, r"plot\.story: 'simulation' is missing; add it"),
        ({"simulation": "knwn"}, r"plot\.story\.simulation: .*'known'"),
        ({"simulation": "known", "sweep": "sweep"}, r"plot\.story\.sweep: .* leave it out"),
        ({"simulation": "known", "fits": ["law"]}, r"plot\.story\.fits: .* leave them out"),
        ({"card": "learning_curves"}, r"plot\.story: 'sweep' is missing; add it"),
        (
            {"card": "learning_curves", "sweep": "sweep", "simulation": "known"},
            r"plot\.story\.simulation: the card 'learning_curves' shows a sweep; leave it out",
        ),
    ],
)
def test_a_figure_shows_a_sweep_or_a_simulation(plot, message):
    with pytest.raises(StudyError, match=message):
        check.check(study(**plot))


@pytest.mark.parametrize("form", [units.count, units.power])
def test_ticks_of_a_narrow_log_axis_say_where_they_are(form):
    figure = Figure()
    axis = figure.subplots().yaxis
    _figure.log_axis(axis, 1.88, 2.01, form=form, most=6)
    figure.draw_without_rendering()
    texts = [label.get_text() for label in axis.get_ticklabels()]
    assert len(texts) > 3
    assert [float(text) for text in texts] == pytest.approx(axis.get_ticklocs(), rel=1e-12)
