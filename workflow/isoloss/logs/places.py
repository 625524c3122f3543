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
# names of files and folders that say nothing about the run
_GENERIC = _SPLITS | {
    *("metrics", "metric", "log", "logs", "history", "progress", "results", "result", "summary"),
    *("events", "tb", "tensorboard", "output", "outputs", "runs", "scalars", "losses", "loss"),
    *("trainer", "state", "all", "final", "data", "stats", "curve", "curves", "files", "wandb"),
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
    parts = [*path.parts[:-1], stem(path.name)]
    if is_events(name):
        parts.pop()
    label = ""
    while parts and is_generic(parts[-1]):
        last = parts.pop()
        if not label or last.lower() in _SPLITS:
            label = last
    return Place("/".join(parts), label or ("events" if is_events(name) else stem(path.name)))


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


def is_generic(part: str) -> bool:
    """Whether a part of a path is called so in every run.

    >>> is_generic("eval_results"), is_generic("width-8")
    (True, False)
    """
    words = re.split(r"[\W_]+", part.lower())
    return _GENERIC.issuperset(words) or bool(_CHECKPOINT.fullmatch(part) or _TIME.fullmatch(part))


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


def is_of_trainer(name: str, folders: Container[str]) -> bool:
    """Whether a file is another record of what a Trainer's state says, or part of a checkpoint.

    That is a file of the Trainer's folder, of its checkpoints, or an event file in `runs`.
    """
    parts = PurePosixPath(name).parts[:-1]
    for depth in range(len(parts) + 1):
        folder = "".join(f"{part}/" for part in parts[:depth])
        if folder in folders:
            below = parts[depth:]
            return (
                not below or below[0] in ("runs", "logs") or bool(_CHECKPOINT.fullmatch(below[0]))
            )
    return False
