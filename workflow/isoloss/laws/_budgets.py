"""Helpers of estimators of the compute-optimal frontier: budgets, their minima, and lines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import fdtrc

from isoloss.core import units
from isoloss.core.budgets import budget_numbers
from isoloss.laws._law import Data, Doubt, Estimate, Estimator, Sample, Term

SIZES = 3  # of a budget, at least, for a minimum between them
FEW = 3  # budgets with a minimum: the least number by which a line is tested at all
MANY_LEFT_OUT = 1 / 3  # share of the budgets, above which what is left is a selection
LOOSE = 0.15  # standard error of a, above which it says nothing: 0.5 may be 0.2 or 0.8
BENT = 0.005  # of the loss, by which least losses bend around their line: a doubt
CHANCE = 0.01  # p value of that bend
LEVEL = 1.96  # standard errors on either side in 95 % of cases
LOSS = 1  # where `Frontier.logarithms` has ln L
_NAMED = 4  # budgets without a minimum that are named


@dataclass(frozen=True, eq=False)
class Minima:
    """Where samples of the same runs have their least loss at a budget.

    Attributes:
        size: ln N there, (r,); NaN where there is none.
        loss: there, (r,).
        curvature: half the second derivative of the loss by ln N there, (r,), or None.
    """

    size: np.ndarray
    loss: np.ndarray
    curvature: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Budget:
    """The runs of one budget, in any number of samples of them.

    Attributes:
        runs: their positions among all runs, (n,).
        log_c: logarithm of the compute, the geometric mean of that of the runs, by weight.
        log_n: ln N of every run, (n,).
        sizes: distinct values of it, rising, (s,).
        size: the number of the size of every run, (n,).
    """

    runs: np.ndarray
    log_c: float
    log_n: np.ndarray
    sizes: np.ndarray
    size: np.ndarray

    @property
    def name(self) -> str:
        """Its compute, in words."""
        return f"C = {units.power(float(np.exp(self.log_c)))}"

    def mean_of_sizes(self, loss: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean loss of every size (NaN without a run) and its weight, (r, s), of (r, n) each."""
        belongs = (self.size[:, None] == np.arange(len(self.sizes))).astype(float)
        heavy = weight @ belongs
        with np.errstate(invalid="ignore"):
            return (weight * loss) @ belongs / heavy, heavy


@dataclass(frozen=True)
class Kept:
    """What the line through the minima is made of; what a fit keeps of its runs.

    Attributes:
        budgets: those of the runs, b of them.
        weight: of the minimum of each in the line, (b,); 0 of budgets that are left out.
        reasons: why a budget is left out; empty of one that is not.
        bend: of the least losses around their line, as `curvature` says.
    """

    budgets: Sequence[Budget]
    weight: np.ndarray
    reasons: tuple[str, ...]
    bend: float = 0.0

    @property
    def error(self) -> float:
        """Standard error of the slope of the line, where weights are 1 / variance; or infinite."""
        x = np.array([budget.log_c for budget in self.budgets])
        if (self.weight > 0).sum() < 2:
            return float("inf")
        middle = np.average(x, weights=self.weight)
        return float(1.0 / np.sqrt(self.weight @ (x - middle) ** 2))

    @property
    def left_out(self) -> list[int]:
        """The numbers of the budgets that are left out."""
        return [number for number, reason in enumerate(self.reasons) if reason]

    @property
    def count(self) -> int:
        """How many budgets the line is put through."""
        return int((self.weight > 0).sum())

    @property
    def selected(self) -> bool:
        """Whether fewer than half of the budgets with sizes enough are left."""
        return 2 * self.count < sum(len(budget.sizes) >= SIZES for budget in self.budgets)

    @property
    def why(self) -> str:
        """Why budgets are left out, in words: those with sizes enough are named."""
        few = [i for i in self.left_out if len(self.budgets[i].sizes) < SIZES]
        shown = [i for i in self.left_out if i not in few]
        parts = [f"{self.budgets[i].name} ({self.reasons[i]})" for i in shown[:_NAMED]]
        parts += [f"{len(shown) - _NAMED} more like these"] if len(shown) > _NAMED else []
        parts += [f"{len(few)} with fewer than {SIZES} sizes"] if few else []
        return ", ".join(parts)


class Frontier(Estimator):
    """N_opt = N_0 C^a and L_min = L_0 C^-g; theta begins with (ln N_0, a, ln L_0, g).

    Attributes:
        of_spread: whether the weight of a budget is 1 over the variance of its ln N_opt.
    """

    of_spread = False
    variables = ("N", "C")
    secondary = ("N_0", "L_0")  # at C = 1 FLOP, far from any run
    terms = (
        Term("N_0", "N_0", "parameters", True, -20.0, 20.0, (0.0,)),
        Term("a", "a", "1", False, -2.0, 3.0, (0.5,)),
        Term("L_0", "L_0", "nats/token", True, -10.0, 10.0, (0.0,)),
        Term("g", "g", "1", False, -2.0, 3.0, (0.1,)),
    )

    def allocate(self, theta: np.ndarray, flops: float) -> tuple[np.ndarray, np.ndarray]:
        """N_opt and the D of C = 6 N D: (...), (...)."""
        n = np.exp(theta[..., 0] + theta[..., 1] * np.log(flops))
        return n, flops / 6.0 / n

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scale of C moves N_0 (by a) and L_0 (by g)."""
        matrix, shift = np.eye(len(self.terms)), np.zeros(len(self.terms))
        matrix[0, 1], matrix[2, 3] = log_scale["C"], -log_scale["C"]
        shift[0], shift[2] = -log_scale["N"], -log_loss_scale
        return matrix, shift

    @abstractmethod
    def minima(self, budget: Budget, loss: np.ndarray, weight: np.ndarray) -> Minima:
        """The minimum of a budget in samples of its runs: losses and weights (r, n)."""

    @abstractmethod
    def judged(
        self, budgets: Sequence[Budget], loss: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """How heavy the minimum of each budget is in the line, and why some are left out.

        Args:
            budgets: b of them.
            loss: of all runs, (n,).
            weight: of all runs, (n,).

        Returns:
            Weights (b,), 0 of budgets that are left out, and a reason each; empty where kept.
        """

    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> Estimate:
        """The frontier through the minima of budgets; NaN where fewer than two have one."""
        budgets = list(budgets_of(data, weight))
        heavy, reasons = self.judged(budgets, loss, weight)
        kept = Kept(budgets, heavy, reasons)
        points = self._points(kept, loss[None], weight[None])
        if points is None:
            return Estimate(np.full(len(self.terms), np.nan), kept)
        x, w, y = points
        bent = curvature(x[0], y[0, :, LOSS], w[0])
        return Estimate(self._through(x, w, y)[0], replace(kept, bend=bent))

    def again(self, estimate: Estimate, samples: Sequence[Sample]) -> list[Estimate]:
        """The frontiers of replicates: all at once, of the budgets that the estimate kept.

        A budget counts as much as it does in the estimate; one whose minimum lies outside its
        sizes in a replicate is left out of that replicate.
        """
        loss, weight = (np.array([sample[i] for sample in samples]) for i in (1, 2))
        points = self._points(estimate.state, loss, weight)
        if points is None:
            return [Estimate(np.full(len(self.terms), np.nan)) for _ in samples]
        return [Estimate(theta) for theta in self._through(*points)]

    def _through(self, x: np.ndarray, w: np.ndarray, y: np.ndarray) -> np.ndarray:
        """theta (r, p) of lines through `_points`."""
        return self.of_lines([line(x, y[..., i], w) for i in range(y.shape[-1])])

    def _points(
        self, kept: Kept, loss: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """ln C (r, b), weights (r, b) and `logarithms` (r, b, q) of minima; None without budgets.

        Args:
            kept: whose budgets.
            loss: of samples of runs, (r, n).
            weight: the same.
        """
        rows, heavy, log_c = [], [], []
        for number in np.flatnonzero(kept.weight):
            budget = kept.budgets[number]
            runs, own = budget.runs, weight[:, budget.runs]
            with np.errstate(all="ignore"):
                minima = self.minima(budget, loss[:, runs], own)
                rows.append(self.logarithms(minima))
            there = np.isfinite(rows[-1]).all(axis=-1)
            heavy.append(np.where(there, kept.weight[number], 0.0))
            log_c.append(np.broadcast_to(budget.log_c, there.shape))
        if not rows:
            return None
        return np.stack(log_c, -1), np.stack(heavy, -1), np.nan_to_num(np.stack(rows, 1))

    def logarithms(self, minima: Minima) -> np.ndarray:
        """What straight lines in ln C are put through, (r, q): ln N and ln L of the minima."""
        return np.stack([minima.size, np.log(minima.loss)], axis=-1)

    def of_lines(self, lines: Sequence[np.ndarray]) -> np.ndarray:
        """theta (r, p) from intercept and slope (r, 2) of the lines of `logarithms`."""
        falling = [np.stack([each[:, 0], -each[:, 1]], axis=-1) for each in lines[1:]]
        return np.concatenate([lines[0], *falling], axis=-1)

    def doubts(self, estimate: Estimate) -> list[Doubt]:
        """Budgets that are left out, and a line through too few."""
        kept = estimate.state
        if kept is None:
            return []
        out, every = kept.left_out, len(kept.budgets)
        left, doubts = every - len(out), []
        if out:
            are = "is" if len(out) == 1 else "are"
            words = f"{len(out)} of {every} budgets {are} left out: {kept.why}"
            remedy = "add sizes on the side of the edge, or repeat runs with other seeds"
            grave = left < FEW or len(out) > MANY_LEFT_OUT * every
            doubts.append(Doubt(words, remedy, grave))
        if self._loose(kept):
            error = f"{LEVEL * kept.error:.2g}"
            words = f"the spread of the minima leaves a known to within {error} only"
            remedy = "add budgets over a wider range, or repeat runs with other seeds"
            doubts.append(Doubt(words, remedy, True))
        if kept.selected:
            words = "the budgets that are left are fewer than those left out: chance chose them"
            doubts.append(Doubt(words, "add sizes on both sides of the best ones", True))
        if left < FEW:
            words = f"the frontier is a line through {left} of the budgets: nothing tests it"
            remedy = "add budgets whose best size lies inside their sizes"
            doubts.append(Doubt(words, remedy, True))
        if kept.bend > BENT:
            error = units.percent(kept.bend)
            words = f"the least losses bend: L_0 C^-g misses them by {error}, and"
            words += " more beyond the runs (the best N and D do not depend on it)"
            remedy = "take losses from a law that has an offset: --law chinchilla"
            doubts.append(Doubt(words, remedy, True))
        return doubts

    def undetermined(self, estimate: Estimate) -> list[str]:
        """The frontier's terms where too few budgets have a minimum, or too uncertain ones."""
        kept = estimate.state
        if kept is None:
            return []
        few = kept.count < FEW or kept.selected
        return ["N_0", "a"] if few or self._loose(kept) else []

    def _loose(self, kept: Kept) -> bool:
        """Whether minima, of budgets enough, are too uncertain for an exponent."""
        return self.of_spread and kept.count >= FEW and kept.error > LOOSE


def budgets_of(data: Data, weight: np.ndarray) -> Iterator[Budget]:
    """The budgets of runs, smallest first; runs of zero weight are omitted."""
    at = np.flatnonzero(weight > 0)
    flops = np.asarray(data["C"], dtype=float)[at]
    log_n = np.log(np.asarray(data["N"], dtype=float))
    order = np.argsort(flops, kind="stable")
    ends = np.flatnonzero(np.diff(budget_numbers(flops)[order])) + 1
    for runs in (group for group in np.split(at[order], ends) if len(group)):
        middle = np.average(np.log(np.asarray(data["C"], dtype=float)[runs]), weights=weight[runs])
        sizes, size = np.unique(log_n[runs], return_inverse=True)
        yield Budget(runs, float(middle), log_n[runs], sizes, size.reshape(-1))


def edge(best: int, sizes: int) -> str:
    """Why a budget is left out whose best size has a number, of so many; empty if it is inside."""
    if sizes < SIZES:
        return f"fewer than {SIZES} sizes"
    if 0 < best < sizes - 1:
        return ""
    return f"least loss at the {'largest' if best else 'smallest'} size"


def line(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Intercept and slope of weighted least squares lines, (r, 2), of points (r, b).

    NaN where fewer than two points have a weight.
    """
    with np.errstate(all="ignore"):
        total = weight.sum(axis=-1, keepdims=True)
        middle = (weight * x).sum(axis=-1, keepdims=True) / total
        mean = (weight * y).sum(axis=-1, keepdims=True) / total
        away = weight * (x - middle)
        slope = (away * (y - mean)).sum(axis=-1) / (away * (x - middle)).sum(axis=-1)
    slope = np.where((weight > 0).sum(axis=-1) < 2, np.nan, slope)
    return np.stack([mean[..., 0] - slope * middle[..., 0], slope], axis=-1)


def curvature(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """Root mean square of what a square of x explains of points around their line, (b,) each.

    0 with fewer than four points, and where it may be chance.
    """
    there = weight > 0
    inside = int(there.sum()) - 3
    if inside < 1:
        return 0.0
    heavy = weight[there] / weight[there].sum()
    square = np.polynomial.Polynomial.fit(x[there], y[there], 2, w=np.sqrt(heavy))
    straight = np.polynomial.Polynomial.fit(x[there], y[there], 1, w=np.sqrt(heavy))
    left, rest = (float(heavy @ (y - each(x))[there] ** 2) for each in (straight, square))
    explained = max(left - rest, 0.0)
    chance = fdtrc(1, inside, explained / max(rest / inside, 1e-30))
    return float(np.sqrt(explained)) if chance < CHANCE else 0.0
