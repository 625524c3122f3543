"""Token sequences of a dataset, and the loss of a language model on each of their tokens."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

LossFn = Callable[[nn.Module, Tensor], Tensor]
COLUMN = "input_ids"


class NonFiniteLogitsError(ValueError):
    """The logits of a model are NaN or infinite."""


def sequences(dataset: Any, items: Sequence[int]) -> Tensor:
    """The token sequences of some items of a dataset.

    Args:
        dataset: gives items with a column `input_ids`, all of one length: a Dataset of Hugging
            Face in any format, a torch Dataset, or a list of dicts.
        items: their numbers, from 0.

    Returns:
        (items, tokens); int64 if the column has integers.

    Example:
        >>> sequences([{"input_ids": [0, 1, 2]}, {"input_ids": [3, 4, 5]}], [1]).tolist()
        [[3, 4, 5]]
    """
    items = [int(item) for item in items]
    many = getattr(dataset, "__getitems__", None)  # the protocol of torch for several items
    rows = many(items) if many else [dataset[item] for item in items]
    tokens = torch.stack([torch.as_tensor(row[COLUMN]) for row in rows])
    return tokens if tokens.is_floating_point() else tokens.long()


def logits_of(model: nn.Module, input_ids: Tensor) -> Tensor:
    """The logits of a language model: of Hugging Face, of TransformerLens, or any torch module.

    Args:
        model: returns the logits, or an object that has them in the attribute `logits`; batch and
            positions may be one dimension.
        input_ids: (batch, tokens).

    Returns:
        (batch, tokens, vocabulary).
    """
    transformers = sys.modules.get("transformers")
    if transformers is not None and isinstance(model, transformers.PreTrainedModel):
        return model(input_ids, return_dict=False, use_cache=False)[0]
    if hasattr(getattr(model, "cfg", None), "n_heads"):
        return model(input_ids, return_type="logits")
    output = model(input_ids)
    logits = output if torch.is_tensor(output) else output.logits
    return logits.view(*input_ids.shape, -1) if logits.dim() == 2 else logits


def token_losses(model: nn.Module, input_ids: Tensor) -> Tensor:
    """The cross-entropy of every token but the first, given those before it.

    Args:
        model: see `logits_of`.
        input_ids: (batch, tokens), int64.

    Returns:
        (batch, tokens - 1), nats.

    Raises:
        NonFiniteLogitsError: a logit is NaN or infinite.

    Example:
        >>> model = nn.Embedding.from_pretrained(torch.zeros(2, 2))
        >>> token_losses(model, torch.tensor([[0, 1, 1]]))  # ln 2
        tensor([[0.6931, 0.6931]])
    """
    logits = logits_of(model, input_ids)
    if not torch.isfinite(logits).all():
        raise NonFiniteLogitsError("the logits of the model are NaN or infinite")
    return cross_entropies(logits, input_ids)


def cross_entropies(logits: Tensor, input_ids: Tensor) -> Tensor:
    """The losses of `token_losses` for logits that may be NaN or infinite."""
    log_probabilities = logits.log_softmax(dim=-1)
    following = input_ids[..., 1:].unsqueeze(-1)
    return -log_probabilities[..., :-1, :].gather(-1, following).squeeze(-1)
