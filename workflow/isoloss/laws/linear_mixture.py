"""Linear regression of the loss on the proportions: what a law of mixtures has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isoloss.laws._law import Data, Estimate, Estimator
from isoloss.laws._mixture import domain_terms, shares_of

TITLE = "Linear regression on proportions"
FORMULA = "L = sum_j t_j p_j"
LATEX = r"L = \sum_j t_j p_j"
SOURCE = "the linear baseline of RegMix: Liu et al. 2024, arXiv:2407.01492, table 2"
BIBTEX = """\
@misc{liu2024regmix,
  title = {{RegMix}: Data Mixture as Regression for Language Model Pre-training},
  author = {Liu, Qian and Zheng, Xiaosen and Muennighoff, Niklas and others},
  year = {2024},
  eprint = {2407.01492},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "proportions p_j of all domains that sum to 1, zeros too: t_j is the loss of training on"
    " domain j alone, and no constant is needed. It bends nowhere; with fewer runs than domains"
    " the t_j stay near the mean loss"
)
KIND = "mixture"
OPTIONS = {}
PRESETS = {}

RIDGE = 1e-6  # on the distance of t_j from the mean loss, a run being 1


class LinearMixture(Estimator):
    """theta = (t_1 .. t_k)."""

    kind = KIND
    recipe = "least squares, ridge 1e-6"
    formula = FORMULA
    python = "sum(t['t_' + p[2:]] * x[p] for p in VARIABLES)"
    least = 2

    def __init__(self, domains: Sequence[str]):
        self.variables = tuple(domains)
        self.terms = tuple(domain_terms("t", domains, "nats/token"))

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n)."""
        return (shares_of(data, self.variables) @ theta[..., None])[..., 0]

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, p)."""
        shares = shares_of(data, self.variables)
        leading = np.broadcast_shapes(theta.shape[:-1], shares.shape[:-2])
        return np.broadcast_to(shares, (*leading, *shares.shape[-2:])).copy()

    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> Estimate:
        """By least squares; NaN where no run has weight."""
        if not (weight > 0).any():
            return Estimate(np.full(len(self.terms), np.nan))
        shares, mean = shares_of(data, self.variables), np.average(loss, weights=weight)
        normal = shares.T @ (weight[:, None] * shares) + RIDGE * np.eye(len(self.terms))
        left = loss - mean * shares.sum(axis=-1)
        return Estimate(mean + np.linalg.solve(normal, shares.T @ (weight * left)))


def make(domains: Sequence[str]) -> LinearMixture:
    """The law; the same for every domain's loss."""
    return LinearMixture(domains)
