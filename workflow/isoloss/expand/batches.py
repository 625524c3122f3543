"""A weighting of the rows of a dataset, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core.audit import TagAudit
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
        row_ids: of every row (n,).
        tags: of every row.
        n_tokens: of every row, int (n,).
        is_train: whether each is a training row, bool (n,).
        copies: of each, 0 for other rows, float64 (n,).
    """

    row_ids: pa.Array
    tags: TagCodes
    n_tokens: np.ndarray
    is_train: np.ndarray
    copies: np.ndarray

    @classmethod
    def of(cls, batch: pa.RecordBatch, weighting: Weighting, seed: int) -> _Weighted:
        """Decide the copies of every row."""
        is_train = np.asarray(pc.equal(batch["split"], "train"))
        tags = TagCodes.of(batch["tags"])
        weight = np.where(is_train, weighting.of_rows(batch, tags), 0.0)
        copies = weighted_copies(batch["row_id"], weight, seed)
        return cls(batch["row_id"], tags, batch["n_tokens"].to_numpy(), is_train, copies)


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
    first = kept = 0
    for batch in in_order(lambda b: _Weighted.of(b, weighting, seed), batches, threads):
        sizes.add(batch.copies[batch.is_train], batch.n_tokens[batch.is_train])
        # more are refused below
        copies = np.minimum(batch.copies, MOST_ROWS + 1).astype(np.int64)
        audit.add_codes(batch.tags, batch.n_tokens, copies, counted=batch.is_train)
        at = np.flatnonzero(copies)
        ids = batch.row_ids.take(pa.array(at))
        write(pa.table({"row": first + at, "row_id": ids, "copies": copies[at]}))
        first, kept = first + len(copies), kept + len(at)
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
