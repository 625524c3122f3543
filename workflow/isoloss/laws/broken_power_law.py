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
        "minimum": 1,
        "maximum": 3,
        "default": 1,
        "description": "How many breaks: every further one has factors with c, d and f of its own.",
    },
}
PRESETS = {}

_UNITS = {"N": "parameters", "D": "tokens", "C": "FLOP"}


# places of the breaks and changes of the exponent there, of a law with so many breaks
_PLACES = {
    1: ((-4.0, -2.5, -1.0, 0.0, 1.0, 2.5, 4.0),),
    2: ((-3.5, -1.0), (1.0, 3.5)),
    3: ((-3.0,), (0.0,), (3.0,)),
}
# second derivatives of ln (b x^-c_0 ...) by (c, d, f) of a break that are not 0, by positions
_BENT = ((0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


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
        """Loss (b, n); theta, the reducible loss, and of every break distance and bracket."""
        log_x, law, inner = self.data["ln x"], self.law, []
        power = theta[:, 1, None] - theta[:, 2, None] * log_x
        for i in range(1, law.breaks + 1):
            change, width, away, bracket = law._break(theta, log_x, i)
            power = power - change * np.exp(width) * bracket
            inner += [away, bracket]
        part = np.exp(power)
        return np.exp(theta[:, 0, None]) + part, (theta, part, *inner)

    def take(self, inner: tuple[np.ndarray, ...], which: np.ndarray) -> tuple[np.ndarray, ...]:
        """The same of some of the thetas."""
        return tuple(values[which] for values in inner)

    def sums(
        self, inner: tuple[np.ndarray, ...], slope: np.ndarray, curvature: np.ndarray, weight
    ) -> Sums:
        """Sums over runs, by the derivatives of ln part by all but a."""
        theta, part = inner[:2]
        flat, p = np.exp(theta[:, 0]), theta.shape[1]
        logs, bent = self._of_logs(inner)
        across, sloped = np.swapaxes(logs, -1, -2), slope * part
        curved, heavy = curvature * part, weight * part
        by_second = (curved * part + sloped)[:, None] * logs
        single = np.stack([sloped, curved, heavy], axis=1)
        inside = np.concatenate([by_second, (heavy * part)[:, None] * logs, single], axis=1)
        blocks, turns = inside @ across, (bent @ sloped[..., None])[..., 0]
        hessian, outer = np.empty((2, len(part), p, p))
        hessian[:, 1:, 1:], outer[:, 1:, 1:] = blocks[:, : p - 1], blocks[:, p - 1 : -3]
        for k in range(turns.shape[1]):
            i, j = (3 + 3 * (k // len(_BENT)) + own for own in _BENT[k % len(_BENT)])
            hessian[:, i, j] += turns[:, k]
            hessian[:, j, i] = hessian[:, i, j]
        for matrix, cross, of_flat in (
            (hessian, blocks[:, -2], flat * curvature.sum(axis=-1) + slope.sum(axis=-1)),
            (outer, blocks[:, -1], flat * weight.sum(axis=-1)),
        ):
            matrix[:, 0, 0] = flat * of_flat
            matrix[:, 0, 1:] = matrix[:, 1:, 0] = flat[:, None] * cross
        sizes = (np.abs(logs) @ np.abs(sloped)[..., None])[..., 0]
        return Sums(
            gradient=np.column_stack([flat * slope.sum(axis=-1), blocks[:, -3]]),
            absolute=np.column_stack([flat * np.abs(slope).sum(axis=-1), sizes]),
            hessian=hessian,
            outer=outer,
        )

    def _of_logs(self, inner: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of ln part by theta but a, (b, p - 1, n), and second ones, at _BENT."""
        theta, part = inner[:2]
        logs = np.empty((len(part), theta.shape[1] - 1, part.shape[1]))
        bent = np.empty((len(part), len(_BENT) * self.law.breaks, part.shape[1]))
        logs[:, 0], logs[:, 1] = 1.0, -self.data["ln x"]
        for i in range(self.law.breaks):
            away, bracket = inner[2 + 2 * i : 4 + 2 * i]
            change, wide = theta[:, 3 + 3 * i, None], np.exp(theta[:, 5 + 3 * i, None])
            after = expit(away)
            rest, steep = bracket - away * after, change * after * (1 - after)
            logs[:, 2 + 3 * i] = -wide * bracket
            logs[:, 3 + 3 * i] = change * after
            logs[:, 4 + 3 * i] = -change * wide * rest
            own = bent[:, len(_BENT) * i :]
            own[:, 0], own[:, 1] = after, -wide * rest
            own[:, 2], own[:, 3] = -steep / wide, -steep * away
            own[:, 4] = logs[:, 4 + 3 * i] - wide * away * away * steep
        return logs, bent


def make(variable: str, breaks: int = 1) -> BrokenPowerLaw:
    """The law in one of N, D, C.

    Args:
        variable: which.
        breaks: how many, 1 to 3.
    """
    return BrokenPowerLaw(variable, breaks)
