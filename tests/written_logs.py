"""Logs as the programs that train write them, for several tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


def events(folder: Path, points, *summaries) -> Path:
    """An event file as torch.utils.tensorboard and tensorboardX write it; its path."""
    writer = EventFileWriter(str(folder))
    for summary in summaries:
        writer.add_event(Event(summary=summary, wall_time=1.0))
    for step, tag, value in points:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(step=step, summary=summary, wall_time=1.0 + step))
    writer.close()
    (path,) = folder.glob("events.out.tfevents.*")
    return path


def lines(path: Path, rows) -> None:
    """A file with an object of JSON a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def chinchilla_loss(n, d):
    """The loss of a run by the law that the logs below follow."""
    return 1.7 + 400 / n**0.34 + 400 / d**0.28


def twenty_runs(folder: Path) -> None:
    """The logs of twenty runs of a Chinchilla law: a folder a run, with its configuration."""
    sizes = [(n, d) for n in np.geomspace(1e7, 1e9, 5) for d in np.geomspace(1e9, 5e10, 4)]
    for number, (n, d) in enumerate(sizes):
        run = folder / f"run-{number:02d}"
        points = [(step, int(d * step / 10)) for step in range(1, 11)]
        lines(
            run / "metrics.jsonl",
            [
                {
                    "step": s,
                    "tokens": tokens,
                    "loss": 9.0,
                    "val_loss": chinchilla_loss(int(n), tokens),
                }
                for s, tokens in points
            ],
        )
        config = {"model": {"n_params": int(n), "d_model": 64}, "optim": {"lr": 1e-3}}
        (run / "config.json").write_text(json.dumps(config))
