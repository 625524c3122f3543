"""Replicates of a fit: what else the runs could have been."""

from __future__ import annotations

import numpy as np

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fit.objectives import MAD

INTERVALS = ("bootstrap", "residual", "parametric", "profile", "none")
TOGETHER = 4096  # replicates of a block: so many ends are tried for each of them
NUMBERS = 1 << 25  # in one array of a block, 256 MiB


def blocks(count: int, runs: int) -> list[int]:
    """Sizes of the blocks in which replicates are drawn and refitted, so that memory is bounded.

    They depend on the numbers of replicates and runs alone, and are as equal as can be. The
    replicates of a block are compared with each other (`optimize.refit`), not with those of other
    blocks; what is drawn is the same however it is divided. 4000 replicates of up to 8388 runs
    are one block.

    Args:
        count: replicates.
        runs: fitted.
    """
    size = max(1, min(TOGETHER, NUMBERS // max(1, runs)))
    number = max(1, -(-count // size))
    ends = [count * (i + 1) // number for i in range(number)]
    return [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def weights(weight: np.ndarray, clusters: np.ndarray, count: int, rng) -> np.ndarray:
    """Bootstrap of runs, or of whole clusters: fit_weight times the times drawn, (r, n).

    Args:
        weight: of every run, (n,).
        clusters: number of the cluster of every run, from 0, (n,); all different for runs.
        count: replicates r.
        rng: NumPy generator.
    """
    number = int(clusters.max()) + 1 if len(clusters) else 0
    drawn = rng.multinomial(number, np.full(number, 1 / number), size=count)
    return weight * drawn[:, clusters]


def losses(
    method: str,
    predicted: np.ndarray,
    loss: np.ndarray,
    logarithmic: bool,
    terms: int,
    count: int,
    rng,
) -> np.ndarray:
    """Losses drawn around the law, (r, n).

    Args:
        method: `residual` draws the fit's own residuals, widened for the terms fitted;
            `parametric` draws normal noise of their robust spread, widened too.
        predicted: by the law, (n,).
        loss: observed, (n,).
        logarithmic: whether noise multiplies the loss, or adds to it.
        terms: parameters fitted.
        count: replicates r.
        rng: NumPy generator.
    """
    n = len(loss)
    residual = np.log(loss / predicted) if logarithmic else loss - predicted
    residual = (residual - residual.mean()) * np.sqrt(n / max(1, n - terms))
    if method == "residual":
        noise = residual[rng.integers(0, n, size=(count, n))]
    else:
        spread = MAD * np.median(np.abs(residual - np.median(residual)))
        noise = rng.standard_normal((count, n)) * (spread if spread > 0 else residual.std())
    return predicted * np.exp(noise) if logarithmic else predicted + noise


def clusters_of(runs, column: str | None) -> np.ndarray:
    """Number of the cluster of every run, (n,): one a run without a column.

    Raises:
        IsolossError: there is no such column.
    """
    if column is None:
        return np.arange(len(runs))
    if column not in runs:
        raise IsolossError(Problem("cluster", f"no column {column!r}", nearest(column, runs)))
    return runs.groupby(column, dropna=False, sort=True).ngroup().to_numpy()
