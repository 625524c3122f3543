"""A program of the user, started once a run; what came of it is read from what it wrote."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoloss.core import paths, tables
from isoloss.core.escape import visible
from isoloss.core.safe_path import without_it
from isoloss.trainers import _command_line, _outcome, _process, _quantities
from isoloss.trainers._program import FailedError
from isoloss.trainers._trainer import Trained

TITLE = "Command"
ABOUT = (
    "A command line of the user, filled in with the settings of the run and started without a"
    " shell; losses are read from a file that it writes."
)
SOURCE = "The user's own program."
PROGRAM = True  # runs a program of the user: the sweep has a `command`, no model and no dataset
OPTIONS = {}
# names that the command line can have besides the settings of the run
PLACES = ("run_folder", "checkpoint_folder", "run_id", "resume")
# keys of `command` that say how output is read; they change no run
READING = ("results", "loss", "loss_at", "losses", "curve", "n_params", "n_samples", "n_flops")
# variables that say how many threads numerical libraries use
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Program:
    """A run of a program.

    Attributes:
        run_id: of the run.
        settings: of the run.
        command: the study's entry.
        folder: of the run in the store.
        reading: digest of how its output is read.
    """

    run_id: str
    settings: Mapping[str, Any]
    command: Mapping[str, Any]
    folder: Path
    reading: str

    @property
    def own(self) -> Path:
        """The folder that belongs to the program."""
        return self.folder / "run"

    @property
    def checkpoints(self) -> Path:
        """The folder for states from which it can go on."""
        return self.folder / "checkpoints"

    @property
    def log(self) -> Path:
        """The file of what it printed."""
        return self.folder / "output.txt"

    @property
    def ended(self) -> Path:
        """The file that is there when it ended with exit code 0."""
        return self.folder / "ended.json"

    def arguments(self) -> list[str]:
        """The program and its arguments; those of `resume` where there is a state to go on from."""
        values = {**self.settings, "run_id": self.run_id}
        values |= {"run_folder": str(self.own.resolve())}
        values |= {"checkpoint_folder": str(self.checkpoints.resolve())}
        resume = self.command["resume"] if any(self.checkpoints.iterdir()) else ""
        words = _command_line.arguments(resume, values, place="resume")
        return _command_line.arguments(self.command["run"], values, words)

    def environment(self) -> dict[str, str]:
        """Its variables: those of this process, where it can write, and how many threads it has.

        A script of Python imports what lies beside it, as it does without isoloss.
        """
        return {
            **without_it(os.environ),
            **dict.fromkeys(_THREADS, str(self.command["threads"])),
            "ISOLOSS_RUN_ID": self.run_id,
            "ISOLOSS_SEED": str(self.settings["seed"]),
            "ISOLOSS_RUN_FOLDER": str(self.own.resolve()),
            "ISOLOSS_CHECKPOINT_FOLDER": str(self.checkpoints.resolve()),
        }


def plan(command: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, float]:
    """N, D and C of a run, as far as the settings say them.

    Args:
        command: the study's entry.
        settings: of the run.

    Raises:
        IsolossError: one is not a number above 0.
    """
    return _quantities.of_settings(command, settings)


def warm_up() -> None:
    """Import what reads the output; called in the process of which those that train are forks."""
    import isoloss.logs.read  # noqa: F401


def device(settings: Mapping[str, Any]) -> str:
    """What stands for the device of a run, which only the program knows."""
    return "program"


def train(program: Program, ticks: Iterator[None]) -> Trained:
    """Run a program to its end, unless it has ended before, and read what came of it.

    A run whose output could not be read is started again, if it is read in the same way.

    Args:
        program: the run.
        ticks: advanced while it runs; without one left all its processes are killed.

    Raises:
        FailedError: it could not be started, ended with another exit code than 0 or not in time,
            or its output is missing or malformed.
        DivergedError: its loss is NaN or infinite.
    """
    record = _recorded(program)
    if record is None or program.reading in record["unread"]:
        record = {"seconds": _run(program, ticks, anew=record is not None), "unread": []}
        _keep(program, record)
        shutil.rmtree(program.checkpoints, ignore_errors=True)
    try:
        measured = _outcome.read_outcome(program.own, program.command, program.settings)
    except FailedError as error:
        _keep(program, {**record, "unread": [*record["unread"], program.reading]})
        raise FailedError(str(error), _shown(program)) from error
    return Trained({**measured, "seconds": record["seconds"]}, None)


def _recorded(program: Program) -> dict[str, Any] | None:
    """What is kept of a program that ended: `seconds`, and by which readings it is unreadable."""
    try:
        return json.loads(program.ended.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # it did not end, or nobody knows: it is started again


def _keep(program: Program, record: Mapping[str, Any]) -> None:
    tables.write_text(program.ended, json.dumps(record))


def _run(program: Program, ticks: Iterator[None], anew: bool) -> float:
    """Start a program and wait for it; the seconds that it took.

    It goes on from its checkpoints; without any, or anew, it begins in an empty folder.
    """
    program.checkpoints.mkdir(parents=True, exist_ok=True)
    if anew or not any(program.checkpoints.iterdir()):
        for folder in (program.own, program.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        program.log.unlink(missing_ok=True)
    program.ended.unlink(missing_ok=True)
    arguments, minutes = program.arguments(), program.command.get("timeout_minutes")
    with paths.writing(program.log), program.log.open("a", encoding="utf-8") as log:
        log.write(f"$ {shlex.join(arguments)}\n")
    begun = time.perf_counter()
    seconds = None if minutes is None else 60 * minutes
    try:
        code = _process.run(arguments, program.log, program.environment(), seconds, ticks)
    except OSError as error:
        raise FailedError(f"{arguments[0]!r} could not be started ({error.strerror})") from error
    if code is None:
        raise FailedError(f"not at an end after {minutes:g} minutes", _shown(program))
    if code:
        last = _process.tail(program.log)[-1:]
        printed = f": {visible(last[0])[:200]}" if last and not last[0].startswith("$ ") else ""
        raise FailedError(f"{_process.ending(code)}{printed}", _shown(program))
    return time.perf_counter() - begun


def _shown(program: Program) -> str:
    """The tail of what a program printed, for the record of failures."""
    lines = _process.tail(program.log) if program.log.is_file() else []
    return "\n".join([f"the last lines of {program.log}:", *lines])
