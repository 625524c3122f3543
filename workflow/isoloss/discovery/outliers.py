"""Runs far from every law, as a row in another unit is: one of them decides a mean of errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isoloss.core.escape import listed

FAR = 30.0  # times the middle error of a group, at least, that a run is far by
AS_GOOD = 2.0  # times the least middle error: laws among which that of fewest parameters judges
SHARE = 0.05  # of a group's runs at most (or one of them): more runs are not called far


def outliers(
    y: np.ndarray, made: np.ndarray, sizes: Sequence[int], group: np.ndarray, positive: bool
) -> np.ndarray:
    """The runs that a law misses by more than the other runs of their group span, bool (n,).

    The law is that whose middle error is least; of those nearly as good, one of fewest parameters,
    since a law with a part to spare may bend to a wrong row.

    Args:
        y: responses, (n,).
        made: what each law predicts when it is fitted to all runs, (k, n).
        sizes: parameters of each.
        group: number of the group of every run, (n,).
        positive: whether responses are above 0 throughout, and errors those of logarithms.

    >>> y = np.array([3.0, 2.0, 1.5, 120.0])
    >>> outliers(y, np.array([[3.01, 2.01, 1.51, 1.2]]), [3], np.zeros(4, dtype=int), True)
    array([False, False, False,  True])
    """
    with np.errstate(all="ignore"):
        axis, predicted = (np.log(y), np.log(made)) if positive else (y, made)
        errors = np.abs(predicted - axis)
    errors = np.where(np.isfinite(errors), errors, np.inf)
    middle = np.median(errors, axis=1)
    good = np.flatnonzero(middle <= AS_GOOD * middle.min())
    missed = errors[min(good, key=lambda at: (sizes[at], middle[at]))]
    far = np.zeros(len(y), dtype=bool)
    for g in np.unique(group):
        own = group == g
        apart = own & (missed > FAR * np.median(missed[own]))
        others = own & ~apart
        beyond = apart & np.isfinite(missed) & (missed > np.ptp(axis[others]))
        if beyond.sum() <= max(1, SHARE * own.sum()):
            far |= beyond
    return far


def note(rows: Sequence[int], left_out: bool = True) -> str:
    """What is told of runs that are far, of their numbers in the table from 0."""
    several = len(rows) != 1
    head = f"{len(rows)} runs are" if several else "1 run is"
    do = "left out of the comparison" if left_out else "decides it: correct it, or leave it out"
    if several and not left_out:
        do = "decide it: correct them, or leave them out"
    word = "rows" if several else "row"
    return f"{head} far from the law and {do}: {word} {listed([int(i) + 1 for i in rows], 6)}"
