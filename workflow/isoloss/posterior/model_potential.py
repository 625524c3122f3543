"""The potential of a trained module: its losses on items of a dataset."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from isoloss.core.escape import visible
from isoloss.core.problems import IsolossError, Problem
from isoloss.posterior.modules import Copies, LossFunction, cross_entropy, trained
from isoloss.posterior.perceptrons import Stack, widths_of
from isoloss.posterior.settings import SettingsError
from isoloss.posterior.stacks import stack_of


class ModelPotential:
    """Losses of a module on items, and their gradients: a `Potential`.

    A module that computes several sets of weights at once (`stack_of`) does so
    under cross-entropy; any other is computed copy by copy.

    Args:
        module: the trained module; it is not changed.
        inputs: what the module is given of each item, (n, ...).
        targets: of each item, (n,) or (n, positions).
        loss_fn: of what the module returns and targets to losses (batch,) or (batch, ...); the mean
            over all dimensions but the first is the loss of an item. By default `cross_entropy`.
        mode: `eval`, or `train`, in which dropout draws and batch norm counts. A chain's draws go
            on from step to step, those of `losses` from call to call beside them: so in train mode
            the loss of the trained weights depends on which items are asked for, and in what order.
        seed: of what is drawn in train mode.

    Raises:
        SettingsError: inputs and targets do not fit, or the module has nothing to sample.

    Example:
        >>> inputs, targets = torch.rand(100, 3), torch.zeros(100, dtype=torch.int64)
        >>> potential = ModelPotential(torch.nn.Linear(3, 2), inputs, targets)
        >>> dict(potential.names), potential.n_items
        ({'weight': slice(0, 6, None), 'bias': slice(6, 8, None)}, 100)
        >>> potential.losses(potential.start[None], torch.tensor([[5, 7, 5]])).shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        module: torch.nn.Module,
        inputs: Tensor,
        targets: Tensor,
        loss_fn: LossFunction | None = None,
        mode: str = "eval",
        seed: int = 0,
    ) -> None:
        own, train = stack_of(module) if loss_fn is None else None, _is_train(mode)
        self._module = module if own else copy.deepcopy(module).train(train)
        self._loss = cross_entropy if loss_fn is None else loss_fn
        parameters = {name: p.detach() for name, p in trained(module).items()}
        self.start = torch.cat([p.reshape(-1) for p in parameters.values()])
        self.names, at = {}, 0
        for name, parameter in parameters.items():
            self.names[name] = slice(at, at := at + parameter.numel())
        self._inputs, self._targets = self._data(inputs, targets, loss_fn is None)
        self.n_items = len(self._inputs)
        self._stacked = own or (self._perceptron() if loss_fn is None else None)
        self._copies: dict[int, Copies] = {}
        self._seed = seed

    def learn(self, weights: Tensor, gradient: Tensor, items: Tensor) -> Tensor:
        """Losses of items, (chains, batch); `gradient` becomes that of each chain's mean loss."""
        copies = self._of(len(weights))
        return self._by_item(copies.learn(weights, gradient, *self.batch(items)), items)

    def losses(self, weights: Tensor, items: Tensor) -> Tensor:
        """The losses that `learn` returns, without the gradient."""
        copies = self._of(len(weights))
        return self._by_item(copies.losses(weights, *self.batch(items)), items)

    def check(self, place: str) -> None:
        """Compute the losses of three items, so that what does not fit is told before a long run.

        Args:
            place: what the user calls the data.

        Raises:
            IsolossError: they cannot be computed, or are not of items.
        """
        items = self._extreme_items()
        shapes = []
        for count in (2, 3):
            weights, numbers = self.start[None].clone(), items[None, :count]
            copies = self._new(1)
            try:
                losses = copies.losses(weights, *self.batch(numbers))
            except IsolossError:
                raise
            except Exception as error:
                inputs, targets = (tuple(part.shape[1:]) for part in self.batch(items))
                reason = f"the losses of items {numbers[0].tolist()} cannot be computed, with"
                reason += f" inputs of shape {inputs} and targets of shape {targets} an item:"
                text = f"{reason} {type(error).__name__}: {visible(str(error))}"
                remedy = "change model, data or loss_fn so that they fit together"
                raise SettingsError(Problem(place, text, remedy)) from error
            self._by_item(losses, numbers)
            shapes.append(tuple(losses.shape[2:]))
        if shapes[0] != shapes[1]:
            reason = f"losses {(2, *shapes[0])} for 2 items and {(3, *shapes[1])} for 3"
            remedy = "each output meets all targets: give outputs and targets the same shape"
            raise SettingsError(Problem("loss_fn", reason, remedy))

    def _extreme_items(self) -> Tensor:
        """The item with the smallest target, the first one, and that with the largest target."""
        if self._targets.is_complex() or not self._targets.numel():
            return torch.zeros(3, dtype=torch.int64)
        by_item = self._targets.reshape(self.n_items, -1)
        lowest, highest = by_item.amin(1).argmin(), by_item.amax(1).argmax()
        return torch.stack([lowest, torch.zeros_like(lowest), highest])

    def _perceptron(self) -> Callable[[int], Stack] | None:
        """Makes stacks of a module of torch's own that is a multilayer perceptron."""
        widths = widths_of(self._module, self._inputs.shape[1:])
        return partial(Stack, widths) if widths and self._targets.dim() == 1 else None

    def _of(self, count: int) -> Copies:
        if count not in self._copies:
            self._copies[count] = self._new(count)
        return self._copies[count]

    def _new(self, count: int) -> Copies:
        if self._stacked:
            return self._stacked(count)
        return Copies(self._module, self._loss, count, self._seed)

    def batch(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of items (chains, batch), (chains, batch, ...) each."""
        flat, shape = items.reshape(-1).to(self._inputs.device), items.shape
        inputs, targets = self._inputs.index_select(0, flat), self._targets.index_select(0, flat)
        return inputs.view(*shape, *inputs.shape[1:]), targets.view(*shape, *targets.shape[1:])

    def _by_item(self, losses: Tensor, items: Tensor) -> Tensor:
        if losses.shape[:2] != items.shape:
            shape = tuple(losses.shape[1:])
            remedy = "return one an item, as torch's losses do with reduction='none'"
            raise IsolossError(
                Problem("loss_fn", f"losses {shape} for {items.shape[1]} items", remedy)
            )
        return losses.flatten(2).mean(2) if losses.dim() > 2 else losses

    def _data(self, inputs: Tensor, targets: Tensor, of_classes: bool) -> tuple[Tensor, Tensor]:
        """Inputs and targets where the weights are, and of their type."""
        if len(inputs) != len(targets) or not len(inputs):
            counts = f"{len(inputs)} inputs and {len(targets)} targets"
            raise SettingsError(Problem("dataset", counts, "give as many, and one at least"))
        if of_classes and (targets.is_floating_point() or targets.is_complex()):
            remedy = "give whole numbers of classes, or a loss_fn"
            raise SettingsError(Problem("dataset", f"targets are {targets.dtype}", remedy))
        if of_classes and int(targets.min()) < 0:
            reason, remedy = f"a target is {int(targets.min())}", "leave it out, or give a loss_fn"
            raise SettingsError(Problem("dataset", reason, remedy))
        like = self.start
        return tuple(
            x.to(device=like.device, dtype=like.dtype if x.is_floating_point() else dtype)
            for x, dtype in ((inputs, None), (targets, torch.int64 if of_classes else None))
        )


def _is_train(mode: str) -> bool:
    if mode not in ("eval", "train"):
        raise SettingsError(Problem("mode", repr(mode), "give 'eval' or 'train'"))
    return mode == "train"
