"""The figure of rounds: the fit of every round, what was chosen, and what the runs came out at."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from isoloss.core import tables
from isoloss.core.problems import StudyError
from isoloss.figures import rounds
from isoloss.figures._figure import Inputs
from isoloss.fit import fit_law
from isoloss.plot.draw import inputs
from isoloss.study import check
from isoloss.study.flow import Flow

NOTHING = dict.fromkeys(tables.schema("choices").names)


@pytest.fixture(scope="module")
def adaptive(make_runs, truth):
    """Runs of two rounds after twelve seeding runs, the fits after each, and the choices."""
    rng = np.random.default_rng(3)

    def trained(n, d, number):
        loss = truth["A"] / n ** truth["alpha"] + truth["B"] / d ** truth["beta"] + truth["E"]
        ids = [f"{number}-{i}" for i in range(len(n))]
        noise = np.exp(0.003 * rng.standard_normal(len(n)))
        return make_runs(n, d, loss * noise, round=number, run_id=ids)

    runs = trained(np.repeat([2e5, 4e5, 8e5], 4), np.tile([4e6, 1e7, 3e7, 1e8], 3), 0)
    fits, choices = [fit_law(runs, "chinchilla", bootstrap=20)], []
    for number in (1, 2):
        flops = runs["n_flops"].max() * np.array([1.5, 3])
        best = fits[-1].allocate(flops)
        for choice, row in enumerate(best.itertuples()):
            size = {"n_params": row.N, "n_samples": row.D, "n_flops": row.C, "reason": "optimum"}
            ends = {"n_low": row.N_low, "n_high": row.N_high}
            choices.append(NOTHING | size | ends | {"round": number, "choice": choice})
        new = trained(best["N"].to_numpy() * 1.02, best["D"].to_numpy(), number)
        runs = pd.concat([runs, new], ignore_index=True)
        fits.append(fit_law(runs, "chinchilla", bootstrap=20))
    return runs, fits, pd.DataFrame(choices)


def drawn(runs, fits, choices, **options):
    """All that is written on the figure, and its table."""
    given = Inputs({"runs": runs, "choices": choices}, {"law": fits[-1]}, rounds=tuple(fits))
    figure, table = rounds.draw(given, **{"group": "", "target": None} | options)
    figure.draw_without_rendering()
    return " ".join(text.get_text() for text in figure.findobj(Text)), table


def test_the_table_holds_the_optimum_and_the_parameters_of_every_round(adaptive):
    _, fits, choices = adaptive
    words, table = drawn(*adaptive, target=1e17)
    of = {what: part for what, part in table.groupby("what")}
    optimum = of["optimum"].set_index("round")
    for number, fit in enumerate(fits):
        best = fit.allocate(1e17).iloc[0]
        row = optimum.loc[number, ["n_params", "n_low", "n_high"]]
        assert row.tolist() == best[["N", "N_low", "N_high"]].tolist()
        part = of["parameter"][of["parameter"]["round"] == number]
        assert part.set_index("term")["estimate"].to_dict() == fit.values
        frontier = of["frontier"][of["frontier"]["round"] == number]
        assert np.allclose(fit.allocate(frontier["n_flops"])["N"], frontier["n_params"])
    assert of["run"].groupby("round").size().tolist() == [12, 2, 2]
    assert of["choice"]["n_params"].tolist() == choices["n_params"].tolist()
    assert "Optimal N at 1e17 FLOP" in words
    assert "round 2" in words


def test_runs_are_held_against_the_fit_before_them(adaptive):
    _, fits, _ = adaptive
    table = drawn(*adaptive)[1]
    predictions = table[table["what"] == "prediction"]
    assert predictions["round"].tolist() == [1, 1, 2, 2]
    for row in predictions.itertuples():
        told = fits[int(row.round) - 1].predict(N=row.n_params, D=row.n_samples).iloc[0]
        assert (row.predicted, row.predicted_low) == (told["loss"], told["low"])


def test_the_optimum_is_followed_at_the_largest_budget_chosen_unless_another_is_given(adaptive):
    words, _ = drawn(*adaptive)
    runs, _, choices = adaptive
    largest = max(runs["n_flops_6nd"].max(), choices["n_flops"].max())
    assert f"Optimal N at {largest:.3g}".replace("e+", "e") in words


def test_a_round_that_chose_nothing_is_told_with_its_reason(adaptive):
    runs, fits, choices = adaptive
    left = NOTHING | {"round": 2, "n_params": 1e9, "reason": "N = 1B is left out"}
    why = {3: "narrow enough", 4: "the budget is spent", 5: "the budget is spent", 6: "no N and D"}
    empty = [NOTHING | {"round": n, "reason": reason} for n, reason in why.items()]
    choices = pd.concat([choices, pd.DataFrame([left, *empty])], ignore_index=True)
    words, table = drawn(runs, [*fits, *[fits[-1]] * 4], choices)
    assert "round 3 chose nothing: narrow enough" in words
    assert "rounds 4, 5 chose nothing: the budget is spent" in words
    assert "1 more rounds chose nothing" in words
    assert "left out" not in words
    assert "N = 1B is left out" in set(table["reason"].dropna())


def test_a_fit_without_intervals_and_no_rounds_are_drawn(adaptive):
    runs, _, choices = adaptive
    seeds = runs[runs["round"] == 0]
    fit = fit_law(seeds, "chinchilla", bootstrap=0)
    words, table = drawn(seeds.drop(columns="round"), [fit], choices[:0])
    assert "no parameter has an interval: set `bootstrap` in the fit" in words
    assert "no run was trained after the seeding runs" in words
    assert set(table["what"]) == {"run", "frontier", "optimum", "parameter"}


def test_fits_of_the_same_name_are_told_apart_by_their_sweeps(adaptive, tmp_path):
    runs, fits, choices = adaptive
    files = [tmp_path / "runs.parquet", tmp_path / "choices.parquet"]
    tables.write("runs", runs, files[0], {})
    tables.write("choices", choices, files[1], {})
    for table in ("params", "summary", "residuals", "points", "replicates"):
        for number, fit in enumerate(fits):
            fit.save(tmp_path / str(number), law="law", sweep=f"ladder_{number}")
            files.append(tmp_path / str(number) / f"{table}.parquet")
    given = inputs(files, ["choose/choices", "fit/params"])
    assert [fit.values for fit in given.rounds] == [fit.values for fit in fits]
    assert given.fits["law"].values == fits[-1].values
    _, table = rounds.draw(given, group="", target=None)
    pd.testing.assert_frame_equal(table, drawn(*adaptive)[1], check_dtype=False)


def study(**plot) -> dict:
    """A sweep of two rounds, one without, and a figure of rounds."""
    sweep = {
        "dataset": "words",
        "model": "transformer",
        "settings": {"context": 16, "n_layers": 1},
        "cells": [{"d_model": [4, 6, 8], "n_samples": [2048, 4096, 8192]}],
    }
    rounds_ = {"count": 2, "fit": "law", "planner": "scale_up"}
    return {
        "study": "adaptive",
        "load": {"words": {"card": "markov_chain"}},
        "train": {"ladder": {**sweep, "rounds": rounds_}, "plain": sweep},
        "fit": {
            "law": {"card": "chinchilla", "sweep": "ladder"},
            "second": {"card": "chinchilla", "sweep": "ladder"},
            "other": {"card": "chinchilla", "sweep": "plain"},
        },
        "plot": {"story": {"card": "rounds", "sweep": "ladder", "fits": ["law"], **plot}},
    }


def test_the_figure_reads_the_fit_and_the_choices_of_every_round():
    flow = Flow(check.check(study()), "results/adaptive")
    job = flow.job("plot", figure="story")
    files = flow.inputs(job)
    assert [f for f in files if f.endswith("params.parquet")] == [
        f"fit/ladder_{number}/law/params.parquet" for number in range(3)
    ]
    assert [f for f in files if f.startswith(("choose", "aggregate"))] == [
        "aggregate/ladder_2/runs.parquet",
        "choose/ladder_1/choices.parquet",
        "choose/ladder_2/choices.parquet",
    ]
    other = study(card="isoloss")
    flow = Flow(check.check(other), "results/adaptive")
    files = flow.inputs(flow.job("plot", figure="story"))
    assert not [f for f in files if "ladder_1" in f]


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        ({"sweep": "plain", "fits": ["other"]}, r"plot\.story\.sweep: .*'plain' has none"),
        ({"fits": ["second"]}, r"plot\.story\.fits: 'second' does not choose the rounds.*'law'"),
    ],
)
def test_a_figure_of_rounds_shows_rounds_and_the_fit_that_chooses_them(plot, message):
    with pytest.raises(StudyError, match=message):
        check.check(study(**plot))
