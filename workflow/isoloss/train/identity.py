"""Which run is which: a digest of all that can change what comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from isoloss.core import registry, tables

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
    """

    of_program, reading = False, ""

    def __init__(self, task: str, dataset: Dataset, indices: Mapping[str, Index]):
        self._card, self._options = registry.card("task", task), registry.options("task", task)
        self._dataset = dataset
        self._indices = indices
        self._training: dict[str, Side] = {}

    @cached_property
    def validation(self) -> Side:
        """The validation side."""
        return self._card.validation(self._dataset)

    def training(self, weighting: str) -> Side:
        """The training side under a weighting."""
        if weighting not in self._training:
            side = self._card.training(self._dataset, self._indices[weighting])
            self._training[weighting] = side
        return self._training[weighting]

    def digests(self, weighting: str) -> dict[str, str]:
        """Digests of the content of both sides."""
        training, validation = self.training(weighting), self.validation
        return {"training": training.digest, "validation": validation.digest}

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
            **self.digests(run["weighting"]),
            "valid_items": valid_tokens // self._card.examples_per_item(**self._options_of(run)),
            "code": code,
        }

    def task(self, identity: Mapping[str, Any]) -> Task:
        """The task of a run with this identity."""
        settings = identity["settings"]
        drawn_from = settings.get("n_available")
        return self._card.task(
            self.training(settings["weighting"]),
            self.validation,
            identity["valid_items"],
            identity["seed"],
            n_unique=None if drawn_from is None else int(drawn_from),
            **self._options_of(settings),
        )

    def _options_of(self, run: Mapping[str, Any]) -> dict[str, Any]:
        return {key: run[key] for key in self._options}
