"""A decoder-only transformer: pre-norm, rotary positions, tied embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isoloss.models._model import closest, n_params_of

TITLE = "Transformer"
FORMULA = "N = n_layers * 12 * d_model^2 (n_params_nonembed)"
SOURCE = (
    "GPT-2's layout (Radford et al. 2019) with layer norms without gains, no biases, rotary "
    "positions (arXiv:2104.09864) and the squared ReLU of arXiv:2109.08668"
)
TASK = "language_model"
ROTARY_BASE = 100.0  # the longest turn, in tokens over 2 pi: of the order of a context
OPTIONS = {
    "d_model": {
        "type": "integer",
        "minimum": 2,
        "maximum": 65536,
        "multipleOf": 2,
        "default": 32,
        "unit": "units",
        "description": "Width of the residual stream.",
    },
    "n_layers": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1024,
        "default": 2,
        "unit": "layers",
        "description": "Blocks of attention and feed-forward.",
    },
    "head_width": {
        "type": "integer",
        "minimum": 4,
        "maximum": 65536,
        "default": 16,
        "unit": "units",
        "description": "Width of a head; the nearest that divides d_model is taken.",
    },
}


@dataclass(frozen=True)
class Model:
    """Sizes of a transformer.

    Attributes:
        d_model: width of the residual stream.
        n_layers: blocks of attention and feed-forward.
        head_width: width of a head as it was asked for.
        context: tokens of a window.
        vocabulary: tokens that there are.
    """

    d_model: int
    n_layers: int
    head_width: int
    context: int
    vocabulary: int

    def count(self) -> dict[str, int]:
        """Parameters by group: `embedding` (of the tokens; the output shares it), `matrix`."""
        return {
            "embedding": self.vocabulary * self.d_model,
            "matrix": self.n_layers * 12 * self.d_model**2,
        }

    def flops_by_layer(self) -> dict[str, float]:
        """Training FLOP a token: three times the forward pass's multiply-adds, two FLOP each.

        Counted: the blocks' matrices, attention's two products over half the context (causal),
        and the unembedding. Left out: norms, softmax, look-ups, the optimiser.
        """
        block = 12 * self.d_model**2 + 2 * self.d_model * (self.context / 2)
        blocks = {f"blocks.{i}": 6.0 * block for i in range(self.n_layers)}
        return {**blocks, "unembedding": 6.0 * self.vocabulary * self.d_model}

    def activations(self) -> int:
        """Of every token of a window what the matrices give, and the log-odds once more.

        A matrix gives as many numbers as it is high.
        """
        return self.context * (self.n_layers * 12 * self.d_model + 2 * self.vocabulary)

    def nominal_width(self) -> int:
        """The width of the residual stream."""
        return self.d_model

    def n_heads(self) -> int:
        """The number of heads whose width is even and nearest to `head_width`.

        Of two that are as near, the one with narrower heads.
        """
        divisors = [h for h in range(1, self.d_model + 1) if self.d_model % (2 * h) == 0]
        return min(divisors, key=lambda h: (abs(self.d_model / h - self.head_width), -h))

    def build(self, rng):
        """The module, its weights drawn from `rng` (numpy Generator).

        Matrices are normal with variance 1 / fan-in, those that write to the residual stream zero;
        embeddings have variance 1 / d_model. Why, and why rotary positions: docs/log.md.

        Returns:
            torch module; `forward(tokens)` maps int64 (batch, context) to the log-odds of the next
            token, float32 (batch * context, vocabulary). `learn(inputs, targets, share)` is that
            of tasks/_task.py, without autograd.
        """
        return _module(self, rng)


def sizes(target: float, given: Mapping[str, Any], rule: str = "closest") -> dict[str, int]:
    """The even width whose N is nearest to a target, with the blocks that are given.

    Args:
        target: N.
        given: `n_layers`, `vocabulary`, and as `n_params` the convention for N.
        rule: `closest`, the only one.

    Example:
        >>> sizes(2400, {"n_layers": 2, "vocabulary": 256, "n_params": "nonembed"})
        {'d_model': 10}
    """
    option = OPTIONS["d_model"]
    grid = range(option["minimum"], option["maximum"] + 1, option["multipleOf"])

    def n_params(d_model: int) -> int:
        model = Model(d_model, given["n_layers"], 0, 0, given["vocabulary"])
        return n_params_of(model.count(), given["n_params"])

    return {"d_model": closest(grid, target, n_params)}


def _turns(context: int, width: int):
    """By what pairs of coordinates are turned, complex (context, width / 2)."""
    import torch

    turn = ROTARY_BASE ** -(torch.arange(0, width, 2) / width)
    angles = torch.outer(torch.arange(context), turn)
    return torch.polar(torch.ones_like(angles), angles)


def _rotated(x, turns):
    """Turn pairs of coordinates, as complex numbers, by an angle that grows with position."""
    import torch

    x = x.float() if x.dtype == torch.bfloat16 else x  # of which there are no complex numbers
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns[: x.shape[-2]].to(x.device)).flatten(-2)


def _module(size: Model, rng):
    import torch
    from torch.nn import functional

    from isoloss.models._transformer_pass import EPSILON, Pass

    d_model, heads = size.d_model, size.n_heads()
    width = d_model // heads
    turns = _turns(size.context, width)

    def norm(x):
        return functional.layer_norm(x, (d_model,), eps=EPSILON)

    def normal(rows: int, columns: int, scale: float) -> torch.nn.Parameter:
        drawn = rng.standard_normal((rows, columns), dtype="float32") * scale
        return torch.nn.Parameter(torch.from_numpy(drawn))

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.read = normal(3 * d_model, d_model, d_model**-0.5)
            self.attend = torch.nn.Parameter(torch.zeros(d_model, d_model))
            self.widen = normal(4 * d_model, d_model, d_model**-0.5)
            self.narrow = torch.nn.Parameter(torch.zeros(d_model, 4 * d_model))

        def forward(self, x, shape):
            y = norm(x) @ self.read.t()
            qkv = y.view(*shape, 3, heads, width).permute(2, 0, 3, 1, 4)
            q, k = _rotated(qkv[:2], turns)
            y = functional.scaled_dot_product_attention(q, k, qkv[2], is_causal=True)
            x = torch.addmm(x, y.transpose(1, 2).reshape(-1, d_model), self.attend.t())
            y = norm(x) @ self.widen.t()
            return torch.addmm(x, functional.relu(y).square(), self.narrow.t())

    class Transformer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.edges, self.layout, self.turns = ("tokens",), "transformer", turns
            self.tokens = normal(size.vocabulary, d_model, d_model**-0.5)
            self.blocks = torch.nn.ModuleList(Block() for _ in range(size.n_layers))
            self.passes = {}

        def forward(self, tokens):
            x = functional.embedding(tokens, self.tokens).view(-1, d_model)
            for block in self.blocks:
                x = block(x, tokens.shape)
            return norm(x) @ self.tokens.t()

        def learn(self, inputs, targets, share=1.0):
            """What `forward` and autograd give, but for rounding, in half the time."""
            known = self.passes.get(inputs.shape)
            if known is None or not known.fits(self):
                known = self.passes[inputs.shape] = Pass(self, turns, inputs.shape)
            with torch.inference_mode():
                loss = known.learn(inputs, targets, share)
            return loss.clone()

    return Transformer()
