"""Trained models with what they were trained on, for observables that read data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from isoloss.core import registry
from isoloss.core.problems import Problem, TableError
from isoloss.core.seeds import generator
from isoloss.models._model import model_of
from isoloss.observables._observable import TrainedModel
from isoloss.records.store import Store
from isoloss.records.weights import load_weights
from isoloss.tasks._content import Content, Files

if TYPE_CHECKING:
    import torch

    from isoloss.tasks._task import Task


def read_models(
    specification: Mapping[str, Any], files: Files, store: Store, run_digests: Sequence[str]
) -> TrainedModels:
    """The trained models of a shard, with what they were trained on.

    Args:
        specification: what matters to the job: `observe`, `task`, `schedules` and `seed`.
        files: the training data.
        store: of finished runs.
        run_digests: of the runs that are measured.

    Raises:
        IsolossError: files are lacking, or damaged.
    """
    weightings = {store.identity(one)["settings"]["weighting"] for one in run_digests}
    about = specification["task"], weightings, files, specification["schedules"]
    card, seed = specification["observe"]["card"], specification["seed"]
    return TrainedModels(Content.read(*about), store, f"observe {card}", seed)


class TrainedModels:
    """Trained models with what they were trained on.

    Args:
        content: the training data.
        store: of finished runs.
        purpose: of what is drawn for a model.
        seed: of the study.
    """

    def __init__(self, content: Content, store: Store, purpose: str, seed: int):
        from isoloss.trainers._devices import prepare_torch

        self._content, self._store = content, store
        self._purpose, self._seed = purpose, seed
        prepare_torch(0)

    def load(self, run_digest: str, progress: Callable[[float], None]) -> TrainedModel:
        """A trained model, in eval mode.

        Args:
            run_digest: of its run.
            progress: called with the share of the work on it that is done.

        Raises:
            TableError: its weights or its data are not those of the run.
        """
        identity, weights = self._store.identity(run_digest), load_weights(self._store, run_digest)
        task = self._task(identity, run_digest)
        module = self._module(identity["settings"], task)
        _fill(module, weights, str(self._store.weights(run_digest)))
        drawn = generator(self._seed, self._purpose, digest_of(weights))
        return TrainedModel(module, task, weights, int(drawn.integers(2**63)), progress)

    def _task(self, identity: Mapping[str, Any], run_digest: str) -> Task:
        training = self._content.digests(identity["settings"])["training"]
        if training != identity["training"]:
            place = str(self._store.path(run_digest))
            reason = "the run was trained on other data than those given"
            raise TableError(Problem(place, reason, "train its sweep again: run the study"))
        return self._content.task(identity)

    @staticmethod
    def _module(settings: Mapping[str, Any], task: Task) -> torch.nn.Module:
        card = registry.card("model", settings["model"])
        model = model_of(card, {**settings, **task.shapes})
        return model.build(generator(0, "init", ""))  # other weights take the place of these


def _fill(module: torch.nn.Module, weights: Mapping[str, np.ndarray], place: str) -> None:
    """Load trained weights into a module, and put it into eval mode.

    Raises:
        TableError: they are not those of such a module.
    """
    import torch

    tensors = {name: torch.from_numpy(values.copy()) for name, values in weights.items()}
    named = module.named_parameters(remove_duplicate=False)
    frozen = {name for name, p in named if not p.requires_grad}
    expected = {name: tuple(v.shape) for name, v in module.state_dict().items()}
    expected = {name: shape for name, shape in expected.items() if name not in frozen}
    if expected != {name: tuple(tensor.shape) for name, tensor in tensors.items()}:
        reason = "has other tensors than the model of its run"
        raise TableError(Problem(place, reason, "train the run again: `python -m isoloss retry`"))
    module.load_state_dict(tensors, strict=False)
    module.eval()


def digest_of(weights: Mapping[str, np.ndarray]) -> str:
    """Digest of the content of weights: names, types, shapes and values.

    Example:
        >>> digest_of({"a": np.zeros(2)}) == digest_of({"a": np.zeros(2, "float32")})
        False
    """
    digest = blake2b(digest_size=16)
    for name, values in sorted(weights.items()):
        digest.update(f"{name} {values.dtype} {list(values.shape)}\0".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
