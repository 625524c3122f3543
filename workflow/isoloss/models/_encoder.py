"""A vision transformer whose weights are drawn and never trained, as a function of images."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from isoloss.models.vit_head import ENCODER_DEPTH, ENCODER_HEADS, ENCODER_WIDTH, MLP_WIDTH, PATCH


class Encoder(torch.nn.Module):
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

        super().__init__()
        self.size, width = (height, length), ENCODER_WIDTH
        tokens = 1 + -(-height // PATCH) * -(-length // PATCH)
        weights = {
            "patches": matrix(PATCH**2, width),
            "token": normal(width, scale=0.02),
            "positions": normal(tokens, width, scale=0.02),
        }
        for i in range(ENCODER_DEPTH):
            weights[f"read{i}"] = matrix(width, 3 * width)
            weights[f"write{i}"] = matrix(width, width)
            weights[f"widen{i}"] = matrix(width, MLP_WIDTH)
            weights[f"narrow{i}"] = matrix(MLP_WIDTH, width)
        for name, weight in weights.items():  # neither parameters nor stored
            self.register_buffer(name, weight, persistent=False)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
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
        weights = dict(self.named_buffers())
        for i in range(ENCODER_DEPTH):
            x = x + _attention(_normed(x) @ weights[f"read{i}"]) @ weights[f"write{i}"]
            x = x + functional.gelu(_normed(x) @ weights[f"widen{i}"]) @ weights[f"narrow{i}"]
        return _normed(x[:, 0])


def _normed(x: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(x, x.shape[-1:])


def _attention(qkv: torch.Tensor) -> torch.Tensor:
    """The attention of all heads, (batch, tokens, width), of queries, keys and values in a row."""
    q, k, v = qkv.unflatten(-1, (3, ENCODER_HEADS, -1)).permute(2, 0, 3, 1, 4)
    return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
