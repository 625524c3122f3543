"""The runs whose loss the replicates of the fit disagree on most for their compute."""

from __future__ import annotations

from isoloss.planners._ensemble import Ensemble, in_turn
from isoloss.planners._planner import Choice, State

TITLE = "Greatest disagreement about the loss"
ABOUT = (
    "Of a grid of sizes and budgets that are affordable, trains those whose predicted log loss has "
    "the greatest variance per FLOP over the bootstrap replicates of the fit, one after the other."
)
SOURCE = "Query by committee: Seung, Opper and Sompolinsky 1992, COLT, p. 287"
KINDS = ["joint"]  # others are not fitted to the losses of single runs
REPLICATES = True
OPTIONS_OF = "least_variance"


def choose(state: State, factor: float, runs: int) -> list[Choice]:
    """The runs whose loss is known least.

    Args:
        state: what is known.
        factor: compute of all new runs together over that of the largest run so far.
        runs: how many at most.
    """
    why = "of the runs within reach the replicates disagree most on its loss for its compute"
    return in_turn(state, factor, runs, Ensemble.disagreement, why)
