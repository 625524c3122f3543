"""Sweeps whose runs are those of a user's program: their settings, their plan, their identity."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from isoloss.core import schema, tables
from isoloss.core.canonical import canonical
from isoloss.core.paths import kind_of
from isoloss.core.problems import IsolossError, Problem
from isoloss.train.cells import assignments
from isoloss.train.settings import free_settings
from isoloss.trainers import _command_line, _quantities
from isoloss.trainers.command import PLACES, READING, Program, plan

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLOCK = 1 << 20  # bytes of a file that are read at once
_MOST_VALUE = 40  # characters of a setting in a run's id
NO_CODE = "none"  # of this package, in the place of its digest


def program_runs(sweep: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The planned runs of a sweep, as rows of its `plan` table without a shard, in cell order.

    Raises:
        IsolossError: N, D or C of a run is not a number above 0.
    """
    properties, command = free_settings(sweep), sweep["command"]
    seen = set()
    for cell in sweep["cells"]:
        for assignment in assignments(cell, properties):
            given = {"seed": 0, **sweep["settings"], **assignment}
            settings = {key: _typed(given[key], spec["type"]) for key, spec in properties.items()}
            text = json.dumps(settings, sort_keys=True)
            if text not in seen:
                seen.add(text)
                yield _row(settings, sweep["trainer"], plan(command, settings))


def _typed(value: Any, kind: str) -> Any:
    if kind == "number":
        return float(value)
    return schema.number(value) if kind == "integer" else value


def _row(settings: Mapping[str, Any], trainer: str, known: Mapping[str, float]) -> dict[str, Any]:
    n, d = known.get("n_params", math.nan), known.get("n_samples", math.nan)
    unknown = dict.fromkeys(tables.schema("plan").names)
    return {
        **unknown,
        **settings,
        "trainer": trainer,
        "run_id": label(settings),
        "n_flops_6nd": 6.0 * n * d,
        "budget": math.nan,
        **{k: int(v) if k in _quantities.WHOLE else v for k, v in known.items()},
    }


def label(settings: Mapping[str, Any]) -> str:
    """The id of a run: its settings by name, as far as they are short, then a hash of all.

    Example:
        >>> label({"width": 64, "lr": 0.001, "seed": 1})
        'lr0.001-width64-s1-e3ef2ba44f0e'
    """
    digest = blake2b(canonical(settings).encode(), digest_size=6).hexdigest()
    named = [f"{k}{_command_line.spelled(settings[k])}" for k in sorted(settings) if k != "seed"]
    short = [re.sub(r"[^A-Za-z0-9_.-]+", "_", text)[:_MOST_VALUE] for text in named[:4]]
    return "-".join([*short, f"s{settings['seed']}", digest])


def program_problems(sweep: Mapping[str, Any], place: str) -> list[Problem]:
    """What is wrong with a sweep of a user's program, whose settings have sound values."""
    command, at = sweep["command"], f"{place}.command"
    names = free_settings(sweep)
    wrong = _name_problems(names, place)
    usable = [*names, *PLACES]
    for key, known in (("run", usable), ("resume", [name for name in usable if name != "resume"])):
        if key == "run" or command[key]:
            wrong += _command_line.problems(command[key], known, f"{at}.{key}")
    if wrong:
        return wrong
    wrong += _resume_problems(command, at)
    for name in _quantities.QUANTITIES:
        text = command.get(name)
        if text is not None and name in names:
            reason = f"{name} is a setting too"
            wrong.append(Problem(f"{at}.{name}", reason, "give one of them"))
        elif isinstance(text, str):
            wrong += _quantities.problems(text, names, f"{at}.{name}")
    return wrong + _use_problems(sweep, names, place) + _file_problems(command, at)


def _name_problems(names: Iterable[str], place: str) -> list[Problem]:
    """Settings that cannot be named in a command line, or are called as something else is."""
    taken = {*tables.schema("plan").names, *tables.schema("runs").names, *PLACES}
    taken -= {"seed", *_quantities.QUANTITIES}
    wrong = []
    for name in names:
        if name in taken or name.startswith("loss_"):
            reason = f"{name!r} is the name of something else"
            wrong.append(Problem(f"{place}.cells", reason, "give the setting another name"))
        elif not _NAME.fullmatch(name):
            reason = f"the setting {name!r} cannot be written in braces"
            wrong.append(Problem(f"{place}.cells", reason, "letters, digits and _ only"))
    return wrong


def _resume_problems(command: Mapping[str, Any], place: str) -> list[Problem]:
    named = "resume" in _command_line.names_of(command["run"], place)
    if named == bool(command["resume"]):
        return []
    if named:
        return [Problem(f"{place}.resume", "{resume} has no text", "give the words of `resume`")]
    return [Problem(f"{place}.run", "it does not have {resume}", "add it, or leave `resume` out")]


def _use_problems(sweep: Mapping[str, Any], names: Iterable[str], place: str) -> list[Problem]:
    """Settings that a cell does not give, and settings that nothing reads."""
    command = sweep["command"]
    used = {name for key in ("run", "resume") for name in _command_line.names_of(command[key], key)}
    used |= {"seed", *_quantities.QUANTITIES}  # ISOLOSS_SEED says it
    for text in (command.get(name) for name in _quantities.QUANTITIES):
        if isinstance(text, str) and _quantities.is_formula(text, names):
            used |= set(_quantities.columns(text))
    wrong = []
    for name in names:
        if name not in used:
            reason = f"nothing reads the setting {name!r}"
            remedy = f"write {{{name}}} in the command, or leave it out"
            wrong.append(Problem(f"{place}.command.run", reason, remedy))
    for i, cell in enumerate(sweep["cells"]):
        lacking = [n for n in names if n not in {"seed", *cell, *sweep["settings"]}]
        if lacking:
            reason = f"the setting {lacking[0]!r} is missing, which other cells give"
            wrong.append(Problem(f"{place}.cells[{i}]", reason, "add it"))
    return wrong


def _file_problems(command: Mapping[str, Any], place: str) -> list[Problem]:
    at, wrong = f"{place}.files", []
    for name in command["files"]:
        if not os.path.exists(name):  # of any text, however long
            remedy = "paths begin where snakemake runs"
            wrong.append(Problem(at, f"{name!r} does not exist", remedy))
        elif not os.path.isfile(name) and not os.path.isdir(name):
            reason = f"{name!r} is {kind_of(name)}, whose content cannot be compared"
            wrong.append(Problem(at, reason, "name files and folders"))
    results = Path(command["results"])
    if results.is_absolute() or ".." in results.parts:
        reason = f"{command['results']!r} is not below the folder of the run"
        wrong.append(Problem(f"{place}.results", reason, "give a path below {run_folder}"))
    return wrong


def files_of(command: Mapping[str, Any]) -> list[Path]:
    """The files that are part of a run's identity, sorted.

    Those are `files`, all in a folder among them, and every word of the command without a name in
    braces that is a file; the first word, the program, only if it is a relative path.
    """
    first, *others = _command_line.words_of(command["run"], "command.run")
    fixed = set(_command_line.fixed_words(command["run"], "command.run"))
    words = [word for word in others if word in fixed and os.path.isfile(word)]
    if "/" in first and not first.startswith("/") and os.path.isfile(first):
        words.append(first)
    named = [Path(name) for name in command["files"]]
    inside = [path for folder in named for path in folder.rglob("*") if path.is_file()]
    caches = ("__pycache__",)
    paths = {Path(word) for word in words} | {path for path in named if path.is_file()}
    return sorted(paths | {p for p in inside if not set(p.parts).intersection(caches)})


def files_digest(command: Mapping[str, Any]) -> str:
    """Digest of the files of a command, by path and content.

    Raises:
        IsolossError: one cannot be read.
    """
    try:
        digests = [
            [path.as_posix(), _file_digest(path, *_stamp(path))] for path in files_of(command)
        ]
    except OSError as error:
        place = f"command, {error.filename}"
        raise IsolossError(Problem(place, f"cannot be read ({error.strerror})", "")) from error
    return blake2b(json.dumps(digests).encode(), digest_size=16).hexdigest()


def _stamp(path: Path) -> tuple[int, int, int]:
    about = path.stat()
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns


@cache
def _file_digest(path: Path, *stamp: int) -> str:
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def reading_digest(command: Mapping[str, Any], code: str) -> str:
    """Digest of how the output of a command is read: what the study says of it, and the code."""
    read = {key: command.get(key) for key in READING}
    return blake2b(canonical({"reading": read, "code": code}).encode(), digest_size=16).hexdigest()


class Programs:
    """What the runs of a sweep have in common: in the place of a dataset's `Content`.

    Args:
        command: the study's entry.
        names: the settings of every run.
        content: digest of the files of the command.
        reading: digest of how output is read.
    """

    of_program = True

    def __init__(
        self, command: Mapping[str, Any], names: Iterable[str], content: str, reading: str
    ):
        self.command, self.names = command, tuple(names)
        self.content, self.reading = content, reading

    def identity(
        self, run: Mapping[str, Any], *, seed: int, valid_tokens: int, code: str
    ) -> dict[str, Any]:
        """What a run's digest is made of: settings, command line, and the content of its files.

        Args:
            run: its row of the plan.
            seed: of the study, which a program does not get.
            valid_tokens: of the study, which a program does not get.
            code: stands for no code of this package: none changes what a program does.
        """
        return {
            "settings": {key: run[key] for key in ("trainer", *self.names)},
            "command": self.command["run"],
            "content": self.content,
            "code": code,
        }

    def program(self, identity: Mapping[str, Any], folder: Path) -> Program:
        """A run with this identity, in its folder of the store."""
        settings = {key: v for key, v in identity["settings"].items() if key != "trainer"}
        return Program(label(settings), settings, self.command, folder, self.reading)
