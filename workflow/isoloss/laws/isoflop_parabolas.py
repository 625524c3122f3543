"""The compute-optimal frontier from a parabola through the runs of every budget."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoloss.laws._budgets import Frontier, budgets
from isoloss.laws._law import Data, Estimate, Term

TITLE = "IsoFLOP parabolas: the minimum of every budget"
FORMULA = "L = L_0 C^-g + k (ln N - ln N_opt)^2 with N_opt = N_0 C^a"
LATEX = (
    r"L = L_0\, C^{-g} + k \left(\ln \frac{N}{N_{\mathrm{opt}}}\right)^2, \quad"
    r" N_{\mathrm{opt}} = N_0\, C^{a}"
)
SOURCE = (
    "Hoffmann et al. 2022, arXiv:2203.15556, section 3.2 (approach 2), with a power law through the"
    " minima and one curvature for all budgets"
)
BIBTEX = """\
@misc{hoffmann2022training,
  title = {Training Compute-Optimal Large Language Models},
  author = {Hoffmann, Jordan and Borgeaud, Sebastian and Mensch, Arthur and others},
  year = {2022},
  eprint = {2203.15556},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "Two budgets or more, each with three sizes or more close to the best one on both sides. A"
    " profile is a parabola near its minimum only, so each budget's is fitted to the sizes within a"
    " factor of 8 of its minimum, or to the 5 sizes nearest to it where those are fewer. What is"
    " left of the bias (Czech et al. 2026, arXiv:2603.22339) is small where sizes lie on both sides"
    " of the best. One curvature for all budgets simplifies further"
)
KIND = "frontier"
OPTIONS = {}
PRESETS = {}

SIZES = 3  # a parabola's worth
NEAR = np.log(8.0)  # in ln N from the minimum: sizes that far away are fitted
REPEATS = 20  # of the search for them, at most
FEWEST = 5  # nearest sizes that are fitted however far they are


class IsoflopParabolas(Frontier):
    """theta = (ln N_0, a, ln L_0, g, k)."""

    kind = KIND
    formula = FORMULA
    python = "L_0 * C ** -g + k * log(N / (N_0 * C ** a)) ** 2"
    recipe = (
        "a least squares parabola a budget, of sizes within a factor of 8 of its minimum;"
        " least squares lines in logarithms"
    )
    terms = (*Frontier.terms, Term("k", "k", "nats/token", False, 0.0, 10.0, (0.1,)))

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n)."""
        least, away, _ = self._parts(theta, data)
        return least + theta[..., 4, None] * away**2

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, 5)."""
        least, away, log_c = self._parts(theta, data)
        slope = -2.0 * theta[..., 4, None] * away
        columns = (slope, slope * log_c, least, -least * log_c, away**2)
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def _parts(self, theta: np.ndarray, data: Data) -> tuple[np.ndarray, ...]:
        """L_min, ln N - ln N_opt, ln C; each (..., n)."""
        size, power, loss, decay = (theta[..., i, None] for i in range(4))
        log_c = np.log(data["C"])
        return np.exp(loss - decay * log_c), np.log(data["N"]) - size - power * log_c, log_c

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the frontier; k in the scale of the loss."""
        matrix, shift = super().rescaling(log_scale, log_loss_scale)
        matrix[4, 4] = np.exp(-log_loss_scale)
        return matrix, shift

    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> Estimate:
        """By a parabola a budget; NaN where fewer than two budgets have one with a minimum.

        Budgets without a minimum are omitted, the others weighted by their runs. The compute of a
        budget is the geometric mean of that of its runs.
        """
        log_n, log_c = np.log(data["N"]), np.log(data["C"])
        points, curvatures = [], []
        for group in budgets(data, weight):
            if len(np.unique(log_n[group])) < SIZES:
                continue
            heavy = weight[group]
            at, least, curvature = near_minimum(log_n[group], loss[group], heavy)
            if curvature > 0 and least > 0:
                middle = np.average(log_c[group], weights=heavy)
                points.append((middle, at, np.log(least), heavy.sum()))
                curvatures.append(curvature)
        theta = self.through(points)
        if np.isnan(theta).any():
            return Estimate(np.full(5, np.nan))
        mean = np.average(curvatures, weights=[point[-1] for point in points])
        return Estimate(np.append(theta, mean))


def near_minimum(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """As `parabola`, of the points near its own extremum, found by repetition.

    Over a wide range a profile is no parabola, and points far to one side move the minimum of one:
    by 0.024 in `a` for a Chinchilla law without noise and sizes up to 200 times the best. Within
    NEAR that is below 0.001, and the noise of a minimum hardly grows.

    Args:
        x: logarithm of the size, (n,).
        y: loss, (n,).
        weight: of every run, (n,).
    """
    near = np.ones(len(x), dtype=bool)
    for _ in range(REPEATS):
        at, _, curvature = parabola(x[near], y[near], weight[near])
        away = np.abs(x - (at if curvature > 0 else x[np.argmin(y)]))
        nearest = np.unique(away)[:FEWEST]
        chosen = away <= max(NEAR, nearest[-1])
        if (chosen == near).all():
            break
        near = chosen
    return parabola(x[near], y[near], weight[near])


def parabola(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """Place and value of the extremum and the factor of the square, by weighted least squares."""
    middle = np.average(x, weights=weight)
    powers = np.vander(x - middle, 3, increasing=True)
    root = np.sqrt(weight)
    level, slope, curvature = np.linalg.lstsq(root[:, None] * powers, root * y, rcond=None)[0]
    if curvature == 0:
        return np.nan, np.nan, 0.0
    return middle - slope / (2 * curvature), level - slope**2 / (4 * curvature), curvature


def make() -> IsoflopParabolas:
    """The law; it has no options."""
    return IsoflopParabolas()
