"""The mixture of least loss that a mixture law predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fitted.intervals import Interval, normal_interval, quantiles
from isoloss.laws._mixture import LOSS, PREFIX

if TYPE_CHECKING:
    from isoloss.fitted.parameters import FitParameters
    from isoloss.laws._law import Estimate

MeanLoss = Callable[[np.ndarray], np.ndarray]  # mixtures, (m, k), to losses, (m,)

REPLICATES = 200  # of an optimal mixture, if no number is asked for
_SHARE_STEP = 1e-6  # of proportions, for slopes


class WeightedLoss:
    """The mean of several losses of a fit, weighted, as a function of the mixture.

    Args:
        fit: of a mixture law.
        domain_weights: response (loss_<domain>, or its domain) to weight in the mean.
        group: of the fit; the first where None.

    Attributes:
        domains: the columns of proportions, (k,).
        bounds: least and greatest proportions of the runs fitted, (k, 2).

    Raises:
        IsolossError: the fit has no such loss, or no weight is above 0.
    """

    def __init__(
        self, fit: FitParameters, domain_weights: Mapping[str, float], group: str | None = None
    ):
        self.weights = weights_by_response(domain_weights, fit.responses)
        self.domains = fit.facts["domains"]
        ranges = fit.rows_of("ranges", group, next(iter(self.weights))).set_index("variable")
        self.bounds = ranges.loc[self.domains, ["low", "high"]].to_numpy(float)
        self._laws = {response: fit.law_of(response) for response in self.weights}
        self._best = {response: fit.estimate(group, response) for response in self.weights}
        self._drawn = {r: fit.replicate_estimates(group, r) for r in self.weights}

    def __len__(self) -> int:
        """Replicates that all its losses have."""
        return min(map(len, self._drawn.values()))

    def estimated(self) -> MeanLoss:
        """By the fits themselves."""
        return self._mean_loss(self._best)

    def replicate(self, i: int) -> MeanLoss:
        """By a replicate of every fit."""
        return self._mean_loss({r: drawn[i] for r, drawn in self._drawn.items()})

    def posterior_sd(self, points: np.ndarray) -> np.ndarray:
        """SD at mixtures (m, k), as if the errors of all losses were one, (m,); 0 of laws without.

        The errors of the losses have the runs in common, and are not independent.
        """
        shares, total = self._shares(points), sum(self.weights.values())
        sd = (
            w * self._laws[r].given(self._best[r].state).posterior_sd(self._best[r].theta, shares)
            for r, w in self.weights.items()
        )
        return sum(sd) / total

    def interval(self, points: np.ndarray, level: float, replicates: int) -> Interval:
        """Interval at mixtures (m, k), as `band` has it for a single loss: (m,) each."""
        middle, sd = self.estimated()(points), self.posterior_sd(points)
        if sd.any():
            return normal_interval(middle, sd, level)
        count = min(replicates, len(self))
        drawn = np.array([self.replicate(i)(points) for i in range(count)])
        return quantiles(drawn.reshape(count, len(points)), level, middle)

    def _mean_loss(self, estimates: Mapping[str, Estimate]) -> MeanLoss:
        total = sum(self.weights.values())
        parts = [(w / total, self._laws[r], estimates[r]) for r, w in self.weights.items()]
        loss = parts[0][1].combined(parts)
        return lambda points: loss(self._shares(points))

    def _shares(self, points: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self.domains, points.T, strict=True))


def weights_by_response(
    domain_weights: Mapping[str, float], responses: Sequence[str]
) -> dict[str, float]:
    """Weights by the columns of the losses, those of 0 left out.

    Raises:
        IsolossError: there is no such loss, or no weight is above 0.

    Example:
        >>> weights_by_response({"web": 1.0, "loss_code": 2.0}, ["loss_web", "loss_code"])
        {'loss_web': 1.0, 'loss_code': 2.0}
    """
    weights = {
        name if name in responses else f"{LOSS}{name}": float(weight)
        for name, weight in domain_weights.items()
    }
    wrong = [
        Problem(f"domain weight {name}", "no such loss", nearest(name, responses))
        for name in weights
        if name not in responses
    ]
    if not wrong and not sum(weights.values()) > 0:
        wrong = [Problem("domain_weights", "no weight is above 0", "give a loss a weight")]
    if wrong:
        raise IsolossError(*wrong)
    return {name: weight for name, weight in weights.items() if weight}


def best_mixture(loss: WeightedLoss, level: float, replicates: int) -> pd.DataFrame:
    """See `Fit.best_mixture`."""
    point = _best(loss.estimated(), loss.bounds, [], 3)
    count = min(replicates, len(loss))
    near = [point[:-1]] if np.isfinite(point).all() else []
    many = np.array([_best(loss.replicate(i), loss.bounds, near, 1) for i in range(count)])
    many = many.reshape(count, len(point))
    low, high = quantiles(many[np.isfinite(many).all(axis=-1)], level)
    sd = loss.posterior_sd(point[None, :-1])
    if sd.any():
        sides = normal_interval(point[-1:], sd, level)
        low, high = np.append(low[:-1], sides[0]), np.append(high[:-1], sides[1])
    return pd.DataFrame(
        {
            "domain": [d.removeprefix(PREFIX) for d in loss.domains],
            "proportion": point[:-1],
            "proportion_low": low[:-1],
            "proportion_high": high[:-1],
            "loss": point[-1],
            "loss_low": low[-1],
            "loss_high": high[-1],
        }
    )


def _best(
    mean_loss: MeanLoss, bounds: np.ndarray, near: Sequence[np.ndarray], starts: int
) -> np.ndarray:
    """Mixture of least loss, sought from those near it and from the best of some known ones."""
    known = _mixtures(bounds)
    order = np.argsort(mean_loss(known), kind="stable")[:starts]
    return _least_mixture(mean_loss, [*near, *known[order]], bounds)


def _mixtures(bounds: np.ndarray) -> np.ndarray:
    """Mixtures to start from, (1 + k, k): even, and half of each domain; inside bounds (k, 2)."""
    k = len(bounds)
    rest = 0.5 / max(1, k - 1)
    even, halves = np.full((1, k), 1 / k), np.full((k, k), rest) + (0.5 - rest) * np.eye(k)
    return np.clip(np.concatenate([even, halves]), *bounds.T)


def _least_mixture(
    mean_loss: MeanLoss, starts: Sequence[np.ndarray], bounds: np.ndarray
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
