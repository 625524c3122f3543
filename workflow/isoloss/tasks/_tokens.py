"""Tokens of a dataset by an index: the stream of a split, its windows, their order and loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch.nn import functional

from isoloss.core.seeds import generator
from isoloss.tasks._by_tag import add_rows, losses_by_tag
from isoloss.tasks._task import learn, shuffled

AT_ONCE = 64  # windows that are measured at once
_READ = 1 << 26  # tokens after which the memory of what was read is given back


class Tokens(Protocol):
    """The tokens of a dataset, row after row: in memory, or in a file that is mapped."""

    values: np.ndarray

    def release(self) -> None:
        """Give back the memory of what was read."""


@dataclass(frozen=True)
class Stream:
    """Tokens of a split, one row after the other, copies of a row adjacent.

    Nothing is laid out: what is kept is 40 bytes a row, and tokens are read where they are asked
    for.

    Attributes:
        source: tokens of the dataset.
        rows: positions of the rows in the rows table, int64 (k,).
        begin: where every row's first copy begins in the stream, int64 (k,).
        end: where its last copy ends, int64 (k,).
        length: tokens of one copy, int64 (k,).
        base: where the row begins in the dataset, int64 (k,).
    """

    source: Tokens
    rows: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    length: np.ndarray
    base: np.ndarray

    def __len__(self) -> int:
        return int(self.end[-1]) if len(self.end) else 0

    @cached_property
    def digest(self) -> str:
        """Hash of the content, copies included."""
        digest = blake2b(digest_size=16)
        values, unread = memoryview(self.source.values), _READ
        for base, length, count in self._pieces():
            for _ in range(count):
                digest.update(values[base : base + length])
            unread -= length
            if unread < 0:
                self.source.release()
                unread = _READ
        self.source.release()
        return digest.hexdigest()

    def _pieces(self) -> Iterator[tuple[int, int, int]]:
        """Begin, length and copies of stretches of the dataset, as long as they can be."""
        total = self.end - self.begin
        used = np.flatnonzero(total)
        base, length, total = self.base[used], self.length[used], total[used]
        once = total == length
        goes_on = once[1:] & once[:-1] & (base[1:] == base[:-1] + length[:-1])
        first = np.flatnonzero(np.concatenate([used[:1] >= 0, ~goes_on]))
        lengths = np.add.reduceat(length, first) if len(first) else length
        yield from zip(
            base[first].tolist(),
            lengths.tolist(),
            (total[first] // length[first]).tolist(),
            strict=True,
        )

    def windows(self, context: int) -> int:
        """How many windows of `context` inputs, each with its next token, fit."""
        return max(0, (len(self) - 1) // context)

    def _entries(self, at: np.ndarray) -> np.ndarray:
        """Which of the rows the tokens at some places of the stream are from."""
        return np.searchsorted(self.end, at, side="right")

    def row(self, at: np.ndarray) -> np.ndarray:
        """Positions in the rows table of the rows that tokens come from.

        Args:
            at: places in the stream, int64, of any shape.
        """
        return self.rows[self._entries(at)]

    def origin(self, at: np.ndarray) -> np.ndarray:
        """Positions of tokens in the dataset, the same for copies of a row.

        Args:
            at: places in the stream, int64, of any shape.
        """
        entry = self._entries(at)
        return self.base[entry] + (at - self.begin[entry]) % self.length[entry]

    def tokens(self, at: np.ndarray) -> np.ndarray:
        """Tokens at some places of the stream.

        Args:
            at: places in the stream, int64, of any shape.
        """
        return self.source.values[self.origin(at)]

    def n_distinct(self, seen: np.ndarray, context: int) -> int:
        """How many tokens of the dataset some windows cover, copies of a row counted once.

        Args:
            seen: whether a window is one of them, bool (windows,).
            context: tokens of a window.
        """
        edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
        low, high = edges[::2] * context, edges[1::2] * context
        first = self._entries(low)
        counts = self._entries(high - 1) - first + 1
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        entry = np.repeat(first, counts) + within
        length = self.length[entry]
        low = np.maximum(np.repeat(low, counts) - self.begin[entry], 0)
        high = np.minimum(np.repeat(high, counts), self.end[entry]) - self.begin[entry]
        whole = high - low >= length
        low, high = np.where(whole, 0, low), np.where(whole, length, high)
        turn = np.where(length > 0, low // np.maximum(length, 1), 0) * length
        low, high = low - turn, high - turn
        # what goes on in the next copy is the beginning of the row
        lows = np.concatenate([low, np.zeros_like(low)]) + np.tile(self.base[entry], 2)
        highs = np.concatenate([np.minimum(high, length), np.maximum(high - length, 0)])
        return _covered(lows, highs + np.tile(self.base[entry], 2))


def _covered(low: np.ndarray, high: np.ndarray) -> int:
    """How many whole numbers some intervals [low, high) cover together."""
    order = np.argsort(low, kind="stable")
    low, high = low[order], np.maximum.accumulate(high[order])
    before = np.concatenate([low[:1], high[:-1]])
    return int(np.maximum(high - np.maximum(low, before), 0).sum())


def stream(source: Tokens, starts: np.ndarray, rows: np.ndarray, copies: np.ndarray) -> Stream:
    """Some rows one after the other, copies adjacent.

    Args:
        source: tokens of the dataset.
        starts: where every row of the dataset begins, and the end of the last, int64 (r + 1,).
        rows: which rows, by position, in order.
        copies: how often each.
    """
    base = starts[rows]
    length = starts[rows + 1] - base
    end = np.cumsum(length * copies)
    return Stream(source, rows, end - length * copies, end, length, base)


@dataclass(frozen=True)
class HeldOut:
    """The validation side.

    Attributes:
        rows: the rows of the validation side: `row` (position), `n_tokens`, `tags` (maps).
        stream: their tokens, every row once.
    """

    rows: pa.Table
    stream: Stream

    @cached_property
    def digest(self) -> str:
        """Digest of the tokens, and of the rows and tags by which losses are summed."""
        digest = blake2b(self.stream.digest.encode(), digest_size=16)
        add_rows(digest, self.rows)
        return digest.hexdigest()


def held_out(source: Tokens, starts: np.ndarray, rows: pa.Table) -> HeldOut:
    """The validation side of a dataset.

    Args:
        source: tokens of the dataset.
        starts: where every row of the dataset begins, and the end of the last, int64 (r + 1,).
        rows: those of the validation side: `row` (position), `n_tokens`, `tags`.
    """
    positions = rows["row"].to_numpy()
    return HeldOut(rows, stream(source, starts, positions, np.ones_like(positions)))


def take(data: Stream, windows: np.ndarray, context: int) -> np.ndarray:
    """The tokens of some windows with the one behind each, (len(windows), context + 1)."""
    return data.tokens(windows[:, None] * context + np.arange(context + 1))


class Windows:
    """The task of predicting the next token, in windows of a training and a validation stream.

    Args:
        training: tokens that are trained on.
        validation: tokens that are measured.
        n_valid: validation windows measured, drawn once a study.
        seed: of the study.
        shapes: `context`, tokens of a window, and `vocabulary`, tokens that there are.
        n_unique: tokens of the training windows that batches are drawn from; None for all.

    Attributes:
        subset: the numbers of these windows, int64 (k,); None for all. A window does not overlap
            another, and may span rows; window w covers the tokens from w * context on.

    Raises:
        ValueError: there is no validation window, or there are too few training tokens.
    """

    def __init__(
        self,
        training: Stream,
        validation: HeldOut,
        n_valid: int,
        seed: int,
        shapes: Mapping[str, int],
        n_unique: int | None = None,
    ):
        self.training, self.validation = training, validation
        self.shapes, self.context = shapes, shapes["context"]
        self.n_items = training.windows(self.context)
        self.guess, self.device = math.log(shapes["vocabulary"]), "cpu"
        windows = validation.stream.windows(self.context)
        if min(n_valid, windows) == 0:
            raise ValueError(f"no validation window of {self.context} tokens: raise valid_fraction")
        order = generator(seed, "validation", f"{self.context}").permutation(windows)
        self.measured = np.sort(order[:n_valid])
        self.subset = self._subset(n_unique, seed)

    def _subset(self, n_unique: int | None, seed: int) -> np.ndarray | None:
        """The windows that batches are drawn from, in order; None for all."""
        windows, n_tokens = self.n_items, len(self.training)
        if windows == 0:
            raise ValueError(
                f"{n_tokens} training tokens do not fill a window of {self.context}; lower "
                "context, or train on more rows"
            )
        if n_unique is None:
            return None
        count = n_unique // self.context
        if not 0 < count <= windows:
            raise ValueError(
                f"n_unique is {n_unique} tokens, and {windows * self.context} are there to train "
                f"on, in windows of {self.context}: change n_unique"
            )
        order = generator(seed, "subset", f"{self.context}").permutation(windows)
        return np.sort(order[:count])

    def to(self, device: str) -> None:
        """Give models their tokens on a device; the tokens of the dataset stay where they are."""
        self.device = device

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Endless batches of window numbers; see `shuffled`."""
        if self.subset is None:
            return shuffled(self.n_items, size, rng)
        return (self.subset[part] for part in shuffled(len(self.subset), size, rng))

    def learn(self, model: torch.nn.Module, items: np.ndarray, share: float = 1.0) -> torch.Tensor:
        """Mean cross-entropy of the tokens of some training windows, nats a token; see `Task`."""
        return learn(model, *self._read(self.training, items), share)

    def drawn(self) -> np.ndarray:
        """The windows of the subset, or all."""
        return np.arange(self.n_items) if self.subset is None else self.subset

    def given(self, model: torch.nn.Module, items: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and their next tokens, int64 (items, context) each."""
        inputs, targets = self._read(self.training, items)
        return inputs, targets.view(len(items), self.context)

    def n_unique(self, seen: np.ndarray) -> int:
        """How many tokens of the dataset the windows that were seen cover."""
        return self.training.n_distinct(seen, self.context)

    @torch.no_grad()
    def evaluate(self, model: torch.nn.Module) -> tuple[float, list[dict[str, Any]]]:
        """The mean loss of the measured windows, and their loss by tag."""
        nats = []
        for part in np.array_split(self.measured, max(1, len(self.measured) // AT_ONCE)):
            inputs, targets = self._read(self.validation.stream, part)
            log_odds = model(inputs)
            torch.log_softmax(log_odds, 1, out=log_odds)  # memory of that size is slow to get
            loss = functional.nll_loss(log_odds, targets, reduction="none")
            nats.append(loss.double().cpu().numpy())
        targets = self.measured[:, None] * self.context + np.arange(1, self.context + 1)
        row = self.validation.stream.row(targets.reshape(-1))
        rows, which, counts = np.unique(row, return_inverse=True, return_counts=True)
        sums = np.bincount(which, weights=np.concatenate(nats))
        return float(sums.sum() / counts.sum()), losses_by_tag(
            self.validation.rows, rows, sums, counts
        )

    def release(self) -> None:
        """Give back the memory of training tokens that were read."""
        self.training.source.release()

    def _read(self, side: Stream, items: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs, int64 (items, context), and their next tokens, int64 (items * context,)."""
        read = take(side, items, self.context)
        if read.max() >= self.shapes["vocabulary"]:
            raise ValueError(
                f"token {read.max()}, where vocabulary is {self.shapes['vocabulary']}: set"
                f" vocabulary to {int(read.max()) + 1} or more"
            )
        tokens = torch.from_numpy(read).to(self.device).long()
        return tokens[:, :-1], tokens[:, 1:].reshape(-1)
