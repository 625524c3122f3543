"""A law that the user types: the command line, Python and a study."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.__main__ import main
from isoloss.core.problems import IsolossError
from isoloss.quickfit.proposal import propose

MOE = "loss = E + A / (N**alpha * experts**gamma) + B / D**beta"
TRUTH = {"E": 1.7, "A": 406.0, "alpha": 0.34, "gamma": 0.1, "B": 410.0, "beta": 0.28}
FAST = ["--interval", "none"]


def moe_table(name: str = "num_experts") -> pd.DataFrame:
    """Runs of mixtures of experts, by the law MOE with a little noise."""
    sizes = np.meshgrid(np.geomspace(1e7, 1e9, 4), np.geomspace(1e9, 1e11, 4), [1, 4, 16, 64])
    n, d, experts = (size.ravel() for size in sizes)
    t = TRUTH
    loss = t["E"] + t["A"] / (n ** t["alpha"] * experts ** t["gamma"]) + t["B"] / d ** t["beta"]
    noise = 1 + 0.001 * np.random.default_rng(0).standard_normal(len(loss))
    return pd.DataFrame({"params": n, "tokens": d, name: experts, "val_loss": loss * noise})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The runs as a CSV file."""
    path = tmp_path_factory.mktemp("moe") / "moe.csv"
    moe_table().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def answer(table):
    """The answer to the command with a formula, as text, and the folder of its files."""
    from contextlib import redirect_stdout
    from io import StringIO

    out, printed = table.parent / "law", StringIO()
    with redirect_stdout(printed):
        words = ["law", str(table), "--formula", MOE, "--bootstrap", "20"]
        assert main([*words, "--out", str(out)]) == 0
    return printed.getvalue(), out


def test_a_typed_law_is_answered_as_a_card_is(answer):
    text, out = answer
    for part in (
        "D = tokens (guessed), loss = val_loss (guessed), experts = num_experts (guessed)",
        "variables: N 10M to 1B, ",
        "experts 1 to 64",
        "parameters: E, A, alpha, gamma, B, beta",
        "95 % interval",
        "evidence: converged",
        "huber_log",
        "held out: the",
    ):
        assert part in text, part
    assert {path.name for path in out.iterdir()} >= {"law.png", "law.py", "explain.md", "paper.md"}


def test_the_files_of_a_typed_law_have_it_as_typed_and_predict_as_the_fit_does(answer):
    out = answer[1]
    assert MOE in (out / "explain.md").read_text("utf-8")
    fit = isoloss.load_fit(out)
    assert fit.values == pytest.approx(TRUTH, rel=0.2)
    point = {"N": 3e8, "D": 2e10, "experts": 8}
    names: dict = {}
    exec(compile((out / "law.py").read_text("utf-8"), "law.py", "exec"), names)
    predicted = fit.predict(**point)["loss"].iloc[0]
    assert names["law"]([point], "all")[0]["loss"] == pytest.approx(predicted, rel=1e-9)


def test_the_command_python_and_a_study_give_the_same_numbers(answer, table, tmp_path):
    from isoloss.study.check import check

    mapped = {"N": "params", "D": "tokens", "loss": "val_loss", "experts": "num_experts"}
    runs = isoloss.read_runs(table, mapped)
    fit = isoloss.fit_law(runs, formula=MOE, bootstrap=20)
    assert fit.values == isoloss.load_fit(answer[1]).values
    entry = {"card": "formula", "sweep": "moe", "options": {"formula": MOE}, "bootstrap": 20}
    tables = {"moe": {"table": str(table), "columns": mapped}}
    study = check({"study": "s", "aggregate": tables, "fit": {"moe": entry}})
    asked = study["fit"]["moe"]
    again = isoloss.fit_law(runs, asked["card"], asked["options"], bootstrap=asked["bootstrap"])
    pd.testing.assert_frame_equal(again.params, fit.params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--formula", MOE, "--law", "chinchilla"], "leave one of the two out"),
        (["--formula", ""], "formula"),
        (["--formula", "loss = E + A / N**"], "formula"),
        (["--formula", "loss = E + A / num_expert**b"], "num_experts"),
        (["--formula", "loss = E + A * a"], "variable"),
        (["--formula", "los = E + A / N**a"], "did you mean 'loss'?"),
        (["--formula", "loss = E + loss / N**a"], "loss = E + loss / N**a\n"),
        (["--formula", MOE, "--columns", "expert=num_experts"], "did you mean 'experts'?"),
        (["--formula", MOE, "--columns", "experts=experts"], "did you mean 'num_experts'?"),
        (["--formula", "@nowhere.txt"], "cannot read 'nowhere.txt'"),
        (["--formula", "loss = E + A / N**a", "--option", "x=1"], "has no options"),
        (["--formula", "loss = E + A / N**a", "--fix", "b=1"], "no such parameter"),
        (["--formula", "loss = E + exp.real"], "formula"),
        (["--formula", "loss = E + " + "A * N + " * 5000 + "B"], "formula"),
    ],
)
def test_what_is_wrong_with_a_formula_is_said_before_anything_is_fitted(
    table, arguments, message, capsys
):
    assert main(["law", str(table), *FAST, "--out", str(table.parent / "none"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (table.parent / "none").exists()


def test_parameters_of_a_formula_are_bounded_fixed_and_tied_as_those_of_a_card(table, capsys):
    words = ["--formula", MOE, "--columns", "experts=num_experts", "--fix", "E=1.7"]
    words += ["--bounds", "gamma=0.2:0.5", "--tie", "alpha,beta", "--out", str(table.parent / "o")]
    assert main(["law", str(table), *FAST, "--json", *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    values = {one["term"]: one["estimate"] for one in answer["fits"][0]["parameters"]}
    assert values["E"] == pytest.approx(1.7) and values["alpha"] == values["beta"]
    assert values["gamma"] == pytest.approx(0.2)
    assert [one["name"] for one in answer["variables"]] == ["N", "experts", "D"]
    assert answer["parameters"] == ["E", "A", "alpha", "gamma", "B", "beta"]


def test_a_formula_may_stand_in_a_file_and_name_another_response(table, tmp_path, capsys):
    raw = moe_table().assign(accuracy=lambda t: 1 / (1 + np.exp(t["val_loss"] - 2.5)))
    raw.to_csv(tmp_path / "runs.csv", index=False)
    (tmp_path / "law.txt").write_text("accuracy = c - A / params**a\na > 0\n")
    words = ["--formula", f"@{tmp_path / 'law.txt'}", "--out", str(tmp_path / "o")]
    assert main(["law", str(tmp_path / "runs.csv"), *FAST, *words]) == 0
    text = capsys.readouterr().out
    assert "fitted: accuracy" in text and "variables: params 10M to 1B" in text


def test_a_formula_stands_beside_cards_in_a_comparison(table):
    mapped = {"N": "params", "D": "tokens", "loss": "val_loss", "experts": "num_experts"}
    runs = isoloss.read_runs(table, mapped)
    compared = isoloss.compare_laws(runs, ["chinchilla", {"formula": MOE}])
    assert list(compared["law"]) == [MOE, "chinchilla"]
    assert compared["aicc_above_best"].iloc[1] > 10


def test_the_quick_fit_proposes_a_formula_for_columns_that_its_law_does_not_have(table, capsys):
    assert main(["law", str(table), *FAST, "--out", str(table.parent / "p")]) == 0
    text = capsys.readouterr().out
    (formula,) = re.findall(r"--formula '([^']+)'", text)
    assert formula == (
        "loss = E + A / (N**alpha * (1 + num_experts / S)**gamma) + B / D**beta; S > 0"
    )
    assert (
        main(["law", str(table), *FAST, "--out", str(table.parent / "p"), "--formula", formula])
        == 0
    )


def test_a_table_without_sizes_is_told_a_law_of_the_columns_that_it_has(tmp_path, capsys):
    lr, batch = (v.ravel() for v in np.meshgrid(np.geomspace(1e-4, 1e-2, 6), [16, 64, 256, 1024]))
    loss = 2.5 + 0.05 * np.log(lr / 1e-3) ** 2 + 0.02 * np.log(batch / 100) ** 2
    pd.DataFrame({"lr": lr, "batch": batch, "loss": loss}).to_csv(tmp_path / "t.csv", index=False)
    assert main(["law", str(tmp_path / "t.csv"), *FAST]) == 2
    (formula,) = re.findall(r"--formula '([^']+)'", capsys.readouterr().err)
    words = ["--formula", formula, "--out", str(tmp_path / "o"), "--json"]
    assert main(["law", str(tmp_path / "t.csv"), *FAST, *words]) == 0
    fits = json.loads(capsys.readouterr().out)["fits"]
    values = {one["term"]: one["estimate"] for one in fits[0]["parameters"]}
    assert values["best_lr"] == pytest.approx(1e-3, rel=0.01)
    assert values["best_batch"] == pytest.approx(100, rel=0.01)


def test_proposals_leave_out_what_is_not_a_variable_or_too_much_for_the_runs():
    n = np.geomspace(1e7, 1e9, 12)
    columns = {"N": n, "seed": np.arange(12.0), "vocab": np.tile([1e4, 2e4, 4e4], 4)}
    assert propose(columns) == "loss = E + A / N**alpha + B / vocab**beta"
    assert propose({"N": n[:6], "vocab": columns["vocab"][:6]}) == "loss = E + A / N**alpha"


def test_a_study_of_a_formula_says_where_it_is_wrong(table):
    from isoloss.study.check import check

    mapped = {"N": "params", "D": "tokens", "loss": "val_loss"}
    tables = {"moe": {"table": str(table), "columns": mapped}}

    def entry(formula):
        return {"card": "formula", "sweep": "moe", "options": {"formula": formula}}

    fits = {"one": entry("E + A / N**"), "two": entry("E + A / num_expert**a")}
    with pytest.raises(IsolossError) as error:
        check({"study": "s", "aggregate": tables, "fit": fits})
    places = [problem.place for problem in error.value.problems]
    assert [place.partition(",")[0] for place in places] == [
        "fit.one.options.formula",
        "fit.two.options.formula",
    ]


def test_init_writes_a_study_of_a_formula(table, tmp_path):
    out = tmp_path / "study.yaml"
    words = ["--formula", MOE, "--columns", "experts=num_experts", "--out", str(out)]
    assert main(["init", str(table), *words]) == 0
    text = out.read_text("utf-8")
    assert "card: formula" in text and MOE in text and "experts: num_experts" in text
