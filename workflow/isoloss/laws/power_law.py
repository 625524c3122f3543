"""A power law with offset in one variable."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isoloss.laws._law import Data, Term, softmax_sum

TITLE = "Power law with offset in one variable"
FORMULA = "L = E + A / x^α"
SOURCE = "Henighan et al. 2020, arXiv:2010.14701, equation 1.1"
OPTIONS = {
    "variable": {
        "type": "string",
        "enum": ["N", "D", "C"],
        "default": "C",
        "description": "The variable x: parameters N, tokens D or compute C.",
    },
}


@dataclass(frozen=True)
class PowerLaw:
    """ln L = log-sum-exp(e, a - alpha ln x); theta = (e, a, alpha)."""

    variable: str

    terms = (
        Term("E", "E", "nats/token", True, -7.0, 5.0, (-1.0, -0.5, 0.0, 0.5, 1.0)),
        Term("A", "A", "nats/token", True, -20.0, 80.0, (0.0, 2.5, 5.0, 10.0, 15.0, 20.0, 25.0)),
        Term("alpha", "α", "1", False, -1.0, 5.0, (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0)),
    )

    @property
    def variables(self) -> tuple[str, ...]:
        """The one variable, as a tuple."""
        return (self.variable,)

    @property
    def formula(self) -> str:
        """With the variable's letter for x."""
        return FORMULA.replace("x", self.variable)

    def _parts(self, theta: np.ndarray, data: Data):
        e, a, alpha = (theta[..., i, None] for i in range(3))
        log_x = np.log(data[self.variable])
        total, shares = softmax_sum([e + 0 * log_x, a - alpha * log_x])
        return total, shares, log_x

    def log_loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """ln L, (..., n)."""
        return self._parts(theta, data)[0]

    def log_loss_gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d ln L / d theta, (..., n, 3)."""
        _, (of_e, of_x), log_x = self._parts(theta, data)
        return np.stack([of_e, of_x, -of_x * log_x], axis=-1)


def make(variable: str) -> PowerLaw:
    """The law in one of N, D, C."""
    return PowerLaw(variable)
