"""Which weights a sampler moves: parts of the flat weights, and masks within them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from isoloss.core.problems import Problem, nearest
from isoloss.posterior.settings import SettingsError

Masks = Mapping[str, Tensor | None]


@dataclass(frozen=True)
class Part:
    """A run of neighbouring weights that are sampled.

    Attributes:
        of_weights: where it is in the flat weights.
        mask: float32, 1 for the weights of the part that are sampled and 0 for the others; None
            where all are.
    """

    of_weights: slice
    mask: Tensor | None

    @property
    def length(self) -> int:
        """How many weights it has."""
        return self.of_weights.stop - self.of_weights.start

    @property
    def n_sampled(self) -> int:
        """How many of its weights are sampled."""
        return self.length if self.mask is None else int(self.mask.sum())


def parts_of(names: Mapping[str, slice], masks: Masks | None) -> list[Part]:
    """The parts of flat weights that are sampled, in their order; neighbours are one part.

    Args:
        names: name of a parameter to its part of the flat weights.
        masks: see `sampler.sample`.

    Raises:
        SettingsError: a mask does not fit, or nothing is sampled.

    Example:
        >>> names = {"a": slice(0, 2), "b": slice(2, 5), "c": slice(5, 6)}
        >>> parts_of(names, {"c": None, "b": None})
        [Part(of_weights=slice(2, 6, None), mask=None)]
    """
    masks = dict.fromkeys(names) if masks is None else masks
    problems = list(_problems(names, masks))
    if problems:
        raise SettingsError(*problems)
    parts: list[Part] = []
    for name in sorted(masks, key=lambda name: names[name].start):
        part = _part(names[name], masks[name])
        if part.n_sampled == 0:
            continue
        before = parts[-1] if parts else None
        joins = before and before.mask is None and part.mask is None
        if before and joins and before.of_weights.stop == part.of_weights.start:
            parts[-1] = Part(slice(before.of_weights.start, part.of_weights.stop), None)
        else:
            parts.append(part)
    if not parts:
        raise SettingsError(Problem("masks", "no weight is sampled", "let at least one be sampled"))
    return parts


def _part(of_weights: slice, mask: Tensor | None) -> Part:
    if mask is None or bool(torch.as_tensor(mask).all()):
        return Part(of_weights, None)
    return Part(of_weights, torch.as_tensor(mask).reshape(-1).to(torch.float32))


def _problems(names: Mapping[str, slice], masks: Masks) -> Iterator[Problem]:
    for name, mask in masks.items():
        place = f"masks[{name!r}]"
        if name not in names:
            yield Problem(place, "there is no trained parameter of this name", nearest(name, names))
            continue
        if mask is None:
            continue
        mask = torch.as_tensor(mask)
        size = names[name].stop - names[name].start
        if mask.numel() != size:
            reason = f"has {mask.numel()} values, and the parameter {size}"
            yield Problem(place, reason, "give a mask of the parameter's shape")
        elif not bool(((mask == 0) | (mask == 1)).all()):
            yield Problem(place, "has values other than 0 and 1", "give booleans, or 0 and 1")
