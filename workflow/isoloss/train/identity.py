"""Which run is which: a digest of all that can change what comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from isoloss.core import registry, tables
from isoloss.core.phases import Phases, phase_steps
from isoloss.records import provenance

if TYPE_CHECKING:
    from isoloss.tasks._task import Side, Task
    from isoloss.train.dataset import Dataset, Index

# versions that are recorded with a run, as columns of the `shard` table
VERSIONS = {"torch_version": "torch", "numpy_version": "numpy"}


def run_digest(identity: Mapping[str, Any]) -> str:
    """The digest of an identity: 32 hexadecimal digits."""
    text = json.dumps(dict(identity), sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


class Content:
    """What a task reads of a dataset: the training side of every weighting, and the validation.

    Args:
        task: the task card.
        dataset: its rows and tokens.
        indices: weighting to its index.
        schedules: schedule of weightings to its phases.
    """

    of_program, reading = False, ""

    def __init__(
        self,
        task: str,
        dataset: Dataset,
        indices: Mapping[str, Index],
        schedules: Mapping[str, Phases] | None = None,
    ):
        self._card, self._options = registry.card("task", task), registry.options("task", task)
        self._dataset = dataset
        self._indices = indices
        self._schedules = schedules or {}
        self._training: dict[tuple[str, ...], Side] = {}

    @cached_property
    def validation(self) -> Side:
        """The validation side."""
        return self._card.validation(self._dataset)

    def training(self, *weightings: str) -> Side:
        """The training side under a weighting; of several, one after the other."""
        from isoloss.train.dataset import joined

        if weightings not in self._training:
            index = joined([self._indices[name] for name in weightings])
            self._training[weightings] = self._card.training(self._dataset, index)
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

    def identity(
        self, run: Mapping[str, Any], *, seed: int, valid_tokens: int, code: str
    ) -> dict[str, Any]:
        """What a run's digest is made of.

        Args:
            run: its row of the plan.
            seed: of the study.
            valid_tokens: validation examples measured, rounded to whole items.
            code: digest of the code that can change its numbers.
        """
        return {
            "settings": {key: run[key] for key in run if tables.role("plan", key) == "setting"},
            "seed": seed,
            **self.digests(run),
            "valid_items": valid_tokens // self._card.examples_per_item(**self._options_of(run)),
            "code": code,
        }

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
        return self._card.task(
            self.training(*weightings),
            self.validation,
            identity["valid_items"],
            identity["seed"],
            n_unique=n_unique,
            **self._options_of(identity["settings"]),
        )

    def _phased(self, identity: Mapping[str, Any], weightings: Sequence[str]) -> Task:
        """The task of training under one weighting after the other."""
        from isoloss.tasks._phases import in_phases

        return in_phases(
            [self._task(identity, *weightings[: i + 1]) for i in range(len(weightings))],
            [phase["steps"] for phase in identity["training"]["phases"]],
            [self._indices[name] for name in weightings],
            self._dataset.starts,
            self._card.examples_per_item(**self._options_of(identity["settings"])),
        )

    def _options_of(self, run: Mapping[str, Any]) -> dict[str, Any]:
        return {key: run[key] for key in self._options}


def _code_of_phases() -> str:
    """Digest of the code that only runs under a schedule depend on."""
    return provenance.code_digest(["isoloss.tasks._phases"], words=False)
