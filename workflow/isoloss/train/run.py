"""One run: its task and model are made, and its trainer trains it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isoloss.core import registry
from isoloss.train.identity import Content
from isoloss.trainers._trainer import Checkpoint, Trained


def train_run(
    identity: Mapping[str, Any], content: Content, ticks: Iterator[None], checkpoint: Checkpoint
) -> Trained:
    """Train and measure one run.

    Args:
        identity: all that decides what comes of the run, as `Content.identity` spells it out:
            `settings` (the run's row of the plan), `seed` of the study, `valid_items` measured,
            the digests of the `training` and `validation` side.
        content: of the dataset.
        ticks: advanced once a step.
        checkpoint: where the run goes on from if it was cut off, and where it saves its state.

    Raises:
        DivergedError: with the step at which it was seen.
        ValueError: too little data to train or to measure, or another than the identity's.
    """
    settings = identity["settings"]
    for side, digest in content.digests(settings["weighting"]).items():
        if digest != identity[side]:
            raise ValueError(f"the {side} data are not those of the run's identity")
    task = content.task(identity)
    trainer = registry.card("trainer", settings["trainer"])
    model = registry.card("model", settings["model"])
    return trainer.train(settings, identity["seed"], model, task, ticks, checkpoint)
