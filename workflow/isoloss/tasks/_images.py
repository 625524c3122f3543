"""Labelled rows of whole numbers by an index: their tensors, their order and the loss of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from isoloss.core.seeds import generator
from isoloss.tasks._by_tag import add_rows, losses_by_tag
from isoloss.tasks._task import learn, shuffled

AT_ONCE = 250  # examples that are read, or measured, at once


@dataclass(frozen=True)
class Labelled:
    """A side of a dataset of labelled rows, one example each.

    Attributes:
        dataset: `tokens` (the examples), `starts` and `labels` of its rows.
        rows: positions of the rows in the rows table, int64 (k,).
        copies: how often each is trained on, int64 (k,).
        tags: of the rows of the validation side: `row`, `n_tokens`, `tags`; None for training.
    """

    dataset: Any
    rows: np.ndarray
    copies: np.ndarray
    tags: pa.Table | None = None

    @cached_property
    def digest(self) -> str:
        """Hash of the examples and labels in order, of their copies, and of tags if there are."""
        digest = blake2b(digest_size=16)
        for part in self.parts():
            digest.update(np.ascontiguousarray(self.examples(self.rows[part])))
        digest.update(self.labels.tobytes())
        digest.update(self.copies.astype(np.int64).tobytes())
        if self.tags is not None:
            add_rows(digest, self.tags)
        self.dataset.tokens.release()
        return digest.hexdigest()

    @property
    def labels(self) -> np.ndarray:
        """Of every row, int64 (k,)."""
        return self.dataset.labels[self.rows]

    @property
    def dtype(self) -> np.dtype:
        """Of the examples: whole numbers."""
        return self.dataset.tokens.values.dtype

    @cached_property
    def unit(self) -> float:
        """What an example is multiplied by, so that the largest number of its type becomes 1."""
        return 1 / float(np.iinfo(self.dtype).max)

    def parts(self) -> Iterator[slice]:
        """The rows in parts, of which each is read at once."""
        for begin in range(0, len(self.rows), AT_ONCE):
            yield slice(begin, begin + AT_ONCE)

    def examples(self, rows: np.ndarray) -> np.ndarray:
        """The examples at some positions of the rows table, (len(rows), ...)."""
        return self.dataset.tokens.values[self.dataset.starts[rows]]

    def subset(self, n_unique: int | None, seed: int) -> Labelled:
        """So many of the rows; a larger subset contains a smaller one, whatever the weighting.

        Args:
            n_unique: how many; None for all.
            seed: of the study; decides which.

        Raises:
            ValueError: there are fewer.
        """
        if n_unique is None:
            return self
        if n_unique > len(self.rows):
            raise ValueError(
                f"n_unique is {n_unique}, where {len(self.rows)} examples are left: lower n_unique,"
                " or load more"
            )
        rank = generator(seed, "subset", "").permutation(len(self.dataset.labels))
        chosen = np.sort(np.argsort(rank[self.rows])[:n_unique])
        return Labelled(self.dataset, self.rows[chosen], self.copies[chosen], self.tags)


def held_out(dataset: Any) -> Labelled:
    """The validation side of a dataset, every row once."""
    rows = dataset.held_out["row"].to_numpy()
    return Labelled(dataset, rows, np.ones_like(rows), dataset.held_out)


class Images:
    """The task of telling the class of an example.

    Args:
        training: what is trained on; an item is an example, and a copy of it another item.
        validation: what is measured.
        n_valid: validation examples measured, drawn once a study.
        seed: of the study.
        n_unique: distinct examples that are trained on; None for all.
        shapes: `inputs`, numbers of an example, and `classes`.

    Raises:
        ValueError: a side has no example, or not so many, or not of this shape, or a label that
            is not one of the classes.
    """

    def __init__(
        self,
        training: Labelled,
        validation: Labelled,
        n_valid: int,
        seed: int,
        n_unique: int | None,
        shapes: Mapping[str, int],
    ):
        self.shapes, self.device = shapes, "cpu"
        self.guess = math.log(shapes["classes"])
        self.training = training.subset(n_unique, seed)
        self.entries = np.repeat(np.arange(len(self.training.rows)), self.training.copies)
        self.n_items = len(self.entries)
        order = generator(seed, "validation", "").permutation(len(validation.rows))
        self.validation, self.measured = validation, np.sort(order[:n_valid])
        _check(self.training, shapes)
        _check(validation, shapes)
        if not self.n_items or not len(self.measured):
            raise ValueError("a side has no example: change valid_fraction or valid_tokens")
        self._targets = torch.from_numpy(self.training.labels)
        self._batches: dict[int, tuple[torch.Tensor, ...]] = {}
        self._last: tuple[torch.nn.Module, torch.nn.Module, torch.Tensor] | None = None

    def to(self, device: str) -> None:
        """Give models their inputs on a device, to which all training examples are moved."""
        self.device, self._last = device, None
        self._targets = self._targets.to(device)

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Endless batches of item numbers; see `shuffled`."""
        return shuffled(self.n_items, size, rng)

    def learn(self, model: torch.nn.Module, items: np.ndarray, share: float = 1.0) -> torch.Tensor:
        """Mean cross-entropy of some training examples, nats; see `Task`.

        A batch is gathered into memory that the next one of its size overwrites. Only then are its
        numbers made inputs: to fetch four bytes a number from all over memory takes longer.
        """
        trained, examples = self._given(model)
        at = torch.from_numpy(self.entries[items]).to(self.device)
        if len(items) not in self._batches:
            given = torch.empty(len(items), examples.shape[1], device=self.device)
            self._batches[len(items)] = examples[at], given, self._targets[at]
        gathered, given, targets = self._batches[len(items)]
        torch.index_select(examples, 0, at, out=gathered)
        torch.index_select(self._targets, 0, at, out=targets)
        if examples.is_floating_point():  # encoded
            given = gathered
        else:
            given.copy_(gathered).mul_(self.training.unit)
        return learn(trained, given, targets, share)

    def drawn(self) -> np.ndarray:
        """All items."""
        return np.arange(self.n_items)

    def given(self, model: torch.nn.Module, items: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs of the trained part, float32 (items, inputs or features), and labels (items,)."""
        _, examples = self._given(model)
        at = torch.from_numpy(self.entries[items]).to(self.device)
        inputs = examples[at]
        if not inputs.is_floating_point():
            inputs = inputs.float().mul_(self.training.unit)
        return inputs, self._targets[at]

    def n_unique(self, seen: np.ndarray) -> int:
        """How many distinct examples are among the items that were seen."""
        return len(np.unique(self.entries[seen]))

    @torch.no_grad()
    def evaluate(self, model: torch.nn.Module) -> tuple[float, list[dict[str, Any]]]:
        """The mean loss of the measured examples, and their loss and error rate by tag."""
        rows = self.validation.rows[self.measured]
        nats, errors = np.zeros(len(rows)), np.zeros(len(rows))
        for begin in range(0, len(rows), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            targets = torch.from_numpy(self.validation.dataset.labels[rows[part]]).to(self.device)
            log_odds = model(_scaled(self.validation, rows[part]).to(self.device))
            loss = functional.cross_entropy(log_odds, targets, reduction="none")
            nats[part] = loss.double().cpu()
            errors[part] = (log_odds.argmax(1) != targets).cpu()
        ones = np.ones_like(rows)
        by_tag = losses_by_tag(self.validation.tags, rows, nats, ones, errors)
        return float(nats.mean()), by_tag

    def release(self) -> None:
        """Nothing: the examples that are trained on are copied into memory once."""

    def _given(self, model: torch.nn.Module) -> tuple[torch.nn.Module, torch.Tensor]:
        """The part of a model that is trained, and what it is given of all training examples.

        A model whose first part is not trained has `encode`, that part, and `head`, the rest: what
        `encode` gives of an example is computed once. Examples of any other model stay whole
        numbers.
        """
        if self._last is None or self._last[0] is not model:
            encode = getattr(model, "encode", None)
            self._batches.clear()
            if encode is None:
                self._last = model, model, torch.from_numpy(self._examples()).to(self.device)
            else:
                self._last = model, model.head, self._encoded(encode)
        return self._last[1:]

    def _examples(self) -> np.ndarray:
        """The distinct training examples, (k, inputs) of their own type."""
        side = self.training
        examples = np.empty((len(side.rows), self.shapes["inputs"]), side.dtype)
        for part in side.parts():
            examples[part] = side.examples(side.rows[part]).reshape(-1, self.shapes["inputs"])
        side.dataset.tokens.release()
        return examples

    @torch.no_grad()
    def _encoded(self, encode: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """What an encoder gives of the distinct training examples, float32 (k, features)."""
        side = self.training
        parts = [encode(_scaled(side, side.rows[p]).to(self.device)) for p in side.parts()]
        side.dataset.tokens.release()
        return torch.cat(parts)


def _check(side: Labelled, shapes: Mapping[str, int]) -> None:
    """Raise an error if a side's examples or labels are not of these shapes."""
    size = math.prod(side.dataset.tokens.values.shape[1:])
    if size != shapes["inputs"]:
        raise ValueError(
            f"an example has {size} numbers, where inputs is {shapes['inputs']}: set inputs to"
            f" {size}"
        )
    labels = side.labels
    wrong = np.flatnonzero((labels < 0) | (labels >= shapes["classes"]))
    if len(wrong):
        label, row = labels[wrong[0]], side.rows[wrong[0]]
        if label < 0:
            raise ValueError(f"row {row} has no label: load a dataset whose rows have one")
        raise ValueError(
            f"label {label} of row {row}, where classes is {shapes['classes']}: set classes to"
            f" {labels.max() + 1} or more, or fix the label"
        )


def _scaled(side: Labelled, rows: np.ndarray) -> torch.Tensor:
    """Examples as a model is given them, float32 (len(rows), inputs)."""
    examples = side.examples(rows).reshape(len(rows), -1)
    return torch.from_numpy(examples).float().mul_(side.unit)
