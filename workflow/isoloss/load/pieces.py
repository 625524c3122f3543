"""The pieces of a dataset in batches of one form, whatever form its card gives them in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core import tables
from isoloss.core.problems import IsolossError, Problem
from isoloss.core.tag_codes import flat_tags
from isoloss.load.dropped import Dropped

BATCH_BYTES = 1 << 25  # text or features of a batch
MOST_BYTES = 1 << 30  # of a text
SPLITS = ("train", "valid", "test")
# what every row has beside its content; a card leaves out what it does not know
TYPES = {
    "row_id": pa.string(),
    "label": pa.int64(),
    "tags": pa.map_(pa.string(), pa.string()),
    "group": pa.string(),
    "split": pa.string(),
    "file": pa.string(),
    "line": pa.int64(),
}
_FURTHER = {"text", "features", "problem"}
_NO_TAGS = pa.scalar([], TYPES["tags"])


@dataclass
class Pieces:
    """The sound rows of a dataset, batch by batch.

    Attributes:
        place: the dataset, for messages.
        dropped: where rows go that are not sound.
        has_ids: whether the card gives rows an id; known from the first piece on.
        count: pieces so far.

    Args:
        pieces: what a card's `pieces` gives.
    """

    place: str
    pieces: Iterable[Mapping[str, Any] | pa.Table]
    dropped: Dropped
    has_ids: bool = False
    count: int = 0
    _size: int = field(default=0, init=False)
    _tables: list[pa.Table] = field(default_factory=list, init=False)
    _rows: int = field(default=0, init=False)
    _first_image: np.ndarray | None = field(default=None, init=False)

    def batches(self) -> Iterator[pa.Table]:
        """Batches of at most BATCH_ROWS rows, and of hardly more than BATCH_BYTES of content.

        Where a batch ends depends on the rows alone and not on the tables that a card gives,
        unless these are large: a table of an eighth of a batch is not joined with those before it,
        which would copy it.

        Yields:
            Tables with `number` (of the piece, from 1), `text` (binary) or `features` (a tensor
            with a row for each), and the columns of TYPES.
        """
        for table in self._given():
            sound = self._sound(table)
            if not len(sound):
                continue
            sizes = np.cumsum(_sizes(sound))
            begin = before = 0
            if self._tables and sizes[-1] >= BATCH_BYTES // 8:
                yield self._batch()
            while begin < len(sound):
                full = int(np.searchsorted(sizes, before + BATCH_BYTES - self._size)) + 1
                end = min(full, begin + tables.BATCH_ROWS - self._rows, len(sound))
                self._tables.append(sound.slice(begin, end - begin))
                self._size += int(sizes[end - 1]) - before
                self._rows += end - begin
                begin, before = end, int(sizes[end - 1])
                if self._size >= BATCH_BYTES or self._rows == tables.BATCH_ROWS:
                    yield self._batch()
        if self._tables:
            yield self._batch()

    def _batch(self) -> pa.Table:
        """The rows that are waiting, as one table of one chunk."""
        try:
            table = pa.concat_tables(self._tables)
        except pa.ArrowException as error:
            reason, remedy = f"its rows are of several kinds ({error})", "change the card"
            raise IsolossError(Problem(self.place, reason, remedy)) from error
        self._tables, self._size, self._rows = [], 0, 0
        return table.combine_chunks() if table["number"].num_chunks > 1 else table

    def _given(self) -> Iterator[pa.Table]:
        """The pieces in tables; rows that are given one by one are gathered."""
        pieces = iter(self.pieces)
        for first in pieces:
            if not self.count:
                names = first.column_names if isinstance(first, pa.Table) else first
                self.has_ids = "row_id" in names
            if isinstance(first, pa.Table):
                yield from _cut(first)
                continue
            gathered, after = _gathered(first, pieces)
            yield self._table_of(gathered)
            if after is not None:
                yield from _cut(after)

    def _table_of(self, rows: list[Mapping[str, Any]]) -> pa.Table:
        """Rows that were given one by one as a table."""
        columns = {
            name: pa.array([row.get(name) for row in rows], kind)
            for name, kind in TYPES.items()
            if name != "tags"
        }
        tags = [None if row.get("tags") is None else list(row["tags"].items()) for row in rows]
        columns["tags"] = pa.array(tags, TYPES["tags"])
        problems = [row.get("problem") for row in rows]
        if any(row.get("features") is not None for row in rows):
            images = [row.get("features") for row in rows]
            columns["features"] = self._of_one_size(images, problems)
        else:
            columns["text"] = pa.array([row.get("text") for row in rows], pa.large_binary())
        return pa.table(columns | {"problem": pa.array(problems, pa.string())})

    def _of_one_size(
        self, images: list[np.ndarray | None], problems: list[str | None]
    ) -> pa.ExtensionArray:
        """Images as a tensor; null where there is none or it is not like the dataset's first one.

        Args:
            images: of rows in order, at least one of them.
            problems: why each row cannot be given; a reason is set where an image is another size.
        """
        if self._first_image is None:
            self._first_image = next(image for image in images if image is not None)
        one = self._first_image
        for i, image in enumerate(images):
            if image is not None and (image.shape, image.dtype) != (one.shape, one.dtype):
                sizes = f"({_size(image)}, where the first has {_size(one)})"
                problems[i] = problems[i] or f"an image of another size {sizes}"
                images[i] = None
        return _tensor(images, one)

    def _check(self, table: pa.Table) -> None:
        """Raise an error for a table that a card must not give."""
        names = table.column_names
        unknown = sorted(set(names) - TYPES.keys() - _FURTHER)
        reason, remedy = "", f"change the card: text or features, {', '.join(TYPES)}, problem"
        if unknown or not {"text", "features"} & set(names):
            what = f"the column {unknown[0]!r}" if unknown else "neither text nor features"
            reason = f"its rows have {what}"
        elif "text" in names and not _is_text(table["text"].type):
            reason = f"its column text is {table['text'].type}"
        elif not self.has_ids and "row_id" in names and table["row_id"].null_count < len(table):
            reason = "some rows have a row_id, and the first has none"
            remedy = "change the card: all rows have one, or none"
        if reason:
            raise IsolossError(Problem(self.place, reason, remedy))

    def _sound(self, table: pa.Table) -> pa.Table:
        """The rows of a table that can be used, in the form of a batch; the others are dropped."""
        self._check(table)
        numbers = pa.array(np.arange(self.count + 1, self.count + 1 + len(table)))
        self.count += len(table)
        reasons = _reasons(table, self.has_ids)
        columns = {"number": numbers} | {n: self._column(table, n) for n in TYPES}
        rows = pa.table(columns)
        name = "text" if "text" in table.column_names else "features"
        content = table[name]
        if reasons.null_count < len(table):
            sound = pc.is_null(reasons)
            self.dropped.add(rows.filter(pc.invert(sound)), reasons.drop_null())
            content, rows = content.filter(sound), rows.filter(sound)
        return rows.append_column(name, content.cast(pa.binary()) if name == "text" else content)

    def _column(self, table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
        """A column in its type; empty if the table has none."""
        if name not in table.column_names:
            nothing = pa.nulls(len(table), TYPES[name])
            return pc.fill_null(nothing, _NO_TAGS) if name == "tags" else nothing
        try:
            column = table[name].cast(TYPES[name])
        except pa.ArrowException as error:
            place = f"{self.place}, column {name}"
            reason = f"is {table[name].type}, not {TYPES[name]} ({error})"
            raise IsolossError(Problem(place, reason, "change the card")) from error
        if name == "tags" and column.null_count:
            column = pc.if_else(pc.is_null(column), _NO_TAGS, column)
        return column


def _is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are text or bytes, or all null."""
    known = {pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.null()}
    return kind in known


def _gathered(
    first: Mapping[str, Any], pieces: Iterator[Mapping[str, Any] | pa.Table]
) -> tuple[list[Mapping[str, Any]], pa.Table | None]:
    """Rows until there are enough for a batch, and the table after them if that ended them."""
    rows, size = [], 0
    for piece in chain([first], pieces):
        if isinstance(piece, pa.Table):
            return rows, piece
        rows.append(piece)
        content = piece.get("features")
        size += len(piece.get("text") or b"") if content is None else content.nbytes
        if len(rows) == tables.BATCH_ROWS or size >= BATCH_BYTES:
            break
    return rows, None


def _tensor(images: list[np.ndarray | None], one: np.ndarray) -> pa.ExtensionArray:
    """Images of the shape and type of `one` as a tensor; those that are missing are null."""
    black = np.zeros_like(one)
    values = np.stack([black if image is None else image for image in images])
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(one.dtype), one.shape)
    missing = pa.array([image is None for image in images])
    storage = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), one.size, mask=missing)
    return pa.ExtensionArray.from_storage(kind, storage)


def _cut(table: pa.Table) -> Iterator[pa.Table]:
    """A table in parts of at most BATCH_ROWS rows."""
    for begin in range(0, len(table), tables.BATCH_ROWS):
        yield table.slice(begin, tables.BATCH_ROWS)


def _sizes(table: pa.Table) -> np.ndarray:
    """Bytes of content of every row, int64 (n,)."""
    if "text" in table.column_names:
        return pc.binary_length(table["text"]).to_numpy().astype(np.int64)
    kind = table["features"].type
    return np.full(len(table), math.prod(kind.shape) * kind.value_type.byte_width)


def _reasons(table: pa.Table, has_ids: bool) -> pa.ChunkedArray | pa.Array:
    """What is wrong with each row, by its card or by itself; null where nothing is.

    Args:
        table: pieces as a card gives them.
        has_ids: whether each needs an id.
    """
    wrong: dict[str, Any] = {}
    if "text" in table.column_names:
        length = pc.binary_length(table["text"])
        wrong["no text"] = pc.is_null(length)
        wrong["empty text"] = pc.equal(length, 0)
        wrong[f"text of more than {MOST_BYTES} bytes"] = pc.greater(length, MOST_BYTES)
    else:
        wrong["no image"] = pc.is_null(table["features"])
    if has_ids:
        wrong["no id"] = pc.is_null(table["row_id"])
        wrong["empty id"] = pc.equal(table["row_id"], "")
    if "split" in table.column_names:
        known = pa.array(SPLITS)
        split = table["split"]
        other = pc.and_(pc.is_valid(split), pc.invert(pc.is_in(split, value_set=known)))
        wrong["its split is not train, valid or test"] = other
    if "tags" in table.column_names:
        wrong["a tag has no value"] = _without_values(table["tags"])
    reasons = pa.nulls(len(table), pa.string())
    if "problem" in table.column_names:
        reasons = table["problem"].cast(pa.string())
    for reason, rows in wrong.items():
        if pc.any(rows).as_py():
            reasons = pc.coalesce(reasons, pc.if_else(rows, reason, None))
    return reasons


def _without_values(tags: pa.ChunkedArray) -> pa.Array:
    """Whether a row has a tag whose value is null, bool (n,)."""
    parts = []
    for chunk in tags.chunks:
        part = np.zeros(len(chunk), dtype=bool)
        if len(chunk) and chunk.items.null_count:
            _, values, lengths = flat_tags(chunk)
            row_of = np.repeat(np.arange(len(chunk)), lengths)
            part[row_of[values.is_null().to_numpy(zero_copy_only=False)]] = True
        parts.append(part)
    return pa.array(np.concatenate(parts) if parts else np.zeros(0, dtype=bool))


def _size(image: np.ndarray) -> str:
    """The size of an image in words: `28 x 28`, with its type unless a number is a byte."""
    size = " x ".join(map(str, image.shape))
    return size if image.dtype == np.uint8 else f"{size} {image.dtype}"
