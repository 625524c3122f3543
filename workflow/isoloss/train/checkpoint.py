"""Where a run that has not ended can go on, and the model of one that has."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from isoloss import tables


class Checkpoint:
    """The state of a run between two steps, saved every so often.

    The clock decides only when a state is saved: a run that goes on from one ends bit for bit as
    if it had never stopped.

    Args:
        path: of the state.
        minutes: between two states; 0 for none.
    """

    def __init__(self, path: Path, minutes: float):
        self.path = path
        self.seconds = 60 * minutes
        self.last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last; None if there is none that can be read."""
        if not self.path.is_file():
            return None
        try:
            return torch.load(self.path, weights_only=True)
        except Exception as error:  # whatever is wrong with it, the run starts anew
            print(f"{self.path}: not read ({error}); starting anew", file=sys.stderr)
            return None

    def due(self) -> bool:
        """Whether it is time to save a state."""
        return bool(self.seconds) and time.monotonic() - self.last >= self.seconds

    def save(self, state: Mapping[str, Any]) -> None:
        """Save a state in place of the one before; without room the run goes on all the same."""
        self.last = time.monotonic()
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        try:
            with tables.whole(self.path) as temporary:
                temporary.write_bytes(buffer.getbuffer())
        except OSError as error:
            print(f"{self.path}: no state saved ({error})", file=sys.stderr, flush=True)


def save_weights(model: torch.nn.Module, path: Path, /, **about: str) -> None:
    """Write a model's tensors, each of its own memory, as safetensors."""
    tensors = {name: value.detach().clone() for name, value in model.state_dict().items()}
    with tables.whole(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=about))
