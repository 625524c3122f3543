"""The stage load: cut a dataset into rows with identity, tags and split."""

from isoloss.core import lazy

__getattr__ = lazy.names(__name__, dict.fromkeys(["identity", "load_rows"], "isoloss.load.rows"))
