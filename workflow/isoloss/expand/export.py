"""The rows of a weighting as files for other programs: Parquet, or a dataset of `datasets`.

Copies are written out, in the order of the rows; a weighting is of training rows, the others appear
once. Memory is needed for a batch of rows.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from isoloss.core import tables, tokens
from isoloss.core.audit import flat_tags
from isoloss.core.problems import IsolossError, Problem

FORMATS = ("parquet", "datasets")
SPLITS = {"train": "train", "valid": "validation", "test": "test"}  # as other programs call them
_COLUMNS = ("row_id", "text", "features", "label", "tags", "split", "group")
_BYTES = 1 << 25  # of the rows that are written at once, copies counted
_FILE = "data-00000-of-00001.arrow"


@dataclass(frozen=True)
class Expanded:
    """The tables of a dataset and of a weighting of it.

    Attributes:
        rows: rows.parquet of the dataset.
        index: index.parquet of the weighting.
        audit: audit.parquet of the dataset.
        examples: file of its examples.
    """

    rows: Path
    index: Path
    audit: Path
    examples: Path


def export_rows(expanded: Expanded, out: Path, form: str) -> dict[str, int]:
    """Write the rows of a weighting into a new folder, whole or not at all.

    Args:
        expanded: the tables.
        out: the folder, which must not be there.
        form: `parquet`: a file a split; or `datasets`: what `load_from_disk` reads.

    Returns:
        Split to the number of rows.

    Raises:
        IsolossError: the folder is there, or the index is not of these rows.
    """
    if os.path.lexists(out):
        raise IsolossError(Problem(str(out), "is there already", "name a folder that is not"))
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        counts = _write(expanded, temporary, form)
        os.rename(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return counts


def _write(expanded: Expanded, folder: Path, form: str) -> dict[str, int]:
    columns = _Columns.of(expanded)
    sides: dict[str, _Side] = {}
    with ExitStack() as files:
        for split, rows in _expanded(expanded):
            if split not in sides:
                sides[split] = files.enter_context(_Side(folder, split, form, columns.schema))
            sides[split].write(columns.table(rows))
    if form == "datasets":
        names = [SPLITS[split] for split in SPLITS if split in sides]
        tables.write_text(folder / "dataset_dict.json", json.dumps({"splits": names}))
    return {SPLITS[split]: sides[split].count for split in SPLITS if split in sides}


def _expanded(expanded: Expanded) -> Iterator[tuple[str, pa.Table]]:
    """Batches of rows with their copies, each of one split."""
    copies = _Copies(expanded.index)
    first = 0
    for batch in tables.batches(expanded.rows, "rows", _COLUMNS):
        table = pa.Table.from_batches([batch])
        splits = np.asarray(batch["split"].to_pylist(), dtype=object)
        times = copies.of(first, len(batch), batch["row_id"])
        for split in SPLITS:
            of_split = splits == split
            for positions in _parts(table, np.where(of_split, times if split == "train" else 1, 0)):
                yield split, table.take(pa.array(positions))
        first += len(batch)
    copies.check_used_up()


def _parts(table: pa.Table, times: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of the rows of a batch, each so often as it appears, in parts of bounded size."""
    content = "text" if table["text"].null_count < len(table) else "features"
    sizes = pc.fill_null(pc.binary_length(table[content]), 0).to_numpy() + 64
    ends = np.cumsum(times)
    total = int(ends[-1]) if len(ends) else 0
    begin = 0
    while begin < total:
        end = min(total, begin + tables.BATCH_ROWS)
        positions = np.searchsorted(ends, np.arange(begin, end), side="right")
        fits = int(np.searchsorted(np.cumsum(sizes[positions]), _BYTES)) + 1
        yield positions[:fits]
        begin += min(fits, len(positions))


class _Copies:
    """How often each row appears, read from an index while the rows are read.

    Args:
        index: index.parquet of a weighting.
    """

    def __init__(self, index: Path):
        self._place = str(index)
        self._batches = tables.batches(index, "index", ("row", "row_id", "copies"))
        self._left = next(self._batches, None)

    def of(self, first: int, count: int, row_ids: pa.Array) -> np.ndarray:
        """Of the rows from `first` on, whole numbers (count,).

        Raises:
            IsolossError: a row of the index is another one.
        """
        times = np.zeros(count, dtype=np.int64)
        while self._left is not None:
            rows = self._left["row"].to_numpy()
            here = int(np.searchsorted(rows, first + count))
            at = rows[:here] - first
            if not row_ids.take(pa.array(at)).equals(self._left["row_id"].slice(0, here)):
                raise self._of_others()
            times[at] = self._left["copies"].to_numpy()[:here]
            if here < len(rows):
                self._left = self._left.slice(here)
                break
            self._left = next(self._batches, None)
        return times

    def check_used_up(self) -> None:
        """Raise an error if the index goes on behind the last row."""
        if self._left is not None:
            raise self._of_others()

    def _of_others(self) -> IsolossError:
        reason, remedy = "is not of the rows of this dataset", "run the study again"
        return IsolossError(Problem(self._place, reason, remedy))


@dataclass(frozen=True)
class _Columns:
    """The columns of an export: texts or images, and a column a tag.

    Attributes:
        tags: tag key to the name of its column.
        shape: of an image; empty for texts.
        is_text: whether all texts are UTF-8; otherwise they are bytes.
    """

    tags: Mapping[str, str]
    shape: Sequence[int]
    is_text: bool = True

    @classmethod
    def of(cls, expanded: Expanded) -> _Columns:
        keys = dict.fromkeys(tables.frame(expanded.audit, "audit")["tag_key"])
        taken = {*_COLUMNS, "image", *keys}
        names = {key: _free(key, taken) if key in {*_COLUMNS, "image"} else key for key in keys}
        shape = tokens.map_tokens(expanded.examples).values.shape[1:]
        return cls(names, shape, bool(shape) or _are_utf8(expanded.rows))

    @property
    def schema(self) -> pa.Schema:
        """The columns with their types."""
        pixels: pa.DataType = pa.uint8()
        for _ in self.shape:
            pixels = pa.list_(pixels)
        content = (
            [("image", pixels), ("label", pa.int64())] if self.shape else [("text", self._kind)]
        )
        tags = [(name, pa.string()) for name in self.tags.values()]
        return pa.schema([("row_id", pa.string()), *content, ("group", pa.string()), *tags])

    @property
    def _kind(self) -> pa.DataType:
        return pa.string() if self.is_text else pa.binary()

    def table(self, rows: pa.Table) -> pa.Table:
        """Rows with these columns."""
        rows = rows.combine_chunks()
        columns = {"row_id": rows["row_id"], "group": rows["group"]}
        if self.shape:
            columns |= {"image": self._images(rows["features"]), "label": rows["label"]}
        else:
            columns["text"] = rows["text"].cast(self._kind)
        columns |= _values_of(rows["tags"].combine_chunks(), self.tags)
        return pa.table({name: columns[name] for name in self.schema.names}, schema=self.schema)

    def _images(self, features: pa.ChunkedArray) -> pa.Array:
        """Pixels as nested lists."""
        pixels = np.frombuffer(b"".join(features.to_pylist()), np.uint8)
        values: pa.Array = pa.array(pixels)
        for axis in reversed(range(len(self.shape))):
            length = self.shape[axis]
            offsets = np.arange(0, len(values) + 1, length, dtype=np.int32)
            values = pa.ListArray.from_arrays(pa.array(offsets), values)
        return values


def _free(name: str, taken: set[str]) -> str:
    """The name with `tag_` before it until nothing else is called so."""
    while name in taken:
        name = f"tag_{name}"
    return name


def _are_utf8(rows: Path) -> bool:
    """Whether all texts of a dataset are UTF-8."""
    for batch in tables.batches(rows, "rows", ("text",)):
        try:
            batch["text"].cast(pa.string())
        except pa.ArrowInvalid:
            return False
    return True


def _values_of(tags: pa.MapArray, names: Mapping[str, str]) -> dict[str, pa.Array]:
    """Column to the values of a tag, null in rows without it."""
    keys, values, lengths = flat_tags(tags)
    row = np.repeat(np.arange(len(tags)), lengths)
    columns = {}
    for key, name in names.items():
        at = np.flatnonzero(pc.equal(keys, key))
        place = np.full(len(tags), -1)
        place[row[at]] = at
        columns[name] = values.take(pa.array(place, mask=place < 0))
    return columns


@dataclass
class _Side:
    """A file of the rows of a split while it is written; used with `with`.

    Attributes:
        folder: of the export.
        split: train, valid or test.
        form: of the file, one of FORMATS.
        schema: its columns.
        count: rows so far.
    """

    folder: Path
    split: str
    form: str
    schema: pa.Schema
    count: int = 0
    _digest: Any = field(default_factory=lambda: blake2b(digest_size=8))
    _write: Callable[[pa.Table], None] = field(init=False)

    def __enter__(self) -> _Side:
        self._stack = ExitStack()
        name = SPLITS[self.split]
        if self.form == "parquet":
            file = self.folder / f"{name}.parquet"
            writer = pq.ParquetWriter(os.fspath(file), self.schema, compression="zstd")
        else:
            (self.folder / name).mkdir()
            file = self._stack.enter_context(pa.OSFile(os.fspath(self.folder / name / _FILE), "wb"))
            writer = pa.ipc.new_stream(file, self.schema)
        self._write = self._stack.enter_context(writer).write_table
        return self

    def write(self, rows: pa.Table) -> None:
        """Append rows."""
        self._write(rows)
        self.count += len(rows)
        self._digest.update("\0".join(rows["row_id"].to_pylist()).encode())

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if self.form == "datasets":
            name = SPLITS[self.split]
            state = {
                "_data_files": [{"filename": _FILE}],
                "_fingerprint": self._digest.hexdigest(),
                "_format_columns": None,
                "_format_kwargs": {},
                "_format_type": None,
                "_output_all_columns": False,
                "_split": name,
            }
            tables.write_text(self.folder / name / "state.json", json.dumps(state, indent=2))
            tables.write_text(self.folder / name / "dataset_info.json", "{}")
