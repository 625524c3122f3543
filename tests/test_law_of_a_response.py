"""The quick fit of another column of a user's table than the loss."""

from __future__ import annotations

import runpy

import numpy as np
import pandas as pd
import pytest

from isoloss.__main__ import main
from isoloss.core import tables
from isoloss.core.problems import IsolossError, nearest
from isoloss.quickfit import law as front

N, D = (side.ravel() for side in np.meshgrid(np.geomspace(1e6, 1e8, 5), np.geomspace(1e8, 1e10, 4)))
NOISE = np.exp(0.02 * np.random.default_rng(0).standard_normal(N.size))


@pytest.fixture
def table(tmp_path):
    """A CSV of runs with a coefficient that grows with N, and one without a value."""
    grown = (0.02 * N**0.5 * NOISE).astype(object)
    grown[4] = ""
    raw = pd.DataFrame({"params": N, "tokens": D, "llc mean": grown, "accuracy": 1 / (1 + 1 / N)})
    raw.to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path / "runs.csv"


def test_one_command_fits_a_column_that_grows_and_divides_no_budget(table, tmp_path, capsys):
    out = tmp_path / "out"
    asked = ["law", str(table), "--response", "llc mean", "--bootstrap", "20", "--out", str(out)]
    assert main(asked) == 0
    output = capsys.readouterr().out
    for part in (
        "columns: N = params (guessed), D = tokens (guessed), fitted: llc mean",
        "llc mean rises with N: the law is growth; another: --law",
        "growth: llc mean = E + A N^γ",
        "held out: the run of most compute",
        "% of the llc mean",
    ):
        assert part in output, part
    assert "best for C" not in output and "nats" not in output
    assert set(tables.frame(out / "params.parquet")["unit"]) == {"1"}
    assert tables.facts(out / "params.parquet")["response"] == "llc mean"
    (point,) = runpy.run_path(str(out / "law.py"))["law"]([{"N": 1e7}], "all")
    assert point["llc mean"] == pytest.approx(0.02 * 1e7**0.5, rel=0.05)
    assert (out / "law.png").stat().st_size > 10_000


def test_runs_without_a_value_are_counted(table):
    result = front.law_of_table(table, response="llc mean", bootstrap=5)
    summary = result.fit.summary.iloc[0]
    assert (summary["n_runs"], summary["n_dropped"]) == (19, 1)
    assert "1 of 20 runs have no llc mean: row-5" in set(result.fit.findings["found"])


def test_what_does_not_rise_has_a_power_law_and_a_named_law_stays(table):
    raw = pd.read_csv(table).assign(error=3 / N**0.2 * NOISE)
    raw.to_csv(table, index=False)
    assert front.law_of_table(table, response="error", bootstrap=0).fit.facts["card"] == "power_law"
    asked = front.law_of_table(table, "chinchilla", response="error", bootstrap=0)
    assert asked.fit.facts["card"] == "chinchilla" and asked.fit.quantity == "error"
    assert "best for C" not in asked.text


def test_a_run_with_an_infinite_value_does_not_change_the_law(table):
    raw = pd.read_csv(table)
    raw.loc[0, "llc mean"] = np.inf
    raw.to_csv(table, index=False)
    result = front.law_of_table(table, response="llc mean", bootstrap=0)
    assert result.fit.facts["card"] == "growth"
    assert result.fit.summary["n_dropped"].item() == 2


REFUSED = {
    "no name": ({"response": ""}, "no column ''"),
    "the loss": ({"response": "loss"}, "the loss is fitted where no other column is named"),
    "an unknown column": (
        {"response": "llc_mean"},
        "no column 'llc_mean'; did you mean 'llc mean'",
    ),
    "a size": ({"response": "params", "given": {"N": "params"}}, "the column 'params' is N"),
    "words": ({"response": "name"}, "rows 1, 2, 3.*'a' is not a number"),
    "mixtures": ({"response": "llc mean", "law": "log_linear"}, "one of the losses by domain"),
    "budgets": ({"response": "llc mean", "flops": [1e20]}, "flops: it is about the loss"),
    "a unit": ({"response": "llc mean", "loss_unit": "bits"}, "loss_unit: it is about the loss"),
    "a best run": ({"response": "llc mean", "best_of": ["N"]}, "best_of: it is about the loss"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_fitted_is_told(table, case):
    settings, message = REFUSED[case]
    pd.read_csv(table).assign(name="a", loss=1.0).to_csv(table, index=False)
    with pytest.raises(IsolossError, match=message):
        front.law_of_table(table, bootstrap=0, **settings)


def test_the_line_to_paste_names_the_response(table):
    pd.read_csv(table).rename(columns={"params": "x", "tokens": "y"}).to_csv(table, index=False)
    with pytest.raises(IsolossError) as told:
        front.law_of_table(table, "chinchilla", response="llc mean")
    assert "--response 'llc mean'" in str(told.value) and "loss=" not in str(told.value)


def test_no_doubt_is_answered_with_the_run_of_least_loss(table):
    raw = pd.read_csv(table)
    raw["lr"] = np.arange(len(raw)) % 2
    raw["llc mean"] *= 1 + raw["lr"]
    for lr in (raw["lr"], "warm-" + raw["lr"].astype(str)):
        raw.assign(lr=lr).to_csv(table, index=False)
        doubts = front.law_of_table(table, response="llc mean", bootstrap=0).fit.findings
        assert "pooled" in set(doubts["check"])
        assert not doubts["remedy"].str.contains("best-of").any()


def test_an_error_about_a_published_law_shows_what_the_law_is_of(capsys):
    assert main(["predict", "downstream_error:gadre", "--N", "1B"]) == 2
    assert "the law is error = ε - k e^(-γ loss)" in capsys.readouterr().err
    assert nearest("x", ["loss", "experts", "loss"]) == "known: experts, loss"
