"""Which run is which: a digest of all that can change what comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from isoloss.core import tables

if TYPE_CHECKING:
    from isoloss.train.batches import Stream
    from isoloss.train.dataset import Dataset, Index

# versions that are recorded with a run, as columns of the `shard` table
VERSIONS = {"torch_version": "torch", "numpy_version": "numpy"}


def run_digest(identity: Mapping[str, Any]) -> str:
    """The digest of an identity: 32 hexadecimal digits."""
    text = json.dumps(dict(identity), sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


class Content:
    """The tokens of a dataset: the training side under every weighting, and the validation side.

    Args:
        dataset: its rows and tokens.
        indices: weighting to its index.
    """

    def __init__(self, dataset: Dataset, indices: Mapping[str, Index]):
        self.held_out = dataset.held_out
        self._dataset = dataset
        self._indices = indices
        self._streams: dict[str, Stream] = {}

    @cached_property
    def valid(self) -> Stream:
        """The validation side, every row once."""
        import numpy as np

        from isoloss.train.batches import stream

        rows = self.held_out["row"].to_numpy()
        return stream(self._dataset.tokens, self._dataset.starts, rows, np.ones_like(rows))

    @cached_property
    def _valid_digest(self) -> str:
        from isoloss.train.batches import validation_digest

        return validation_digest(self.held_out, self.valid)

    def training(self, weighting: str) -> Stream:
        """The training side under a weighting."""
        from isoloss.train.batches import stream

        if weighting not in self._streams:
            index, dataset = self._indices[weighting], self._dataset
            found = stream(dataset.tokens, dataset.starts, index.rows, index.copies)
            self._streams[weighting] = found
        return self._streams[weighting]

    def identity(
        self, run: Mapping[str, Any], *, seed: int, valid_tokens: int, code: str
    ) -> dict[str, Any]:
        """What a run's digest is made of.

        Args:
            run: its row of the plan.
            seed: of the study.
            valid_tokens: validation tokens measured, rounded to whole windows.
            code: digest of the code that can change its numbers.
        """
        return {
            "settings": {key: run[key] for key in run if tables.role("plan", key) == "setting"},
            "seed": seed,
            "training": self.training(run["weighting"]).digest,
            "validation": self._valid_digest,
            "valid_windows": valid_tokens // run["context"],
            "code": code,
        }
