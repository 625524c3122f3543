"""A law that the user types: the command line, Python and a study."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

import isoloss
from isoloss.__main__ import main
from isoloss.core import tables
from isoloss.core.problems import IsolossError
from isoloss.fitted.export import law_file
from isoloss.fitted.facts import record
from isoloss.quickfit import proposal
from isoloss.quickfit.formula import Asked, meaning_of
from isoloss.quickfit.proposal import propose
from isoloss.report import summary

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
    assert tables.facts(out / "law.parquet")["card"] == "variable_curves"


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
        (["--law", "formula"], "formula: is empty"),
        (["--law", "formula", "--option", "formula=E + A / N**"], "missing after '**'"),
        (["--formula", "loss = E + A / N**"], "formula"),
        (["--formula", "loss = E + A / num_expert**b"], "num_experts"),
        (["--formula", "loss = E + A * a"], "variable"),
        (["--formula", "los = E + A / N**a"], "did you mean 'loss'?"),
        (["--formula", "loss = E + loss / N**a"], "loss = E + loss / N**a\n"),
        (["--formula", "loss = E + A / exprts**b"], "closely resembles the column 'num_experts'"),
        (["--formula", "loss = 2"], "it has numbers alone; write such as loss = E"),
        (["--formula", "loss = E + A / X**a + B / D**b"], "--columns X=num_experts; none:"),
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


def test_parameters_of_a_formula_are_bounded_fixed_and_tied_as_those_of_a_card(table):
    held = {"fixed": {"E": 1.7}, "bounds": {"gamma": (0.2, 0.5)}, "tied": [("alpha", "beta")]}
    told = isoloss.law_of_table(table, formula=MOE, bootstrap=0, holdout="none", **held)
    values, answer = told.fit.values, json.loads(told.json())
    assert values["E"] == pytest.approx(1.7) and values["alpha"] == values["beta"]
    assert values["gamma"] == pytest.approx(0.2)
    assert [one["name"] for one in answer["variables"]] == ["N", "experts", "D"]
    assert answer["parameters"] == ["E", "A", "alpha", "gamma", "B", "beta"]


def test_a_formula_may_stand_in_a_file_and_name_another_response(tmp_path):
    raw = moe_table().assign(accuracy=lambda t: 1 / (1 + np.exp(t["val_loss"] - 2.5)))
    raw.to_csv(tmp_path / "runs.csv", index=False)
    (tmp_path / "law.txt").write_text("accuracy = c - A / params**a\na > 0\n")
    given = f"@{tmp_path / 'law.txt'}"
    told = isoloss.law_of_table(tmp_path / "runs.csv", formula=given, bootstrap=0, holdout="none")
    assert "fitted: accuracy" in told.text and "variables: params 10M to 1B" in told.text


@pytest.mark.parametrize(
    ("left", "columns"), [("acc", {"acc": "Top-1 accuracy (%)"}), ("accuracy", {})]
)
def test_the_left_side_is_a_column_of_another_name(tmp_path, left, columns):
    hours = np.geomspace(1, 300, 12)
    score = [None, *(f"{80 - 50 * h**-0.4:.2f}%" for h in hours[1:])]
    raw = pd.DataFrame({"Training time (h)": hours, "Top-1 accuracy (%)": score})
    raw.to_csv(tmp_path / "runs.csv", index=False)
    given = {"hours": "Training time (h)", **columns}
    formula = f"{left} = E - A / hours**a; 0 <= {left} <= 1"
    told = isoloss.law_of_table(
        tmp_path / "runs.csv", given=given, formula=formula, bootstrap=0, holdout="none"
    )
    assert f"{left} = Top-1 accuracy (%) / 100: the column is in percent" in told.text
    assert ("(guessed), fitted" in told.text) == (not columns)
    assert told.fit.values["E"] == pytest.approx(0.8, abs=1e-3)
    assert told.fit.summary["n_runs"].item() == 11


def test_an_error_by_the_loss_is_not_the_loss(tmp_path):
    loss = np.linspace(2, 4, 12)
    raw = pd.DataFrame({"val loss": loss, "error": 0.9 / (1 + np.exp(3 - loss))})
    raw.to_csv(tmp_path / "runs.csv", index=False)
    formula = "error = top * sigmoid(loss - m)"
    told = isoloss.law_of_table(tmp_path / "runs.csv", formula=formula, bootstrap=0, holdout="none")
    assert told.fit.values == pytest.approx({"top": 0.9, "m": 3.0}, rel=1e-3)


def test_a_size_that_a_formula_leaves_out_is_told(table):
    formula = "loss = E + A / N**a"
    told = isoloss.law_of_table(table, formula=formula, bootstrap=0, holdout="none")
    assert "  not in the formula: D\n" in told.text


def test_a_size_under_the_name_of_its_column_is_told_once(table, tmp_path, capsys):
    own = MOE.replace("N**", "params**").replace("D**", "tokens**")
    words = ["law", str(table), "--formula", own, "--bootstrap", "20"]
    assert main([*words, "--out", str(tmp_path / "law")]) == 0
    assert "not in the formula" not in capsys.readouterr().out
    paper = (tmp_path / "law" / "paper.md").read_text()
    assert "params of 10M to 1B" in paper and "of 10M to 1B parameters" not in paper


def test_a_formula_stands_beside_cards_in_a_comparison(table):
    mapped = {"N": "params", "D": "tokens", "loss": "val_loss", "experts": "num_experts"}
    runs = isoloss.read_runs(table, mapped)
    compared = isoloss.compare_laws(runs, ["chinchilla", {"formula": MOE}])
    assert list(compared["law"]) == [MOE, "chinchilla"]
    assert compared["aicc_above_best"].iloc[1] > 10


def test_the_quick_fit_proposes_a_formula_for_columns_that_its_law_does_not_have(table):
    proposed = "loss = E + A / (N**alpha * num_experts**gamma) + B / D**beta"
    told = isoloss.law_of_table(table, "chinchilla", fixed={"E": 1.7}, bootstrap=0, holdout="none")
    assert not told.answer.meaning.proposal  # who names a law has chosen
    raw, columns = moe_table(), {"N": "params", "D": "tokens", "loss": "val_loss"}
    line = proposal.command(raw, "moe.csv", columns, ["num_experts"])
    assert line == f"python -m isoloss law moe.csv --formula '{proposed}'"


def test_a_table_without_sizes_is_told_a_law_of_the_columns_that_it_has(tmp_path):
    lr, batch = (v.ravel() for v in np.meshgrid(np.geomspace(1e-4, 1e-2, 6), [16, 64, 256, 1024]))
    loss = 2.5 + 0.05 * np.log(lr / 1e-3) ** 2 + 0.02 * np.log(batch / 100) ** 2
    pd.DataFrame({"lr": lr, "batch": batch, "loss": loss}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(IsolossError) as error:
        isoloss.law_of_table(tmp_path / "t.csv")
    (formula,) = re.findall(r"--formula '([^']+)'", str(error.value))
    values = isoloss.law_of_table(tmp_path / "t.csv", formula=formula, bootstrap=0).fit.values
    assert values["best_lr"] == pytest.approx(1e-3, rel=0.01)
    assert values["best_batch"] == pytest.approx(100, rel=0.01)


def test_proposals_leave_out_what_is_not_a_variable_or_too_much_for_the_runs():
    n = np.geomspace(1e7, 1e9, 12)
    columns = {"N": n, "seed": np.arange(12.0), "vocab": np.tile([1e4, 2e4, 4e4], 4)}
    assert propose(columns) == "loss = E + A / N**alpha + B / vocab**beta"
    d = np.tile([1e9, 1e10, 1e11], 8)
    more = {"N": np.repeat(n, 2), "D": d, "vocab": np.tile(columns["vocab"], 2)}
    product = "A / (N * vocab)**alpha + B * vocab**gamma / D**beta"
    assert propose(more) == f"loss = E + {product}"
    assert propose({"N": n[:6], "vocab": columns["vocab"][:6]}) == "loss = E + A / N**alpha"


def test_the_best_of_a_setting_is_proposed_as_a_power_of_sizes_and_scores_are_not_variables():
    n, d = np.tile(np.geomspace(2e7, 8e9, 8), 8), np.repeat(np.geomspace(1e9, 1e11, 8), 8)
    settings = {
        "lr": np.tile([1e-3, 3e-3, 1e-2, 3e-2], 16),
        "bsz": np.tile([32.0, 64, 128, 256], 16),
    }
    scores = {name: np.linspace(1, 2, 64) for name in ("brier", "mmlu_acc", "test_f1", "val_mse")}
    proposed = propose({"N": n, "D": d, **settings, **scores})
    assert proposed == (
        "loss = E + A / N**alpha + B / D**beta"
        " + F * log(lr / (best_lr * (N / 1e9)**n_lr * (D / 1e10)**d_lr))**2"
        " + G * log(bsz / (best_bsz * (D / 1e10)**d_bsz))**2"
    )
    beside = propose({"N": n, "D": 20 * n, **settings})  # of two that rise together one says it
    assert "(best_lr * (N / 1e9)**n_lr))" in beside and "best_bsz * (D / 1e10)**d_bsz" in beside
    assert "log(lr / best_lr)" in propose({"N": n[:10], **{k: v[:10] for k, v in settings.items()}})


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


def test_a_changed_formula_makes_its_own_fit_due_and_no_other(table, tmp_path):
    from isoloss.study.check import check
    from isoloss.study.flow import Flow

    mapped = {"N": "params", "D": "tokens", "loss": "val_loss", "experts": "num_experts"}
    tables = {"moe": {"table": str(table), "columns": mapped}}

    def expected(first):
        texts = {"first": first, "second": "loss = E + A / N**a"}
        fits = {
            name: {"card": "formula", "sweep": "moe", "options": {"formula": text}}
            for name, text in texts.items()
        }
        flow = Flow(check({"study": "s", "aggregate": tables, "fit": fits}), tmp_path)
        jobs = {name: flow.specification("fit", sweep="moe", fit=name) for name in fits}
        return jobs | {"runs": flow.specification("aggregate", sweep="moe")}

    before, after = expected(MOE), expected("loss = E + B / D**b")
    assert {name for name in before if before[name] != after[name]} == {"first"}


ODD = {
    "E": np.geomspace(1, 64, 24),
    "e": np.linspace(1, 9, 24),
    "lambda": np.tile([1.0, 2.0, 5.0], 8),
    "Batch size": np.tile([16, 64, 256, 1024], 6),
    "t": np.tile([1.0, 2.0, 3.0, 4.0], 6)[::-1],
    "loss": 2 + 1 / np.geomspace(1, 64, 24) ** 0.5 + 0.01 * np.linspace(1, 9, 24),
}


@pytest.mark.parametrize(
    ("formula", "columns", "split"),
    [
        ("loss = c + a / E**b + k * e", {}, (["E", "e"], ["c", "a", "b", "k"])),
        ("loss = E + k * e", {"E": ""}, (["e"], ["E", "k"])),
        ("loss = c + a * lam", {"lam": "lambda"}, (["lam"], ["c", "a"])),
        ("loss = x + a / Batch_size**α", {}, (["Batch_size"], ["x", "a", "α"])),
        ("loss = x + k * t", {}, (["t"], ["x", "k"])),
    ],
)
def test_names_of_any_kind_are_columns_or_parameters(formula, columns, split, tmp_path):
    pd.DataFrame(ODD).to_csv(tmp_path / "odd.csv", index=False)
    told = isoloss.law_of_table(tmp_path / "odd.csv", None, columns, formula=formula, bootstrap=0)
    variables, parameters = told.answer.meaning.variables, told.answer.meaning.parameters
    assert ([*variables], [*parameters]) == split
    names: dict = {}
    exec(compile(law_file(told.fit), "law.py", "exec"), names)
    point = {name: told.answer.meaning.ranges[name][0] for name in variables}
    predicted = told.fit.predict(**point)["loss"].iloc[0]
    assert names["law"]([point], "all")[0]["loss"] == pytest.approx(predicted, rel=1e-9)


def test_a_formula_and_a_law_are_not_both_taken(table):
    runs = isoloss.read_runs(table, {"N": "params", "D": "tokens", "loss": "val_loss"})
    with pytest.raises(IsolossError, match="leave one of the two out"):
        isoloss.fit_law(runs, "chinchilla", formula="E + A / N**a")
    with pytest.raises(IsolossError, match="neither a law nor a formula"):
        isoloss.fit_law(runs)
    with pytest.raises(IsolossError, match="num_experts"):  # which the runs have beside it
        isoloss.fit_law(runs, formula="E + A / experts**a")


def test_losses_below_0_are_fitted_by_a_formula(tmp_path):
    vocab = np.geomspace(4e3, 6e4, 20)
    table = pd.DataFrame({"vocab_size": vocab, "nll": 300 / vocab**0.5 - 5})
    table.to_csv(tmp_path / "v.csv", index=False)
    columns = {"V": "vocab_size"}
    told = isoloss.law_of_table(
        tmp_path / "v.csv", None, columns, formula="loss = A / V**a - E", bootstrap=0
    )
    assert "huber_scaled" in told.text and "nll has values that are not above 0" in told.text
    assert told.fit.values == pytest.approx({"A": 300, "a": 0.5, "E": 5}, rel=1e-3)


def test_losses_below_0_are_sent_to_a_card_of_them_and_to_a_formula(tmp_path):
    vocab, n = (
        v.ravel() for v in np.meshgrid(np.geomspace(4e3, 6e4, 4), np.geomspace(1e7, 1e9, 4))
    )
    loss = 300 / vocab**0.5 + 200 / n**0.3 - 5
    table = pd.DataFrame({"params": n, "tokens": 20 * n, "vocab_size": vocab, "norm_loss": loss})
    table.to_csv(tmp_path / "v.csv", index=False)
    for law in (None, "chinchilla"):
        with pytest.raises(IsolossError) as error:
            isoloss.law_of_table(tmp_path / "v.csv", law)
        assert "--law vocabulary --columns N=params D=tokens loss=norm_loss" in str(error.value)
        assert "--formula 'loss = E + A / (N * vocab_size)**alpha" in str(error.value)


def test_c_is_a_parameter_beside_the_columns_of_n_and_d_by_their_own_names(table):
    formula = "loss = E + A / params**a + C / tokens**b"
    answer = isoloss.law_of_table(table, formula=formula, interval="none")
    assert set(answer.fit.values) == {"E", "A", "a", "C", "b"}


@pytest.mark.parametrize(
    "formula",
    [
        "loss = E + F * exp(-x / s)",
        "loss = E + F * exp(-k * x); k > 0",
        "loss = E - F * tanh(x / s); F > 0; s > 0",
        "loss = E * (1 + h * exp(-x / s))",
    ],
)
def test_a_scale_inside_a_function_is_found_where_the_function_bends(formula):
    x = np.geomspace(1, 64, 30)
    falling = 1 - np.tanh(x / 4) if "tanh" in formula else np.exp(-x / 4)
    loss = (2 + 0.3 * falling) * np.exp(0.001 * np.sin(37 * x))
    runs = isoloss.read_runs(pd.DataFrame({"x": x, "loss": loss}), {"loss": "loss", "x": "x"})
    values = isoloss.fit_law(runs, formula=formula, bootstrap=0).values
    assert values.get("s", 1 / values.get("k", 1)) == pytest.approx(4, rel=0.05)


def test_a_variable_is_not_the_column_of_groups_too(table, tmp_path, capsys):
    asked = ["law", str(table), "--formula", MOE, "--out", str(tmp_path), *FAST]
    assert main([*asked, "--columns", "group=num_experts"]) == 2
    assert "'experts' is called as 'num_experts', by whose values" in (capsys.readouterr().err)
    assert main([*asked, "--columns", "group=num_experts", "experts="]) == 0


def test_a_hold_out_takes_the_name_of_a_column_of_the_table(table):
    answers = [
        isoloss.law_of_table(table, formula=MOE, holdout=f"largest:{name}", bootstrap=0)
        for name in ("num_experts", "experts")
    ]
    counts = [one.held.summary["n_held_out"].item() for one in answers]
    assert counts[0] == counts[1] > 0


OPTIMUM = {"fit": "moe", "over": ["N"], "given": {"experts": 16}, "subject_to": ["6*N*D <= 1e22"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fit": "mo"}, "summary.optima[0].fit: 'mo' is not in fit; did you mean 'moe'?"),
        ({"over": ["expert"]}, "summary.optima[0]: over expert: is not a variable of the law"),
        ({"subject_to": ["6*N*D <="]}, "summary.optima[0]"),
        ({"given": {}}, "summary.optima[0]: variable experts: is neither given nor chosen"),
        ({"minimise": "loss"}, "summary.optima[0].minimise"),
    ],
    ids=["fit", "variable", "constraint", "without a value", "key"],
)
def test_a_question_of_a_study_is_checked_before_it_runs(change, message, table):
    from isoloss.study.check import check

    mapped = {"N": "params", "D": "tokens", "loss": "val_loss", "experts": "num_experts"}
    study = {
        "study": "s",
        "aggregate": {"moe": {"table": str(table), "columns": mapped}},
        "fit": {"moe": {"card": "formula", "sweep": "moe", "options": {"formula": MOE}}},
    }
    check({**study, "summary": {"optima": [OPTIMUM]}})
    with pytest.raises(IsolossError) as error:
        check({**study, "summary": {"optima": [{**OPTIMUM, **change}]}})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("summand", "names"),
    [("0*x", ["x"]), ("x - x", ["x"]), ("where(x > 3, b, c)", []), ("b*x", [])],
)
def test_a_column_that_does_not_change_a_formula_is_named(summand, names):
    """`0*column` was a variable like another."""
    raw = pd.DataFrame({"N": [1e6, 1e7, 1e8], "x": [1, 2, 3], "loss": [3.0, 2.5, 2.2]})
    meaning = meaning_of(raw, "t.csv", Asked(f"loss = E + A/N**a + {summand}", {}, None, "law"))
    assert [note.split()[0] for note in meaning.notes if "no effect" in note] == names


def test_what_a_formula_makes_of_names_is_told():
    def asked(text, given=(), frame=None, **other):
        frame = moe_table(**other) if frame is None else frame
        return meaning_of(frame, "moe.csv", Asked(text, dict(given), None, "law"))

    compute = "loss = E + A / N**a + C / num_experts**c"
    assert any("C is compute, 6 N D" in note for note in asked(compute).notes)
    alone = asked(compute, {"C": ""})
    assert "C" in alone.parameters and not any("compute" in note for note in alone.notes)
    with pytest.raises(IsolossError, match=re.escape("--columns los=COLUMN")):
        asked("los = E + A / N**a")
    text = moe_table()
    text["num_experts"] = [f"{one}x" for one in text["num_experts"]]
    with pytest.raises(IsolossError, match="'num_experts', which holds text"):
        asked(MOE, frame=text)
    assert "experts" in asked(MOE, {"experts": ""}, text).parameters


def test_a_formula_in_the_place_of_a_card_is_told_its_key():
    with pytest.raises(IsolossError, match=re.escape('formula="..."')):
        isoloss.fit_law(pd.DataFrame(), MOE)


@pytest.mark.parametrize(
    ("limits", "settings", "told"),
    [
        ("; 0 <= acc <= 100", {}, ["the range of acc in the formula: 100 is per cent", "write 1"]),
        ("; high < 95", {}, ["the limit of high in the formula: 95", "write 0.95"]),
        ("", {"fixed": {"low": 25}}, ["fixed, low: 25", "divided by 100", "write 0.25"]),
        ("", {"bounds": {"low": (20, 30)}}, ["bounds, low: 20", "write 0.2", "write 0.3"]),
        ("; 0 <= acc <= 1", {"bounds": {"low": (0.2, 0.3)}, "fixed": {"k": 1.3}}, []),
    ],
)
def test_per_cent_of_a_response_that_is_divided_by_100_is_told_the_share(
    tmp_path, limits, settings, told
):
    """A level fixed at 25 beside shares, and a range up to 100, were fitted."""
    x = np.linspace(-3, 3, 20)
    raw = pd.DataFrame({"x": x, "acc (%)": 25 + 65 / (1 + np.exp(-1.3 * x)) + 0.3 * np.cos(9 * x)})
    raw.to_csv(tmp_path / "runs.csv", index=False)
    asked = {"bootstrap": 0, "holdout": "none", **settings}
    asked["formula"] = "acc = low + (high - low) * sigmoid(k * (x - m))" + limits
    if not told:
        fit = isoloss.law_of_table(tmp_path / "runs.csv", **asked).fit
        assert fit.values["high"] == pytest.approx(0.9, abs=0.01)
        return
    with pytest.raises(IsolossError) as error:
        isoloss.law_of_table(tmp_path / "runs.csv", **asked)
    assert all(words in str(error.value) for words in told)


def test_hold_outs_of_different_runs_are_told_apart_in_a_summary():
    runs = isoloss.read_runs(
        moe_table(),
        {"N": "params", "D": "tokens", "loss": "val_loss", "experts": "num_experts"},
    )
    rules = {"of_experts": "largest:experts", "of_compute": "largest_compute"}
    fits = {
        name: record(isoloss.fit_law(runs, formula=MOE, holdout=rule, bootstrap=0))
        for name, rule in rules.items()
    }
    experts, compute = summary._held_out(fits, "")
    assert experts.startswith("- **Held out** (largest experts, 16 runs), RMSE: of_experts ")
    assert compute.startswith("- **Held out** (the largest budget, ")
