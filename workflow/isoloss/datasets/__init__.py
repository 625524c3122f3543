"""Dataset cards. A card offers `sources(**options)` and `pieces(**options)`; see python_stdlib."""
