"""Which run is which: a digest of all that can change what comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from isoloss.core import tables
from isoloss.tasks._content import Content

# versions that are recorded with a run, as columns of the `shard` table
VERSIONS = {"torch_version": "torch", "numpy_version": "numpy"}


def run_digest(identity: Mapping[str, Any]) -> str:
    """The digest of an identity: 32 hexadecimal digits."""
    text = json.dumps(dict(identity), sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


class RunContent(Content):
    """What runs are trained on, and by it which run is which; see `Content`."""

    of_program, reading = False, ""

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
            "valid_items": valid_tokens // self.card.examples_per_item(**self.options_of(run)),
            "code": code,
        }
