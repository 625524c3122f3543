"""Figures of local learning coefficients: what is drawn, what is told, and what the axes hold."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from llc_tables import CHAINS, FAILED, STEPS, llc_tables
from matplotlib.text import Text

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.figures import _figure, _llc, _paper
from isoloss.figures._figure import Inputs
from isoloss.fit import fit_law
from isoloss.report import llc as lines_of

SIZES = (400, 1600, 6400)
DATA = (1e5, 4e5)


def made_runs(count: int = 6) -> pd.DataFrame:
    """Runs on a grid of N and D, in rounds of seeds where there are more than its cells."""
    cells = [(n, d) for n in SIZES for d in DATA]
    rows = []
    for i in range(count):
        n, d = cells[i % len(cells)]
        sizes = {"n_params": n, "n_samples": d, "n_flops_6nd": 6 * n * d, "n_flops": 6 * n * d}
        loss = 2 + 20 * n**-0.5 + 30 * d**-0.5
        rows.append({"run_id": f"r{i}", **sizes, "loss": loss, "status": "done", "group": "all"})
    return pd.DataFrame(rows).assign(status_reason="", seed=0, fit_weight=1.0)


def drawn(card: str, runs: pd.DataFrame, made: dict, **options):
    """The figure, all that is written on it, and its table."""
    inputs = Inputs({"runs": runs} | made, {}, "byte", "nats/byte")
    options = registry.defaults("figure", card) | options
    figure, table = registry.card("figure", card).draw(inputs, **options)
    figure.draw_without_rendering()
    texts = [text.get_text() for text in figure.findobj(Text) if text.get_visible()]
    return figure, " | ".join(" ".join(text.split()) for text in texts), table


CARDS = ("llc_scaling", "llc_traces", "llc_calibration")


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("status", ["ok", "warn", "failed"])
def test_a_single_run_is_drawn_whatever_came_of_it(card, status):
    runs = made_runs(1)
    figure, words, table = drawn(card, runs, llc_tables(runs, {"r0": status}))
    assert f"1 run; lr 1e-4, n_beta 500, localization 1, {CHAINS} chains of {STEPS} draws" in words
    assert f"1 {status}" in words
    assert len(table)
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert np.isfinite([low, high]).all() and low < high


def test_every_run_that_is_not_sound_is_told_and_drawn():
    runs = made_runs()
    runs.loc[6] = {**runs.loc[0], "run_id": "lost", "status": "diverged", "loss": np.nan}
    runs.loc[7] = {**runs.loc[1], "run_id": "unseen"}
    made = llc_tables(runs[:6], {"r1": "warn", "r4": "failed"}, negative=["r5"])
    figure, words, table = drawn("llc_scaling", runs, made)
    assert "7 runs; 1 diverged; 1 not observed; lr 1e-4" in words
    assert f"LLC: 4 ok, 1 warn (1 chain failed), 1 failed ({FAILED}); 1 negative" in words
    assert {"ok (4)", "warn (1)", "failed (1)"} < set(words.split(" | "))
    assert table["run_id"].tolist() == [f"r{i}" for i in range(6)]
    assert table["low"].min() < 0 and np.isnan(table["llc_mean"]).sum() == 1
    low, high = figure.axes[0].get_ylim()
    assert low < table["low"].min() and high > table["high"].max()


def test_the_axis_is_logarithmic_until_a_value_is_not_positive():
    runs = made_runs()
    figure, *_ = drawn("llc_scaling", runs, llc_tables(runs))
    assert figure.axes[0].get_yscale() == "log"
    figure, *_ = drawn("llc_scaling", runs, llc_tables(runs, negative=["r0"]))
    assert figure.axes[0].get_yscale() == "linear"
    wide = llc_tables(runs.assign(n_params=10.0 ** np.arange(6)), negative=["r0"])
    figure, *_ = drawn("llc_scaling", runs, wide)
    assert figure.axes[0].get_yscale() == "symlog"
    assert any(tick < 0 for tick in figure.axes[0].get_yticks())


def test_a_trend_is_that_of_the_runs_and_only_of_what_they_tell_apart():
    runs = made_runs()
    rows = _llc.measured(llc_tables(runs)["llc"], runs)
    trend = _llc.trend(rows)
    assert [(e.symbol, round(e.estimate, 9)) for e in trend.exponents] == [("N", 0.5), ("D", 0.0)]
    assert (round(trend.r2, 9), trend.n, trend.not_positive) == (1.0, 6, 0)
    assert trend.rank_correlation < -0.8
    ladder = rows.assign(n_samples=20 * rows["n_params"])
    assert [e.symbol for e in _llc.trend(ladder).exponents] == ["N"]
    noisy = rows.assign(llc_mean=rows["llc_mean"] * np.exp([0.1, -0.1, 0, 0.2, 0, -0.1]))
    matrix = np.column_stack([np.ones(6), *np.log(rows[["n_params", "n_samples"]].to_numpy()).T])
    y = np.log(noisy["llc_mean"])
    expected = np.linalg.lstsq(matrix, y, rcond=None)[0]
    estimates = _llc.trend(noisy).exponents
    np.testing.assert_allclose([e.estimate for e in estimates], expected[1:], rtol=1e-9)
    residuals = y - matrix @ expected
    errors = np.sqrt(np.diag(residuals @ residuals / 3 * np.linalg.inv(matrix.T @ matrix)))
    np.testing.assert_allclose([e.std_error for e in estimates], errors[1:], rtol=1e-6)
    assert _llc.trend(rows[:1]).exponents == ()
    one_d = rows[rows["n_samples"] == DATA[0]]
    assert [e.symbol for e in _llc.trend(one_d).exponents] == ["N"]
    two = _llc.trend(one_d.assign(llc_mean=[-1.0, 2.0, 4.0]))
    assert (two.not_positive, two.exponents) == (1, ())


def test_a_trace_is_the_mean_over_the_chains_that_did_not_fail():
    runs = made_runs(2)
    made = llc_tables(runs, {"r1": "warn"})
    figure, words, table = drawn("llc_traces", runs, made)
    trace = made["llc_trace"].merge(made["llc_chain"], on=["run_id", "setting", "chain"])
    sound = trace[(trace["run_id"] == "r1") & (trace["status"] == "ok")]
    above = (sound["loss"] - sound["init_loss_x"]).groupby(sound["step"]).mean()
    mean = max(figure.axes[1].lines, key=lambda line: np.isfinite(line.get_ydata()).sum())
    np.testing.assert_allclose(mean.get_ydata(), above)
    assert f"1 of the {2 * CHAINS} chains drawn failed" in words
    assert "chain that failed" in words
    assert len(table) == 2 * CHAINS * STEPS
    _, words, itself = drawn("llc_traces", runs, made, loss="itself")
    np.testing.assert_allclose(itself["loss"], trace["loss"])
    assert "Loss (nats/byte)" in words


def test_chains_that_failed_at_once_are_told_in_the_place_of_values():
    runs = made_runs(1)
    made = llc_tables(runs, {"r0": "failed"})
    made["llc_chain"]["failed_step"] = 1
    trace = made["llc_trace"]
    trace.loc[trace["step"] >= 1, ["loss", "init_loss"]] = np.nan
    figure, words, _ = drawn("llc_traces", runs, made)
    assert "every chain failed by step 1" in words
    assert not len(figure.axes[0].get_yticks())


def test_long_traces_are_means_over_blocks_and_the_burn_in_is_shaded():
    runs = made_runs(1)
    made = llc_tables(runs, num_burnin_steps=7)
    trace = made["llc_trace"]
    long = [trace.assign(step=trace["step"] + STEPS * i) for i in range(10)]
    _, words, table = drawn("llc_traces", runs, made | {"llc_trace": pd.concat(long)})
    assert "every point is the mean of 3 steps" in words and "burn-in" in words
    assert len(table) == 100 * CHAINS
    chain = pd.concat(long)[lambda t: t["chain"] == 2]
    assert table.loc[table["chain"] == 2, "loss"].mean() == pytest.approx(
        (chain["loss"] - chain["init_loss"]).mean()
    )


def test_of_many_runs_some_are_shown_evenly_or_the_doubtful_ones_first():
    runs = made_runs(40)
    made = llc_tables(runs, {"r7": "failed", "r30": "warn"})
    _, words, table = drawn("llc_traces", runs, made, panels=3)
    assert "3 of 40 runs" in words
    sizes = runs.set_index("run_id").loc[table["run_id"].unique(), "n_params"]
    assert sizes.tolist() == sorted(SIZES)
    _, _, table = drawn("llc_traces", runs, made, panels=3, first="doubtful")
    assert {"r7", "r30"} < set(table["run_id"])


@pytest.mark.parametrize("card", ["llc_traces", "llc_calibration"])
def test_panels_of_a_column_have_room_beside_long_names_of_runs(card):
    runs = made_runs(6)
    runs["run_id"] += "-natural-D131072-d16-s0-5f2ab0c4d1"
    canvas = _figure.canvas_of("paper", 3.25)
    with matplotlib.rc_context(_figure.style_of("paper")):
        inputs = Inputs({"runs": runs} | llc_tables(runs), {}, "byte", "nats/byte", canvas)
        options = registry.defaults("figure", card)
        figure, _ = registry.card("figure", card).draw(inputs, **options)
        _paper.finish(figure, canvas)
    assert figure.get_figheight() < 9
    assert all(axes.get_position().width * 3.25 > 0.85 for axes in canvas.panels)
    assert [bool(axes.get_ylabel()) for axes in canvas.panels] == [True, False] * 3


def test_an_unknown_setting_is_told_with_those_that_there_are():
    runs = made_runs(1)
    made = llc_tables(runs, lr=(1e-5, 1e-4))
    for card in ("llc_scaling", "llc_traces"):
        with pytest.raises(IsolossError, match="no run was observed in setting 2; one of 0 to 1"):
            drawn(card, runs, made, setting=2)
    nothing = {name: table[:0] for name, table in made.items()}
    for card in CARDS:
        with pytest.raises(IsolossError, match="no run was observed"):
            drawn(card, runs, nothing)


STEP_SIZES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


def calibrated(runs: pd.DataFrame, **settings) -> dict:
    """Tables in which the LLC rises to a plateau over the three middle step sizes and leaves it."""
    made = llc_tables(runs, lr=STEP_SIZES, **settings)
    rises = dict(zip(STEP_SIZES, (0.2, 0.96, 1.0, 1.05, np.nan), strict=True))
    llc = made["llc"]
    llc["llc_mean"] *= llc["lr"].map(rises)
    llc.loc[llc["lr"] == 1e-2, ["status", "status_reason"]] = ["failed", FAILED]
    return made


def test_the_plateau_is_where_neighbouring_step_sizes_agree():
    runs = made_runs(2)
    settings = {"n_beta": (100.0, 500.0), "localization": (1.0, 10.0)}
    made = calibrated(runs, **settings)
    _, words, table = drawn("llc_calibration", runs, made)
    assert len(table) == len(made["llc"])
    assert sorted(set(table.loc[table["in_plateau"], "lr"])) == [1e-5, 1e-4, 1e-3]
    assert words.count("localization 10") == 2 and "plateau: 3 or more lr within 10 %" in words
    assert "n_beta 100" in words and "n_beta 500" in words and "Step size lr" in words
    one = made["llc"][:1].reset_index(drop=True)
    line = pd.concat([one] * 5, ignore_index=True).assign(lr=STEP_SIZES, status="ok")
    for values, expected in (
        ([1, 1.05, 1.09, 1.09, 3], [1e-6, 1e-5, 1e-4, 1e-3]),
        ([1, 1, 1, 5, 5], [1e-6, 1e-5, 1e-4]),
        ([1, 1, 2, 3, 3], []),
        ([-1, -1, -1, -1, -1], []),
    ):
        assert _llc.plateau(line.assign(llc_mean=values))["lr"].tolist() == expected
    doubtful = line.assign(llc_mean=1.0, status=["ok", "ok", "warn", "ok", "ok"])
    assert _llc.plateau(doubtful).empty


def test_a_calibration_of_many_runs_shows_all_localizations_of_some():
    runs = made_runs(12)
    made = llc_tables(runs, localization=(0.0, 1.0))
    _, words, table = drawn("llc_calibration", runs, made, panels=4)
    assert table["run_id"].nunique() == 2 and len(table) == 4
    assert "2 of 12 runs" in words


def fit_of(runs: pd.DataFrame, llc: pd.DataFrame, card: str, options: dict, **settings):
    """A law fitted to the LLC of runs."""
    columns = {"llc_mean": llc["llc_mean"], "llc_se": llc["llc_se"], "llc_status": llc["status"]}
    runs = runs.assign(**columns)
    return fit_law(runs, card, options, response="llc_mean", bootstrap=20, **settings)


def test_a_law_of_the_llc_is_drawn_with_its_interval_or_a_curve_for_each_amount_of_data():
    runs = made_runs(12)
    noise = np.exp(0.05 * np.cos(np.arange(12)))
    made = llc_tables(runs)
    made["llc"]["llc_mean"] *= noise
    fit = fit_of(runs, made["llc"], "growth", {"variable": "N", "offset": False})
    inputs = Inputs({"runs": runs} | made, {"grows": fit}, "byte", "nats/byte")
    options = registry.defaults("figure", "llc_scaling")
    figure, table = registry.card("figure", "llc_scaling").draw(inputs, **options)
    figure.draw_without_rendering()
    words = " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))
    assert "grows: llc_mean = A N^γ; A = " in words and "95 % interval of the law" in words
    assert "Loss L (nats/byte)" in words and "12 runs; lr" in words
    assert "grows is fitted to 12 runs; grows: with care, " in words
    law = table[table["what"] == "law"]
    np.testing.assert_allclose(law["llc_mean"], fit.predict(N=law["n_params"])["llc_mean"])
    assert (law["low"] < law["high"]).all()
    _, table = registry.card("figure", "llc_scaling").draw(inputs, **options | {"variable": "C"})
    law = table[table["what"] == "law"]
    assert sorted(set(law["n_samples"])) == sorted(DATA)
    np.testing.assert_allclose(
        law["n_params"] * law["n_samples"] * 6, law["n_flops_6nd"], rtol=1e-12
    )
    of_loss = fit_law(runs, "power_law", {"variable": "N"}, bootstrap=0)
    with pytest.raises(IsolossError, match="is fitted to loss, and the figure shows llc_mean"):
        card = registry.card("figure", "llc_scaling")
        card.draw(Inputs({"runs": runs} | made, {"other": of_loss}), **options)
    with pytest.raises(IsolossError, match="a law is fitted to setting 0"):
        card.draw(inputs, **options | {"setting": 1})


# The summary


def test_the_summary_says_what_came_out_and_how_far_to_trust_it():
    runs = made_runs()
    made = llc_tables(runs, {"r1": "warn", "r4": "failed"}, negative=["r5"])
    (line,) = lines_of.lines("around", "sizes", made["llc"], runs)
    assert line.startswith("- **LLC** (around of sizes), **with care**: 6 of 6 runs, 4 ok, 1 warn")
    assert f"1 failed ({FAILED})" in line
    assert "LLC −80 to 40 (median standard error 3.7 %), 1 negative; split R-hat" in line
    assert "1.01 or less, 90 independent draws or more; LLC ∝ N^(0." in line
    assert "rank correlation with the loss" in line
    sound = lines_of.lines("around", "sizes", llc_tables(runs)["llc"], runs)
    assert "**sound**" in sound[0]
    lost = llc_tables(runs, dict.fromkeys(runs["run_id"], "failed"))["llc"]
    (line,) = lines_of.lines("around", "sizes", lost, runs)
    assert "**DO NOT USE**" in line and "every chain of every run failed" in line
    (line,) = lines_of.lines("around", "sizes", lost[:0], runs)
    assert "no run was observed" in line


def test_the_summary_of_a_calibration_says_at_which_step_sizes_all_runs_agree():
    runs = made_runs(2)
    llc = calibrated(runs)["llc"]
    (line,) = lines_of.lines("try", "sizes", llc, runs)
    assert line.startswith("- **LLC over its settings** (try of sizes): 8 ok, 2 failed")
    text = "n_beta 500, localization 1: 2 of 2 runs have a plateau, all of them at lr 1e-5 to 1e-3"
    assert line.endswith(f"; {text}")
    (line,) = lines_of.lines("try", "sizes", llc[llc["setting"] < 2], runs)
    assert line.startswith("- **LLC** (try of sizes), setting 0 of 2, **sound**")
