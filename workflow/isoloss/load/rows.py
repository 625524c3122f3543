"""Rows from the pieces of a dataset: identity, no duplicates, split by hash of the group."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core import registry, tables, tokenizer
from isoloss.core.audit import TagAudit
from isoloss.core.escape import say
from isoloss.core.hashing import blake2b_each
from isoloss.core.problems import IsolossError, Problem
from isoloss.load import content
from isoloss.load.dropped import OTHER_SIDE, Dropped, told
from isoloss.load.pieces import SPLITS, Pieces
from isoloss.load.seen import Seen

_ID_BYTES = 16  # of the digest of a row's content
_AGAIN = "run again when no process writes to the sources"


@dataclass(frozen=True)
class Writers:
    """Where rows go.

    Attributes:
        rows: called with every batch of the `rows` table (tables.yaml), in order, and its examples:
            the tokens of texts, integers (n_tokens,), or images, integers (n, ...).
        dropped: called with every batch of the `dropped` table.
    """

    rows: Callable[[pa.Table, np.ndarray], None]
    dropped: Callable[[pa.Table], None]


def load_rows(
    dataset: Mapping[str, Any],
    seed: int,
    writers: Writers,
    expected: str | None = None,
    fetched: Path | None = None,
    name: str = "",
) -> TagAudit:
    """Read a dataset batch by batch and pass its rows on.

    A row's identity is the id that the dataset gives it, or the hash of its content. Without ids,
    where content repeats, its first row stays and the others are left out. With ids such rows stay
    where they are on the same side. Equal content is never on two sides: the later row is left out,
    and reported. A group is on the validation side if its hash falls into the first
    `valid_fraction`, unless the dataset gives a piece its split; rows that are so apart from their
    group are counted. Of earlier batches 12 bytes a row are kept in memory, another 12 where rows
    have ids, and another 12 a group where they have a split.

    Args:
        dataset: an entry of a study's `load`, complete: `card`, `options`, `valid_fraction` (the
            expected share of groups on the validation side), `on_bad_row`, `tokenizer` (`bytes`
            if absent).
        seed: of the study; decides the sides.
        writers: where rows go.
        expected: digest (`identity`) that the sources must still have when they were read.
        fetched: folder where a card that reads from a network keeps what it fetched.
        name: of the dataset in the study, for messages; that of its card if empty.

    Returns:
        What it did to every tag.

    Raises:
        IsolossError: some rows cannot be used and `on_bad_row` is `stop`; the dataset has no rows,
            or a side of it has none; a source changed while it was read.
    """
    card, options = dataset["card"], dataset["options"]
    given = registry.card("dataset", card).pieces(**content.keywords(card, options, fetched))
    dropped = Dropped(writers.dropped)
    place = f"dataset {name or card}"
    pieces = Pieces(place, _readable(given, place), dropped)
    words = tokenizer.of(dataset.get("tokenizer", tokenizer.BYTES))
    rows = _Rows(dataset["valid_fraction"], seed, pieces, writers, words)
    for batch in pieces.batches():
        rows.add(batch)
    if expected is not None and _content(dataset, fetched) != expected:
        changed = "its sources changed while they were read"
        raise IsolossError(Problem(place, changed, _AGAIN))
    if dropped.bad and dataset["on_bad_row"] == "stop":
        raise dropped.error(place)
    if dropped.bad or dropped.repeats:
        say(told(dropped.bad | Counter({OTHER_SIDE: dropped.repeats}), place), sys.stderr)
    if rows.apart:
        reason = f"{rows.apart} rows are on another side than the first row of their group"
        say(f"{place}: {reason}; a split that is given wins", sys.stderr)
    if not rows.before:
        remedy = "check its options" if not dropped.bad else "give it rows that can be used"
        raise IsolossError(Problem(place, "no rows", remedy))
    if lacking := sorted({"train", "valid"}.difference(rows.after)):
        raise IsolossError(_no_rows(place, lacking[0], rows))
    return rows.audit


def _readable(pieces: Iterable[Any], dataset: str) -> Iterator[Any]:
    """The pieces; a source that cannot be read, such as one that vanished, is told by name."""
    try:
        yield from pieces
    except OSError as error:
        place = str(error.filename or dataset)
        raise IsolossError(Problem(place, f"cannot be read ({error.strerror})", _AGAIN)) from error


def _content(dataset: Mapping[str, Any], fetched: Path | None) -> str | None:
    """The digest that the sources of a dataset have now; None if one cannot be read any more."""
    name = dataset.get("tokenizer", tokenizer.BYTES)
    try:
        return content.identity(dataset["card"], dataset["options"], None, fetched, name)
    except (OSError, IsolossError):
        return None


class _Rows:
    """The rows so far.

    Attributes:
        audit: of their tags.
        before: how many there are on each side, those that are left out among them.
        after: how many of them stay.
        given: whether the dataset says which side a row is on.
        apart: how many rows are on another side than the first row of their group, as the dataset
            says.
    """

    def __init__(
        self,
        valid_fraction: float,
        seed: int,
        pieces: Pieces,
        writers: Writers,
        words: tokenizer.Tokenizer,
    ):
        self._valid_fraction, self._seed = valid_fraction, seed
        self._pieces, self._writers, self._tokenizer = pieces, writers, words
        self._contents, self._ids, self._in_groups = Seen(), Seen(), Seen()
        self.audit = TagAudit()
        self.before: Counter[str] = Counter()
        self.after: Counter[str] = Counter()
        self.given = False
        self.apart = 0

    def add(self, batch: pa.Table) -> None:
        """Add a batch of sound pieces."""
        if "text" in batch.column_names:
            batch = self._encoded(batch)
        elif self._tokenizer.digest:
            reason = "its rows are images, which have no text"
            place = f"{self._pieces.place}, tokenizer"
            raise IsolossError(Problem(place, reason, "leave it out"))
        digests = _digests(batch)
        if self._pieces.has_ids:
            ids = blake2b_each(batch["row_id"], _ID_BYTES)
            new, _ = self._ids.add(ids, np.zeros(len(batch), np.uint8))
            if not new.all():
                again = batch.filter(pa.array(~new))
                self._pieces.dropped.add(again, "its id is that of an earlier row")
                batch, digests = batch.filter(pa.array(new)), digests[new]
        else:
            batch = _with(batch, "row_id", hexadecimal(digests))
        grouped = pc.not_equal(pc.fill_null(batch["group"], ""), "")
        batch = _with(batch, "group", pc.if_else(grouped, batch["group"], batch["row_id"]))
        side = self._sides(batch)
        if self.given:
            self._count_apart(batch["group"].filter(grouped), side[grouped.to_numpy()])
        first, side_of_first = self._contents.add(digests, side)
        crosses = side_of_first != side
        stays = ~crosses if self._pieces.has_ids else first
        self._pieces.dropped.add_repeats(batch.filter(pa.array(crosses)))
        self.before += _counted(side)
        self.after += _counted(side[stays])
        batch = _with(batch, "split", pa.array(SPLITS).take(pa.array(side)))
        self._write(batch, stays)

    def _encoded(self, batch: pa.Table) -> pa.Table:
        """The rows of a batch whose text can be encoded, with the column `tokens` (lists)."""
        encoded = self._tokenizer.encode(_chunk(batch["text"]))
        batch = batch.append_column("tokens", encoded.lists)
        if not encoded.problems:
            return batch
        stays = np.ones(len(batch), dtype=bool)
        stays[list(encoded.problems)] = False
        self._pieces.dropped.add(
            batch.filter(pa.array(~stays)), pa.array(encoded.problems.values(), pa.string())
        )
        return batch.filter(pa.array(stays))

    def _count_apart(self, groups: pa.ChunkedArray, side: np.ndarray) -> None:
        """Count the rows whose group began on another side; groups and sides of rows in one."""
        groups = _chunk(groups).dictionary_encode()
        digests = blake2b_each(groups.dictionary, _ID_BYTES)[groups.indices.to_numpy()]
        _, side_of_first = self._in_groups.add(digests, side)
        self.apart += int((side_of_first != side).sum())

    def _sides(self, batch: pa.Table) -> np.ndarray:
        """Which of SPLITS every row is in, uint8 (n,)."""
        given = pc.index_in(batch["split"], value_set=pa.array(SPLITS))
        if not given.null_count:
            self.given = True
            return given.to_numpy().astype(np.uint8)
        drawn = sides(batch["group"], self._valid_fraction, self._seed)
        if given.null_count == len(batch):
            return drawn
        self.given = True
        return pc.coalesce(given, pa.array(drawn, pa.int32())).to_numpy().astype(np.uint8)

    def _write(self, batch: pa.Table, stays: np.ndarray) -> None:
        """Write the rows that stay, and their examples."""
        kept = batch.filter(pa.array(stays)) if not stays.all() else batch
        if "text" in batch.column_names:
            n_tokens = pc.list_value_length(batch["tokens"]).to_numpy().astype(np.int64)
            examples = _chunk(kept["tokens"]).flatten().to_numpy()
            columns = {"text": kept["text"], "features": pa.nulls(len(kept), pa.binary())}
        else:
            n_tokens = np.ones(len(batch), np.int64)
            examples = _images(kept)
            columns = {"text": pa.nulls(len(kept), pa.binary()), "features": binary(examples)}
        self.audit.add(_chunk(batch["tags"]), n_tokens, stays.astype(int))
        columns["n_tokens"] = pa.array(n_tokens[stays])
        names = tables.schema("rows").names
        columns |= {name: kept[name] for name in names if name not in columns}
        self._writers.rows(pa.table({name: columns[name] for name in names}), examples)


def sides(groups: pa.ChunkedArray, valid_fraction: float, seed: int) -> np.ndarray:
    """The place in SPLITS of every row: train, or valid by the hash of its group and the seed.

    The hash is BLAKE2b(`seed:split:group`), 8 bytes, big endian, over 2^64; a group is in valid if
    that is below `valid_fraction`.

    Args:
        groups: of every row (n,).
        valid_fraction: above 0 and below 1.
        seed: of the study.

    Returns:
        uint8 (n,).
    """
    groups = _chunk(groups).dictionary_encode()
    digests = blake2b_each(groups.dictionary, 8, f"{seed}:split:".encode())
    drawn = digests.view(">u8")[:, 0].astype(np.uint64)
    is_valid = drawn < np.uint64(math.ceil(valid_fraction * 2**64))
    return np.where(is_valid, SPLITS.index("valid"), SPLITS.index("train")).astype(np.uint8)[
        groups.indices.to_numpy()
    ]


def _digests(batch: pa.Table) -> np.ndarray:
    """What rows are known by: the hash of the text, or of the features and the label, uint8."""
    if "text" in batch.column_names:
        return blake2b_each(batch["text"], _ID_BYTES)
    images = _images(batch)
    pixels = images.reshape(len(images), -1).view(np.uint8)
    if not batch["label"].null_count:
        labels = batch["label"].to_numpy().astype("<i8")
        pixels = np.hstack([pixels, labels[:, None].view(np.uint8)])
    return blake2b_each(binary(pixels), _ID_BYTES)


def _images(batch: pa.Table) -> np.ndarray:
    """The images of a batch, integers (n, ...)."""
    images = _chunk(batch["features"])
    if not len(images):  # Arrow makes no tensor of no rows
        return np.zeros((0, *images.type.shape), images.type.value_type.to_pandas_dtype())
    return images.to_numpy_ndarray()


def binary(values: np.ndarray) -> pa.BinaryArray:
    """The bytes of every row of an array (n, ...)."""
    rows = np.ascontiguousarray(values)
    size = rows.nbytes // max(len(rows), 1)
    ends = pa.py_buffer(np.arange(len(rows) + 1, dtype=np.int32) * np.int32(size))
    return pa.Array.from_buffers(pa.binary(), len(rows), [None, ends, pa.py_buffer(rows)])


def hexadecimal(digests: np.ndarray) -> pa.StringArray:
    """Digests, uint8 (n, size), as text."""
    digits = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), np.uint8).reshape(256, 2)
    texts = digits[digests].reshape(len(digests), -1)
    return binary(texts).view(pa.string())


def _counted(side: np.ndarray) -> Counter[str]:
    return Counter(
        dict(zip(SPLITS, np.bincount(side, minlength=len(SPLITS)).tolist(), strict=True))
    )


def _with(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def _chunk(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def _no_rows(place: str, split: str, rows: _Rows) -> Problem:
    """The problem of a side without rows: they are duplicates, or there were none.

    Args:
        place: of the problem.
        split: the side.
        rows: all of the dataset.
    """
    if rows.before[split]:
        reason = f"all rows in the split {split!r} repeat rows of the other side and are dropped"
        return Problem(place, reason, "load rows whose content is on one side only")
    if rows.given:
        reason = f"it puts none of its rows in the split {split!r}"
        return Problem(place, reason, "give it rows of both sides")
    return Problem(place, f"none of its groups is in the split {split!r}", "change valid_fraction")
