"""A multilayer perceptron: linear layers with biases, ReLU between them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from isoloss.models._model import closest

TITLE = "Multilayer perceptron"
FORMULA = "N = sum over layers of (fan-in + 1) * fan-out"
SOURCE = (
    "ReLU: Nair and Hinton 2010; first weights: PyTorch's for a linear layer, uniform within"
    " 1 / sqrt(fan-in)"
)
TASK = "classification"
SIZE_RULES = ("closest", "inverse")
OPTIONS = {"width": "width", "depth": "depth", "taper": "taper"}
WIDEST = 65536  # that is looked at for a target N


@dataclass(frozen=True)
class Model:
    """Sizes of a multilayer perceptron.

    Attributes:
        width: of the first hidden layer.
        depth: hidden layers.
        taper: width of a hidden layer over that of the one before.
        inputs: numbers that an example is made of.
        classes: that there are to choose from.

    Example:
        >>> Model(width=43, depth=2, taper=0.5, inputs=784, classes=10).widths()
        [784, 43, 22, 10]
    """

    width: int
    depth: int
    taper: float
    inputs: int
    classes: int

    def widths(self) -> list[int]:
        """Of the input, the hidden layers and the output."""
        hidden = [self.width]
        while len(hidden) < self.depth:
            hidden.append(max(1, round(hidden[-1] * self.taper)))
        return [self.inputs, *hidden, self.classes]

    def count(self) -> dict[str, int]:
        """Parameters by group: `matrix`, `bias`."""
        widths = self.widths()
        return {"matrix": sum(a * b for a, b in pairwise(widths)), "bias": sum(widths[1:])}

    def flops_by_layer(self) -> dict[str, float]:
        """Training FLOP an example: a multiply-add is two, a bias one weight more of its unit.

        A layer multiplies its weights by its input, and in the backward pass the gradient of its
        output by its input and, but for the first layer, by its weights.
        """
        flops = {}
        for i, (fan_in, fan_out) in enumerate(pairwise(self.widths())):
            backward = fan_in + 1 + (fan_in if i > 0 else 0)
            flops[f"layers.{i}"] = 2.0 * (fan_in + 1 + backward) * fan_out
        return flops

    def activations(self) -> int:
        """The input, and what every layer gives."""
        return sum(self.widths())

    def nominal_width(self) -> int:
        """The width of the first hidden layer."""
        return self.width

    def build(self, rng):
        """The module, its weights drawn from `rng` (numpy Generator).

        Returns:
            torch module; `forward(x)` maps float32 (batch, inputs) to log-odds (batch, classes).
            Its weights are called `layers.0.weight`, `layers.0.bias`, `layers.1.weight`, ...
        """
        from isoloss.models._layers import Perceptron

        return Perceptron(self.widths(), rng)


def sizes(target: float, given: Mapping[str, Any], rule: str = "closest") -> dict[str, int]:
    """The width of the model whose N is a target, or near it.

    Args:
        target: N.
        given: `depth`, `taper`, `inputs`, `classes`.
        rule: `closest`, the width whose N is nearest; or `inverse`, the width at which N without
            biases and with unrounded widths is the target: how `generate_hidden_configs` of the
            Fashion-MNIST experiments chose theirs.

    Example:
        >>> given = {"depth": 2, "taper": 0.5, "inputs": 784, "classes": 10}
        >>> sizes(35000, given), sizes(35000, given, "inverse")
        ({'width': 43}, {'width': 43})
    """
    if rule == "inverse":
        return {"width": max(1, round(_inverse(target, **_shape(given))))}

    def n_params(width: int) -> int:
        return sum(Model(width, **_shape(given)).count().values())

    return {"width": closest(range(1, WIDEST + 1), target, n_params)}


def _shape(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: given[key] for key in ("depth", "taper", "inputs", "classes")}


def _inverse(target: float, depth: int, taper: float, inputs: int, classes: int) -> float:
    """The width h that solves a h^2 + b h = target, what the matrices have if no width is rounded.

    Hidden layer i has taper^i h units, so that a = taper + taper^3 + ... of depth - 1 terms, and
    b = inputs + taper^(depth - 1) classes.
    """
    a = math.fsum(taper ** (2 * i + 1) for i in range(depth - 1))
    b = inputs + taper ** (depth - 1) * classes
    return 2 * target / (b + math.sqrt(b**2 + 4 * a * target))
