"""The contract of model cards: what is trained.

A model card has the constants TITLE, FORMULA (of N) and SOURCE, which are shown, TASK (the task
card that it can be trained at) and OPTIONS (the settings of a run that it takes, as JSON Schema
properties with a default; the first of them is part of run ids), a dataclass `Model`, and the
function `sizes` of `Card`. The fields of `Model` are among the names of the card's options and
those of the task's `shapes`; what the module is given and has to return, the task card says. A card
whose sizes are found by other rules than `closest` names all rules in SIZE_RULES. `transformer.py`
is an example.

An item is what a batch is made of, such as a window of tokens; an example is the unit of D and of
the loss, such as a token. Their words are the task's ITEM and EXAMPLE.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch


class Model(Protocol):
    """A model of given sizes, which are its fields."""

    def count(self) -> Mapping[str, int]:
        """Parameters by group; `embedding` and `frozen` are left out of n_params_nonembed.

        Those of `frozen` are never trained, and are not among the parameters of the module.
        """

    def flops_by_layer(self) -> Mapping[str, float]:
        """Training FLOP an example of the task, forward and backward pass, layer by layer."""

    def activations(self) -> int:
        """How many numbers a forward pass keeps for each item, estimated from below.

        By it `check` refuses runs that need more memory than a run can have.
        """

    def nominal_width(self) -> float:
        """What the learning rate is scaled by: its peak holds at `learning_rate_width`."""

    def build(self, rng: np.random.Generator) -> torch.nn.Module:
        """The module, its weights drawn from `rng`; its input and output are as the task says.

        Parameters that need no gradient are not trained. A module may name in the attribute
        `edges` the matrices at its input and output, such as embeddings, which the optimiser Muon
        leaves to AdamW, and in `layout` how it is built, for `posterior/stacks.py`.
        """


class Card(Protocol):
    """The functions of a model card."""

    def sizes(
        self, target: float, given: Mapping[str, Any], rule: str = "closest"
    ) -> dict[str, Any]:
        """The settings of the model whose N is nearest to a target.

        Args:
            target: N.
            given: the other settings, the shapes of the task, and as `n_params` the convention for
                N: `total` or `nonembed`.
            rule: how they are found.
        """


def closest(grid: Sequence[int], target: float, count: Callable[[int], float]) -> int:
    """The value of a grid whose count is nearest to a target; of two as near, the smaller.

    Args:
        grid: in rising order.
        target: what the count is to be.
        count: of a value; it rises with the value.

    Example:
        >>> closest(range(1, 10), 20, lambda width: width**2)
        4
    """
    above = bisect_left(grid, target, key=count)
    near = grid[max(0, above - 1) : above + 1]
    return min(near, key=lambda value: abs(count(value) - target))


def flops_per_example(model: Model) -> float:
    """Training FLOP an example of the task: those of all layers together."""
    return math.fsum(model.flops_by_layer().values())


def n_params_of(count: Mapping[str, int], convention: str) -> int:
    """N by a convention, `total` or `nonembed`, of a model's parameters by group.

    `nonembed` leaves out embeddings and what is frozen.

    Example:
        >>> n_params_of({"embedding": 10, "matrix": 32}, "nonembed")
        32
    """
    left_out = {"total": (), "nonembed": ("embedding", "frozen")}[convention]
    return sum(n for group, n in count.items() if group not in left_out)


def model_of(card: Any, given: Mapping[str, Any]) -> Model:
    """The model of a run.

    Args:
        card: the model card.
        given: settings of the run and shapes of its task, by name; others may be among them.

    Raises:
        KeyError: the card needs a size that is not among them.
        ValueError: there is no model of these sizes.
    """
    return card.Model(**{field.name: given[field.name] for field in fields(card.Model)})
