"""A task whose batches come from one part of its training items after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from isoloss.tasks._task import shuffled

if TYPE_CHECKING:
    import torch

    from isoloss.tasks._task import Task


@dataclass(frozen=True)
class Phase:
    """Items that batches are drawn from for some steps.

    Attributes:
        steps: so many.
        first: number of the first item.
        end: number behind the last.
    """

    steps: int
    first: int
    end: int


class Phased:
    """A task that trains on some of its items first, then on others.

    Every phase has an order of its own. The first is that of a run on its items alone, so that the
    two are the same until the phase ends.

    Args:
        task: has the items of all phases.
        phases: in order; the last goes on if there are more steps.
        rows: of every item the row that it is, int64 (n_items,); None where an item has several
            examples, of which the task knows where they are from.

    Raises:
        ValueError: a phase has no items.
    """

    def __init__(self, task: Task, phases: Sequence[Phase], rows: np.ndarray | None = None):
        self._task, self.phases, self._rows = task, phases, rows
        self.n_items, self.guess, self.shapes = task.n_items, task.guess, task.shapes
        for number, phase in enumerate(phases, 1):
            if phase.end <= phase.first:
                raise ValueError(
                    f"the training rows of phase {number} do not fill an item of a batch: raise"
                    " its weights, or load more"
                )

    def to(self, device: str) -> None:
        """See `Task`."""
        self._task.to(device)

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Endless batches of item numbers; those of every phase are shuffled anew every epoch."""
        others = range(1, len(self.phases))
        own = [rng, *(np.random.Generator(rng.bit_generator.jumped(i)) for i in others)]
        orders = [_order(*each, size) for each in zip(self.phases, own, strict=True)]
        return _one_after_the_other(orders, [phase.steps for phase in self.phases])

    def learn(self, model: torch.nn.Module, items: np.ndarray, share: float = 1.0) -> torch.Tensor:
        """See `Task`."""
        return self._task.learn(model, items, share)

    def drawn(self) -> np.ndarray:
        """The items of all phases."""
        return np.concatenate([np.arange(phase.first, phase.end) for phase in self.phases])

    def given(self, model: torch.nn.Module, items: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Task`."""
        return self._task.given(model, items)

    def n_unique(self, seen: np.ndarray) -> int:
        """Distinct examples among the items that were seen; one of two phases counts once."""
        if self._rows is None:
            return self._task.n_unique(seen)
        return len(np.unique(self._rows[seen]))

    def evaluate(self, model: torch.nn.Module) -> tuple[float, list[dict[str, Any]]]:
        """See `Task`."""
        return self._task.evaluate(model)

    def release(self) -> None:
        """See `Task`."""
        self._task.release()


def in_phases(
    tasks: Sequence[Task],
    steps: Sequence[int],
    indices: Sequence[Any],
    starts: np.ndarray,
    per_item: int,
) -> Phased:
    """The task of training on the rows of one index after the other.

    An item that begins in the rows of one and ends in those of the next is never drawn.

    Args:
        tasks: of the rows of the first index, of the first two one after the other, and so on.
        steps: of every phase.
        indices: `rows` (positions) and `copies` of each, a phase each.
        starts: where every row of the dataset begins, in examples, and the end of the last.
        per_item: examples that an item holds.

    Raises:
        ValueError: a phase has no items.
    """
    lengths = [((starts[i.rows + 1] - starts[i.rows]) * i.copies).sum() for i in indices]
    firsts = [0, *(-(-end // per_item) for end in np.cumsum(lengths)[:-1].tolist())]
    ends = [task.n_items for task in tasks]
    phases = [Phase(*phase) for phase in zip(steps, firsts, ends, strict=True)]
    if per_item > 1:
        return Phased(tasks[-1], phases)
    return Phased(tasks[-1], phases, np.concatenate([np.repeat(i.rows, i.copies) for i in indices]))


def _order(phase: Phase, rng: np.random.Generator, size: int) -> Iterator[np.ndarray]:
    """Endless batches of the items of a phase."""
    for items in shuffled(phase.end - phase.first, size, rng):
        yield phase.first + items


def _one_after_the_other(
    orders: Sequence[Iterator[np.ndarray]], steps: Sequence[int]
) -> Iterator[np.ndarray]:
    """So many batches of each of some orders, and the last one to no end."""
    for order, count in zip(orders[:-1], steps[:-1], strict=True):
        yield from islice(order, count)
    yield from orders[-1]
