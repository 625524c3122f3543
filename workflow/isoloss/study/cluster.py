"""What jobs ask of a cluster, how they are called there, and which of them are left in its queue.

A facade. No result depends on any of it.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.core.problems import IsolossError, Problem

if TYPE_CHECKING:
    from isoloss.study.flow import Flow

# resources of Snakemake, and the keys of a sweep's `resources` that say them
ASKED = {
    "gpu": "gpus",
    "gpu_model": "gpu_model",
    "nodes": "nodes",
    "slurm_partition": "partition",
    "slurm_account": "account",
    "qos": "qos",
    "constraint": "constraint",
}
MEMORY_MB = 2000
UNNAMED = "study"  # in the names of jobs where the file on the command line is not one study
START_MINUTES = 10  # of a job: Python, libraries, a slow file system
UNKNOWN_MINUTES = 240  # of a job of which nothing is known
_SAFETY = 2.0  # times the seconds that are predicted
_NAME = 50  # characters that the executor allows in a prefix of names
_PATIENCE = 60.0  # seconds until the cluster answers


def memory_mb(study: Mapping[str, Any], sweep: str, attempt: int) -> int:
    """The memory of a job that trains runs of a sweep: more at each attempt."""
    entry = study["train"][sweep]
    asked = entry.get("command", {}).get("memory_mb", MEMORY_MB)
    return attempt * entry.get("resources", {}).get("memory_mb", asked)


def asked(study: Mapping[str, Any], sweep: str, resource: str) -> Any:
    """What a sweep asks for of a resource of Snakemake (one of ASKED); None if it says nothing."""
    return study["train"][sweep].get("resources", {}).get(ASKED[resource])


class Times:
    """The time limits of the jobs that train, in minutes.

    Args:
        flow: the study with its results.
        measures: whether steps may be measured here to predict them.
    """

    def __init__(self, flow: Flow, measures: bool):
        self.flow, self.measures = flow, measures
        self._predicted: Mapping[tuple[str, str], float] | None = None

    def minutes(self, sweep: str, shard: str, attempt: int) -> int:
        """Of the job of a shard: as the study says, else by the runs that the store lacks."""
        given = self.flow.config["train"][sweep].get("resources", {}).get("minutes")
        if given is not None:
            return attempt * given
        if self._predicted is None:
            from isoloss.study import forecast

            self._predicted = forecast.of_shards(self.flow, self.measures)
        return attempt * limit(self._predicted.get((sweep, shard), 0.0))


def limit(seconds: float) -> int:
    """The time limit of a job, in minutes, by the seconds that are predicted for it.

    Args:
        seconds: infinite where nothing is known.

    Example:
        >>> limit(0.0), limit(3600.0), limit(float("inf"))
        (10, 130, 240)
    """
    if math.isinf(seconds):
        return UNKNOWN_MINUTES
    return START_MINUTES + math.ceil(_SAFETY * seconds / 60)


def job_name(study: str, directory: str | Path) -> str:
    """What the names of a study's jobs begin with: its name, and a hash of the folder it runs in.

    Example:
        >>> job_name("laws", "/data/me")
        'isoloss-laws-bccda2b9'
    """
    place = f"{Path(directory).resolve()}\0{study}"
    digest = blake2b(place.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    kept = re.sub(r"[^A-Za-z0-9_-]", "_", study)
    return f"isoloss-{kept[: _NAME - len('isoloss--') - len(digest)]}-{digest}"


def has_accounting() -> bool:
    """Whether the cluster keeps accounts, so that `sacct` knows jobs that have ended."""
    if shutil.which("sacct") is None:
        return False
    command = ["sacct", "--noheader", "--allocations", "--starttime", "now"]
    try:
        return subprocess.run(command, capture_output=True, timeout=_PATIENCE).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def leftovers(name: str, run: Callable[..., Any] = subprocess.run) -> list[tuple[str, ...]]:
    """The jobs of a study that are in the queue of SLURM: id, state, node or reason, what it does.

    Args:
        name: what the names of its jobs begin with (`job_name`).
        run: starts a program.

    Raises:
        IsolossError: the queue cannot be read.
    """
    lines = _answer(run, "squeue", "--me", "--noheader", "--format=%i|%T|%R|%j|%k").splitlines()
    jobs = [line.split("|", 4) for line in lines if line.count("|") >= 4]
    ours = re.compile(rf"{re.escape(name)}_[0-9a-f-]{{36}}")
    return [
        (number, state, where, comment.removeprefix("rule_"))
        for number, state, where, called, comment in jobs
        if ours.fullmatch(called)
    ]


def cancel(numbers: Sequence[str], run: Callable[..., Any] = subprocess.run) -> None:
    """Cancel jobs by their ids.

    Raises:
        IsolossError: SLURM refuses.
    """
    if numbers:
        _answer(run, "scancel", *numbers)


def _answer(run: Callable[..., Any], *command: str) -> str:
    """What a program of SLURM prints."""
    utf8 = {"encoding": "utf-8", "errors": "replace"}
    try:
        answer = run(command, capture_output=True, timeout=_PATIENCE, check=False, **utf8)
    except FileNotFoundError:
        reason = f"{command[0]} is not on this machine: type this where jobs are sent from"
        raise IsolossError(reason) from None
    except subprocess.TimeoutExpired:
        reason = f"{command[0]} did not answer within {_PATIENCE:g} s: try again"
        raise IsolossError(reason) from None
    if answer.returncode:
        message = (answer.stderr.strip() or f"exit code {answer.returncode}").splitlines()[-1]
        remedy = "try again when `scontrol ping` says that the controller is up"
        raise IsolossError(Problem(command[0], message.removeprefix(f"{command[0]}: "), remedy))
    return answer.stdout
