"""The runs that shrink the variance of the optimum at the target most for their compute."""

from __future__ import annotations

from isoloss.planners._ensemble import Ensemble, in_turn
from isoloss.planners._planner import Choice, State

TITLE = "Least variance of the optimum at the target"
ABOUT = (
    "Of a grid of sizes and budgets that are affordable, trains those that shrink the variance of "
    "ln N at the best division of the target most per FLOP, one after the other, by the bootstrap "
    "replicates of the fit. Without a target it is the largest budget of the grid."
)
SOURCE = (
    "c-optimal design: Elfving 1952, Annals of Mathematical Statistics 23:255; Atkinson, Donev and "
    "Tobias 2007, Optimum Experimental Designs, chapter 10; replicates updated as in Whitaker and "
    "Hamill 2002, Monthly Weather Review 130:1913, for one observation after the other"
)
KINDS = ["joint"]  # others are not fitted to the losses of single runs
REPLICATES = True
OPTIONS = {
    "factor": {
        "type": "number",
        "exclusiveMinimum": 1,
        "maximum": 10_000,
        "default": 4.0,
        "description": "C of all new runs together over that of the largest run so far.",
    },
    "runs": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "default": 8,
        "description": "New runs at most.",
    },
}


def choose(state: State, factor: float, runs: int) -> list[Choice]:
    """The runs that tell most of the best N at the target.

    Args:
        state: what is known.
        factor: compute of all new runs together over that of the largest run so far.
        runs: how many at most.
    """
    why = "of the runs within reach it tells most of the optimum for its compute"
    return in_turn(state, factor, runs, Ensemble.gain, why)
