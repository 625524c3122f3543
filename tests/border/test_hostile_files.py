"""Files that are not what they are called: pickles, bombs, pipes, what is nested without end."""

import csv
import gzip
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save

from isoloss.__main__ import main
from isoloss.core import tokenizer, tokens
from isoloss.core.problems import IsolossError
from isoloss.datasets import _files
from isoloss.datasets._splits import _class_names
from isoloss.logs.read import import_runs
from isoloss.records.store import Store
from isoloss.records.weights import load_weights
from isoloss.train.checkpoint import _read_state
from isoloss.trainers._outcome import read_outcome
from isoloss.trainers._program import FailedError


class Attack:
    """What makes a file when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch PWNED",)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The working folder, in which nothing is made by what is read."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert list(tmp_path.rglob("PWNED*")) == []


def pickled(protocol: int = 4) -> bytes:
    return pickle.dumps(Attack(), protocol)


def as_torch_saves_it() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled())
    return file.getvalue()


def test_the_pickle_of_these_tests_does_make_a_file(folder):
    pickle.loads(pickled())
    (folder / "PWNED").unlink()


CALLED = [
    "runs.csv",
    "runs.parquet",
    "runs.json",
    "runs.jsonl",
    "runs.arrow",
    "runs.xlsx",
    "runs.npy",
]


@pytest.mark.parametrize("name", CALLED)
def test_a_pickle_in_the_place_of_a_table_is_told_and_not_loaded(folder, capsys, name):
    for content in (pickled(), pickled(2), as_torch_saves_it(), pickled(0)):
        (folder / name).write_bytes(content)
        assert main(["law", name, "--out", "law"]) == 2
        printed = capsys.readouterr().err
        assert name in printed
        assert content == pickled(0) or "is a pickle, which is code, not a table" in printed
    assert not (folder / "law").exists()


CARDS = {
    "jsonl": {"files": "x"},
    "csv": {"files": "x"},
    "parquet": {"files": "x"},
    "text_folder": {"folder": ".", "pattern": "x"},
    "saved_dataset": {"folder": "saved"},
}


def load(card: str, options: dict, **more) -> int:
    """Run the job that loads a dataset of a card; its exit code."""
    study = {"study": "s", "load": {"x": {"card": card, "options": options, **more}}}
    Path("s.yaml").write_text(json.dumps(study))
    return main(["load", "--study", "s.yaml", "--dataset", "x", "--out", "load/x"])


@pytest.mark.parametrize(("card", "options"), CARDS.items())
def test_a_pickle_in_the_place_of_a_dataset_is_not_loaded(folder, capsys, card, options):
    (folder / "saved").mkdir()
    (folder / "saved" / "state.json").write_bytes(pickled())
    for content in (pickled(), as_torch_saves_it()):
        (folder / "x").write_bytes(content)
        assert load(card, options) == 2
        assert ("saved" if card == "saved_dataset" else "x") in capsys.readouterr().err
    assert not list(folder.glob("load/**/*.*"))


def test_an_array_of_objects_in_the_place_of_tokens_is_refused(folder):
    np.save("tokens.npy", np.array([Attack()], dtype=object), allow_pickle=True)
    with pytest.raises(IsolossError, match=r"tokens\.npy: is damaged"):
        tokens.map_tokens("tokens.npy")
    (folder / "tokens.npy").write_bytes(pickled())
    with pytest.raises(IsolossError, match=r"tokens\.npy: is damaged"):
        tokens.map_tokens("tokens.npy")


def test_a_pickle_in_the_place_of_weights_or_of_a_state_is_refused(folder):
    store = Store(folder / "store")
    store.weights("a" * 32).parent.mkdir(parents=True)
    for content in (pickled(), as_torch_saves_it(), b"\xff" * 64):
        store.weights("a" * 32).write_bytes(content)
        with pytest.raises(IsolossError, match="is not a file of safetensors"):
            load_weights(store, "a" * 32)
        (folder / "state.safetensors").write_bytes(content)
        assert _read_state(folder / "state.safetensors") is None
    store.weights("a" * 32).write_bytes(save({"w": np.zeros(2)}))
    with pytest.raises(IsolossError, match="holds the weights of the run None"):
        load_weights(store, "a" * 32)


def test_what_is_not_a_tokenizer_is_told(folder):
    os.mkfifo("pipe.json")
    (folder / "pickle.json").write_bytes(pickled(0))
    (folder / "deep.json").write_text("[" * 100_000)
    for name, words in {
        "pipe.json": "'pipe.json' is a named pipe, not a file",
        "/dev/zero": "'/dev/zero' is a device, not a file",
        ".": "'.' is a folder, not a file",
        "n" * 9000: "there is no file 'nnn",
        "pickle.json": "is not a tokenizer",
        "deep.json": "is not a tokenizer",
    }.items():
        with pytest.raises(IsolossError, match=r"give (the path|a file)") as refused:
            tokenizer.content(name)
            tokenizer.of(name)
        assert words in str(refused.value) or words == "is not a tokenizer"


def test_a_packed_file_of_one_endless_line_does_not_fill_the_memory(folder, capsys, monkeypatch):
    monkeypatch.setattr(_files, "LONGEST", 1 << 20)
    monkeypatch.setattr("isoloss.datasets._cells.LONGEST", 1 << 20)
    monkeypatch.setattr("isoloss.datasets.text_folder.LONGEST", 1 << 20)
    with gzip.open("x", "wb", compresslevel=1) as file:
        file.write(b'{"text": "first"}\n{"text": "')
        for _ in range(40):
            file.write(b"a" * (1 << 20))
    for card, words in {
        "jsonl": "x: line 2 has more than",
        "csv": "x: line 2 has more than",
        "text_folder": "x: has more than",
    }.items():
        options = CARDS[card] | ({"header": ["text"]} if card == "csv" else {})
        assert load(card, options) == 2
        assert words in capsys.readouterr().err
    cells = csv.field_size_limit()
    assert cells == 131072  # Python's own limit is as it was


DEEP = "[" * 100_000 + "]" * 100_000


def test_a_dataset_nested_without_end_is_told(folder, capsys):
    (folder / "x").write_text(DEEP)
    assert load("jsonl", CARDS["jsonl"]) == 2
    assert "x: is one JSON array and not JSON Lines" in capsys.readouterr().err
    (folder / "y").write_text('{"text": ' + DEEP + '}\n{"text": "a"}\n')
    assert load("jsonl", {"files": "y"}) == 2
    assert "not JSON (nested too deep)" in capsys.readouterr().err
    for about in (DEEP, "[]", '{"info": {"features": [1]}}'):
        assert _class_names(pa.schema([], {b"huggingface": about.encode()})) == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", '{"a": ' + DEEP + "}"),
        ("metrics.jsonl", '{"step": 1, "loss": 2, "a": ' + DEEP + "}"),
        ("trainer_state.json", DEEP),
        ("wandb.csv", "name,summary,config\na,\"{'loss': " + "-" * 50_000 + '1}",{}\n'),
        ("config.yaml", "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(9))),
        ("pickle.json", ""),
    ],
)
def test_a_log_nested_without_end_is_left_out_and_told(folder, name, content):
    (folder / "logs" / "run").mkdir(parents=True)
    (folder / "logs" / "sound.jsonl").write_text('{"step": 1, "loss": 2}\n{"step": 2, "loss": 1}\n')
    (folder / "logs" / "run" / name).write_bytes(content.encode() or pickled(0))
    os.mkfifo("logs/run/pipe.csv")
    imported = import_runs(folder / "logs", folder / "runs.parquet")
    assert len(imported.runs) == 1
    assert (folder / "runs.parquet").is_file()


def test_pipes_and_devices_are_not_opened_as_datasets_or_files_of_a_program(folder, capsys):
    os.mkfifo("x")
    for card, files in {"jsonl": "x", "csv": "/dev/zero", "parquet": "x"}.items():
        assert load(card, {"files": files}) == 2
        printed = capsys.readouterr().err
        assert "is a named pipe, not a file" in printed or "is a device, not a file" in printed
    command = {"run": "python -c 1 {width}", "files": ["x"], "results": "m.jsonl", "loss": "l"}
    sweep = {"trainer": "command", "command": command, "cells": [{"width": 1, "n_samples": 1}]}
    Path("s.yaml").write_text(json.dumps({"study": "s", "train": {"own": sweep}}))
    assert main(["check", "s.yaml"]) == 2
    assert "'x' is a named pipe, whose content cannot be compared" in capsys.readouterr().err


def test_a_long_script_on_a_command_line_is_not_taken_for_a_path(folder, capsys):
    script = "echo " + "x" * 5000
    command = {"run": f"bash -c '{script}' - {{width}}", "results": "m.jsonl", "loss": "l"}
    command["n_params"] = "width"
    sweep = {"trainer": "command", "command": command, "cells": [{"width": 1, "n_samples": 1}]}
    Path("s.yaml").write_text(json.dumps({"study": "s", "train": {"own": sweep}}))
    assert main(["check", "s.yaml"]) == 0
    assert "nothing wrong" in capsys.readouterr().out


def test_an_archive_whose_names_lead_out_of_it_writes_nothing(folder, capsys):
    (folder / "inner").mkdir()
    with zipfile.ZipFile("inner/slip.zip", "w") as archive:
        archive.writestr("../../PWNED.csv", "n,d,loss\n1e6,1e8,3\n")
        archive.writestr("/tmp/PWNED.csv", "n,d,loss\n1e6,1e8,3\n")
    assert main(["law", "inner/slip.zip", "--out", "law"]) == 2
    assert "1 runs for 5 parameters" in capsys.readouterr().err  # read, in memory
    assert not Path("/tmp/PWNED.csv").exists()
    assert not (folder.parent / "PWNED.csv").exists()


def test_a_link_to_itself_is_a_file_that_cannot_be_read(folder, capsys):
    (folder / "loop.csv").symlink_to("loop.csv")
    (folder / "sound.csv").write_text("text\n" + "some text\n" * 9)
    assert main(["law", "loop.csv"]) == 2
    assert main(["import", "loop.csv", "--out", "runs.parquet"]) == 2
    assert load("csv", {"files": "loop.csv"}) == 2
    assert load("text_folder", {"folder": ".", "pattern": "loop*"}) == 2
    with pytest.raises(FailedError, match=r"loop\.csv: cannot be read"):
        read_outcome(folder, {"results": "loop.csv"}, {})
    assert capsys.readouterr().err.count("loop") >= 4


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: os.mkfifo(path), "it is a named pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
        (lambda path: path.write_bytes(pickled()), "is a pickle, which is code"),
        (lambda path: path.write_text('{"loss": ' + DEEP + "}"), "is nested too deeply"),
        (lambda path: path.write_text('{"loss": ' + "1" * 400_000 + "}"), "is damaged"),
        (lambda path: path.write_bytes(b"\0" * 1000), "has no rows"),
        (lambda path: path.write_bytes(b""), "is empty"),
    ],
)
def test_what_a_program_wrote_in_the_place_of_its_results_is_told(folder, write, reason):
    write(folder / "m.jsonl")
    with pytest.raises(FailedError, match=reason):
        read_outcome(folder, {"results": "m.jsonl", "loss": "loss"}, {})


def test_a_table_with_damaged_notes_of_pandas_is_written_as_csv(folder, capsys):
    table = pa.table({"n": [1.0, 2.0]}).replace_schema_metadata({b"pandas": DEEP.encode()})
    pq.write_table(table, "x.parquet")
    assert main(["csv", "x.parquet"]) == 0
    assert capsys.readouterr().out == "n\n1.0\n2.0\n"


def test_the_configuration_of_a_log_is_read_as_the_program_read_it(folder):
    (folder / "logs").mkdir()
    (folder / "logs" / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 2}\n{"step": 2, "loss": 1}\n'
    )
    (folder / "logs" / "config.yaml").write_text("amp: no\nlogger: off\nwidth: 010\n")
    (run,) = import_runs(folder / "logs", folder / "runs.parquet").runs.to_dict("records")
    assert (run["amp"], run["logger"], run["width"]) == (False, False, 8)
