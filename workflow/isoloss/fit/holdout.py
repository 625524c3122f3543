"""Which runs a fit does not see."""

from __future__ import annotations

import numpy as np
import pandas as pd

SAME_BUDGET = 1.1  # budgets within this factor are one: D is rounded to whole steps


def held_out(runs: pd.DataFrame, rule: str) -> np.ndarray:
    """Mask of held-out runs, bool (n,).

    Args:
        runs: the runs that a fit looks at.
        rule: `none`, or `largest_compute`: all runs of the largest budget C.
    """
    if rule == "none":
        return np.zeros(len(runs), dtype=bool)
    return last_budget(runs)


def last_budget(runs: pd.DataFrame) -> np.ndarray:
    """Mask of the runs at the largest C, to a factor of SAME_BUDGET, bool (n,)."""
    flops = runs["n_flops"].to_numpy(float)
    return flops >= flops.max() / SAME_BUDGET
