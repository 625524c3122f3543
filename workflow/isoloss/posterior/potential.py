"""What a sampler samples from: losses and their gradients, of several sets of weights at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor


class Potential(Protocol):
    """Losses and gradients of several sets of weights at once, one a chain.

    What it gives for a chain must not depend on the other chains or on how many there are.

    Attributes:
        start: the trained weights (P,), float32: the parameters that are trained, flat and one
            after the other.
        names: name of a parameter to its part of `start`.
        n_items: how many items there are.
    """

    start: Tensor
    names: Mapping[str, slice]
    n_items: int

    def learn(self, weights: Tensor, gradient: Tensor, items: Tensor) -> Tensor:
        """The loss of every item, and the gradient of each chain's mean loss.

        Args:
            weights: (chains, P).
            gradient: (chains, P); overwritten.
            items: numbers of items, int64 (chains, batch).

        Returns:
            Losses in nats (chains, batch), float32; a loss is the mean over an item's positions.
        """

    def losses(self, weights: Tensor, items: Tensor) -> Tensor:
        """The losses that `learn` returns, without a gradient."""


class FunctionPotential:
    """A potential that is a function of the weights alone, such as a population loss.

    Args:
        function: of weights (chains, P) to losses (chains,).
        start: the weights from which chains start (P,); taken as float32.
        gradient: of weights to the gradients of the losses, (chains, P) both; by default it is
            found by automatic differentiation.
        names: name of a parameter to its part of `start`; by default all of it is `weights`.

    Example:
        >>> potential = FunctionPotential(lambda w: (w**2).sum(1) / 2, torch.zeros(3))
        >>> gradient = torch.empty(2, 3)
        >>> potential.learn(torch.ones(2, 3), gradient, torch.zeros(2, 1, dtype=torch.int64))
        tensor([[1.5000],
                [1.5000]])
        >>> gradient[0]
        tensor([1., 1., 1.])
    """

    n_items = 1

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        start: Tensor,
        gradient: Callable[[Tensor], Tensor] | None = None,
        names: Mapping[str, slice] | None = None,
    ) -> None:
        self.start = torch.as_tensor(start).detach().to(torch.float32)
        self.names = {"weights": slice(0, len(self.start))} if names is None else names
        self._function = function
        self._gradient = gradient

    def learn(self, weights: Tensor, gradient: Tensor, items: Tensor) -> Tensor:
        """The losses (chains, batch), all of a chain the same; `gradient` is overwritten."""
        if self._gradient is not None:
            gradient.copy_(self._gradient(weights))
            return self.losses(weights, items)
        with torch.enable_grad():
            variable = weights.detach().requires_grad_()
            losses = self._function(variable)
            (gradients,) = torch.autograd.grad(losses.sum(), variable)
        gradient.copy_(gradients)
        return losses.detach()[:, None].expand(items.shape)

    def losses(self, weights: Tensor, items: Tensor) -> Tensor:
        """The losses (chains, batch), all of a chain the same."""
        with torch.no_grad():
            return self._function(weights)[:, None].expand(items.shape)
