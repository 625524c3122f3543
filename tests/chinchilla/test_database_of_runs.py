"""The runs of a project of the toolkit: files that several processes may append to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("pydantic")
from isoloss.chinchilla.database import Database

APPEND = """
import sys
from isoloss.chinchilla.database import Database
folder, name, count = sys.argv[1:]
database = Database(folder)
print("ready", flush=True)
sys.stdin.readline()
for i in range(int(count)):
    database.append(N=1000 + i, D=20_000, loss=2.5 + i / 7, **{name: i})
"""


def start(folder: Path, name: str, count: int) -> subprocess.Popen:
    """A process that has opened the database and waits for a line before it appends rows."""
    command = [sys.executable, "-W", "error", "-c", APPEND, str(folder), name, str(count)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def both_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_csv(folder / "df.csv"), pd.read_parquet(folder / "df.parquet")


def test_two_processes_append_without_losing_a_row(tmp_path):
    processes = [start(tmp_path, name, 20) for name in ("left", "right")]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    for table in both_tables(tmp_path):
        assert len(table) == 40
        for name in ("left", "right"):
            rows = table[table[name].notna()]
            assert rows[name].tolist() == list(range(20))
            assert (1000 + rows[name] == rows.N).all() and (rows.C == 6 * rows.N * rows.D).all()
        assert (table.left.isna() == table.right.notna()).all()
    csv, parquet = both_tables(tmp_path)
    assert parquet.loss.tolist() == [2.5 + (n - 1000) / 7 for n in parquet.N]
    assert csv.loss.tolist() == parquet.loss.round(6).tolist()
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp"))


def test_a_process_that_is_killed_keeps_nobody_from_appending(tmp_path):
    process = start(tmp_path, "killed", 10_000)
    process.stdin.write("\n")
    process.stdin.flush()
    while not (tmp_path / "df.csv").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    database = Database(tmp_path)
    count = len(database.df)
    database.append(N=7, D=9, loss=1.0)
    csv, parquet = both_tables(tmp_path)
    assert len(csv) == len(parquet) == count + 1
    assert csv[["C", "N", "D", "loss"]].notna().all(axis=None)


def test_rows_that_another_has_appended_are_there_after_an_append(tmp_path):
    ours, theirs = Database(tmp_path), Database(tmp_path)
    theirs.append(N=1, D=2, loss=3.0, optimiser="adam")
    ours.append(N=4, D=5, loss=6.0, width=64)
    assert ours.df.N.tolist() == [1, 4]
    assert list(ours.df) == ["C", "N", "D", "loss", "optimiser", "width"]
    theirs.append(N=7, D=8, loss=9.0)
    assert theirs.df.width.tolist()[1] == 64 and theirs.df.optimiser.tolist()[0] == "adam"


def test_the_files_of_a_project_keep_all_digits(tmp_path):
    Database(tmp_path).append(N=10, D=100, loss=2.123456789012345)
    text = (tmp_path / "df.csv").read_text(encoding="utf-8")
    assert text == "C,N,D,loss\n6000,10,100,2.123457\n"
    assert Database(tmp_path).df.loss.tolist() == [2.123456789012345]
    # a file that somebody has edited is what counts
    (tmp_path / "df.csv").write_text("C,N,D,loss\n6000,10,100,2.5\n", encoding="utf-8")
    database = Database(tmp_path)
    assert database.df.loss.tolist() == [2.5]
    database.append(N=20, D=100, loss=2.25)
    assert pd.read_parquet(tmp_path / "df.parquet").loss.tolist() == [2.5, 2.25]


def test_a_table_of_another_program_is_left_alone(tmp_path):
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "df.parquet")
    Database(tmp_path).append(N=10, D=100, loss=2.5)
    assert list(pd.read_parquet(tmp_path / "df.parquet")) == ["x"]
    assert Database(tmp_path).df.loss.tolist() == [2.5]


def test_counts_beyond_64_bits_are_written_as_integers_and_read_back(tmp_path):
    database = Database(tmp_path)
    database.append(N=7e11, D=1.4e13, loss=1.9)
    database.append(N=7e11, D=1.4e13, loss=1.8, C=10**25, note={"a": 1}, odd="x")
    database.append(N=7e11, D=1.4e13, loss=1.8, odd=3)
    lines = (tmp_path / "df.csv").read_text(encoding="utf-8").splitlines()
    assert lines[1].startswith(f"{round(6 * 7e11 * 1.4e13)},700000000000,14000000000000,1.9")
    assert lines[2].startswith("10000000000000000000000000,")
    again = Database(tmp_path).df
    assert again.C.tolist() == [6 * 7e11 * 1.4e13, 1e25, 6 * 7e11 * 1.4e13]
    assert again.odd.tolist()[1:] == ["x", "3"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("C,N,loss\n6,1,2\n", "column D is missing"),
        ("C,N,D,loss\n6,1,1,2\n6,many,1,2\n", "column N, row 2 has 'many', which is not a number"),
        ("C,N,D,loss\n6,1,,2\n", "column D, row 1 is empty"),
        ("C,N,D,loss\n6,1,1,2\n6,1\n", "row 2 has 2 cells, and the first line 4"),
        ("C,N,D,loss\n6,1,1,2,9\n", "row 1 has 5 cells"),
        ('C,N,D,loss\n6,1,1,"2\n', "is not CSV in UTF-8"),
        (b"C,N,D,loss\n6,1,1,\xff\n", "is not CSV in UTF-8"),
        (b"\x00\x01\x02", "column C is missing"),
        ("C;N;D;loss\n6;1;1;2\n", "name it in the first line"),
    ],
)
def test_a_damaged_file_is_named_with_column_and_row(tmp_path, text, reason):
    content = text.encode() if isinstance(text, str) else text
    (tmp_path / "df.csv").write_bytes(content)
    with pytest.raises(ValueError, match=reason) as error:
        Database(tmp_path)
    assert str(tmp_path / "df.csv") in str(error.value)
    assert (tmp_path / "df.csv").read_bytes() == content


def test_damage_by_another_process_stops_an_append_and_loses_nothing(tmp_path):
    database = Database(tmp_path)
    database.append(N=10, D=100, loss=2.5)
    (tmp_path / "df.csv").write_text("C,N,D,loss\n6000,10,1", encoding="utf-8")
    with pytest.raises(ValueError, match="row 1 has 3 cells"):
        database.append(N=20, D=100, loss=2.25)
    assert database.df.N.tolist() == [10]


def test_a_damaged_parquet_file_is_written_anew(tmp_path):
    Database(tmp_path).append(N=10, D=100, loss=2.5)
    (tmp_path / "df.parquet").write_bytes(b"PAR1")
    database = Database(tmp_path)
    database.append(N=20, D=100, loss=2.25)
    assert pd.read_parquet(tmp_path / "df.parquet").N.tolist() == [10, 20]


@pytest.mark.parametrize(
    ("result", "error", "reason"),
    [
        ({}, ValueError, "N, D, loss not given"),
        ({"N": 1, "loss": 2.0}, ValueError, "D not given"),
        ({"N": float("nan"), "D": 1, "loss": 2.0}, ValueError, "C of a run must be a finite"),
        ({"N": 1, "D": float("inf"), "loss": 2.0, "C": 6}, ValueError, "D of a run must be"),
        ({"N": "many", "D": 1, "loss": 2.0, "C": 6}, TypeError, "real number"),
        ({"N": 1, "D": 1, "loss": "low"}, ValueError, "low"),
    ],
)
def test_a_run_that_is_not_one_is_refused(tmp_path, result, error, reason):
    database = Database(tmp_path)
    with pytest.raises(error, match=reason):
        database.append(**result)
    assert len(database.df) == 0 and os.listdir(tmp_path) == []


def test_a_run_whose_loss_is_not_a_number_is_kept(tmp_path):
    Database(tmp_path).append(N=10, D=100, loss=float("nan"))
    os.remove(tmp_path / "df.parquet")
    assert Database(tmp_path).df.loss.isna().tolist() == [True]


def test_a_database_without_a_folder_is_in_memory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = Database()
    database.append(N=10, D=100, loss=2.5)
    assert database.filepath is None and len(database.df) == 1
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_written_leaves_the_rows_as_they_were(tmp_path, monkeypatch):
    database = Database(tmp_path)
    database.append(N=10, D=100, loss=2.5)
    before = (tmp_path / "df.csv").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            database.append(N=20, D=100, loss=2.25)
    assert (tmp_path / "df.csv").read_bytes() == before and database.df.N.tolist() == [10]
    database.append(N=30, D=100, loss=2.0)
    assert Database(tmp_path).df.N.tolist() == [10, 30]
