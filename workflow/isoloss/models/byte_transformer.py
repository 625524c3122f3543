"""A decoder-only transformer over bytes: pre-norm, tied embedding, squared ReLU."""

from __future__ import annotations

TITLE = "Byte transformer"
FORMULA = "N = n_layers * 12 * d_model^2 (n_params_nonembed)"
SOURCE = (
    "GPT-2's layout (Radford et al. 2019) with layer norms without gains, no biases, and the "
    "squared ReLU of arXiv:2109.08668"
)
VOCABULARY = 256
OPTIONS = {
    "d_model": {
        "type": "integer",
        "minimum": 4,
        "default": 32,
        "unit": "units",
        "description": "Width of the residual stream.",
    },
    "n_layers": {
        "type": "integer",
        "minimum": 1,
        "default": 2,
        "unit": "layers",
        "description": "Blocks of attention and feed-forward.",
    },
    "head_width": {
        "type": "integer",
        "minimum": 4,
        "default": 16,
        "unit": "units",
        "description": "Width of a head; the nearest that divides d_model is taken.",
    },
    "context": {
        "type": "integer",
        "minimum": 2,
        "default": 64,
        "unit": "bytes",
        "description": "Bytes that a window holds.",
    },
}


def count(d_model: int, n_layers: int, head_width: int, context: int) -> dict[str, int]:
    """Parameters by group: `embedding` (bytes and positions; the output shares it), `matrix`."""
    return {
        "embedding": (VOCABULARY + context) * d_model,
        "matrix": n_layers * 12 * d_model**2,
    }


def flops_per_token(d_model: int, n_layers: int, head_width: int, context: int) -> float:
    """Training FLOP a token: three times the forward pass's multiply-adds, two FLOP each.

    Counted: the blocks' matrices, the unembedding, and attention's two products over half the
    context (causal). Left out: norms, softmax, look-ups, the optimiser.
    """
    matrices = n_layers * 12 * d_model**2 + VOCABULARY * d_model
    attention = n_layers * 2 * d_model * (context / 2)
    return 6.0 * (matrices + attention)


def n_heads(d_model: int, head_width: int) -> int:
    """The number of heads whose width is nearest to `head_width` (the narrower, if two are)."""
    divisors = [h for h in range(1, d_model + 1) if d_model % h == 0]
    return min(divisors, key=lambda h: (abs(d_model / h - head_width), -h))


def build(rng, d_model: int, n_layers: int, head_width: int, context: int):
    """The module, its weights drawn from `rng` (numpy Generator).

    Matrices are normal with variance 1 / fan-in, those that write to the residual stream zero;
    embeddings have variance 1 / d_model (SD 0.02 costs short runs of wide models a tenth of their
    loss, docs/log.md); positions start at zero.

    Returns:
        torch module; `forward(tokens)` maps int64 (batch, context) to the log-odds of the next
        byte, float32 (batch * context, 256).
    """
    import torch
    from torch.nn import functional

    heads = n_heads(d_model, head_width)

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
            y = functional.layer_norm(x, (d_model,)) @ self.read.t()
            q, k, v = y.view(*shape, 3, heads, d_model // heads).permute(2, 0, 3, 1, 4)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = torch.addmm(x, y.transpose(1, 2).reshape(-1, d_model), self.attend.t())
            y = functional.layer_norm(x, (d_model,)) @ self.widen.t()
            return torch.addmm(x, functional.relu(y).square(), self.narrow.t())

    class ByteTransformer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bytes = normal(VOCABULARY, d_model, d_model**-0.5)
            self.positions = torch.nn.Parameter(torch.zeros(context, d_model))
            self.blocks = torch.nn.ModuleList(Block() for _ in range(n_layers))

        def forward(self, tokens):
            x = functional.embedding(tokens, self.bytes) + self.positions[: tokens.shape[1]]
            x = x.view(-1, d_model)
            for block in self.blocks:
                x = block(x, tokens.shape)
            return functional.layer_norm(x, (d_model,)) @ self.bytes.t()

    return ByteTransformer()
