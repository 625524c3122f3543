"""Loss and gradient of several copies of a transformer, each by a pass of its own.

Matrices of this size, with hundreds of tokens in a batch, keep a processor busy: one product for
all copies is no faster than a product a copy (docs/log.md).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import repeat

import torch

from isoloss.models._transformer_pass import Pass

Shape = tuple[int, int]  # windows of a batch, tokens of a window
KEPT = 4  # pairs of weights and gradient, with a shape, whose passes are kept


class Stack:
    """Copies of a transformer: a `Stacked`, see `posterior/stacks.py`.

    Args:
        module: any of the copies; its weights do not matter.
        turns: see `Pass`.
        copies: how many sets of weights a call is given.
    """

    def __init__(self, module: torch.nn.Module, turns: torch.Tensor, copies: int):
        self.module, self.turns, self.copies = module, turns, copies
        self._learning, self._measuring = _Bound(self._passes), _Bound(self._passes)
        self._unused: torch.Tensor | None = None

    def learn(
        self,
        weights: torch.Tensor,
        gradient: torch.Tensor,
        inputs: torch.Tensor,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """See `Stacked`; inputs and targets are tokens, (copies, windows, context)."""
        passes = self._learning.at(weights, gradient, tuple(inputs.shape[1:]))
        losses = torch.empty(targets.shape, dtype=weights.dtype, device=weights.device)
        gradient.zero_()
        with torch.inference_mode():
            for one, *batch, of_one in zip(passes, inputs, targets, losses, strict=True):
                _forward(one, *batch, of_one)
                one.backward(batch[0], batch[1].reshape(-1), 1.0)
        return losses

    def losses(
        self, weights: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """The losses that `learn` returns, without the gradient."""
        if self._unused is None:
            self._unused = torch.empty_like(weights[0]).expand(self.copies, -1)
        passes = self._measuring.at(weights, self._unused, tuple(inputs.shape[1:]))
        losses = torch.empty(targets.shape, dtype=weights.dtype, device=weights.device)
        with torch.inference_mode():
            for one, *batch, of_one in zip(passes, inputs, targets, losses, strict=True):
                _forward(one, *batch, of_one)
        return losses

    def _passes(self, weights: torch.Tensor, gradient: torch.Tensor, shape: Shape) -> list[Pass]:
        rows = zip(repeat(self.module), weights, gradient)
        return [Pass(_twin(*row), self.turns, shape) for row in rows]


class _Bound:
    """Passes by the tensors that they read and write; those of the last few calls are kept."""

    def __init__(self, make: Callable[[torch.Tensor, torch.Tensor, Shape], list[Pass]]):
        self.make = make
        self.known: list[tuple[torch.Tensor, torch.Tensor, Shape, list[Pass]]] = []

    def at(self, weights: torch.Tensor, gradient: torch.Tensor, shape: Shape) -> list[Pass]:
        for of_weights, of_gradient, of_shape, passes in self.known:
            if of_weights is weights and of_gradient is gradient and of_shape == shape:
                return passes
        passes = self.make(weights, gradient, shape)
        self.known = [(weights, gradient, shape, passes), *self.known[: KEPT - 1]]
        return passes


def _twin(module: torch.nn.Module, flat: torch.Tensor, gradient: torch.Tensor) -> torch.nn.Module:
    """A copy of a module whose parameters and gradients are parts of flat tensors."""
    places, start = {id(module.passes): {}}, 0  # passes of the module itself are not copied
    for parameter in module.parameters():
        part = slice(start, start := start + parameter.numel())
        there = torch.nn.Parameter(flat[part].view_as(parameter))
        there.grad = gradient[part].view_as(parameter)
        places[id(parameter)] = there
    return copy.deepcopy(module, places)


def _forward(one: Pass, inputs: torch.Tensor, targets: torch.Tensor, losses: torch.Tensor) -> None:
    """Write the losses of tokens, (windows, context), which a pass has computed."""
    total, right = one.forward(inputs, targets.reshape(-1))
    torch.sub(total, right, out=losses.view(-1, 1))
