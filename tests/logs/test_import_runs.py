"""A folder of logs becomes a table of runs and the points along them."""

from __future__ import annotations

import json
import os
import time
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from torch.utils.tensorboard import SummaryWriter
from written_logs import events, lines, twenty_runs

from isoloss import __main__
from isoloss.core.problems import TableError
from isoloss.core.sources import Limits
from isoloss.formats import columnar
from isoloss.logs.read import import_runs, read_log

POINTS = [{"step": 5, "loss": 4.0}, {"step": 10, "loss": 3.5}]


@pytest.fixture
def logs(tmp_path):
    """The folder of logs of a test."""
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def imported(logs):
    """What is made of a folder of logs; its files say the same."""
    out = logs.parent / "out" / "runs.parquet"
    read = import_runs(logs, out)
    pd.testing.assert_frame_equal(pd.read_parquet(out), read.runs)
    pd.testing.assert_frame_equal(pd.read_parquet(out.with_suffix(".curves.parquet")), read.curves)
    return read


def by_run(read) -> dict[str, dict]:
    """The rows by run id, without what is missing."""
    rows = read.runs.to_dict("records")
    return {row.pop("run_id"): {k: v for k, v in row.items() if v == v} for row in rows}


# --- from the user's end -----------------------------------------------------------------------


def test_the_law_behind_twenty_runs_comes_out_of_their_logs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    twenty_runs(tmp_path / "logs")
    assert __main__.main(["import", "logs/", "--out", "runs.parquet"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == "20 runs: runs.parquet; 200 points along them beside it"
    assert shown.err == ""
    assert __main__.main(["law", "runs.parquet", "--bootstrap", "20"]) == 0
    assert "columns: N = model.n_params (guessed), D = tokens (guessed)" in capsys.readouterr().out
    params = pd.read_parquet("runs-law/params.parquet").set_index("term")["estimate"]
    expected = {"E": 1.7, "A": 400, "B": 400, "alpha": 0.34, "beta": 0.28}
    assert {term: params[term] for term in expected} == pytest.approx(expected, rel=1e-3)


def test_the_law_of_a_folder_of_logs_names_the_command_that_makes_a_table(tmp_path, capsys):
    twenty_runs(tmp_path / "logs")
    assert __main__.main(["law", str(tmp_path / "logs")]) == 2
    assert "or what `isoloss import` makes of logs" in capsys.readouterr().err


def test_the_points_along_runs_are_a_table_for_a_law(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    twenty_runs(tmp_path / "logs")
    __main__.main(["import", "logs", "--out", "runs.parquet"])
    assert __main__.main(["law", "runs.curves.parquet", "--bootstrap", "20"]) == 0
    output = capsys.readouterr().out
    assert "200 points of 20 runs" in output
    assert "D = n_samples (guessed)" in output and "of_run = run_id (guessed)" in output


def test_what_cannot_be_read_is_listed_and_the_others_are_read(logs, capsys):
    lines(logs / "a.jsonl", POINTS)
    (logs / "b.jsonl").write_text('{"step": 1, "loss": 3}\n{"step": 2, "lo\n{"step": 3}\n')
    (logs / "c.jsonl").write_bytes(b"")
    (logs / "d.jsonl").write_bytes(bytes(range(256)))
    (logs / "model.pt").write_bytes(b"weights")
    out = logs.parent / "runs.parquet"
    assert __main__.main(["import", str(logs), "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert "1 .pt" in shown.out and "1 runs: " in shown.out
    unread = shown.err.splitlines()
    assert len(unread) == 3
    assert all(line.startswith(f"not read: {logs}/") for line in unread)
    assert f"not read: {logs}/b.jsonl: line 2 is not JSON" in unread[0]
    assert f"not read: {logs}/c.jsonl: is empty" in unread[1]


def test_without_a_run_nothing_is_written(logs, capsys):
    (logs / "b.jsonl").write_text("")
    (logs / "c.csv").write_text("name,comment\na,b\n")
    out = logs.parent / "runs.parquet"
    assert __main__.main(["import", str(logs), "--out", str(out)]) == 2
    shown = capsys.readouterr()
    assert "b.jsonl: is empty" in shown.err and "has no run that can be read" in shown.err
    assert not out.exists() and not out.with_suffix(".curves.parquet").exists()


def test_a_folder_without_logs(logs, capsys):
    (logs / "weights.pt").write_bytes(b"12")
    assert __main__.main(["import", str(logs), "--out", str(logs.parent / "a.parquet")]) == 2
    assert "has no logs of runs; give a folder with JSON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("out", "reason"),
    [("logs/runs.parquet", "is in the folder of the logs"), ("a.csv", "NAME.parq")],
)
def test_where_the_table_may_not_go(logs, out, reason):
    lines(logs / "a.jsonl", POINTS)
    with pytest.raises(TableError, match=reason):
        import_runs(logs, logs.parent / out)
    assert [path.name for path in logs.iterdir()] == ["a.jsonl"]


def test_the_logs_are_not_changed(logs):
    twenty_runs(logs)
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in logs.rglob("*") if p.is_file()}
    imported(logs)
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in logs.rglob("*") if p.is_file()}
    assert after == before


def test_logs_beyond_the_limit_of_size_are_refused(logs):
    lines(logs / "a.jsonl", POINTS * 5000)
    with pytest.raises(TableError, match="max-mib of `law` and `import`"):
        import_runs(logs, logs.parent / "a.parquet", Limits(max_mib=0.1))


def test_parquet_files_are_read_together_and_a_damaged_one_is_listed(logs, monkeypatch):
    processes = []
    unpacked = columnar._unpacked
    monkeypatch.setattr(
        columnar, "_unpacked", lambda *given: [processes.append(1), unpacked(*given)][1]
    )
    for number in range(16):
        pd.DataFrame(POINTS).to_parquet(logs / f"{number:02d}.parquet")
    assert len(imported(logs).runs) == 16
    assert len(processes) == 1
    (logs / "05.parquet").write_bytes((logs / "05.parquet").read_bytes()[:-200])
    read = imported(logs)
    assert len(read.runs) == 15
    (problem,) = read.unread
    assert problem.place == f"{logs}/05.parquet"


# --- runs and their configurations -------------------------------------------------------------


def test_values_stay_as_they_are_written(logs):
    lines(logs / "a/log.jsonl", POINTS)
    values = {"on": True, "n": 3, "lr": 1e-3, "name": "x", "id": "007", "betas": [0.9, 0.95]}
    (logs / "a/config.json").write_text(
        json.dumps({**values, "none": None, "deep": {"n": {"m": 1}}})
    )
    runs = imported(logs).runs
    row = runs.iloc[0].to_dict()
    assert row == {
        **{"run_id": "a", "status": "unknown", "step": 10, "loss": 3.5},
        **{"on": True, "n": 3, "lr": 1e-3, "name": "x", "id": "007", "betas": "[0.9, 0.95]"},
        "deep.n.m": 1,
    }
    assert runs["on"].dtype == bool and runs["n"].dtype == "int64" and runs["lr"].dtype == float


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.yaml", "lr: 1e-3\nmodel: {width: 8}\n"),
        ("hparams.yaml", "lr: 0.001\nmodel:\n  width: 8\n"),
        ("args.json", '{"lr": 0.001, "model": {"width": 8}}'),
        (".hydra/config.yaml", "lr: 0.001\nmodel:\n  width: 8\n"),
        (
            "config.yaml",
            "wandb_version: 1\nlr: {desc: null, value: 0.001}\nmodel: {value: {width: 8}}",
        ),
    ],
)
def test_a_configuration_is_read_from_a_file_beside_the_log(logs, name, text):
    lines(logs / "a/metrics.jsonl", POINTS)
    path = logs / "a" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    row = by_run(imported(logs))["a"]
    assert (row["lr"], row["model.width"], row["loss"]) == (0.001, 8, 3.5)


def test_files_beside_each_other_are_runs_with_a_common_configuration(logs):
    for name, width in (("a", 8), ("b", 16)):
        lines(logs / f"{name}.jsonl", POINTS)
        (logs / f"{name}.json").write_text(json.dumps({"width": width}))
    (logs / "config.yaml").write_text("lr: 0.1\n")
    runs = by_run(imported(logs))
    assert {run: (row["width"], row["lr"]) for run, row in runs.items()} == {
        "a": (8, 0.1),
        "b": (16, 0.1),
    }


def test_a_configuration_that_cannot_be_read_is_listed(logs):
    lines(logs / "a/metrics.jsonl", POINTS)
    (logs / "a/hparams.yaml").write_text("model: !!python/object:torch.nn.Linear {}\n")
    read = imported(logs)
    assert by_run(read)["a"]["loss"] == 3.5
    (problem,) = read.unread
    assert "a/hparams.yaml: line 1" in problem.place and "is not allowed" in problem.found


def test_a_metric_and_a_setting_of_one_name_are_kept_apart(logs):
    lines(logs / "a/metrics.jsonl", [{"step": 1, "loss": 3.0, "status": 4, "lr": 0.1}])
    config = {"loss": "cross_entropy", "run_id": 7, "lr": 0.1}
    (logs / "a/config.json").write_text(json.dumps(config))
    read = imported(logs)
    row = by_run(read)["a"]
    assert (row["loss"], row["config.loss"]) == (3.0, "cross_entropy")
    assert (row["metric.status"], row["config.run_id"], row["lr"]) == (4, 7, 0.1)
    assert "config.lr" not in row
    assert read.notes == (
        "metrics and settings have one name: the settings are config.loss, config.run_id",
    )


def test_settings_that_differ_between_files_are_kept_apart(logs):
    lines(logs / "a/metrics.jsonl", POINTS)
    (logs / "a/args.json").write_text('{"lr": 0.1, "seed": 1}')
    (logs / "a/config.json").write_text('{"lr": 0.2, "seed": 1}')
    row = by_run(imported(logs))["a"]
    assert (row["lr"], row["config.lr"], row["seed"]) == (0.1, 0.2, 1)


def test_files_for_training_and_evaluation_are_one_run(logs):
    lines(logs / "a/train.jsonl", [{"step": s, "loss": 9.0 - s} for s in (1, 2, 3)])
    lines(logs / "a/eval.jsonl", [{"step": s, "loss": 9.5 - s} for s in (2, 3)])
    read = imported(logs)
    assert by_run(read)["a"] == {
        **{"status": "unknown", "step": 3, "train/loss": 6.0, "eval/loss": 6.5},
    }
    assert read.curves["step"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(read.curves["eval/loss"], [np.nan, 7.5, 6.5])
    assert read.notes == ("a: files differ (eval, train): each has its own loss",)


def test_results_beside_a_log_are_values_of_its_run(logs):
    lines(logs / "a/metrics.jsonl", POINTS)
    (logs / "a/results.json").write_text('{"test_loss": 3.25, "n_params": 1000}')
    read = imported(logs)
    row = by_run(read)["a"]
    assert (row["loss"], row["test_loss"], row["n_params"]) == (3.5, 3.25, 1000)
    assert read.curves["step"].tolist() == [5, 10]


def test_the_folder_itself_may_be_the_run(logs):
    lines(logs / "metrics.jsonl", POINTS)
    (logs / "config.yaml").write_text("width: 8")
    assert by_run(imported(logs))["logs"]["width"] == 8
    log = read_log(logs)
    assert (log.final["loss"], log.config) == (3.5, {"width": 8})
    lines(logs / "b.jsonl", POINTS)
    with pytest.raises(TableError, match=r"has 2 runs \(b, logs\)"):
        read_log(logs)


def test_words_that_are_usual_for_files_may_name_the_folders_of_runs(logs):
    for run in ("all", "final", "data"):
        lines(logs / run / "metrics.jsonl", POINTS)
    assert list(by_run(imported(logs))) == ["all", "data", "final"]


def test_the_working_directory_may_be_the_run(logs, monkeypatch):
    lines(logs / "metrics.jsonl", POINTS)
    monkeypatch.chdir(logs)
    assert import_runs(".").runs["run_id"].tolist() == ["logs"]
    assert import_runs("metrics.jsonl").runs["run_id"].tolist() == ["metrics"]


def test_of_the_folder_of_a_run_what_cannot_be_read_is_noted(logs):
    (logs / "config.yaml").write_text("{")
    with pytest.raises(TableError, match=r"(?s)config.yaml: line 2.*has no run that can be read"):
        read_log(logs)
    lines(logs / "metrics.jsonl", POINTS)
    (note,) = read_log(logs).notes
    assert note.startswith(f"not read: {logs}/config.yaml: line 2")


# --- programs that train -----------------------------------------------------------------------


def trainer(folder, step, most=20, **more):
    """The state of a Hugging Face Trainer at a step."""
    history = [
        {"epoch": 0.1 * s, "eval_loss": 9 - 0.1 * s, "step": s} for s in range(10, step + 1, 10)
    ]
    state = {
        "global_step": step,
        "max_steps": most,
        "log_history": history,
        "total_flos": 1e12 * step,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trainer_state.json").write_text(json.dumps({**state, **more}, indent=2))


def test_of_a_trainer_with_checkpoints_the_newest_state_counts(logs):
    run = logs / "gpt" / "lr-1"
    for step in (10, 20, 100):
        trainer(run / f"checkpoint-{step}", step, 200)
    (run / "checkpoint-100/config.json").write_text('{"hidden_size": 64}')
    (run / "checkpoint-100/tokenizer_config.json").write_text('{"model_max_length": 1024}')
    (run / "checkpoint-100/tokenizer.json").write_text('{"version": "1.0", "n": 3}')
    (run / "all_results.json").write_text('{"eval_loss": 0.5}')
    events(run / "runs" / "Nov26_10-00-00_host", [(10, "eval/loss", 8.0)])
    trainer(logs / "gpt" / "lr-2", 20)
    read = imported(logs)
    runs = by_run(read)
    assert list(runs) == ["gpt/lr-1", "gpt/lr-2"]
    assert runs["gpt/lr-1"]["status"] == "unfinished" and runs["gpt/lr-2"]["status"] == "finished"
    assert runs["gpt/lr-1"]["eval_loss"] == pytest.approx(-1)
    assert runs["gpt/lr-1"]["hidden_size"] == 64 and runs["gpt/lr-1"]["total_flos"] == 1e14
    assert read.notes[-1].startswith("status: 1 finished, 1 unfinished; ")
    assert (
        "gpt/lr-1: event files beside trainer_state.json say the same, and are left out"
        in read.notes
    )
    assert not read.unread


def test_runs_in_folders_below_a_trainer_are_runs(logs):
    trainer(logs, 20)
    lines(logs / "runs/b/metrics.jsonl", POINTS)
    assert list(by_run(imported(logs))) == ["logs", "runs/b"]


def test_a_checkpoint_that_is_damaged_leaves_the_one_before(logs):
    trainer(logs / "a/checkpoint-10", 10)
    trainer(logs / "a/checkpoint-20", 20)
    whole = (logs / "a/checkpoint-20/trainer_state.json").read_text()
    (logs / "a/checkpoint-20/trainer_state.json").write_text(whole[:100])
    read = imported(logs)
    assert by_run(read)["a"]["global_step"] == 10
    assert "checkpoint-20/trainer_state.json" in read.unread[0].place


def test_event_files_of_pytorch_with_hyperparameters(logs):
    for run, lr in (("a", 0.1), ("b", 0.2)):
        with SummaryWriter(str(logs / run)) as writer:
            for step in (1, 2):
                writer.add_scalar("val/loss", 4.0 - step, step)
            writer.add_hparams({"lr": lr, "opt": "adam", "width": 8}, {"hparam/loss": 2.0})
    read = imported(logs)
    assert by_run(read)["b"] == {
        **{"status": "finished", "global_step": 2, "val/loss": 2.0, "hparam/loss": 2.0},
        **{"lr": 0.2, "opt": "adam", "width": 8},
    }
    assert not read.unread


def test_event_files_in_folders_for_training_and_validation_are_one_run(logs):
    events(logs / "a/train", [(0, "epoch_loss", 4.0), (1, "epoch_loss", 3.0)])
    events(logs / "a/validation", [(0, "epoch_loss", 4.5), (1, "epoch_loss", 3.5)])
    row = by_run(imported(logs))["a"]
    assert (row["train/epoch_loss"], row["validation/epoch_loss"]) == (3.0, 3.5)


def test_event_files_of_a_resumed_run_go_on_from_each_other(logs):
    first = events(logs / "a", [(1, "loss", 5.0), (2, "loss", 4.0), (3, "loss", 3.0)])
    first.rename(first.with_name("events.out.tfevents.1700000000.host.1.0"))
    second = events(logs / "b", [(3, "loss", 3.5), (4, "loss", 2.5)])
    second.rename(logs / "a" / "events.out.tfevents.1700009999.host.1.0")
    read = imported(logs)
    assert read.curves["loss"].tolist() == [5.0, 4.0, 3.5, 2.5]
    assert by_run(read)["a"]["loss"] == 2.5
    assert read.notes == ("a: 1 steps appear in two files: those of the later are kept",)


def test_of_a_resumed_run_that_came_less_far_the_last_step_counts(logs):
    first = events(logs / "a", [(1, "loss", 5.0), (2, "loss", 4.0), (3, "loss", 3.0)])
    first.rename(first.with_name("events.out.tfevents.1700000000.host.1.0"))
    second = events(logs / "b", [(2, "loss", 4.5)])
    second.rename(logs / "a" / "events.out.tfevents.1700009999.host.1.0")
    read = imported(logs)
    assert read.curves["loss"].tolist() == [5.0, 4.5, 3.0]
    row = by_run(read)["a"]
    assert (row["global_step"], row["loss"]) == (3, 3.0)


def test_one_run_in_two_forms_is_read_once(logs):
    run = logs / "lightning_logs/version_0"
    run.mkdir(parents=True)
    (run / "metrics.csv").write_text(
        "epoch,step,train_loss,val_loss\n0,9,4.1,\n0,9,,4.3\n1,19,3.2,\n"
    )
    (run / "hparams.yaml").write_text("lr: 0.1\n")
    events(run, [(9, "train_loss", 4.1), (9, "val_loss", 4.3), (19, "train_loss", 3.2)])
    read = imported(logs)
    assert by_run(read)["lightning_logs/version_0"] == {
        **{"status": "unknown", "epoch": 1, "step": 19, "train_loss": 3.2, "val_loss": 4.3},
        **{"global_step": 19, "lr": 0.1},
    }
    assert read.curves["step"].tolist() == [9, 19]
    assert read.notes == ()


def test_the_folder_of_wandb_on_this_machine(logs):
    files = logs / "wandb/run-20261126_100000-ab12/files"
    files.mkdir(parents=True)
    (files / "wandb-summary.json").write_text('{"loss": 3.5, "_step": 9, "_wandb": {"runtime": 5}}')
    (files / "wandb-metadata.json").write_text('{"cpu_count": 4, "args": ["--lr"]}')
    (files / "config.yaml").write_text("lr:\n  desc: null\n  value: 0.1\n")
    (logs / "wandb/latest-run").symlink_to("run-20261126_100000-ab12")
    runs = by_run(imported(logs))
    assert list(runs) == ["wandb/run-20261126_100000-ab12"]
    assert {k: v for (row,) in [runs.values()] for k, v in row.items()} == {
        **{"status": "unknown", "loss": 3.5, "_step": 9, "_wandb.runtime": 5, "lr": 0.1},
    }


def test_results_without_a_log_are_runs(logs):
    (logs / "a").mkdir()
    (logs / "a/train_results.json").write_text('{"epoch": 1.0, "train_loss": 3}')
    (logs / "a/eval_results.json").write_text('{"epoch": 1.0, "eval_loss": 3.5}')
    row = by_run(imported(logs))["a"]
    assert (row["train_loss"], row["eval_loss"]) == (3, 3.5)


def test_a_name_in_the_results_of_a_run_is_a_value(logs):
    for run in ("a", "b"):
        (logs / run).mkdir()
        (logs / run / "results.json").write_text('{"name": "x", "val_loss": 3.5}')
    runs = by_run(imported(logs))
    assert {run: (row["name"], row["val_loss"]) for run, row in runs.items()} == {
        **{"a": ("x", 3.5), "b": ("x", 3.5)},
    }


def test_files_of_json_that_are_not_logs_are_listed(logs):
    lines(logs / "a.jsonl", POINTS)
    (logs / "notes.ipynb").write_text('{"cells": [], "nbformat": 4}')
    (logs / "package.json").write_text('{"name": "x", "version": "1.0"}')
    read = imported(logs)
    assert list(by_run(read)) == ["a"]
    assert [p.place.rpartition("/")[2] for p in read.unread] == ["package.json", "notes.ipynb"]


def test_a_log_of_keras_is_known_by_its_first_lines(logs):
    (logs / "a").mkdir()
    (logs / "a/training.log").write_text("epoch,loss,val_loss\n0,3.5,3.6\n1,3.1,3.3\n")
    (logs / "a/console.log").write_text("epoch 1, loss 3.5\nepoch 2, loss 3.1\n")
    read = imported(logs)
    assert by_run(read)["a"]["val_loss"] == 3.3
    assert read.notes == ("files that are not logs by name and first bytes: 1 .log",)


# --- exports -----------------------------------------------------------------------------------

WANDB = pd.DataFrame(
    {
        "Name": ["sweet-sun-1", "calm-sea-2", "calm-sea-2"],
        "State": ["finished", "crashed", "finished"],
        "Runtime": [100, 20, 90],
        "n_params": [1000, 2000, 4000],
        "optim.name": ["adam", "adam", "sgd"],
        "val_loss": [3.5, np.nan, 3.25],
        "_step": [99, 10, 99],
    }
)


def check_wandb(read) -> None:
    runs = by_run(read)
    assert list(runs) == ["calm-sea-2", "calm-sea-2-2", "sweet-sun-1"]
    assert [row["status"] for row in runs.values()] == ["crashed", "finished", "finished"]
    assert runs["sweet-sun-1"]["n_params"] == 1000 and runs["sweet-sun-1"]["val_loss"] == 3.5
    assert "val_loss" not in runs["calm-sea-2"]
    assert runs["calm-sea-2-2"]["optim.name"] == "sgd"
    assert read.notes[-1].startswith("status: 1 crashed, 2 finished; ")


def test_a_table_of_runs_that_wandb_exports(logs):
    WANDB.to_csv(logs / "wandb_export_2026-11-26.csv", index=False)
    check_wandb(imported(logs))


def test_a_parquet_table_of_runs_that_wandb_exports(logs):
    WANDB.to_parquet(logs / "runs.parquet")
    check_wandb(imported(logs))


def test_runs_as_the_api_of_wandb_gives_them(logs):
    table = pd.DataFrame(
        {
            "summary": [{"val_loss": 3.5, "_step": 9}, {"val_loss": float("nan"), "_step": 4}],
            "config": [{"lr": 0.1, "model": {"n": 8}}, {"lr": 0.2, "model": {"n": 16}}],
            "name": ["a", "b"],
        }
    )
    table.to_csv(logs / "project.csv")
    runs = by_run(imported(logs))
    assert {k: runs["a"][k] for k in ("val_loss", "lr", "model.n")} == {
        **{"val_loss": 3.5, "lr": 0.1, "model.n": 8},
    }
    assert "val_loss" not in runs["b"] and runs["b"]["model.n"] == 16


def test_a_chart_that_wandb_exports_has_points_along_runs(logs):
    chart = pd.DataFrame({"Step": [0, 10, 20]})
    for run, values in (("run - a", [5.0, 4.0, 3.0]), ("b", [5.5, np.nan, 3.5])):
        chart[f"{run} - _step"] = chart["Step"]
        chart[f"{run} - _step__MIN"] = chart[f"{run} - _step__MAX"] = chart["Step"]
        chart[f"{run} - val/loss"] = values
        chart[f"{run} - val/loss__MIN"] = chart[f"{run} - val/loss__MAX"] = values
    chart.to_csv(logs / "wandb_export.csv", index=False)
    pd.DataFrame({"Name": ["run - a", "b"], "State": "finished", "width": [8, 16]}).to_csv(
        logs / "runs.csv", index=False
    )
    read = imported(logs)
    assert by_run(read)["run - a"]["val/loss"] == 3.0 and by_run(read)["b"]["width"] == 16
    points = read.curves[read.curves["run_id"] == "b"]
    assert points[["step", "val/loss", "width"]].to_numpy().tolist() == [
        [0, 5.5, 16],
        [20, 3.5, 16],
    ]


MLFLOW = pd.DataFrame(
    {
        "run_id": ["0f3a", "9b1c"],
        "experiment_id": ["0", "0"],
        "status": ["FINISHED", "FAILED"],
        "start_time": pd.to_datetime(["2026-11-01 10:00", "2026-11-01 11:00"], utc=True),
        "metrics.val_loss": [3.5, 3.25],
        "params.lr": ["0.1", "0.2"],
        "params.loss": ["mse", "mse"],
        "tags.mlflow.user": ["u", "u"],
        "tags.team": ["x", "y"],
    }
)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_of_runs_that_mlflow_exports(logs, form):
    if form == "csv":
        MLFLOW.to_csv(logs / "mlflow.csv", index=False)
    else:
        MLFLOW.to_parquet(logs / "mlflow.parquet")
    runs = by_run(imported(logs))
    assert [row["status"] for row in runs.values()] == ["finished", "failed"]
    row = runs["0f3a"]
    assert (row["val_loss"], float(row["lr"]), row["loss"]) == (3.5, 0.1, "mse")
    assert row["tags.team"] == "x" and "tags.mlflow.user" not in row


def store(folder, status=3, stage="active"):
    """A run of an MLflow file store."""
    for part in ("metrics/val", "params", "tags", "artifacts"):
        (folder / part).mkdir(parents=True)
    experiment = folder.parent / "meta.yaml"
    experiment.write_text(
        "artifact_location: file:///mlruns/0\ncreation_time: 1700000000000\nexperiment_id: '0'\n"
        "last_update_time: 1700000000000\nlifecycle_stage: active\nname: sweep\n"
    )
    (folder / "meta.yaml").write_text(
        f"artifact_uri: file:///mlruns/0/a\nend_time: 1700000009000\nentry_point_name: ''\n"
        f"experiment_id: '0'\nlifecycle_stage: {stage}\nrun_id: {folder.name}\n"
        f"run_name: calm-owl-1\nsource_type: 4\nstart_time: 1700000000000\nstatus: {status}\n"
        f"tags: []\nuser_id: u\n"
    )
    (folder / "metrics/loss").write_text("1700000000001 5.5 0\n1700000000002 4.5 10\n")
    (folder / "metrics/val/loss").write_text("1700000000002 4.75 10\n")
    (folder / "params/lr").write_text("0.1")
    (folder / "params/width").write_text("8")
    (folder / "params/bias").write_text("True")
    (folder / "tags/mlflow.user").write_text("u")
    (folder / "artifacts/table.csv").write_text("step,loss\n1,2\n")


def test_a_file_store_of_mlflow(logs):
    store(logs / "0/9b1c")
    store(logs / "0/0f3a", status=5)
    store(logs / "0/77aa", stage="deleted")
    read = imported(logs)
    runs = by_run(read)
    assert [row["status"] for row in runs.values()] == ["killed", "deleted", "finished"]
    assert runs["0/9b1c"] == {
        **{"status": "finished", "loss": 4.5, "val/loss": 4.75, "global_step": 10},
        **{"lr": 0.1, "width": 8, "bias": True, "run_name": "calm-owl-1", "experiment": "sweep"},
    }
    assert len(read.curves) == 6 and not read.unread


def test_a_damaged_metric_of_a_store_is_named(logs):
    store(logs / "0/9b1c")
    store(logs / "0/0f3a")
    (logs / "0/0f3a/metrics/val/loss").write_text("1700000000001 5.5 0\n17000000\n")
    read = imported(logs)
    assert list(by_run(read)) == ["0/9b1c"]
    (problem,) = read.unread
    assert problem.place.endswith("0/0f3a/metrics/val/loss")
    assert problem.found == "line 2 is '17000000', not `timestamp value step`"


def test_a_log_with_times_decimals_and_columns_of_our_names(logs):
    table = pd.DataFrame(
        {
            "step": [1, 2],
            "time": pd.to_datetime(["2026-11-26 10:00", "2026-11-26 11:00"]),
            "loss": [Decimal("3.5"), Decimal("3.25")],
            "run_id": [7, 7],
            "tokens": [64, 128],
            "n_samples": [1, 2],
        }
    )
    for name in ("train", "eval"):
        table.to_parquet(logs / f"{name}.parquet")
    read = imported(logs)
    row = by_run(read)["logs"]
    assert (row["loss"], row["time"], row["metric.run_id"]) == (3.25, "2026-11-26 11:00:00", 7)
    assert read.curves["n_samples"].tolist() == [64, 128]
    assert read.curves["n_samples_given"].tolist() == [1, 2]


def test_points_of_many_runs_in_one_table(logs):
    rows = [(run, s, 5.0 - s) for run in ("a", "b") for s in (1, 2)]
    pd.DataFrame(rows, columns=["run_id", "step", "val_loss"]).to_csv(logs / "x.csv", index=False)
    read = imported(logs)
    assert list(by_run(read)) == ["a", "b"] and len(read.curves) == 4


def test_a_table_with_a_row_a_value(logs):
    rows = [
        (run, tag, step, 10.0 * step + len(tag))
        for run in ("a", "b")
        for tag in ("loss", "val_loss")
        for step in (1, 2)
    ]
    table = pd.DataFrame(rows, columns=["run", "tag", "step", "value"])
    table.to_csv(logs / "scalars.csv", index=False)
    table[table["run"] == "a"].drop(columns="run").to_csv(logs / "c.csv", index=False)
    read = imported(logs)
    assert by_run(read) == {
        run: {"status": "unknown", "loss": 24.0, "step": 2, "val_loss": 28.0}
        for run in ("a", "b", "c")
    }
    assert read.curves["loss"].tolist() == [14.0, 24.0] * 3


def test_a_field_that_names_the_logger_is_not_a_run(logs):
    for run in ("a", "b"):
        lines(logs / run / "log.jsonl", [{"name": "root", **point} for point in POINTS])
    assert list(by_run(imported(logs))) == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "n_params,tokens,loss\n100,1000,3.5\n200,1000,3.25\n",
        '{"n_params": 100, "loss": 3.5}\n{"n_params": 200, "loss": 3.25}\n',
    ],
)
def test_a_table_of_runs_without_names_is_refused_with_advice(logs, text):
    (logs / "runs.csv").write_text(text)
    with pytest.raises(TableError, match="or give it to `python -m isoloss law` itself"):
        imported(logs)


# --- folders -----------------------------------------------------------------------------------


def test_links_are_followed_once(logs):
    lines(logs / "z-run/metrics.jsonl", POINTS)
    (logs / "latest").symlink_to(logs / "z-run")
    (logs / "z-run/loop").symlink_to(logs)
    (logs / "broken").symlink_to(logs / "nowhere")
    elsewhere = logs.parent / "elsewhere"
    lines(elsewhere / "metrics.jsonl", POINTS)
    (logs / "linked").symlink_to(elsewhere)
    assert list(by_run(imported(logs))) == ["linked", "z-run"]


def test_names_that_are_not_utf_8_get_escapes(logs):
    lines(logs / os.fsdecode(b"run\xff") / "metrics.jsonl", [{"step": 1, "loss": 3}])
    (logs / "b.jsonl").write_text('{"step": 1, "lo\\ud800ss": 3, "text": "\\ud800"}\n')
    runs = by_run(imported(logs))
    assert list(runs) == ["b", "run\\udcff"]
    assert runs["b"]["lo\\ud800ss"] == 3 and runs["b"]["text"] == "\\ud800"


def test_hard_links_of_one_configuration_count_for_every_run(logs):
    for run in ("a", "b"):
        lines(logs / run / "metrics.jsonl", POINTS)
    (logs / "a/config.json").write_text('{"width": 8}')
    os.link(logs / "a/config.json", logs / "b/config.json")
    assert [row["width"] for row in by_run(imported(logs)).values()] == [8, 8]


def test_files_and_folders_that_may_not_be_read_are_listed(logs, monkeypatch):
    lines(logs / "a.jsonl", POINTS)
    lines(logs / "b.jsonl", POINTS)
    lines(logs / "closed/c.jsonl", POINTS)
    (logs / "b.jsonl").chmod(0)
    (logs / "closed").chmod(0)
    if os.geteuid() == 0:
        refuse_like_permissions(monkeypatch)
    try:
        read = imported(logs)
    finally:
        (logs / "closed").chmod(0o700)
    assert list(by_run(read)) == ["a"]
    assert sorted(problem.place for problem in read.unread) == [
        f"{logs}/b.jsonl",
        f"{logs}/closed/",
    ]
    assert all("Permission denied" in problem.found for problem in read.unread)


def refuse_like_permissions(monkeypatch) -> None:
    """The superuser reads everything: files of mode 0 are refused as they are to others."""
    real_open, real_scandir = os.open, os.scandir

    def check(path) -> None:
        if os.stat(path).st_mode & 0o777 == 0:
            raise PermissionError(13, "Permission denied", str(path))

    def careful_open(path, *arguments, **options):
        if os.path.exists(path):
            check(path)
        return real_open(path, *arguments, **options)

    def careful_scandir(path):
        check(path)
        return real_scandir(path)

    monkeypatch.setattr(os, "open", careful_open)
    monkeypatch.setattr(os, "scandir", careful_scandir)


def test_a_thousand_runs_take_seconds(logs):
    points = [{"step": s, "tokens": 64 * s, "loss": 5 - s / 100} for s in range(20)]
    for number in range(1000):
        lines(logs / f"run-{number:04d}" / "metrics.jsonl", points)
        (logs / f"run-{number:04d}" / "config.json").write_text(json.dumps({"seed": number}))
    before = time.process_time()
    read = imported(logs)
    assert time.process_time() - before < 20  # 1 second on an idle machine
    assert len(read.runs) == 1000 and len(read.curves) == 20_000
    assert read.runs["seed"].tolist() == list(range(1000))


def test_a_text_among_numbers_is_missing_and_named(logs, capsys):
    for name, last in (("a", 3.5), ("b", "1,234.5"), ("c", 3.0)):
        rows = [{"step": 1, "val_loss": 4.0, "by": "me"}, {"step": 2, "val_loss": last}]
        lines(logs / name / "metrics.jsonl", rows)
    read = imported(logs)
    assert read.runs["val_loss"].dtype == float
    np.testing.assert_array_equal(read.runs["val_loss"], [3.5, np.nan, 3.0])
    assert read.runs["by"].tolist() == ["me"] * 3
    assert __main__.main(["import", str(logs), "--out", str(logs.parent / "runs.parquet")]) == 0
    place = f"{logs}/b/metrics.jsonl, line 2"
    assert f"{place}: 'val_loss' is '1,234.5', not a number" in capsys.readouterr().err


def test_a_text_between_numbers_is_named(logs):
    lines(logs / "metrics.jsonl", [{"step": s, "loss": v} for s, v in ((1, 4), (2, "?"), (3, 2))])
    read = imported(logs)
    assert read.runs["loss"].tolist() == [2]
    assert [one.found for one in read.unread] == ["'loss' is '?', not a number"]
