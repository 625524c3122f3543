"""Samples of the local posterior around trained weights; the local learning coefficient (LLC)."""
