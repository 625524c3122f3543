"""One log of a run that has several files: for training and evaluation, or of each start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from isoloss.logs.log import SAMPLES, STEP, UNKNOWN, Log, Record, is_step

_CLOSE = 1e-5  # relative difference of one number in two files: event files have single precision


@dataclass(frozen=True)
class Piece:
    """The log in one file of a run.

    Attributes:
        label: what tells it from the other files, such as train.
        log: what is in it.
        goes_on: whether it goes on from the file before, as an event file of a resumed run.
    """

    label: str
    log: Log
    goes_on: bool = False


def joined(pieces: Sequence[Piece]) -> Log:
    """The log of a run from all of its files.

    A metric that two files have with different values is called by their labels, too.
    """
    parts: list[Piece] = []
    for piece in pieces:
        if piece.goes_on and parts and parts[-1].label == piece.label:
            parts[-1] = replace(piece, log=_resumed(parts[-1].log, piece.log))
        else:
            parts.append(piece)
    if len(parts) == 1:
        return parts[0].log
    names = dict.fromkeys(n for part in parts for n in (*part.log.curve, *part.log.final))
    apart = [name for name in names if not is_step(name) and not _agree(parts, name)]
    clashes = [name for name in apart if name != SAMPLES]
    parts = [replace(part, log=_renamed(part, set(clashes))) for part in parts]
    notes = [note for part in parts for note in part.log.notes]
    if clashes:
        labels = ", ".join(part.label for part in parts)
        notes.append(f"files differ ({labels}): each has its own {', '.join(clashes)}")
    finals = [part.log.final for part in parts]
    final = {name: value for final in reversed(finals) for name, value in final.items()}
    final |= {n: max(f[n] for f in finals if n in f) for n in final if is_step(n)}
    return Log(
        _curve(parts),
        final,
        merged([(part.label, part.log.config) for part in parts]),
        tuple(notes),
        next((p.log.status for p in reversed(parts) if p.log.status != UNKNOWN), UNKNOWN),
        all(part.log.counted for part in parts),
        texts={name: text for part in parts for name, text in part.log.texts.items()},
    )


def merged(configs: Sequence[tuple[str, Record]]) -> Record:
    """The settings of several files; one that differs has the file's name in front of its own.

    >>> merged([("config", {"lr": 0.1, "width": 8}), ("args", {"lr": 0.1, "width": 9})])
    {'lr': 0.1, 'width': 8, 'args.width': 9}
    """
    whole: Record = {}
    for label, config in configs:
        for name, value in config.items():
            whole[name if whole.get(name, value) == value else f"{label}.{name}"] = value
    return whole


def _resumed(before: Log, after: Log) -> Log:
    """A log and the one that goes on from it; where both have a step the later one holds."""
    one, two = before.curve.set_index(STEP), after.curve.set_index(STEP)
    again = one.index.intersection(two.index)
    notes = [*before.notes, *after.notes]
    if len(again):
        notes.append(f"{len(again)} steps appear in two files: those of the later are kept")
    status = after.status if after.status != UNKNOWN else before.status
    ahead = len(one) and (not len(two) or one.index[-1] > two.index[-1])
    final = {**after.final, **before.final} if ahead else {**before.final, **after.final}
    config = {**before.config, **after.config}
    texts = {**before.texts, **after.texts}
    curve = _of_both(two, one).reset_index()
    return Log(curve, final, config, tuple(notes), status, texts=texts)


def _of_both(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Two tables by step; where both have a value that of the first."""
    names = dict.fromkeys([*first, *second])
    return first.combine_first(second)[list(names)].sort_index()


def _agree(parts: Sequence[Piece], name: str) -> bool:
    """Whether all files that have a metric have the same values of it."""
    first: pd.Series | None = None
    last: Any = None
    for log in (part.log for part in parts):
        if name in log.final:
            if last is not None and not _same(last, log.final[name]):
                return False
            last = log.final[name]
        if name in log.curve and not log.counted:
            column = log.curve.set_index(STEP)[name].dropna()
            if first is not None:
                both = first.index.intersection(column.index)
                same = np.isclose(first[both], column[both], rtol=_CLOSE, atol=0)
                if len(both) < min(len(first), len(column)) or not same.all():
                    return False
            first = column
    return True


def _same(one: Any, two: Any) -> bool:
    """Whether two values are the same, but for single precision."""
    if isinstance(one, str) or isinstance(two, str):
        return one == two
    return bool(np.isclose(float(one), float(two), rtol=_CLOSE, atol=0, equal_nan=True))


def _renamed(part: Piece, names: set[str]) -> Log:
    """The log with the file's label in front of some names."""
    new = {name: f"{part.label}/{name}" for name in names}
    final = {new.get(name, name): value for name, value in part.log.final.items()}
    texts = {new.get(name, name): text for name, text in part.log.texts.items()}
    return replace(part.log, curve=part.log.curve.rename(columns=new), final=final, texts=texts)


def _curve(parts: Sequence[Piece]) -> pd.DataFrame:
    """The points of all files; a file with results alone has none."""
    curves = [
        part.log.curve for part in parts if not (part.log.counted and len(part.log.curve) == 1)
    ]
    whole = (curves or [parts[0].log.curve])[0].set_index(STEP)
    for curve in curves[1:]:
        whole = _of_both(whole, curve.set_index(STEP))
    return whole.reset_index()
