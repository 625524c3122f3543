"""The closed formula of mixtures: a power law in effective data, and straight effects beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.laws._law import Data, Estimate, Estimator, Sample
from isoloss.laws._mixture import (
    CURVE,
    Curvature,
    Prior,
    curve,
    curve_terms,
    descend,
    domain_terms,
    own_domain,
    shares_of,
    standard,
)

TITLE = "Power law in effective data, with straight effects"
FORMULA = "L = c + K (v^-γ - 1) / γ + sum_j t_j p_j, v = sum_j a_j p_j"
LATEX = r"L = c + K \frac{v^{-\gamma} - 1}{\gamma} + \sum_j t_j p_j, \quad v = \sum_j a_j p_j"
SOURCE = (
    "this project: a shifted power law of a domain's own share with straight effects of the"
    " others, the shift being what they are worth to it; compared on runs of Ye et al. 2024,"
    " arXiv:2403.16952"
)
BIBTEX = ""
DOMAIN = (
    "proportions p_j of all domains, zeros too; three runs or more. a_j is the worth of domain j"
    " in units of the domain whose loss it is (held near 1); γ -> 0 is a logarithm. Priors hold"
    " what few runs do not tell: t_j is near 0, and as the p_j sum to 1, c and all t_j are known"
    " together only"
)
KIND = "mixture"
OPTIONS = {}
PRESETS = {}

# Normal priors of standardised losses, mean and standard deviation.
C, LOG_K, GAMMA, EFFECT = (-1.0, 2.0), (np.log(0.5), 1.0), (0.3, 0.5), (0.0, 0.3)
LOG_A, LOG_A_ALONE, LOG_A_SD = -4.0, -1.5, 2.0  # beside a domain of the loss's own; without one
LOG_A_OWN_SD = 0.05
STARTS = (0.0, 0.5)  # of gamma
NOISE, LEAST_NOISE = 0.3, 0.003  # where its search starts; at least
ROUNDS, SAME_NOISE = 5, 0.03  # of that search; change of its logarithm at which it ends
TOLERANCE, LOOKS, STEP = 1e-7, 80, 1.5  # of a descent
SAME = 0.01  # SD of the prior, within which ends of two starts are one
ABREAST = 128  # descents whose numbers stay in the cache
NOTHING = -30.0  # logarithm of a size of nothing, where all losses are the same


class TransferPower(Estimator):
    """theta = (c, ln K, gamma, ln a_1 .. ln a_k, t_1 .. t_k)."""

    kind = KIND
    recipe = "posterior mode, its noise by degrees of freedom; the start of more evidence"
    formula = FORMULA
    python = """\
gamma = t["gamma"] if abs(t["gamma"]) >= 1e-4 else 1e-4
v = maximum(sum(t["a_" + p[2:]] * x[p] for p in VARIABLES), 1e-12)
straight = sum(t["t_" + p[2:]] * x[p] for p in VARIABLES)
return t["c"] + t["K"] * (v**-gamma - 1) / gamma + straight"""
    least = 3

    def __init__(self, domains: Sequence[str], own: str | None = None):
        self.variables = tuple(domains)
        self.own = None if own is None else self.variables.index(own)
        effects = domain_terms("t", domains, "nats/token")
        self.terms = (*curve_terms(), *domain_terms("a", domains, "1", log=True), *effects)

    def for_response(self, response: str) -> TransferPower:
        """The law of a loss: the domain whose loss it is has a weight of about 1."""
        return TransferPower(self.variables, own_domain(response, self.variables))

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n)."""
        return self.look(np.asarray(theta), shares_of(data, self.variables))[0]

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, p)."""
        return self.look(np.asarray(theta), shares_of(data, self.variables))[1]

    def look(self, theta: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Loss (..., n) and its slopes (..., n, p) at shares (..., n, k)."""
        head = CURVE + len(self.variables)
        value, slopes = curve(theta[..., :head], shares)
        straight = np.broadcast_to(shares, (*slopes.shape[:-1], shares.shape[-1]))
        effect = (straight @ theta[..., head:, None])[..., 0]
        return value + effect, np.concatenate([slopes, straight], axis=-1)

    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> Estimate:
        """The posterior mode; NaN where no run has weight."""
        return self.estimates([(data, loss, weight)])[0]

    def estimates(self, samples: Sequence[Sample]) -> list[Estimate]:
        """The same of several samples of runs, whose searches go side by side."""
        prior, straight = self._prior(), CURVE + len(self.variables)
        thetas = np.full((len(samples), len(self.terms)), np.nan)
        pieces = []
        for i, (data, loss, weight) in enumerate(samples):
            drawn = weight > 0
            if not drawn.any():
                continue
            heavy = weight[drawn] / weight[drawn].mean()
            target, mean, sd = standard(loss[drawn], heavy)
            if sd > 0:
                pieces.append((i, shares_of(data, self.variables)[drawn], target, heavy, mean, sd))
            else:
                thetas[i] = prior.centre
                thetas[i, :2] = mean, NOTHING
        if pieces:
            which, shares, target, heavy, mean, sd = zip(*pieces, strict=True)
            ends, sizes = self._modes(prior, *_padded(shares, target, heavy)), np.array(sd)
            ends[:, 0] = mean + sizes * ends[:, 0]
            ends[:, 1] += np.log(sizes)
            ends[:, straight:] *= sizes[:, None]
            thetas[list(which)] = ends
        return [Estimate(theta) for theta in thetas]

    def _prior(self) -> Prior:
        k = len(self.variables)
        log_a = np.full(k, LOG_A_ALONE if self.own is None else LOG_A)
        spread = np.full(k, LOG_A_SD)
        if self.own is not None:
            log_a[self.own], spread[self.own] = 0.0, LOG_A_OWN_SD
        head = np.array([C, LOG_K, GAMMA])
        centre = np.concatenate([head[:, 0], log_a, np.full(k, EFFECT[0])])
        spread = np.concatenate([head[:, 1], spread, np.full(k, EFFECT[1])])
        return Prior.of(centre, np.diag(spread**2))

    def _modes(self, prior: Prior, shares, target, weight) -> np.ndarray:
        """theta of every sample, (b, p), from the start in gamma of the most evidence."""
        size = len(STARTS)
        search = _Search(
            self, prior, *(np.repeat(a, size, axis=0) for a in (shares, target, weight))
        )
        begin = np.tile(prior.centre, (len(search.target), 1))
        begin[:, 2] = np.tile(STARTS, len(target))
        theta, evidence = search.modes(begin, size)
        best = np.argmax(evidence.reshape(-1, size), axis=1)
        return theta.reshape(-1, size, theta.shape[1])[np.arange(len(best)), best]


@dataclass(frozen=True)
class _Search:
    """The search for the posterior modes of b samples of at most n runs.

    Attributes:
        law: whose.
        prior: of all.
        shares: of the runs, (b, n, k).
        target: standardised losses, (b, n).
        weight: one on average over the runs that are there, 0 of others, (b, n).
    """

    law: TransferPower
    prior: Prior
    shares: np.ndarray
    target: np.ndarray
    weight: np.ndarray

    def modes(self, theta: np.ndarray, starts: int) -> tuple[np.ndarray, np.ndarray]:
        """theta (b, p), and the logarithms of its evidence (Laplace), (b,).

        Rows follow each other by so many starts of a sample. Those that have met the first one's
        end are not searched further: theirs is an evidence of -inf.
        """
        runs, noise = (self.weight > 0).sum(axis=1), np.full(len(theta), NOISE)
        seeking, apart = np.arange(len(theta)), None
        for _ in range(ROUNDS):
            theta[seeking] = self._descended(seeking, theta[seeking], noise[seeking])
            if apart is None:
                apart = self._apart(theta, starts)
                seeking = np.flatnonzero(apart)
            left, told = self._told(seeking, theta[seeking])
            last = noise[seeking]
            shown = told / last[:, None, None] ** 2
            freedom = np.linalg.solve(shown + self.prior.precision, shown)
            freedom = np.trace(freedom, axis1=1, axis2=2)
            variance = left / np.maximum(runs[seeking] - freedom, 1.0)
            noise[seeking] = np.maximum(np.sqrt(variance), LEAST_NOISE)
            seeking = seeking[np.abs(np.log(noise[seeking] / last)) >= SAME_NOISE]
            if not len(seeking):
                break
        every, evidence = np.flatnonzero(apart), np.full(len(theta), -np.inf)
        noise, runs = noise[every], runs[every]
        theta[every] = ends = self._descended(every, theta[every], noise)
        left, told = self._told(every, ends)
        away = ends - self.prior.centre
        objective = left / noise**2 + ((away @ self.prior.precision) * away).sum(axis=1)
        shown = told / noise[:, None, None] ** 2 + self.prior.precision
        evidence[every] = -objective - 2 * runs * np.log(noise) - np.linalg.slogdet(shown)[1]
        return theta, evidence

    def _apart(self, theta: np.ndarray, starts: int) -> np.ndarray:
        """Whether each row is the first of its sample, or has another end than that, bool (b,)."""
        first = np.repeat(theta[::starts], starts, axis=0)
        moved = (theta - first) / np.sqrt(np.diagonal(self.prior.covariance))
        return (np.abs(moved).max(axis=1) > SAME) | (np.arange(len(theta)) % starts == 0)

    def _told(self, rows: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weighted squares of what is left, (b,), and of slopes, (b, p, p)."""
        value, slopes = self.law.look(theta, self.shares[rows])
        left, weight = self.target[rows] - value, self.weight[rows]
        heavy = weight[..., None] * slopes
        return (weight * left**2).sum(axis=1), slopes.swapaxes(-1, -2) @ heavy

    def _descended(self, rows: np.ndarray, theta: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The modes of some samples for a noise of each, from theta."""
        prior = self.prior

        def look(some: np.ndarray, at: np.ndarray) -> Curvature:
            shares = self.shares[rows[some]]
            value, slopes = self.law.look(at, shares)
            left, precise = self.target[rows[some]] - value, self.weight[rows[some]]
            precise = precise / noise[some, None] ** 2
            away = at - prior.centre
            pull, force = away @ prior.precision, precise * left
            gradient = pull - (slopes.swapaxes(-1, -2) @ force[..., None])[..., 0]
            curvature = slopes.swapaxes(-1, -2) @ (precise[..., None] * slopes) + prior.precision
            objective = (force * left).sum(axis=-1) + (away * pull).sum(axis=-1)
            return Curvature(objective, 2 * gradient, 2 * curvature)

        bounds = np.full(theta.shape, np.inf)
        ends = (-bounds, bounds, TOLERANCE, LOOKS, STEP)
        return descend(look, theta, *ends, ABREAST, convex=True)


def _padded(shares, target, weight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples as one: shares (b, n, k), even where there is no run; losses, weights 0 (b, n)."""
    count, n, k = len(shares), max(map(len, target)), shares[0].shape[1]
    whole = np.full((count, n, k), 1 / k), np.zeros((count, n)), np.zeros((count, n))
    for i, parts in enumerate(zip(shares, target, weight, strict=True)):
        for padded, part in zip(whole, parts, strict=True):
            padded[i, : len(part)] = part
    return whole


def make(domains: Sequence[str]) -> TransferPower:
    """The law of a loss that is no domain's own; `for_response` gives the others."""
    return TransferPower(domains)
