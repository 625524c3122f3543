"""What intervals of error rates covered least (by benchmarks/coverage_rates.py)."""

# Interval, delta of huber_scaled, runs of the design, seeds that share noise (none), what was
# covered less often (parameters, or a prediction), and how often it was, over laws and noises.
SIMULATED = (
    ("bootstrap", 0.01, 24, 0, "error at 3 N", 0.9387),
    ("bootstrap", 0.01, 60, 0, "error at 3 N", 0.9313),
    ("bootstrap", 0.01, 240, 0, "error at 3 N", 0.9387),
    ("residual", 0.01, 24, 0, "parameters", 0.8933),
    ("residual", 0.01, 60, 0, "parameters", 0.9050),
    ("residual", 0.01, 240, 0, "parameters", 0.9183),
    ("parametric", 0.01, 24, 0, "parameters", 0.8650),
    ("parametric", 0.01, 60, 0, "parameters", 0.9233),
    ("parametric", 0.01, 240, 0, "parameters", 0.9350),
    ("profile", 0.01, 24, 0, "parameters", 0.9517),
    ("profile", 0.01, 60, 0, "parameters", 0.9567),
    ("profile", 0.01, 240, 0, "parameters", 0.9633),
)
