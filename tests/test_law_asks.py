"""The conversation of the quick fit: what it takes columns for, and what it asks before a fit."""

from __future__ import annotations

import shlex

import numpy as np
import pandas as pd
import pytest
import yaml

from isoloss.__main__ import main
from isoloss.core.problems import IsolossError
from isoloss.quickfit.init import study_of_table
from isoloss.quickfit.law import law_of_table

N, D = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 6), np.geomspace(1e9, 1e12, 5)))
LOSS = 1.8 + 480 / N**0.35 + 2100 / D**0.37
EXACT = {"E": 1.8, "alpha": 0.35, "beta": 0.37}
ROUGH = np.tile([0.3, -0.2, 0.1, 0.7, -0.5], 6)  # numbers of no meaning


@pytest.fixture
def answer(tmp_path, monkeypatch, capsys):
    """A function that fits a table given by columns: exit code, what is printed, parameters."""
    monkeypatch.chdir(tmp_path)
    # a third of the time; test_output.py and test_law.py look at what is saved
    monkeypatch.setattr("isoloss.plot.draw.draw", lambda *_, **__: [])

    def call(columns, *arguments):
        pd.DataFrame(columns).to_csv("my runs.csv", index=False)
        code = main(["law", "my runs.csv", "--bootstrap", "2", "--out", "out", *arguments])
        printed = capsys.readouterr()
        if code:
            assert not (tmp_path / "out").exists() and not printed.out
            return code, printed.err, {}
        params = pd.read_parquet("out/params.parquet")
        values = {
            tuple(k): v for k, v in params.groupby(["group", "term"])["estimate"].sum().items()
        }
        return code, printed.out, values

    return call


def assert_law(values, group="all", **scale):
    for term, value in EXACT.items():
        expected = value * scale.get(term, 1.0)
        assert values[group, term] == pytest.approx(expected, rel=1e-4), term


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (
            {"metrics.val_loss": LOSS, "metrics.train_loss": LOSS - 0.1, "params.n_params": N,
             "params.tokens": D, "params.lr": 1e-3, "run_id": range(30)},
            "N = params.n_params (guessed), D = params.tokens (guessed), loss = metrics.val_loss "
            "(guessed; also metrics.train_loss), run_id = run_id (guessed)",
        ),
        (
            {"config/model.n_params": N, "throughput/total_tokens": D, "C4 Eval Loss": LOSS,
             "throughput/tokens_per_second": 1e5, "Group": np.nan, "train/loss": LOSS - 0.2},
            "N = config/model.n_params (guessed), D = throughput/total_tokens (guessed), "
            "loss = C4 Eval Loss (guessed; also train/loss)",
        ),
        (
            {"active_params": N, "total_params": 3 * N, "tokens": D, "loss": LOSS},
            "N = active_params (guessed; also total_params)",
        ),
        (
            {"model": "m", "params": N, "dataset": ["c4", "web", "pile"] * 10, "flops": 6 * N * D,
             "val_loss": LOSS},
            "N = params (guessed), C = flops (guessed), loss = val_loss (guessed)",
        ),
        (
            {"params": N, "tokens_per_param": D / N, "loss": LOSS},
            "ratio = tokens_per_param (guessed)",
        ),
        ({"params": N, "tokens": D, "perplexity": np.exp(LOSS)}, "loss = perplexity (guessed)"),
        (
            {"params": N, "tokens": D, "p_dropout": 0.1, "p_mask": 0.15, "mix_id": range(30),
             "train_loss": LOSS + 1, "val_loss": LOSS},
            "loss = val_loss (guessed; also train_loss)",
        ),
    ],
    ids=["MLflow", "W&B", "active and total", "labels", "ratio", "perplexity", "no mixture"],
)  # fmt: skip
def test_columns_are_guessed_and_shown_with_what_else_they_could_be(answer, columns, line):
    code, output, values = answer(columns)
    assert code == 0 and line in output
    assert_law(values)


def test_what_was_not_used_and_another_choice_are_said_in_a_line_each(answer):
    columns = {"params": N, "tokens": D, "loss": LOSS, "val_loss": LOSS, "lr": 1e-3, "depth": 12}
    more = {f"metric_{i}": ROUGH for i in range(200)}
    output = answer({**columns, **more})[1]
    assert "not used: lr, depth, metric_0, metric_1, metric_2" in output
    assert "and 194 more\n" in output
    assert "another column: --columns loss=loss; none: --columns group=" in output
    assert max(map(len, output.splitlines())) < 260


def test_each_label_that_all_sizes_have_gets_a_law(answer):
    two = {"dataset": ["web"] * 30 + ["code"] * 30, "params": [*N, *N], "tokens": [*D, *D]}
    columns = {**two, "loss": [*LOSS, *(LOSS / 2)]}
    _, output, values = answer(columns)
    assert "group = dataset (guessed; all sizes are there with each of them)" in output
    assert_law(values, "web")
    assert_law(values, "code", E=0.5)
    apart = answer({**columns, "tokens": [*D, *(D * 1.5)]}, "--columns", "loss=loss")[1]
    assert "one law for all of dataset; a law for each: --columns group=dataset" in apart


ASKED = {
    "no column for D": (
        {"params": N, "what": D, "val loss": LOSS},
        "no column looks like D (tokens)",
        "N=params D=what 'loss=val loss'",
    ),
    "a width is no size": (
        {"d_model_width": np.sqrt(N), "tokens": D, "loss": LOSS},
        "no column looks like N (parameters)",
        "N=COLUMN D=tokens loss=loss",
    ),
    "a text is no D": (
        {"params": N, "tokens": "many", "x": D, "loss": LOSS},
        "column 'tokens' has the name of D (tokens) and holds text, not numbers (such as 'many')",
        "N=params D=x loss=loss",
    ),
    "two losses": (
        {"params": N, "tokens": D, "c4_loss": LOSS, "pile_loss": LOSS + 0.1},
        "each of c4_loss, pile_loss may be the loss",
        "N=params D=tokens loss=c4_loss",
    ),
    "two sizes": (
        {"student_params": N, "mentor_params": N * 9, "tokens": D, "loss": LOSS},
        "each of student_params, mentor_params may be N (parameters)",
        "N=student_params D=tokens loss=loss",
    ),
    "no loss": (
        {"params": N, "tokens": D, "quality": LOSS},
        "no column looks like a loss",
        "N=params D=tokens loss=COLUMN",
    ),
    "nothing": (
        {"a": N, "b": ROUGH},
        "no column looks like a loss; no column looks like N (parameters); "
        "no column looks like D (tokens)",
        "N=a D=COLUMN loss=COLUMN",
    ),
    "the flags that were given stay": (
        {"p": N, "what": D, "loss": LOSS, "team": "a"},
        "no column looks like D (tokens)",
        "N=p D=what loss=loss group=team",
    ),
}


@pytest.mark.parametrize("case", ASKED)
def test_what_is_not_clear_is_asked_with_a_line_to_paste(answer, case):
    columns, reason, pasted = ASKED[case]
    given = ["--columns", "N=p", "group=team"] if "team" in columns else []
    code, error, _ = answer(columns, *given)
    assert code == 2 and error.startswith("isoloss law: my runs.csv: ") and reason in error
    line = f"  python -m isoloss law 'my runs.csv' --columns {pasted}"
    assert line in error.splitlines()
    numbers = [name for name, values in columns.items() if not isinstance(values, str)]
    assert f"(columns of numbers: {', '.join(numbers)})" in error
    if "COLUMN" not in pasted:
        words = shlex.split(line)[5:]
        code, output, values = answer(columns, *words)
        assert code == 0 and "chinchilla: L =" in output
        assert_law(values, "a" if "team" in columns else "all")


@pytest.mark.parametrize(
    ("columns", "arguments", "note"),
    [
        ({"flops": 6 * N * D, "loss": LOSS}, [], "no column for N or D: a power law in C"),
        (
            {"params": N, "dataset": "c4", "seed": range(30), "loss": LOSS},
            [],
            "no column for D: a power law in N",
        ),
        (
            {"params": N, "other": D, "loss": LOSS},
            ["--columns", "D=", "C="],
            "no column for D: a power law in N",
        ),
        ({"params": N, "other": D, "loss": LOSS}, ["--law", "power_law"], "not used: other"),
        ({"tokens": D, "x": N, "loss": LOSS}, ["--law", "learning_curve"], "not used: x"),
    ],
    ids=["C alone", "a seed is no size", "the user says so", "the law is given", "a law in D"],
)
def test_one_size_is_enough_for_a_power_law_if_nothing_else_could_be_another(
    answer, columns, arguments, note
):
    code, output, _ = answer(columns, *arguments)
    assert code == 0 and note in output


def test_a_law_that_needs_a_size_which_is_not_there_asks_for_it(answer):
    code, error, _ = answer({"params": N, "x": D, "loss": LOSS}, "--law", "kaplan")
    assert code == 2 and "no column looks like D (tokens)" in error


def test_in_python_the_question_is_an_error_with_its_parts(tmp_path):
    pd.DataFrame({"params": N, "x": D, "loss": LOSS}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(IsolossError) as told:
        law_of_table(tmp_path / "t.csv")
    (problem,) = told.value.problems
    assert problem.place.endswith("t.csv") and "--columns N=params D=x loss=loss" in problem.remedy
    assert problem.remedy.endswith("or, for a power law in N alone: --columns D= C=")


DOMAINS = ("web", "code", "wiki")
SHARES = np.random.default_rng(0).dirichlet(np.ones(3), 24)
MIXTURE = {f"loss_{d}": 2 + 0.3 * (0.05 + SHARES[:, i]) ** -0.3 for i, d in enumerate(DOMAINS)}


def mixture(shares):
    return {**{f"p_{d}": shares[:, i] for i, d in enumerate(DOMAINS)}, **MIXTURE}


def test_proportions_of_any_total_give_the_same_best_mixture(answer):
    percent = np.char.add(np.char.mod("%.10f", SHARES * 100), "%")
    counts = np.round(SHARES * 1e12)
    outputs = [answer(mixture(shares))[1] for shares in (SHARES, SHARES * 100, percent, counts)]
    best = [output[output.index("best mixture") :] for output in outputs]
    assert best[1:] == best[:1] * 3
    assert "3 proportions, 3 losses by domain (guessed)" in outputs[0]
    assert all("proportions sum to 100: divided by it" in output for output in outputs[1:3])
    assert "proportions sum to 1e+12: divided by it" in outputs[3]


def test_a_mixture_without_one_of_its_domains_is_not_fitted(answer):
    columns = {name: values for name, values in mixture(SHARES).items() if "wiki" not in name}
    code, error, _ = answer(columns)
    assert code == 2 and "so a domain is missing; add its column, or name" in error


def test_a_table_of_mixtures_with_sizes_gives_either_law(answer):
    sizes = {"params": N[:24], "tokens": D[:24], "val_loss": LOSS[:24]}
    code, output, _ = answer({**sizes, **mixture(SHARES)})
    assert code == 0 and "mixture_power: L" in output and "not used: params, tokens" in output
    named = ["--columns", "N=params", "D=tokens", "loss=val_loss"]
    code, output, values = answer({**sizes, **mixture(SHARES)}, *named)
    assert code == 0 and "chinchilla: L" in output
    assert_law(values)


def test_every_group_keeps_runs_enough_where_the_largest_budget_is_held_out(tmp_path):
    n, d = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
    one = pd.DataFrame({"params": n.ravel(), "tokens": d.ravel()})
    one["val_loss"] = 1.7 + 400 / one["params"] ** 0.34 + 400 / one["tokens"] ** 0.28
    table = pd.concat([one.assign(group=f"g{i}") for i in range(9)])
    table.to_csv(tmp_path / "t.csv", index=False)
    result = law_of_table(tmp_path / "t.csv", bootstrap=5)
    assert list(result.held.summary["n_held_out"]) == [3] * 9


def test_a_column_that_is_no_proportion_is_not_fitted_as_one(tmp_path):
    shares = np.random.default_rng(0).dirichlet(np.ones(3), 40)
    table = pd.DataFrame(shares, columns=["p_web", "p_code", "p_math"])
    table["p_dropout"] = np.arange(40) % 2 / 10
    for name, share in zip(("web", "code", "math"), shares.T, strict=True):
        table[f"loss_{name}"] = 3 - share**0.5
    table["loss"] = 3.0
    table.to_csv(tmp_path / "t.csv", index=False)
    result = law_of_table(tmp_path / "t.csv", bootstrap=5)
    assert result.fit.facts["domains"] == ["p_web", "p_code", "p_math"]
    assert sorted(result.fit.responses) == ["loss_code", "loss_math", "loss_web"]


@pytest.mark.parametrize("law", ["power_law", "growth", "broken_power_law", "logarithm"])
def test_a_law_of_one_size_says_how_another_column_becomes_it(answer, law):
    columns = {"width": np.geomspace(64, 4096, 30), "score": LOSS}
    code, printed, _ = answer(columns, "--law", law, "--response", "score")
    line = f"--law {law} --option variable=N --columns N=width --response score"
    assert code and line in printed


def test_a_law_in_compute_without_a_column_of_it_names_the_sizes_that_there_are(answer):
    code, printed, _ = answer({"params": N, "loss": LOSS}, "--law", "broken_power_law")
    assert code and "--option variable=N --columns N=params loss=loss" in printed


def test_losses_that_a_law_reads_are_not_the_one_that_it_is_fitted_to(tmp_path):
    columns = {"params": N, "tokens": D, "teacher_loss": 2.0, "student_loss": LOSS}
    path = tmp_path / "students.csv"
    pd.DataFrame({**columns, "val_loss": LOSS + 0.1}).to_csv(path, index=False)
    study_of_table(tmp_path / "study.yaml", path, law="distillation")
    mapped = yaml.safe_load((tmp_path / "study.yaml").read_text())["aggregate"]["students"]
    own = {name: name for name in ("teacher_loss", "student_loss")}
    assert mapped["columns"] == {"N": "params", "D": "tokens", "loss": "val_loss", **own}
