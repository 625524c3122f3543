"""The mixture of least loss that a mixture law predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fitted.intervals import normal_interval, quantiles

if TYPE_CHECKING:
    from isoloss.fitted.parameters import FitParameters
    from isoloss.laws._law import Estimate

REPLICATES = 200  # of an optimal mixture, if no number is asked for
_SHARE_STEP = 1e-6  # of proportions, for slopes


def best_mixture(
    fit: FitParameters,
    domain_weights: Mapping[str, float],
    group: str | None,
    level: float,
    replicates: int,
) -> pd.DataFrame:
    """See `Fit.best_mixture`."""
    weights = {k if k.startswith("loss_") else f"loss_{k}": w for k, w in domain_weights.items()}
    for name in set(weights) - set(fit.responses):
        raise IsolossError(
            Problem(f"domain weight {name}", "no such loss", nearest(name, fit.responses))
        )
    domains = fit.facts["domains"]
    ranges = fit.rows_of("ranges", group, next(iter(weights))).set_index("variable")
    bounds = ranges.loc[domains, ["low", "high"]].to_numpy(float)
    total = sum(weights.values())
    laws = {r: fit.law_of(r) for r in weights}

    def best(estimates: Mapping[str, Estimate], near: Sequence[np.ndarray], starts: int):
        given = {r: laws[r].given(estimate.state) for r, estimate in estimates.items()}

        def mean_loss(points: np.ndarray) -> np.ndarray:
            shares = dict(zip(domains, points.T, strict=True))
            losses = (w * given[r].loss(estimates[r].theta, shares) for r, w in weights.items())
            return sum(losses) / total

        known = _mixtures(bounds)
        order = np.argsort(mean_loss(known), kind="stable")[:starts]
        return _least_mixture(mean_loss, [*near, *known[order]], bounds)

    estimates = {r: fit.estimate(group, r) for r in weights}
    point = best(estimates, [], 3)
    drawn = {r: fit.replicate_estimates(group, r) for r in weights}
    count = min([replicates, *(len(v) for v in drawn.values())])
    near = [point[:-1]] if np.isfinite(point).all() else []
    many = np.array([best({r: v[i] for r, v in drawn.items()}, near, 1) for i in range(count)])
    many = many.reshape(count, len(point))
    low, high = quantiles(many[np.isfinite(many).all(axis=-1)], level)
    there = {d: point[i : i + 1] for i, d in enumerate(domains)}
    sd = sum(
        w * laws[r].given(estimates[r].state).posterior_sd(estimates[r].theta, there)
        for r, w in weights.items()
    )
    if sd.any():
        sides = normal_interval(point[-1:], sd / total, level)
        low, high = np.append(low[:-1], sides[0]), np.append(high[:-1], sides[1])
    return pd.DataFrame(
        {
            "domain": [d.removeprefix("p_") for d in domains],
            "proportion": point[:-1],
            "proportion_low": low[:-1],
            "proportion_high": high[:-1],
            "loss": point[-1],
            "loss_low": low[-1],
            "loss_high": high[-1],
        }
    )


def _mixtures(bounds: np.ndarray) -> np.ndarray:
    """Mixtures to start from, (1 + k, k): even, and half of each domain; inside bounds (k, 2)."""
    k = len(bounds)
    rest = 0.5 / max(1, k - 1)
    even, halves = np.full((1, k), 1 / k), np.full((k, k), rest) + (0.5 - rest) * np.eye(k)
    return np.clip(np.concatenate([even, halves]), *bounds.T)


def _least_mixture(
    mean_loss: Callable[[np.ndarray], np.ndarray], starts: Sequence[np.ndarray], bounds: np.ndarray
) -> np.ndarray:
    """Mixture of least loss inside the bounds, and that loss after it: (k + 1,); NaN without.

    Args:
        mean_loss: of mixtures, (m, k) -> (m,).
        starts: mixtures to descend from.
        bounds: least and greatest proportions, (k, 2).
    """
    from scipy.optimize import minimize  # here: importing isoloss.fitted stays quick

    steps = _SHARE_STEP * np.eye(len(bounds))

    def look(p: np.ndarray) -> tuple[float, np.ndarray]:
        p = np.maximum(p, 0.0)
        ahead, behind = p + steps, np.maximum(p - steps, 0.0)
        loss = mean_loss(np.concatenate([p[None], ahead, behind]))
        rise = loss[1 : 1 + len(p)] - loss[1 + len(p) :]
        return float(loss[0]), rise / np.diagonal(ahead - behind)

    ends = [
        minimize(
            look,
            start,
            jac=True,
            bounds=bounds,
            constraints={
                "type": "eq",
                "fun": lambda p: p.sum() - 1.0,
                "jac": lambda p: np.ones(len(p)),
            },
            method="SLSQP",
        )
        for start in starts
    ]
    feasible = [end for end in ends if abs(end.x.sum() - 1) < 1e-6]
    if not feasible:
        return np.full(len(bounds) + 1, np.nan)
    least = min(feasible, key=lambda end: end.fun)
    return np.append(least.x, least.fun)
