"""The stage load: cut a dataset into rows with identity, tags and split."""

from isoloss.core import lazy

__getattr__ = lazy.names(
    __name__,
    {
        "identity": "isoloss.load.content",
        "load_rows": "isoloss.load.rows",
        "Writers": "isoloss.load.rows",
    },
)
