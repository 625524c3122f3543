"""Room 2. Rows are repeated or dropped by the weights of their tags."""

from isoloss.expand.weights import (
    expand_batches,
    expand_rows,
    merge_weights,
    row_copies,
    row_weight,
    tag_weights,
)

__all__ = [
    "expand_batches",
    "expand_rows",
    "merge_weights",
    "row_copies",
    "row_weight",
    "tag_weights",
]
