"""Groups compared by the compute that they need for the same loss."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.core import tables, units
from isoloss.core.order import ordered
from isoloss.core.problems import IsolossError
from isoloss.fit.law import fit_law
from isoloss.fitted.facts import Gain, Quantity, baseline_of, gains
from isoloss.fitted.intervals import quantiles
from isoloss.fitted.reach import Reach
from isoloss.report import summary
from isoloss.report.summary import summarize

BETTER = 1.3  # times as much as its data are worth to muon, and so its compute at the best N and D
MAPPING = {"N": "N", "D": "D", "loss": "loss", "group": "optimizer"}


def loss_of(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The loss of adamw."""
    return 1.7 + 400 / n**0.34 + 410 / d**0.28


def two_optimizers(noise: float = 0.003) -> pd.DataFrame:
    """Runs of two optimisers on the same grid; data are worth BETTER times as much to muon."""
    rng, arms = np.random.default_rng(0), []
    for name, worth in (("adamw", 1.0), ("muon", BETTER)):
        n, ratio = map(np.ravel, np.meshgrid(np.geomspace(1e7, 1e9, 6), [5.0, 20.0, 80.0]))
        d = n * ratio
        loss = loss_of(n, worth * d) * np.exp(noise * rng.standard_normal(len(n)))
        arms.append(pd.DataFrame({"optimizer": name, "N": n, "D": d, "loss": loss}))
    return pd.concat(arms, ignore_index=True)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return two_optimizers()


@pytest.fixture(scope="module")
def runs(table) -> pd.DataFrame:
    return isoloss.read_runs(table, MAPPING)


@pytest.fixture(scope="module")
def apart(runs):
    """Fits of the optimisers, each of its own runs."""
    return fit_law(runs, "chinchilla", bootstrap=100)


@pytest.fixture(scope="module")
def in_compute(runs):
    """Fits of a law in C."""
    return fit_law(runs, "power_law", {"variable": "C"}, bootstrap=60)


@pytest.fixture(scope="module")
def quick_fit(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("two") / "two.csv"
    table.to_csv(path, index=False)
    return isoloss.law_of_table(path, bootstrap=100, flops=[1e19, 1e20], baseline="adamw")


def test_the_gain_that_a_quick_fit_prints_holds_the_true_one(quick_fit):
    text = quick_fit.text
    head = "compute-equivalent gain over adamw: C of adamw over the C that the group needs"
    assert head in text
    (one, more) = quick_fit.decisions.gains
    assert (one.baseline, one.group, one.flops, more.flops) == ("adamw", "muon", 1e19, 1e20)
    for gain in (one, more):
        assert gain.gain.low < BETTER < gain.gain.high
        assert gain.gain.high / gain.gain.low < 1.5
        assert gain.needed.low < 1 / BETTER < gain.needed.high
    line = next(line for line in text.splitlines() if line.startswith("  muon   1e19"))
    printed = [float(number) for number in line.split("[")[1].split("]")[0].split(", ")]
    assert printed[0] <= BETTER <= printed[1]
    assert line.endswith("inside")


def test_groups_that_share_what_they_have_in_common_are_told_apart_more_sharply(runs, apart):
    shared = ["E", "A", "alpha", "beta"]
    together = fit_law(runs, "chinchilla", shared=shared, bootstrap=100)
    widths = {}
    for name, fit in (("apart", apart), ("together", together)):
        row = fit.gain(1e20, "adamw", "muon").iloc[0]
        assert row["gain_low"] < BETTER < row["gain_high"]
        widths[name] = np.log(row["gain_high"] / row["gain_low"])
    assert widths["together"] < 0.5 * widths["apart"]


def test_replicates_of_two_groups_are_paired_by_their_number(runs):
    fit = fit_law(runs, "chinchilla", shared=["E", "A", "alpha", "beta"], bootstrap=40)
    whole = fit.gain(1e20, "adamw", "muon").iloc[0]
    rows = fit.tables["replicates"]
    for group, number in (("adamw", 0), ("muon", 1)):  # one of each is lost, not the same
        rows.loc[(rows["group"] == group) & (rows["replicate"] == number), "converged"] = False
    some = fit.gain(1e20, "adamw", "muon").iloc[0]
    assert (whole["replicates"], some["replicates"]) == (40, 38)
    width = np.log(whole["gain_high"] / whole["gain_low"])
    assert np.log(some["gain_high"] / some["gain_low"]) < 1.2 * width


def test_a_loss_that_some_replicates_never_reach_widens_the_interval_to_nothing(in_compute):
    far = in_compute.gain(1e33, "adamw", "muon").iloc[0]
    assert 0 < far["reached"] < 1 and far["replicates"] == 60
    if far["reached"] < 0.95:
        assert far["gain_low"] == 0
    (fact,) = gains(in_compute, [1e33], 1e21, "adamw")
    assert fact.reached == far["reached"] and not fact.always
    assert fact.needed.high == np.inf


def test_a_budget_for_a_loss_is_asked_of_a_law_in_compute_too(in_compute):
    there = in_compute.predict("muon", C=1e20)["loss"].item()
    row = in_compute.budget_for(there, "muon").iloc[0]
    assert row["C"] == pytest.approx(1e20, rel=1e-6)
    assert row["C_low"] < row["C"] < row["C_high"]
    assert (row["reached"], row["distance"]) == (1.0, pytest.approx(1.0))
    never = in_compute.budget_for(1e-3, "muon").iloc[0]
    assert np.isnan(never["C"]) and never["C_low"] == np.inf and never["reached"] == 0
    some = in_compute.budget_for(in_compute.values_of("muon")["E"] * 1.001, "muon").iloc[0]
    assert 0 < some["reached"] < 1 and some["C_high"] == np.inf


@pytest.mark.parametrize("law", ["envelope", "isoflop_parabolas"])
def test_laws_of_the_best_run_of_a_budget_have_budgets_and_gains(law):
    flops, away = map(np.ravel, np.meshgrid(np.geomspace(1e18, 1e20, 4), np.geomspace(0.2, 5, 9)))
    n = 0.07 * flops**0.5 * away
    arms = []
    for name, worth in (("adamw", 1.0), ("muon", BETTER)):
        loss = loss_of(n, flops / 6 / n * worth)
        arms.append(pd.DataFrame({"optimizer": name, "N": n, "D": flops / 6 / n, "loss": loss}))
    fit = fit_law(isoloss.read_runs(pd.concat(arms, ignore_index=True), MAPPING), law, bootstrap=5)
    assert fit.gain(1e19, "adamw", "muon")["gain"].item() == pytest.approx(BETTER, rel=0.05)
    assert fit.budget_for(3.0, "muon")[["C", "N", "D"]].notna().all(axis=None)


def test_a_law_without_a_loss_for_a_budget_is_refused(runs):
    fit = fit_law(runs, "power_law", {"variable": "N"}, bootstrap=0)
    for ask in (lambda: fit.budget_for(3.0), lambda: fit.gain(1e20, "adamw", "muon")):
        with pytest.raises(IsolossError, match="gives no loss for a budget: it needs N"):
            ask()
    assert gains(fit, [1e20], 1e21) == []


@pytest.mark.parametrize("given", [{"flops": [1e20]}, {"baseline": "adamw"}])
def test_what_cannot_be_decided_is_said_before_anything_is_fitted(table, tmp_path, given):
    table.to_csv(tmp_path / "two.csv", index=False)
    asked = {"law": "power_law", "options": {"variable": "N"}, **given}
    with pytest.raises(IsolossError, match=f"{next(iter(given))}: the law .* gives no loss for"):
        isoloss.law_of_table(tmp_path / "two.csv", **asked)
    with pytest.raises(IsolossError, match="no group 'adam'; did you mean 'adamw'"):
        isoloss.law_of_table(tmp_path / "two.csv", baseline="adam")


def test_budgets_of_a_law_in_compute_have_their_losses(table, tmp_path):
    table.assign(C=6 * table["N"] * table["D"]).drop(columns=["N", "D"]).to_csv(
        tmp_path / "c.csv", index=False
    )
    given = {"C": "C", "loss": "loss", "group": "optimizer"}
    asked = {"given": given, "bootstrap": 20, "flops": [1e21]}
    quick_fit = isoloss.law_of_table(tmp_path / "c.csv", **asked)
    for group, (one,) in quick_fit.decisions.losses.items():
        at = quick_fit.fit.predict(group, C=1e21).iloc[0]
        assert (one.loss.estimate, one.loss.low) == (at["loss"], at["low"])
        assert f"1e21        {at['loss']:.4g} [" in quick_fit.text
    assert "C by a factor of 2.1" in quick_fit.text
    assert [one.group for one in quick_fit.decisions.gains] == ["muon"]


def test_a_group_that_is_not_to_be_used_is_told_beside_the_gain(table, tmp_path):
    wild = table["optimizer"] == "muon"
    noise = np.exp(0.4 * np.random.default_rng(1).standard_normal(len(table)))
    table = table.assign(loss=table["loss"].where(~wild, table["loss"] * noise))
    table.to_csv(tmp_path / "two.csv", index=False)
    asked = {"law": "power_law", "options": {"variable": "C"}, "bootstrap": 10}
    text = isoloss.law_of_table(tmp_path / "two.csv", **asked).text
    gains_of = text[text.index("compute-equivalent gain") :]
    assert "  DO NOT USE: muon: " in gains_of


def test_the_lines_of_the_figure_are_the_gains(apart):
    from matplotlib import pyplot

    axes = apart.plot("compute_gain", baseline="muon")
    assert axes.get_xlabel() == "Training compute 6 N D of muon (FLOP)"
    lines = [line for line in axes.get_lines() if line.get_marker() == "o"]
    drawn = dict(zip(*lines[0].get_data(), strict=True))
    for flops, gain in drawn.items():
        assert gain == pytest.approx(apart.gain(flops, "muon", "adamw")["gain"].item())
    assert len(drawn) == 3
    pyplot.close("all")


@pytest.mark.parametrize("interval", ["bootstrap", "none"])
def test_without_intervals_nothing_is_said_of_them(table, tmp_path, interval):
    table.to_csv(tmp_path / "two.csv", index=False)
    asked = {"interval": interval, "bootstrap": 5}
    quick_fit = isoloss.law_of_table(tmp_path / "two.csv", **asked)
    fit = quick_fit.fit
    files = isoloss.export_fit(fit, tmp_path / "fit")
    pages = [quick_fit.text, repr(fit), fit._repr_html_()]
    pages += [file.read_text() for file in files if file.suffix in (".md", ".tex")]
    single = fit_law(isoloss.read_runs(table[:18], {**MAPPING}), "chinchilla", **asked)
    pages += [repr(single), single._repr_html_()]
    for page in pages:
        assert "[?]" not in page and "nan" not in page.lower().replace("nano", "")
        assert interval == "bootstrap" or "not identified" not in page
    assert ("% interval" in quick_fit.text) == (interval == "bootstrap")


def test_groups_are_in_the_order_of_their_numbers(table):
    names = {"adamw": "10", "muon": "2"}
    runs = isoloss.read_runs(table.assign(optimizer=table["optimizer"].map(names)), MAPPING)
    fit = fit_law(runs, "power_law", {"variable": "C"}, bootstrap=0)
    assert fit.groups == ["2", "10"]
    law = {"in C": {"law": "power_law", "options": {"variable": "C"}}}
    compared = isoloss.compare_laws(runs, law, holdout="largest_compute")
    assert list(compared["group"]) == ["2", "10"]


def test_labels_are_ordered_as_numbers_only_if_all_are():
    assert ordered({"1e3", "10", "2", "0.5"}) == ["0.5", "2", "10", "1e3"]
    for labels in (["b", "a", "10", "9"], ["nan", "2", "10"], ["1", "1.0"], []):
        by_number = labels == ["1", "1.0"]
        assert ordered(labels) == (labels if by_number else sorted(labels))


def test_percentiles_of_values_of_which_some_are_infinite():
    values = np.array([1.0, 2.0, 3.0, np.inf, np.inf])
    low, high = quantiles(values, 0.5, 3.0)
    assert low == 2.0 and high == np.inf
    assert quantiles(np.full(4, np.inf), 0.9, np.inf) == (np.inf, np.inf)


CASES = list(
    itertools.product(
        ["two", "one"],
        [(), ("alpha",), ("E", "alpha")],
        [None, "all", "own", "some", "missing"],
        ["bootstrap", "residual", "none"],
        ["none", "largest_compute", "roll_out"],
    )
)


def test_groups_and_clusters_are_fitted_or_refused_in_words(table):
    few = table[table.index % 2 == 0].assign(all="x", missing=None)
    few["own"] = np.where(few["optimizer"] == "adamw", "a", (few.index % 3).astype(str))
    few["some"] = np.where(few.index % 4 == 0, "p", None)
    two = isoloss.read_runs(few, MAPPING)
    tables = {"two": two, "one": two[two["group"] == "adamw"].reset_index(drop=True)}
    fitted, refused = 0, set()
    for groups, shared, cluster, interval, holdout in CASES[::19]:
        asked = {"cluster": cluster, "interval": interval, "holdout": holdout, "bootstrap": 2}
        try:
            fit = fit_law(tables[groups], "power_law", {"variable": "C"}, shared=shared, **asked)
        except IsolossError as error:
            assert all(one.place and one.found and one.remedy for one in error.problems)
            refused |= {one.place for one in error.problems}
            continue
        fitted += 1
        assert "[?]" not in repr(fit)
        if groups == "two":
            row = fit.gain(1e20, "adamw", "muon").iloc[0]
            assert row["gain"] > 0 and row["replicates"] <= 2
    assert {"cluster", "shared"} <= refused
    assert 0 < fitted < len(CASES[::19])


def test_runs_held_out_that_leave_a_group_one_cluster_are_predicted_without_intervals(
    table, tmp_path
):
    budget = 6 * table["N"] * table["D"]
    table = table.assign(size=np.where(budget > budget.max() / 1.05, "big", "small"))
    table.to_csv(tmp_path / "two.csv", index=False)
    asked = {"law": "power_law", "options": {"variable": "C"}, "bootstrap": 5}
    asked |= {"shared": ["E"], "cluster": "size"}
    quick_fit = isoloss.law_of_table(tmp_path / "two.csv", **asked)
    assert quick_fit.held is not None
    assert (quick_fit.held.summary["n_replicates"] == 0).all()
    assert (quick_fit.fit.summary["n_replicates"] == 5).all()
    assert " inside the interval of a run" not in quick_fit.text


def summary_of(runs, fit, home, optima=()) -> str:
    """The summary of a study of a table with a fit, at two budgets, with questions to it."""
    facts = {"sweep": "s", "token": "token", "loss_unit": "nats/token"}
    files = [*fit.save(home, law="plane", sweep="s")]
    for name, table in {"runs": runs, **{n: tables.empty(n) for n in ("timing", "losses")}}.items():
        tables.write(name, table, home / f"{name}.parquet", facts)
        files.append(home / f"{name}.parquet")
    section = {"budgets": [1e19, 1e22], "optima": list(optima)}
    asked = {"study": "two", "summary": section, "figures": [], "trials": []}
    return summarize({**asked, "datasets": {}, "rounds": {}, "coefficients": {}}, files)


def test_the_summary_has_the_gains_at_its_budgets(runs, apart, tmp_path):
    lines = summary_of(runs, apart, tmp_path).splitlines()
    near, far = [line for line in lines if line.startswith("- **Compute-equivalent gain at C = ")]
    row = apart.gain(1e19, "adamw", "muon").iloc[0]
    assert near.startswith("- **Compute-equivalent gain at C = 1e19 FLOP** (plane), C of adamw")
    assert f": muon {row['gain']:.3g} [{row['gain_low']:.3g}, {row['gain_high']:.3g}]" in near
    assert "(plane, 21 times the largest run)" in far


def test_the_best_n_and_d_of_a_fit_that_is_not_to_be_used_say_so(runs, apart, tmp_path):
    wrong = apart.summary.assign(verdict="do not use", reasons="it did not end")
    unfit = replace(apart, tables={**apart.tables, "summary": wrong})
    lines = [line for line in summary_of(runs, unfit, tmp_path).splitlines() if "Best for" in line]
    assert len(lines) == 4 and all("): **DO NOT USE**: N " in line for line in lines)


def test_the_summary_answers_the_questions_of_its_study(runs, apart, tmp_path):
    asked = {"fit": "plane", "over": ["N"], "subject_to": ["6*N*D <= 1e19"]}
    text = summary_of(runs, apart, tmp_path, [asked, {**asked, "fit": "another"}])
    lines = [line for line in text.splitlines() if line.startswith("- **Optimum** (plane): ")]
    assert len(lines) == 2 and "for muon at $N$ = " in lines[1]
    best = apart.allocate(1e19, "adamw").iloc[0]
    assert f"for adamw at $N$ = {units.count(best['N'])}" in lines[0]


def test_the_summary_of_a_fit_without_intervals_has_none(runs, tmp_path):
    fit = fit_law(runs, "power_law", {"variable": "C"}, interval="none")
    text = summary_of(runs, fit, tmp_path)
    assert "Compute-equivalent gain" in text
    assert "[" not in text and "nan" not in text


def test_a_share_of_replicates_is_100_percent_only_where_all_reach_the_loss():
    gain = Gain(1e21, 1.0, "a", "b", 2.0, Quantity(1.3, 0.0, 2.0), 0.9997, 1.0, Reach(1.0))
    assert gain.often == "99.9"
    assert replace(gain, reached=1.0).often == "100"
    assert replace(gain, reached=0.792).often == "79.2"


def test_the_summary_says_where_the_other_group_is_extrapolated(runs, apart, tmp_path):
    (gain,) = gains(apart, [1e19], apart.points["n_flops_6nd"].max(), "muon")
    assert gain.beyond < 1  # and with a largest run half as large it is beyond
    assert "(extrapolated, 1.5 times the largest run of a group)" in summary._gain(
        replace(gain, beyond=1.5)
    )


def test_a_baseline_of_runs_without_groups_is_refused_with_what_to_do():
    with pytest.raises(IsolossError, match="no group 'a': the runs have no groups; name the col"):
        baseline_of(["all"], "a")


def test_a_group_all_of_whose_runs_diverged_is_named(table, tmp_path):
    lost = table.assign(loss=table["loss"].where(table["optimizer"] == "adamw"))
    lost.to_csv(tmp_path / "lost.csv", index=False)
    given = {"group": "optimizer"}
    text = isoloss.law_of_table(tmp_path / "lost.csv", given=given, bootstrap=4).text
    assert "group muon has no fit: none of its runs has a loss (18 runs)" in text


@pytest.mark.parametrize(
    ("flat", "told"),
    [
        (["flat"], "flat never reaches the loss of a"),
        ([f"flat{i}" for i in range(5)], "5 of 5 groups never reach the loss of a where"),
    ],
)
def test_the_figure_says_that_a_group_without_a_line_never_reaches_the_loss(flat, told):
    flops = np.geomspace(1e18, 1e21, 12)
    loss = {"a": 1.7 + 4000 * flops**-0.18} | dict.fromkeys(flat, 2.5 + 4000 * flops**-0.18)
    n = np.sqrt(flops / 120)
    arms = [
        pd.DataFrame({"optimizer": name, "N": n, "D": 20 * n, "loss": each})
        for name, each in loss.items()
    ]
    runs = isoloss.read_runs(pd.concat(arms), MAPPING)
    fit = fit_law(runs, "power_law", {"variable": "C"}, bootstrap=0)
    figure = fit.plot("compute_gain").figure
    assert told in figure.get_supxlabel().replace("\n", " ")
