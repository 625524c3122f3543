"""What runs are trained on: both sides of a dataset under every weighting, and their tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.core import registry, tables
from isoloss.core.phases import Phases, phase_steps
from isoloss.core.problems import IsolossError
from isoloss.records import provenance

if TYPE_CHECKING:
    from typing import Self

    from isoloss.tasks._dataset import Dataset, Index
    from isoloss.tasks._task import Side, Task


@dataclass(frozen=True)
class Files:
    """The files of the training data; none for the runs of a user's program.

    Attributes:
        rows: rows.parquet of the dataset.
        tokens: tokens.npy of the dataset.
        indices: index.parquet of every weighting that the runs use.
    """

    rows: Sequence[Path]
    tokens: Sequence[Path]
    indices: Sequence[Path]


class Content:
    """What a task reads of a dataset: the training side of every weighting, and the validation.

    Args:
        task: the task card.
        dataset: its rows and tokens.
        indices: weighting to its index.
        schedules: schedule of weightings to its phases.
    """

    def __init__(
        self,
        task: str,
        dataset: Dataset,
        indices: Mapping[str, Index],
        schedules: Mapping[str, Phases] | None = None,
    ):
        self.card, self._options = registry.card("task", task), registry.options("task", task)
        self._dataset = dataset
        self._indices = indices
        self._schedules = schedules or {}
        self._training: dict[tuple[str, ...], Side] = {}

    @classmethod
    def read(
        cls,
        task: str,
        weightings: Iterable[str],
        files: Files,
        schedules: Mapping[str, Phases],
    ) -> Self:
        """Read a dataset and the indices of weightings from their files.

        Args:
            task: the task card.
            weightings: those that runs are trained under, schedules among them.
            files: one of rows and one of tokens, and those of indices.
            schedules: schedule of weightings to its phases.

        Raises:
            IsolossError: the index of a weighting is lacking, or there are more or fewer files.
        """
        from isoloss.tasks._dataset import read_dataset, read_index

        known = {tables.facts(file)["weighting"]: read_index(file) for file in files.indices}
        needed = set(weightings) - set(schedules)
        needed |= {phase["weighting"] for phases in schedules.values() for phase in phases}
        lacking = sorted(needed - set(known))
        if lacking:
            raise IsolossError(f"--index lacks the weighting {lacking[0]!r}")
        if len(files.rows) != 1 or len(files.tokens) != 1:
            raise IsolossError("give --rows and --tokens of the dataset, one file each")
        return cls(task, read_dataset(files.rows[0], files.tokens[0]), known, schedules)

    @cached_property
    def validation(self) -> Side:
        """The validation side."""
        return self.card.validation(self._dataset)

    def training(self, *weightings: str) -> Side:
        """The training side under a weighting; of several, one after the other."""
        from isoloss.tasks._dataset import joined

        if weightings not in self._training:
            index = joined([self._indices[name] for name in weightings])
            self._training[weightings] = self.card.training(self._dataset, index)
        return self._training[weightings]

    def digests(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """What says of both sides what a run reads of them: a digest of their content.

        Of the training side under a schedule: the steps and the digest of every phase, and the
        code that puts them one after the other, which other runs do not depend on.

        Args:
            run: its settings.
        """
        phases = self._schedules.get(run["weighting"])
        if phases is None:
            training = self.training(run["weighting"]).digest
        else:
            training = {
                "phases": [
                    {"steps": steps, "digest": self.training(phase["weighting"]).digest}
                    for phase, steps in zip(
                        phases, phase_steps(phases, run["n_steps"]), strict=True
                    )
                ],
                "code": _code_of_phases(),
            }
        return {"training": training, "validation": self.validation.digest}

    def task(self, identity: Mapping[str, Any]) -> Task:
        """The task of a run with this identity.

        Raises:
            ValueError: too little data to train or to measure.
        """
        settings = identity["settings"]
        phases = self._schedules.get(settings["weighting"])
        if phases is not None:
            return self._phased(identity, [phase["weighting"] for phase in phases])
        drawn_from = settings.get("n_available")
        return self._task(
            identity,
            settings["weighting"],
            n_unique=None if drawn_from is None else int(drawn_from),
        )

    def _task(
        self, identity: Mapping[str, Any], *weightings: str, n_unique: int | None = None
    ) -> Task:
        """The task of training under some weightings, whose rows follow each other."""
        return self.card.task(
            self.training(*weightings),
            self.validation,
            identity["valid_items"],
            identity["seed"],
            n_unique=n_unique,
            **self.options_of(identity["settings"]),
        )

    def _phased(self, identity: Mapping[str, Any], weightings: Sequence[str]) -> Task:
        """The task of training under one weighting after the other."""
        from isoloss.tasks._phases import in_phases

        return in_phases(
            [self._task(identity, *weightings[: i + 1]) for i in range(len(weightings))],
            [phase["steps"] for phase in identity["training"]["phases"]],
            [self._indices[name] for name in weightings],
            self._dataset.starts,
            self.card.examples_per_item(**self.options_of(identity["settings"])),
        )

    def options_of(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the task card among the settings of a run."""
        return {key: run[key] for key in self._options}


def _code_of_phases() -> str:
    """Digest of the code that only runs under a schedule depend on."""
    return provenance.code_digest(["isoloss.tasks._phases"], words=False)
