"""The masks of a user: which weights of a model are sampled, checked against its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from isoloss.core.escape import visible
from isoloss.core.problems import Problem, nearest
from isoloss.posterior.settings import SettingsError

Masks = Mapping[str, Tensor | None]


def checked_masks(masks: Mapping[str, Any] | None, model: nn.Module) -> Masks:
    """Masks by the names of a model's parameters, each with the shape of its parameter.

    Args:
        masks: name of a parameter to a tensor or array, or to None for all of it. None: all
            parameters.
        model: the model.

    Raises:
        SettingsError: a name or a shape is not that of a parameter, or nothing can be sampled.

    Example:
        >>> checked_masks({"weight": [[1, 0]]}, nn.Linear(2, 1))
        {'weight': tensor([[1, 0]])}
    """
    parameters = dict(model.named_parameters())
    if not any(parameter.requires_grad for parameter in parameters.values()):
        remedy = "call requires_grad_() on some"
        raise SettingsError(Problem("model", "no parameter needs a gradient", remedy))
    if masks is None:
        return dict.fromkeys(parameters)
    if not isinstance(masks, Mapping):
        reason = f"is of type {type(masks).__name__}"
        raise SettingsError(
            Problem("param_masks", reason, "give a dict: {name: mask, or None for all of it}")
        )
    if not masks:
        remedy = "None stands for all of them"
        raise SettingsError(Problem("param_masks", "names no parameter", remedy))
    tensors = {
        name: mask if mask is None else torch.as_tensor(mask) for name, mask in masks.items()
    }
    problems = list(_problems(tensors, model))
    if problems:
        raise SettingsError(*problems)
    return tensors


def _problems(masks: Masks, model: nn.Module) -> Iterator[Problem]:
    parameters = dict(model.named_parameters())
    every_name = dict(model.named_parameters(remove_duplicate=False))
    for name, mask in masks.items():
        place = f"param_masks[{visible(repr(name))}]"
        if name in parameters:
            shape = tuple(parameters[name].shape)
            if mask is not None and tuple(mask.shape) != shape:
                reason = f"has shape {tuple(mask.shape)}"
                yield Problem(place, reason, f"that of the parameter is {shape}")
        elif name in every_name:
            first = next(n for n, p in parameters.items() if p is every_name[name])
            reason = f"is the same tensor as {visible(repr(first))}"
            yield Problem(place, reason, "give the mask by that name")
        else:
            reason = "the model has no parameter of that name"
            yield Problem(place, reason, nearest(name, parameters))
