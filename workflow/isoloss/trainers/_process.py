"""Run a program to its end, with everything that it starts, and nothing of it left over."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_LOOK = 0.1  # seconds between two looks at the program
GRACE = 10.0  # seconds between asking a program to end and ending it
TAIL_LINES = 20
_TAIL_BYTES = 1 << 16


def run(
    arguments: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    seconds: float | None,
    ticks: Iterator[None],
) -> int | None:
    """Run a program in the process group of the caller, who leads it.

    Args:
        arguments: the program and its arguments.
        log: what it prints is added to this file.
        environment: its variables.
        seconds: after which it is ended; None for never.
        ticks: advanced while the program runs; the whole group is killed, the caller with it,
            when there is none left.

    Returns:
        The exit code, negative for a signal; None if the time was over.

    Raises:
        OSError: it could not be started.
    """
    deadline = math.inf if seconds is None else time.monotonic() + seconds
    with log.open("ab") as output:
        program = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
        )
    for _ in ticks:
        try:
            return program.wait(_LOOK)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                _end(program)
                return None
    return os.killpg(0, signal.SIGKILL)


def _end(program: subprocess.Popen) -> None:
    """Ask the whole group to end, then end the program; whoever started the group ends the rest."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # this process is in the group too
    os.killpg(0, signal.SIGTERM)
    try:
        program.wait(GRACE)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def tail(log: Path) -> list[str]:
    """The last lines that a program printed, at most TAIL_LINES, without empty ones at the end."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    return text.rstrip().splitlines()[-TAIL_LINES:]


def ending(exit_code: int) -> str:
    """How a program ended, in words.

    Example:
        >>> ending(3), ending(-9)
        ('exit code 3', 'ended by SIGKILL (out of memory, or killed by hand)')
    """
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    hint = " (out of memory, or killed by hand)" if name == "SIGKILL" else ""
    return f"ended by {name}{hint}"
