"""How long a step of a run takes here, measured on random data before anything is trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from isoloss.core import extras, registry
from isoloss.core.safe_path import with_this_package
from isoloss.train.settings import task_of

SECONDS = 1.0  # that a measurement takes, once the first step is over; one step at least
STEPS = 200  # at most
TOO_LONG = 120.0  # seconds after which the measurements are given up


class _EnoughError(Exception):
    """Enough steps have been timed."""


class _NoCheckpoint:
    """Nothing to go on from, and nothing to save."""

    steps: frozenset[int] = frozenset()

    def load(self) -> None:
        """There is no state."""

    def due(self) -> bool:
        """It is never time to save one."""
        return False

    def save(self, state: Mapping[str, Any]) -> None:
        """Nothing is kept."""

    def keep(self, step: int, weights: Mapping[str, Any]) -> None:
        """Nothing is kept."""


def seconds_a_step(run: Mapping[str, Any]) -> float:
    """Seconds that a step of a run takes on this machine, the median of a second's steps.

    Args:
        run: its row of the plan.

    Raises:
        Exception: whatever the trainer raises, such as for a lack of memory.
    """
    card, options = registry.card("task", task_of(run["model"])), _options_of(run)
    sides = card.made_up(max(2, run["batch_items"]), **options)
    task = card.task(*sides, 1, 0, **options)
    times: list[float] = []
    trainer, model = registry.card("trainer", run["trainer"]), registry.card("model", run["model"])
    trainer.warm_up()
    settings = {**run, "n_steps": STEPS + 2}
    with suppress(_EnoughError):
        trainer.train(settings, 0, model, task, _timed(times), _NoCheckpoint())
    first, *later = (after - before for before, after in pairwise(times))
    return median(later) if later else first


def _options_of(run: Mapping[str, Any]) -> dict[str, Any]:
    return {key: run[key] for key in registry.options("task", task_of(run["model"]))}


def _timed(times: list[float]) -> Iterator[None]:
    """Ticks that note when each step ended, and end the run when they are enough."""
    begun = time.perf_counter()
    times.append(begun)
    while len(times) <= STEPS:
        yield
        times.append(time.perf_counter())
        if len(times) > 2 and times[-1] - times[1] > SECONDS:
            break
    raise _EnoughError


@dataclass(frozen=True)
class Measurement:
    """What came of measuring a step.

    Attributes:
        seconds: of a step; None if it could not be measured.
        reason: why not; else empty.
    """

    seconds: float | None
    reason: str = ""


def measured(runs: Sequence[Mapping[str, Any]]) -> list[Measurement]:
    """How long a step of each of some runs takes, measured one by one in a process of its own.

    Args:
        runs: rows of the plan.
    """
    command = [sys.executable, "-P", "-m", "isoloss.train.speed"]
    text = json.dumps(list(runs))
    try:
        child = subprocess.run(
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=TOO_LONG,
            env=with_this_package(os.environ),
        )
        lines, reason = child.stdout.splitlines(), f"its process ended with {child.returncode}"
    except subprocess.TimeoutExpired as error:
        lines = (error.stdout or b"").decode().splitlines()
        reason = f"not measured within {TOO_LONG:g} s"
    known = [Measurement(**json.loads(line)) for line in lines]
    return known + [Measurement(None, reason)] * (len(runs) - len(known))


def _measure(run: Mapping[str, Any]) -> Measurement:
    try:
        return Measurement(seconds_a_step(run))
    except Exception as error:  # of any trainer: the others are measured, and this one has a reason
        lacking = extras.lacking_in(error) if isinstance(error, ModuleNotFoundError) else None
        return Measurement(None, str(lacking or f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    for planned in json.load(sys.stdin):
        print(json.dumps(asdict(_measure(planned))), flush=True)
