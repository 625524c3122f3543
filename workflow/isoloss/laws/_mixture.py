"""Helpers of mixture laws: shares as a matrix, the curve of effective data, least squares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoloss.core.matrices import cholesky_solve, positive
from isoloss.laws._law import Data, Term

PREFIX, LOSS = "p_", "loss_"  # of columns of proportions, and of losses by domain
NEAR_ZERO = 1e-4  # of gamma, below which the power is all but a logarithm
LEAST_DATA = 1e-12  # of effective data: a mixture of nothing has a loss too
LEAST_CURVED = 1e-9  # of an objective by a parameter, in a step
FAILURES = 8  # steps without gain after which a descent ends
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


def curve_of(head: np.ndarray, data: np.ndarray) -> np.ndarray:
    """The loss of `curve`, (..., n), by c, ln K and gamma (..., 3) and effective data (..., n)."""
    c, size, gamma = head[..., 0, None], np.exp(head[..., 1, None]), head[..., 2, None]
    gamma = np.where(np.abs(gamma) < NEAR_ZERO, NEAR_ZERO, gamma)
    return c + size * (np.maximum(data, LEAST_DATA) ** -gamma - 1) / gamma


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
class Curvature:
    """An objective near points: its value (b,), gradient (b, p) and curvature (b, p, p)."""

    objective: np.ndarray
    gradient: np.ndarray
    curvature: np.ndarray


Look = Callable[[np.ndarray, np.ndarray], Curvature]  # rows and their points (b, p)


def descend(
    look: Look,
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    tolerance: float,
    looks: int,
    step: float,
    abreast: int | None = None,
    convex: bool = False,
) -> np.ndarray:
    """The points of least objective, each of its own: damped Newton steps, side by side.

    Args:
        look: the objectives of some rows at points.
        start: where to start, (b, p).
        low: least values, (b, p).
        high: greatest values, (b, p).
        tolerance: relative gain below which a descent ends; where a step promises less, it is
            the last one.
        looks: at most, of a descent.
        step: of a parameter, at most.
        abreast: descents that go on at a time, about: others take the places of those that ended,
            since a step of few costs as much as one of many. All of them if None.
        convex: whether curvatures are positive definite wherever a look may be.

    Returns:
        The points, (b, p). A descent ends, too, after FAILURES steps that gain nothing.
    """
    count = len(start)
    abreast = max(1, count if abreast is None else abreast)
    at, damping = np.clip(start, low, high), np.full(count, 1e-2)
    failures, left = np.zeros(count, dtype=int), np.full(count, looks)
    objective, gradient = np.empty(count), np.empty(at.shape)
    curvature = np.empty((*at.shape, at.shape[1]))
    active, begun = np.arange(0), 0
    while begun < count or len(active):
        if begun < count and 2 * len(active) <= abreast:
            new = np.arange(begun, min(count, begun + abreast - len(active)))
            here = look(new, at[new])
            objective[new], gradient[new] = here.objective, here.gradient
            curvature[new] = here.curvature
            active, begun = np.concatenate([active, new]), begun + len(new)
        points, promised = _stepped(
            at, gradient, curvature, damping, (low, high), step, active, convex
        )
        before = objective[active]
        near = promised < tolerance * (1 + np.abs(before))
        if near.any():
            at[active[near]] = points[near]
            active, points, before = active[~near], points[~near], before[~near]
            if not len(active):
                continue
        there = look(active, points)
        better = there.objective <= before  # false where it is not a number
        won, lost = active[better], active[~better]
        ended = np.zeros(len(active), dtype=bool)
        gain = (before - there.objective)[better]
        ended[better] = gain < tolerance * (1 + np.abs(before[better]))
        at[won], objective[won] = points[better], there.objective[better]
        gradient[won], curvature[won] = there.gradient[better], there.curvature[better]
        damping[won] *= 0.2
        failures[won] = 0
        if len(lost):
            damping[lost] = np.maximum(damping[lost] * 4, 1e-4)
            failures[lost] += 1
            ended[~better] = failures[lost] >= FAILURES
        left[active] -= 1
        active = active[~ended & (left[active] > 0)]
    return at


def _stepped(
    at, gradient, curvature, damping, bounds, step: float, active: np.ndarray, convex: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Where the next step of some descents leads, (b, p), and the gain that it promises, (b,)."""
    here, slope, limits = at[active], gradient[active], [side[active] for side in bounds]
    move = _newton(here, slope, curvature[active], damping[active], limits, convex)
    points = np.clip(here + np.clip(move, -step, step), *limits)
    return points, ((here - points) * slope).sum(axis=-1) / 2


def _newton(at, gradient, curvature, damping, bounds, convex: bool) -> np.ndarray:
    """Damped Newton steps, (b, p), along what is not held by a bound.

    Where an objective is curved down, it is taken as curved up as much.
    """
    held = ((at <= bounds[0]) & (gradient > 0)) | ((at >= bounds[1]) & (gradient < 0))
    size = np.maximum(np.abs(np.diagonal(curvature, 0, 1, 2)), LEAST_CURVED)
    scale = np.where(held, 0.0, 1 / np.sqrt(size))
    scaled = curvature * scale[:, :, None] * scale[:, None, :]
    diagonal = np.arange(at.shape[1])
    scaled[:, diagonal, diagonal] += held
    downhill = -gradient * scale
    damped = scaled.copy()
    damped[:, diagonal, diagonal] += damping[:, None]
    move, sound = cholesky_solve(damped, downhill)
    if not convex:
        sound &= positive(scaled)
    if not sound.all():
        down = ~sound
        curved, axes = np.linalg.eigh(scaled[down])
        curved = np.maximum(np.abs(curved), LEAST_CURVED) + damping[down, None]
        along = axes.swapaxes(-1, -2) @ downhill[down][..., None] / curved[..., None]
        move[down] = (axes @ along)[..., 0]
    return move * scale


def roots(matrices: np.ndarray) -> np.ndarray:
    """Lower Cholesky roots of matrices, (b, n, n); NaN of those that have none."""
    try:
        return np.linalg.cholesky(matrices)
    except np.linalg.LinAlgError:
        half = len(matrices) // 2
        if not half:
            return np.full_like(matrices, np.nan)
        return np.concatenate([roots(matrices[:half]), roots(matrices[half:])])


def standard(loss: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Losses less their weighted mean over their weighted SD, mean and SD; SD 0 if constant."""
    mean = float(np.average(loss, weights=weight))
    sd = float(np.sqrt(np.average((loss - mean) ** 2, weights=weight)))
    if not sd > 1e-12 * (1 + abs(mean)):
        return np.zeros(len(loss)), mean, 0.0
    return (loss - mean) / sd, mean, sd
