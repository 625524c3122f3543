"""A smoothly broken power law: one exponent before a break, another after it, up to 3 breaks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from isoloss.laws._law import Data, Law, LawOnRuns, Sums, Term

TITLE = "Power law in one variable with one to three smooth breaks"
FORMULA = "L = a + b x^-c_0 (1 + (x/d_1)^(1/f_1))^(-c_1 f_1)"
MORE = " (1 + (x/d_{0})^(1/f_{0}))^(-c_{0} f_{0})"  # of every further break
LATEX = r"L = a + b x^{-c_0} \left(1 + \left(\frac{x}{d_1}\right)^{1/f_1}\right)^{-c_1 f_1}"
SOURCE = "Caballero et al. 2022, arXiv:2210.14891, its broken neural scaling law"
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
    " cannot be known from them; more breaks need many runs on both sides of each"
)
KIND = "curve"
OPTIONS = {
    "variable": "variable",
    "breaks": {
        "type": "integer",
        "enum": [1, 2, 3],
        "default": 1,
        "description": "How many breaks: every further one has factors with c, d and f of its own.",
    },
}
PRESETS = {}

# positions in theta of the second derivatives of the logarithm of b x^-c_0 (...) that are not 0
_BENT = ((3, 4), (3, 5), (4, 4), (4, 5), (5, 5))
_UNITS = {"N": "parameters", "D": "tokens", "C": "FLOP"}


# places of the breaks and changes of the exponent there, of a law with so many breaks
_PLACES = {
    1: ((-4.0, -2.5, -1.0, 0.0, 1.0, 2.5, 4.0),),
    2: ((-3.5, -1.0), (1.0, 3.5)),
    3: ((-3.0,), (0.0,), (3.0,)),
}


class BrokenPowerLaw(Law):
    """theta = (ln a, ln b, c_0, then c_i, ln d_i, ln f_i of every break)."""

    kind = KIND

    def __init__(self, variable: str, breaks: int = 1):
        self.variables, self.breaks = (variable,), breaks
        more = "".join(MORE.format(i) for i in range(2, breaks + 1))
        self.formula = (FORMULA + more).replace("x", variable)
        self.python = f"a + b * {variable} ** -c_0"
        for i in range(1, breaks + 1):
            self.python += f" * (1 + ({variable} / d_{i}) ** (1 / f_{i})) ** (-c_{i} * f_{i})"
        terms = [
            Term("a", "a", "nats/token", True, -9.0, 3.0, (-3.0, -0.5)),
            Term("b", "b", "nats/token", True, -14.0, 5.0, (-1.0,)),
            Term("c_0", "c_0", "1", False, -2.0, 4.0, (0.05, 0.3, 0.9)),
        ]
        for i, near in enumerate(_PLACES[breaks], start=1):
            # figure 4 has a change of 5.66
            terms.append(Term(f"c_{i}", f"c_{i}", "1", False, -20.0, 20.0, (-0.3, 0.3)))
            unit = _UNITS[variable]
            terms.append(Term(f"d_{i}", f"d_{i}", unit, True, -12.0, 12.0, near))
            terms.append(Term(f"f_{i}", f"f_{i}", "1", True, -6.0, 2.0, (-1.0,)))
        self.terms = tuple(terms)

    @property
    def latex(self) -> str:
        """The formula with all breaks; empty for one, which LATEX has."""
        if self.breaks == 1:
            return ""
        factors = (
            rf" \left(1 + \left(\frac{{x}}{{d_{i}}}\right)^{{1/f_{i}}}\right)^{{-c_{i} f_{i}}}"
            for i in range(2, self.breaks + 1)
        )
        whole = LATEX + "".join(factors)
        return whole.replace("b x", f"b {self.variables[0]}").replace(
            "{x}", f"{{{self.variables[0]}}}"
        )

    def _break(self, theta: np.ndarray, log_x: np.ndarray, i: int) -> tuple[np.ndarray, ...]:
        """Change of the exponent, width, distance and logarithm of the bracket of a break."""
        change, at, width = (theta[..., 3 * i + k, None] for k in range(3))
        away = (log_x - at) * np.exp(-width)
        return change, width, away, np.logaddexp(0.0, away)

    def _parts(self, theta: np.ndarray, data: Data) -> tuple[np.ndarray, list, np.ndarray]:
        """ln x, the breaks, the reducible loss; (..., n)."""
        b, before = theta[..., 1, None], theta[..., 2, None]
        log_x = np.log(data[self.variables[0]])
        breaks = [self._break(theta, log_x, i) for i in range(1, self.breaks + 1)]
        power = b - before * log_x
        for change, width, _, bracket in breaks:
            power = power - change * np.exp(width) * bracket
        return log_x, breaks, np.exp(power)

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n)."""
        return np.exp(theta[..., 0, None]) + self._parts(theta, data)[-1]

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, p)."""
        log_x, breaks, part = self._parts(theta, data)
        columns = [np.exp(theta[..., 0, None]), part, -part * log_x]
        for change, width, away, bracket in breaks:
            width, after = np.exp(width), expit(away)
            columns += [
                -part * width * bracket,
                part * change * after,
                -part * change * width * (bracket - away * after),
            ]
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scale of x moves b (by c_0) and every d, that of the loss a and b."""
        moved = log_scale[self.variables[0]]
        matrix, shift = np.eye(len(self.terms)), np.zeros(len(self.terms))
        matrix[1, 2] = -moved
        shift[:2] = -log_loss_scale
        shift[4::3] = -moved
        return matrix, shift

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


def make(variable: str, breaks: int = 1) -> BrokenPowerLaw:
    """The law in one of N, D, C.

    Args:
        variable: which.
        breaks: how many, 1 to 3.
    """
    return BrokenPowerLaw(variable, breaks)
