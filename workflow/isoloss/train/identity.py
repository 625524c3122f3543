"""Which run is which: a digest of all that can change what comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from isoloss.core import tables

if TYPE_CHECKING:
    import pandas as pd

    from isoloss.train.batches import Stream

# versions that are recorded with a run, as columns of the `shard` table
VERSIONS = {"torch_version": "torch", "numpy_version": "numpy"}


def run_digest(identity: Mapping[str, Any]) -> str:
    """The digest of an identity: 32 hexadecimal digits."""
    text = json.dumps(dict(identity), sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


class Content:
    """The tokens of a dataset: the training side under every weighting, and the validation side.

    Args:
        rows: the rows table.
        indices: weighting to its index table.
    """

    def __init__(self, rows: pd.DataFrame, indices: Mapping[str, pd.DataFrame]):
        self.rows = rows
        self._indices = indices
        self._streams: dict[str, Stream] = {}
        self._digests: dict[str, str] = {}

    @cached_property
    def valid(self) -> Stream:
        """The validation side, every row once."""
        import numpy as np

        from isoloss.train.batches import stream

        held_out = self.rows.index[self.rows["split"] == "valid"].to_numpy()
        return stream(self.rows, held_out, np.ones_like(held_out))

    @cached_property
    def _valid_digest(self) -> str:
        from isoloss.train.batches import validation_digest

        return validation_digest(self.rows, self.valid)

    def training(self, weighting: str) -> Stream:
        """The training side under a weighting."""
        from isoloss.train.batches import stream

        if weighting not in self._streams:
            index = self._indices[weighting]
            positions, copies = index["row"].to_numpy(), index["copies"].to_numpy()
            self._streams[weighting] = stream(self.rows, positions, copies)
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
        weighting = run["weighting"]
        if weighting not in self._digests:
            self._digests[weighting] = self.training(weighting).digest()
        return {
            "settings": {key: run[key] for key in run if tables.role("plan", key) == "setting"},
            "seed": seed,
            "training": self._digests[weighting],
            "validation": self._valid_digest,
            "valid_windows": valid_tokens // run["context"],
            "code": code,
        }
