"""The compute-optimal frontier from the minimum of the profile of every budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from isoloss.laws._budgets import SIZES, Budget, Frontier, Minima, edge
from isoloss.laws._law import Data, Doubt, Estimate, Term

TITLE = "IsoFLOP profiles: the minimum of every budget"
FORMULA = "L = L_0 C^-g + k C^-h (ln N - ln N_opt)^2 with N_opt = N_0 C^a"
LATEX = (
    r"L = L_0\, C^{-g} + k\, C^{-h} \left(\ln \frac{N}{N_{\mathrm{opt}}}\right)^2, \quad"
    r" N_{\mathrm{opt}} = N_0\, C^{a}"
)
SOURCE = (
    "Hoffmann et al. 2022, arXiv:2203.15556, section 3.2 (approach 2), with power laws through the"
    " minima and the curvatures; the interpolation, the draws of noise and the weights of the"
    " budgets as in Porian et al. 2024, arXiv:2406.19146"
)
BIBTEX = """\
@misc{hoffmann2022training,
  title = {Training Compute-Optimal Large Language Models},
  author = {Hoffmann, Jordan and Borgeaud, Sebastian and Mensch, Arthur and others},
  year = {2022},
  eprint = {2203.15556},
  archivePrefix = {arXiv},
}
@misc{porian2024resolving,
  title = {Resolving Discrepancies in Compute-Optimal Scaling of Language Models},
  author = {Porian, Tomer and Wortsman, Mitchell and Jitsev, Jenia and others},
  year = {2024},
  eprint = {2406.19146},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "Three budgets or more, each with three sizes or more on both sides of the best one. A profile"
    " is a parabola near its minimum only, so each budget's is fitted to the sizes whose loss is"
    " within 5 % of the least and whose N is within a factor of 8 of the best size, or to the 5"
    " sizes nearest to that one where those are fewer. A budget whose minimum lies at an edge of"
    " its sizes is left out. What is left of the bias (Czech et al. 2026, arXiv:2603.22339) is"
    " small: docs/fitting.md"
)
KIND = "frontier"
OPTIONS = {
    "method": {
        "type": "string",
        "enum": ["parabola", "akima"],
        "default": "parabola",
        "description": (
            "The curve through the losses of a budget: a parabola near the minimum, or Akima's"
            " interpolation of all sizes in logarithms, which has more noise and no shape."
        ),
    },
}
PRESETS = {}

NEAR = np.log(8.0)  # in ln N from the best size: sizes that far away are fitted
CLOSE = 0.05  # of the least loss, by which the loss of sizes that are fitted is higher
FEWEST = 5  # nearest sizes that are fitted however far they are
DRAWS = 200  # of noise, from which it is known how far a minimum would move
INSIDE = 0.9  # share of the draws whose minimum lies inside the sizes, at least
COARSE = 1 / 3  # of the distance of two sizes: what a minimum is not known better than
REPEATS = 5  # degrees of freedom of runs of the same size, from which their spread is the noise
WILD = 25.0  # times the median variance, from which the noise of a budget is its own
STEPS = 25  # points between two sizes at which an interpolation is looked up
# measured by benchmarks/isoflop.py
NARROW = "intervals of method akima are too narrow: 82 % of simulated studies held a, not 95 %"


class IsoflopParabolas(Frontier):
    """theta = (ln N_0, a, ln L_0, g, ln k, h)."""

    kind = KIND
    of_spread = True
    formula = FORMULA
    python = "L_0 * C ** -g + k * C ** -h * log(N / (N_0 * C ** a)) ** 2"
    secondary = (*Frontier.secondary, "k", "h")
    terms = (
        *Frontier.terms,
        Term("k", "k", "nats/token", True, -15.0, 8.0, (-2.3,)),
        Term("h", "h", "1", False, -2.0, 3.0, (0.1,)),
    )

    def __init__(self, method: str):
        self.method = method
        curve = {
            "parabola": "a parabola a budget, of sizes near its minimum",
            "akima": "Akima interpolation of each budget",
        }
        self.recipe = f"{curve[method]}; lines in logarithms, weighted by the spread of the minima"

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n)."""
        least, curvature, away, _ = self._parts(theta, data)
        return least + curvature * away**2

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, 6)."""
        least, curvature, away, log_c = self._parts(theta, data)
        slope, square = -2.0 * curvature * away, curvature * away**2
        columns = (slope, slope * log_c, least, -least * log_c, square, -square * log_c)
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def _parts(self, theta: np.ndarray, data: Data) -> tuple[np.ndarray, ...]:
        """L_min, the factor of the square, ln N - ln N_opt, ln C; each (..., n)."""
        size, power, loss, decay, factor, falls = (theta[..., i, None] for i in range(6))
        log_c = np.log(data["C"])
        away = np.log(data["N"]) - size - power * log_c
        return np.exp(loss - decay * log_c), np.exp(factor - falls * log_c), away, log_c

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the frontier; the scale of C moves k (by h), that of the loss too."""
        matrix, shift = super().rescaling(log_scale, log_loss_scale)
        matrix[4, 5], shift[4] = -log_scale["C"], -log_loss_scale
        return matrix, shift

    def logarithms(self, minima: Minima) -> np.ndarray:
        """As the frontier, and ln of the curvature: (r, 3)."""
        return np.concatenate(
            [super().logarithms(minima), np.log(minima.curvature)[:, None]], axis=-1
        )

    def minima(self, budget: Budget, loss: np.ndarray, weight: np.ndarray) -> Minima:
        """The minimum inside the sizes; the curvature is that of the parabola, of both methods."""
        mean, heavy = budget.mean_of_sizes(loss, weight)
        near = near_least(budget.sizes, mean, heavy)
        least = parabolas(budget.sizes, mean, heavy * near)
        inside = (least.curvature > 0) & (least.loss > 0)
        curvature = np.where(inside, least.curvature, np.nan)
        if self.method == "akima":
            least = interpolated(budget.sizes, mean)
        inside &= (least.size > budget.sizes[0]) & (least.size < budget.sizes[-1])
        return Minima(np.where(inside, least.size, np.nan), least.loss, curvature)

    def doubts(self, estimate: Estimate) -> list[Doubt]:
        """As the frontier, and that intervals of interpolated minima are too narrow."""
        narrow = Doubt(NARROW, "take intervals from method parabola", True)
        return [*super().doubts(estimate), *([narrow] if self.method == "akima" else [])]

    def judged(
        self, budgets: Sequence[Budget], loss: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """By draws of noise: 1 / (variance of the minimum and of what the sizes resolve)."""
        sd = noise(budgets, loss, weight)
        pairs = [
            self._judge(b, loss[b.runs], weight[b.runs], each)
            for b, each in zip(budgets, sd, strict=True)
        ]
        return np.array([heavy for heavy, _ in pairs]), tuple(reason for _, reason in pairs)

    def _judge(
        self, budget: Budget, loss: np.ndarray, weight: np.ndarray, sd: float
    ) -> tuple[float, str]:
        """How heavy the minimum of a budget is, or 0 and why it is left out."""
        count = len(budget.sizes)
        if count < SIZES:
            return 0.0, edge(0, count)
        mean, heavy = budget.mean_of_sizes(loss[None], weight[None])
        with np.errstate(all="ignore"):
            at = self.minima(budget, loss[None], weight[None]).size[0]
        margin = 1 if count >= FEWEST else 0  # few sizes: any place between the ends
        if not budget.sizes[margin] < at < budget.sizes[-1 - margin]:
            best = edge(int(mean[0].argmin()), count)
            nowhere = "no minimum inside its sizes" if np.isnan(at) else "a minimum at their edge"
            return 0.0, best or nowhere
        error = sd * np.sqrt(heavy.sum() / distinct(budget.log_n, loss) / heavy)
        normal, each = np.random.default_rng(0).standard_normal((DRAWS, count)), np.arange(count)
        single = Budget(each, budget.log_c, budget.sizes, budget.sizes, each)
        with np.errstate(all="ignore"):
            drawn = mean * np.exp(error * normal)
            places = self.minima(single, drawn, np.broadcast_to(heavy, drawn.shape)).size
        there = np.isfinite(places)
        if there.mean() < INSIDE:
            return 0.0, f"noise moves the minimum to an edge in {1 - there.mean():.0%} of draws"
        distance = COARSE * np.median(np.diff(budget.sizes))
        return float(1.0 / (places[there].var() + distance**2)), ""


def near_least(sizes: np.ndarray, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Which sizes a parabola is fitted to, bool (r, s).

    Far from its minimum a profile is no parabola: a Chinchilla law's is steeper on one side, and
    models that have hardly been trained are worse than any law says. Such sizes move the minimum.

    Args:
        sizes: ln N, rising, (s,).
        mean: loss of every size, (r, s).
        weight: of every size, (r, s); 0 where there is no run.
    """
    losses = np.where(weight > 0, mean, np.inf)
    away = np.abs(sizes - sizes[losses.argmin(axis=-1)][:, None])
    away = np.where(weight > 0, away, np.inf)
    last = min(FEWEST, len(sizes)) - 1
    nearest = np.partition(away, last, axis=-1)[:, last, None]
    close = (losses <= (1 + CLOSE) * losses.min(axis=-1, keepdims=True)) & (away <= NEAR)
    return (close | (away <= nearest * (1 + 1e-9))) & (weight > 0)


def parabolas(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Minima:
    """Weighted least squares parabolas of y (r, s) over x (s,): their extrema.

    The curvature is NaN with fewer than three places of x.
    """
    y = np.where(weight > 0, y, 0.0)
    scale = max(np.ptp(x), 1e-300)
    total = weight.sum(axis=-1, keepdims=True)
    middle = (weight @ x)[:, None] / total
    u = (x - middle) / scale
    level = (weight * y).sum(axis=-1, keepdims=True) / total
    v = y - level
    # the middle of u is 0, so that sums of u and v vanish
    u2, u3, u4 = ((weight * u**power).sum(axis=-1) / total[:, 0] for power in (2, 3, 4))
    uv, u2v = ((weight * u**power * v).sum(axis=-1) / total[:, 0] for power in (1, 2))
    spread = u4 - u2**2 - u3**2 / u2
    curvature = (u2v - u3 / u2 * uv) / spread
    slope = (uv - u3 * curvature) / u2
    constant = level[:, 0] - u2 * curvature
    known = ((weight > 0).sum(axis=-1) >= SIZES) & (curvature != 0)
    curvature = np.where(known, curvature, np.nan)
    place = middle[:, 0] - scale * slope / (2 * curvature)
    return Minima(place, constant - slope**2 / (4 * curvature), curvature / scale**2)


def interpolated(sizes: np.ndarray, mean: np.ndarray) -> Minima:
    """The least loss of Akima's interpolation of ln L over ln N, of losses (r, s).

    Sizes without a run, whose loss is NaN, are left out; NaN where there are fewer than three.
    """
    place, least = np.full(len(mean), np.nan), np.full(len(mean), np.nan)
    patterns, which = np.unique(np.isfinite(mean), axis=0, return_inverse=True)
    for number, present in enumerate(patterns):
        rows, x = np.flatnonzero(which.reshape(-1) == number), sizes[present]
        if len(x) < SIZES:
            continue
        y = np.log(mean[rows][:, present])
        fine = np.interp(np.arange(STEPS * (len(x) - 1) + 1) / STEPS, np.arange(len(x)), x)
        curve = Akima1DInterpolator(x, y, axis=1)(fine)
        best = curve.argmin(axis=-1)
        place[rows], least[rows] = fine[best], np.exp(curve.min(axis=-1))
    return Minima(place, least)


def noise(budgets: Sequence[Budget], loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """SD of the log loss of the runs of every budget, (b,); 0 if unknown.

    It is that between runs of one size, or around the parabolas, of all budgets together: one
    budget is too few. But where a budget's is far above that of the others, a run of it is wild
    or its profile is no parabola: that says nothing of the others, and they nothing of it.

    Args:
        budgets: of the runs.
        loss: of all runs, (n,).
        weight: of all runs, (n,).
    """
    for squares_of, least in ((between_seeds, REPEATS), (around_parabola, 1)):
        sums = [squares_of(b, loss[b.runs], weight[b.runs]) for b in budgets]
        each = np.reshape(sums, (-1, 4)).astype(float)
        if each[:, -1].sum() >= least:
            own = variance(each)
            wild = own > WILD * np.nanmedian(own)
            return np.sqrt(np.where(wild, own, variance(each[~wild].sum(axis=0))))
    return np.zeros(len(budgets))


def variance(sums: np.ndarray) -> np.ndarray:
    """Of runs, by squares, weight, runs and degrees of freedom, (..., 4); NaN without a degree."""
    squares, total, runs, degrees = np.moveaxis(sums, -1, 0)
    with np.errstate(all="ignore"):
        return np.where(degrees > 0, squares / total * runs / degrees, np.nan)


def between_seeds(budget: Budget, loss: np.ndarray, weight: np.ndarray) -> tuple[float, ...]:
    """Squares of log losses around the mean of their size, weight, runs, degrees of freedom."""
    mean, _ = budget.mean_of_sizes(loss[None], weight[None])
    squares = weight @ np.log(loss / mean[0][budget.size]) ** 2
    runs = distinct(budget.log_n, loss)
    return squares, weight.sum(), runs, runs - len(budget.sizes)


def around_parabola(budget: Budget, loss: np.ndarray, weight: np.ndarray) -> tuple[float, ...]:
    """The same around the parabola, of the sizes that it is fitted to."""
    mean, heavy = budget.mean_of_sizes(loss[None], weight[None])
    near = near_least(budget.sizes, mean, heavy)
    if near.sum() <= SIZES:
        return 0.0, 0.0, 0, 0
    at, chosen = parabolas(budget.sizes, mean, heavy * near), near[0][budget.size]
    curve = at.loss + at.curvature * (budget.log_n - at.size) ** 2
    squares = weight[chosen] @ (loss / curve - 1)[chosen] ** 2
    runs = distinct(budget.log_n[chosen], loss[chosen])
    return squares, weight[chosen].sum(), runs, runs - SIZES


def distinct(log_n: np.ndarray, loss: np.ndarray) -> int:
    """How many runs there are: one that a bootstrap drew twice is one."""
    return len(np.unique(np.column_stack([log_n, loss]), axis=0))


def make(method: str = "parabola") -> IsoflopParabolas:
    """The law, its minima found by parabolas or by Akima's interpolation."""
    return IsoflopParabolas(method)
