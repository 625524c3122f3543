"""One run: its task and model are made, and its trainer trains it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isoloss.core import registry
from isoloss.train.checkpoint import Checkpoint
from isoloss.train.identity import RunContent
from isoloss.train.programs import Programs
from isoloss.trainers._trainer import Trained


def train_run(
    identity: Mapping[str, Any],
    content: RunContent | Programs,
    ticks: Iterator[None],
    checkpoint: Checkpoint,
) -> Trained:
    """Train and measure one run.

    Args:
        identity: all that decides what comes of the run, as `RunContent.identity` spells it out:
            `settings` (the run's row of the plan), `seed` of the study, `valid_items` measured,
            the digests of the `training` and `validation` side.
        content: of the dataset; of a user's program what its runs have in common.
        ticks: advanced once a step.
        checkpoint: where the run goes on from if it was cut off, and where it saves its state.

    Raises:
        DivergedError: with the step at which it was seen.
        FailedError: a user's program failed.
        ValueError: too little data to train or to measure, or another than the identity's.
    """
    settings = identity["settings"]
    trainer = registry.card("trainer", settings["trainer"])
    if content.of_program:
        return trainer.train(content.program(identity, checkpoint.path.parent), ticks)
    for side, digest in content.digests(settings).items():
        if digest != identity[side]:
            raise ValueError(f"the {side} data are not those of the run's identity")
    task = content.task(identity)
    model = registry.card("model", settings["model"])
    return trainer.train(settings, identity["seed"], model, task, ticks, checkpoint)
