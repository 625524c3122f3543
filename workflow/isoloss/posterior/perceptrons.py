"""Loss and gradient of several copies of a multilayer perceptron at once, one matrix product each.

Products of matrices of this size take microseconds; a call of torch takes about one. All copies
are therefore computed by one batched product a layer (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


def widths_of(module: torch.nn.Module, shape: Sequence[int]) -> list[int] | None:
    """Widths of a `torch.nn.Sequential` that is a multilayer perceptron; None of any other module.

    It is linear layers with ReLU between them, behind `Flatten` where an input has several
    dimensions. `Dropout` and `Identity`, which do nothing in eval mode, may stand anywhere.

    Args:
        module: any.
        shape: of an input.

    Example:
        >>> from torch.nn import Flatten, Linear, ReLU, Sequential
        >>> module = Sequential(Flatten(), Linear(784, 20), ReLU(), Linear(20, 10)).eval()
        >>> widths_of(module, (28, 28))
        [784, 20, 10]
        >>> widths_of(Sequential(Linear(784, 20), Linear(20, 10)).eval(), (784,)) is None
        True
    """
    if type(module) is not nn.Sequential or module.training or _has_hooks(module):
        return None
    layers = [layer for layer in module if type(layer) not in (nn.Dropout, nn.Identity)]
    flattens = bool(layers) and type(layers[0]) is nn.Flatten
    if flattens and (layers[0].start_dim, layers[0].end_dim) == (1, -1):
        del layers[0]
    elif len(shape) != 1:
        return None
    kinds = [type(layer) for layer in layers]
    if kinds != [nn.Linear, *[nn.ReLU, nn.Linear] * (len(kinds) // 2)]:
        return None
    linear = layers[::2]
    parameters = list(module.parameters())  # each once: fewer where layers share one
    if len(parameters) < 2 * len(linear) or not all(p.requires_grad for p in parameters):
        return None
    return [linear[0].in_features, *(layer.out_features for layer in linear)]


def _has_hooks(module: torch.nn.Module) -> bool:
    return any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


class Stack:
    """Copies of linear layers with ReLU between them: a `Stacked`, see `posterior/stacks.py`.

    The values of a copy depend on no other copy and not on how many there are, bit for bit: a
    product of one matrix is computed otherwise than that of many, so that one copy is computed as
    two.

    Args:
        widths: of the input, the hidden layers and the output.
        copies: how many sets of weights a call is given.

    Example:
        >>> stack = Stack([4, 3, 2], copies=5)
        >>> weights = torch.zeros(5, 4 * 3 + 3 + 3 * 2 + 2)
        >>> inputs, targets = torch.ones(5, 7, 4), torch.zeros(5, 7, dtype=torch.int64)
        >>> gradient = torch.empty_like(weights)
        >>> stack.learn(weights, gradient, inputs, targets).shape
        torch.Size([5, 7])
        >>> gradient[0, -2:]
        tensor([-0.5000,  0.5000])
    """

    def __init__(self, widths: Sequence[int], copies: int):
        self.copies, self.computed = copies, max(copies, 2)
        self.shapes = list(pairwise(widths))
        self._views = _Views(self.shapes), _Views(self.shapes)
        self._space: dict[int, _Space] = {}
        self._of_two: torch.Tensor | None = None

    @torch.no_grad()
    def learn(
        self,
        weights: torch.Tensor,
        gradient: torch.Tensor,
        inputs: torch.Tensor,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """See `Stacked`; inputs of several dimensions are flattened."""
        if self.copies == 1:
            return self._learn_one(weights, gradient, inputs, targets)
        inputs = inputs.flatten(2)
        space = self._space_of(inputs)
        layers, slopes = self._views[0].of(weights), self._views[1].of(gradient)
        space.forward(layers, inputs)
        losses = space.losses(targets)
        space.backward(layers, slopes, inputs)
        return losses

    @torch.no_grad()
    def losses(
        self, weights: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """The losses that `learn` returns, without the gradient."""
        if self.copies == 1:
            weights, inputs, targets = _twice(weights, inputs, targets)
        inputs = inputs.flatten(2)
        space = self._space_of(inputs)
        space.forward(self._views[0].of(weights), inputs)
        return space.losses(targets)[: self.copies]

    def _learn_one(self, weights, gradient, inputs, targets) -> torch.Tensor:
        if self._of_two is None:
            self._of_two = gradient.new_empty(2, gradient.shape[1])
            self._pair = Stack([self.shapes[0][0], *(b for _, b in self.shapes)], 2)
        weights, inputs, targets = _twice(weights, inputs, targets)
        losses = self._pair.learn(weights, self._of_two, inputs, targets)
        gradient.copy_(self._of_two[:1])
        return losses[:1]

    def _space_of(self, inputs: torch.Tensor) -> _Space:
        batch = inputs.shape[1]
        if batch not in self._space:
            self._space[batch] = _Space([b for _, b in self.shapes], self.computed, batch, inputs)
        return self._space[batch]


def _twice(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [x.expand(2, *x.shape[1:]) for x in tensors]


class _Views:
    """Matrices and biases of layers in flat parameters, kept while these are the same tensor."""

    def __init__(self, shapes: Sequence[tuple[int, int]]):
        self.shapes = shapes
        self.flat: torch.Tensor | None = None

    def of(self, flat: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Of every layer, (copies, fan-out, fan-in) and (copies, fan-out)."""
        if flat is not self.flat:
            self.flat, self.layers, start = flat, [], 0
            for fan_in, fan_out in self.shapes:
                size = fan_in * fan_out
                matrix = flat[:, start : start + size].unflatten(1, (fan_out, fan_in))
                start += size + fan_out
                self.layers.append((matrix, flat[:, start - fan_out : start]))
        return self.layers


class _Space:
    """What the passes over batches of one size write to: a unit a row, an example a column.

    Args:
        widths: what the layers give.
        copies: sets of weights.
        batch: examples of a batch.
        like: a tensor of the type and device of the parameters.
    """

    def __init__(self, widths: Sequence[int], copies: int, batch: int, like: torch.Tensor):
        shapes = [(copies, width, batch) for width in widths]
        self.outputs = [like.new_empty(shape) for shape in shapes]
        self.slopes = [like.new_empty(shape) for shape in shapes]
        self.minus_one = like.new_full((1, 1, 1), -1.0).expand(copies, 1, batch)
        self.batch = batch

    def forward(self, layers, inputs: torch.Tensor) -> None:
        """Fill `outputs`: of hidden layers after ReLU, of the last the log-odds."""
        below = inputs.mT
        for (matrix, bias), output in zip(layers, self.outputs, strict=True):
            torch.baddbmm(bias.unsqueeze(2), matrix, below, out=output)
            if output is not self.outputs[-1]:
                output.relu_()
            below = output

    def losses(self, targets: torch.Tensor) -> torch.Tensor:
        """The cross-entropy of each example; `outputs` ends with the log-probabilities then."""
        logarithms = torch.log_softmax(self.outputs[-1], 1, out=self.outputs[-1])
        self.targets = targets.unsqueeze(1)
        return logarithms.gather(1, self.targets).squeeze(1).neg_()

    def backward(self, layers, slopes, inputs: torch.Tensor) -> None:
        """Write the gradient of each copy's mean loss to `slopes`, laid out as `layers`."""
        # of the mean: (softmax - 1 at the target) / batch
        slope = torch.exp(self.outputs[-1], out=self.slopes[-1])
        slope.scatter_add_(1, self.targets, self.minus_one).div_(self.batch)
        below = [inputs, *(output.mT for output in self.outputs)]
        for i in reversed(range(len(layers))):
            of_matrix, of_bias = slopes[i]
            torch.sum(slope, 2, out=of_bias)
            torch.bmm(slope, below[i], out=of_matrix)
            if i > 0:
                slope = torch.bmm(layers[i][0].mT, slope, out=self.slopes[i - 1])
                torch.ops.aten.threshold_backward(slope, self.outputs[i - 1], 0, grad_input=slope)
