"""The contract of trainer cards: how a model is trained at a task.

A trainer card has OPTIONS, the settings of a run that it takes, and the functions of `Card`. It
knows nothing of tokens, contexts or widths: these are the task's and the model's. A card with
PROGRAM = True runs a program of the user instead, and has the functions of
`_program.Card`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from isoloss.models import _model
    from isoloss.tasks._task import Task


class DivergedError(Exception):
    """A loss is NaN or infinite, or both end above that of a uniform guess."""


@dataclass(frozen=True)
class Trained:
    """What came of a run that ended.

    Attributes:
        measured: columns of the `shard` table: `loss_nats`, `n_unique`, `curve` and `losses`; of a
            program also `seconds`, and `n_params`, `n_samples` and `n_flops`.
        weights: tensors by name; None if the trainer hands none over.
    """

    measured: Mapping[str, Any]
    weights: Mapping[str, torch.Tensor] | None


class Checkpoint(Protocol):
    """Where a run goes on from if it was cut off, and where it saves its state and its models.

    A state is tensors and values of JSON by name.

    Attributes:
        steps: after how many steps the model is kept.
    """

    steps: Collection[int]

    def load(self) -> Mapping[str, Any] | None:
        """The last state; None if there is none."""

    def due(self) -> bool:
        """Whether it is time to save a state: every so often, and when the job is told to end."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Save a state in place of the one before; if the job is told to end this does not return.

        What is raised then is not an `Exception`, and is not to be handled by a card.
        """

    def keep(self, step: int, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep the model as it is after `step` steps."""


class Card(Protocol):
    """The functions of a trainer card."""

    def plan(self, n_examples: float, per_item: int, settings: Mapping[str, Any]) -> dict[str, int]:
        """What the plan of a run needs: `n_samples` (D, in whole steps), `n_steps`, `batch_items`.

        Args:
            n_examples: D as it was asked for.
            per_item: examples that an item of a batch holds.
            settings: of the run.

        Raises:
            ValueError: settings contradict each other; the message says what to do.
        """

    def warm_up(self) -> None:
        """Import what `train` needs; called in the process of which those that train are forks.

        It must not touch CUDA.
        """

    def device(self, settings: Mapping[str, Any]) -> str:
        """What a run with these settings is trained on here, such as `cpu`.

        Called only in the process that trains, since one that has used CUDA cannot be forked.
        """

    def train(
        self,
        settings: Mapping[str, Any],
        seed: int,
        model: _model.Card,
        task: Task,
        ticks: Iterator[None],
        checkpoint: Checkpoint,
    ) -> Trained:
        """Train and measure a run, maybe after others in the same process.

        What it changes of the process (generators, settings of torch and numpy, environment,
        working directory) is put back after it.

        Args:
            settings: the run's row of the plan.
            seed: of the study.
            model: the model card.
            task: what is trained.
            ticks: advanced once a step.
            checkpoint: where its state is kept.

        Raises:
            DivergedError: with the step at which it was seen.
        """
