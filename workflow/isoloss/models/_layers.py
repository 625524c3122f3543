"""A multilayer perceptron as a torch module, with a backward pass of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch.nn import functional

Parameters = Sequence[tuple[torch.nn.Parameter, torch.nn.Parameter]]  # weight and bias of layers


class Layers(torch.nn.ModuleList):
    """Linear layers with ReLU between them, which end in the log-odds of classes.

    Args:
        widths: of the input, the hidden layers and the output.
        rng: gives the first weights: uniform within 1 / sqrt(fan-in), as `torch.nn.Linear` draws
            its own.

    Example:
        >>> import numpy as np
        >>> layers = Layers([4, 3, 2], np.random.default_rng(0))
        >>> layers(torch.zeros(5, 4)).shape
        torch.Size([5, 2])
    """

    layout = "perceptron"

    def __init__(self, widths: Sequence[int], rng: np.random.Generator):
        super().__init__(_linear(a, b, rng) for a, b in pairwise(widths))
        self._work: dict[tuple[int, torch.device], _Work] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Log-odds, (batch, classes), of inputs, (batch, inputs)."""
        *hidden, last = self
        for layer in hidden:
            x = functional.relu(layer(x))
        return last(x)

    @torch.no_grad()
    def learn(
        self, inputs: torch.Tensor, targets: torch.Tensor, share: float = 1.0
    ) -> torch.Tensor:
        """Mean cross-entropy of a batch; `share` times its gradient is added to `.grad`.

        The same as autograd's but for rounding, in fewer operations: what a step writes to is kept
        for the next batch of the same size, and nothing is done for the gradient of the input.

        Args:
            inputs: float32 (batch, inputs).
            targets: the right class of each, int64 (batch,).
            share: what the gradient is multiplied by.
        """
        key = (len(inputs), inputs.device)
        if key not in self._work:
            self._work[key] = _Work([layer.out_features for layer in self], *key)
        work, parameters = self._work[key], [(layer.weight, layer.bias) for layer in self]
        work.forward(parameters, inputs)
        loss = work.loss(targets)
        work.backward(parameters, inputs, share / len(inputs))
        return loss


class Perceptron(torch.nn.Module):
    """Layers as a model: their parameters are called `layers.0.weight`, `layers.0.bias`, ...

    Args:
        widths: of the input, the hidden layers and the output.
        rng: gives the first weights.
    """

    layout = Layers.layout

    def __init__(self, widths: Sequence[int], rng: np.random.Generator):
        super().__init__()
        self.layers = Layers(widths, rng)
        self.edges = ("layers.0.weight", f"layers.{len(self.layers) - 1}.weight")
        self.forward, self.learn = self.layers.forward, self.layers.learn


def _linear(fan_in: int, fan_out: int, rng: np.random.Generator) -> torch.nn.Linear:
    layer = torch.nn.Linear(fan_in, fan_out, device="meta")
    for name, shape in (("weight", (fan_out, fan_in)), ("bias", (fan_out,))):
        drawn = (2 * rng.random(shape, dtype=np.float32) - 1) * np.float32(fan_in**-0.5)
        setattr(layer, name, torch.nn.Parameter(torch.from_numpy(drawn)))
    return layer


class _Work:
    """What a step on a batch of one size writes to: a unit a row, an example a column.

    So laid out, the softmax is taken over rows, which torch does ten times as fast as over columns
    when there are few classes, and no product of matrices is slower.

    Args:
        widths: what the layers give.
        batch: examples of a batch.
        device: that they are on.
    """

    def __init__(self, widths: Sequence[int], batch: int, device: torch.device):
        def space() -> list[torch.Tensor]:
            return [torch.empty(width, batch, device=device) for width in widths]

        self.outputs, self.gradients, self.slopes = space(), space(), space()
        self.transposed = [output.t() for output in self.outputs]
        self.ones = torch.ones(batch, device=device)
        self.minus_one = -self.ones[None]

    def forward(self, parameters: Parameters, inputs: torch.Tensor) -> None:
        """Fill `outputs`: of hidden layers after ReLU, of the last its log-odds."""
        below = inputs.t()
        for (weight, bias), output in zip(parameters, self.outputs, strict=True):
            torch.mm(weight, below, out=output).add_(bias.unsqueeze(1))
            if output is not self.outputs[-1]:
                output.relu_()
            below = output

    def loss(self, targets: torch.Tensor) -> torch.Tensor:
        """The mean cross-entropy; softmax - target, the gradient of their sum, is kept."""
        logarithms = torch.log_softmax(self.outputs[-1], 0, out=self.outputs[-1])
        gradient = torch.exp(logarithms, out=self.gradients[-1])
        gradient.scatter_add_(0, targets.unsqueeze(0), self.minus_one)
        return functional.nll_loss(self.transposed[-1], targets)

    def backward(self, parameters: Parameters, inputs: torch.Tensor, scale: float) -> None:
        """Add `scale` times the gradient of the sum to every parameter's `.grad`."""
        below = [inputs, *self.transposed]
        for i in reversed(range(len(parameters))):
            weight, bias = parameters[i]
            gradient = self.gradients[i]
            _grad(bias).addmv_(gradient, self.ones, alpha=scale)
            _grad(weight).addmm_(gradient, below[i], alpha=scale)
            if i > 0:
                slope = torch.sign(self.outputs[i - 1], out=self.slopes[i - 1])
                torch.mm(weight.t(), gradient, out=self.gradients[i - 1]).mul_(slope)


def _grad(parameter: torch.nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
