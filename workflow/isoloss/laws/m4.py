"""A power law that levels off at both ends: at random guessing and at the irreducible loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from isoloss.laws._law import Data, Law, Term

TITLE = "M4: a power law between random guessing and the irreducible loss"
FORMULA = "(L - E) / (I - L)^α = β x^c with I = E + G"
LATEX = r"\frac{L - E}{(I - L)^{\alpha}} = \beta x^{c}, \quad I = E + G"
SOURCE = (
    "Alabdulmohsin, Neyshabur and Zhai 2022, arXiv:2209.06640, estimator M4: E is its ε_∞, I its"
    " ε_0; G, the gap between them, keeps L between the two"
)
BIBTEX = """\
@misc{alabdulmohsin2022revisiting,
  title = {Revisiting Neural Scaling Laws in Language and Vision},
  author = {Alabdulmohsin, Ibrahim and Neyshabur, Behnam and Zhai, Xiaohua},
  year = {2022},
  eprint = {2209.06640},
  archivePrefix = {arXiv},
}
"""
DOMAIN = "x > 0; curves that begin at random guessing; without such runs G and α cannot be known"
KIND = "curve"
OPTIONS = {"variable": "variable"}
PRESETS = {}

_STEPS = 100  # more than Newton needs anywhere inside the bounds
_LAST = 1e-9  # a step as short as this leaves an error of its square


class M4(Law):
    """theta = (ln E, ln G, alpha, ln beta, c)."""

    kind = KIND
    terms = (
        Term("E", "E", "nats/token", True, -9.0, 3.0, (-0.5,)),
        Term("G", "G", "nats/token", True, -5.0, 6.0, (0.5, 2.0), nonlinear=True),
        Term("alpha", "α", "1", False, 0.01, 5.0, (0.3, 1.0, 2.0)),
        Term("beta", "β", "1", True, -20.0, 20.0, (-1.5, 0.0)),
        Term("c", "c", "1", False, -5.0, 1.0, (-1.2, -0.5, -0.2)),
    )

    def __init__(self, variable: str):
        self.variables = (variable,)
        self.formula = FORMULA.replace("x", variable)
        self.python = f"""\
low, high = E + 0 * {variable}, E + G + 0 * {variable}
for _ in range(200):  # the left side of the law rises with L
    middle = (low + high) / 2
    above = log(middle - E) - alpha * log(E + G - middle) > log(beta) + c * log({variable})
    low, high = where(above, low, middle), where(above, middle, high)
return (low + high) / 2"""

    def _logit(self, theta: np.ndarray, data: Data) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """v with L = E + G / (1 + e^-v), the slope of the equation at it, ln x: (..., n)."""
        _, gap, alpha, beta, power = (theta[..., i, None] for i in range(5))
        log_x = np.log(data[self.variables[0]])
        return *_solve(beta + power * log_x + (alpha - 1.0) * gap, alpha), log_x

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n)."""
        e, gap = theta[..., 0, None], theta[..., 1, None]
        return np.exp(e) + np.exp(gap) * expit(self._logit(theta, data)[0])

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, 5); of the equation that L solves."""
        v, slope, log_x = self._logit(theta, data)
        e, gap, alpha = (theta[..., i, None] for i in range(3))
        above = np.exp(gap) * expit(v)  # the irreducible loss
        moved = above * expit(-v) / slope
        columns = (
            np.exp(e),
            above + moved * (alpha - 1.0),
            moved * (gap - np.logaddexp(0.0, v)),
            moved,
            moved * log_x,
        )
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """beta takes up the scale of x, and that of the loss to the power of alpha - 1."""
        matrix = np.eye(5)
        matrix[3, 2], matrix[3, 4] = log_loss_scale, log_scale[self.variables[0]]
        return matrix, -log_loss_scale * np.array([1.0, 1.0, 0.0, 1.0, 0.0])


def _solve(right: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """v where ln y - alpha ln(1 - y) = right for y = 1 / (1 + e^-v), and the left side's slope.

    The left side rises between two straight lines, of slope 1 and alpha, and bends one way only:
    Newton reaches the root from anywhere, after its first step from one side.
    """
    v = np.where(right < 0, right, right / alpha)
    for _ in range(_STEPS):
        slope = expit(-v) + alpha * expit(v)
        step = (alpha * np.logaddexp(0.0, v) - np.logaddexp(0.0, -v) - right) / slope
        v = v - step
        if (np.abs(step) <= _LAST * (1.0 + np.abs(v))).all():
            break
    return v, expit(-v) + alpha * expit(v)


def make(variable: str) -> M4:
    """The law in one of N, D, C."""
    return M4(variable)
