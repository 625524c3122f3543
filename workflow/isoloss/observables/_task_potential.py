"""The losses of a trained model on the items of its task, for samples of its posterior."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from isoloss.posterior.model_potential import ModelPotential

if TYPE_CHECKING:
    import torch

    from isoloss.tasks._task import Task

RELEASE = 64  # batches after which the memory of items that were read is given back


class TaskPotential(ModelPotential):
    """The losses of a run's training items at any weights; see `posterior/potential.py`.

    Items are gathered batch by batch, as in training. Their numbers are positions in
    `task.drawn()`, the items that batches of the run are drawn from.

    Args:
        task: of the run.
        module: its model; of one with an `encode`, its `head` is sampled.
        tell: called after every gradient with the number of those that were computed.
    """

    def __init__(self, task: Task, module: torch.nn.Module, tell: Callable[[int], None]):
        self._task, self._whole, self._tell = task, module, tell
        self._items = task.drawn()
        self._read = self._learned = 0
        first = task.given(module, self._items[:1])  # all items are of this shape
        part, prefix = (module.head, "head.") if hasattr(module, "encode") else (module, "")
        super().__init__(part, *first)
        self.names = {f"{prefix}{name}": at for name, at in self.names.items()}
        self.n_items = len(self._items)

    def learn(
        self, weights: torch.Tensor, gradient: torch.Tensor, items: torch.Tensor
    ) -> torch.Tensor:
        """See `Potential`."""
        self._learned += 1
        self._tell(self._learned)
        return super().learn(weights, gradient, items)

    def batch(self, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of items, read from the task."""
        flat = self._items[items.reshape(-1).numpy()]
        self._read += 1
        if self._read % RELEASE == 0:
            self._task.release()
        inputs, targets = self._task.given(self._whole, flat)
        shape = items.shape
        return inputs.view(*shape, *inputs.shape[1:]), targets.view(*shape, *targets.shape[1:])
