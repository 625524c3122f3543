"""A multilayer perceptron on a frozen random vision transformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isoloss.core.seeds import generator
from isoloss.models import mlp

TITLE = "Head on a frozen vision transformer"
FORMULA = "N = sum over layers of the head of (fan-in + 1) * fan-out"
SOURCE = "Dosovitskiy et al. 2021, arXiv:2010.11929, for the encoder"
TASK = "classification"
SIZE_RULES = ("closest", "inverse")
PATCH = 4  # pixels of a side
ENCODER_WIDTH = 64
ENCODER_DEPTH = 2
ENCODER_HEADS = 4
MLP_WIDTH = 128
OPTIONS = {
    "width": "width",
    "depth": "depth",
    "taper": "taper",
    "height": {
        "type": "integer",
        "minimum": 1,
        "maximum": 65536,
        "default": 28,
        "unit": "pixels",
        "description": "Lines of an image; each has inputs / height pixels.",
    },
    "encoder_seed": {
        "type": "integer",
        "minimum": 0,
        "maximum": 9223372036854775807,
        "default": 0,
        "description": "Seed of the encoder's weights, the same for all runs that do not vary it.",
    },
}


@dataclass(frozen=True)
class Model:
    """Sizes of a head and of the encoder that it is trained on.

    Attributes:
        width: of the head's first hidden layer.
        depth: hidden layers of the head.
        taper: width of a hidden layer over that of the one before.
        height: lines of an image.
        encoder_seed: of the encoder's weights.
        inputs: pixels of an image.
        classes: that there are to choose from.
    """

    width: int
    depth: int
    taper: float
    height: int
    encoder_seed: int
    inputs: int
    classes: int

    def __post_init__(self):
        if self.inputs % self.height:
            raise ValueError(f"{self.inputs} inputs are not {self.height} lines of one length")

    def head(self) -> mlp.Model:
        """What is trained."""
        return mlp.Model(self.width, self.depth, self.taper, ENCODER_WIDTH, self.classes)

    def count(self) -> dict[str, int]:
        """Parameters by group: `matrix` and `bias` of the head, `frozen` of the encoder."""
        return {**self.head().count(), "frozen": _frozen(self.height, self.inputs)}

    def flops_by_layer(self) -> dict[str, float]:
        """Training FLOP an example of the head's layers; see `mlp`.

        The encoder is applied once to every image and not in every step, so it is not counted.
        """
        flops = self.head().flops_by_layer()
        return {f"head.{i}": value for i, value in enumerate(flops.values())}

    def activations(self) -> int:
        """The features, and what every layer of the head gives."""
        return self.head().activations()

    def nominal_width(self) -> int:
        """The width of the head's first hidden layer."""
        return self.width

    def build(self, rng):
        """The module, the weights of its head drawn from `rng` (numpy Generator).

        Returns:
            torch module; `forward(x)` maps float32 (batch, inputs) to log-odds (batch, classes): it
            is `head` of `encode(x)`. Its weights are those of the head, `head.0.weight`,
            `head.0.bias`, ...; those of the encoder are drawn again wherever it is built.
        """
        return _module(self, rng)


def _module(size: Model, rng):
    import torch

    from isoloss.models._encoder import Encoder
    from isoloss.models._layers import Layers

    class VitHead(torch.nn.Module):
        def __init__(self):
            super().__init__()
            drawn = generator(size.encoder_seed, "encoder", f"{size.height} {size.inputs}")
            self.encode = Encoder(size.height, size.inputs // size.height, drawn)
            self.head = Layers(size.head().widths(), rng)
            self.edges = ("head.0.weight", f"head.{size.depth}.weight")

        def forward(self, inputs):
            return self.head(self.encode(inputs))

    return VitHead()


def sizes(target: float, given: Mapping[str, Any], rule: str = "closest") -> dict[str, int]:
    """The width of the head whose N is a target, or near it.

    Args:
        target: N.
        given: `depth`, `taper`, `height`, `inputs`, `classes`, and as `n_params`
            the convention for N: `nonembed` leaves out what is frozen, `total` does not.
        rule: `closest` or `inverse`; see `mlp.sizes`.

    Example:
        >>> given = {"depth": 2, "taper": 0.5, "height": 28, "inputs": 784, "classes": 10}
        >>> sizes(5000, {**given, "n_params": "nonembed"})
        {'width': 52}
    """
    frozen = _frozen(given["height"], given["inputs"]) if given["n_params"] == "total" else 0
    return mlp.sizes(target - frozen, {**given, "inputs": ENCODER_WIDTH}, rule)


def _frozen(height: int, inputs: int) -> int:
    """Numbers that the encoder is drawn from."""
    tokens = 1 + -(-height // PATCH) * -(-inputs // height // PATCH)
    block = ENCODER_WIDTH * (4 * ENCODER_WIDTH + 2 * MLP_WIDTH)
    return ENCODER_WIDTH * (PATCH**2 + 1 + tokens) + ENCODER_DEPTH * block
