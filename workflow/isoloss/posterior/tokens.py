"""Token sequences of a dataset, and the loss of a language model on each of their tokens."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isoloss.core.problems import Problem
from isoloss.posterior.settings import SettingsError

LossFn = Callable[[nn.Module, Tensor], Tensor]
COLUMN = "input_ids"


class NonFiniteLogitsError(ValueError):
    """The logits of a model are NaN or infinite."""


def stacked(values: Sequence[Any], items: Sequence[int], place: str) -> Tensor:
    """Values of items as one tensor.

    Args:
        values: one an item, all of one shape.
        items: their numbers, for errors.
        place: where they are from, for errors.

    Raises:
        SettingsError: two have different shapes, or one is no tensor.

    Example:
        >>> stacked([[1, 2], [3, 4]], [0, 1], "dataset")
        tensor([[1, 2],
                [3, 4]])
    """
    try:
        tensors = [torch.as_tensor(value) for value in values]
    except (TypeError, RuntimeError, ValueError) as error:
        reason, remedy = (
            f"are of type {type(values[0]).__name__}",
            "give tensors, arrays or numbers",
        )
        raise SettingsError(Problem(place, reason, remedy)) from error
    for item, tensor in zip(items, tensors, strict=True):
        if tensor.shape != tensors[0].shape:
            first = f"{tuple(tensors[0].shape)} in item {items[0]}"
            reason = f"have shape {first} and {tuple(tensor.shape)} in item {item}"
            raise SettingsError(Problem(place, reason, "cut or pad all items to one shape"))
    return torch.stack(tensors)


def sequences(dataset: Any, items: Sequence[int], place: str = "dataset") -> Tensor:
    """The token sequences of some items of a dataset.

    Args:
        dataset: gives items with a column `input_ids`, all of one length: a Dataset of Hugging
            Face in any format, a torch Dataset, or a list of dicts.
        items: their numbers, from 0.
        place: what the user calls the dataset, for errors.

    Returns:
        (items, tokens); int64 if the column has integers.

    Raises:
        SettingsError: sequences have different lengths, or an item has no such column.

    Example:
        >>> sequences([{"input_ids": [0, 1, 2]}, {"input_ids": [3, 4, 5]}], [1]).tolist()
        [[3, 4, 5]]
    """
    items = [int(item) for item in items]
    many = getattr(dataset, "__getitems__", None)  # the protocol of torch for several items
    rows = many(items) if many else [dataset[item] for item in items]
    if lacking := [item for item, row in zip(items, rows, strict=True) if COLUMN not in row]:
        reason = f"item {lacking[0]} has no {COLUMN!r}"
        remedy = f"name the column of token sequences {COLUMN}"
        raise SettingsError(Problem(place, reason, remedy))
    tokens = stacked([row[COLUMN] for row in rows], items, f"{place}: {COLUMN}")
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
