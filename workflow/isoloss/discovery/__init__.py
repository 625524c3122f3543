"""Search a table of runs for its law: forms from terms of the field, ranked by extrapolation."""
