"""A study names a folder of logs as a table of runs."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from written_logs import lines, twenty_runs

from isoloss.aggregate.job import run_table
from isoloss.core.problems import StudyError
from isoloss.logs.read import import_runs
from isoloss.study import check
from isoloss.study.flow import Flow

COLUMNS = {"N": "model.n_params", "D": "tokens", "loss": "val_loss", "run_id": "run_id"}


@pytest.fixture
def logs(tmp_path):
    """The folder of twenty runs of a law."""
    folder = tmp_path / "logs"
    twenty_runs(folder)
    return folder


def study(table, **more) -> dict:
    section = {"table": table, "format": "logs", "columns": COLUMNS, **more}
    return {"study": "own", "aggregate": {"mine": section}}


def flow(folder, table, **more) -> Flow:
    return Flow(check.check(study(str(table), **more)), folder)


def content_of(one: Flow) -> str:
    return json.loads(one.specification("aggregate", sweep="mine"))["content"]


def made(one: Flow, out) -> pd.DataFrame:
    """The table that the job writes."""
    source = one.sources.read("mine", one.config["aggregate"]["mine"])
    specification = json.loads(one.specification("aggregate", sweep="mine"))
    run_table(specification, source, out, {"sweep": "mine", "study": "own"})
    return pd.read_parquet(out / "runs.parquet")


def test_the_runs_of_a_study_are_those_of_the_command(logs, tmp_path, capsys):
    (logs / "run-03/bad.csv").write_text("step,loss\n1,2\n1,2,3\n")
    runs = made(flow(tmp_path, logs), tmp_path / "out")
    table = import_runs(logs, tmp_path / "runs.parquet").runs
    assert runs["run_id"].tolist() == table["run_id"].tolist()
    assert runs["n_params"].tolist() == table["model.n_params"].tolist()
    assert runs["loss"].tolist() == table["val_loss"].tolist()
    assert runs["optim.lr"].tolist() == [0.001] * 20
    notes = capsys.readouterr().out
    assert "read as: logs of 20 runs, not read: run-03/bad.csv: line 3 has 3 fields" in notes


def test_the_content_of_logs_makes_a_job_due_and_nothing_else(logs, tmp_path):
    before = content_of(flow(tmp_path, logs))
    (logs / "model.pt").write_bytes(b"weights")
    logs.rename(tmp_path / "moved")
    moved = tmp_path / "moved"
    assert content_of(flow(tmp_path, moved, max_mib=100)) == before
    lines(moved / "run-20/metrics.jsonl", [{"step": 1, "tokens": 9, "val_loss": 3.0}])
    (moved / "run-20/config.json").write_text('{"model": {"n_params": 9}}')
    changed = content_of(flow(tmp_path, moved))
    assert changed != before
    (moved / "run-20").rename(moved / "run-21")
    assert content_of(flow(tmp_path, moved)) not in (before, changed)


def test_the_same_files_are_logs_or_tables_as_the_study_says(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    rows = "run_id,model.n_params,tokens,val_loss\n" + "".join(
        f"run-{i},{i}000000,{i}00000000,{4 - i / 10}\n" for i in range(1, 9)
    )
    (folder / "runs.csv").write_text(rows)
    one, other = flow(tmp_path, folder), flow(tmp_path, folder, format="table")
    assert content_of(one) != content_of(other)
    columns = ["run_id", "n_params", "n_samples", "loss"]
    both = [made(each, tmp_path / f"out-{i}")[columns] for i, each in enumerate((one, other))]
    pd.testing.assert_frame_equal(*both)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("nowhere", "cannot be read (No such file or directory)"),
        ("https://localhost/logs", "is a web address, not a folder of logs"),
        (["a", "b"], "a list of 2, where `format: logs` needs one folder"),
    ],
)
def test_what_is_not_a_folder_of_logs_is_a_problem_of_the_study(table, reason):
    with pytest.raises(StudyError) as error:
        check.check(study(table))
    assert reason in str(error.value)
    assert "aggregate.mine: " in str(error.value)


def test_columns_that_no_log_has_are_a_problem_of_the_study(logs):
    columns = {**COLUMNS, "loss": "val_los"}
    with pytest.raises(StudyError, match="no column 'val_los'; did you mean 'val_loss'"):
        check.check(study(str(logs), columns=columns))
