"""A curve of equal compute at a larger budget: sizes on both sides of the optimum."""

from __future__ import annotations

import math

from isoloss.planners._planner import Choice, State

TITLE = "Sizes around the optimum at one budget"
ABOUT = (
    "Trains `runs` sizes at `factor` times the compute of the largest run so far, in equal ratios "
    "over the interval of the best N and `beyond` that, so that the next fit sees the curve of the "
    "loss on both sides of its optimum. A budget beyond the target is cut to it."
)
SOURCE = "Hoffmann et al. 2022, arXiv:2203.15556, section 3.2: IsoFLOP profiles"
OPTIONS = {
    "factor": {
        "type": "number",
        "exclusiveMinimum": 1,
        "maximum": 10_000,
        "default": 2.0,
        "description": "C of each new run over that of the largest run so far.",
    },
    "runs": {
        "type": "integer",
        "minimum": 2,
        "maximum": 100,
        "default": 3,
        "description": "New runs, each of a size of its own.",
    },
    "beyond": {
        "type": "number",
        "minimum": 1,
        "maximum": 100,
        "default": 2.0,
        "description": "How far the sizes reach beyond the ends of the interval, as a factor.",
    },
    "widest": {
        "type": "number",
        "exclusiveMinimum": 1,
        "maximum": 1000,
        "default": 8.0,
        "description": "Most that a size differs from the best one, as a factor, where the "
        "interval is wide or there is none.",
    },
}


def choose(state: State, factor: float, runs: int, beyond: float, widest: float) -> list[Choice]:
    """Sizes around the optimum of one budget, the nearest to it first.

    Args:
        state: what is known.
        factor: C of each new run over that of the largest run so far.
        runs: how many sizes.
        beyond: how far they reach beyond the interval of the best N, as a factor.
        widest: most that a size differs from the best one, as a factor.
    """
    best = state.optimum(state.scaled(factor))
    centre, reach = math.log(best.n_params), math.log(widest)
    ends = [math.log(end) for end in (best.n_low / beyond, best.n_high * beyond)]
    if not all(map(math.isfinite, ends)):  # no interval
        ends = [-math.inf, math.inf]
    low, high = max(ends[0], centre - reach), min(ends[1], centre + reach)
    sizes = [math.exp(low + (high - low) * i / (runs - 1)) for i in range(runs)]
    sizes.sort(key=lambda n: abs(math.log(n) - centre))
    return [
        Choice(n, best.flops / 6.0 / n, f"{n / best.n_params:.3g} times the N of {best}")
        for n in sizes
    ]
