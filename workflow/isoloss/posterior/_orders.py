"""The order in which chains see items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol

import numpy as np
from torch import Tensor

from isoloss.core.problems import IsolossError, Problem
from isoloss.core.seeds import generator
from isoloss.posterior.settings import Settings

Orders = Callable[[int], Iterator[Tensor]]


class Order(Protocol):
    """The batches of a chain, one after the other."""

    def take(self, count: int) -> np.ndarray:
        """The next batches: numbers of items, int64 (count, batch)."""


def order_of(chain: int, n_items: int, settings: Settings, orders: Orders | None) -> Order:
    """The batches of a chain from its beginning; see `sampler.sample`.

    Example:
        >>> order = order_of(0, 5, Settings(lr=0, n_beta=1, batch_size=2, shuffle=False), None)
        >>> order.take(3).tolist()
        [[0, 1], [2, 3], [0, 1]]
    """
    if orders is not None:
        return _Given(orders(chain))
    batch = min(settings.batch_size, n_items)
    if batch == n_items or not settings.shuffle:  # a mean over all items has no order
        return _Epochs(n_items, batch, None)
    identity = "all chains" if settings.match_batches else str(chain)
    return _Epochs(n_items, batch, generator(settings.init_seed, "order of items", identity))


class _Epochs:
    """All items again and again; those that do not fill a batch at an epoch's end are left out.

    Args:
        n_items: how many items there are.
        batch: items of a batch.
        rng: draws an order for each epoch; without it items come as they stand.
    """

    def __init__(self, n_items: int, batch: int, rng: np.random.Generator | None) -> None:
        self._n_items = n_items
        self._shape = (n_items // batch, batch)
        self._rng = rng
        self._rest = np.empty((0, batch), dtype=np.int64)

    def take(self, count: int) -> np.ndarray:
        epochs = -(-(count - len(self._rest)) // self._shape[0])
        ahead = np.concatenate([self._rest, *self._drawn(epochs)])
        self._rest = ahead[count:]
        return ahead[:count]

    def _drawn(self, epochs: int) -> list[np.ndarray]:
        used = self._shape[0] * self._shape[1]
        if self._rng is None:
            return [np.tile(np.arange(used, dtype=np.int64).reshape(self._shape), (epochs, 1))]
        return [
            self._rng.permutation(self._n_items)[:used].reshape(self._shape) for _ in range(epochs)
        ]


class _Given:
    """Batches that a caller gives."""

    def __init__(self, batches: Iterator[Tensor]) -> None:
        self._batches = batches

    def take(self, count: int) -> np.ndarray:
        taken = [np.asarray(batch) for batch in islice(self._batches, count)]
        if len(taken) < count:
            reason = f"batches of a chain end {count - len(taken)} short of what a run takes next"
            raise IsolossError(Problem("orders", reason, "give batches without end"))
        return np.stack(taken)
