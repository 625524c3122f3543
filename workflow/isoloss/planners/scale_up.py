"""The step of seed, fit, scale, step: train at the optimum of a larger budget."""

from __future__ import annotations

from isoloss.planners._planner import Choice, State

TITLE = "Scale up along the optimum"
ABOUT = (
    "Trains at the N and D that the fit gives for a budget of `factor` times the largest run so "
    "far, or at several budgets in equal ratios up to it. A budget beyond the target is cut to it."
)
SOURCE = (
    "Hoffmann et al. 2022, arXiv:2203.15556, section 3.3: the fit of small runs gives N and D of a "
    "larger one; repeated step by step"
)
OPTIONS = {
    "factor": {
        "type": "number",
        "exclusiveMinimum": 1,
        "maximum": 10_000,
        "default": 2.0,
        "description": "C of the largest new run over that of the largest run so far.",
    },
    "runs": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "default": 1,
        "description": "New runs, at budgets in equal ratios up to the largest.",
    },
}


def choose(state: State, factor: float, runs: int) -> list[Choice]:
    """The optima of `runs` budgets, largest first.

    Args:
        state: what is known.
        factor: C of the largest new run over that of the largest run so far.
        runs: how many.
    """
    ratio = state.scaled(factor) / state.largest
    budgets = [state.largest * ratio ** (i / runs) for i in range(runs, 0, -1)]
    optima = map(state.optimum, budgets)
    return [Choice(best.n_params, best.n_samples, str(best)) for best in optima]
