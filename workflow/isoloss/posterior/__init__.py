"""Samples of the local posterior around trained weights, and the local learning coefficient."""
