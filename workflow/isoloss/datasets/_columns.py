"""Rows from the columns of a user's table: which column is the text, the id, a tag, the group.

The cards that read tables share these options, and the way from an Arrow table of the user's
columns to the columns that `pieces` of a dataset card gives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from isoloss.core.problems import IsolossError, Problem, nearest

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONS = {
    "text": {
        "type": "string",
        "minLength": 1,
        "default": "text",
        "description": "Column of the text; dots reach into structs: meta.text.",
    },
    "id": {
        "type": "string",
        "default": "",
        "description": "Column of an id, unique for every row; empty for a hash of the content.",
    },
    "tags": {
        "type": "object",
        "additionalProperties": {"type": "string", "minLength": 1},
        "default": {},
        "description": "Tag key to the column of its values. Numbers, booleans and dates become "
        "text; a row whose value is null or empty does not have the tag.",
    },
    "path_tags": "path_tags",
    "maps": "maps",
    "group": {
        "type": "string",
        "default": "",
        "description": "Column of a name that rows have in common which must be on one side, such "
        "as the document; empty where every row is a group of its own.",
    },
    "split": {
        "type": "string",
        "default": "",
        "description": "Column whose values are train, valid (or validation) and test; empty where "
        "a hash of the group decides.",
    },
}
_IN_NAME, _IN_PATH = 4, 12  # names in braces and * that a pattern can have
SIDES = {"train": "train", "valid": "valid", "validation": "valid", "test": "test"}


@dataclass(frozen=True)
class Columns:
    """What the columns of a user's table are: the options `OPTIONS`.

    Attributes:
        text: column of the text.
        id: column of the row's id; empty for none.
        tags: tag key to column.
        path_tags: pattern of the end of a file's path; empty for none.
        maps: tag key to a map of its values.
        group: column of the group; empty for none.
        split: column of the side; empty for none.

    Example:
        >>> columns = Columns(tags={"lang": "meta.lang"}, path_tags="{domain}/*.jsonl")
        >>> columns.names, columns.tag_keys
        (['text', 'meta.lang'], ['lang', 'domain'])
        >>> columns.of_path("data/web/1.jsonl")
        {'domain': 'web'}
    """

    text: str = "text"
    id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    path_tags: str = ""
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    group: str = ""
    split: str = ""

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> Columns:
        """The columns that the options of a card name, its other options left out.

        Raises:
            IsolossError: two options contradict each other.
        """
        return cls(**{one.name: options[one.name] for one in fields_of(cls) if one.name in options})

    def __post_init__(self):
        of_path = list(self._path.groupindex)
        problems = [
            Problem(f"path_tags, {{{key}}}", "`tags` has this key too", "name it in one of them")
            for key in of_path
            if key in self.tags
        ]
        problems += [
            Problem(f"maps.{key}", "no tag has this key", nearest(key, self.tag_keys))
            for key in self.maps
            if key not in self.tag_keys
        ]
        if "" in self.tags:
            problems.append(Problem("tags", "a tag key is empty", "name the tag"))
        if self.path_tags and not of_path:
            remedy = "write the tag's key in braces, such as {domain}/*.jsonl"
            problems.append(Problem("path_tags", f"{self.path_tags!r} names no tag", remedy))
        if problems:
            raise IsolossError(*problems)

    @property
    def names(self) -> list[str]:
        """The columns that are read, each once."""
        given = (self.text, self.id, *self.tags.values(), self.group, self.split)
        return list(dict.fromkeys(name for name in given if name))

    @property
    def tag_keys(self) -> list[str]:
        """The keys of the tags that rows have."""
        return [*self.tags, *self._path.groupindex]

    @cached_property
    def _path(self) -> re.Pattern[str]:
        """`path_tags` as a regular expression."""
        return pattern_of(self.path_tags)

    def of_path(self, file: str) -> dict[str, str]:
        """The tags that a file's path gives.

        Raises:
            IsolossError: the path does not have the pattern.
        """
        if not self.path_tags:
            return {}
        if (match := self._path.search(file)) is None:
            reason = f"its path does not end in path_tags: {self.path_tags!r}"
            raise IsolossError(Problem(file, reason, "change the pattern, or leave out the file"))
        return {
            key: self._mapped(key).get(value, value) for key, value in match.groupdict().items()
        }

    def _mapped(self, key: str) -> Mapping[str, str]:
        """Old to new values of a tag."""
        return self.maps.get(key, {})

    def check(self, schema: pa.Schema, file: str) -> None:
        """Check that a table has the columns, and that text and ids can be what they are.

        Args:
            schema: of the table.
            file: named in errors.

        Raises:
            IsolossError: columns are not there, twice there or of another type, with all of them.
        """
        twice = [
            Problem(file, f"two columns are called {name!r}", "rename one of them")
            for name in self.names
            if _is_twice(schema, name)
        ]
        if twice:
            raise IsolossError(*twice)
        types = {name: _type_of(schema, name) for name in self.names}
        known = list(_leaves(schema))
        problems = [
            Problem(file, f"no column {name!r}", nearest(name, known))
            for name, kind in types.items()
            if kind is None
        ]
        texts = [n for n, kind in _leaves(schema).items() if _is_text(kind)]
        if types[self.text] is not None and not _is_text(types[self.text]):
            reason = f"column {self.text!r} is of type {types[self.text]}, not text"
            problems.append(Problem(file, reason, f"name a column of text; {nearest('', texts)}"))
        if self.id and types[self.id] is not None and not _is_id(types[self.id]):
            reason = f"column {self.id!r} is of type {types[self.id]}, not text or whole numbers"
            problems.append(Problem(file, reason, "name another column as `id`"))
        if problems:
            raise IsolossError(*problems)

    def pieces(
        self, table: pa.Table, file: str, line: int | Sequence[int] = 1, path: str | None = None
    ) -> pa.Table:
        """The rows of a table, as `pieces` of a dataset card gives them.

        Args:
            table: with the columns `names`, or structs that they are in. One that it lacks is null.
            file: that the rows are from.
            line: number of the first row in the file, from 1, or of each.
            path: that `path_tags` is about; None for that of the file.

        Returns:
            Columns `text`, `tags`, `group`, `split` and `row_id` where columns of them are given,
            `file`, `line`, and `problem`: why a row cannot be used; null where it can.

        Raises:
            IsolossError: the file's path does not have the pattern of `path_tags`.
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        rows, problems = table.num_rows, [pa.nulls(table.num_rows, pa.string())]

        def column(name: str, numbers: str = "") -> pa.Array:
            values, problem = _as_text(column_of(table, name), name, numbers)
            problems.append(problem)
            return values

        columns = {"text": column(self.text)}
        if self.id:
            columns["row_id"] = column(self.id, "whole")
        if self.split:
            columns["split"], problem = _sides(column(self.split), self.split)
            problems.append(problem)
        columns["group"] = column(self.group, "all")
        tags = {key: self._renamed(key, column(name, "all")) for key, name in self.tags.items()}
        of_path = {key: pa.repeat(value, rows) for key, value in self.of_path(path or file).items()}
        columns["tags"] = _maps_of(tags | of_path, rows)
        lines = np.arange(line, line + rows) if isinstance(line, int) else line
        columns |= {"file": pa.repeat(file, rows), "line": pa.array(lines, pa.int64())}
        return pa.table(columns | {"problem": pc.coalesce(*problems)}).select(self.fields)

    def unusable(self, file: str, reasons: Mapping[int, str]) -> pa.Table:
        """Rows that could not be read, as `pieces` gives them.

        Args:
            file: that they are from.
            reasons: number of a row, from 1, to the reason.
        """
        import pyarrow as pa

        table = self.pieces(pa.table({"": pa.nulls(len(reasons))}), file, list(reasons))
        place = table.column_names.index("problem")
        return table.set_column(place, "problem", pa.array(reasons.values(), pa.string()))

    @property
    def fields(self) -> list[str]:
        """The columns of `pieces`."""
        given = {"row_id": self.id, "split": self.split}
        names = ("row_id", "text", "tags", "group", "split", "file", "line", "problem")
        return [name for name in names if given.get(name, True)]

    def _renamed(self, key: str, values: pa.Array) -> pa.Array:
        """The values of a tag after its map."""
        import pyarrow as pa
        import pyarrow.compute as pc

        new = self._mapped(key)
        if not new:
            return values
        at = pc.index_in(values, pa.array(new, pa.string()), skip_nulls=True)
        return pc.coalesce(pa.array(new.values(), pa.string()).take(at), values)


def tag_keys(**options: Any) -> list[str]:
    """The keys of the tags that a card's rows have; its options."""
    return Columns.of_options(options).tag_keys


def pattern_of(pattern: str, option: str = "path_tags") -> re.Pattern[str]:
    """The regular expression of a pattern of a path, or of its end.

    Args:
        pattern: with names in braces for groups, * for any text without /, **/ for any folders.
        option: that it is; `path_tags` is about the end of a path, from the start of a name on.

    >>> pattern_of("{domain}/*.txt").search("a/web/b.txt")["domain"]
    'web'

    Raises:
        IsolossError: its braces are not closed, a name in them appears twice or cannot be a name,
            or two paths of tags in one name are possible.
    """
    parts = [part for part in re.split(r"(\{[^{}]*\}|\*\*/|\*+)", pattern) if part]
    if wrong := _fault_of_pattern(parts):
        raise IsolossError(Problem(option, f"{pattern!r} {wrong[0]}", wrong[1]))
    anything = {"*": "[^/]*", "**": ".*", "**/": "(?:.*/)?"}
    text = "".join(
        f"(?P<{part[1:-1]}>[^/]+?)" if part.startswith("{") else anything.get(part, re.escape(part))
        for part in parts
    )
    start = "(?:^|/)" if option == "path_tags" else "^"
    try:
        return re.compile(f"{start}{text}\\Z", re.DOTALL)
    except re.error as error:
        reason = f"{pattern!r} cannot be used ({error.msg})"
        remedy = "name each tag once in braces, by letters, digits and _"
        raise IsolossError(Problem(option, reason, remedy)) from error


def _fault_of_pattern(parts: Sequence[str]) -> tuple[str, str] | None:
    """What is wrong with the parts of a pattern, and what to do; None where it has one meaning."""
    if any((part[0] + part[-1] != "{}") and set(part) & set("{}") for part in parts):
        return "has a brace without its other half", "write the tag's key in braces, as {domain}"
    signs = [len(re.findall(r"\{[^{}]*\}|\*+", name)) for name in "".join(parts).split("/")]
    if max(signs) > _IN_NAME or sum(signs) > _IN_PATH:  # trying all the ways takes for ever
        reason = f"has {max(signs)} signs for other text in one name, {sum(signs)} in all"
        return reason, f"{_IN_NAME} and {_IN_PATH} are allowed"
    for one, after in pairwise(parts):
        if one != "**/" and one[0] in "{*" and after[0] in "{*" and "{" in one + after:
            remedy = "put what stands between them in the paths, such as / or -"
            return f"has nothing between {one} and {after}", remedy
        if one == "**" or (after.startswith("**") and not one.endswith("/")):
            return f"has ** beside {after if one == '**' else one}", "write it as a folder: **/"
    return None


def column_of(table: pa.Table, name: str) -> pa.Array:
    """A column, or a field of a struct by dots; nulls where the table lacks it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = name in table.column_names
    first, *below = [name] if whole else name.split(".")
    if first not in table.column_names:
        return pa.nulls(table.num_rows)
    values = table[first].combine_chunks()
    for part in below:
        if not pa.types.is_struct(values.type) or values.type.get_field_index(part) < 0:
            return pa.nulls(table.num_rows)
        values = pc.struct_field(values, part)
    return values


def _leaves(fields: Iterable[pa.Field], above: str = "") -> dict[str, pa.DataType]:
    """The columns of a schema by name, structs resolved by dots."""
    import pyarrow.types as types

    leaves: dict[str, Any] = {}
    for one in fields:
        if types.is_struct(one.type):
            leaves |= _leaves(one.type, f"{above}{one.name}.")
        else:
            leaves[above + one.name] = one.type
    return leaves


def _type_of(schema: pa.Schema, name: str) -> pa.DataType | None:
    """The type of a column, or of a field of a struct by dots; None where there is none."""
    whole = {one.name: one.type for one in schema}
    return (_leaves(schema) | whole).get(name)


def _is_twice(fields: Iterable[pa.Field], name: str) -> bool:
    """Whether two columns have a name, or two fields of the struct that dots lead to."""
    import pyarrow.types as types

    first, _, rest = name.partition(".")
    whole = [one for one in fields if one.name == name]
    above = [one for one in fields if one.name == first]
    if whole or not rest:
        return len(whole) > 1
    inside = [one.type for one in above if types.is_struct(one.type)]
    return len(above) > 1 or any(_is_twice(list(kind), rest) for kind in inside)


def _is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of text: strings, bytes, categories of them, or nothing but null."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    checks = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary)
    checks += (types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
    return types.is_null(kind) or any(check(kind) for check in checks)


def _is_id(kind: pa.DataType) -> bool:
    """Whether a type is one of ids."""
    import pyarrow.types as types

    return _is_text(kind) or types.is_integer(kind)


def _as_text(values: pa.Array, name: str, numbers: str) -> tuple[pa.Array, pa.Array]:
    """The values of a column as text, and why one cannot be text; both null elsewhere.

    Args:
        values: of the column.
        name: of the column, for the reasons.
        numbers: which other values become text: `whole` numbers, `all` (numbers, booleans, times),
            or none of them if empty.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as types

    kind, none = values.type, pa.nulls(len(values), pa.string())
    if types.is_null(kind):
        return none, none
    if types.is_dictionary(kind):
        return _as_text(values.dictionary_decode(), name, numbers)
    if _is_text(kind):
        return _utf8(values, name)
    if types.is_floating(kind) and numbers == "all":
        finite = pc.is_finite(values)
        reason = pa.scalar(f"column {name!r} is NaN or infinite", pa.string())
        text = pc.cast(values, pa.string())
        return pc.if_else(finite, text, None), pc.if_else(pc.invert(finite), reason, None)
    plain = types.is_boolean(kind) or types.is_decimal(kind) or types.is_temporal(kind)
    if (types.is_integer(kind) and numbers) or (plain and numbers == "all"):
        return pc.cast(values, pa.string()), none
    needed = {"": "text", "whole": "text or a whole number", "all": "text or a number"}[numbers]
    reason = pa.scalar(f"column {name!r} is {_called(kind)}, not {needed}", pa.string())
    return none, pc.if_else(pc.is_valid(values), reason, None)


def _called(kind: pa.DataType) -> str:
    """What a value of a type is called."""
    import pyarrow.types as types

    if types.is_boolean(kind):
        return "true or false"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "a number"
    if types.is_nested(kind):
        return "an object" if types.is_struct(kind) or types.is_map(kind) else "a list"
    return f"of type {kind}"


def _utf8(values: pa.Array, name: str) -> tuple[pa.Array, pa.Array]:
    """Texts that are UTF-8, and where the others are not."""
    import pyarrow as pa

    content = values.cast(pa.binary())
    try:
        return content.cast(pa.string()), pa.nulls(len(content), pa.string())
    except pa.ArrowInvalid:  # at least one is not
        texts: list[str | None] = []
        reasons: list[str | None] = []
        for text in content.to_pylist():
            at = None if text is None else not_utf8(text)
            texts.append(None if text is None or at else text.decode())
            reasons.append(f"column {name!r} is not UTF-8 (byte {at})" if at else None)
        return pa.array(texts, pa.string()), pa.array(reasons, pa.string())


def not_utf8(text: bytes) -> int | None:
    r"""The number, from 1, of the first byte that is not UTF-8; None if all are.

    >>> not_utf8(b"M\xfcnchen")
    2
    """
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.start + 1
    return None


def _sides(values: pa.Array, name: str) -> tuple[pa.Array, pa.Array]:
    """The splits of rows, and why a row has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    sides = pa.array(SIDES.values()).take(pc.index_in(values, pa.array(SIDES)))
    head, tail = f"column {name!r} is not train, valid or test (", ")"
    reasons = pc.binary_join_element_wise(head, pc.fill_null(values, "null"), tail, "")
    return sides, pc.if_else(pc.is_null(sides), reasons, None)


def _maps_of(tags: Mapping[str, pa.Array], rows: int) -> pa.Array:
    """Tags as maps, one a row; a value that is null or empty is left out."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    keys, columns = list(tags), list(tags.values())
    present = np.zeros((rows, len(keys)), dtype=bool)
    for k, values in enumerate(columns):
        full = pc.and_kleene(pc.is_valid(values), pc.not_equal(values, ""))
        present[:, k] = pc.fill_null(full, False).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int32)
    row, key = np.nonzero(present)
    names = pa.array(keys, pa.string()).take(pa.array(key))
    content = pa.concat_arrays([pa.nulls(0, pa.string()), *columns])
    values = content.take(pa.array(key * rows + row))
    kind = pa.map_(pa.string(), pa.string())
    return pa.MapArray.from_arrays(pa.array(offsets), names, values, type=kind)


def in_parts(table: pa.Table, most_bytes: int = 1 << 25) -> Iterator[tuple[int, pa.Table]]:
    """A table in parts of about so many bytes or less, each with the position of its first row."""
    rows = max(1, table.num_rows * most_bytes // max(table.nbytes, 1))
    for first in range(0, table.num_rows, rows):
        yield first, table.slice(first, rows)


def in_order(parts: Sequence[pa.Table]) -> pa.Table:
    """Tables of pieces as one, by line."""
    import numpy as np
    import pyarrow as pa

    whole = pa.concat_tables(parts)
    return whole.take(np.argsort(whole["line"].to_numpy()))
