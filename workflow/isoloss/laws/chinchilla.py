"""The Chinchilla law: an irreducible loss, a term in model size, a term in data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.laws._law import Data, Term, softmax_sum

TITLE = "Chinchilla law in N and D"
FORMULA = "L = E + A / N^α + B / D^β"
SOURCE = "Hoffmann et al. 2022, arXiv:2203.15556, equation 2; fitted as in its equation 3"
OPTIONS = {}

_EXPONENT_STARTS = (0.0, 0.5, 1.0, 1.5, 2.0)
_SCALE_STARTS = (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)


@dataclass(frozen=True)
class Chinchilla:
    """ln L = log-sum-exp(a - alpha ln N, b - beta ln D, e); theta = (e, a, b, alpha, beta)."""

    variables = ("N", "D")
    formula = FORMULA
    terms = (
        Term("E", "E", "nats/token", True, -7.0, 5.0, (-1.0, -0.5, 0.0, 0.5, 1.0)),
        Term("A", "A", "nats/token", True, -20.0, 80.0, _SCALE_STARTS),
        Term("B", "B", "nats/token", True, -20.0, 80.0, _SCALE_STARTS),
        Term("alpha", "α", "1", False, -1.0, 5.0, _EXPONENT_STARTS),
        Term("beta", "β", "1", False, -1.0, 5.0, _EXPONENT_STARTS),
    )

    def _parts(self, theta: np.ndarray, data: Data):
        e, a, b, alpha, beta = (theta[..., i, None] for i in range(5))
        log_n, log_d = np.log(data["N"]), np.log(data["D"])
        total, shares = softmax_sum([e + 0 * log_n, a - alpha * log_n, b - beta * log_d])
        return total, shares, log_n, log_d

    def log_loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """ln L, (..., n)."""
        return self._parts(theta, data)[0]

    def log_loss_gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d ln L / d theta, (..., n, 5)."""
        _, (of_e, of_n, of_d), log_n, log_d = self._parts(theta, data)
        return np.stack([of_e, of_n, of_d, -of_n * log_n, -of_d * log_d], axis=-1)

    def allocate(self, theta: np.ndarray, flops: float) -> tuple[np.ndarray, np.ndarray]:
        """Optimal N and D for C = 6 N D (arXiv:2203.15556, equation 4): (...), (...)."""
        _, a, b, alpha, beta = (theta[..., i] for i in range(5))
        log_g = (np.log(alpha) + a - np.log(beta) - b) / (alpha + beta)
        log_c = np.log(flops / 6.0)
        n = np.exp(log_g + beta / (alpha + beta) * log_c)
        return n, flops / 6.0 / n


def make() -> Chinchilla:
    """The law; it has no options."""
    return Chinchilla()
