"""What came of a program's run: losses, curve, N, D and C, read from the file that it wrote."""

from __future__ import annotations

import glob
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.core.escape import listed
from isoloss.core.paths import real
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.logs.places import is_events
from isoloss.trainers import _quantities
from isoloss.trainers._program import FailedError
from isoloss.trainers._trainer import DivergedError

if TYPE_CHECKING:
    import pandas as pd

    from isoloss.logs.log import Log

SPLIT, TAG = "valid", "domain"  # of losses by domain


def read_outcome(
    folder: Path, command: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Columns of the `shard` table, as the output of a run says.

    Args:
        folder: of the run.
        command: the study's: `results`, `loss`, `loss_at`, `losses`, `curve`, and the quantities.
        settings: of the run.

    Raises:
        FailedError: the file or a value in it is missing or malformed: which, where.
        DivergedError: the loss is NaN or infinite.
    """
    from isoloss.logs.read import read_log

    path = _written(folder, command["results"])
    place = path.name if path.is_file() else command["results"]
    try:
        log = read_log(path)
        loss = _loss(log, command["loss"], command["loss_at"], place)
        by_domain = {
            domain: _loss(log, name, command["loss_at"], place)
            for domain, name in command["losses"].items()
        }
        known = _quantities_of(log, command, settings, place)
        curve = _curve(log, command, known.get("n_samples"), place)
    except IsolossError as error:
        raise FailedError(str(error)) from error
    step = curve[-1]["step"] if curve else 0
    losses = [
        {"step": step, "split": SPLIT, "tag_key": TAG, "domain": domain, "loss_nats": value}
        for domain, value in by_domain.items()
    ]
    return {"loss_nats": loss, "curve": curve, "losses": losses, **known}


def _written(folder: Path, results: str) -> Path:
    """The file or folder that `results` names, or that has its pattern.

    Several event files of TensorBoard in one folder are that folder, which is read as one run.

    Raises:
        FailedError: there is none, or there are several; what there is instead.
    """
    if (folder / results).exists():
        return folder / results
    whole = real(folder)
    matching = sorted(glob.glob(results, root_dir=folder, recursive=True))
    names = [name for name in matching if real(folder / name).is_relative_to(whole)]
    parents = {(folder / name).parent for name in names}
    if len(names) > 1 and len(parents) == 1 and all(map(is_events, names)):
        return parents.pop()
    if len(names) == 1:
        return folder / names[0]
    if names:
        raise FailedError(f"{results}: {len(names)} files have this pattern ({listed(names)})")
    files = sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())
    instead = f"its folder has {listed(files)}" if files else "its folder is empty"
    raise FailedError(f"{results}: the run did not write this file; {instead}")


def _value(log: Log, name: str, place: str) -> Any:
    """The last value of a name, among what was measured or the settings that the file has."""
    values = {**log.config, **log.final}
    if name in log.empty:
        raise IsolossError(Problem(place, f"{name!r} has no number", "write one at the end"))
    if name not in values:
        reason = f"nothing is called {name!r} in it"
        raise IsolossError(Problem(place, reason, nearest(name, values)))
    return values[name]


def _loss(log: Log, name: str, at: str, place: str) -> float:
    """A loss, the last of its values or the least.

    Raises:
        DivergedError: it is not finite at the end, with the last step at which it was.
    """
    last = _value(log, name, place)
    if isinstance(last, bool) or not isinstance(last, int | float):
        raise IsolossError(Problem(place, f"{name} is {last!r}", "write a number"))
    values = log.curve.get(name)
    if not math.isfinite(last):
        raise DivergedError(f"{name} is {last}{_last_finite(log, values)}")
    if at == "last" or values is None:
        return float(last)
    return float(values[values.map(math.isfinite)].min())


def _last_finite(log: Log, values: pd.Series | None) -> str:
    if values is None:
        return ""
    finite = log.curve["step"][values.map(math.isfinite)]
    return f" after step {finite.iloc[-1]:g}" if len(finite) else " from the first step"


def _quantities_of(
    log: Log, command: Mapping[str, Any], settings: Mapping[str, Any], place: str
) -> dict[str, float]:
    known = _quantities.of_settings(command, settings)
    for name, text in _quantities.written(command, settings).items():
        known[name] = _quantities.sound(name, _value(log, text, place), f"{place}, {text}")
    return _quantities.with_flops(known)


def _curve(
    log: Log, command: Mapping[str, Any], n_samples: float | None, place: str
) -> list[dict[str, Any]]:
    """The points of the run; without a count of examples D is taken to grow evenly with the steps.

    Raises:
        IsolossError: the file has no such column.
    """
    name = command.get("curve") or command["loss"]
    if name not in log.curve:
        if command.get("curve") is None:
            return []
        raise IsolossError(
            Problem(place, f"no column is called {name!r}", nearest(name, log.curve))
        )
    curve = log.curve.assign(loss_nats=log.curve[name])
    steps, last = curve["step"], float(curve["step"].iloc[-1])
    if "n_samples" not in curve and n_samples is not None and last > 0:
        curve = curve.assign(n_samples=(n_samples * steps / last).round())
    if (steps % 1 != 0).any():  # epochs, or seconds
        curve = curve.assign(step=range(1, len(curve) + 1))
    curve = curve[curve["loss_nats"].map(math.isfinite)]
    columns = [c for c in ("step", "n_samples", "loss_nats") if c in curve]
    return [
        {key: value if key == "loss_nats" else int(value) for key, value in row.items()}
        for row in curve[columns].dropna().to_dict("records")
    ]
