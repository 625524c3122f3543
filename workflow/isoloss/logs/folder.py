"""Which files of a folder are logs of which runs, and what is in them."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from isoloss.core.problems import Problem, TableError
from isoloss.core.sources import Source
from isoloss.formats import columnar
from isoloss.formats.names import meanings
from isoloss.formats.table import Parsed
from isoloss.logs import configs, mlflow
from isoloss.logs.exports import numbered
from isoloss.logs.file import log_of, logs_of
from isoloss.logs.join import Piece, joined, merged
from isoloss.logs.log import Log, as_text
from isoloss.logs.places import (
    folders_of,
    is_events,
    is_generic,
    place,
    stem,
    trainer_of,
    trainers,
)

_Read = TypeVar("_Read")
_LAST = "\U0010ffff"  # behind all names that begin alike


def gathered(source: Source) -> tuple[dict[str, Log], tuple[Problem, ...]]:
    """The logs in a folder by run, in the order of run ids, and the files that cannot be read."""
    files = _files(source)
    gathering = _Gathering(dict(files))
    gathering.take_stores()
    gathering.take_configs()
    gathering.take_trainers()
    gathering.take_logs()
    if len(files) > 1:
        gathering.leave_others(files)
    logs = gathering.logs()
    whole = source.address.stem if source.address.path.name else Path.cwd().name
    ids = numbered([as_text(run or whole) for run in logs])
    named = dict(sorted(zip(ids, logs.values(), strict=True)))
    return named, (*source.unread, *gathering.unread)


def _files(source: Source) -> dict[str, Source]:
    """Every file as a source of its own, by name; a file that was given by itself has its label."""
    if source.names == (source.address.path.name,):
        return {source.names[0]: replace(source, names=(), logs=False)}
    pairs = zip(source.names, source.parts, strict=True)
    return {name: source.member(name, part, alone=True) for name, part in pairs}


@dataclass
class _Gathering:
    """Files on their way to runs.

    Attributes:
        files: by name, what was not taken yet.
        pieces: what was read of every run, by the names of its files.
        configs: configurations by their folders.
        unread: what cannot be read.
    """

    files: dict[str, Source]
    pieces: dict[str, dict[str, Piece]] = field(default_factory=dict)
    configs: dict[str, list[configs.Config]] = field(default_factory=dict)
    unread: list[Problem] = field(default_factory=list)

    def _read(self, read: Callable[..., _Read], *given: Any) -> _Read | None:
        """What a reader returns; None if it cannot read a file, which is listed."""
        try:
            return read(*given)
        except TableError as error:
            self.unread += error.problems
            return None

    def _add(self, run: str, name: str, piece: Piece) -> None:
        self.pieces.setdefault(run, {})[name] = piece

    def take_stores(self) -> None:
        """Read the runs of MLflow stores; what else is in their folders is not looked at."""
        metas = [name for name in self.files if PurePosixPath(name).name == mlflow.META]
        about = {
            name.removesuffix(mlflow.META): self._read(mlflow.meta, self.files.pop(name))
            for name in metas
        }
        names = sorted(self.files)
        for folder, facts in about.items():
            if not facts or not mlflow.is_run(facts):
                continue
            own = names[bisect(names, folder) : bisect(names, f"{folder}{_LAST}")]
            files = {name.removeprefix(folder): self.files.pop(name) for name in own}
            experiment = about.get(folder[: folder.rstrip("/").rfind("/") + 1]) or {}
            log = self._read(mlflow.log, facts, files, experiment)
            if log is not None:
                self._add(folder.rstrip("/"), folder, Piece("mlflow", log))

    def take_configs(self) -> None:
        """Read configurations; one that is of no log by its name is not looked at."""
        logs = {
            _sibling(n, stem(n)) for n in self.files if not n.endswith((".json", ".yaml", ".yml"))
        }
        for name in list(self.files):
            owner = configs.owner(name)
            if owner is None and name.endswith(".json") and _sibling(name, stem(name)) in logs:
                owner = "" if is_generic(stem(name)) else stem(name)
            if owner is None:
                continue
            file = self.files.pop(name)
            if not owner or _sibling(name, owner) in logs:
                settings = self._read(configs.settings, file)
                if settings is not None:
                    config = configs.Config(name, owner, settings)
                    self.configs.setdefault(config.folder, []).append(config)

    def take_trainers(self) -> None:
        """Read the newest state of every Hugging Face Trainer, and leave its other files out."""
        states = trainers(self.files)
        owners = {name: trainer_of(name, states) for name in self.files}
        with_events = {owner for name, owner in owners.items() if is_events(name)}
        for folder, names in states.items():
            logs: dict[str, Log] = {}
            for name in names:
                one = self._read(log_of, self.files[name])
                if one is not None:
                    logs[name] = one
                if len(logs) == 2:  # the last one saved in the folder itself, and a checkpoint
                    break
            if logs:
                name = max(logs, key=lambda name: logs[name].final.get("global_step", 0))
                log = logs[name]
                if folder in with_events:
                    note = "event files beside trainer_state.json say the same, and are left out"
                    log = replace(log, notes=(*log.notes, note))
                self._add(place(name).run, name, Piece("trainer", log))
        self.files = {name: f for name, f in self.files.items() if owners[name] is None}

    def take_logs(self) -> None:
        """Read all other files: those with numbers in full precision before event files."""
        tables = self._tables()
        for name in sorted(self.files, key=lambda name: (is_events(name), name)):
            where = place(name)
            logs = self._read(logs_of, self.files[name], tables.get(name))
            for run, log in (logs or {}).items():
                piece = Piece(where.label, log, goes_on=is_events(name))
                self._add(run or where.run, name, piece)

    def _tables(self) -> dict[str, Parsed]:
        """The rows of the Parquet and Arrow files, which one process reads."""
        files = {n: file for n, file in self.files.items() if columnar.matches(file.parts[0])}
        tables, errors = columnar.read_each(files)
        for name, error in errors.items():
            self.unread += error.problems
            del self.files[name]
        return tables

    def leave_others(self, files: Mapping[str, Source]) -> None:
        """Take no file for the log of a run that is one record without any loss, such as a list."""
        for run, pieces in list(self.pieces.items()):
            log = joined(list(pieces.values()))
            results = any("loss" in meanings(name) for name in log.final)
            if log.counted and len(log.curve) == 1 and not results:
                del self.pieces[run]
                for name in pieces:
                    reason = "has neither steps nor a loss, and is not taken for the log of a run"
                    self.unread += files[name].error(reason, "").problems

    def logs(self) -> dict[str, Log]:
        """The log of every run, with its configuration."""
        logs = {}
        for run, pieces in self.pieces.items():
            log = joined(list(pieces.values()))
            beside = {c.name: c for name in pieces for c in self._beside(name, run)}
            settings = [(stem(name), config.settings) for name, config in beside.items()]
            logs[run] = replace(log, config=merged([("log", log.config), *settings]))
        return logs

    def _beside(self, name: str, run: str) -> Iterator[configs.Config]:
        """The configurations of a log."""
        for folder in folders_of(name, run):
            for config in self.configs.get(folder, []):
                if config.owner in ("", stem(name)):
                    yield config


def _sibling(name: str, other: str) -> str:
    """The path of a file in the same folder."""
    return str(PurePosixPath(name).parent / other)
