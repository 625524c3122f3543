"""The contract of trainer cards that run a program of the user (PROGRAM = True)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from isoloss.trainers._trainer import Trained


class FailedError(Exception):
    """A run failed for a reason outside this package.

    Args:
        reason: one line.
        detail: what else is kept in the record of its failures.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason)
        self.detail = detail


class Card(Protocol):
    """The functions of a trainer card that runs a program of the user."""

    def plan(self, command: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, float]:
        """N, D and C of a run, as far as the settings say them."""

    def warm_up(self) -> None:
        """Import what `train` needs; called in the process of which those that train are forks."""

    def device(self, settings: Mapping[str, Any]) -> str:
        """What is recorded as the device of a run."""

    def train(self, program: Any, ticks: Iterator[None]) -> Trained:
        """Run the program of a run and read what came of it.

        Args:
            program: the run; the card says what it is.
            ticks: advanced while it runs; if the job is told to end they raise what is not an
                `Exception`, and the program gets SIGTERM.

        Raises:
            DivergedError: the loss is NaN or infinite.
            FailedError: why, and what the program printed last.
        """
