"""Helpers of mixture laws: shares as a matrix, the curve of effective data, least squares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoloss.laws._law import Data, Term

PREFIX, LOSS = "p_", "loss_"  # of columns of proportions, and of losses by domain
NEAR_ZERO = 1e-4  # of gamma, below which the power is all but a logarithm
LEAST_DATA = 1e-12  # of effective data: a mixture of nothing has a loss too
CURVE = 3  # terms before the weights of effective data: c, ln K, gamma


def own_domain(response: str, domains: Sequence[str]) -> str | None:
    """The proportion of the domain whose loss a response is, if there is one.

    >>> own_domain("loss_web", ["p_web", "p_code"]), own_domain("loss_all", ["p_web", "p_code"])
    ('p_web', None)
    """
    own = PREFIX + response.removeprefix(LOSS)
    return own if own in domains else None


def shares_of(data: Data, domains: Sequence[str]) -> np.ndarray:
    """Proportions as a matrix, (..., n, k)."""
    columns = np.broadcast_arrays(*(np.asarray(data[d], dtype=float) for d in domains))
    return np.stack(columns, axis=-1)


def each(
    function: Callable[[np.ndarray, Any, np.ndarray], np.ndarray],
    theta: np.ndarray,
    state: Any,
    shares: np.ndarray,
    more: tuple[int, ...],
) -> np.ndarray:
    """function(theta, state, shares) for every estimate; NaN where theta is not finite.

    Args:
        function: of one estimate at mixtures (n, k), to (n, *more).
        theta: (..., p).
        state: an object for every theta, (...), or one for all.
        shares: (..., n, k).
        more: what follows n.

    Returns:
        (..., n, *more).
    """
    leading = np.broadcast_shapes(theta.shape[:-1], shares.shape[:-2])
    thetas = np.broadcast_to(theta, (*leading, theta.shape[-1]))
    states = np.broadcast_to(np.asarray(state, dtype=object), leading)
    own = np.broadcast_to(shares, (*leading, *shares.shape[-2:]))
    values = np.full((*leading, shares.shape[-2], *more), np.nan)
    for at in np.ndindex(leading):
        if np.isfinite(thetas[at]).all():
            values[at] = function(thetas[at], states[at], own[at])
    return values


def curve_terms() -> list[Term]:
    """c, K and gamma."""
    return [
        Term("c", "c", "nats/token", False, -100.0, 100.0, (1.0,)),
        Term("K", "K", "nats/token", True, -50.0, 10.0, (-1.0,)),
        Term("gamma", "γ", "1", False, -10.0, 10.0, (0.3,)),
    ]


def domain_terms(name: str, domains: Sequence[str], unit: str, log: bool = False) -> list[Term]:
    """One term a domain: name_<domain>."""
    low, high = (-30.0, 15.0) if log else (-200.0, 200.0)
    names = [f"{name}_{d.removeprefix(PREFIX)}" for d in domains]
    return [Term(n, n, unit, log, low, high, (0.0,)) for n in names]


def curve(theta: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The loss by effective data v = sum_j a_j p_j: c + K (v^-gamma - 1) / gamma.

    Args:
        theta: (c, ln K, gamma, ln a_1 .. ln a_k), (..., 3 + k).
        shares: proportions, (..., n, k).

    Returns:
        The curve (..., n) and its derivatives by theta (..., n, 3 + k).
    """
    c, size, gamma = theta[..., 0, None], np.exp(theta[..., 1, None]), theta[..., 2, None]
    gamma = np.where(np.abs(gamma) < NEAR_ZERO, NEAR_ZERO, gamma)
    parts = shares * np.exp(theta[..., None, CURVE:])
    effective = np.maximum(parts.sum(axis=-1), LEAST_DATA)
    log_data = np.log(effective)
    power = np.exp(-gamma * log_data)
    rise = (power - 1) / gamma
    slopes = np.empty((*rise.shape, theta.shape[-1]))
    slopes[..., 0] = 1.0
    slopes[..., 1] = size * rise
    slopes[..., 2] = -size * (log_data * power + rise) / gamma
    slopes[..., CURVE:] = (-size * power / effective)[..., None] * parts
    return c + size * rise, slopes


@dataclass(frozen=True)
class Prior:
    """A normal prior of parameters: centre (p,), covariance and precision (p, p)."""

    centre: np.ndarray
    covariance: np.ndarray
    precision: np.ndarray

    @classmethod
    def of(cls, centre: np.ndarray, covariance: np.ndarray) -> Prior:
        """From centre and covariance."""
        return cls(centre, covariance, np.linalg.inv(covariance))


@dataclass(frozen=True)
class Descent:
    """The end point of damped least squares.

    Attributes:
        theta: parameters, (p,).
        objective: squares of the whitened residuals and of the distance to the prior.
        residual: whitened, (n,).
        slopes: whitened, (n, p).
    """

    theta: np.ndarray
    objective: float
    residual: np.ndarray
    slopes: np.ndarray


def damped_least_squares(
    model: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    theta: np.ndarray,
    prior: Prior,
    target: np.ndarray,
    whiten: Callable[[np.ndarray], np.ndarray],
    tolerance: float,
    steps: int,
) -> Descent:
    """Parameters of greatest posterior density, by Levenberg and Marquardt's steps.

    Args:
        model: parameters to predictions (n,) and slopes (n, p).
        theta: where to start.
        prior: of the parameters.
        target: what is to be predicted, (n,).
        whiten: columns (n, m) with the covariance of the noise to columns without.
        tolerance: relative gain below which it ends.
        steps: at most.
    """

    def look(at: np.ndarray) -> Descent:
        value, slopes = model(at)
        columns = whiten(np.column_stack([target - value, slopes]))
        away = at - prior.centre
        objective = columns[:, 0] @ columns[:, 0] + away @ prior.precision @ away
        return Descent(at, objective, columns[:, 0], columns[:, 1:])

    here, damping = look(theta), 1e-2
    diagonal = np.diag_indices(len(theta))
    for _ in range(steps):
        normal = here.slopes.T @ here.slopes + prior.precision
        downhill = here.slopes.T @ here.residual - prior.precision @ (here.theta - prior.centre)
        for _ in range(8):
            damped = normal.copy()
            damped[diagonal] *= 1 + damping
            step = np.clip(np.linalg.solve(damped, downhill), -1.5, 1.5)
            there = look(here.theta + step)
            if there.objective <= here.objective:  # false where it is not a number
                break
            damping = max(damping * 4, 1e-4)
        else:
            break
        gain = here.objective - there.objective
        ended = gain < tolerance * (1 + abs(here.objective))
        here, damping = there, damping * 0.2
        if ended:
            break
    return here


def standard(loss: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Losses less their weighted mean over their weighted SD, mean and SD; SD 0 if constant."""
    mean = float(np.average(loss, weights=weight))
    sd = float(np.sqrt(np.average((loss - mean) ** 2, weights=weight)))
    if not sd > 1e-12 * (1 + abs(mean)):
        return np.zeros(len(loss)), mean, 0.0
    return (loss - mean) / sd, mean, sd
