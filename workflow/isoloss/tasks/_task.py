"""The contract of task cards: what a model is trained to do, and how it is measured.

A task card has the constants EXAMPLE (what D counts, such as `token`), ITEM (what a batch is made
of, such as `window`) and OPTIONS, and the functions of `Card`. Trainers know nothing else of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch


class Side(Protocol):
    """The training or the validation side of a dataset, as a task reads it."""

    digest: str  # of the content


class Task(Protocol):
    """What a trainer trains and measures a model by.

    Attributes:
        n_items: items of the training side; their numbers begin at 0.
        guess: loss of a uniform guess, nats an example. A model worse at both sides has diverged.
        shapes: what a model is built for besides its own settings, by name of the argument.
    """

    n_items: int
    guess: float
    shapes: Mapping[str, Any]

    def to(self, device: str) -> None:
        """Give models their inputs on a device, such as `cuda`; at first it is the cpu."""

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Endless batches of item numbers, int64 (size,); cheap, for a run that goes on."""

    def learn(self, model: torch.nn.Module, items: np.ndarray, share: float = 1.0) -> torch.Tensor:
        """Mean loss of some training items, nats an example, without a graph.

        `share` times its gradient is added to the parameters' `.grad`.
        """

    def drawn(self) -> np.ndarray:
        """The numbers of the training items that batches are drawn from, int64, in order."""

    def given(self, model: torch.nn.Module, items: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs of the trained part of a model, and the right answers, for some training items.

        Args:
            model: of one with an `encode` the trained part is its `head`; of others, all of it.
            items: item numbers, int64 (k,).

        Returns:
            Inputs, (k, ...), and targets, int64: (k,), or (k, positions) where an item has several
            examples.
        """

    def n_unique(self, seen: np.ndarray) -> int:
        """Distinct examples among the items that were seen, bool (n_items,)."""

    def evaluate(self, model: torch.nn.Module) -> tuple[float, list[dict[str, Any]]]:
        """The validation loss, nats an example, and the rows by tag of `shard.losses`.

        A row has `split`, `tag_key`, `domain`, `loss_nats` and `n_tokens` (the examples measured),
        and `error_rate` where examples are classified.
        """

    def release(self) -> None:
        """Give back the memory of training items that were read."""


class Card(Protocol):
    """The functions of a task card. `options` are the card's own, by name."""

    def shapes(self, **options: Any) -> Mapping[str, Any]:
        """What a model is built for, by name of the argument; see `Task.shapes`."""

    def examples_per_item(self, **options: Any) -> int:
        """Examples that an item holds."""

    def training(self, dataset: Any, index: Any) -> Side:
        """The training side of a dataset under a weighting."""

    def validation(self, dataset: Any) -> Side:
        """The validation side of a dataset."""

    def made_up(self, n_items: int, **options: Any) -> tuple[Side, Side]:
        """Both sides of a random dataset of so many items, on which a step's time is measured."""

    def task(
        self,
        training: Side,
        validation: Side,
        n_valid: int,
        seed: int,
        n_unique: int | None = None,
        **options: Any,
    ) -> Task:
        """The task of a run.

        Args:
            training: from which batches are drawn.
            validation: of which `n_valid` items are measured, drawn by the seed.
            n_valid: items.
            seed: of the study.
            n_unique: distinct examples to train on, whole items, drawn by the seed; those of a
                smaller number are among those of a larger. None for all.
            options: the card's own.

        Raises:
            ValueError: there are fewer examples, or none to measure.
        """


def shuffled(n_items: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Endless batches of item numbers, shuffled anew every epoch.

    An epoch that does not divide into batches goes on in the next one.

    Args:
        n_items: items of the training side, at least 1.
        size: of a batch.
        rng: decides the order.

    Yields:
        int64 (size,).

    Example:
        >>> import numpy as np
        >>> batches = shuffled(4, 2, np.random.default_rng(0))
        >>> sorted(np.concatenate([next(batches), next(batches)]).tolist())
        [0, 1, 2, 3]
    """
    import numpy as np

    left = np.empty(0, dtype=np.int64)
    while True:
        while len(left) < size:
            left = np.concatenate([left, rng.permutation(n_items)])
        yield left[:size]
        left = left[size:]


def learn(
    module: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor, share: float = 1.0
) -> torch.Tensor:
    """Mean cross-entropy of a batch, without a graph; its gradient is added to the parameters'.

    A module that has a backward pass of its own has a method `learn(inputs, targets, share)` that
    does the same; the gradient of any other is that of autograd. So is that of every module in
    mixed precision, where torch decides the types of intermediate values.

    Args:
        module: gives log-odds, (n, k), for `inputs`.
        inputs: what the task gives a module.
        targets: the right one of k, int64 (n,).
        share: what the gradient is multiplied by: 1 / k in the k parts of a batch.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 3)
        >>> loss = learn(layer, torch.zeros(4, 2), torch.tensor([0, 1, 2, 0]))
        >>> loss.requires_grad, layer.weight.grad.shape
        (False, torch.Size([3, 2]))
    """
    import torch
    from torch.nn import functional

    own = getattr(module, "learn", None)
    if own is not None and not torch.is_autocast_enabled(inputs.device.type):
        return own(inputs, targets, share)
    loss = functional.cross_entropy(module(inputs).float(), targets)
    (loss * share).backward()
    return loss.detach()
