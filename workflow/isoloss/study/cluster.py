"""How the jobs of a study are called on a cluster, and which of them are left in its queue.

A facade. No result depends on any of it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from isoloss.core.problems import IsolossError, Problem

_NAME = 50  # characters that the executor allows in a prefix of names
_PATIENCE = 60.0  # seconds until the cluster answers


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
