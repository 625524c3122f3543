"""Room 1. A dataset card's pieces become rows: identity, tags, and the side they stand on."""

from isoloss.load.rows import identity, load_rows

__all__ = ["identity", "load_rows"]
