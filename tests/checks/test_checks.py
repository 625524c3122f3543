"""The checks name what is wrong with a table and its fit, and leave sound ones alone."""

from __future__ import annotations

import ast
import inspect
import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import isoloss
from isoloss.checks import design, limits, pooled, run
from isoloss.checks.evidence import CARE, NOTE, STOP, Finding
from isoloss.fitted.facts import VERDICTS, record

E, A, B, ALPHA, BETA = 1.8, 480.0, 2100.0, 0.347, 0.367
COLUMNS = {"N": "N", "D": "D", "loss": "loss"}


def true_loss(n, d):
    return E + A / n**ALPHA + B / d**BETA


def grid(budgets=6, sizes=8, noise=0.005, seed=0):
    """Runs around the best size of each budget."""
    flops = np.geomspace(1e18, 1e21, budgets)[:, None]
    best = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA)) * (flops / 6) ** (BETA / (ALPHA + BETA))
    n = (best * np.geomspace(1 / 6, 6, sizes)).ravel()
    d = np.repeat(flops.ravel(), sizes) / 6 / n
    errors = noise * np.random.default_rng(seed).standard_normal(n.size)
    return pd.DataFrame({"N": n, "D": d, "loss": true_loss(n, d) * np.exp(errors)})


def with_losses(table, noise=0.005):
    errors = noise * np.random.default_rng(1).standard_normal(len(table))
    return table.assign(loss=true_loss(table["N"], table["D"]) * np.exp(errors))


def optimizers():
    table = grid().assign(optimizer=np.where(np.arange(48) % 2, "adam", "sgd"))
    return table.assign(loss=table["loss"] * np.where(table["optimizer"] == "sgd", 1.15, 1.0))


def learning_rates():
    penalty = {1e-4: 0.3, 3e-4: 0.05, 1e-3: 0.0, 3e-3: 0.08}
    table = grid(4, 6, 0.003)
    parts = [table.assign(lr=lr, loss=table["loss"] + add) for lr, add in penalty.items()]
    return pd.concat(parts, ignore_index=True)


def two_units():
    table = grid()
    table.loc[::3, "loss"] /= np.log(2)
    return table


def two_tables():
    return pd.concat([grid(), grid(seed=3).assign(loss=lambda t: 1.3 * t["loss"])])


def outlier():
    table = grid()
    table.loc[5, "loss"] *= 1.3
    return table


def along_label():
    d = np.tile(np.linspace(1e9, 2e10, 20), 5)
    n = np.repeat(np.geomspace(7e7, 1e9, 5), 20)
    drift = np.repeat(np.random.default_rng(0).normal(0, 0.01, 5), 20)
    return pd.DataFrame({"N": n, "D": d, "loss": true_loss(n, d) * np.exp(drift)})


def no_dependence():
    noise = np.random.default_rng(0).standard_normal(48)
    return grid().assign(loss=3 * np.exp(0.02 * noise))


def narrow():
    spread = np.exp(0.15 * np.random.default_rng(0).standard_normal(48))
    return with_losses(grid().assign(N=1e8 * spread))


FAULTY = {
    "optimizers": (optimizers, "pooled", STOP, "`optimizer` explains", "group=optimizer"),
    "learning rates": (learning_rates, "pooled", STOP, "`lr` explains", "--best-of N,D"),
    "two tables": (two_tables, "pooled", STOP, "runs alike in N and D differ", "--columns group="),
    "bits and nats": (two_units, "pooled", STOP, "two sets 44 % apart (32 and 16", "group=NAME"),
    "checkpoints": (along_label, "checkpoints", CARE, "follow each other", "of_run=COLUMN"),
    "an outlier": (outlier, "outliers", CARE, "far from the law: row-6 ", "--keep"),
    "D = 20 N": (lambda: with_losses(grid().assign(D=lambda t: 20 * t["N"])), "collinear", STOP,
                 "D rises with N", "other D/N"),
    "one budget": (lambda: grid(1, 24), "collinear", STOP, "one budget", "other budgets"),
    "one size": (lambda: with_losses(grid().assign(N=1e8)), "spread", STOP, "N has one value",
                 "other N"),
    "a narrow N": (narrow, "spread", CARE, "too little to tell", "other N"),
    "no dependence": (no_dependence, "no_fit", STOP, "explains", "which column"),
    "noise": (lambda: grid(noise=0.2), "noise", STOP, "differs from the law by", "one unit"),
    "millions": (lambda: grid().assign(D=lambda t: t["D"] / 1e6), "units", STOP, "hardly both",
                 "--scale"),
    "millions and billions": (
        lambda: grid().assign(N=lambda t: t["N"] / 1e6, D=lambda t: t["D"] / 1e9), "units", CARE,
        "D is at most 345: hardly a count", "--scale D=1e6"),
    "billions": (lambda: grid().assign(N=lambda t: t["N"] / 1e9), "units", STOP,
                 "N is at most 17.4: hardly a count", "--scale N=1e6"),
    "billions in a third": (
        lambda: grid().assign(D=lambda t: t["D"] / np.where(np.arange(48) % 3, 1, 1e9)), "units",
        STOP, "the gap is closed", "one unit"),
    "every row twice": (lambda: pd.concat([grid(), grid()]), "copies", CARE,
                        "48 of 96 rows are copies", "once in the table"),
    "perplexity": (lambda: grid().assign(loss=lambda t: np.exp(t["loss"])), "units", CARE,
                   "worse than a uniform guess", "--loss-unit perplexity"),
    "few runs": (lambda: grid(2, 3), "few_runs", CARE, "6 runs for 5 parameters", "--fix"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "explained"),
    [
        ([70.0, 160.0, 410.0, 1e9, 1.4e9, 7e9], True),  # millions, and counts
        ([0.07, 0.4, 1.3, 6.9e7, 3e8, 1e9], True),  # billions, and counts
        (np.geomspace(1e3, 1e11, 9), False),  # even in the logarithm
        (np.geomspace(1e3, 1e12, 3), False),
        ([1e3, 3e3, 4e4, 2e6, 1e8, 5e9, 1e11], False),
        (10 ** np.random.default_rng(0).uniform(3, 11, 30), False),
    ],
)
def test_sizes_are_in_two_units_only_where_a_gap_is_closed_by_one(sizes, explained):
    assert (design._two_units(np.asarray(sizes)) is not None) == explained


def fitted(table, law="chinchilla", **settings):
    runs = isoloss.read_runs(table.reset_index(drop=True), COLUMNS)
    return isoloss.fit_law(runs, law, **{"bootstrap": 60, **settings})


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_table_is_named_with_what_would_fix_it(name):
    make, check, grade, text, remedy = FAULTY[name]
    fit = fitted(make())
    doubts = fit.findings[fit.findings["check"] == check]
    assert grade in set(doubts["grade"]), fit.findings
    row = doubts[doubts["grade"] == grade].iloc[0]
    assert text in row["found"] and remedy in row["remedy"], dict(row)
    expected = "do not use" if grade == STOP else {"with care", "do not use"}
    assert fit.summary["verdict"].item() in expected
    assert row["found"] in fit.summary["reasons"].item() or "more)" in fit.summary["reasons"].item()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("shape", "noise"), [((4, 6), 0.005), ((6, 10), 0.005), ((6, 10), 0.02)])
def test_a_clean_design_is_sound(seed, shape, noise):
    fit = fitted(grid(*shape, noise=noise, seed=seed), bootstrap=200)
    assert fit.summary["verdict"].item() == "sound", fit.findings["found"].tolist()
    assert set(fit.findings["grade"]) == {NOTE}


def test_a_column_that_says_nothing_or_follows_from_the_size_is_no_doubt():
    table = grid()
    width = np.round(table["N"] ** 0.5).astype(int)
    parity = pd.Series(np.arange(48) % 2).map({0: "even", 1: "odd"})
    fit = fitted(table.assign(d_model=width, node=parity, note="", config=[{"a": 1}] * 48))
    assert fit.summary["verdict"].item() == "sound", fit.findings["found"].tolist()


def test_runs_that_diverged_are_counted_and_named():
    table = grid()
    table["loss"] = table["loss"].astype(object)
    table.loc[[3, 7], "loss"] = "diverged"
    fit = fitted(table)
    row = fit.findings.set_index("check").loc["diverged"]
    assert row["grade"] == NOTE and "2 of 48 runs have no loss: row-4, row-8" in row["found"]


@pytest.mark.parametrize(("doubted", "grade"), [(0, None), (3, CARE), (24, CARE), (25, STOP)])
def test_values_that_their_own_status_doubts_are_counted(doubted, grade):
    table = grid()
    status = ["warn"] * doubted + ["ok"] * (48 - doubted)
    table = table.assign(llc_mean=table["N"] ** 0.5, llc_status=status)
    runs = isoloss.read_runs(table, COLUMNS)
    options = {"variable": "N", "offset": False}
    fit = isoloss.fit_law(runs, "growth", options, response="llc_mean", bootstrap=0)
    rows = fit.findings[fit.findings["check"] == "doubtful"]
    assert list(rows["grade"]) == ([grade] if grade else [])
    if grade:
        text = f"{doubted} of 48 values of llc_mean are doubtful, by llc_status"
        assert rows["found"].item() == text and text in fit.summary["reasons"].item()


def test_the_order_of_rows_does_not_matter():
    table = optimizers()
    table["name"] = [f"r{i}" for i in range(len(table))]
    columns = {**COLUMNS, "run_id": "name"}
    fits = [
        isoloss.fit_law(isoloss.read_runs(t.reset_index(drop=True), columns), "chinchilla",
                        bootstrap=0)
        for t in (table, table.sample(frac=1, random_state=1))
    ]  # fmt: skip
    assert list(fits[0].findings["found"]) == list(fits[1].findings["found"])


def test_compute_that_is_no_flop_is_named_by_a_law_in_n_and_c():
    table = grid().assign(C=lambda t: 6 * t["N"] * t["D"] / 8.64e19)
    fit = isoloss.fit_law(
        isoloss.read_runs(table, {**COLUMNS, "C": "C"}), "isoflop_parabolas", bootstrap=20
    )
    doubt = fit.findings.iloc[0]
    assert (doubt["check"], doubt["grade"]) == ("units", STOP) and "hardly FLOP" in doubt["found"]
    assert "--scale C=8.64e19 for PF-days" in doubt["remedy"]
    assert fit.summary["verdict"].item() == "do not use"


def test_a_law_in_n_and_c_says_where_compute_is_not_6_n_d():
    for factor, differs in ((1.0, False), (1.4, True)):
        table = grid().assign(C=lambda t, k=factor: k * 6 * t["N"] * t["D"])
        runs = isoloss.read_runs(table, {**COLUMNS, "C": "C"})
        told = isoloss.fit_law(runs, "isoflop_parabolas", bootstrap=20).findings["found"]
        assert told.str.contains("C is 1.4 x 6 N D: the D of a budget").any() == differs


def test_a_lower_envelope_and_a_frontier_are_not_judged_by_their_residuals():
    for law, settings in (
        ("isoflop_parabolas", {}),
        ("chinchilla", {"objective": "asymmetric_mae"}),
    ):
        checks = set(fitted(grid(), law, **settings).findings["check"])
        assert not checks & {"noise", "no_fit", "outliers", "pooled", "shape"}


def test_the_verdict_is_the_worst_grade():
    assert [run.verdict([g]) for g in (NOTE, CARE, STOP)] == list(VERDICTS)
    doubts = [
        Finding("x", STOP, "a"),
        *[Finding("x", CARE, c) for c in "bcd"],
        Finding("x", NOTE, "e"),
    ]
    assert run.reasons(doubts) == "a; b; c (and 1 more)"


def test_the_record_of_several_fits_gives_the_worst_and_whose_it_is():
    table = pd.concat([grid().assign(group="a"), no_dependence().assign(group="b")])
    columns = {**COLUMNS, "group": "group"}
    runs = isoloss.read_runs(table.reset_index(drop=True), columns)
    fit = isoloss.fit_law(runs, "chinchilla", bootstrap=30)
    judgement = record(fit).judgement
    assert judgement.startswith("DO NOT USE (1 of 2 fits): b: the law explains")
    assert judgement[:60] in repr(fit).replace("\n  ", " ")


@pytest.mark.parametrize("apart", [0.0, 0.5])
def test_two_sets_are_told_from_one(apart):
    rng = np.random.default_rng(0)
    residuals = 0.05 * rng.standard_normal(60) + apart * (np.arange(60) % 3 == 0)
    sets = pooled.two_sets(residuals)
    assert sets is None if apart == 0 else sets[:2] == (40, 20)


def test_every_threshold_is_used():
    names = [name for name in vars(limits) if name.isupper()]
    source = "".join(
        inspect.getsource(module)
        for module in {inspect.getmodule(check) for check in run.CHECKS} | {__import__(
            "isoloss.checks.evidence", fromlist=["x"])}
    )  # fmt: skip
    used = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    assert set(names) <= used


def findings_by_check(table):
    fit = isoloss.fit_law(isoloss.read_runs(table, COLUMNS), "chinchilla", bootstrap=0)
    return {row["check"]: row for row in fit.findings.to_dict("records")}


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_setting_of_many_values_that_the_losses_rise_with_is_named(repeats):
    table = pd.concat([grid(4, 6, 0.002, seed) for seed in range(repeats)], ignore_index=True)
    table["lr"] = 10 ** np.random.default_rng(4).uniform(-4, -2, len(table))
    table["loss"] *= 1 + 0.05 * (np.log10(table["lr"]) + 4)
    finding = findings_by_check(table)["pooled"]
    assert finding["grade"] == CARE and "losses rise with `lr`" in finding["found"]
    assert finding["remedy"].endswith("--best-of N,D")


@pytest.mark.parametrize("seed", range(5))
def test_a_number_of_many_values_that_says_nothing_is_not_named(seed):
    rng = np.random.default_rng(seed)
    table = grid(seed=seed).assign(hours=rng.uniform(1, 9, 48), width=lambda t: t["N"] ** 0.5)
    assert "pooled" not in findings_by_check(table)


def test_a_setting_of_few_values_is_named_where_no_size_comes_twice():
    table = grid().assign(batch=np.tile([1, 2, 4], 16))
    table["loss"] *= 1 + 0.04 * np.log2(table["batch"])
    assert "`batch` explains" in findings_by_check(table)["pooled"]["found"]


@pytest.mark.parametrize("noise", [0.04, 0.12])
def test_seeds_that_are_far_apart_are_noise_and_no_other_experiment(noise):
    sizes, rng = np.geomspace(1e3, 1e6, 12), np.random.default_rng(0)
    table = pd.DataFrame([{"N": n, "seed": s} for n in sizes for s in range(6)])
    table["loss"] = (0.3 + 20 * table["N"] ** -0.4) * np.exp(rng.normal(0, noise, len(table)))
    table = table.assign(D=1e6)
    fit = fitted(table, "power_law", options={"variable": "N"})
    checks = set(fit.findings["check"])
    assert "pooled" not in checks
    if noise > 0.05:
        reason = fit.findings.set_index("check").loc["noise"]
        assert re.search(r"seeds differ by 1[0-5] %", reason["found"])
        assert reason["grade"] == "care"
        assert reason["remedy"] == "train more seeds of each size"
    # the same spread between settings other than the seed is another matter
    mixed = table.assign(lr=table["seed"] * 1e-3, seed=0)
    assert "pooled" in set(fitted(mixed, "power_law", options={"variable": "N"}).findings["check"])


def test_a_name_of_every_size_is_no_experiment_and_many_sizes_are_no_run():
    named = along_label().assign(name=lambda t: t["N"].map("size {:g}".format))
    assert "pooled" not in findings_by_check(named)
    assert "of_run=name" in findings_by_check(named)["checkpoints"]["remedy"]
    assert "checkpoints" not in findings_by_check(optimizers())


def test_a_mark_of_a_few_outliers_is_no_experiment():
    table = grid(10, 10)
    table.loc[[5, 50], "loss"] *= 1.3
    table["kept"] = (~table.index.isin([5, 50])).astype(int)
    assert "pooled" not in findings_by_check(table)


def test_the_verdict_of_a_quick_fit_counts_what_it_predicts_badly_of_the_largest_runs(tmp_path):
    table, path = grid(4, 6, 0.001), tmp_path / "runs.csv"
    flops = table["N"] * table["D"]
    table.loc[flops > 0.9 * flops.max(), "loss"] += 0.5
    table.to_csv(path, index=False)
    fit = isoloss.law_of_table(path, bootstrap=20).fit
    assert "held_out" in set(fit.findings["check"])
    assert fit.summary["verdict"].item() != "sound"
    assert list(fit.findings["rank"]) == list(range(len(fit.findings)))
    folder = tmp_path / "fit"
    fit.save(folder)
    assert isoloss.load_fit(folder) == fit


def test_a_fit_that_was_saved_before_there_were_verdicts_says_so(tmp_path):
    fit = isoloss.fit_law(isoloss.read_runs(grid(), COLUMNS), "chinchilla", bootstrap=0)
    fit.save(tmp_path)
    (tmp_path / "findings.parquet").unlink()
    file = tmp_path / "summary.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["verdict", "reasons"]), file)
    old = isoloss.load_fit(tmp_path)
    assert old.values == fit.values
    assert "with care: it was fitted before there were verdicts" in repr(old)


def test_equal_accuracies_at_different_losses_are_not_copies():
    loss = np.linspace(1.8, 3.6, 40)
    table = pd.DataFrame(
        {"loss": loss, "acc": np.round(0.9 / (1 + np.exp(4 * (loss - 2.4))), 1) + 0.05}
    )
    runs = isoloss.read_runs(table, {"loss": "loss", "acc": "acc"})
    fit = isoloss.fit_law(runs, formula="acc = top * sigmoid(k * (m - loss))", bootstrap=0)
    assert "copies" not in set(fit.findings["check"])
