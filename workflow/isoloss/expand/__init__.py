"""The stage expand: repeat or drop rows by the weights of their tags."""

from isoloss.core import lazy

_NAMES = (
    "expand_batches",
    "expand_rows",
    "merge_weights",
    "row_copies",
    "row_weight",
    "tag_weights",
)
__getattr__ = lazy.names(__name__, dict.fromkeys(_NAMES, "isoloss.expand.weights"))
