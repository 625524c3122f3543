"""Datasets of the package `datasets`: splits and Arrow batches, as rows of texts or images."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.core import extras
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.datasets._columns import SIDES, Columns, in_parts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_ORDER = ("valid", "test", "train")  # of the sides: a training row that repeats another is dropped
_END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream
_ROW = "(image)"  # a column that stands for the text of an image


def sides_of(splits: Sequence[str], chosen: Mapping[str, str], place: str) -> dict[str, str]:
    """Split to its side (train, valid or test), in the order in which they are read.

    Splits called train, valid, validation and test are these; without one of validation that of
    test is the validation side. A single split has no side: a hash of the group decides.

    Args:
        splits: that there are.
        chosen: split to side, as a study says; only these are read. Empty for all by their names.
        place: of errors.

    Raises:
        IsolossError: a split that is chosen is not there, or none has a name that says its side.

    Example:
        >>> sides_of(["train", "test"], {}, "here")
        {'test': 'valid', 'train': 'train'}
        >>> sides_of(["train"], {}, "here"), sides_of(["a", "b"], {"b": "train"}, "here")
        ({'train': ''}, {'b': 'train'})
    """
    wrong = [
        Problem(f"{place}, splits.{name}", "no such split", nearest(name, splits))
        for name in chosen
        if name not in splits
    ]
    if wrong:
        raise IsolossError(*wrong)
    if not chosen and len(splits) == 1:
        return {splits[0]: ""}
    named = dict(chosen) or {name: SIDES[name] for name in splits if name in SIDES}
    if not named:
        reason = f"its splits are {', '.join(map(repr, splits))}"
        remedy = "say which are train and valid: splits: {NAME: train, OTHER: valid}"
        raise IsolossError(Problem(f"{place}, splits", reason, remedy))
    if not chosen and "valid" not in named.values():
        named = {name: "valid" if side == "test" else side for name, side in named.items()}
    return dict(sorted(named.items(), key=lambda one: _ORDER.index(one[1])))


def token(image: str, **options: Any) -> str:
    """What a card with these options counts: examples if it gives images, or bytes of texts."""
    return "example" if image else "byte"


@dataclass(frozen=True)
class Part:
    """An Arrow stream with rows of one split.

    Attributes:
        label: what it is called in messages, such as the path of its file.
        side: train, valid or test; empty where a hash of the group decides.
        batches: of its rows, in order.
    """

    label: str
    side: str
    batches: Iterable[pa.RecordBatch]


def parts_of(files: Mapping[str, Sequence[Path]], sides: Mapping[str, str]) -> Iterator[Part]:
    """The Arrow files of the splits that are read, side by side.

    Args:
        files: split to its files.
        sides: split to its side, in the order in which they are read.
    """
    for split, side in sides.items():
        for file in files[split]:
            yield Part(str(file), side, _batches(file))


def _batches(file: Path) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow stream in a file, one in memory at a time.

    Raises:
        IsolossError: the file cannot be read, is damaged or cut off.
    """
    import pyarrow as pa

    with reading(str(file)):
        with file.open("rb") as content:
            content.seek(-min(len(_END), os.fstat(content.fileno()).st_size), os.SEEK_END)
            if content.read() != _END:
                raise EOFError("it is not an Arrow stream, or its end is missing")
        with pa.OSFile(os.fsencode(file)) as source, pa.ipc.open_stream(source) as stream:
            yield from stream


@contextmanager
def reading(label: str) -> Iterator[None]:
    """Errors of the system and of Arrow inside it are errors about this file."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        remedy = "check the path, and whether something moved or removed it"
        raise IsolossError(Problem(label, "no such file", remedy)) from error
    except (OSError, EOFError, pa.ArrowException) as error:
        reason = f"cannot be read ({str(error).rstrip('.')})"
        raise IsolossError(Problem(label, reason, "save or fetch it again, whole")) from error


@dataclass(frozen=True)
class Rows:
    """How the rows of a dataset of `datasets` are read.

    Attributes:
        columns: of texts, tags, ids and groups.
        image: column of images; empty for texts.
        label: column of their labels.
    """

    columns: Columns
    image: str = ""
    label: str = "label"

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> Rows:
        """The rows that the options of a card name, its other options left out.

        Raises:
            IsolossError: the columns contradict each other.
        """
        return cls(Columns.of_options(options), options["image"], options["label"])

    @property
    def tag_keys(self) -> list[str]:
        """The keys of the tags that rows have."""
        return (["class"] if self.image else []) + self.columns.tag_keys

    def pieces(self, parts: Iterable[Part]) -> Iterator[Any]:
        """The rows of all parts, as `pieces` of a dataset card gives them.

        Raises:
            IsolossError: a part cannot be read, or has not these columns.
        """
        for part in parts:
            line, names = 1, {}
            for batch in part.batches:
                if line == 1:
                    self._check(batch.schema, part.label)
                    names = _class_names(batch.schema)
                besides = self.label if self.image else ""
                yield from self._of_batch(_with_names(batch, names, besides), part, line, names)
                line += len(batch)

    def _check(self, schema: pa.Schema, label: str) -> None:
        """Raise an error if a part has not the columns that are read."""
        if not self.image:
            self.columns.check(schema, label)
            return
        import pyarrow as pa

        self._of_images.check(schema.append(pa.field(_ROW, pa.string())), label)
        wrong = [
            Problem(label, f"no column {name!r}", nearest(name, schema.names))
            for name in (self.image, self.label)
            if name not in schema.names
        ]
        wrong += [
            Problem(label, f"two columns are called {name!r}", "rename one of them")
            for name in (self.image, self.label)
            if schema.names.count(name) > 1
        ]
        if wrong:
            raise IsolossError(*wrong)
        if not pa.types.is_integer(schema.field(self.label).type):
            reason = f"column {self.label!r} is {schema.field(self.label).type}, not whole numbers"
            raise IsolossError(Problem(label, reason, "name the column of labels as `label`"))

    def _of_batch(
        self, table: pa.Table, part: Part, line: int, names: Mapping[str, Sequence[str]]
    ) -> Iterator[Any]:
        """The rows of a batch: a table of texts, or images one by one."""
        import pyarrow as pa

        if self.image:
            yield from self._images(table, part, line, names.get(self.label, ()))
            return
        for first, some in in_parts(table):
            pieces = self.columns.pieces(some, part.label, line + first)
            if part.side and not self.columns.split:
                pieces = pieces.append_column("split", pa.repeat(part.side, len(pieces)))
            yield pieces

    @cached_property
    def _of_images(self) -> Columns:
        """The columns of everything but the image."""
        return replace(self.columns, text=_ROW)

    def _images(
        self, table: pa.Table, part: Part, line: int, classes: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """Images, each with `features` (uint8), `label` and the tag `class`."""
        import pyarrow as pa

        rows = self._of_images.pieces(
            table.append_column(_ROW, pa.repeat("image", len(table))), part.label, line
        )
        labels = table[self.label].to_pylist()
        rows = rows.drop_columns("text").to_pylist()
        for row, label, image in zip(rows, labels, table[self.image], strict=True):
            if part.side and not self.columns.split:
                row["split"] = part.side
            row["tags"] = {"class": _class_of(label, classes), **dict(row["tags"] or ())}
            features, problem = _pixels(image.as_py(), self.image)
            if label is None or label < 0:
                problem = problem or f"column {self.label!r} is {label}, not a label"
            yield {
                **row,
                "features": features,
                "label": label,
                "problem": row["problem"] or problem,
            }


def _class_of(label: int | None, classes: Sequence[str]) -> str:
    """The name of a label's class; the label itself where it has none."""
    return classes[label] if label is not None and 0 <= label < len(classes) else str(label)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Column to the names of its classes, as `datasets` keeps them in the schema (`ClassLabel`)."""
    try:
        about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = dict(about["info"]["features"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}  # it was not written by `datasets`
    return {
        column: list(map(str, feature["names"]))
        for column, feature in features.items()
        if isinstance(feature, dict)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
    }


def _with_names(batch: pa.RecordBatch, names: Mapping[str, list[str]], besides: str) -> pa.Table:
    """A batch in which the names of classes are in the place of their numbers.

    Args:
        batch: of a dataset.
        names: column to the names of its classes.
        besides: the column of labels, which stays.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pa.Table.from_batches([batch])
    for column in names.keys() - {besides}:
        place = table.column_names.index(column)
        numbers = table[column].combine_chunks()
        numbers = pc.if_else(pc.less(numbers, 0), None, numbers)  # -1 stands for none
        table = table.set_column(place, column, pa.array(names[column]).take(numbers))
    return table


def _pixels(image: Any, column: str) -> tuple[np.ndarray | None, str | None]:
    """The pixels of an image, uint8 (height, width) or (height, width, colours), or what is wrong.

    Args:
        image: the bytes of an image file with its path, as `datasets` stores it, or nested lists.
        column: its name, for what is wrong.
    """
    import numpy as np

    content = image.get("bytes") if isinstance(image, dict) else image
    if content is None:
        file = image.get("path") if isinstance(image, dict) else None
        elsewhere = f"is a file elsewhere ({file})" if file else "is null"
        return None, f"column {column!r} {elsewhere}"
    if isinstance(content, bytes):
        return _decoded(content, column)
    try:
        values = np.asarray(content)
        pixels = values.astype(np.uint8)
    except (ValueError, TypeError, OverflowError) as error:
        return None, f"column {column!r} is not an image ({error})"
    if pixels.ndim < 2 or not np.array_equal(pixels, values):
        return None, f"column {column!r} is not an image of whole numbers from 0 to 255"
    return pixels, None


def _decoded(content: bytes, column: str) -> tuple[np.ndarray | None, str | None]:
    """The pixels of an image file: grey ones stay so, all others become red, green, blue."""
    import numpy as np

    try:
        from PIL import Image
    except ImportError as error:
        remedy = f"install it with `{extras.install('PIL')}`"
        place = f"column {column!r}"
        reason = "images in files are read by the package `pillow`, which is not installed"
        raise IsolossError(Problem(place, reason, remedy)) from error
    try:
        with Image.open(io.BytesIO(content)) as image:
            grey = image.mode in ("1", "L")
            return np.asarray(image.convert("L" if grey else "RGB"), dtype=np.uint8), None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return None, f"column {column!r} is not an image ({error})"
