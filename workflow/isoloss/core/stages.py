"""The class of a stage of the chain, and the definitions of all stages.

A stage is a folder with a file `stage.py`, whose `STAGES` are instances of `Stage`. The workflow's
triggers, the command line, manifests, `verify`, `status` and the pages of the documentation are
derived from these definitions. A definition imports nothing that computes: the code of a stage
begins at the `run` of its `entry`, which is imported when a job runs, and the digest of a stage's
code begins there too.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from isoloss.core import rounds
from isoloss.core.joined import file_of

HOME = Path(__file__).parent.parent
Given = Mapping[str, Any]  # the arguments of a command by name


class Study(Protocol):
    """What a stage's definition can ask of a study; `isoloss.study.flow.Flow` has it."""

    config: Mapping[str, Any]
    root: Path
    sources: Any

    def shards(self, sweep: str) -> list[str]:
        """The names of the shards of a sweep."""

    def runs(self, sweep: str, shard: str) -> Sequence[Mapping[str, Any]]:
        """The planned runs of a shard; of a round, none before its plan is there."""

    def runs_digest(self, sweep: str, shard: str) -> str:
        """Digest of the planned runs of a shard."""

    def used(self, sweep: str, shard: str | None = None) -> list[str]:
        """The weightings whose rows a sweep, or one of its shards, is trained on, sorted."""

    def schedules(
        self, sweep: str, shard: str | None = None
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """The schedules of weightings of a sweep, or of one of its shards: name to phases."""

    def reading(self, sweep: str) -> str | None:
        """Digest of how the output of a user's program is read; None for other sweeps."""

    def folder_weights(self, dataset: str, weighting: str) -> Mapping[str, Any]:
        """Folder to the weights in it, of a dataset and a weighting with `files`."""

    def tries(self, sweep: str, shard: str) -> int:
        """The number of retries owed to the failed runs of a shard."""


@dataclass(frozen=True)
class Argument:
    """An argument of a stage's command.

    Attributes:
        name: its name; one that is a wildcard of the stage's path names the job.
        about: its help.
        many: whether several values are given.
        required: whether it must be given.
        metavar: what stands for its value in the help.
    """

    name: str
    about: str
    many: bool = False
    required: bool = True
    metavar: str = "FILE"


class Stage(ABC):
    """A stage of the chain; each stage is a subclass that overrides what differs from the defaults.

    `study` is always the complete study with its results, `names` the wildcards of a job.

    Attributes:
        name: its name, in rules, commands, manifests and log files.
        about: one sentence about it, for the command line and the documentation.
        more: a further sentence for its command's help.
        path: the folder that a job fills or the file that it writes, below results/<study>, with
            wildcards.
        out: what `--out` is, for the command's help.
        main: the file that stands for a job's results, in the folder; empty where `path` is a file.
        entry: the module whose `run` makes the results.
        after: the stages whose results it reads; they come before it in the order of stages.
        sometimes_after: stages that come later in that order, and whose results some of its jobs
            read.
        arguments: of its command, besides --study, --out and --expects.
        sections: wildcards that the stage is the first to have, each with the part of a study that
            names its values.
        writes: the tables that every job of it writes under a contract (tables.yaml).
        uses_roles: the tables by whose roles of columns it knows settings from what was measured.
        packages: those whose versions can change what it computes, besides Python.
        seeded: whether it draws numbers from the seed of the study.
        target: whether `snakemake` without a target makes its results for their own sake; the
            results of the others are made where something reads them.
    """

    name = about = more = path = out = main = entry = ""
    after: tuple[str, ...] = ()
    sometimes_after: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()
    sections: tuple[tuple[str, str], ...] = ()
    writes: tuple[str, ...] = ()
    uses_roles: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    seeded = False
    target = False

    @property
    def wildcards(self) -> list[str]:
        """The wildcards of its jobs, in the order of its path."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def one_file(self) -> bool:
        """Whether a job writes a file, or files of one name, and not a folder."""
        return bool(Path(self.path).suffix)

    @property
    def code(self) -> ModuleType:
        """The module whose `run` makes the results, imported now."""
        return importlib.import_module(self.entry)

    @abstractmethod
    def jobs(self, study: Study) -> Iterator[dict[str, str]]:
        """The wildcards of every job."""

    def settings(self, study: Study, **names: str) -> dict[str, Any]:
        """The part of the study that matters to a job, besides the seed and the wildcards."""
        return {}

    def outside(self, study: Study, **names: str) -> dict[str, Any]:
        """What matters to a job and is not in the study: the `content` of sources, and `tries`."""
        return {}

    def cards(self, study: Study, **names: str) -> list[tuple[str, str]]:
        """The cards (kind, name) that a job uses."""
        return []

    def tables(self, study: Study, **names: str) -> list[str]:
        """The tables under a contract that a job writes; by default all of the stage."""
        return list(self.writes)

    def inputs(self, study: Study, **names: str) -> dict[str, list[str]]:
        """The files that a job reads, by argument of its command, relative to results/<study>."""
        return {}

    def datasets(self, study: Study, **names: str) -> list[str]:
        """The datasets whose rows a job depends on: it is due or not when they exist."""
        sweep = study.config["train"].get(names.get("sweep"))
        return [sweep["dataset"]] if sweep and "dataset" in sweep else []

    def named(self, given: Given) -> dict[str, str]:
        """The wildcards of a job, from the arguments of its command that were given."""
        named = [a.name for a in self.arguments if a.name in self.wildcards]
        return {name: given[name] for name in named if given[name] is not None}

    @abstractmethod
    def run(self, job: Any, given: Given) -> None:
        """Do a job.

        Args:
            job: the job at work (`isoloss.study.work.RunningJob`).
            given: the files by argument.
        """

    def subject(self, names: Mapping[str, str], label: str) -> str:
        """The name of what a job makes, in messages about other versions."""
        return f"{label}: made"

    def made_with(self, made: Mapping[str, Any]) -> list[Mapping[str, str]]:
        """The versions that a job's results depend on, by its manifest."""
        then = made.get("versions", {})
        return [{package: then[package] for package in self.packages if package in then}]

    def outdated(self, study: Any, out: Path) -> Iterator[str]:
        """Why results are out of date although they are what the job wrote."""
        yield from ()


# of the command of a stage that reads the training data, which `data_of` names
DATA = (
    Argument("rows", "rows.parquet of the dataset", many=True, required=False),
    Argument("tokens", "tokens.npy of the dataset", many=True, required=False),
    Argument(
        "index", "index.parquet of every weighting that the shard uses", many=True, required=False
    ),
)


def data_of(study: Study, sweep: str, shard: str) -> dict[str, list[str]]:
    """The files of the training data of a shard, by argument of a command."""
    dataset = study.config["train"][sweep]["dataset"]
    return {
        "rows": [f"load/{dataset}/rows.parquet"],
        "tokens": [f"load/{dataset}/tokens.npy"],
        "index": [f"expand/{dataset}/{one}/index.parquet" for one in study.used(sweep, shard)],
    }


@cache
def stages() -> dict[str, Stage]:
    """All stages by name, each after those whose results it reads.

    Stages that do not depend on each other are in the order of their names' folders.

    Raises:
        ValueError: stages read each other's results in a circle, or one that does not exist.
    """
    files = sorted(HOME.glob("*/stage.py"))
    modules = [importlib.import_module(f"isoloss.{file.parent.name}.stage") for file in files]
    left = {stage.name: stage for module in modules for stage in module.STAGES}
    ordered: dict[str, Stage] = {}
    while left:
        ready = [name for name, stage in left.items() if set(stage.after) <= set(ordered)]
        if not ready:
            raise ValueError(f"no stage of {', '.join(left)} can be the first: see `after`")
        ordered[ready[0]] = left.pop(ready[0])
    return ordered


def observed(study: Study, observation: str, table: str = "observations") -> list[str]:
    """The files of a table of an observation, one a shard, of all rounds of its sweep.

    Args:
        study: that has the observation.
        observation: its name.
        table: `observations`, or one of those that the observable card writes beside them.
    """
    return [
        f"observe/{observation}/{sweep}/{file_of(table, shard)}"
        for sweep in rounds.so_far(study.config, study.config["observe"][observation]["sweep"])
        for shard in study.shards(sweep)
    ]
