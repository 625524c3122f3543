"""Tables of many runs, as W&B and MLflow export them: a row a run, or points of several."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain, count
from typing import Any

from isoloss.formats.json_tables import flattened
from isoloss.formats.names import meanings
from isoloss.logs import configs
from isoloss.logs.log import UNKNOWN, Log, Record, Records, compact, is_number, is_step

# columns that name a run, as `compact` writes them, the best first
_NAMED = ("runid", "run", "runname", "name", "displayname")
_TAGS = ("tag", "metric", "key", "name")  # columns that name the metric of every `value`
_STATUS = ("state", "status")
_STATES = {"finished", "running", "crashed", "failed", "killed", "preempted", "scheduled"}
_HISTORY = re.compile(r"(.+) - (.+?)(__MIN|__MAX)?", re.DOTALL)
_SETTINGS = ("config.", "config/", "params.", "params/")
_METRICS = ("summary.", "summary/", "metrics.", "metrics/")
_WHOLE = {"summary", "config"}  # columns of dictionaries, as the API of W&B gives them
_INNER = {"nan": math.nan, "inf": math.inf}  # names in what Python prints of a dictionary


def logs(records: Records) -> dict[str, Log]:
    """The logs in a table by the names of their runs; the log of one run has no name.

    Raises:
        TableError: there are no numbers, or rows are runs and do not say which.
    """
    names = list(dict.fromkeys(name for row in records.rows for name in row))
    tags = next((name for name in names if compact(name) in _TAGS), None)
    if tags is not None and "value" in names and any(map(is_step, names)):
        return logs(_wide(records, tags))
    if any(name.endswith(("__MIN", "__MAX")) for name in names):
        return _of_history(records, names)
    axes = [name for name in names if is_step(name)]
    ended = any(_is_status(name, value) for row in records.rows for name, value in row.items())
    column = _naming(records, names, bool(axes) or ended)
    if len(records.rows) == 1 and not ended and not _WHOLE & set(names):
        return {"": records.log()}  # the results of a run
    if column is None:
        _refuse_nameless(records, names, axes)
        return {"": records.log()}
    labels = [str(row[column]) for row in records.rows]
    if len(labels) > len(set(labels)) == 1:
        return {"": records.log()}
    if len(labels) > len(set(labels)) and not ended:
        return _of_points(records, column, labels)
    rows = [_of_row(row, column) for row in records.rows]
    if not any(map(is_number, (v for log in rows for v in (log.final | log.config).values()))):
        raise records.file.error("has no numbers", "give a table with the metrics of runs")
    return dict(zip(numbered(labels), rows, strict=True))


def _wide(records: Records, tags: str) -> Records:
    """The records of a table with a row a value, each value under the name of its metric."""
    rows = [
        {name: value for name, value in row.items() if name not in (tags, "value")}
        | ({str(row[tags]): row["value"]} if tags in row and "value" in row else {})
        for row in records.rows
    ]
    return replace(records, rows=rows)


def numbered(labels: Iterable[str]) -> list[str]:
    """The labels, those that were there before with a number behind them.

    >>> numbered(["a", "b", "a"])
    ['a', 'b', 'a-2']
    """
    taken: dict[str, None] = {}
    for label in labels:
        names = chain([label], (f"{label}-{i}" for i in count(2)))
        taken[next(name for name in names if name not in taken)] = None
    return list(taken)


def _is_status(name: str, value: Any) -> bool:
    """Whether a value says how a run ended."""
    return compact(name) in _STATUS and isinstance(value, str) and value.lower() in _STATES


def _naming(records: Records, names: Iterable[str], repeated: bool) -> str | None:
    """The column that names the run of every row.

    Args:
        records: the table.
        names: of its columns.
        repeated: whether several rows may have one name.
    """
    for known in _NAMED:
        for name in (name for name in names if compact(name) == known):
            values = [row.get(name) for row in records.rows]
            if None not in values and (repeated or len(set(map(str, values))) == len(values)):
                return name
    return None


def _refuse_nameless(records: Records, names: Iterable[str], axes: Iterable[str]) -> None:
    """Raise an error if rows are runs: their sizes differ, and nothing counts steps.

    Raises:
        TableError: they are.
    """
    if axes:
        return
    for name in names:
        if "N" in meanings(name) and len({str(row.get(name)) for row in records.rows}) > 1:
            reason = f"is a table of runs (column {name!r} differs) without a column of their names"
            remedy = "add a column `name`, or give it to `python -m isoloss law` itself"
            raise records.file.error(reason, remedy)


def _of_history(records: Records, names: Iterable[str]) -> dict[str, Log]:
    """The runs of a chart of W&B, whose columns are called `run - metric`.

    Its columns of least and largest values of a line, `run - metric__MIN`, are left out.
    """
    axes = [name for name in names if is_step(name)]
    rows: dict[str, dict[int, Record]] = {}
    for at, row in enumerate(records.rows):
        for name, value in row.items():
            match = _HISTORY.fullmatch(name)
            if match and not match[3] and not is_step(match[2]):
                axis = {axis: row[axis] for axis in axes if axis in row}
                rows.setdefault(match[1], {}).setdefault(at, axis)[match[2]] = value
    return {run: _log(records, points) for run, points in rows.items()}


def _of_points(records: Records, column: str, labels: list[str]) -> dict[str, Log]:
    """The runs of a table with a row a step of each."""
    rows: dict[str, dict[int, Record]] = {}
    for at, (label, row) in enumerate(zip(labels, records.rows, strict=True)):
        own = {name: value for name, value in row.items() if name != column}
        rows.setdefault(label, {})[at] = own
    return {run: _log(records, points) for run, points in rows.items()}


def _log(records: Records, points: Mapping[int, Record]) -> Log:
    places = [records.places[at] for at in points]
    return Records(records.file, list(points.values()), places).log()


def _of_row(row: Record, column: str) -> Log:
    """The run of a row: settings, last values, status; other columns count as settings."""
    config: Record = {}
    final: Record = {}
    status = UNKNOWN
    for name, value in _flat(row).items():
        if _is_status(name, value):
            status = value.lower()
        elif name.startswith(_METRICS):
            final[name[_front(name) :]] = value
        elif name != column and not name.startswith("tags.mlflow."):
            config[name[_front(name) :] if name.startswith(_SETTINGS) else name] = value
    settings = {name: configs.plain(value) for name, value in config.items()}
    return replace(Log.of_settings(settings, (), status), final=final)


def _front(name: str) -> int:
    """The length of the first word of a name, with what parts it from the others."""
    return re.search(r"[./]", name).end()


def _flat(row: Record) -> Record:
    """The row with a column a value, where one has all of `summary` or `config`."""
    whole = {name: _parsed(value) for name, value in row.items() if name in _WHOLE}
    return flattened({**row, **whole})


def _parsed(value: Any) -> Any:
    """A dictionary as Python prints it, which is how pandas writes it into CSV; else the value."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        return ast.literal_eval(_Finite().visit(ast.parse(value, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # any other text, or too deep
        return value


class _Finite(ast.NodeTransformer):
    """Numbers in the place of the names that Python prints for those that are not finite."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """The number that a name stands for; any other name stays, and is refused later."""
        return ast.Constant(_INNER[node.id]) if node.id in _INNER else node
