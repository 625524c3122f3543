"""What intervals of error rates covered least (by benchmarks/coverage_rates.py)."""

SIMULATED = (("bootstrap", 0.01, 24, 0, "parameters", 0.95),)
