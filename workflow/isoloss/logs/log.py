"""A log of one run as it is read, made from the records that a program wrote one after another."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core.problems import Problem
from isoloss.core.sources import Source
from isoloss.core.tables import SET_ASIDE
from isoloss.formats.names import SPLITS, meanings

Record = dict[str, Any]
STEP, SAMPLES = "step", "n_samples"
UNKNOWN = "unknown"  # the status of a run whose log does not say how it ended
# what programs call the position along a run, as `compact` writes it, the best first
_STEPS = ("globalstep", "step", "steps", "trainstep", "iteration", "iterations", "iter", "iters")
_STEPS += ("iternum", "it", "update", "updates", "numupdates", "epoch", "epochs")
_EPOCHS = ("epoch", "epochs")
_SPLIT = ("split", "phase", "mode", "stage", "subset", "partition")  # fields that say of what
_OF_SPLITS = SPLITS | {"train", "training"}
_NOT_FINITE = {"nan", "inf", "-inf", "infinity", "-infinity"}  # numbers that are written as text


@dataclass(frozen=True)
class Log:
    """The log of one run.

    Attributes:
        curve: a row a step, in order: `step`; `n_samples`, the examples or tokens seen, where a
            column counts them; every other column of numbers under its own name, NaN where a
            step has none.
        final: the last value of everything that was logged, by its name.
        config: the run's settings by name, nested ones joined by points.
        notes: what was decided, a sentence each.
        status: how the run ended, such as finished or failed; unknown if the log does not say.
        counted: whether the log has no steps, so that `step` counts its records.
        empty: names that have no value in any record, such as null.
        texts: the last value that is a text, of every name that has one, and where it is.
    """

    curve: pd.DataFrame
    final: Record
    config: Record = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    status: str = UNKNOWN
    counted: bool = False
    empty: tuple[str, ...] = ()
    texts: Mapping[str, Problem] = field(default_factory=dict)

    @classmethod
    def of_settings(cls, config: Record, notes: tuple[str, ...] = (), status: str = UNKNOWN) -> Log:
        """A log without points, such as a file of hyperparameters."""
        return cls(pd.DataFrame({STEP: np.array([], dtype="int64")}), {}, config, notes, status)


@dataclass(frozen=True)
class Records:
    """What a program logged, record by record.

    Attributes:
        file: where it is from.
        rows: each a mapping of names to plain values.
        places: where each one is, such as `line 3`.
        notes: what was decided when they were read.
    """

    file: Source
    rows: Sequence[Record]
    places: Sequence[str]
    notes: tuple[str, ...] = ()

    def log(self, config: Mapping[str, Any] | None = None, status: str = UNKNOWN) -> Log:
        """The log that these records are.

        Raises:
            TableError: they hold no numbers, or a step is not a number.
        """
        rows, notes = _by_split([_plain(row) for row in self.rows]), list(self.notes)
        lists = {name for row in self.rows for name, value in row.items() if _is_many(value)}
        if lists:
            notes.append(f"lists are left out: {', '.join(sorted(lists))}")
        if not any(is_number(value) for row in rows for value in row.values()):
            raise self.file.error("has no numbers", "give a log with the metrics of a run")
        names = dict.fromkeys(name for row in rows for name in row)
        axes = sorted((n for n in names if is_step(n)), key=_rank)
        points = self._points(rows, axes, notes)
        curve = _curve(points, [name for name in names if name not in axes])
        values = {name: [p[name] for p in points.values() if name in p] for name in names}
        final = {name: last_value(each) for name, each in values.items() if each}
        given = {name for row in self.rows for name, value in row.items() if value is not None}
        empty = tuple(dict.fromkeys(n for row in self.rows for n in row if n not in given))
        texts, settings = self._texts(rows), dict(config or {})
        return Log(curve, final, settings, tuple(notes), status, not axes, empty, texts)

    def _texts(self, rows: Sequence[Record]) -> dict[str, Problem]:
        """The last text of every name that has one, as what is wrong if it measures something."""
        last = {n: (i, v) for i, row in enumerate(rows) for n, v in row.items() if type(v) is str}
        return {
            name: not_a_number(f"{self.file.label}, {self.places[at]}", name, value)
            for name, (at, value) in last.items()
        }

    def _points(
        self, rows: Sequence[Record], axes: Sequence[str], notes: list[str]
    ) -> dict[Any, Record]:
        """The records by their step, in its order; those of one step are joined."""
        if not axes:
            if len(rows) > 1:
                notes.append("no column of steps: records are counted from 1")
            return dict(enumerate(rows, 1))
        steps = self._steps(rows, axes[0])
        points, repeated = _joined(rows, steps)
        epoch = next((name for name in axes if compact(name) in _EPOCHS), axes[0])
        if repeated and epoch != axes[0]:
            pairs = list(zip(self._steps(rows, epoch), steps, strict=True))
            apart, again = _joined(rows, pairs)
            if not again:
                notes.append(
                    f"{axes[0]!r} starts again in every {epoch}: points are counted from 1"
                )
                return dict(enumerate((apart[pair] for pair in sorted(apart)), 1))
        if repeated:
            low, high = f"{min(repeated):g}", f"{max(repeated):g}"
            which = f"steps {low} to {high} appear" if low != high else f"step {low} appears"
            notes.append(f"{which} twice, as in a run that was resumed: later values are kept")
        return {step: points[step] for step in sorted(points)}

    def _steps(self, rows: Sequence[Record], name: str) -> list[float]:
        """The step of every record; that of the one before where it has none.

        Raises:
            TableError: one is not a number.
        """
        steps: list[float] = []
        for row, place in zip(rows, self.places, strict=True):
            step = row.get(name, steps[-1] if steps else 0)
            if not is_number(step) or not math.isfinite(step):
                reason = f"{place}: {name!r} is {step!r}, not a number"
                raise self.file.error(reason, "correct it, or remove the record")
            steps.append(step)
        return steps


def not_a_number(place: str, name: str, value: str) -> Problem:
    """The problem of a text among numbers."""
    return Problem(place, f"{name!r} is {value!r}, not a number", "write it as 1234.5")


def compact(name: str) -> str:
    """The last part of a name in lower case, letters and digits only.

    >>> compact("trainer/global_step"), compact("_step")
    ('globalstep', 'step')
    """
    return re.sub(r"[\W_]+", "", name.rpartition("/")[2]).lower()


def is_step(name: str) -> bool:
    """Whether a name is what programs call the position along a run.

    >>> is_step("global_step"), is_step("max_steps")
    (True, False)
    """
    return compact(name) in _STEPS


def last_value(values: Sequence[Any]) -> Any:
    """The last of a metric's values.

    Programs write NaN for a metric that was not measured, too: where numbers follow on a NaN, the
    last number is taken; a metric that is NaN from some point on has diverged, and is NaN.

    >>> last_value([3.0, float("nan"), 2.0, float("nan")]), last_value([3.0, float("nan")])
    (2.0, nan)
    """
    if values[-1] == values[-1]:
        return values[-1]
    present = [value == value for value in values]
    returns = any(not one and two for one, two in pairwise(present))
    return [v for v in values if v == v][-1] if returns else values[-1]


def _rank(name: str) -> int:
    return _STEPS.index(compact(name))


def is_number(value: Any) -> bool:
    """Whether a value is a number, and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_many(value: Any) -> bool:
    return isinstance(value, list | tuple | set | dict | np.ndarray)


def _plain(row: Record) -> Record:
    """A record without lists and empty values, with numbers for texts such as NaN."""
    return {
        as_text(name): value if isinstance(value, int | float) else _number_or_text(value)
        for name, value in row.items()
        if value is not None and not _is_many(value)
    }


def _number_or_text(value: Any) -> float | str:
    """The number of a decimal, or of a text such as NaN; all else as text, such as a time."""
    if isinstance(value, Decimal):
        return float(value)
    text = str(value)
    return float(text) if text.lower() in _NOT_FINITE else as_text(text)


def as_text(text: str) -> str:
    r"""The text, with escapes for what UTF-8 cannot encode: bytes of a path, halves of a pair.

    >>> as_text("loss \udcff")
    'loss \\udcff'
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _by_split(rows: list[Record]) -> list[Record]:
    """The records, with the split in front of names where a field says what a record is of.

    `{"step": 1, "split": "valid", "loss": 3}` becomes `{"step": 1, "valid/loss": 3}`.
    """
    fields = [name for name in _SPLIT if any(name in row for row in rows)]
    for name in fields:
        values = {str(row.get(name, "train")).lower() for row in rows}
        if len(values) > 1 and values <= _OF_SPLITS:
            return [_with_split(row, name) for row in rows]
    return rows


def _with_split(row: Record, split: str) -> Record:
    front = f"{row[split]}/" if split in row else ""
    return {
        name if is_step(name) else f"{front}{name}": value
        for name, value in row.items()
        if name != split
    }


def _joined(rows: Sequence[Record], keys: Iterable[Any]) -> tuple[dict[Any, Record], list]:
    """The records of equal keys as one, and the keys at which a value replaced another."""
    points: dict[Any, Record] = {}
    repeated = []
    for key, row in zip(keys, rows, strict=True):
        point = points.setdefault(key, {})
        if any(name in point and not is_step(name) for name in row):
            repeated.append(key)
        point.update(row)
    return points, repeated


def _curve(points: Mapping[Any, Record], names: Sequence[str]) -> pd.DataFrame:
    """The columns of numbers, a row a point, and the step of each."""
    columns: dict[str, Any] = {STEP: _column(list(points))}
    rows = list(points.values())
    for name in names:
        values = [row.get(name) for row in rows]
        if any(map(is_number, values)):
            columns[name] = _column([v if is_number(v) else math.nan for v in values])
    samples = _samples(columns)
    if samples:
        axes = {STEP: columns.pop(STEP), SAMPLES: columns.pop(samples)}
        aside = f"{SAMPLES}{SET_ASIDE}"
        columns = axes | {aside if n == SAMPLES else n: v for n, v in columns.items()}
    return pd.DataFrame(columns)


def _column(values: list) -> np.ndarray:
    """Whole numbers where all are and 64 bits hold them, else floating-point ones."""
    whole = all(isinstance(v, int) or v.is_integer() for v in values)
    whole = whole and all(isinstance(v, int) and abs(v) < 2**63 for v in values)
    return np.array(values, dtype="int64" if whole else float)


@cache
def _points_of_d(name: str) -> float:
    """How well a name says that a column counts the examples or tokens seen."""
    return meanings(name).get("D", 0.0)


def _samples(columns: Mapping[str, np.ndarray]) -> str:
    """The column that counts the examples or tokens seen; it never falls along the run."""
    points = {name: _points_of_d(name) for name in columns if name != STEP}
    for name in sorted((n for n in points if points[n]), key=lambda n: -points[n]):
        seen = columns[name][~np.isnan(columns[name].astype(float))]
        if (seen > 0).any() and (np.diff(seen) >= 0).all() and (len(seen) < 2 or np.ptp(seen) > 0):
            return name
    return ""
