"""Room 2. Rows are repeated or dropped by the weights of their tags."""

from isoloss.expand.weights import expand_rows, expand_table, merge_weights, row_copies, row_weight

__all__ = ["expand_rows", "expand_table", "merge_weights", "row_copies", "row_weight"]
