"""Losses and gradients of several copies of any torch module: the plain path.

The copies are computed one after the other by autograd. That asks nothing of a module that a loop
of training does not, and was no slower than `torch.func.vmap` for four chains (docs/log.md).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from isoloss.core.problems import IsolossError, Problem
from isoloss.core.seeds import generator
from isoloss.posterior.settings import SettingsError

LossFunction = Callable[[Any, Tensor], Tensor]
KEPT = 4  # pairs of weights and gradient whose copies are kept


class Copies:
    """Copies of a module, each with weights, gradient and buffers of its own.

    It has the interface of `Stacked` in `posterior/stacks.py`, with any loss.

    Args:
        module: the module; it is copied, and stays as it is.
        loss: of what a module returns and targets to the losses, one an item, or one an item and
            position.
        copies: how many sets of weights a call is given.
        seed: of what a module in train mode draws. Each copy draws by itself, for `learn` and for
            `losses`.

    Example:
        >>> copies = Copies(torch.nn.Linear(3, 2), cross_entropy, copies=4)
        >>> weights, gradient = torch.zeros(4, 8), torch.empty(4, 8)
        >>> inputs, targets = torch.ones(4, 5, 3), torch.zeros(4, 5, dtype=torch.int64)
        >>> copies.learn(weights, gradient, inputs, targets).shape
        torch.Size([4, 5])
    """

    def __init__(
        self, module: torch.nn.Module, loss: LossFunction, copies: int, seed: int = 0
    ) -> None:
        self.module, self.loss = module, loss
        self._learning, self._measuring = (
            [_first_state(seed, purpose, i) if module.training else None for i in range(copies)]
            for purpose in ("learn", "losses")
        )
        self._bound: list[tuple[Tensor, Tensor | None, list[torch.nn.Module]]] = []

    def learn(self, weights: Tensor, gradient: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """The losses; `gradient` becomes that of each copy's mean loss.

        Args:
            weights: (copies, P): the parameters that need gradients, in the module's order.
            gradient: (copies, P), which is overwritten.
            inputs: (copies, batch, ...).
            targets: (copies, batch, ...).
        """
        modules, losses = self._modules(weights, gradient), []
        gradient.zero_()
        for i, (module, x, y) in enumerate(zip(modules, inputs, targets, strict=True)):
            with _own_randomness(self._learning, i), torch.enable_grad():
                of_copy = self.loss(module(x), y)
                _check_gradient(of_copy)
                of_copy.mean().backward()
            losses.append(of_copy.detach())
        return torch.stack(losses)

    def losses(self, weights: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """The losses that `learn` returns, without the gradient."""
        modules, losses = self._modules(weights, None), []
        for i, (module, x, y) in enumerate(zip(modules, inputs, targets, strict=True)):
            with _own_randomness(self._measuring, i), torch.no_grad():
                losses.append(self.loss(module(x), y))
        return torch.stack(losses)

    def _modules(self, weights: Tensor, gradient: Tensor | None) -> list[torch.nn.Module]:
        """Modules that read these weights and add to this gradient; the last few are kept."""
        for of_weights, of_gradient, modules in self._bound:
            if of_weights is weights and of_gradient is gradient:
                return modules
        gradients: Sequence[Tensor | None] = [None] * len(weights) if gradient is None else gradient
        modules = [_twin(self.module, w, g) for w, g in zip(weights, gradients, strict=True)]
        self._bound = [(weights, gradient, modules), *self._bound[: KEPT - 1]]
        return modules


@contextmanager
def _own_randomness(states: list[Tensor | None], copy_number: int) -> Iterator[None]:
    """Dropout of a copy in train mode depends on no other copy, nor on torch's global state."""
    if states[copy_number] is None:  # in eval mode nothing is drawn
        yield
        return
    outside = torch.get_rng_state()
    torch.set_rng_state(states[copy_number])
    try:
        yield
        states[copy_number] = torch.get_rng_state()
    finally:
        torch.set_rng_state(outside)


def trained(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that need gradients, by name and in order.

    Raises:
        SettingsError: there are none, or they are of several types, or not of 32 or 64 bits: a
            step is less than the last bit of a weight of 16.
    """
    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    types = {p.dtype for p in parameters.values()}
    if not parameters:
        raise SettingsError(
            Problem("model", "no parameter needs a gradient", "call requires_grad_() on some")
        )
    if len(types) > 1 or not types <= {torch.float32, torch.float64}:
        names = ", ".join(sorted(map(str, types)))
        remedy = "convert it: model.float()"
        raise SettingsError(Problem("model", f"parameters are {names}", remedy))
    return parameters


def cross_entropy(outputs: Any, targets: Tensor) -> Tensor:
    """Cross-entropy in nats of every target, of the shape of the targets.

    Args:
        outputs: log-odds (batch, classes); or (batch, positions, vocabulary), or the same with
            batch and positions as one dimension; or an object with them as `logits`. Positions
            behind the last target are left out.
        targets: int64 (batch,) or (batch, positions).

    Raises:
        IsolossError: the log-odds do not fit the targets.

    Example:
        >>> cross_entropy(torch.zeros(2, 3, 4), torch.tensor([[0, 1], [2, 3]]))
        tensor([[1.3863, 1.3863],
                [1.3863, 1.3863]])
    """
    odds = getattr(outputs, "logits", outputs)
    odds = odds[0] if isinstance(odds, tuple) else odds
    if odds.dim() == 3 and targets.dim() == 2:
        odds = odds[:, : targets.shape[1]].flatten(0, 1)
    if odds.dim() != 2 or len(odds) != targets.numel():
        shapes = f"log-odds {tuple(odds.shape)} for targets {tuple(targets.shape)}"
        raise IsolossError(
            Problem("model", shapes, "return (batch, classes) or (batch, positions, vocabulary)")
        )
    losses = functional.cross_entropy(odds.float(), targets.reshape(-1), reduction="none")
    return losses.view(targets.shape)


def _check_gradient(losses: Tensor) -> None:
    """Refuse losses that autograd cannot follow back to the parameters."""
    if not losses.requires_grad:
        reason = "the losses do not depend on a parameter that needs a gradient"
        remedy = "compute them without detach(), argmax or NumPy, and outside inference_mode()"
        raise IsolossError(Problem("loss_fn", reason, remedy))


def _twin(module: torch.nn.Module, flat: Tensor, gradient: Tensor | None) -> torch.nn.Module:
    """A copy of a module whose trained parameters, and gradients, are parts of flat tensors."""
    places: dict[int, Any] = {}
    start = 0
    for parameter in trained(module).values():
        part = slice(start, start := start + parameter.numel())
        there = torch.nn.Parameter(flat[part].view_as(parameter))
        if gradient is not None:
            there.grad = gradient[part].view_as(parameter)
        places[id(parameter)] = there
    return copy.deepcopy(module, places)


def _first_state(seed: int, purpose: str, number: int) -> Tensor:
    drawn = generator(seed, f"train mode, {purpose}", str(number)).integers(1 << 63)
    return torch.Generator().manual_seed(int(drawn)).get_state()
