"""`isoloss init` writes a study that is sound, with what a quick fit guesses."""

from __future__ import annotations

import doctest
import os

import numpy as np
import pandas as pd
import pytest
import yaml

from isoloss.__main__ import main
from isoloss.core import schema, tables
from isoloss.core.problems import IsolossError
from isoloss.quickfit import init
from isoloss.study import check


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with tables of runs of two groups, of mixtures, and of neither."""
    n, d, group = np.meshgrid(np.geomspace(1e7, 1e9, 4), np.geomspace(1e9, 1e11, 4), [0, 1])
    frame = pd.DataFrame({"params": n.ravel(), "tokens": d.ravel()})
    frame["optimizer"] = np.where(group.ravel(), "muon", "adamw")
    frame["val_loss"] = 1.7 + 400 / frame["params"] ** 0.34 + 410 / frame["tokens"] ** 0.28
    frame.to_csv(tmp_path / "My runs.csv", index=False)
    p = np.random.default_rng(0).dirichlet([1, 1, 1], 24)
    mixtures = pd.DataFrame(p, columns=["p_a", "p_b", "p_c"]).assign(loss_a=2 + p[:, 0])
    mixtures.to_csv(tmp_path / "mix.csv", index=False)
    pd.DataFrame({"x": [1, 2], "y": [3, 4]}).to_csv(tmp_path / "odd.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_hold():
    assert doctest.testmod(init).failed == 0


def test_a_study_of_a_table_has_the_columns_that_are_guessed(folder, capsys):
    assert main(["init", "My runs.csv", "--out", "study.yaml"]) == 0
    assert "nothing wrong; run it: isoloss run study.yaml" in capsys.readouterr().out
    study = schema.read("study.yaml")
    assert study["study"] == "my-runs"
    (table,) = study["aggregate"].values()
    columns = {"N": "params", "D": "tokens", "loss": "val_loss", "group": "optimizer"}
    assert table == {"table": "My runs.csv", "columns": columns}
    assert set(study["fit"]) == {"chinchilla", "chinchilla_held_out"}
    assert study["fit"]["chinchilla_held_out"]["holdout"]["rule"] == "largest_compute"
    assert study["plot"]["predicted_observed"]["fits"] == list(study["fit"])
    assert {"isoloss", "compute_gain"} <= set(study["plot"])
    assert [float(one) for one in study["summary"]["budgets"]] == [6e20, 6e21, 6e22]
    text = (folder / "study.yaml").read_text(encoding="utf-8")
    address = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert os.path.samefile(address, tables.schemas() / "config.schema.yaml")
    assert main(["check", "study.yaml"]) == 0


def test_what_is_given_goes_before_what_is_guessed(folder):
    words = ["--columns", "N=tokens", "D=params", "group=", "--law", "power_law", "My runs.csv"]
    assert main(["init", "--out", "study.yaml", *words]) == 0
    study = schema.read("study.yaml")
    (table,) = study["aggregate"].values()
    assert table["columns"] == {"N": "tokens", "D": "params", "loss": "val_loss"}
    assert study["fit"]["power_law"]["options"] == {"variable": "D", "offset": True}
    assert "scaling_curve" in study["plot"]


@pytest.mark.parametrize("law", ["kaplan", "m4", "envelope", "isoflop_parabolas"])
def test_a_study_by_a_law_of_any_kind_is_sound(folder, law):
    assert main(["init", "--out", "study.yaml", "--law", law, "My runs.csv"]) == 0
    assert law in schema.read("study.yaml")["fit"]


def of_one_run_each() -> pd.DataFrame:
    """Runs with an accuracy, and runs of a mixture and sizes, in one table."""
    p = np.random.default_rng(0).dirichlet([2, 2], 16)
    table = pd.DataFrame(
        {"params": np.geomspace(1e7, 1e9, 16), "tokens": np.geomspace(1e9, 9e9, 16)}
    )
    table = table.assign(p_web=p[:, 0], p_code=p[:, 1])
    table["loss"] = 2 + 400 / table["params"] ** 0.34 + 0.1 * p[:, 0]
    return table.assign(mmlu_acc=1 / (1 + np.exp(table["loss"] - 2.5)))


@pytest.mark.parametrize(
    ("words", "fit", "columns"),
    [
        (["downstream_accuracy"], {"response": "mmlu_acc"}, {"loss": "loss"}),
        (
            ["downstream_accuracy", "--columns", "N=", "D="],
            {"response": "mmlu_acc"},
            {"loss": "loss", "mmlu_acc": "mmlu_acc"},
        ),
        (["power_law", "--response", "mmlu_acc"], {"options": {"variable": "N", "offset": True}},
         {"N": "params", "D": "tokens", "mmlu_acc": "mmlu_acc"}),
        (["mixture_scaling"], {"options": {"domains": ["p_web", "p_code"], "form": "additive"}},
         {"p_web": "p_web"}),
        (["mixture_scaling", "--option", "form=joint", "--columns", "N=tokens", "D=params"],
         {"options": {"domains": ["p_web", "p_code"], "form": "joint"}}, {"N": "tokens"}),
    ],
)  # fmt: skip
def test_a_study_has_what_a_card_needs_beside_the_loss(folder, words, fit, columns):
    of_one_run_each().to_csv("cards.csv", index=False)
    assert main(["init", "cards.csv", "--out", "study.yaml", "--law", *words]) == 0
    study = schema.read("study.yaml")
    assert fit.items() <= study["fit"][words[0]].items()
    assert columns.items() <= study["aggregate"]["cards"]["columns"].items()


@pytest.mark.parametrize(("law", "name"), [("joint_moe", "experts"), ("data_constrained", "U")])
def test_a_study_whose_law_reads_a_column_that_the_table_lacks_is_refused(folder, law, name):
    assert main(["init", "My runs.csv", "--out", "study.yaml"]) == 0
    study = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    fits = {"one": {"card": law, "sweep": "my-runs"}}
    with pytest.raises(IsolossError, match=f"variable {name}: no .*{{{name}: COLUMN}}"):
        check.check({key: study[key] for key in ("study", "aggregate")} | {"fit": fits})


def test_options_of_a_card_are_written_with_what_they_are(folder):
    words = ["My runs.csv", "--law", "broken_power_law", "--option", "breaks=2"]
    assert main(["init", *words, "--out", "study.yaml"]) == 0
    (line,) = [
        one for one in (folder / "study.yaml").read_text().splitlines() if "# how many" in one
    ]
    assert line.strip().startswith("breaks: 2 ")


def test_a_study_of_mixtures_fits_a_law_of_mixtures(folder):
    assert main(["init", "mix.csv", "--out", "study.yaml"]) == 0
    study = schema.read("study.yaml")
    assert study["fit"]["mixture_power"]["holdout"] == {"rule": "random", "repeats": 10}
    assert set(study["plot"]) == {"mixture_response", "predicted_observed"}


@pytest.mark.parametrize(
    ("words", "dataset", "model"),
    [
        ([], "python_stdlib", "transformer"),
        (["--dataset", "markov_chain", "--option", "letters=8"], "markov_chain", "transformer"),
    ],
)
def test_a_study_of_a_sweep_is_sound_and_small(folder, words, dataset, model):
    assert main(["init", "--sweep", "--out", "sweep.yaml", *words]) == 0
    study = schema.read("sweep.yaml")
    assert study["load"][dataset]["card"] == dataset
    assert study["load"][dataset].get("options") == ({"letters": 8} if words else None)
    assert study["train"]["sizes"]["model"] == model
    assert {fit["holdout"] for fit in study["fit"].values()} == {"largest_compute"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sweep", "--out", "mix.csv"], "--out mix.csv: the file is there; name another file"),
        (["--sweep", "--out", "no/a.yaml"], "--out no/a.yaml: its folder is not there"),
        (["--out", "a.yaml"], "found neither a table nor --sweep; give a TABLE, or --sweep"),
        (["mix.csv", "--sweep", "--out", "a.yaml"], "found a table and --sweep"),
        (
            ["--sweep", "--law", "m4", "--out", "a.yaml"],
            "--law and --sweep: --law is about a table",
        ),
        (["mix.csv", "--dataset", "csv", "--out", "a.yaml"], "--dataset is about a sweep"),
        (["--sweep", "--dataset", "jsnl", "--out", "a.yaml"], "did you mean 'jsonl'?"),
        (["--sweep", "--dataset", "jsonl", "--out", "a.yaml"], "load.jsonl: files: names no file"),
        (["odd.csv", "--out", "a.yaml"], "no column looks like a loss"),
        (["My runs.csv", "--law", "m4", "--option", "x=1", "--out", "a.yaml"], "m4.x: unknown key"),
        (["My runs.csv", "--law", "joint_moe", "--out", "a.yaml"], "--columns experts=COLUMN"),
        (["My runs.csv", "--law", "mixture_scaling", "--out", "a.yaml"], "--option domains="),
        (["My runs.csv", "--law", "data_constrained", "--out", "a.yaml"], "--columns U=COLUMN"),
        (["My runs.csv", "--option", "x=1", "--out", "a.yaml"], "name the card: --law CARD"),
        (["My runs.csv", "--law", "downstream_error", "--out", "a.yaml"], "--response COLUMN"),
        (["mix.csv", "--law", "kaplam", "--out", "a.yaml"], "did you mean 'kaplan'?"),
        (["My runs.csv", "--columns", "V=params", "--out", "a.yaml"], "is not a known quantity"),
    ],
)
def test_what_cannot_be_written_is_told_and_nothing_is_left(folder, capsys, words, message):
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert main(["init", *words]) == 2
    output, errors = capsys.readouterr()
    assert output == "" and message in errors and "Traceback" not in errors
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_odd_names_of_files_and_columns_are_data_in_the_study(folder):
    frame = pd.read_csv("My runs.csv").drop(columns="optimizer")
    frame.columns = ["a: {N}", "# D", "no"]
    frame.to_csv(folder / "'x': [1].csv", index=False)
    columns = ["--columns", "N=a: {N}", "D=# D", "loss=no"]
    assert main(["init", "'x': [1].csv", *columns, "--out", "study.yaml"]) == 0
    study = yaml.safe_load((folder / "study.yaml").read_text(encoding="utf-8"))
    (table,) = study["aggregate"].values()
    assert table["table"] == "'x': [1].csv"
    assert table["columns"] == {"N": "a: {N}", "D": "# D", "loss": "no"}


def test_a_table_with_one_size_is_sent_to_the_quick_fit(tmp_path):
    table = pd.DataFrame({"flops": np.geomspace(1e18, 1e21, 9)})
    table["loss"] = 1.7 + 4000 * table["flops"] ** -0.18
    table.to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(IsolossError, match="needs two of N, D and C, and the table has C alone"):
        init.study_of_table(tmp_path / "study.yaml", tmp_path / "c.csv")
    assert not (tmp_path / "study.yaml").exists()


def test_a_typed_law_with_the_columns_own_names_has_no_figure_of_gains(tmp_path):
    n = np.tile(np.geomspace(1e7, 1e10, 8), 2)
    runs = pd.DataFrame(
        {"group": np.repeat(["a", "b"], 8), "params": n, "loss": 1.7 + 400 / n**0.3}
    )
    runs.to_csv(tmp_path / "runs.csv", index=False)
    out = tmp_path / "study.yaml"
    words = ["--formula", "loss = E + A / params**alpha", "--out", str(out)]
    assert main(["init", str(tmp_path / "runs.csv"), *words]) == 0
    assert "compute_gain" not in out.read_text()
