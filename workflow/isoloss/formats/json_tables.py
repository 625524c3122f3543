"""JSON: a list of runs, columns, all that pandas writes, an object with such a list; JSON Lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from isoloss.core.sources import Source
from isoloss.formats.grid import ROW
from isoloss.formats.numbers import EXACT
from isoloss.formats.table import Parsed, repeated
from isoloss.formats.unpack import CELL, MAX_COLUMNS

TYPED = False
_START = re.compile(r"\s*(?:\[\s*[\[{\]]|\{\s*[\"}])")
_SPACE = re.compile(r"\s*")
_OBJECT = 64  # bytes of a value in memory while it is parsed
_GIVE = "give a list of runs, each an object of names and values, or an object of columns"

Record = dict[str, Any]


def matches(text: str) -> bool:
    """Whether a text begins as JSON does."""
    return _START.match(text) is not None


def read(file: Source, text: str) -> Parsed:
    """The runs of a JSON file; objects inside a run become columns such as `config.lr`.

    Raises:
        TableError: it is not JSON, or not a table.
    """
    check_size(file, text)
    values = list(_values(file, text))
    took = ["JSON Lines" if len(values) > 1 else "JSON"]
    records = values if len(values) > 1 else records_in(file, values[0], took)
    if not all(isinstance(record, dict) for record in records):
        raise file.error("has values that are not objects of names and values", _GIVE)
    return Parsed(_table(file, [flattened(record) for record in records]), tuple(took))


def check_size(file: Source, text: str) -> None:
    """Raise an error if the values of a text of JSON take too much memory.

    Raises:
        TableError: they do.
    """
    if (text.count(",") + text.count(":")) * _OBJECT > file.limits.max_bytes:
        raise file.too_large("its values take more memory")


def _values(file: Source, text: str) -> Iterator[Any]:
    """The values in a text: one, or many behind each other."""

    def known_once(pairs: list[tuple[str, Any]]) -> Record:
        record = dict(pairs)
        if len(record) < len(pairs):
            twice = repeated([name for name, _ in pairs])
            raise file.error(f"an object repeats {twice}", "give each value its own name")
        return record

    decoder = json.JSONDecoder(object_pairs_hook=known_once)
    at = _SPACE.match(text).end()
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            reason = f"line {error.lineno} is not JSON ({error.msg}, character {error.colno})"
            raise file.error(reason, "write it again as JSON, or as CSV") from error
        yield value
        at = _SPACE.match(text, at).end()


# --- from a value to runs ----------------------------------------------------------------------


def records_in(file: Source, value: Any, took: list[str]) -> Sequence[Record]:
    """The runs in one value."""
    if isinstance(value, list):
        return _of_lists(file, value) if value and isinstance(value[0], list) else value
    parts = list(value.values())
    if {"columns", "data"} <= set(value) and _are(list, [value["columns"], value["data"]]):
        return _of_split(file, value)
    if parts and _are(list, parts) and not _are(dict, [cell for part in parts for cell in part]):
        return _of_columns(file, value)
    if parts and _are(dict, parts):
        return _of_objects(value, took)
    lists = [key for key, part in value.items() if _are(list, [part]) and part and _are(dict, part)]
    if len(lists) == 1 or (lists and "data" in lists):
        key = lists[0] if len(lists) == 1 else "data"
        took.append(f"the list {key!r}")
        return value[key]
    return [value]


def _are(kind: type, values: Sequence[Any]) -> bool:
    return all(isinstance(value, kind) for value in values)


def _of_lists(file: Source, lists: list[list]) -> list[Record]:
    """Runs of lists under a list of names."""
    names, *rows = lists
    if not _are(str, names):
        raise file.error("is lists without names", "make the first list the names of the columns")
    return _named(file, names, rows)


def _named(file: Source, names: Sequence[Any], rows: Sequence[Any]) -> list[Record]:
    """Runs of lists, whose values have these names."""
    names = ["/".join(map(str, n)) if isinstance(n, list) else str(n) for n in names]
    if len(set(names)) < len(names):
        raise file.error(f"repeats the names {repeated(names)}", "give each column its own name")
    for i, row in enumerate(rows, 1):
        if not isinstance(row, list) or len(row) != len(names):
            count = len(row) if isinstance(row, list) else "no"
            reason = f"row {i} has {count} values, the names are {len(names)}"
            raise file.error(reason, "give every row one value for each name")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _of_split(file: Source, value: Record) -> list[Record]:
    """Runs as pandas writes them with `orient="split"`."""
    records = _named(file, value["columns"], value["data"])
    index = value.get("index", [])
    if isinstance(index, list) and len(index) == len(records) and _are(str, index):
        return [{ROW: label, **record} for label, record in zip(index, records, strict=True)]
    return records


def _of_columns(file: Source, columns: Record) -> list[Record]:
    """Runs of lists of equal length, one a column."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        first, *others = lengths
        other = next(name for name in others if lengths[name] != lengths[first])
        reason = f"{first!r} has {lengths[first]} values, {other!r} {lengths[other]}"
        raise file.error(reason, "give every column one value for each run")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _of_objects(value: Record, took: list[str]) -> list[Record]:
    """Runs of objects in an object: a column each (`orient="columns"`), or a run each."""
    numbered = all(key.isdigit() for key in value)
    inner = {key for part in value.values() for key in part}
    plain = not any(isinstance(cell, dict) for part in value.values() for cell in part.values())
    if plain and not numbered and inner and all(key.isdigit() for key in inner):
        labels = dict.fromkeys(key for part in value.values() for key in part)
        return [{name: part.get(label) for name, part in value.items()} for label in labels]
    if not numbered:
        took.append("an object a run")
        return [{ROW: name, **record} for name, record in value.items()]
    return list(value.values())


def flattened(record: Mapping[str, Any], above: str = "") -> Record:
    """A run with the values of objects inside it under joined names, such as `config.lr`."""
    flat: Record = {}
    for name, value in record.items():
        if isinstance(value, list) and value and _are_pairs(value):
            value = {str(pair["key"]): pair["value"] for pair in value}  # as MLflow writes
        if isinstance(value, dict):
            flat |= flattened(value, f"{above}{name}.")
        else:
            flat[f"{above}{name}"] = value
    return flat


def _are_pairs(values: list) -> bool:
    return all(isinstance(value, dict) and {"key", "value"} <= set(value) for value in values)


# --- from runs to columns ----------------------------------------------------------------------


def _table(file: Source, records: list[Record]) -> pd.DataFrame:
    names = list(dict.fromkeys(name for record in records for name in record))
    if len(names) > MAX_COLUMNS:
        reason = f"has more than {MAX_COLUMNS} columns"
        raise file.error(reason, "remove the columns that are not needed")
    if len(names) * len(records) * CELL > file.limits.max_bytes:
        raise file.too_large(f"its {len(records)} runs take more memory")
    columns = {name: column_of([record.get(name) for record in records]) for name in names}
    return pd.DataFrame(columns, index=range(len(records)))


def column_of(values: list[Any]) -> pd.Series:
    """Numbers where all values are, else texts; whole numbers that are not exact are texts."""
    known = [value for value in values if value is not None]
    if known and all(type(value) is bool for value in values):
        return pd.Series(values, dtype=bool)
    if all(type(value) in (int, float) for value in known):
        whole = [value for value in known if type(value) is int]
        most = 2**63 - 1 if len(whole) == len(values) else EXACT
        if len(whole) < len(known) or all(abs(value) <= most for value in whole):
            return pd.Series(values, dtype="int64" if len(whole) == len(values) else float)
    return pd.Series([_written(value) for value in values], dtype="str")


def _written(value: Any) -> str | None:
    """A value as text; lists as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return None if value != value else repr(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)
