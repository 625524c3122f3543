"""Which runs have the same compute budget: the rule that hold-outs, laws and figures share."""

from __future__ import annotations

import numpy as np

SAME_BUDGET = 1.1  # ratio of the largest to the smallest compute of a budget, at most


def budget_numbers(flops: np.ndarray) -> np.ndarray:
    """The number of the budget of every run, from 0, smallest budget first.

    A budget begins with the smallest compute that is in none yet and takes what is at most
    SAME_BUDGET times as large: sizes and lengths are whole numbers, so runs of one budget differ a
    little. Neighbours are not chained; compute that fills a range without gaps, as of runs
    collected from papers, would otherwise be one budget and leave nothing to hold out.

    Args:
        flops: compute of every run, (n,). Runs whose compute is not known (NaN) are counted to the
            largest budget.

    Returns:
        Integers (n,).

    Example:
        >>> budget_numbers(np.array([2e18, 1e18, 1.05e18, 1.12e18]))
        array([2, 0, 0, 1])
    """
    flops = np.asarray(flops, dtype=float)
    order = np.argsort(flops, kind="stable")
    rising = flops[order]
    known = int(np.searchsorted(rising, np.inf, side="right"))
    numbers = np.zeros(len(flops), dtype=int)
    number, first = -1, 0
    while first < known:
        number += 1
        end = int(np.searchsorted(rising[:known], rising[first] * SAME_BUDGET, side="right"))
        numbers[order[first:end]] = number
        first = end
    numbers[order[known:]] = max(number, 0)
    return numbers
