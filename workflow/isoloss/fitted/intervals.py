"""Intervals: percentiles of replicates, and those of a normal distribution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import NormalDist

import numpy as np

from isoloss.core.problems import IsolossError, Problem
from isoloss.laws._law import Estimate, Law

Interval = tuple[np.ndarray, np.ndarray]
LEVELS = 0.01, 0.9999  # least and greatest
BIAS = 0.5  # standard normal deviate, the most that a median bias is corrected for
_NUMBERS = 2_000_000  # of an array of predictions
_NORMAL = NormalDist()  # scipy.special has it too, and takes longer to import than a fit takes
_LEAST = 1e-9  # share of replicates below an estimate: its deviate is far beyond BIAS


def checked_level(level: float) -> float:
    """The level of an interval, a share.

    Raises:
        IsolossError: it is not one, such as 95.
    """
    least, most = LEVELS
    if not least <= level <= most:
        raise IsolossError(Problem("level", f"found {level:g}", f"needs {least:g} to {most:g}"))
    return level


def quantiles(
    values: np.ndarray, level: float, centre: np.ndarray | float | None = None
) -> Interval:
    """Percentile interval over the first axis; NaN where there is nothing.

    Args:
        values: replicates, (r, ...).
        level: of the interval.
        centre: the estimate, (...); the percentiles are then corrected for the median bias of
            the replicates around it (Efron 1982), which covers best (docs/coverage.md). Of an
            estimate far out in the replicates, at a bound as a rule, it is corrected in part.
    """
    if len(values) == 0:
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing
    tail = (1 - level) / 2
    if centre is None:
        low, high = np.quantile(values, [tail, 1 - tail], axis=0)
        return low, high
    below = (values < centre).mean(axis=0) + 0.5 * (values == centre).mean(axis=0)
    shift = 2 * np.clip(_each(_NORMAL.inv_cdf, np.clip(below, _LEAST, 1 - _LEAST)), -BIAS, BIAS)
    ordered = np.sort(values, axis=0)
    ends = []
    for z in (_NORMAL.inv_cdf(tail), _NORMAL.inv_cdf(1 - tail)):
        place = _each(_NORMAL.cdf, shift + z) * (len(values) - 1)
        under = np.floor(place).astype(int)
        over = np.minimum(under + 1, len(values) - 1)
        at, above = (np.take_along_axis(ordered, i[None], axis=0)[0] for i in (under, over))
        with np.errstate(invalid="ignore"):
            between = at + (place - under) * (above - at)
        # where one of two neighbours is infinite, so is what lies between them
        ends.append(np.where((at == above) | (place == under), at, between)[()])
    return ends[0], ends[1]


def band(
    law: Law,
    best: Estimate,
    replicates: Estimate,
    data: Mapping[str, np.ndarray],
    level: float,
) -> Interval:
    """Interval of a law's loss at points, (n,) each; within the range of the response.

    By the law's posterior SD where it has one: replicates of a smoother are too much alike away
    from its runs. Else by replicates; NaN without any.

    Args:
        law: fitted.
        best: the estimate, theta (p,).
        replicates: estimates, theta (r, p).
        data: variables, (n,) each.
        level: of the interval.
    """
    estimated, drawn = law.given(best.state), law.given(replicates.state)
    loss, sd = estimated.loss(best.theta, data), estimated.posterior_sd(best.theta, data)
    if sd.any():
        low, high = normal_interval(loss, sd, level)
        return law.within(low), law.within(high)
    size = max(1, _NUMBERS // max(1, len(replicates)))  # points at once: memory is bounded
    pieces = [
        quantiles(
            drawn.loss(replicates.theta, {k: v[at : at + size] for k, v in data.items()}),
            level,
            loss[at : at + size],
        )
        for at in range(0, len(loss), size)
    ]
    low, high = (law.within(np.concatenate(side)) for side in zip(*pieces, strict=True))
    return low, high


def normal_interval(mean: np.ndarray, sd: np.ndarray, level: float) -> Interval:
    """The middle of a normal distribution that has a level."""
    wide = _NORMAL.inv_cdf((1 + level) / 2) * sd
    return mean - wide, mean + wide


def _each(function: Callable[[float], float], values: np.ndarray) -> np.ndarray:
    """A function of every value, in the shape of the values."""
    return np.array([function(value) for value in np.ravel(values)]).reshape(np.shape(values))
