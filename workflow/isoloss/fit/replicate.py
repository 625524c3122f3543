"""What is drawn for the replicates of a fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from isoloss.core.seeds import generator
from isoloss.fit import resample
from isoloss.fit.prepare import FittedRuns
from isoloss.fit.settings import Settings
from isoloss.fit.solution import Solution

Draw = tuple[np.ndarray, np.ndarray | None]  # weights of the runs (r, n); losses, or None


def drawn(
    runs: FittedRuns, solution: Solution, settings: Settings, together: int
) -> Iterator[Draw]:
    """Weights of the runs (r, n), and losses (r, n) where replicates have their own, by block.

    Args:
        runs: of the fit.
        solution: of it.
        settings: of all fits.
        together: runs that are refitted at once, of all groups that share parameters.
    """
    count, law, estimate = settings.bootstrap, runs.law, solution.estimate
    rng = generator(settings.seed, "bootstrap", runs.group)
    if settings.interval in ("residual", "parametric"):
        predicted = law.given(estimate.state).loss(estimate.theta, runs.data)
        noise = predicted, runs.loss, settings.objective.logarithmic, len(law.terms)
        for size in resample.blocks(count, together):
            losses = resample.losses(settings.interval, *noise, size, rng)
            yield np.broadcast_to(runs.weight, losses.shape), losses
        return
    clusters, number = clusters_of(runs.fitted, settings)
    if number == 1:
        count = 0  # whatever is drawn is the same
    for size in resample.blocks(count, together):
        yield resample.weights(runs.weight, clusters, size, rng), None


def clusters_of(fitted: pd.DataFrame, settings: Settings) -> tuple[np.ndarray, int | None]:
    """The cluster of every run, and how many there are; None where runs are drawn one by one."""
    clusters = resample.clusters_of(fitted, settings.cluster)
    return clusters, None if settings.cluster is None else int(clusters.max()) + 1
