"""A smoothly broken power law: one exponent before a break, another after it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from isoloss.laws._law import Data, Law, LawOnRuns, Sums, Term

TITLE = "Power law in one variable with one smooth break"
FORMULA = "L = a + b x^-c_0 (1 + (x/d_1)^(1/f_1))^(-c_1 f_1)"
LATEX = r"L = a + b x^{-c_0} \left(1 + \left(\frac{x}{d_1}\right)^{1/f_1}\right)^{-c_1 f_1}"
SOURCE = "Caballero et al. 2022, arXiv:2210.14891, its broken neural scaling law with one break"
BIBTEX = """\
@misc{caballero2022broken,
  title = {Broken Neural Scaling Laws},
  author = {Caballero, Ethan and Gupta, Kshitij and Rish, Irina and Krueger, David},
  year = {2022},
  eprint = {2210.14891},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "x > 0; the exponent is c_0 well below d_1, c_0 + c_1 well above; a break outside the data"
    " cannot be known from them"
)
KIND = "curve"
OPTIONS = {"variable": "variable"}
PRESETS = {}

# positions in theta of the second derivatives of the logarithm of b x^-c_0 (...) that are not 0
_BENT = ((3, 4), (3, 5), (4, 4), (4, 5), (5, 5))
_UNITS = {"N": "parameters", "D": "tokens", "C": "FLOP"}


class BrokenPowerLaw(Law):
    """theta = (ln a, ln b, c_0, c_1, ln d_1, ln f_1)."""

    kind = KIND

    def __init__(self, variable: str):
        self.variables = (variable,)
        self.formula = FORMULA.replace("x", variable)
        bracket = f"(1 + ({variable} / d_1) ** (1 / f_1)) ** (-c_1 * f_1)"
        self.python = f"a + b * {variable} ** -c_0 * {bracket}"
        near = (-4.0, -2.5, -1.0, 0.0, 1.0, 2.5, 4.0)  # places of a break
        self.terms = (
            Term("a", "a", "nats/token", True, -9.0, 3.0, (-3.0, -0.5)),
            Term("b", "b", "nats/token", True, -14.0, 5.0, (-1.0,)),
            Term("c_0", "c_0", "1", False, -2.0, 4.0, (0.05, 0.3, 0.9)),
            Term("c_1", "c_1", "1", False, -20.0, 20.0, (-0.3, 0.3)),  # figure 4 has 5.66
            Term("d_1", "d_1", _UNITS[variable], True, -12.0, 12.0, near),
            Term("f_1", "f_1", "1", True, -6.0, 2.0, (-1.0,)),
        )

    def _parts(self, theta: np.ndarray, data: Data) -> tuple[np.ndarray, ...]:
        """ln x, distance to the break, logarithm of the bracket, the reducible loss; (..., n)."""
        _, b, before, change, at, width = (theta[..., i, None] for i in range(6))
        log_x = np.log(data[self.variables[0]])
        away = (log_x - at) * np.exp(-width)
        bracket = np.logaddexp(0.0, away)
        return log_x, away, bracket, np.exp(b - before * log_x - change * np.exp(width) * bracket)

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n)."""
        return np.exp(theta[..., 0, None]) + self._parts(theta, data)[-1]

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, 6)."""
        log_x, away, bracket, part = self._parts(theta, data)
        change, width = theta[..., 3, None], np.exp(theta[..., 5, None])
        after = expit(away)
        columns = (
            np.exp(theta[..., 0, None]),
            part,
            -part * log_x,
            -part * width * bracket,
            part * change * after,
            -part * change * width * (bracket - away * after),
        )
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scale of x moves b (by c_0) and d_1, that of the loss a and b."""
        moved = log_scale[self.variables[0]]
        matrix = np.eye(6)
        matrix[1, 2] = -moved
        return matrix, np.array([-log_loss_scale, -log_loss_scale, 0.0, 0.0, -moved, 0.0])

    def on(self, data: Data) -> BrokenOnRuns:
        """With the logarithm of x computed once, and exact second derivatives."""
        return BrokenOnRuns(self, data)


class BrokenOnRuns(LawOnRuns):
    """The law on n runs; what it keeps of them is ln x."""

    def __init__(self, law: BrokenPowerLaw, data: Data):
        super().__init__(law, data)
        self.data = {"ln x": np.log(self.data[law.variables[0]])}

    def at(self, theta: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Loss (b, n); theta, the distance to the break, the bracket, and the reducible loss."""
        _, b, before, change, at, width = (theta[:, i, None] for i in range(6))
        log_x, wide = self.data["ln x"], np.exp(width)
        away = (log_x - at) * np.exp(-width)
        bracket = np.logaddexp(0.0, away)
        part = np.exp(b - before * log_x - change * wide * bracket)
        return np.exp(theta[:, 0, None]) + part, (theta, away, bracket, part)

    def take(self, inner: tuple[np.ndarray, ...], which: np.ndarray) -> tuple[np.ndarray, ...]:
        """The same of some of the thetas."""
        return tuple(values[which] for values in inner)

    def sums(
        self, inner: tuple[np.ndarray, ...], slope: np.ndarray, curvature: np.ndarray, weight
    ) -> Sums:
        """Sums over runs, by the derivatives of ln part by all but a, `logs` (b, 5, n)."""
        theta, away, bracket, part = inner
        flat, change, wide = np.exp(theta[:, 0]), theta[:, 3, None], np.exp(theta[:, 5, None])
        after = expit(away)
        rest, steep = bracket - away * after, change * after * (1 - after)
        logs = np.empty((len(part), 5, part.shape[1]))
        logs[:, 0], logs[:, 1] = 1.0, -self.data["ln x"]
        logs[:, 2] = -wide * bracket
        logs[:, 3] = change * after
        logs[:, 4] = -change * wide * rest
        bent = np.empty_like(logs)  # second derivatives of ln part, at _BENT
        bent[:, 0], bent[:, 1] = after, -wide * rest
        bent[:, 2], bent[:, 3] = -steep / wide, -steep * away
        bent[:, 4] = logs[:, 4] - wide * away * away * steep
        across, sloped = np.swapaxes(logs, -1, -2), slope * part
        curved, heavy = curvature * part, weight * part
        inside = np.concatenate(
            [
                (curved * part + sloped)[:, None] * logs,
                (heavy * part)[:, None] * logs,
                np.stack([sloped, curved, heavy], axis=1),
            ],
            axis=1,
        )
        blocks = inside @ across  # (b, 5 + 5 + 3, 5)
        turns = (bent @ sloped[..., None])[..., 0]
        hessian, outer = np.empty((2, len(part), 6, 6))
        hessian[:, 1:, 1:], outer[:, 1:, 1:] = blocks[:, :5], blocks[:, 5:10]
        for k, (i, j) in enumerate(_BENT):
            hessian[:, i, j] += turns[:, k]
            hessian[:, j, i] = hessian[:, i, j]
        for matrix, cross, of_flat in (
            (hessian, blocks[:, 11], flat * curvature.sum(axis=-1) + slope.sum(axis=-1)),
            (outer, blocks[:, 12], flat * weight.sum(axis=-1)),
        ):
            matrix[:, 0, 0] = flat * of_flat
            matrix[:, 0, 1:] = matrix[:, 1:, 0] = flat[:, None] * cross
        sizes = (np.abs(logs) @ np.abs(sloped)[..., None])[..., 0]
        return Sums(
            gradient=np.column_stack([flat * slope.sum(axis=-1), blocks[:, 10]]),
            absolute=np.column_stack([flat * np.abs(slope).sum(axis=-1), sizes]),
            hessian=hessian,
            outer=outer,
        )


def make(variable: str) -> BrokenPowerLaw:
    """The law in one of N, D, C."""
    return BrokenPowerLaw(variable)
