"""Several sets of a module's weights at once, by the layout that the module names.

Model cards import none of this: how a trained model is measured is no part of the identity of its
run, and a change here trains nothing again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch

from isoloss.posterior import perceptrons, transformers


class Stacked(Protocol):
    """Losses and gradients of several sets of a module's weights at once, by cross-entropy.

    The sets are the rows of `weights`, (copies, P): the parameters, in the module's order, one
    behind the other. Each has inputs and targets of its own. What is computed of a set depends on
    no other set and not on how many there are, bit for bit.
    """

    def learn(
        self,
        weights: torch.Tensor,
        gradient: torch.Tensor,
        inputs: torch.Tensor,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """The losses of all examples; `gradient` becomes the gradient of each set's mean loss.

        Args:
            weights: (copies, P).
            gradient: (copies, P), which is overwritten.
            inputs: (copies, batch, ...).
            targets: int64 (copies, batch), or (copies, batch, positions) of windows of tokens.

        Returns:
            nats, of the shape of the targets.
        """

    def losses(
        self, weights: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """The losses that `learn` returns, without the gradient."""


def stack_of(module: torch.nn.Module) -> Callable[[int], Stacked] | None:
    """What makes a `Stacked` of so many sets of weights; None if there is none for the module.

    Args:
        module: its attribute `layout` says what it is: `perceptron`, linear layers with ReLU
            between them; or `transformer`, the card's, which has `turns` beside its parameters.
            All of its parameters have to be trained.
    """
    if not all(p.requires_grad for p in module.parameters()):
        return None
    layout = getattr(module, "layout", None)
    if layout == "perceptron":
        matrices = [p for p in module.parameters() if p.dim() == 2]
        widths = [matrices[0].shape[1], *(len(matrix) for matrix in matrices)]
        return partial(perceptrons.Stack, widths)
    if layout == "transformer":
        return partial(transformers.Stack, module, module.turns)
    return None
