"""A weighting of the rows of a dataset, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core.audit import TagAudit, tag_counts
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.tag_codes import TagCodes
from isoloss.core.threads import in_order
from isoloss.expand.weights import (
    MOST_ROWS,
    Sizes,
    Weights,
    merge_weights,
    weighted_copies,
    weights_of,
)

COLUMNS = ("row_id", "n_tokens", "tags", "split")  # of `rows`, which a weighting depends on
CATEGORIES = ("split", "tags.key_value.key", "tags.key_value.value")  # of few values


@dataclass(frozen=True)
class Weighting:
    """What decides the weights of rows.

    Attributes:
        weights: tag key to tag value to weight.
        needed: a tag without which a row is dropped; None for none.
        folders: folder to weights that count over these for the rows of files in it; of nested
            folders the innermost counts first.
    """

    weights: Weights
    needed: str | None = None
    folders: Mapping[str, Weights] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of `rows` that it depends on."""
        return (*COLUMNS, "file") if self.folders else COLUMNS

    @property
    def places(self) -> dict[str, Weights]:
        """All weights, by where they are."""
        return {"": self.weights} | {f" in {place}": w for place, w in self.folders.items()}

    def of_rows(self, batch: pa.RecordBatch, tags: TagCodes) -> np.ndarray:
        """The weight of every row, float64 (n,)."""
        weight = weights_of(tags, self.weights)
        if self.needed is not None:
            weight = np.where(tags.have(self.needed), weight, 0.0)
        if not self.folders:
            return weight
        files = batch["file"].dictionary_encode(null_encoding="encode")
        chains = [self._chain(file) for file in files.dictionary.to_pylist()]
        number = {chain: i for i, chain in enumerate(dict.fromkeys(chains))}
        chain_of = np.array([number[chain] for chain in chains])[files.indices.to_numpy()]
        for chain, i in number.items():
            if chain:
                weights = merge_weights([self.weights, *(self.folders[name] for name in chain)])
                weight = np.where(chain_of == i, weights_of(tags, weights), weight)
        return weight

    def _chain(self, file: str | None) -> tuple[str, ...]:
        """The folders with weights that a file is in, from the outermost."""
        parents = PurePosixPath(file).parents if file is not None else ()
        return tuple(str(one) for one in reversed(parents) if str(one) in self.folders)


@dataclass(frozen=True)
class _Weighted:
    """A batch of the rows table after a weighting.

    Attributes:
        index: its part of the index table.
        counts: of its tags (`core/audit.py: tag_counts`).
        sizes: of its training rows.
    """

    index: pa.Table
    counts: pa.Table
    sizes: Sizes

    @classmethod
    def of(cls, first: int, batch: pa.RecordBatch, weighting: Weighting, seed: int) -> _Weighted:
        """Decide the copies of every row; `first` is the number of the batch's first row."""
        is_train = _equal(batch["split"], "train")
        n_tokens, tags = batch["n_tokens"].to_numpy(), TagCodes.of(batch["tags"])
        weight = np.where(is_train, weighting.of_rows(batch, tags), 0.0)
        drawn = weighted_copies(batch["row_id"], weight, seed)
        sizes = Sizes()
        sizes.add(drawn, n_tokens, int(np.count_nonzero(is_train)))
        copies = np.minimum(drawn, MOST_ROWS + 1).astype(np.int64)  # more are refused later
        counts = tag_counts(tags, n_tokens, copies, counted=is_train)
        at = np.flatnonzero(copies != 0)
        ids = batch["row_id"].take(pa.array(at))
        index = pa.table({"row": first + at, "row_id": ids, "copies": copies[at]})
        return cls(index, counts, sizes)


def _equal(texts: pa.Array, text: str) -> np.ndarray:
    """Whether each text, none of them null, is this one, bool (n,)."""
    if not pa.types.is_dictionary(texts.type):
        return np.asarray(pc.equal(texts, text))
    return np.asarray(pc.equal(texts.dictionary, text))[texts.indices.to_numpy()]


def _numbered(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Every batch with the number of its first row."""
    first = 0
    for batch in batches:
        yield first, batch
        first += len(batch)


def expand_batches(
    batches: Iterable[pa.RecordBatch],
    weighting: Weighting,
    seed: int,
    write: Callable[[pa.Table], None],
    threads: int = 1,
) -> TagAudit:
    """Apply a weighting to the training rows of a rows table, batch by batch.

    Args:
        batches: of the weighting's `columns` of the rows table, all its rows in order.
        weighting: what decides the weights.
        seed: decides the fractions.
        write: called with every batch of the `index` table (tables.yaml), in order.
        threads: that decide about batches at once; the results are the same.

    Returns:
        What it did to every tag of the training rows.

    Raises:
        IsolossError: a weight names a tag value that no row has, no row is left, or more copies
            would be made than can be laid out.
    """
    audit, sizes = TagAudit(), Sizes()
    kept = 0
    for batch in in_order(
        lambda pair: _Weighted.of(*pair, weighting, seed), _numbered(batches), threads
    ):
        sizes.merge(batch.sizes)
        audit.add_counts(batch.counts)
        write(batch.index)
        kept += len(batch.index)
    _check_names(weighting, audit)
    sizes.check()
    if not kept:
        raise IsolossError(
            Problem("weights", "they drop every training row", "give some rows a weight above 0")
        )
    return audit


def _check_names(weighting: Weighting, audit: TagAudit) -> None:
    """Raise an error for a weight of a tag that no row has."""
    for place, weights in weighting.places.items():
        for key, values in weights.items():
            known = audit.values(key)
            for value in values:
                if value not in known:
                    what, hint = f"weight of {key}{place}", nearest(value, known)
                    raise IsolossError(Problem(what, f"no row has {value!r}", hint))
