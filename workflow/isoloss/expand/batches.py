"""A weighting of the rows of a dataset, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core.audit import TagAudit
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.tag_codes import TagCodes
from isoloss.expand.weights import MOST_ROWS, Sizes, Weights, weighted_copies, weights_of

COLUMNS = ("row_id", "n_tokens", "tags", "split")  # of `rows`, which a weighting depends on
CATEGORIES = ("split", "tags.key_value.key", "tags.key_value.value")  # of few values


def expand_batches(
    batches: Iterable[pa.RecordBatch],
    weights: Weights,
    seed: int,
    write: Callable[[pa.Table], None],
) -> TagAudit:
    """Apply a weighting to the training rows of a rows table, batch by batch.

    Args:
        batches: of the COLUMNS of the rows table, all its rows in order.
        weights: tag key to tag value to weight.
        seed: decides the fractions.
        write: called with every batch of the `index` table (tables.yaml), in order.

    Returns:
        What it did to every tag of the training rows.

    Raises:
        IsolossError: a weight names a tag value that no row has, no row is left, or more copies
            would be made than can be laid out.
    """
    audit, sizes = TagAudit(), Sizes()
    first = kept = 0
    for batch in batches:
        is_train = np.asarray(pc.equal(batch["split"], "train"))
        tags, n_tokens = TagCodes.of(batch["tags"]), batch["n_tokens"].to_numpy()
        weight = np.where(is_train, weights_of(tags, weights), 0.0)
        copies = weighted_copies(batch["row_id"], weight, seed)
        sizes.add(copies[is_train], n_tokens[is_train])
        copies = np.minimum(copies, MOST_ROWS + 1).astype(np.int64)  # so many are refused below
        audit.add_codes(tags, n_tokens, copies, counted=is_train)
        at = np.flatnonzero(copies)
        ids = batch["row_id"].take(pa.array(at))
        write(pa.table({"row": first + at, "row_id": ids, "copies": copies[at]}))
        first, kept = first + len(batch), kept + len(at)
    _check_names(weights, audit)
    sizes.check()
    if not kept:
        raise IsolossError(
            Problem("weights", "they drop every training row", "give some rows a weight above 0")
        )
    return audit


def _check_names(weights: Weights, audit: TagAudit) -> None:
    """Raise an error for a weight of a tag that no row has."""
    for key, values in weights.items():
        known = audit.values(key)
        for value in values:
            if value not in known:
                hint = nearest(value, known)
                raise IsolossError(Problem(f"weight of {key}", f"no row has {value!r}", hint))
