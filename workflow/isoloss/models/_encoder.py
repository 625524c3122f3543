"""A vision transformer whose weights are drawn and never trained, as a function of images."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from isoloss.models.vit_head import ENCODER_DEPTH, ENCODER_HEADS, ENCODER_WIDTH, MLP_WIDTH, PATCH


class Encoder:
    """The class token's output of a vision transformer with pre-norm blocks and GELU.

    Matrices are normal with variance 1 / fan-in, the class token and positions with deviation 0.02.
    Biases and gains of norms, which training begins at 0 and 1, are left out.

    Args:
        height: lines of an image.
        length: pixels of a line.
        rng: gives the weights.

    Example:
        >>> encoder = Encoder(28, 28, np.random.default_rng(0))
        >>> encoder(torch.zeros(5, 784)).shape
        torch.Size([5, 64])
    """

    def __init__(self, height: int, length: int, rng: np.random.Generator):
        def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
            return torch.from_numpy(
                rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
            )

        def matrix(fan_in: int, fan_out: int) -> torch.Tensor:
            return normal(fan_in, fan_out, scale=fan_in**-0.5)

        width = ENCODER_WIDTH
        self.size = height, length
        self.patches = matrix(PATCH**2, width)
        self.token = normal(width, scale=0.02)
        tokens = 1 + -(-height // PATCH) * -(-length // PATCH)
        self.positions = normal(tokens, width, scale=0.02)
        self.blocks = [
            (
                matrix(width, 3 * width),
                matrix(width, width),
                matrix(width, MLP_WIDTH),
                matrix(MLP_WIDTH, width),
            )
            for _ in range(ENCODER_DEPTH)
        ]

    def n_weights(self) -> int:
        """How many numbers it was drawn from."""
        matrices = [matrix for block in self.blocks for matrix in block]
        return sum(t.numel() for t in (self.patches, self.token, self.positions, *matrices))

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """The features of images, float32 (batch, width).

        Args:
            images: float32 (batch, height * length), line by line.
        """
        height, length = self.size
        pixels = functional.pad(
            images.view(-1, 1, height, length), (0, -length % PATCH, 0, -height % PATCH)
        )
        x = functional.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2) @ self.patches
        x = torch.cat([self.token.expand(len(x), 1, -1), x], dim=1) + self.positions
        for read, write, widen, narrow in self.blocks:
            x = x + _attention(_normed(x) @ read) @ write
            x = x + functional.gelu(_normed(x) @ widen) @ narrow
        return _normed(x[:, 0])


def _normed(x: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(x, x.shape[-1:])


def _attention(qkv: torch.Tensor) -> torch.Tensor:
    """The attention of all heads, (batch, tokens, width), of queries, keys and values in a row."""
    q, k, v = qkv.unflatten(-1, (3, ENCODER_HEADS, -1)).permute(2, 0, 3, 1, 4)
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
