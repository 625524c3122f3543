"""What a task reads of a dataset: mapped examples, where rows begin, and the held-out rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core import tables
from isoloss.core.problems import Problem, TableError
from isoloss.core.tokens import TokenArray, map_tokens

COLUMNS = ("n_tokens", "tags", "split", "label")  # of `rows`, that training depends on


@dataclass(frozen=True)
class Dataset:
    """Rows and examples of a dataset.

    Attributes:
        tokens: the examples of all rows, in their order: tokens of a text, or images.
        starts: where every row begins, and the end of the last, int64 (r + 1,).
        held_out: the rows of the validation side: `row` (position), `n_tokens`, `tags`.
        labels: of every row, int64 (r,); -1 where it has none.
    """

    tokens: TokenArray
    starts: np.ndarray
    held_out: pa.Table
    labels: np.ndarray


@dataclass(frozen=True)
class Index:
    """The rows of a weighting: positions in the rows table, and copies of each, int64 (k,)."""

    rows: np.ndarray
    copies: np.ndarray


def read_dataset(rows: Path, tokens: Path) -> Dataset:
    """A dataset as `load` left it; tokens and texts stay in their files.

    Args:
        rows: rows.parquet.
        tokens: tokens.npy, beside it.

    Raises:
        TableError: a file is lacking or damaged, or they are not of the same rows.
    """
    starts, held_out, labels = layout(tables.batches(rows, "rows", COLUMNS))
    mapped = map_tokens(tokens)
    if len(mapped) != starts[-1]:
        reason = f"it has {len(mapped)} tokens where the rows have {starts[-1]}"
        raise TableError(Problem(str(tokens), reason, "make both again"))
    return Dataset(mapped, starts, held_out, labels)


def layout(batches: Iterable[pa.RecordBatch]) -> tuple[np.ndarray, pa.Table, np.ndarray]:
    """Where rows begin, the rows of the validation side, and labels; see `Dataset`.

    Args:
        batches: of the COLUMNS of the rows table.
    """
    types = tables.schema("rows")
    kept = pa.schema([("row", pa.int64()), types.field("n_tokens"), types.field("tags")])
    lengths, labels = [np.zeros(1, np.int64)], [np.zeros(0, np.int64)]
    parts, first = [kept.empty_table()], 0
    for batch in batches:
        lengths.append(batch["n_tokens"].to_numpy())
        labels.append(batch["label"].fill_null(-1).to_numpy())
        at = np.flatnonzero(pc.equal(batch["split"], "valid"))
        columns = [pa.array(first + at), *(batch[c].take(pa.array(at)) for c in kept.names[1:])]
        parts.append(pa.table(columns, schema=kept))
        first += len(batch)
    starts = np.cumsum(np.concatenate(lengths))
    return starts, pa.concat_tables(parts).combine_chunks(), np.concatenate(labels)


def read_index(path: Path) -> Index:
    """The index of a weighting as `expand` left it, without the identities of its rows."""
    batches = list(tables.batches(path, "index", ("row", "copies")))
    columns = ([batch[name].to_numpy() for batch in batches] for name in ("row", "copies"))
    return Index(*(np.concatenate([np.zeros(0, np.int64), *column]) for column in columns))


def joined(indices: Sequence[Index]) -> Index:
    """The rows of a weighting; of several, one after the other."""
    if len(indices) == 1:
        return indices[0]
    rows = np.concatenate([index.rows for index in indices])
    return Index(rows, np.concatenate([index.copies for index in indices]))
