"""A product of powers of the proportions, by ridge regression in logarithms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isoloss.laws._law import Data, Estimate, Estimator, Term
from isoloss.laws._mixture import domain_terms, shares_of

TITLE = "Log-linear mixing law"
FORMULA = "L = A prod_j (p_j + 1e-12)^β_j"
LATEX = r"L = A \prod_j (p_j + 10^{-12})^{\beta_j}"
SOURCE = (
    "a product of powers (Cobb and Douglas 1928), fitted by ridge regression (Hoerl and Kennard"
    " 1970): ln L = θ_0 + sum_j θ_j ln(p_j + 1e-12), ridge 1e-3"
)
BIBTEX = """\
@article{cobb1928theory,
  title = {A Theory of Production},
  author = {Cobb, Charles W. and Douglas, Paul H.},
  journal = {The American Economic Review},
  volume = {18},
  number = {1},
  pages = {139--165},
  year = {1928},
}
@article{hoerl1970ridge,
  title = {Ridge Regression: Biased Estimation for Nonorthogonal Problems},
  author = {Hoerl, Arthur E. and Kennard, Robert W.},
  journal = {Technometrics},
  volume = {12},
  number = {1},
  pages = {55--67},
  year = {1970},
}
"""
DOMAIN = (
    "proportions p_j of all domains that are far from 0: to this law a proportion of 0 is 1e-12,"
    " nine powers of ten from one of 0.001, and what is next to a run with zeros is told badly"
)
KIND = "mixture"
OPTIONS = {}
PRESETS = {}

FLOOR = 1e-12  # added to every proportion
RIDGE = 1e-3  # on the exponents


class LogLinear(Estimator):
    """theta = (ln A, beta_1 .. beta_k)."""

    kind = KIND
    recipe = "ridge 0.001 on the exponents, in log loss"
    formula = FORMULA
    python = "t['A'] * exp(sum(t['beta_' + p[2:]] * log(x[p] + 1e-12) for p in VARIABLES))"
    least = 2

    def __init__(self, domains: Sequence[str]):
        self.variables = tuple(domains)
        scale = Term("A", "A", "nats/token", True, -50.0, 50.0, (0.0,))
        self.terms = (scale, *domain_terms("beta", domains, "1"))

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n)."""
        return np.exp((self._features(data) @ theta[..., None])[..., 0])

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, p)."""
        return self.loss(theta, data)[..., None] * self._features(data)

    def _features(self, data: Data) -> np.ndarray:
        """One and the logarithms of the proportions, (..., n, 1 + k)."""
        logs = np.log(shares_of(data, self.variables) + FLOOR)
        return np.concatenate([np.ones((*logs.shape[:-1], 1)), logs], axis=-1)

    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> Estimate:
        """By ridge regression; NaN where no run has weight."""
        if not (weight > 0).any():
            return Estimate(np.full(len(self.terms), np.nan))
        features = self._features(data)
        normal = features.T @ (weight[:, None] * features)
        normal[np.diag_indices(len(normal))] += np.append(0.0, np.full(len(normal) - 1, RIDGE))
        return Estimate(np.linalg.solve(normal, features.T @ (weight * np.log(loss))))


def make(domains: Sequence[str]) -> LogLinear:
    """The law; the same for every domain's loss."""
    return LogLinear(domains)
