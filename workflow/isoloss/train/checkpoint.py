"""Where a run that has not ended can go on, and the model of one that has."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from isoloss.core import tables

_DIGEST_SIZE = 16


class Checkpoint:
    """The state of a run between two steps, saved every so often.

    The clock decides only when a state is saved: a run that goes on from one ends bit for bit as
    if it had never stopped.

    Args:
        path: of the state.
        minutes: between two states; 0 for none.
        made_by: code and versions; a state of others is not gone on from.
    """

    def __init__(self, path: Path, minutes: float, made_by: Mapping[str, str]):
        self.path, self.made_by = path, dict(made_by)
        self.interval = 60 * minutes
        self.seconds_before = 0.0  # of training, until the state that the run goes on from
        self.begun = self.last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The last state; None if there is none that is whole and of this code and versions."""
        if not self.path.is_file():
            return None
        content = self.path.read_bytes()
        digest, buffer = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
        if _digest(buffer) != digest:
            print(f"{self.path}: is damaged; starting anew", file=sys.stderr)
            return None
        state = torch.load(io.BytesIO(buffer), weights_only=True)
        if state["made_by"] != self.made_by:
            print(f"{self.path}: is of {state['made_by']}; starting anew", file=sys.stderr)
            return None
        self.seconds_before = state["seconds"]
        return state

    def due(self) -> bool:
        """Whether it is time to save a state."""
        return bool(self.interval) and time.monotonic() - self.last >= self.interval

    def save(self, state: Mapping[str, Any]) -> None:
        """Save a state in place of the one before; without room the run goes on all the same."""
        self.last = time.monotonic()
        seconds = self.seconds_before + self.last - self.begun
        buffer = io.BytesIO()
        torch.save({**state, "made_by": self.made_by, "seconds": seconds}, buffer)
        content = buffer.getvalue()
        try:
            with tables.whole(self.path) as temporary:
                temporary.write_bytes(_digest(content) + content)
        except OSError as error:
            print(f"{self.path}: no state saved ({error})", file=sys.stderr, flush=True)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST_SIZE).digest()


def save_weights(weights: Mapping[str, torch.Tensor], path: Path, /, **about: str) -> None:
    """Write tensors, each of its own memory, as safetensors."""
    tensors = {name: value.detach().clone() for name, value in weights.items()}
    with tables.whole(path) as temporary:
        # one key: safetensors writes several in any order
        facts = {tables.METADATA.decode(): json.dumps(about, sort_keys=True)}
        temporary.write_bytes(save(tensors, metadata=facts))
