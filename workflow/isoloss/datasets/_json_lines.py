"""Read JSON Lines in blocks: by Arrow where all is well, line by line where it is not.

Both ways give the same rows. Arrow's reader is faster and takes less memory, but it needs one type
for a field, and does not say which line is wrong.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.datasets._columns import Columns, column_of, in_order
from isoloss.datasets._files import File, is_json

if TYPE_CHECKING:
    import pyarrow as pa

_LOOKED_AT = 100  # lines, to tell whether a file is JSON Lines
_TWICE = object()  # the value of a key that an object has more than once
_LARGE = object()  # a whole number beyond 64 bits
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}


class Reader:
    """Reads the rows of several files, and notes which columns they have.

    Args:
        columns: what is read.
    """

    def __init__(self, columns: Columns):
        self.columns = columns
        self._lacking = list(columns.names)  # columns that no row has had so far
        self._keys: dict[str, None] = {}  # of the first object of each file
        self._last = ""  # name of the last file that had rows

    def rows(self, file: File) -> Iterator[pa.Table]:
        """The rows of a file, block by block, as `Columns.pieces` gives them.

        Raises:
            IsolossError: the file cannot be read, is damaged, or is not JSON Lines.
        """
        names = self.columns.names
        for line, block in file.blocks():
            if not (start := block.lstrip()):
                continue
            first = _row(start.split(b"\n", 1)[0])
            if line == 1:
                self._keys |= dict.fromkeys(_paths(first or {}))
                if first is None:
                    _refuse_other(file, start)
            self._last = file.label
            read = None if first is None else _by_arrow(block, names, first)
            if read is None:
                yield self._line_by_line(block, file.label, line)
            else:
                table, offsets = read
                yield self._pieces(table, file.label, [line + offset for offset in offsets])

    def check_columns(self) -> None:
        """Check, after all files, that some row had each column.

        Raises:
            IsolossError: none had, with all such columns.
        """
        lacking = [name for name in self._lacking if name not in self._keys]
        if self._last and lacking:
            reasons = [
                Problem(self._last, f"no row has the field {name!r}", nearest(name, self._keys))
                for name in lacking
            ]
            raise IsolossError(*reasons)

    def _pieces(self, table: pa.Table, file: str, lines: Sequence[int]) -> pa.Table:
        """`Columns.pieces` of a table whose columns are noted."""
        self._lacking = [
            name for name in self._lacking if column_of(table, name).null_count == len(table)
        ]
        return self.columns.pieces(table, file, lines)

    def _line_by_line(self, block: bytes, file: str, first: int) -> pa.Table:
        """The rows of a block of which some cannot be read, or whose fields vary in type."""
        import pyarrow as pa

        names = self.columns.names
        reasons: dict[int, str] = {}
        alike: dict[tuple, list] = defaultdict(list)  # (line, values) of rows with the same types
        for line, text in enumerate(block.split(b"\n"), first):
            if text.strip():
                try:
                    row = _at(_object_in(text), names)
                    self._lacking = [name for name in self._lacking if row[name] is None]
                    values = [_plain(value, name) for name, value in row.items()]
                except ValueError as error:
                    reasons[line] = str(error)
                else:
                    alike[tuple(map(type, values))].append((line, values))
        parts = [self.columns.unusable(file, reasons)]
        for kinds, rows in alike.items():
            lines, values = zip(*rows, strict=True)
            arrays = map(_array, kinds, zip(*values, strict=True))
            parts.append(self._pieces(pa.table(dict(zip(names, arrays, strict=True))), file, lines))
        return in_order(parts)


def _refuse_other(file: File, start: bytes) -> None:
    """Raise an error if a file is of another kind: one JSON array, or without an object.

    Args:
        file: whose first line is not an object.
        start: its first lines.
    """
    lines = [line for line in start.split(b"\n", _LOOKED_AT)[:_LOOKED_AT] if line.strip()]
    if not any(map(is_json, lines)):
        remedy = "load a table with a separator by the card csv, other text by text_folder"
        raise file.error(f"is not JSON Lines: none of its first {len(lines)} lines is", remedy)
    if not start.startswith(b"["):
        return
    try:  # the first line may also be a list by itself
        json.loads(lines[0])
    except (ValueError, RecursionError) as error:
        remedy = "write every object into a line of its own (jq -c '.[]')"
        raise file.error("is one JSON array and not JSON Lines", remedy) from error


def _by_arrow(
    block: bytes, names: Sequence[str], first: Mapping[str, Any]
) -> tuple[pa.Table, Sequence[int]] | None:
    """The fields of the objects in whole lines, and the line of each, counted from 0.

    None if a line is not an object, or a field has other types than in the first.

    Args:
        block: the lines.
        names: of the fields; dots reach into objects.
        first: the first object.
    """
    import pyarrow as pa
    import pyarrow.json as pj

    schema = _schema(first, names)
    if schema is None:
        return None
    reading = pj.ReadOptions(use_threads=False, block_size=len(block) + 1)
    parsing = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        table = pj.read_json(pa.BufferReader(block), reading, parsing)
    except pa.ArrowException:
        return None
    lines = block.count(b"\n") + (not block.endswith(b"\n"))
    if table.num_rows == lines:
        return table, range(lines)
    full = [n for n, text in enumerate(block.split(b"\n")) if text.strip()]
    return (table, full) if len(full) == table.num_rows else None


def _schema(first: Mapping[str, Any], names: Sequence[str]) -> pa.Schema | None:
    """Types of fields as an object has them; None where Arrow would need more than that."""
    import pyarrow as pa

    types = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    tree: dict[str, Any] = {}
    for name, value in _at(first, names).items():
        kind = pa.string() if value is None else types.get(type(value))
        *above, last = [name] if name in first else name.split(".")
        branch = tree
        for part in above:
            branch = branch.setdefault(part, {})
            if not isinstance(branch, dict):  # a field is asked for, and a part of it
                return None
        if kind is None or last in branch:
            return None
        branch[last] = kind

    def struct(branch: Mapping[str, Any]) -> list[pa.Field]:
        kinds = {n: pa.struct(struct(b)) if isinstance(b, dict) else b for n, b in branch.items()}
        return [pa.field(n, kind) for n, kind in kinds.items()]

    return pa.schema(struct(tree))


def _object_in(text: bytes) -> dict[str, Any]:
    """The object in a line.

    Raises:
        ValueError: it is not an object; the message says why.
    """
    try:
        line = text.decode("utf-8", "surrogateescape")
        row = json.loads(line, object_pairs_hook=_object, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg}, column {error.colno})") from error
    except RecursionError as error:
        raise ValueError("not JSON (nested too deep)") from error
    except ValueError as error:
        raise ValueError(f"not JSON that can be read ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"{_KINDS.get(type(row), 'a number or null')}, not an object")
    return row


def _row(text: bytes) -> dict[str, Any] | None:
    """The object in a line; None if it is not one."""
    try:
        return _object_in(text)
    except ValueError:
        return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose repeated keys have the value _TWICE."""
    row = dict(pairs)
    if len(row) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            row[key] = _TWICE if key in seen else row[key]
            seen.add(key)
    return row


def _whole_number(text: str) -> Any:
    """A whole number, or _LARGE."""
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        return _LARGE
    return int(text)


def _at(row: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The values of fields; of a part of one, by dots, unless a field is called so; None if absent.

    >>> _at({"a": {"b": 1}, "c.d": 2}, ["a.b", "c.d", "e"])
    {'a.b': 1, 'c.d': 2, 'e': None}
    """
    values = {}
    for name in names:
        value: Any = row
        for part in [name] if name in row else name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        values[name] = value
    return values


def _paths(row: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The names of the fields of an object and, by dots, of their parts."""
    for key, value in row.items():
        yield above + key
        if isinstance(value, dict):
            yield from _paths(value, f"{above}{key}.")


def _plain(value: Any, name: str) -> Any:
    """A field's value with texts as bytes, which may not be UTF-8.

    Raises:
        ValueError: it cannot be kept; the message says why.
    """
    if value is _TWICE:
        raise ValueError(f"the key {name!r} appears twice in the object")
    if value is _LARGE:
        raise ValueError(f"column {name!r} is a number beyond 64 bits")
    if not isinstance(value, str):
        return value
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ValueError(f"column {name!r} has half of a surrogate pair") from error


def _array(kind: type, values: Sequence[Any]) -> pa.Array:
    """Values of one kind as Arrow has them; of lists and objects only that they are such."""
    import pyarrow as pa

    if kind is list:
        return pa.array([[]] * len(values), pa.list_(pa.null()))
    if kind is dict:
        return pa.array([{}] * len(values), pa.struct([]))
    types = {bytes: pa.binary(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return pa.array(values, types.get(kind, pa.null()))
