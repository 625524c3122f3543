"""Room 1. A dataset card's pieces become rows: identity, tags, and the side they stand on."""

from isoloss.core import lazy

__getattr__ = lazy.names(__name__, dict.fromkeys(["identity", "load_rows"], "isoloss.load.rows"))
