"""Which runs a fit does not see."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.problems import IsolossError, nearest, problem

SAME_BUDGET = 1.1  # budgets within this factor are one: D is rounded to whole steps


def held_out(runs: pd.DataFrame, rule: str | None) -> np.ndarray:
    """Mask of held-out runs, bool (n,).

    Args:
        runs: the runs that a fit looks at.
        rule: `none` (or None), or `largest_compute`: all runs of the largest budget C.

    Raises:
        IsolossError: there is no such rule.
    """
    if rule not in (None, "none", "largest_compute"):
        known = nearest(rule, ("none", "largest_compute"))
        raise IsolossError(problem("holdout", f"unknown {rule!r}", known))
    if rule in (None, "none"):
        return np.zeros(len(runs), dtype=bool)
    return last_budget(runs)


def last_budget(runs: pd.DataFrame) -> np.ndarray:
    """Mask of the runs at the largest C, to a factor of SAME_BUDGET, bool (n,)."""
    flops = runs["n_flops"].to_numpy(float)
    return flops >= flops.max() / SAME_BUDGET
