"""A straight line in the logarithm of one variable."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoloss.laws._law import Data, Law, Term

TITLE = "Logarithm of one variable"
FORMULA = "L = a + b ln x"
LATEX = r"L = a + b \ln x"
SOURCE = "A line through the loss against ln x; against log10 x its slope is b ln 10"
BIBTEX = ""
DOMAIN = (
    "x > 0; quantities of any sign that change by the same amount with every doubling; it has no"
    " limit, so it is not to be believed far outside the data"
)
KIND = "curve"
OPTIONS = {"variable": "variable"}
PRESETS = {}


class Logarithm(Law):
    """theta = (a, b)."""

    kind = KIND
    terms = (
        Term("a", "a", "nats/token", False, -1e6, 1e6, (1.0,)),
        Term("b", "b", "nats/token", False, -1e6, 1e6, (-0.05, -0.02, -0.005)),
    )

    def __init__(self, variable: str):
        self.variables = (variable,)
        self.formula = FORMULA.replace("x", variable)
        self.python = f"a + b * log({variable})"

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n); it may be negative."""
        return theta[..., 0, None] + theta[..., 1, None] * np.log(data[self.variables[0]])

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, 2)."""
        log_x = np.log(data[self.variables[0]]) + np.zeros_like(theta[..., :1])
        return np.stack([np.ones_like(log_x), log_x], axis=-1)

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """a' = (a + b ln scale of x) / scale of the loss, b' = b / scale of the loss."""
        matrix = np.array([[1.0, log_scale[self.variables[0]]], [0.0, 1.0]])
        return matrix * np.exp(-log_loss_scale), np.zeros(2)


def make(variable: str) -> Logarithm:
    """The law in one of N, D, C."""
    return Logarithm(variable)
