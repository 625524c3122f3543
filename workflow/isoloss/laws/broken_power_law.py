"""A smoothly broken power law: one exponent before a break, another after it, up to 3 breaks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from isoloss.laws._law import Data, Law, LawOnRuns, Sums, Term

TITLE = "Power law in one variable with one to three smooth breaks"
FORMULA = "L = a + b x^-c_0 (1 + (x/d_1)^(1/f_1))^(-c_1 f_1)"
MORE = " (1 + (x/d_{0})^(1/f_{0}))^(-c_{0} f_{0})"  # of every further break
LATEX = r"L = a + b x^{-c_0} \left(1 + \left(\frac{x}{d_1}\right)^{1/f_1}\right)^{-c_1 f_1}"
SOURCE = (
    "Caballero et al. 2022, arXiv:2210.14891, its broken neural scaling law; the form, with up to"
    " three breaks, was read in the code of its repository (figures 1 and 4)"
)
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
    " cannot be known from them; more breaks need many runs on both sides of each, and are in the"
    " order of their places"
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


# where breaks begin, of a law on a grid without runs
_PLACES = {
    1: ((-4.0, -2.5, -1.0, 0.0, 1.0, 2.5, 4.0),),
    2: ((-3.5, -1.0), (1.0, 3.5)),
    3: ((-3.0,), (0.0,), (3.0,)),
}
# starts of a law of several breaks, from the runs: see `BrokenOnRuns.starts`
_CANDIDATES = {1: 24, 2: 14, 3: 12}  # places for breaks, of which every ordered choice is tried
_SHARES = (1e-3, 0.5, 0.8, 0.95)  # of the least loss, that a may be
_WIDTHS = (0.008, 0.016, 0.032)  # of a break, as a share of the range of ln x
_FARTHEST = 24.0  # from a break to the next in ln x
_MORE = 16  # starts from the runs, of a law of one break, beside those of the grid
_DESCENTS = 48  # from the best of the starts
_LOOKED_AT, _IMPROVED, _STEPS = 200, 128, 8  # runs, starts and steps by which starts improve
_RIDGE = 1e-9  # of the projection, relative to its columns
# second derivatives of ln (b x^-c_0 ...) by (c, d, f) of a break that are not 0, by positions
_BENT = ((0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


class BrokenPowerLaw(Law):
    """theta = (ln a, ln b, c_0, then c_i, ln d_i, ln f_i of every break).

    Breaks are in the order of their places: a search moves ln d_1 and the distance from every
    break to the next, which is at least 0 (`moves`). An interval is therefore one of the first,
    second or third break, unless the user sets limits of places: these hold in place of the order.
    """

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
            low, high = (-12.0, 12.0) if i == 1 else (0.0, _FARTHEST)  # of what moves
            terms.append(Term(f"d_{i}", f"d_{i}", unit, True, low, high, near))
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

    def moves(self, data: Data, log_loss_scale: float) -> tuple[np.ndarray, np.ndarray]:
        """The place of a break as the distance in ln x from the break before it."""
        matrix = np.eye(len(self.terms))
        for i in range(2, self.breaks + 1):
            matrix[3 * i + 1, 3 * i - 2] = -1.0
        return matrix, np.zeros(len(self.terms))

    def on(self, data: Data) -> BrokenOnRuns:
        """With the logarithm of x computed once, and exact second derivatives."""
        return BrokenOnRuns(self, data)


class BrokenOnRuns(LawOnRuns):
    """The law on n runs; what it keeps of them is ln x."""

    def __init__(self, law: BrokenPowerLaw, data: Data):
        super().__init__(law, data)
        self.data = {"ln x": np.log(self.data[law.variables[0]])}
        self.descents = _DESCENTS if law.breaks > 1 else None

    def starts(self, loss: np.ndarray) -> np.ndarray:
        """Where a search begins, (s, p).

        Breaks are at every ordered choice of places that lie among the runs, with several widths
        and shares of the loss that a is; b and the exponents follow (`project`). The best of these
        are the starts; of one break a few of them and the law's own grid.
        """
        law, log_x = self.law, self.data["ln x"]
        count = _CANDIDATES[law.breaks]
        share = (np.arange(count) + 0.5) / count
        even = log_x.min() + share * np.ptp(log_x)
        places = (np.quantile(log_x, share) + even) / 2
        chosen = np.array(list(itertools.combinations(places, law.breaks)))
        widths = np.log(np.array(_WIDTHS) * (np.ptp(log_x) or 1.0))
        least = np.log(np.maximum(loss.min() * np.array(_SHARES), 1e-300))
        which = np.indices((len(least), len(widths), len(chosen))).reshape(3, -1)
        starts = np.zeros((which.shape[1], len(law.terms)))
        starts[:, 0] = least[which[0]]
        starts[:, 4::3], starts[:, 5::3] = chosen[which[2]], widths[which[1], None]
        starts = self._improved(starts, loss)
        return np.concatenate([law.starts(), starts[:_MORE]]) if law.breaks == 1 else starts

    def _improved(self, starts: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """The best of the starts after a few steps of least squares of log losses, (s, p).

        Places between those of the grid, and a width for each break, come from these steps.
        """
        rows = np.unique(np.linspace(0, len(loss) - 1, _LOOKED_AT).astype(int))
        few, target = self.with_data({"ln x": self.data["ln x"][rows]}), np.log(loss[rows])
        theta = few._projected(starts, loss[rows], np.ones(len(rows)))
        square = few._squares(theta, target)
        best = np.argsort(square, kind="stable")[:_IMPROVED]
        theta, square, damping = theta[best], square[best], np.full(len(best), 1e-2)
        low, high = np.array([(term.low, term.high) for term in self.law.terms]).T
        low[4::3], high[4::3] = low[4], high[4]
        for _ in range(_STEPS):
            moved = np.clip(theta - few._step(theta, target, damping), low, high)
            moved[:, 4::3] = np.maximum.accumulate(moved[:, 4::3], axis=1)
            now = few._squares(moved, target)
            better = now < square
            theta, square = np.where(better[:, None], moved, theta), np.where(better, now, square)
            damping = np.where(better, damping / 10, damping * 10)
        return theta

    def _squares(self, theta: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Mean squared errors of log losses, (b,); infinite where one is not finite."""
        with np.errstate(all="ignore"):
            square = np.mean((np.log(self.at(theta)[0]) - target) ** 2, axis=-1)
        return np.where(np.isfinite(square), square, np.inf)

    def _step(self, theta: np.ndarray, target: np.ndarray, damping: np.ndarray) -> np.ndarray:
        """Steps to subtract from theta, (b, p), of least squares damped by (b,)."""
        with np.errstate(all="ignore"):
            loss, inner = self.at(theta)
            flat, part = np.exp(theta[:, :1]) / loss, inner[1] / loss
            slopes = np.concatenate(
                [flat[:, None], self._of_logs(inner)[0] * part[:, None]], axis=1
            )
            errors = np.log(loss) - target
        slopes, errors = np.nan_to_num(slopes), np.nan_to_num(errors)
        normal = slopes @ np.swapaxes(slopes, -1, -2)
        size = np.einsum("bpp->bp", normal) * damping[:, None] + 1e-12
        damped = normal + np.eye(theta.shape[1]) * size[:, None]
        return np.linalg.solve(damped, slopes @ errors[..., None])[..., 0]

    def project(self, theta: np.ndarray, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Starts with b, c_0 and every c_i at their best for a and for places and widths of breaks.

        ln (L - a) is linear in them: least squares of its errors, each times what the relative
        error of L is of it. Of one break starts are left as they are.
        """
        if self.law.breaks == 1 or not (loss > 0).all():
            return theta
        return self._projected(theta, loss, weight)

    def _projected(self, theta: np.ndarray, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        flat = np.minimum(np.exp(theta[:, :1]), 0.999 * loss.min())
        part = loss - flat  # (b, n)
        columns = [np.ones_like(part), np.broadcast_to(-self.data["ln x"], part.shape)]
        for i in range(1, self.law.breaks + 1):
            _, width, _, bracket = self.law._break(theta, self.data["ln x"], i)
            columns.append(-np.exp(width) * bracket)
        shape, share = np.stack(columns, axis=-1), weight * (part / loss) ** 2
        size = np.sqrt(np.einsum("bnk,bn->bk", shape**2, share))
        shape = shape / np.where(size > 0, size, 1.0)[:, None]
        heavy = np.swapaxes(shape * share[..., None], -1, -2)
        normal = heavy @ shape + _RIDGE * np.eye(shape.shape[-1])
        best = np.linalg.solve(normal, heavy @ np.log(part)[..., None])[..., 0]
        moved = theta.copy()
        moved[:, [0]] = np.log(flat)
        moved[:, [1, 2, *range(3, theta.shape[1], 3)]] = best / np.where(size > 0, size, 1.0)
        return np.where(np.isfinite(moved).all(axis=-1, keepdims=True), moved, theta)

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
