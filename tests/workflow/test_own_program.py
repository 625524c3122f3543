"""Studies of a user's program, with real snakemake: the examples, and a run that is killed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
import yaml
from finished_results import run_counts
from running import ROOT, snakemake, write

from isoloss.core import tables
from isoloss.records.store import Store

EXAMPLES = ROOT / "examples"
# a run of width w loses 1 / w; the first start of a run is killed after its checkpoint
PROGRAM = """
import json, os, pathlib, sys
width, out, checkpoints, *resume = sys.argv[1:]
state = pathlib.Path(checkpoints, "state")
with open(pathlib.Path(out, "metrics.jsonl"), "a") as log:
    for step in range(int(state.read_text()) if resume else 0, 6):
        row = {"step": step + 1, "loss": 1 / int(width) + 1 / (step + 1)}
        print(json.dumps(row), file=log, flush=True)
        state.write_text(str(step + 1))
        if step == 2 and not resume and width == "8":
            os.kill(os.getpid(), 9)
"""


class Studied:
    """A folder with the examples, in which a study is run."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(EXAMPLES, folder / "examples")

    def example(self, name: str) -> dict:
        return yaml.safe_load((EXAMPLES / name / "study.yaml").read_text(encoding="utf-8"))

    def call(self, study: dict, *arguments: str) -> str:
        """Run a study; the messages of the jobs that were run, or that there was nothing to do."""
        process = snakemake(self.folder, *arguments, "--configfile", write(self.folder, study))
        output = process.stdout + process.stderr
        assert process.returncode == 0, output
        return output

    def isoloss(self, command: str, study: dict) -> str:
        """What a command of isoloss prints about a study."""
        words = [sys.executable, "-m", "isoloss", command, write(self.folder, study)]
        process = subprocess.run(words, cwd=self.folder, capture_output=True, text=True)
        assert process.stderr == ""
        return process.stdout

    def made(self, study: dict) -> set[str]:
        output = self.call(study)
        jobs = set(re.findall(r"^Job \d+: (.*)$", output, flags=re.M))
        assert jobs or "Nothing to be done" in output
        return jobs

    def runs(self, study: dict, sweep: str):
        home = self.folder / "results" / study["study"]
        return tables.frame(home / "aggregate" / sweep / "runs.parquet", "runs")

    def ended(self, study: dict) -> dict[str, int]:
        """When every program came to its end, by run."""
        store = Store(self.folder / "results" / study["study"] / "store")
        ended = {digest: store.folder(digest) / "output.txt" for digest in store.kept()}
        return {digest: path.stat().st_mtime_ns for digest, path in ended.items()}


@pytest.fixture
def studied(tmp_path):
    """A folder of a user."""
    return Studied(tmp_path)


@pytest.mark.slow
def test_the_example_of_a_trainer_state_runs_to_a_fit_and_a_figure(studied):
    study = studied.example("trainer_state")
    assert "fit power_law to sizes" in studied.made(study)
    runs = studied.runs(study, "sizes")
    assert runs["status"].tolist() == ["done"] * 5
    assert runs["n_params"].tolist() == [8, 16, 32, 64, 128]
    assert runs["n_samples"].tolist() == [512 * 32] * 5
    assert runs["n_flops"].tolist() == [6 * n * 512 * 32 for n in (8, 16, 32, 64, 128)]
    assert runs["loss"].is_monotonic_decreasing
    results = studied.folder / "results/trainer-state"
    assert (results / "plot/predicted_observed.png").stat().st_size > 10_000
    assert "loss in squared error" in (results / "summary.md").read_text(encoding="utf-8")
    before = studied.ended(study)
    assert studied.made(study) == set()
    study["train"]["sizes"]["command"]["loss"] = "loss"  # the training loss of the last batch
    assert "fit power_law to sizes" in studied.made(study)
    assert (studied.runs(study, "sizes")["loss"] != runs["loss"]).all()
    assert studied.ended(study) == before
    study["train"]["sizes"]["cells"][0]["features"].append(256)
    studied.made(study)
    after = studied.ended(study)
    assert len(after) == 6 and after.items() > before.items()
    script = studied.folder / "examples/trainer_state/train.py"
    script.write_text(script.read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    studied.made(study)
    assert len(studied.ended(study)) == 12


def test_the_example_of_a_pytorch_script_trains_and_resumes(studied):
    study = studied.example("plain_pytorch")
    study["fit"], study["plot"] = {}, {}
    sweep = study["train"]["widths"]
    sweep["shards"], sweep["cells"] = 1, [{"width": [1, 8], "seed": 0, "steps": 200}]
    del sweep["settings"]["steps"]
    studied.made(study)
    runs = studied.runs(study, "widths")
    assert runs["status"].tolist() == ["done", "done"]
    assert runs["loss"][1] < runs["loss"][0]
    script = studied.folder / "examples/plain_pytorch/train.py"
    whole = script.read_text(encoding="utf-8")
    killed = whole + "        given.resume or step < 100 or __import__('os').kill(0, 9)\n"
    script.write_text(killed, encoding="utf-8")
    sweep["cells"][0]["width"] = 8
    sweep["max_attempts"] = 2
    output = snakemake(studied.folder, "--configfile", write(studied.folder, study)).stderr
    assert "none of its 1 runs finished" in output
    assert studied.made(study) >= {"train widths: shard 0"}
    resumed = studied.runs(study, "widths")
    assert resumed["loss"].tolist() == [runs["loss"][1]]  # bit for bit


def test_a_run_that_is_killed_is_tried_again_from_its_checkpoint_and_the_others_stay(studied):
    (studied.folder / "train.py").write_text(PROGRAM, encoding="utf-8")
    run = "python train.py {width} {run_folder} {checkpoint_folder} {resume}"
    command = {"run": run, "resume": "--resume", "results": "metrics.jsonl", "loss": "loss"}
    sweep = {"trainer": "command", "shards": 1, "command": command, "cells": [{"width": [4, 8]}]}
    study = {"study": "own", "train": {"own": sweep}}
    studied.call(study)
    first = studied.runs(study, "own")
    assert first["status"].tolist() == ["done", "failed"]
    assert "SIGKILL (out of memory, or killed by hand)" in first["status_reason"][1]
    before = studied.ended(study)
    assert studied.made(study) >= {"train own: shard 0"}
    runs = studied.runs(study, "own")
    assert runs["loss"].tolist() == [1 / 4 + 1 / 6, 1 / 8 + 1 / 6]
    unchanged = [digest for digest, when in studied.ended(study).items() if before[digest] == when]
    assert len(unchanged) == 1
    assert studied.made(study) == set()


def test_two_readings_of_the_same_runs_are_both_done_until_the_script_is_edited(studied):
    script = studied.folder / "train.py"
    script.write_text(PROGRAM, encoding="utf-8")
    command = {"run": "python train.py {width} {run_folder} {checkpoint_folder}"}
    command |= {"results": "metrics.jsonl", "loss": "loss"}
    sweep = {"trainer": "command", "shards": 1, "cells": [{"width": [2, 4]}]}
    sweeps = {
        "last": {**sweep, "command": command},
        "least": {**sweep, "command": {**command, "loss_at": "min"}},
    }
    study = {"study": "own", "train": sweeps}
    studied.call(study)
    assert len(studied.ended(study)) == 2
    output = studied.isoloss("status", study)
    counts = {name: run_counts(output, name) for name in sweeps}
    assert counts == {name: {"planned": 2, "done": 2} for name in sweeps}
    script.write_text(PROGRAM + "# edited\n", encoding="utf-8")
    output = studied.isoloss("verify", study)
    assert "the files of its program changed (train.py): its runs are trained again" in output
    assert "what is read changed" not in output
    output = studied.isoloss("status", study)
    assert run_counts(output, "last") == {"planned": 2, "missing": 2}
