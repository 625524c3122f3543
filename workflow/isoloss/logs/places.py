"""Which run a file of a folder of logs belongs to, by where it is and how it is called."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from isoloss.formats.names import SPLITS

TRAINER = "trainer_state.json"
_CHECKPOINT = re.compile(r"checkpoint[-_]\d+")
_SPLITS = SPLITS | {"train", "training"}
# words of names of folders, and of files, that say nothing about the run
_FOLDERS = _SPLITS | {"metrics", "log", "logs", "events", "tb", "tensorboard", "runs", "files"}
_FILES = _FOLDERS | {
    *("metric", "history", "progress", "results", "result", "summary", "output", "scalars", "loss"),
    *("losses", "trainer", "state", "all", "final", "data", "stats", "curve", "curves", "wandb"),
}
_TIME = re.compile(r"\d{9,}(?:\.\d+)?")  # the folders that `SummaryWriter.add_hparams` makes


@dataclass(frozen=True)
class Place:
    """Where a file belongs.

    Attributes:
        run: the run; empty if nothing in its path names one.
        label: what tells it from other files of the run.
    """

    run: str
    label: str


def place(name: str) -> Place:
    """The run of a file: its path without what is called alike in every run.

    >>> place("a/metrics.jsonl"), place("a/train/events.out.tfevents.1")
    (Place(run='a', label='metrics'), Place(run='a', label='train'))
    >>> place("sweep/b.csv").run, place("sweep/b/checkpoint-500/trainer_state.json").run
    ('sweep/b', 'sweep/b')
    """
    path = PurePosixPath(name)
    parts, label = list(path.parts[:-1]), stem(path.name)
    if is_events(name):
        label = "events"
    elif not is_generic(label):
        return Place("/".join([*parts, label]), label)
    while parts and _is_generic_folder(parts[-1]):
        last = parts.pop()
        if last.lower() in _SPLITS or label == "events":
            label = last
    return Place("/".join(parts), label)


def folders_of(name: str, run: str) -> list[str]:
    """The folders in which a log's configuration may be: its own, and others of its run above it.

    >>> folders_of("a/b/train/metrics.csv", "a/b"), folders_of("a/b.csv", "a/b")
    (['a/b/train', 'a/b'], ['a'])
    """
    own, *above = PurePosixPath(name).parents
    return [str(own), *(str(folder) for folder in above if folder.is_relative_to(run or "."))]


def is_events(name: str) -> bool:
    """Whether a file is called as TensorBoard calls event files."""
    return "tfevents" in name.rpartition("/")[2]


def stem(name: str) -> str:
    """The name of a file without its endings.

    >>> stem("run-1.jsonl.gz"), stem("lr0.1.csv")
    ('run-1', 'lr0.1')
    """
    path = PurePosixPath(name)
    if path.suffix in (".gz", ".zst", ".xz", ".bz2"):
        path = path.with_suffix("")
    return path.stem


def is_generic(stem: str) -> bool:
    """Whether a file may be called so in every run.

    >>> is_generic("eval_results"), is_generic("width-8")
    (True, False)
    """
    return _FILES.issuperset(_words(stem))


def _is_generic_folder(name: str) -> bool:
    """Whether a folder may be called so in every run."""
    known = _FOLDERS.issuperset(_words(name))
    return known or bool(_CHECKPOINT.fullmatch(name) or _TIME.fullmatch(name))


def _words(name: str) -> list[str]:
    return re.split(r"[\W_]+", name.lower())


def trainers(names: Iterable[str]) -> dict[str, list[str]]:
    """Folder of a Hugging Face Trainer to the states in it and in its checkpoints, newest first.

    Folders have a slash at the end.
    """
    folders: dict[str, list[tuple[float, str]]] = {}
    for name in names:
        path = PurePosixPath(name)
        if path.name != TRAINER:
            continue
        parent, step = path.parent, float("inf")
        if _CHECKPOINT.fullmatch(parent.name):
            step = int(re.search(r"\d+", parent.name)[0])
            parent = parent.parent
        folder = "" if parent == PurePosixPath(".") else f"{parent}/"
        folders.setdefault(folder, []).append((-step, name))
    return {folder: [name for _, name in sorted(some)] for folder, some in folders.items()}


def trainer_of(name: str, folders: Container[str]) -> str | None:
    """The folder of the Trainer whose state says what is in a file; None if there is none.

    That is a file of the Trainer's folder or of a checkpoint, or an event file in its `runs`.

    >>> trainer_of("a/runs/Nov26/events.out.tfevents.1", {"a/"}), trainer_of("a/b/log.csv", {"a/"})
    ('a/', None)
    """
    parts = PurePosixPath(name).parts[:-1]
    for depth in range(len(parts) + 1):
        folder, below = "".join(f"{part}/" for part in parts[:depth]), parts[depth:]
        inside = not below or bool(_CHECKPOINT.fullmatch(below[0]))
        if folder in folders and (inside or (below[0] in ("runs", "logs") and is_events(name))):
            return folder
    return None
