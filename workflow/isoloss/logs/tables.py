"""Logs of runs as tables: a row a run, and a row a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from isoloss.core.escape import listed
from isoloss.core.problems import Problem
from isoloss.formats.json_tables import column_of
from isoloss.logs.log import UNKNOWN, Log, Record, not_a_number

RUN, STATUS = "run_id", "status"
_SHOWN = 3  # runs that a note names


def runs_table(logs: Mapping[str, Log]) -> tuple[pd.DataFrame, list[str], list[Problem]]:
    """The table of runs, what is said of names that are a metric's and a setting's, texts left out.

    Args:
        logs: by run id.

    Returns:
        A row a run: `run_id`, `status`, last values, settings; notes; problems. Of a name that is a
        metric's and a setting's the setting is called `config.<name>`, unless their values are the
        same.
    """
    finals, texts = _numbers(logs)
    settings = [log.config for log in logs.values()]
    metrics = {name: _metric(name) for final in finals for name in final}
    names = _names_of_settings(settings, finals, set(metrics.values()))
    rows = [
        {metrics[n]: v for n, v in final.items()} | {names[n]: v for n, v in c.items() if names[n]}
        for final, c in zip(finals, settings, strict=True)
    ]
    columns = [*metrics.values(), *filter(None, names.values())]
    table = {column: column_of([row.get(column) for row in rows]) for column in columns}
    ends = [log.status for log in logs.values()]
    runs = pd.DataFrame({RUN: list(logs), STATUS: ends, **table}, index=range(len(logs)))
    renamed = [new for name, new in names.items() if new and new != name]
    notes = [f"metrics and settings have one name: the settings are {listed(renamed)}"]
    return runs, notes if renamed else [], texts


def _numbers(logs: Mapping[str, Log]) -> tuple[list[Record], list[Problem]]:
    """The last values of every run; without texts among numbers, and where those texts are.

    A metric is one of numbers if more runs have a number at the end than a text.
    """
    numbers, others = Counter(), Counter()
    for log in logs.values():
        for name, value in log.final.items():
            (others if isinstance(value, str) else numbers)[name] += 1
    named = {*others, *(name for log in logs.values() for name in log.texts)}
    mixed = {name for name in named if numbers[name] > others[name]}
    finals, texts = [], []
    for run, log in logs.items():
        last = {n: v for n, v in log.final.items() if n in mixed and isinstance(v, str)}
        own = {name: not_a_number(f"run {run}", name, value) for name, value in last.items()}
        own |= {name: text for name, text in log.texts.items() if name in mixed}
        texts += own.values()
        finals.append({name: v for name, v in log.final.items() if name not in last})
    return finals, texts


def _metric(name: str) -> str:
    return f"metric.{name}" if name in (RUN, STATUS) else name


def _names_of_settings(
    settings: list[Record], finals: list[Record], taken: set[str]
) -> dict[str, str]:
    """The column of every setting; empty for one that repeats the metric of its name."""
    names: dict[str, str] = {}
    for name in dict.fromkeys(name for config in settings for name in config):
        new = name
        if name in taken or name in (RUN, STATUS):
            pairs = [
                (c[name], f.get(name)) for c, f in zip(settings, finals, strict=True) if name in c
            ]
            new = "" if all(one == two for one, two in pairs) else f"config.{name}"
        while new in taken:
            new = f"config.{new}"
        names[name] = new
        taken = taken | {new}
    return names


def curves_table(logs: Mapping[str, Log], runs: pd.DataFrame) -> pd.DataFrame:
    """The points along all runs, with the settings that are numbers.

    Args:
        logs: by run id.
        runs: their table.
    """
    curves = [log.curve.rename(columns=_metric) for log in logs.values()]
    whole = pd.concat(curves, ignore_index=True)
    lengths = [len(curve) for curve in curves]
    whole.insert(0, RUN, np.repeat(np.array(list(logs), dtype=object), lengths))
    metrics = {_metric(name) for log in logs.values() for name in log.final}
    numbers = {
        name: np.repeat(runs[name].to_numpy(), lengths)
        for name in runs
        if name not in metrics
        and name not in whole
        and pd.api.types.is_numeric_dtype(runs[name].dtype)
        and not pd.api.types.is_bool_dtype(runs[name].dtype)
    }
    return pd.concat([whole, pd.DataFrame(numbers, index=whole.index)], axis=1)


def statements(logs: Mapping[str, Log]) -> list[str]:
    """What was decided about runs, each statement once with the runs that it is about."""
    runs: dict[str, list[str]] = {}
    for run, log in logs.items():
        for note in log.notes:
            runs.setdefault(note, []).append(run)
    words = [f"{_some(some)}: {note}" for note, some in runs.items()]
    ends: dict[str, int] = {}
    for log in logs.values():
        ends[log.status] = ends.get(log.status, 0) + 1
    if set(ends) - {UNKNOWN, "finished"}:
        counts = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
        words.append(f"status: {counts}; for those that finished: --keep \"status == 'finished'\"")
    return words


def _some(runs: list[str]) -> str:
    more = len(runs) - _SHOWN
    return ", ".join(runs[:_SHOWN]) + (f" and {more} more runs" if more > 0 else "")
