"""A study on a real SLURM: its folder, its head, what its journal and its tables say."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from cluster import Cluster, until
from running import ROOT, hear_ctrl_c, write

PLUGIN = "ISOLOSS_SLURM_PLUGIN"  # the folder with the executor plugin, as `make test-slurm` sets it
# quick answers: a person's cluster is asked less often
QUICK = ["--slurm-init-seconds-before-status-checks", "6", "--latency-wait", "20"]
# A run of `steps` steps, a tenth of a second each, goes on from its checkpoint; one with `bad` ends
# with exit code 3. It notes where each start began, and which GPUs it saw.
PROGRAM = """
import json, os, pathlib, sys, time
width, steps, bad, out, checkpoints, *resume = sys.argv[1:]
state, out = pathlib.Path(checkpoints, "state"), pathlib.Path(out)
begun = int(state.read_text()) if resume else 0
with open(out / "starts.txt", "a") as starts:
    print(begun, os.environ.get("CUDA_VISIBLE_DEVICES", "none"), file=starts)
if int(bad):
    sys.exit("this width is bad")
for step in range(begun, int(steps)):
    time.sleep(0.1)
    fresh = state.with_suffix(".new")
    fresh.write_text(str(step + 1))
    fresh.rename(state)
(out / "result.json").write_text(json.dumps({"loss": 1 + 1 / int(width)}))
"""
_RUN = "python train.py {width} {steps} {bad} {run_folder} {checkpoint_folder} {resume}"


def programs(shards: int = 2, steps: int = 40, bad: int = 0, **resources: object) -> dict:
    """A sweep of four runs of a program: four seconds each, unless said otherwise."""
    sweep = {
        "trainer": "command",
        "shards": shards,
        "command": {"run": _RUN, "resume": "--resume", "results": "result.json", "loss": "loss"},
        "settings": {"steps": steps, "bad": 0},
        "cells": [{"width": [2, 4, 8]}, {"width": 16, "bad": bad}],
    }
    return sweep | ({"resources": resources} if resources else {})


class OnCluster:
    """A folder in which a study is run on a cluster.

    Args:
        folder: the working directory.
        cluster: that runs.
        study: the study.
    """

    def __init__(self, folder: Path, cluster: Cluster, study: dict):
        self.folder, self.cluster = folder, cluster
        (folder / "train.py").write_text(PROGRAM)
        self.config = write(folder, study)
        self.results = folder / "results" / study["study"]
        self.environment = {**cluster.environment, "PYTHONPATH": self._path(cluster.environment)}

    @staticmethod
    def _path(environment: dict[str, str]) -> str:
        return os.pathsep.join([str(ROOT / "workflow"), environment[PLUGIN]])

    def head(self, *arguments: str) -> subprocess.Popen:
        """Start snakemake with the profile of the project; a file takes what it prints."""
        command = [
            *(sys.executable, "-m", "snakemake", "--profile", str(ROOT / "profiles/slurm")),
            *("--snakefile", str(ROOT / "Snakefile"), "--directory", str(self.folder)),
            *("--configfile", self.config, *QUICK, *arguments),
        ]
        with (self.folder / "head.txt").open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=hear_ctrl_c,
            )

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run snakemake to its end; what it printed."""
        head = self.head(*arguments)
        return self.end(head, code)

    def end(self, head: subprocess.Popen, code: int = 0) -> str:
        """Wait for a head and check how it ended; what all heads in this folder printed."""
        try:
            exit_code = head.wait(300)
        except subprocess.TimeoutExpired:
            os.killpg(head.pid, signal.SIGKILL)
            raise AssertionError(f"it hangs\n{self.printed}\n{self.cluster.logs()}") from None
        assert exit_code == code, f"{self.printed}\n{self.cluster.logs()}"
        return self.printed

    @property
    def printed(self) -> str:
        """What all heads in this folder printed."""
        return (self.folder / "head.txt").read_text()

    def isoloss(self, *words: str) -> str:
        """What a command of isoloss prints about the study."""
        command, *options = words
        process = subprocess.run(
            [sys.executable, "-m", "isoloss", command, self.config, *options],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout

    def journal(self) -> list[dict]:
        """The lines of the journal."""
        file = self.results / "store/journal.jsonl"
        return (
            [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
        )

    def started(self) -> int:
        """How many starts the journal has."""
        return sum(line["event"] == "start" for line in self.journal())

    def running(self, count: int = 1) -> None:
        """Wait until so many runs have begun and made a step."""
        steps = lambda: [*self.results.glob("store/*/checkpoints/state")]  # noqa: E731
        until(lambda: self.started() >= count and len(steps()) >= 1, f"{count} runs have begun")

    def job_of(self, rule: str) -> tuple[str, str]:
        """A job of a rule that is running: its id and node."""
        jobs: list[tuple[str, str]] = []

        def look() -> bool:
            lines = self.cluster.run("squeue", "--noheader", "--format=%i|%k|%T|%N").stdout
            for number, comment, state, node in (one.split("|") for one in lines.splitlines()):
                if comment.startswith(f"rule_{rule}") and state == "RUNNING":
                    jobs.append((number, node))
            return bool(jobs)

        until(look, f"a job of {rule} is running")
        return jobs[0]

    def finished_once(self, runs: int, failed: int = 0) -> None:
        """Assert by the journal that every run finished once, and none was begun after that."""
        ended: Counter[str] = Counter()
        for line in self.journal():
            if line["event"] == "start":
                assert ended[line["run_digest"]] == 0, f"trained twice: {line}"
            elif line["event"] == "end" and line["status"] == "done":
                ended[line["run_digest"]] += 1
        assert sorted(ended.values()) == [1] * (runs - failed)


def tables(results: Path) -> dict[str, bytes]:
    """The tables of a study that do not say how long or how often something was done."""
    stages = ("load", "expand", "plan", "aggregate", "observe", "fit", "plot")
    return {
        str(file.relative_to(results)): file.read_bytes()
        for stage in stages
        for file in (results / stage).rglob("*.parquet")
        if file.name != "timing.parquet"
    }


def same(ours: Path, theirs: Path) -> None:
    """Assert that two results have the same tables with the same bytes."""
    one, other = tables(ours), tables(theirs)
    assert one
    assert sorted(one) == sorted(other)
    assert [name for name in one if one[name] != other[name]] == []
