"""Simulated studies: how well a plan, a law and an estimator recover a known truth."""
