"""The stage expand: repeat or drop rows by the weights of their tags."""

from isoloss.core import lazy

_HOMES = {
    "isoloss.expand.batches": ("Weighting", "expand_batches"),
    "isoloss.expand.by_weight": (
        "expand_rows_by_weight",
        "merge_weights_maps",
        "resolve_row_weight",
        "weight_distribution",
    ),
    "isoloss.expand.rows": ("copies_of_rows", "expand_rows"),
    "isoloss.expand.weights": (
        "merge_weights",
        "row_copies",
        "row_weight",
        "tag_weights",
    ),
}
__getattr__ = lazy.names(__name__, {name: home for home, names in _HOMES.items() for name in names})
