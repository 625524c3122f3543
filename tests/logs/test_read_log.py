"""The log of one run is read, whatever program wrote it; messages name file and line."""

from __future__ import annotations

import gzip
import json
import math

import numpy as np
import pandas as pd
import pytest
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from torch.utils.tensorboard.summary import hparams
from written_logs import events, lines

from isoloss.core.problems import TableError
from isoloss.logs.read import read_log

STEPS = [
    {"step": 0, "tokens": 0, "loss": 5.5},
    {"step": 10, "tokens": 640, "loss": 4.25, "val_loss": 4.5, "lr": 0.001},
    {"step": 20, "tokens": 1280, "loss": 4, "val_loss": 4.25, "lr": 0.0005},
]


def refused(path) -> str:
    with pytest.raises(TableError) as error:
        read_log(path)
    return str(error.value)


def check_steps(log) -> None:
    """The log is that of STEPS."""
    assert log.curve["step"].tolist() == [0, 10, 20]
    assert log.curve["n_samples"].tolist() == [0, 640, 1280]
    assert log.curve["loss"].tolist() == [5.5, 4.25, 4]
    np.testing.assert_array_equal(log.curve["val_loss"], [np.nan, 4.5, 4.25])
    assert log.final == {"step": 20, "tokens": 1280, "loss": 4, "val_loss": 4.25, "lr": 0.0005}
    assert log.notes == ()


# --- the forms of a log ------------------------------------------------------------------------


def test_json_lines(tmp_path):
    lines(tmp_path / "metrics.jsonl", STEPS)
    check_steps(read_log(tmp_path / "metrics.jsonl"))


def test_a_log_is_known_by_its_content_and_not_by_its_name(tmp_path):
    lines(tmp_path / "metrics.csv", STEPS)
    check_steps(read_log(tmp_path / "metrics.csv"))


def test_a_list_of_records(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(STEPS, indent=1))
    check_steps(read_log(tmp_path / "metrics.json"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_lines_in_other_encodings(tmp_path, encoding):
    lines(tmp_path / "plain", STEPS)
    (tmp_path / "log.jsonl").write_text((tmp_path / "plain").read_text(), encoding=encoding)
    check_steps(read_log(tmp_path / "log.jsonl"))


def test_csv_parquet_arrow_and_packed_files(tmp_path):
    table = pd.DataFrame(STEPS)
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_csv(tmp_path / "b.tsv", index=False, sep="\t")
    table.to_parquet(tmp_path / "c.parquet")
    table.to_feather(tmp_path / "d.arrow")
    (tmp_path / "e.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    for name in ("a.csv", "b.tsv", "c.parquet", "d.arrow", "e.csv.gz"):
        check_steps(read_log(tmp_path / name))


def test_values_inside_others_have_joined_names(tmp_path):
    lines(tmp_path / "log.jsonl", [{"step": 1, "eval": {"c4": {"loss": 3.5}}, "tags": ["a"]}])
    log = read_log(tmp_path / "log.jsonl")
    assert log.final == {"step": 1, "eval.c4.loss": 3.5}
    assert log.notes == ("lists are left out: tags",)


def test_a_field_that_says_the_split_parts_the_metrics(tmp_path):
    rows = [
        {"step": s, "split": split, "loss": loss}
        for s, split, loss in [(1, "train", 4.0), (1, "valid", 4.5), (2, "train", 3.0)]
    ]
    lines(tmp_path / "log.jsonl", rows)
    log = read_log(tmp_path / "log.jsonl")
    assert log.final == {"step": 2, "train/loss": 3.0, "valid/loss": 4.5}
    assert log.notes == ()


# --- steps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["global_step", "_step", "iter", "trainer/global_step", "Step"])
def test_steps_have_many_names(tmp_path, name):
    lines(tmp_path / "log.jsonl", [{name: 5, "loss": 3}, {name: 7, "loss": 2}])
    log = read_log(tmp_path / "log.jsonl")
    assert log.curve.to_dict("list") == {"step": [5, 7], "loss": [3, 2]}
    assert log.final == {name: 7, "loss": 2}


def test_of_a_resumed_run_the_later_values_are_kept_and_it_is_noted(tmp_path):
    steps = [(1, 5.0), (2, 4.0), (3, 3.0), (2, 4.5), (3, 3.5), (4, 2.5)]
    lines(tmp_path / "log.jsonl", [{"step": s, "loss": loss} for s, loss in steps])
    log = read_log(tmp_path / "log.jsonl")
    assert log.curve["loss"].tolist() == [5.0, 4.5, 3.5, 2.5]
    assert log.notes == (
        "steps 2 to 3 appear twice, as in a run that was resumed: later values are kept",
    )


def test_steps_that_start_again_in_every_epoch_are_counted(tmp_path):
    rows = [{"epoch": e, "step": s, "loss": 9 - 3 * e - s} for e in range(2) for s in range(3)]
    lines(tmp_path / "log.jsonl", rows)
    log = read_log(tmp_path / "log.jsonl")
    assert log.curve["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert log.curve["loss"].tolist() == [9, 8, 7, 6, 5, 4]
    assert log.notes == ("'step' starts again in every epoch: points are counted from 1",)


def test_records_without_steps_are_counted(tmp_path):
    lines(tmp_path / "log.jsonl", [{"loss": 3.0}, {"loss": 2.0}])
    log = read_log(tmp_path / "log.jsonl")
    assert log.curve["step"].tolist() == [1, 2]
    assert log.notes == ("no column of steps: records are counted from 1",)


def test_records_out_of_order_are_put_in_the_order_of_steps(tmp_path):
    lines(tmp_path / "log.jsonl", STEPS[::-1])
    check_steps_but_order = read_log(tmp_path / "log.jsonl")
    assert check_steps_but_order.curve["loss"].tolist() == [5.5, 4.25, 4]
    assert check_steps_but_order.final["loss"] == 4


def test_tokens_in_a_step_are_not_tokens_seen(tmp_path):
    lines(tmp_path / "log.jsonl", [{"step": s, "tokens": 512, "loss": 3.0} for s in (1, 2)])
    assert "n_samples" not in read_log(tmp_path / "log.jsonl").curve


# --- numbers that are not finite ---------------------------------------------------------------


@pytest.mark.parametrize("text", ["NaN", "Infinity", '"NaN"', '"inf"'])
def test_a_loss_that_is_not_finite_at_the_end_stays(tmp_path, text):
    (tmp_path / "log.jsonl").write_text(
        f'{{"step": 1, "loss": 3}}\n{{"step": 2, "loss": {text}}}\n'
    )
    log = read_log(tmp_path / "log.jsonl")
    assert not math.isfinite(log.final["loss"])
    assert log.curve["loss"][0] == 3


def test_a_csv_tells_a_nan_from_an_empty_cell(tmp_path):
    (tmp_path / "diverged.csv").write_text("step,loss\n1,3.5\n2,nan\n3,nan\n")
    (tmp_path / "seldom.csv").write_text("step,loss,val_loss\n1,3.5,4.5\n2,3.25,\n")
    (tmp_path / "filled.csv").write_text("step,val_loss\n1,nan\n2,4.5\n3,nan\n")
    assert math.isnan(read_log(tmp_path / "diverged.csv").final["loss"])
    assert read_log(tmp_path / "seldom.csv").final["val_loss"] == 4.5
    assert read_log(tmp_path / "filled.csv").final["val_loss"] == 4.5


# --- the state of a Hugging Face Trainer -------------------------------------------------------

TRAINER = {
    "best_metric": 3.25,
    "best_model_checkpoint": "out/checkpoint-20",
    "epoch": 1.0,
    "eval_steps": 10,
    "global_step": 20,
    "is_hyper_param_search": False,
    "is_local_process_zero": True,
    "is_world_process_zero": True,
    "log_history": [
        {"epoch": 0.5, "grad_norm": 1.5, "learning_rate": 5e-05, "loss": 4.0, "step": 10},
        {"epoch": 0.5, "eval_loss": 3.5, "eval_runtime": 1.25, "step": 10},
        {"epoch": 1.0, "grad_norm": 1.25, "learning_rate": 0.0, "loss": 3.0, "step": 20},
        {"epoch": 1.0, "eval_loss": 3.25, "eval_runtime": 1.25, "step": 20},
        {"epoch": 1.0, "step": 20, "total_flos": 5e12, "train_loss": 3.5, "train_runtime": 9.5},
    ],
    "logging_steps": 10,
    "max_steps": 20,
    "num_input_tokens_seen": 40960,
    "num_train_epochs": 1,
    "save_steps": 10,
    "stateful_callbacks": {"TrainerControl": {"args": {"should_save": True}, "attributes": {}}},
    "total_flos": 5e12,
    "train_batch_size": 8,
    "trial_name": None,
    "trial_params": None,
}


def test_the_state_of_a_trainer(tmp_path):
    (tmp_path / "trainer_state.json").write_text(
        json.dumps(TRAINER, indent=2, sort_keys=True) + "\n"
    )
    log = read_log(tmp_path / "trainer_state.json")
    assert log.curve[["step", "loss", "eval_loss"]].to_dict("list") == {
        "step": [10, 20],
        "loss": [4.0, 3.0],
        "eval_loss": [3.5, 3.25],
    }
    assert log.final["eval_loss"] == 3.25
    assert log.final["train_loss"] == 3.5
    assert log.final["total_flos"] == 5e12
    assert log.final["num_input_tokens_seen"] == 40960
    assert log.config["train_batch_size"] == 8
    assert (log.status, log.notes) == ("finished", ())


def test_a_trainer_that_was_stopped(tmp_path):
    (tmp_path / "trainer_state.json").write_text(json.dumps({**TRAINER, "max_steps": 100}))
    log = read_log(tmp_path / "trainer_state.json")
    assert (log.status, log.notes) == ("unfinished", ("the run is at step 20 of 100",))


# --- event files of TensorBoard ----------------------------------------------------------------


POINTS = [(1, "train/loss", 3.5), (1, "val/loss", 4.0), (2, "train/loss", 3.0)]


def test_an_event_file(tmp_path):
    log = read_log(events(tmp_path, POINTS))
    assert log.curve["step"].tolist() == [1, 2]
    assert log.curve["train/loss"].tolist() == [3.5, 3.0]
    assert log.final == {"global_step": 2, "train/loss": 3.0, "val/loss": 4.0}
    assert log.notes == ()


def test_an_event_file_with_tensors_as_tensorflow_2_writes_them(tmp_path):
    tensor = TensorProto(dtype=1, float_val=[2.5])
    text = TensorProto(dtype=7, string_val=[b'{"learning_rate": 0.1, "n": {"m": 2}}'])
    values = [
        Summary.Value(tag="loss", tensor=tensor),
        Summary.Value(tag="args/text_summary", tensor=text),
        Summary.Value(tag="note", tensor=TensorProto(dtype=7, string_val=[b"any words"])),
    ]
    log = read_log(events(tmp_path, [], Summary(value=values)))
    assert log.final == {"global_step": 0, "loss": 2.5}
    assert log.config == {"learning_rate": 0.1, "n.m": 2}


def test_hyperparameters_in_an_event_file(tmp_path):
    settings = {"lr": 0.5, "width": 64, "opt": "adam", "bias": True}
    log = read_log(events(tmp_path, POINTS, *hparams(settings, {"val/loss": 4.0})))
    assert log.config == {"bias": True, "lr": 0.5, "opt": "adam", "width": 64}
    assert log.status == "finished"


@pytest.mark.parametrize("rest", [b"", b"\0" * 64])
@pytest.mark.parametrize("cut", [1, 4, 20])
def test_an_event_file_of_a_killed_process_is_read_up_to_the_cut(tmp_path, cut, rest):
    path = events(tmp_path, POINTS)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut] + rest if not rest else whole + rest)
    log = read_log(path)
    last = 3.0 if rest else 3.5
    assert log.final["train/loss"] == last
    assert [note.partition(", ")[2] for note in log.notes] == [
        "the last one, is cut off, and left out"
    ]


@pytest.mark.parametrize("at", [0.5, 0.7])
def test_a_damaged_event_file_is_refused(tmp_path, at):
    path = events(tmp_path, POINTS)
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0x55
    path.write_bytes(content)
    assert "is damaged: its checksum is wrong; copy the file again" in refused(path)


def test_without_a_reader_of_event_files_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = events(tmp_path, POINTS)
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.compat.proto.event_pb2", None)
    assert "pip install 'isoloss[logs]'" in refused(path)


# --- what is not a log -------------------------------------------------------------------------


def test_a_last_line_that_is_cut_off_is_left_out_and_noted(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 3}\n{"step": 2, "lo')
    log = read_log(tmp_path / "log.jsonl")
    assert log.final["loss"] == 3
    assert log.notes == ("line 2, the last one, is cut off, and left out",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b'{"step": 1, "loss": 3}\n{"step": 2, "lo\n{"step": 3}\n', "line 2 is not JSON"),
        (b'{"step": 1, "loss": 3}\n[1, 2]\n', "line 2 is not an object"),
        (b'{"step": 1, "loss": 3}\n{"step": "two", "loss": 3}\n', "line 2: 'step' is 'two'"),
        (b'{"step": 1, "loss": 3}\n{"step": NaN, "loss": 3}\n', "line 2: 'step' is nan"),
        (b'{"name": "a"}\n{"name": "b"}\n', "has no numbers"),
        (b'{"log_history": [', "line 1 is not JSON"),
        (b'[{"step": 1}, 2]', "record 2 is not an object"),
        (b"step,loss\n1,2\n2,3,4\n", "line 3 has 3 fields, the header 2"),
        (b"step,loss\na,3\n", "row 1: 'step' is 'a', not a number"),
        (b'{"log_history": [{"step": 1, "loss": 3}], "global_step": "x"}', "global_step is 'x'"),
        (b"PAR1 and no more", "is not a table"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a picture"),
        (bytes(range(256)) * 4, "is not a table"),
        (b"\x1f\x8b\x08\0broken", "is damaged"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"step": 1, "loss": ' + b"9" * 5000 + b"}", "is damaged (ValueError"),
    ],
)
def test_what_is_not_a_log_is_named_with_its_place(tmp_path, content, reason):
    (tmp_path / "log.jsonl").write_bytes(content)
    message = refused(tmp_path / "log.jsonl")
    assert reason in message
    assert f"{tmp_path}/log.jsonl: " in message
    assert "; " in message


def test_a_missing_file(tmp_path):
    assert "cannot be read (No such file or directory)" in refused(tmp_path / "log.jsonl")


@pytest.mark.parametrize("indent", [None, 2])
def test_columns_of_keras_are_a_log_with_a_step_a_value(tmp_path, indent):
    path = tmp_path / "history.json"
    path.write_text(json.dumps({"loss": [3, 2, 1], "val_loss": [3.5, 2.5, 1.5]}, indent=indent))
    log = read_log(path)
    assert log.curve["step"].tolist() == [1, 2, 3]
    assert log.final == {"loss": 1, "val_loss": 1.5}


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "is empty"), ("\n", "is empty"), ("[" * 100_000, "is nested too deeply")],
)
def test_an_empty_or_deep_file_is_called_so(tmp_path, text, reason):
    path = tmp_path / "metrics.jsonl"
    path.write_text(text)
    with pytest.raises(TableError) as error:
        read_log(path)
    (problem,) = error.value.problems
    assert problem.found == reason
    assert "CSV" not in problem.remedy
