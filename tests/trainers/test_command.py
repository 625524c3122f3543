"""A program of the user trains the runs: what it is given, how it can end, what is made of it."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import hear_ctrl_c
from written_logs import events

from isoloss.core.ending import TerminatedError, told_to_end
from isoloss.core.problems import StudyError
from isoloss.records.store import Store
from isoloss.study import check
from isoloss.train.plan import plan_runs, shard_runs
from isoloss.train.programs import NO_CODE, Programs, files_digest, reading_digest
from isoloss.train.settings import free_settings
from isoloss.train.shard import ShardSetup, train_shard
from isoloss.trainers import _command_line, _outcome
from isoloss.trainers._program import FailedError

# the losses of a run of width w are 2 + 1 / w + 1 / step
PROGRAM = """
import argparse, json, os, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int)
parser.add_argument("--out", type=pathlib.Path)
parser.add_argument("--checkpoints", type=pathlib.Path)
parser.add_argument("--resume", action="store_true")
given = parser.parse_args()
with open("starts.txt", "a") as starts:
    starts.write(f"{given.width} {given.resume}\\n")
first = 1
if given.resume:
    first += int((given.checkpoints / "step").read_text())
for step in range(first, 11):
    loss = 2 + 1 / given.width + 1 / step
    with open(given.out / "metrics.jsonl", "a") as log:
        row = {"step": step, "train": loss + 1, "eval": loss, "N": given.width**2}
        print(json.dumps(row), file=log)
    (given.checkpoints / "step").write_text(str(step))
    HOOK
"""
RUN = "--width {width} --out {run_folder} --checkpoints {checkpoint_folder} {resume}"


class Own:
    """A study of one sweep of a program, in the working directory."""

    def __init__(self, folder: Path):
        self.folder, self.store = folder, Store(folder / "store")

    def write(self, hook: str = "pass", program: str = PROGRAM) -> None:
        (self.folder / "train.py").write_text(program.replace("HOOK", hook), encoding="utf-8")

    def study(self, cells=({"width": [8, 16]},), **command) -> dict:
        run = f"{shlex.quote(sys.executable)} train.py {RUN}"
        command = {"run": run, "resume": "--resume", "results": "metrics.jsonl"} | command
        sweep = {"trainer": "command", "cells": list(cells), "command": {"loss": "eval"} | command}
        return {"study": "own", "train": {"own": sweep}}

    def setup(self, study: dict, code: str = "reader") -> tuple[list, ShardSetup]:
        sweep = check.check(study)["train"]["own"]
        runs = shard_runs(plan_runs({**sweep, "shards": 1}), 1)["0"]
        command = sweep["command"]
        reading = reading_digest(command, code)
        programs = Programs(command, free_settings(sweep), files_digest(command), reading)
        among = {"code": {NO_CODE}, "reading": {reading}}
        return runs, ShardSetup(programs, self.store, 0, NO_CODE, NO_CODE, among, 1)

    def train(self, *cells, code: str = "reader", **command):
        runs, setup = self.setup(self.study(cells or ({"width": [8, 16]},), **command), code)
        return train_shard(runs, setup)

    def starts(self) -> list[str]:
        file = self.folder / "starts.txt"
        return file.read_text().splitlines() if file.is_file() else []


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with the program that trains."""
    monkeypatch.chdir(tmp_path)
    own = Own(tmp_path)
    own.write()
    return own


def test_every_run_is_started_once_and_its_losses_are_read_back(own):
    shard = own.train(n_params="12 * width ** 2", n_samples=1000, curve="train")
    assert shard["status"].tolist() == ["done", "done"]
    assert own.starts() == ["8 False", "16 False"]
    assert shard["loss_nats"].tolist() == [2 + 1 / 8 + 0.1, 2 + 1 / 16 + 0.1]
    assert shard["n_params"].tolist() == [12 * 64, 12 * 256]
    assert shard["n_flops"].tolist() == [6 * 12 * 64 * 1000, 6 * 12 * 256 * 1000]
    assert len(shard["curve"][0]) == 10
    point = {"step": 5, "n_samples": 500, "loss_nats": 3 + 1 / 8 + 1 / 5}
    assert shard["curve"][0][4] == point
    again = own.train(n_params="12 * width ** 2", n_samples=1000, curve="train")
    assert again["loss_nats"].tolist() == shard["loss_nats"].tolist()
    assert len(own.starts()) == 2


def test_a_size_that_is_added_is_the_only_one_that_is_trained(own):
    own.train({"width": 8})
    own.train({"width": [8, 16]})
    assert own.starts() == ["8 False", "16 False"]


def test_n_can_be_a_value_that_the_program_writes(own):
    shard = own.train(n_params="N")
    assert shard["n_params"].tolist() == [64, 256]
    assert np.isnan(shard["n_flops"].astype(float)).all()


def test_how_output_is_read_can_change_without_a_new_run(own):
    own.train()
    shard = own.train(loss="train", losses={"web": "eval"})
    assert shard["loss_nats"].tolist() == [3 + 1 / 8 + 0.1, 3 + 1 / 16 + 0.1]
    by_domain = shard["losses"][0][0]
    assert (by_domain["domain"], by_domain["loss_nats"]) == ("web", 2 + 1 / 8 + 0.1)
    own.train(code="a reader that was corrected")
    assert len(own.starts()) == 2


def test_an_edited_program_trains_again_and_a_touched_one_does_not(own):
    own.train({"width": 8})
    os.utime(own.folder / "train.py", (1, 1))
    own.train({"width": 8})
    assert len(own.starts()) == 1
    own.write("sys.stdout.flush()")
    own.train({"width": 8})
    assert len(own.starts()) == 2


def test_files_that_are_listed_count_by_content_and_a_folder_by_all_in_it(own):
    (own.folder / "data").mkdir()
    (own.folder / "data" / "a.txt").write_text("1")
    own.train({"width": 8}, files=["data"])
    own.train({"width": 8}, files=["data"])
    assert len(own.starts()) == 1
    (own.folder / "data" / "a.txt").write_text("2")
    own.train({"width": 8}, files=["data"])
    assert len(own.starts()) == 2


# How a run can end


def test_output_that_is_malformed_is_a_failure_with_file_and_line(own):
    own.write("(given.out / 'metrics.jsonl').write_text('{\"eval\": 1}\\nno JSON\\n')")
    row = own.train({"width": 8}).iloc[0]
    assert row["status"] == "failed"
    assert "metrics.jsonl" in row["status_reason"] and "line 2" in row["status_reason"]
    assert own.train({"width": 8})["attempts"].tolist() == [2]
    assert own.starts() == ["8 False", "8 False"]  # a second try is a new run
    own.train({"width": 8})
    assert len(own.starts()) == 2


def test_a_wrong_name_of_the_loss_can_be_corrected_without_a_new_run(own):
    row = own.train({"width": 8}, loss="evil").iloc[0]
    assert row["status"] == "failed"
    assert "'evil'" in row["status_reason"] and "did you mean 'eval'?" in row["status_reason"]
    assert own.train({"width": 8})["status"].tolist() == ["done"]
    assert len(own.starts()) == 1


def test_a_run_that_writes_nothing_has_failed(own):
    own.write("(given.out / 'metrics.jsonl').unlink()")
    row = own.train({"width": 8}).iloc[0]
    assert row["status"] == "failed"
    reason = "metrics.jsonl: the run did not write this file; its folder is empty"
    assert row["status_reason"] == reason


@pytest.mark.parametrize("results", ["*.jsonl", "**/metrics.*", "."])
def test_results_can_be_a_pattern_or_a_folder(own, results):
    row = own.train({"width": 8}, results=results).iloc[0]
    assert (row["status"], row["loss_nats"]) == ("done", 2 + 1 / 8 + 0.1)


def test_a_pattern_that_no_file_has_says_what_there_is(own):
    row = own.train({"width": 8}, results="logs/*.csv").iloc[0]
    reason = "logs/*.csv: the run did not write this file; its folder has metrics.jsonl"
    assert (row["status"], row["status_reason"]) == ("failed", reason)


def _read(folder, **command):
    given = {"results": "*", "loss": "val", "loss_at": "last", "losses": {}} | command
    return _outcome.read_outcome(folder, given, {"seed": 0})


def test_a_pattern_of_several_files_is_refused(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"step": 1, "val": 3}')
    with pytest.raises(FailedError, match=r"2 files have this pattern \(a.jsonl, b.jsonl\)"):
        _read(tmp_path, results="*.jsonl")


def test_a_pattern_does_not_leave_the_folder_of_the_run(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.jsonl").write_text('{"step": 1, "val": 3}')
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "out").symlink_to(tmp_path / "other")
    with pytest.raises(FailedError, match="did not write this file; its folder is empty"):
        _read(tmp_path / "run", results="out/*.jsonl")


def test_a_loss_without_a_number_is_not_said_to_be_absent(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"step": 1, "val": null, "train": 2}')
    with pytest.raises(FailedError, match="'val' has no number"):
        _read(tmp_path, results="a.jsonl")


def test_event_files_of_one_folder_are_one_run(tmp_path):
    first = events(tmp_path, [(1, "val", 4.0)])
    first.rename(first.with_name("events.out.tfevents.1"))
    other = events(tmp_path / "again", [(2, "val", 3.0)])
    other.rename(tmp_path / "events.out.tfevents.2")
    read = _read(tmp_path, results="events.out.tfevents.*")
    assert read["loss_nats"] == 3.0
    assert [point["loss_nats"] for point in read["curve"]] == [4.0, 3.0]


def test_another_exit_code_is_a_failure_with_the_tail_of_the_log(own):
    own.write("print(*range(30), 'no such layer', sep='\\n'); sys.exit(3)")
    row = own.train({"width": 8}).iloc[0]
    assert (row["status"], row["status_reason"]) == ("failed", "exit code 3: no such layer")
    kept = own.store.failures(row["run_digest"]).read_text().splitlines()
    assert (
        kept[-1] == ""
        and kept[-2] == "no such layer"
        and kept[-20:-2] == [str(i) for i in range(12, 30)]
    )


def test_a_program_that_does_not_exist_is_a_failure(own):
    row = own.train({"width": 8}, run="trian {width}", resume="").iloc[0]
    assert row["status"] == "failed"
    assert row["status_reason"] == "'trian' could not be started (No such file or directory)"


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_not_finite_has_diverged(own, value):
    own.write(
        program=PROGRAM.replace("1 / step\n", f"(1 / step if step < 4 else float('{value}'))\n")
    )
    row = own.train({"width": 8}).iloc[0]
    assert row["status"] == "diverged"
    assert row["status_reason"] == f"eval is {value} after step 3"


def test_the_other_runs_go_on_when_one_is_killed(own):
    own.write("given.width == 8 and os.kill(os.getpid(), 9)")
    shard = own.train()
    assert shard["status"].tolist() == ["failed", "done"]
    assert "SIGKILL (out of memory, or killed by hand)" in shard["status_reason"][0]


def test_a_killed_run_goes_on_from_its_checkpoint_and_ends_the_same(own):
    whole = own.train({"width": 8}).iloc[0]
    own.write("step == 6 and not given.resume and os.kill(os.getpid(), 9)")
    assert own.train({"width": 8})["status"].tolist() == ["failed"]
    resumed = own.train({"width": 8}).iloc[0]
    assert own.starts() == ["8 False", "8 False", "8 True"]
    assert (resumed["status"], resumed["attempts"]) == ("done", 2)
    assert list(resumed["curve"]) == list(whole["curve"])
    assert not (own.store.folder(resumed["run_digest"]) / "checkpoints").exists()


def test_without_checkpoints_a_killed_run_starts_again_in_an_empty_folder(own):
    own.write(
        "(given.checkpoints / 'step').unlink();"
        "step == 6 and len(open('starts.txt').readlines()) < 2 and os.kill(os.getpid(), 9)"
    )
    own.train({"width": 8})
    row = own.train({"width": 8}).iloc[0]
    assert own.starts() == ["8 False", "8 False"]
    assert [point["step"] for point in row["curve"]] == list(range(1, 11))


def test_a_run_that_is_retried_by_hand_is_started_anew(own):
    row = own.train({"width": 8}, loss="evil").iloc[0]
    own.store.reopen(row["run_digest"], row["run_id"])
    kept = sorted(path.name for path in own.store.folder(row["run_digest"]).iterdir())
    assert kept == ["failures.txt"]
    assert own.train({"width": 8})["status"].tolist() == ["done"]
    assert own.starts() == ["8 False", "8 False"]


# Nothing is left over

SLEEPS = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open("pids.txt", "w") as pids:
    print(os.getpid(), child.pid, os.getppid(), file=pids, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def pids(folder: Path, seconds: float = 300) -> list[int]:
    """The processes of a program: itself, one that it started, and the one that watches it."""
    end = time.monotonic() + seconds
    file = folder / "pids.txt"
    while not (file.is_file() and file.read_text().endswith("\n")):
        assert time.monotonic() < end
        time.sleep(0.05)
    return [int(pid) for pid in file.read_text().split()]


def are_gone(processes: list[int], seconds: float = 300) -> bool:
    end = time.monotonic() + seconds
    while any(map(alive, processes)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, processes))


def test_a_run_that_hangs_is_ended_with_all_that_it_started(own):
    own.write(program=SLEEPS)
    row = own.train({"width": 8}, timeout_minutes=0.08).iloc[0]
    assert (row["status"], row["status_reason"]) == ("failed", "not at an end after 0.08 minutes")
    assert are_gone(pids(own.folder))


def test_a_run_that_does_not_listen_is_ended_too(own, monkeypatch):
    monkeypatch.setattr("isoloss.trainers._process.GRACE", 0.5)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    own.write(program=deaf + SLEEPS)
    assert own.train({"width": 8}, timeout_minutes=0.08)["status"].tolist() == ["failed"]
    assert are_gone(pids(own.folder))


JOB = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from pathlib import Path
from test_command import Own
own = Own(Path.cwd())
own.train({"width": 8})
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL", "of the watcher"])
def test_no_process_is_left_when_the_job_ends(own, name):
    own.write(program=SLEEPS)
    paths = json.dumps([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", JOB, paths]
    job = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, encoding="utf-8", preexec_fn=hear_ctrl_c
    )
    processes = pids(own.folder)
    if name == "of the watcher":
        os.kill(processes[2], signal.SIGKILL)
    else:
        job.send_signal(getattr(signal, name))
    _, output = job.communicate(timeout=300)
    assert are_gone(processes), output
    if name == "of the watcher":
        (digest,) = own.store.kept()
        assert own.store.find(digest)["status"] == "failed"
    else:
        assert job.returncode != 0


# is told to end in the middle: it saves its state and ends as if all was well
LISTENS = """
import signal, time
def told(*_):
    with open("signals.txt", "a") as signals:
        signals.write("told\\n")
    ENDS
if step == 5 and given.width == 8 and not given.resume:
    signal.signal(signal.SIGTERM, told)
    (given.out.parent / "waits").touch()
    time.sleep(600)
"""


def job_is_told(own, to_all: bool) -> str:
    """What the job says of a run that is told to end once it waits; to_all: as SLURM does it."""

    def tell():
        end = time.monotonic() + 60
        while not (waiting := list(own.store.root.rglob("waits"))) and time.monotonic() < end:
            time.sleep(0.01)
        if to_all:
            (program,) = pids_of(waiting[0].parent)
            os.killpg(os.getpgid(program), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=tell)
    with told_to_end(), pytest.raises(TerminatedError) as error:
        thread.start()
        own.train()
    thread.join()
    return str(error.value)


def pids_of(folder: Path) -> list[int]:
    """The processes that have a folder in their command line."""
    processes = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(folder) in (place / "cmdline").read_text():
                processes.append(int(place.name))
    return processes


@pytest.mark.parametrize(("to_all", "exit_code"), [(False, 0), (True, 3)])
def test_a_program_that_is_told_to_end_has_time_to_save_its_state(own, to_all, exit_code):
    hook = LISTENS.replace("ENDS", f"os._exit({exit_code})")
    own.write(program=PROGRAM.replace("    HOOK", textwrap.indent(hook, "    ")))
    assert "it had time to save its state" in job_is_told(own, to_all)
    assert (own.folder / "signals.txt").read_text() == "told\n"  # once: a second one may kill
    assert [line["event"] for line in own.store.journal()] == ["start"]
    shard = own.train()
    assert own.starts() == ["8 False", "16 False", "8 True"]
    assert (shard["status"].tolist(), shard["attempts"].tolist()) == (["done"] * 2, [1, 1])


def test_a_program_that_does_not_end_when_it_is_told_to_is_killed(own, monkeypatch):
    monkeypatch.setattr("isoloss.train.watch.GRACE", 1.0)
    hook = LISTENS.replace("ENDS", "pass")
    own.write(program=PROGRAM.replace("    HOOK", textwrap.indent(hook, "    ")))
    assert "ended before it had saved its state" in job_is_told(own, False)
    assert not pids_of(own.store.root)
    assert [line["event"] for line in own.store.journal()] == ["start"]


# The command line

ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
TEMPLATES = ["{x}", "--name={x}", '"{x}"', "'a {x}'", "{{{x}}}"]


@pytest.mark.parametrize("template", TEMPLATES)
@given(value=ANY)
def test_a_value_is_one_argument_whatever_it_holds(template, value):
    words = _command_line.arguments(f"program {template} end", {"x": value})
    before, after = shlex.split(template.replace("{{", "{").replace("}}", "}"))[0].split("{x}")
    assert words == ["program", f"{before}{value}{after}", "end"]


@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(value=ANY)
def test_a_value_reaches_the_program_unchanged(own, value):
    program = "import sys, json; json.dump(sys.argv[1:], open('arguments.json', 'w'))"
    own.write(program=program)
    study = own.study([{"text": value}], run="python train.py {text} --last", resume="")
    runs, setup = own.setup(study)
    train_shard(runs, setup)
    sent = json.loads((own.folder / "arguments.json").read_text())
    assert sent == [value, "--last"]
    (own.folder / "arguments.json").unlink()


@pytest.mark.parametrize(
    "value", ["a b", "'", '"', "; touch x", "$(touch x)", "`touch x`", "a\nb", "--flag", "*", ""]
)
def test_a_shell_in_a_value_is_text(own, value):
    own.write(program="import sys, json; json.dump(sys.argv[1:], open('arguments.json', 'w'))")
    runs, setup = own.setup(own.study([{"text": value}], run="python train.py {text}", resume=""))
    train_shard(runs, setup)
    assert json.loads((own.folder / "arguments.json").read_text()) == [value]
    assert not (own.folder / "x").exists()


def test_the_environment_says_which_run_it_is(own):
    own.write(
        program="import os; print({k: v for k, v in os.environ.items() if k[:3] in ('ISO', 'OMP')})"
    )
    row = own.train({"width": 8, "seed": 5}, run="python train.py {width}", resume="", threads=3)
    folder = own.store.folder(row["run_digest"].item())
    printed = (folder / "output.txt").read_text()
    assert f"'ISOLOSS_RUN_ID': '{row['run_id'].item()}'" in printed
    assert "'ISOLOSS_SEED': '5'" in printed and "'OMP_NUM_THREADS': '3'" in printed
    assert f"'ISOLOSS_RUN_FOLDER': '{folder / 'run'}'" in printed


# What is wrong with a study


def problems(study: dict) -> str:
    with pytest.raises(StudyError) as error:
        check.check(study)
    return str(error.value)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            {"run": "python train.py {widht}"},
            "{widht} is neither a setting nor a folder; did you mean 'width'?",
        ),
        ({"run": "python train.py {width!r}"}, "write a name in braces"),
        ({"run": "python train.py '{width}"}, "close the quote"),
        ({"run": "python train.py {width} }"}, "{{ or }} for a brace itself"),
        ({"run": ""}, "the command is empty"),
        (
            {"run": "python train.py {width} && rm x"},
            "'&&' is of a shell, and no shell runs the command",
        ),
        ({"run": "bash -c 'train {width}'"}, "a value would become code of the shell"),
        ({"run": "python train.py"}, "nothing reads the setting 'width'"),
        ({"run": "python train.py {width} {resume}", "resume": ""}, "{resume} has no text"),
        ({"run": "python train.py {width}", "resume": "--resume"}, "it does not have {resume}"),
        ({"run": "python train.py {width} --r={resume}", "resume": "x"}, "put spaces around it"),
        ({"files": ["nothing.py"]}, "'nothing.py' does not exist"),
        ({"results": "../metrics.jsonl"}, "is not below the folder of the run"),
        ({"n_params": "12 * widht"}, "'widht' is not a setting; did you mean 'width'?"),
        ({"n_params": "width > 3"}, "is not a formula of numbers"),
        ({"n_params": "width - 8"}, "n_params is 0.0"),
        ({"loss_at": "best"}, "one of last, min"),
    ],
)
def test_a_fault_of_the_command_is_named_before_anything_runs(own, command, message):
    assert message in problems(own.study(**command))


def test_faults_of_the_sweep_are_named(own):
    study = own.study([{"width": 8, "run_id": 3}, {"width": 8}])
    output = problems(study)
    assert "'run_id' is the name of something else" in output
    assert "the setting 'depth' is missing" in problems(
        own.study([{"width": 8, "depth": 2}, {"width": 8}], run="x {width} {depth}", resume="")
    )
    study = own.study()
    study["train"]["own"] |= {"model": "transformer"}
    del study["train"]["own"]["command"]
    output = problems(study)
    assert "train.own: 'command' is missing" in output
    assert "train.own.model: found, and the trainer is 'command', which has none" in output
    study = own.study()
    study["observe"] = {"norms": {"card": "weight_norms", "sweep": "own"}}
    assert "are those of a command, whose weights are not in the store" in problems(study)


def test_numbers_that_yaml_reads_as_text_are_numbers(own):
    own.write(program="import sys, json; json.dump(sys.argv[1:], open('arguments.json', 'w'))")
    cell = {"rate": ["1e-3"], "steps": "1e6", "flag": True, "name": "007"}
    run = "python train.py {rate} {steps} {flag} {name}"
    runs, setup = own.setup(own.study([cell], run=run, resume=""))
    assert (runs[0]["rate"], runs[0]["steps"]) == (0.001, 1000000)
    train_shard(runs, setup)
    assert json.loads((own.folder / "arguments.json").read_text()) == [
        "0.001",
        "1000000",
        "true",
        "007",
    ]
