"""Profile likelihood: how far a term can move before the runs speak against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from isoloss.fit.objectives import MAD, Objective
from isoloss.laws._law import Term

if TYPE_CHECKING:
    from isoloss.fit.solve import Optimum

_POINTS = 12  # on each side of the optimum
_MATRIX = 1000  # runs of a cluster that are looked at as one matrix
SMALL, LARGE = 1e-3, 10.0  # values that are hardly exponents
_LEFT = 1e-6  # least share of a direction that the fit leaves of a cluster's residuals


def profiles(optimum: Optimum, clusters: np.ndarray, level: float) -> pd.DataFrame:
    """The objective along every free term, as a drop of the log likelihood.

    The objective's rise is divided by what noise makes of it, so that `excess` compares with the
    quantile `limit` of F(1, n - p); of noise that g clusters share, with that of F(1, g - 1).

    Args:
        optimum: the optimum.
        clusters: number of the cluster of every run, from 0, (n,); all different for runs.
        level: of the interval that the limit bounds.

    Returns:
        Rows of `profiles`: term, value (in its unit), objective_value, excess, limit.
    """
    from scipy.special import fdtri  # here: most fits have no profiles, and it imports slowly

    problem, terms = optimum.problem, optimum.problem.affine.terms
    predicted = problem.predicted(optimum.ends.free[:1])[0]
    noise = problem.objective.residual(predicted, problem.loss), problem.loss, optimum.weight
    ratio = likelihood_ratio(problem.objective, *noise, len(terms))
    number = int(clusters.max()) + 1
    shared = number < len(clusters)
    degrees = max(1, number - 1 if shared else len(clusters) - len(terms))
    limit = float(fdtri(1, degrees, level))  # a quantile of F(1, degrees)
    unit = optimum.objective.unit(optimum.size)
    pieces = [empty()]
    for name in terms:
        term = optimum.law.terms[optimum.law.index(name)]
        own = ratio
        if shared:
            slopes, where = optimum.slopes(name)
            own /= cluster_inflation(problem.objective, *noise, slopes, clusters, where, len(terms))
        scale = _scale(term, float(optimum.theta[optimum.law.index(name)]))
        span = 0.2 if term.log else 0.05 * scale
        for _ in range(9):  # until both sides are above the limit, and the limit is well resolved
            values, objective, best = optimum.profile(name, span, _POINTS)
            with np.errstate(invalid="ignore"):
                excess = (objective - best) * own
            excess[np.isnan(excess)] = np.inf  # no value there
            if span > 40 * scale or (1.5 * limit < min(excess[0], excess[-1]) < 12 * limit):
                break
            span *= 2.0 if min(excess[0], excess[-1]) <= 1.5 * limit else 0.4
            if max(excess[0], excess[-1]) > 1e4 * limit and min(excess[0], excess[-1]) <= limit:
                break  # a bound, or nothing, on one side
        values, kept = np.unique(values, return_index=True)  # those at a bound are one
        if term.sign < 0:  # so that values ascend
            values, kept = values[::-1], kept[::-1]
        pieces.append(
            pd.DataFrame(
                {
                    "term": name,
                    "value": term.value(values),
                    "objective_value": objective[kept] * unit,
                    "excess": excess[kept],
                    "limit": limit,
                }
            )
        )
    return pd.concat([p for p in pieces if len(p)] or pieces, ignore_index=True)


def _scale(term: Term, estimate: float) -> float:
    """The size of steps of a coordinate: 1 of logarithms and exponents, else that of its value."""
    size = abs(estimate)
    return size if not term.log and (size > LARGE or 0 < size < SMALL) else 1.0


def empty() -> pd.DataFrame:
    """Profiles of nothing."""
    columns = {name: float for name in ("value", "objective_value", "excess", "limit")}
    return pd.DataFrame({"term": [], **{name: [] for name in columns}}).astype(columns)


def likelihood_ratio(
    objective: Objective, residual: np.ndarray, loss: np.ndarray, weight: np.ndarray, terms: int
) -> float:
    """What turns a rise of the objective into a robust likelihood ratio statistic.

    Twice the ratio of the mean second to the mean squared first derivative of the penalties. A
    fit passes through or near as many runs as it has terms; those of the smallest residuals say
    nothing of the noise and are left out (it covers better: docs/coverage.md).

    Args:
        objective: what was minimised.
        residual: of every run, as the objective has it, (n,).
        loss: observed, (n,).
        weight: of every run, (n,).
        terms: fitted.

    Returns:
        A factor; infinite where nothing is left of the residuals.
    """
    told = np.argsort(np.abs(residual), kind="stable")[min(terms, len(residual) - 1) :]
    residual, loss, weight = residual[told], loss[told], weight[told]
    width = MAD * np.median(np.abs(residual - np.median(residual))) / len(told) ** 0.2
    width = max(width, 1e-300)
    # the mean second derivative, over the width of a density estimate: Huber's is 0 or 1
    above, below = (objective.slope(residual + step, loss) for step in (width, -width))
    noise = np.average(objective.slope(residual, loss) ** 2, weights=weight)
    curvature = np.average((above - below) / (2 * width), weights=weight)
    return float(2 * curvature / noise) / weight.sum() * len(told) if noise > 0 else float("inf")


def cluster_inflation(
    objective: Objective,
    residual: np.ndarray,
    loss: np.ndarray,
    weight: np.ndarray,
    slopes: np.ndarray,
    clusters: np.ndarray,
    which: int,
    terms: int,
) -> float:
    """How many times clusters widen the variance of a coordinate's score.

    Its sums over clusters against those over runs, the scores of a cluster lifted by the inverse
    root of what the fit leaves of them (CR2 of Bell and McCaffrey 2002).

    Args:
        objective: what was minimised.
        residual: of every run, as the objective has it, (n,).
        loss: observed, (n,).
        weight: of every run, (n,).
        slopes: derivatives of the residuals by the coordinates, (n, q).
        clusters: number of the cluster of every run, from 0, (n,).
        which: the coordinate asked for.
        terms: fitted.

    Returns:
        A factor, 1 where the runs of a cluster know nothing of each other.
    """
    score, root = objective.slope(residual, loss), np.sqrt(weight)
    basis = np.linalg.qr(root[:, None] * slopes)[0]
    # a row of the pseudo-inverse: the slope by the coordinate, freed of the others
    own = np.linalg.pinv(root[:, None] * slopes)[which] * root
    sums = []
    for cluster in range(int(clusters.max()) + 1):
        members = np.flatnonzero(clusters == cluster)
        sums.append(own[members] @ _lifted(basis[members], score[members]))
    told = np.argsort(np.abs(residual), kind="stable")[min(terms, len(residual) - 1) :]
    noise = np.average(score[told] ** 2, weights=weight[told])
    return float(np.sum(np.square(sums)) / (noise * np.sum(own**2)))


def _lifted(basis: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Scores of a cluster over the root of what the fit leaves of them, (m,)."""
    if len(score) <= _MATRIX:
        left, along = np.linalg.eigh(np.eye(len(score)) - basis @ basis.T)
        return along @ (along.T @ score / np.sqrt(np.maximum(left, _LEFT)))
    # the same without a matrix of runs by runs: all but a few directions are left as they are
    along, taken, _ = np.linalg.svd(basis, full_matrices=False)
    lift = 1 / np.sqrt(np.maximum(1 - taken**2, _LEFT)) - 1
    return score + along @ (lift * (along.T @ score))


def crossing(profile: pd.DataFrame) -> tuple[float, float]:
    """Where the excess of one term's rows passes the limit; infinite on a side without."""
    excess, value = profile["excess"].to_numpy(), profile["value"].to_numpy()
    limit, middle = profile["limit"].iloc[0], int(np.argmin(profile["excess"]))
    ends = []
    sides = (range(middle, 0, -1), range(middle, len(value) - 1))
    for side, step in zip(sides, (-1, 1), strict=True):
        end = step * np.inf
        for i in side:
            here, there = excess[i], excess[i + step]
            if there >= limit > here:
                # the root of the excess is close to linear in the value
                a, b, top = np.sqrt(max(here, 0)), np.sqrt(there), np.sqrt(limit)
                end = value[i] + (value[i + step] - value[i]) * (top - a) / (b - a)
                break
        ends.append(float(end))
    return ends[0], ends[1]
