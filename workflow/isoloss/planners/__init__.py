"""Planner cards: each chooses the next runs of a sweep from the fit of those so far."""
