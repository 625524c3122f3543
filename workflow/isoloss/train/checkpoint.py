"""Where a run that has not ended can go on, and the model of one that has."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from isoloss.core import tables


def checkpoint_steps(asked: Sequence[float], n_steps: int) -> list[int]:
    """After which steps of a run its model is kept.

    Args:
        asked: numbers of steps, and below 1 fractions of the run's steps; see `checkpoints` in a
            study. Steps that the run does not have are left out.
        n_steps: of the run.

    Example:
        >>> checkpoint_steps([0.5, 10, 0.001, 300], 200)
        [1, 10, 100]
    """
    steps = {int(at) if at >= 1 else max(1, round(at * n_steps)) for at in asked}
    return sorted(step for step in steps if step <= n_steps)


class StoppedError(BaseException):
    """A run ends because it was told to; not an `Exception`, which a trainer card could handle.

    Its message says what is kept of the run.
    """


class Checkpoint:
    """The state of a run between two steps, saved every so often, and its models at chosen steps.

    The clock decides only when a state is saved: a run that goes on from one ends bit for bit as
    if it had never stopped. Where nothing can be written the run goes on all the same.

    Args:
        path: of the state.
        minutes: between two states; 0 for none but the one of a run that is told to end.
        made_by: code and versions; a state of others is not gone on from.
        models: number of steps to the file that keeps the model after so many.
        about: facts that these files carry.
        earlier: models of an earlier attempt, removed if the run starts anew.
        stops: whether the run was told to end. It is then time to save a state, and after that the
            run ends, with whatever trainer card.
    """

    def __init__(
        self,
        path: Path,
        minutes: float,
        made_by: Mapping[str, str],
        models: Mapping[int, Path] | None = None,
        about: Mapping[str, str] | None = None,
        earlier: Sequence[Path] = (),
        stops: Callable[[], bool] = lambda: False,
    ):
        self.path, self.made_by = path, dict(made_by)
        self.models, self.about, self.earlier = dict(models or {}), dict(about or {}), earlier
        self.steps: Collection[int] = self.models.keys()
        self.interval, self.stops = 60 * minutes, stops
        self.seconds_before = 0.0  # of training, until the state that the run goes on from
        self.begun = self.last = time.monotonic()
        self.refused = False  # whether something could not be written, which is told once

    def load(self) -> dict[str, Any] | None:
        """The last state; None if there is none that is whole and of this code and versions."""
        state = self._last_state()
        if state is not None:
            self.seconds_before = state["seconds"]
            return state
        for path in self.earlier:
            path.unlink(missing_ok=True)
        return None

    def _last_state(self) -> dict[str, Any] | None:
        if not self.path.is_file():
            return None
        state = _read_state(self.path)
        if state is None:
            print(f"{self.path}: is damaged; starting anew", file=sys.stderr)
            return None
        if state["made_by"] != self.made_by:
            print(f"{self.path}: is of {state['made_by']}; starting anew", file=sys.stderr)
            return None
        return state

    def due(self) -> bool:
        """Whether it is time to save a state."""
        since = time.monotonic() - self.last
        return self.stops() or (bool(self.interval) and since >= self.interval)

    def save(self, state: Mapping[str, Any]) -> None:
        """Save a state, tensors and values of JSON by name, in place of the one before.

        Raises:
            StoppedError: the run was told to end.
        """
        stops = self.stops()
        kept = (
            f"its state is saved after step {state['step']}"
            if "step" in state
            else "its state is saved"
        )
        self.last = time.monotonic()
        seconds = self.seconds_before + self.last - self.begun
        try:
            _write_state({**state, "made_by": self.made_by, "seconds": seconds}, self.path)
        except OSError as error:
            self._tell(f"{self.path}: no state saved ({error})")
            kept = "its state could not be saved"
        if stops:
            raise StoppedError(kept)

    def keep(self, step: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep the model as it is after `step` steps."""
        try:
            save_weights(weights, self.models[step], **self.about, step=str(step))
        except OSError as error:
            self._tell(f"{self.models[step]}: the model after step {step} is not kept ({error})")

    def _tell(self, message: str) -> None:
        """Tell for the first time that something could not be written."""
        if not self.refused:
            remedy = "the run goes on without; make room, or give leave to write there"
            print(f"{message}; {remedy}", file=sys.stderr, flush=True)
        self.refused = True


def _write_state(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors as safetensors, and the other values with a digest of all as metadata."""
    tensors = {n: v.detach().clone() for n, v in state.items() if isinstance(v, torch.Tensor)}
    values = json.dumps({n: v for n, v in state.items() if n not in tensors}, sort_keys=True)
    facts = json.dumps([values, _digest(values, tensors)])
    with tables.whole(path) as temporary:
        # one key: safetensors writes several in any order
        temporary.write_bytes(save(tensors, metadata={tables.METADATA.decode(): facts}))


def _read_state(path: Path) -> dict[str, Any] | None:
    """A state as it was written; None if the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            # copies: the file may be replaced while they are used
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            values, digest = json.loads((file.metadata() or {})[tables.METADATA.decode()])
    except (SafetensorError, KeyError, ValueError):
        return None
    if _digest(values, tensors) != digest:
        return None
    return {**json.loads(values), **tensors}


def _digest(values: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """Digest of the content of a state, 32 hexadecimal digits."""
    digest = blake2b(values.encode(), digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def save_weights(weights: Mapping[str, torch.Tensor], path: Path, /, **about: str) -> None:
    """Write tensors, each of its own memory, as safetensors."""
    tensors = {name: value.detach().cpu().clone() for name, value in weights.items()}
    with tables.whole(path) as temporary:
        # one key: safetensors writes several in any order
        facts = {tables.METADATA.decode(): json.dumps(about, sort_keys=True)}
        temporary.write_bytes(save(tensors, metadata=facts))
