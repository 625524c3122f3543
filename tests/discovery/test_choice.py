"""A choice among typed laws: which extrapolates best, how sure that is, and what it refuses."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.__main__ import main
from isoloss.core.problems import IsolossError
from isoloss.discovery import choice as choices
from isoloss.discovery.choice import Ground
from isoloss.discovery.table import Asked, search_table

TRUTH = "loss = E + A / (N**a * (experts + S)**b)"
APART = "loss = E + A / N**a + B / experts**b"
POWERS = "loss = A / (N**a * experts**b)"
LAWS = [APART, TRUTH, POWERS]


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    """Sizes and experts, all combinations, with little noise."""
    N, experts = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 6), 2.0 ** np.arange(8)))
    noise = 1 + 0.003 * np.random.default_rng(0).normal(size=48)
    loss = (1.7 + 25 / (N**0.18 * (experts + 2) ** 0.09)) * noise
    return pd.DataFrame({"N": N, "experts": experts, "loss": loss, "unused": 1.0})


@pytest.fixture(scope="module")
def choice(runs):
    return isoloss.choose_law(runs, LAWS)


def test_the_law_that_made_the_runs_is_chosen_and_that_is_sure(choice):
    assert choice.best == choice.simplest == TRUTH
    assert choice.ranking["formula"].iloc[0] == TRUTH
    assert choice.ranking["first"].sum() == pytest.approx(1)
    assert choice.ranking["first"].iloc[0] > 0.9
    assert choice.ranking["score"].is_monotonic_increasing
    assert choice.fit.predict(N=[1e10], experts=[256])["loss"].item() == pytest.approx(
        1.7 + 25 / (1e10**0.18 * 258**0.09), rel=0.02
    )


def test_a_joint_hold_out_is_predicted_from_runs_that_are_large_in_neither(runs):
    ground = Ground.of(search_table(runs, "runs", Asked(variables=("N", "experts"))), 0)
    (joint,) = [part for part in ground.parts if part.name == "N with experts 2"]
    size, experts = runs["N"] > 1.6e8, runs["experts"] > 32
    assert (joint.out == (size & experts)).all()
    assert (joint.seen == (~size & ~experts)).all()
    # a variable, two of them and the product count the same
    assert len(set(ground.kinds)) == 4 < len(ground.parts)


def test_two_laws_that_are_one_cannot_be_told_apart(runs):
    again = "loss = F + B / (N**c * (experts + R)**d)"
    choice = isoloss.choose_law(runs, [TRUTH, again])
    assert choice.ranking["within"].all()
    assert choice.best == TRUTH
    assert choice.spread < 0.01


def test_spellings_of_one_law_are_counted_together_and_those_that_trade_are_marked():
    n = np.tile(np.geomspace(1e7, 1e9, 12), 2)
    noise = 1 + 0.003 * np.random.default_rng(0).normal(size=24)
    runs = pd.DataFrame({"params": n, "loss": (1.7 + 400 / n**0.34) * noise})
    runs.loc[5, "loss"] *= 100  # told, and in no error
    plain, loose = "E + A / params**a", "E + (A / params**a) * B"
    choice = isoloss.choose_law(runs, [plain, "E + exp(p) / params**a", loose, "A / params**a"])
    rows = choice.ranking.set_index("formula")
    assert choice.best == choice.simplest == plain
    assert rows.loc[plain, "first"] > 0.95
    assert (rows["same_as"] == plain).sum() == 2
    text = str(choice)
    assert re.search(r"^3 +\S+ +4 \(1 loose\) +as [12] ", text, re.MULTILINE)
    assert "counted with it" in text and "loose: combinations" in text
    assert "1 run is far from the law and left out of the comparison: row 6" in text


def test_every_law_is_fitted_within_every_group(runs):
    other = runs.assign(loss=runs["loss"] + 0.5)
    both = pd.concat([runs.assign(kind="a"), other.assign(kind="b")], ignore_index=True)
    choice = isoloss.choose_law(both, [POWERS, TRUTH], groups="kind")
    assert choice.best == TRUTH
    ends = [choice.fit.predict(group, N=[1e9], experts=[8])["loss"].item() for group in "ab"]
    assert ends[1] - ends[0] == pytest.approx(0.5, abs=0.02)


def test_the_command_prints_the_choice_and_writes_it(runs, tmp_path, capsys):
    runs.to_csv(tmp_path / "moe.csv", index=False)
    table, out = str(tmp_path / "moe.csv"), str(tmp_path / "choice")
    main(["discover", table, "--formula", APART, TRUTH, "--out", out])
    text = capsys.readouterr().out
    assert f"best law: {TRUTH}" in text
    assert "2 laws, ranked by what they miss" in text
    assert "first in" in text and "N with experts 2 (4 runs)" in text
    assert f"--formula '{TRUTH}'" in text
    record = json.loads((tmp_path / "choice" / "discovery.json").read_text())
    assert record["best"] == TRUTH
    assert len(record["laws"][0]["errors"]) == len(record["holdouts"])


def test_a_law_that_cannot_be_fitted_says_why_and_the_others_are_compared(runs):
    wrong = "loss = E + A / N**a + B / expert**b"
    choice = isoloss.choose_law(runs, [wrong, TRUTH, POWERS])
    assert choice.best == TRUTH
    assert "experts" in choice.ranking.set_index("formula").loc[wrong, "status"]
    assert f"not fitted: {wrong}" in str(choice)
    laws = {law["formula"]: law for law in choice.record()["laws"]}
    assert "experts" in laws[wrong]["status"] and "score" not in laws[wrong]
    assert laws[TRUTH]["parameters"] == 5 and isinstance(laws[TRUTH]["parameters"], int)


@pytest.mark.parametrize(
    ("laws", "words"),
    [
        ([TRUTH], "found 1"),
        ([TRUTH, TRUTH], "appears twice"),
        ([TRUTH, "unused = A * N**a"], "left sides"),
        (["A * x**a", "A + B * x"], "none of their names is a column"),
        ([TRUTH, "loss = A * unused + B * N**a"], "the same value in all runs"),
        ([TRUTH, "loss = A *"], "formula 2"),
    ],
)
def test_what_cannot_be_chosen_among_is_said(runs, laws, words):
    with pytest.raises(IsolossError, match=words):
        isoloss.choose_law(runs, laws)


def test_a_search_and_typed_laws_are_not_asked_for_at_once(runs, tmp_path, capsys):
    runs.to_csv(tmp_path / "moe.csv", index=False)
    given = ["discover", str(tmp_path / "moe.csv"), "--formula", TRUTH, POWERS]
    assert main([*given, "--variables", "N"]) == 2
    assert "leave the others or --formula out" in capsys.readouterr().err


def test_hold_outs_leave_more_runs_than_the_largest_law_has_parameters(runs):
    few = runs[runs["experts"] < 9]  # 6 sizes by 4 numbers of experts
    table = search_table(few, "runs", Asked(variables=("N", "experts")))
    for parameters in (3, 12):
        parts = Ground.of(table, 0, parameters).parts
        assert min(part.seen.sum() for part in parts) >= parameters + 2
    with pytest.raises(IsolossError, match="no hold-out leaves enough runs for 40 parameters"):
        Ground.of(table, 0, 40)


def test_more_runs_than_are_compared_are_drawn_by_the_seed(runs, monkeypatch):
    monkeypatch.setattr(choices, "MOST", 40)
    ground = Ground.of(search_table(runs, "runs", Asked(variables=("N", "experts"))), 0)
    assert len(ground.rows) == 40
    assert all(len(part.out) == 40 for part in ground.parts)


def test_a_table_of_a_law_that_could_not_be_fitted_counts_parameters_in_whole_numbers():
    n = np.geomspace(1e7, 1e9, 12)
    runs = pd.DataFrame({"params": n, "loss": 1.7 + 400 / n**0.34})
    text = str(isoloss.choose_law(runs, ["E + A / params**a", "E + A / parms**a"]))
    assert "1 law, ranked" in text
    assert re.search(r"^1 +\S+ +3 +100%", text, re.MULTILINE)
