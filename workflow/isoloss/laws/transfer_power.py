"""The closed formula of mixtures: a power law in effective data, and straight effects beside it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isoloss.laws._law import Data, Estimate, Estimator
from isoloss.laws._mixture import (
    CURVE,
    Descent,
    Prior,
    curve,
    curve_terms,
    damped_least_squares,
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
        return self._look(np.asarray(theta), shares_of(data, self.variables))[0]

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, p)."""
        return self._look(np.asarray(theta), shares_of(data, self.variables))[1]

    def _look(self, theta: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Loss (..., n) and its slopes (..., n, p) at shares (..., n, k)."""
        head = CURVE + len(self.variables)
        value, slopes = curve(theta[..., :head], shares)
        straight = np.broadcast_to(shares, (*slopes.shape[:-1], shares.shape[-1]))
        effect = (straight @ theta[..., head:, None])[..., 0]
        return value + effect, np.concatenate([slopes, straight], axis=-1)

    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> Estimate:
        """The posterior mode; NaN where no run has weight."""
        drawn = weight > 0
        if not drawn.any():
            return Estimate(np.full(len(self.terms), np.nan))
        shares, heavy = shares_of(data, self.variables)[drawn], weight[drawn]
        heavy = heavy / heavy.mean()
        target, mean, sd = standard(loss[drawn], heavy)
        prior = self._prior()
        if sd == 0:
            theta = prior.centre.copy()
            theta[:2] = mean, NOTHING
            return Estimate(theta)
        ends = [self._from(gamma, prior, shares, target, heavy) for gamma in STARTS]
        theta = max(ends, key=lambda one: one[1])[0]
        theta[0], theta[1] = mean + sd * theta[0], theta[1] + np.log(sd)
        theta[CURVE + len(self.variables) :] *= sd
        return Estimate(theta)

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

    def _from(self, gamma: float, prior: Prior, shares, target, weight) -> tuple[np.ndarray, float]:
        """theta from a start in gamma, and the logarithm of its evidence (Laplace)."""

        def descend(theta: np.ndarray, noise: float) -> Descent:
            root = np.sqrt(weight)[:, None] / noise

            def whiten(columns: np.ndarray) -> np.ndarray:
                return root * columns

            def model(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
                return self._look(at, shares)

            return damped_least_squares(model, theta, prior, target, whiten, 1e-6, 60)

        theta, noise, n = prior.centre.copy(), NOISE, len(target)
        theta[2] = gamma
        for _ in range(ROUNDS):
            here = descend(theta, noise)
            theta, told = here.theta, here.slopes.T @ here.slopes
            freedom = np.trace(np.linalg.solve(told + prior.precision, told))
            left = noise**2 * (here.residual @ here.residual)
            last, noise = noise, max(np.sqrt(left / max(n - freedom, 1.0)), LEAST_NOISE)
            if abs(np.log(noise / last)) < SAME_NOISE:
                break
        here = descend(theta, noise)
        told = here.slopes.T @ here.slopes + prior.precision
        return here.theta, -here.objective - 2 * n * np.log(noise) - np.linalg.slogdet(told)[1]


def make(domains: Sequence[str]) -> TransferPower:
    """The law of a loss that is no domain's own; `for_response` gives the others."""
    return TransferPower(domains)
