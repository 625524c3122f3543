"""Items of a user's dataset as tensors, and the seeded choice of items that are observed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from isoloss.core.escape import listed, visible
from isoloss.core.problems import Problem
from isoloss.posterior.settings import SettingsError
from isoloss.posterior.tokens import COLUMN, sequences, stacked

RESERVED = ("loss_trace",)  # a variable of every result
_REMEDY = f"items with {COLUMN}, a pair (inputs, targets), or items that are such pairs"


@dataclass(frozen=True)
class Items:
    """Items of a dataset.

    Attributes:
        inputs: (n, ...).
        targets: (n, ...), or None where the inputs are token sequences.
    """

    inputs: Tensor
    targets: Tensor | None


@dataclass(frozen=True)
class Observed:
    """Items whose losses are recorded at each draw.

    Attributes:
        name: of its variables, such as `loss_{name}`.
        dataset: where they are from.
        numbers: of the items.
        batches: how many batches they are evaluated in.
    """

    name: str
    dataset: Any
    numbers: list[int]
    batches: int

    def items(self) -> Items:
        """The items."""
        return read(self.dataset, self.numbers, f"observables[{visible(repr(self.name))}]")

    def tokens(self) -> Tensor:
        """The items, which have to be token sequences.

        Raises:
            SettingsError: they have targets.
        """
        return tokens_of(self.items(), f"observables[{visible(repr(self.name))}]")


def is_pair(dataset: Any) -> bool:
    """Whether a dataset is a pair of inputs and targets, and not a sequence of items.

    Example:
        >>> is_pair([torch.zeros(9, 3), torch.zeros(9)]), is_pair([(torch.zeros(3), 0)] * 2)
        (True, False)
    """
    if not isinstance(dataset, tuple | list) or len(dataset) != 2:
        return False
    of_pairs = isinstance(dataset, list) and all(isinstance(one, tuple) for one in dataset)
    return not isinstance(dataset[0], Mapping) and not of_pairs


def count_of(dataset: Any, place: str = "dataset") -> int:
    """How many items a dataset has.

    Raises:
        SettingsError: its items have no numbers, or it is no collection at all.
    """
    if isinstance(dataset, DataLoader):
        remedy = "give its dataset: loader.dataset"
        raise SettingsError(Problem(place, "is a DataLoader, which has batches", remedy))
    if isinstance(dataset, Mapping):
        reason = f"is one mapping with {listed([visible(repr(key)) for key in dataset])}"
        remedy = f"give a list of one for each item, or {_REMEDY}"
        raise SettingsError(Problem(place, reason, remedy))
    collection = dataset[0] if is_pair(dataset) else dataset
    if not isinstance(collection, Sized):
        reason = f"is of type {type(dataset).__name__}, without a length and items by number"
        raise SettingsError(Problem(place, reason, f"give {_REMEDY}"))
    return len(collection)


def read(dataset: Any, numbers: Sequence[int] | None = None, place: str = "dataset") -> Items:
    """Items of a dataset: token sequences, a pair of inputs and targets, or items of such pairs.

    Args:
        dataset: see `isoloss.llc`.
        numbers: of the items; None for all of them.
        place: what the user calls it, for errors.

    Raises:
        SettingsError: it is none of these, or has no items.

    Example:
        >>> read(([[0.0], [1.0]], [2, 3]), [1])
        Items(inputs=tensor([[1.]]), targets=tensor([3]))
    """
    count = count_of(dataset, place)
    numbers = range(count) if numbers is None else numbers
    if not len(numbers):
        raise SettingsError(Problem(place, "has no items", "give one at least"))
    if is_pair(dataset):
        inputs, targets = (torch.as_tensor(part) for part in dataset)
        if len(inputs) != len(targets):
            reason = f"{len(inputs)} inputs and {len(targets)} targets"
            raise SettingsError(Problem(place, reason, "give as many"))
        return Items(inputs[list(numbers)], targets[list(numbers)])
    first = dataset[int(numbers[0])]
    if isinstance(first, Mapping) and COLUMN in first:
        return Items(sequences(dataset, numbers, place), None)
    if isinstance(first, tuple | list) and len(first) == 2:
        pairs = [dataset[int(number)] for number in numbers]
        inputs, targets = (
            stacked(part, numbers, f"{place}: {name}")
            for name, part in zip(("inputs", "targets"), zip(*pairs, strict=True), strict=True)
        )
        return Items(inputs, targets)
    reason = f"its items are of type {type(first).__name__}"
    raise SettingsError(Problem(place, reason, f"give {_REMEDY}"))


def tokens_of(items: Items, place: str) -> Tensor:
    """Token sequences (n, tokens).

    Raises:
        SettingsError: the items have targets.
    """
    if items.targets is not None:
        reason, remedy = "has inputs and targets", "engine='compat' takes token sequences"
        raise SettingsError(Problem(place, reason, remedy))
    return items.inputs


def observed(datasets: Mapping[str, Any], batches: int, seed: int, size: int) -> list[Observed]:
    """A seeded choice of items of each dataset that is observed.

    Args:
        datasets: name to a dataset, or to a dataset and its batches.
        batches: for those that do not say.
        seed: of the choice; it is that of devinterp.
        size: items of a batch.

    Raises:
        SettingsError: a dataset has too few items, or variables that another one or the LLC has.

    Example:
        >>> data = [{"input_ids": [0, 1]} for _ in range(9)]
        >>> observed({"a b": (data, 1)}, 3, seed=0, size=4)[0].numbers
        [6, 8, 0, 2]
    """
    if not isinstance(datasets, Mapping):
        reason = f"is of type {type(datasets).__name__}"
        raise SettingsError(Problem("observables", reason, "give a dict: {name: dataset}"))
    chosen: dict[str, Observed] = {}
    for given_name, given in datasets.items():
        counted = isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Real)
        dataset, count = given if counted else (given, batches)
        given_name = str(given_name)
        name = "".join(c if c.isalnum() or c == "_" else "_" for c in given_name) or "_"
        name = f"_{name}" if name[0].isdigit() else name
        place = f"observables[{visible(repr(given_name))}]"
        n = count_of(dataset, place)
        if name in chosen:
            reason = f"another one has the variable loss_{name} too"
            raise SettingsError(Problem(place, reason, "give it another name"))
        if f"loss_{name}" in RESERVED:
            reason = f"its variable would be loss_{name}, which the result has already"
            raise SettingsError(Problem(place, reason, "give it another name"))
        if not isinstance(count, Integral) or count < 1:
            reason = f"is to be evaluated in {count} batches"
            remedy = "give a whole number, 1 or more"
            raise SettingsError(Problem(place, reason, remedy))
        if n < count * size:
            reason = f"has {n} items, fewer than {count} batches of {size}"
            raise SettingsError(Problem(place, reason, "give (dataset, batches) with fewer"))
        numbers = random.Random(seed).sample(range(n), count * size)
        chosen[name] = Observed(name, dataset, numbers, count)
    return list(chosen.values())
