"""The contract of model cards: what is trained.

A model card has the constants TASK (the task card that it can be trained at) and OPTIONS (the
settings of a run that it takes), and a dataclass `Model`, whose fields are among the card's options
and the shapes of the task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch


class Model(Protocol):
    """A model of given sizes, which are its fields."""

    def count(self) -> Mapping[str, int]:
        """Parameters by group; those of `embedding` are left out of n_params_nonembed."""

    def flops_per_example(self) -> float:
        """Training FLOP an example of the task, forward and backward pass."""

    def activations(self) -> int:
        """Numbers that a forward pass computes of an item at least, for an estimate of memory."""

    def width(self) -> float:
        """What the learning rate is scaled by."""

    def build(self, rng: np.random.Generator) -> torch.nn.Module:
        """The module, its weights drawn from `rng`; maps the task's input to log-odds."""


def model_of(card: Any, given: Mapping[str, Any]) -> Model:
    """The model of a run.

    Args:
        card: the model card.
        given: settings of the run and shapes of its task, by name; others may be among them.

    Raises:
        KeyError: the card needs a size that is not among them.
    """
    return card.Model(**{field.name: given[field.name] for field in fields(card.Model)})
