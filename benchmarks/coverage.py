"""Do intervals hold what they promise? Simulated studies of a known Chinchilla law.

A cell is a design (runs on a grid of budgets and sizes) and a kind of noise. Every study of a
cell has a true law of its own and noise of its own; all its replicates are fitted, and an interval
is counted as covering where the truth lies inside. Methods are a kind of replicate, and how an
interval is read off the replicates; `profile likelihood` needs none.

Run `python benchmarks/coverage.py`, with `--quick` for a look that is over within a minute.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.stats import f as f_distribution
from scipy.stats import norm, t

from isoloss.core.seeds import generator
from isoloss.core.tables import facts, frame, write_free
from isoloss.fit.coordinates import Scale, free_coordinates, scale_of
from isoloss.fit.descent import Ends, FitProblem, minimise
from isoloss.fit.objectives import Objective
from isoloss.fit.profile import cluster_inflation, likelihood_ratio
from isoloss.fit.resample import MAD
from isoloss.fitted.intervals import BIAS
from isoloss.laws import chinchilla

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "coverage.md"
MODULE = ROOT / "workflow" / "isoloss" / "fit" / "coverage.py"
LAW = chinchilla.make()
TERMS = len(LAW.terms)
TRUTH = np.array([np.log(1.8), np.log(480.0), np.log(2100.0), 0.347, 0.367])
DRIFT = np.array([0.05, 0.1, 0.1, 0.02, 0.02])  # sd by which the true law differs between studies
BUDGETS = (1e18, 1e21)  # least and largest C of a design
SPREAD = 6.0  # sizes go from the optimal one over this to that times this
AHEAD = 10.0  # the targets' C over the largest of the design
SD = 0.005  # of the noise in log loss
LEVEL = 0.95
TARGETS = ("E", "alpha", "beta", "loss at 10 C", "ln N_opt at 10 C")
PROFILED = ("E", "alpha", "beta")
GRIDS = {"24": (4, 6), "60": (6, 10), "240": (12, 20)}  # budgets x sizes
NOISES = ("normal", "heavy-tailed", "seed-clustered")
AT_ONCE = 20_000  # replicates in one go
PART = 125  # studies of a cell before the next cell has its turn
CLUSTERED = "clustered "  # begins the name of a method that knows of the seeds
DEFAULT = "bootstrap, bias-corrected"  # that of `fit_law`
PROFILE = "profile likelihood, n-5"
COLUMNS = (
    "method",
    "mean coverage",
    "mean deviation",
    "independent noise",
    "seed-clustered noise",
    "worst deviation",
    "seeds unknown",
)
HEAD = """<!-- made by `python benchmarks/coverage.py` -->
# Do the intervals cover?

How often 95 % intervals hold the truth, in {studies} simulated studies of each cell with {draws}
replicates of each (sampling error of one coverage: {error:.4f}). The truth is a Chinchilla law
near E 1.8, A 480, B 2100, alpha .347, beta .367, another one for every study. Designs are grids of
4 x 6, 6 x 10 and 12 x 20 budgets x sizes between 1e18 and 1e21 FLOP, sizes from a sixth of the
optimal one to six times it. Noise of log loss has the standard deviation .005: normal; Student's
t with three degrees of freedom (heavy-tailed); or half its variance shared by the runs of a seed,
neighbouring sizes of one budget (seed-clustered; 8, 12 and 24 seeds). Targets: E, alpha, beta, the
loss at ten times the largest C where it is truly optimal, the logarithm of the optimal N there.

A method is what is drawn, and how the interval is read off. Drawn: `bootstrap` runs with
replacement; `weighted bootstrap` exponential weights for the runs (Rubin 1981); `residual` the
fit's residuals with replacement, widened by sqrt(n/(n-5)); `smoothed residual` the same with
Silverman's normal kernel; `parametric` normal noise of their robust spread. Read off: the
`percentile`s; the `expanded percentile`s, at the tails of t times sqrt(n/(n-5)) (Hesterberg 2015;
of replicates that are widened already, t alone); `basic`, mirrored at the estimate;
`bias-corrected` (Efron 1982),
by at most half a standard deviate; `t`, the estimate plus and minus t standard errors.
`profile likelihood` is a test at the truth, of E, alpha and beta only: its noise from `all
residuals`, or from the `n-5` largest, as in `fit_law` (the fit passes through or near five runs).

Where the noise is clustered, the two bootstraps draw whole seeds (t of g-1 degrees and
sqrt(g/(g-1)) for g seeds) and the second profile sums its scores over seeds (Bell and
McCaffrey 2002; F of 1 and g-1); `seeds unknown` is what covers where they do not, and of the
methods that cannot. Deviations are those of coverage from .95, on average over cells and targets;
the sampling error alone makes {floor:.3f} of them.
"""


@dataclass(frozen=True)
class Design:
    """Runs of a grid: their variables and seeds.

    Attributes:
        data: N and D, each (n,).
        cluster: number of the seed of a run, (n,): neighbouring sizes of one budget.
    """

    data: dict[str, np.ndarray]
    cluster: np.ndarray


def grid(budgets: int, sizes: int) -> Design:
    """Budgets evenly apart in log C, sizes evenly apart in log N around the optimum of each."""
    flops = np.geomspace(*BUDGETS, budgets)
    best, _ = LAW.allocate(TRUTH, flops)
    n = (best[:, None] * np.geomspace(1 / SPREAD, SPREAD, sizes)).ravel()
    d = np.repeat(flops, sizes) / 6 / n
    half = np.arange(sizes) >= sizes / 2
    return Design({"N": n, "D": d}, (2 * np.arange(budgets)[:, None] + half).ravel())


def truths(count: int, scale: Scale, rng: np.random.Generator) -> np.ndarray:
    """True laws, (s, p): they differ in the size of every part at the design's centre."""
    return scale.outer(scale.inner(TRUTH) + DRIFT * rng.standard_normal((count, TERMS)))


def noise(kind: str, cluster: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of the log loss, (s, n), of standard deviation SD whatever its kind."""
    shape = (count, len(cluster))
    if kind == "heavy-tailed":
        return SD * rng.standard_t(3, shape) / np.sqrt(3)
    own = rng.standard_normal(shape)
    if kind == "seed-clustered":
        shared = rng.standard_normal((count, cluster.max() + 1))[:, cluster]
        own = (own + shared) / np.sqrt(2)
    return SD * own


def targets(
    theta: np.ndarray, there: dict[str, np.ndarray], flops: float = AHEAD * BUDGETS[1]
) -> np.ndarray:
    """Values of TARGETS, (..., p) -> (..., 5).

    Args:
        theta: laws, (..., p).
        there: N and D of the loss, (..., 1).
        flops: the budget whose optimal N is asked for.
    """
    with np.errstate(all="ignore"):
        log_n = np.log(LAW.allocate(theta, flops)[0])
    # without a power of its own a part asks for all or nothing
    log_n = np.where(theta[..., 3] <= 0, -np.inf, np.where(theta[..., 4] <= 0, np.inf, log_n))
    loss = LAW.loss(theta, there)[..., 0]
    values = (np.exp(theta[..., 0]), theta[..., 3], theta[..., 4], loss, np.clip(log_n, -99, 99))
    return np.stack(values, axis=-1)


# --- fits -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """All studies of a design and a kind of noise, fitted.

    Attributes:
        design: the runs.
        scale: of the design.
        problem: the law on the design.
        truth: of every study, (s, p).
        loss: of every study, (s, n), in the problem's own scale.
        best: optimum of every study.
    """

    design: Design
    scale: Scale
    problem: FitProblem
    truth: np.ndarray
    loss: np.ndarray
    best: Ends

    def targets(self, free: np.ndarray, study: slice = slice(None)) -> np.ndarray:
        """Values of TARGETS at fits of some studies, (s, r, p) -> (s, r, 5)."""
        n, d = LAW.allocate(self.truth[study], AHEAD * BUDGETS[1])
        there = {"N": n[:, None, None], "D": d[:, None, None]}
        return targets(self.scale.outer(free), there)


def simulate(design: Design, kind: str, objective: Objective, count: int, rng) -> Cell:
    """Draw studies and fit each."""
    centre = LAW.loss(TRUTH, design.data)
    scale = scale_of(LAW, design.data, centre)
    truth = truths(count, scale, rng)
    bound = LAW.on(scale.data(design.data))
    loss = bound.at(scale.inner(truth))[0]
    loss = loss * np.exp(noise(kind, design.cluster, count, rng))
    affine = free_coordinates(LAW, scale, {}, (), {})
    problem = FitProblem(bound, np.ones(len(centre)), objective, affine)
    begin = affine.free(scale.inner(truth))
    return Cell(design, scale, problem, truth, loss, descend(problem, begin, loss))


def descend(problem: FitProblem, begin: np.ndarray, loss: np.ndarray) -> Ends:
    """The best end of every study from a few starts."""
    ends = minimise(problem, begin, np.ones(loss.shape[1]), loss)
    for away in ((-0.15, 0.2), (0.2, -0.15)):
        other = begin.copy()
        other[:, 3:] += away
        better(ends, minimise(problem, other, np.ones(loss.shape[1]), loss))
    return ends


def better(ends: Ends, other: Ends) -> None:
    """Take over from other ends those of lower objective."""
    which = other.objective < ends.objective
    for name in ends.__dataclass_fields__:
        getattr(ends, name)[which] = getattr(other, name)[which]


# --- replicates: losses and weights (s, r, n) of a few studies -------------------------------

Draw = tuple[np.ndarray, np.ndarray]
Drawer = Callable[[Cell, slice, int, np.random.Generator], Draw]


def residuals(cell: Cell, study: slice) -> tuple[np.ndarray, np.ndarray]:
    """Predicted losses and centred log residuals, (s, n), widened for the terms fitted."""
    predicted = cell.problem.predicted(cell.best.free[study])
    left = np.log(cell.loss[study] / predicted)
    left -= left.mean(axis=-1, keepdims=True)
    n = left.shape[1]
    return predicted, left * np.sqrt(n / (n - TERMS))


def around(predicted: np.ndarray, error: np.ndarray) -> Draw:
    """Losses of law times noise, all runs alike."""
    return predicted[:, None] * np.exp(error), np.ones_like(error)


def drawn_runs(cell: Cell, study: slice, count: int, rng) -> Draw:
    """Runs with replacement."""
    return drawn(cell, study, count, rng, np.arange(cell.loss.shape[1]))


def drawn_clusters(cell: Cell, study: slice, count: int, rng) -> Draw:
    """Whole seeds with replacement."""
    return drawn(cell, study, count, rng, cell.design.cluster)


def drawn(cell: Cell, study: slice, count: int, rng, member: np.ndarray) -> Draw:
    """Clusters with replacement."""
    loss = cell.loss[study]
    number = member.max() + 1
    times = rng.multinomial(number, np.full(number, 1 / number), size=(len(loss), count))
    weight = times[..., member].astype(float)
    return np.broadcast_to(loss[:, None], weight.shape), weight


def weighted_runs(cell: Cell, study: slice, count: int, rng) -> Draw:
    """Runs at exponential weights (Rubin 1981): none is ever lost."""
    return weighted(cell, study, count, rng, np.arange(cell.loss.shape[1]))


def weighted_clusters(cell: Cell, study: slice, count: int, rng) -> Draw:
    """Whole seeds at exponential weights."""
    return weighted(cell, study, count, rng, cell.design.cluster)


def weighted(cell: Cell, study: slice, count: int, rng, member: np.ndarray) -> Draw:
    """Clusters at exponential weights."""
    loss = cell.loss[study]
    weight = rng.standard_exponential((len(loss), count, member.max() + 1))[..., member]
    return np.broadcast_to(loss[:, None], weight.shape), weight


def residual(cell: Cell, study: slice, count: int, rng) -> Draw:
    """The fit's own residuals, shuffled with replacement."""
    predicted, left = residuals(cell, study)
    pick = rng.integers(0, left.shape[1], size=(len(left), count, left.shape[1]))
    return around(predicted, np.take_along_axis(left[:, None], pick, axis=2))


def smoothed(cell: Cell, study: slice, count: int, rng) -> Draw:
    """The same with normal noise upon it: a fit that is near medians leaves residuals of zero."""
    loss, weight = residual(cell, study, count, rng)
    left = residuals(cell, study)[1]
    quartile = np.quantile(left, [0.25, 0.75], axis=-1)
    spread = np.minimum(left.std(axis=-1), np.diff(quartile, axis=0)[0] / 1.349)
    width = 0.9 * spread * left.shape[1] ** -0.2  # Silverman's
    return loss * np.exp(width[:, None, None] * rng.standard_normal(loss.shape)), weight


def parametric(cell: Cell, study: slice, count: int, rng) -> Draw:
    """Normal noise of the residuals' robust spread."""
    predicted, left = residuals(cell, study)
    middle = np.median(left, axis=-1, keepdims=True)
    spread = MAD * np.median(np.abs(left - middle), axis=-1)
    shape = (len(left), count, left.shape[1])
    return around(predicted, spread[:, None, None] * rng.standard_normal(shape))


@dataclass(frozen=True)
class Kind:
    """A kind of replicate: how it is drawn, for which noise, whether it is widened already."""

    draw: Drawer
    noises: tuple[str, ...] = NOISES
    wide: bool = True
    clustered: bool = False


KINDS = {
    "bootstrap": Kind(drawn_runs, wide=False),
    "weighted bootstrap": Kind(weighted_runs, wide=False),
    "residual": Kind(residual),
    "smoothed residual": Kind(smoothed),
    "parametric": Kind(parametric),
    "clustered bootstrap": Kind(drawn_clusters, ("seed-clustered",), wide=False, clustered=True),
    "clustered weighted bootstrap": Kind(
        weighted_clusters, ("seed-clustered",), wide=False, clustered=True
    ),
}


def replicates(cell: Cell, kind: Kind, count: int, rng) -> Iterator[tuple[slice, np.ndarray]]:
    """Some studies at a time, with the targets of their replicates, (s, r, 5)."""
    studies, n = cell.loss.shape
    size = max(1, AT_ONCE // count)
    for at in range(0, studies, size):
        study = slice(at, min(at + size, studies))
        loss, weight = kind.draw(cell, study, count, rng)
        begin = np.repeat(cell.best.free[study], count, axis=0)
        ends = minimise(cell.problem, begin, weight.reshape(-1, n), loss.reshape(-1, n))
        yield study, cell.targets(ends.free.reshape(-1, count, TERMS), study)


# --- intervals: replicates (s, r, k) and estimates (s, k) to low and high (s, k) -------------


def percentiles(ordered: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """Quantiles of sorted replicates (s, r, k) at shares (s, k): of the many they stand for."""
    count = ordered.shape[1]
    share = np.broadcast_to(share, (ordered.shape[0], ordered.shape[2]))
    place = np.clip(share * (count + 1) - 1, 0, count - 1)
    below = np.minimum(place.astype(int), count - 2)
    low, high = (np.take_along_axis(ordered, (below + i)[:, None], 1)[:, 0] for i in (0, 1))
    return low + (place - below) * (high - low)


def intervals(
    values: np.ndarray, estimate: np.ndarray, widening: float, degrees: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Intervals by how they are read off.

    Args:
        values: replicates, (s, r, k).
        estimate: (s, k).
        widening: of the replicates' spread, for the terms fitted.
        degrees: of freedom of that spread.
    """
    ordered = np.sort(values, axis=1)
    tail = (1 - LEVEL) / 2
    far = float(t.ppf(1 - tail, degrees)) * widening
    wide = norm.cdf(-far)
    low, high = percentiles(ordered, tail), percentiles(ordered, 1 - tail)
    share = (ordered < estimate[:, None]).mean(axis=1)
    bias = np.clip(norm.ppf(share), -BIAS, BIAS)
    spread = (percentiles(ordered, norm.cdf(1)) - percentiles(ordered, norm.cdf(-1))) / 2
    low_wide, high_wide = percentiles(ordered, wide), percentiles(ordered, 1 - wide)
    normal = norm.ppf(1 - tail)
    return {
        "percentile": (low, high),
        "expanded percentile": (low_wide, high_wide),
        "basic": (2 * estimate - high, 2 * estimate - low),
        "bias-corrected": (
            percentiles(ordered, norm.cdf(2 * bias - normal)),
            percentiles(ordered, norm.cdf(2 * bias + normal)),
        ),
        "t": (estimate - far * spread, estimate + far * spread),
    }


def counted(cell: Cell, kind: Kind, count: int, rng) -> pd.DataFrame:
    """Coverage of every way to read intervals off one kind of replicate."""
    studies, n = cell.loss.shape
    truth = cell.targets(cell.scale.inner(cell.truth)[:, None])[:, 0]
    estimate = cell.targets(cell.best.free[:, None])[:, 0]
    number = cell.design.cluster.max() + 1
    if kind.clustered:
        degrees, factor = number - 1, np.sqrt(number / (number - 1))
    else:
        degrees, factor = n - TERMS, np.sqrt(n / (n - TERMS))
    covered: dict[str, np.ndarray] = {}
    width: dict[str, np.ndarray] = {}
    for study, values in replicates(cell, kind, count, rng):
        limits = intervals(values, estimate[study], 1.0 if kind.wide else factor, degrees)
        for form, (low, high) in limits.items():
            inside = covered.setdefault(form, np.empty(truth.shape, dtype=bool))
            inside[study] = (low <= truth[study]) & (truth[study] <= high)
            width.setdefault(form, np.empty(truth.shape))[study] = high - low
    pieces = [
        pd.DataFrame(
            {
                "target": TARGETS,
                "method": form,
                "studies": studies,
                "covered": covered[form].sum(axis=0),
                "median_width": np.median(width[form], axis=0),
            }
        )
        for form in covered
    ]
    return pd.concat(pieces)


def judged(cell: Cell, drop: int, shared: bool) -> tuple[np.ndarray, np.ndarray]:
    """What turns a rise of each study's objective into a likelihood ratio, as `fit_law` does it.

    Args:
        cell: the studies.
        drop: smallest residuals left out.
        shared: whether noise of seeds is looked for.

    Returns:
        Ratios (s, 1), and how many times seeds widen the score of each of PROFILED, (s, 3).
    """
    objective, weight = cell.problem.objective, np.ones(cell.loss.shape[1])
    predicted = cell.problem.predicted(cell.best.free)
    slopes = LAW.gradient(cell.best.free, cell.problem.law_on_runs.data) / predicted[..., None]
    residuals_ = objective.residual(predicted, cell.loss)
    ratios, wider = [], []
    for left, loss, slope in zip(residuals_, cell.loss, slopes, strict=True):
        noise_ = objective, left, loss, weight
        ratios.append(likelihood_ratio(*noise_, drop))
        if shared:
            cluster = cell.design.cluster
            places = [LAW.index(name) for name in PROFILED]
            wider.append([cluster_inflation(*noise_, slope, cluster, k, drop) for k in places])
    # where none is left out, the terms fitted are degrees of freedom that are lost
    lost = 1 - (TERMS - drop) / len(weight)
    return lost * np.array(ratios)[:, None], np.array(wider)


def profile(cell: Cell, shared: bool) -> pd.DataFrame:
    """Coverage of profile likelihood: whether it lets the truth in; `shared`: noise of seeds."""
    n, number = cell.loss.shape[1], cell.design.cluster.max() + 1
    weight, inner = np.ones(n), cell.scale.inner(cell.truth)
    every, _ = judged(cell, 0, shared=False)
    most, wider = judged(cell, TERMS, shared)
    ways = {
        "profile likelihood, all residuals": (every, n - TERMS),
        PROFILE: (most, n - TERMS),
    }
    if shared:
        ways[CLUSTERED + PROFILE] = (most / wider, number - 1)
    rows = []
    for k, name in enumerate(PROFILED):
        held = np.arange(TERMS) == LAW.index(name)
        near = np.where(held, inner, cell.best.free)
        ends = minimise(cell.problem, near, weight, cell.loss, held=held)
        better(ends, minimise(cell.problem, inner, weight, cell.loss, held=held))
        rise = ends.objective - cell.best.objective
        for label, (ratio, degrees) in ways.items():
            excess = rise * np.broadcast_to(ratio, (len(rise), len(PROFILED)))[:, k]
            inside = int((excess <= f_distribution.ppf(LEVEL, 1, degrees)).sum())
            rows.append((name, label, len(rise), inside, np.nan))
    return pd.DataFrame(rows, columns=["target", "method", "studies", "covered", "median_width"])


# --- the cells and what they show -------------------------------------------------------------


def survey(count: int, draws: int, deltas: Sequence[float], seed: int, part: int) -> pd.DataFrame:
    """All cells with some studies each; one row a cell, target and method.

    A part has draws of its own: parts can be pooled.
    """
    pieces = []
    for delta, (name, shape), kind in itertools.product(deltas, GRIDS.items(), NOISES):
        began = time.perf_counter()
        rng = generator(seed, "coverage", f"{name} {kind} {delta} {part}")
        objective = Objective("huber_log", delta)
        cell = simulate(grid(*shape), kind, objective, count, rng)
        tables = [profile(cell, kind == "seed-clustered")]
        for label, one in KINDS.items():
            if kind in one.noises:
                rows = counted(cell, one, draws, rng)
                tables.append(rows.assign(method=label + ", " + rows["method"]))
        here = {"design": f"{name} runs", "noise": kind, "objective": str(objective)}
        pieces.append(pd.concat(tables).assign(**here))
        took = time.perf_counter() - began
        print(f"part {part}, {', '.join(here.values())}: {took:.0f} s", file=sys.stderr, flush=True)
    return pd.concat(pieces, ignore_index=True)


def pooled(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The studies of all parts, with their coverage; widths are medians of medians."""
    key = ["objective", "design", "noise", "target", "method"]
    how = {"studies": "sum", "covered": "sum", "median_width": "median"}
    table = pd.concat(parts).groupby(key, sort=False).agg(how).reset_index()
    share = table["covered"] / table["studies"]
    error = np.sqrt(share * (1 - share) / table["studies"])
    table = table.assign(level=LEVEL, coverage=share, std_error=error)
    first = ["design", "noise", "target", "method", "level", "studies", "covered"]
    return table[[*first, "coverage", "std_error", "median_width", "objective"]]


def advised(table: pd.DataFrame) -> pd.DataFrame:
    """Rows where a method knows of the seeds, if it can; a method has one name for all noise."""
    knows = table["method"].str.startswith(CLUSTERED)
    plain = table["method"].str.removeprefix(CLUSTERED)
    by_coverage = (table["noise"] == "seed-clustered") & plain.isin(plain[knows]) & ~knows
    return table.assign(method=plain)[~by_coverage]


def ranking(table: pd.DataFrame) -> pd.DataFrame:
    """Methods of one objective, the one nearest to its level first."""
    used = advised(table)
    used = used.assign(off=(used["coverage"] - used["level"]).abs())
    shared = used["noise"] == "seed-clustered"
    clustered = table[table["noise"] == "seed-clustered"]
    unaware = clustered[~clustered["method"].str.startswith(CLUSTERED)]
    worst = used.loc[used.groupby("method")["off"].idxmax()].set_index("method")
    ranks = pd.DataFrame(
        {
            "coverage": used.groupby("method")["coverage"].mean(),
            "off": used.groupby("method")["off"].mean(),
            "independent": used[~shared].groupby("method")["off"].mean(),
            "clustered": used[shared].groupby("method")["off"].mean(),
            "worst": worst["off"],
            "where": worst["design"] + ", " + worst["noise"] + ", " + worst["target"],
            "unaware": unaware.groupby("method")["coverage"].mean(),
        }
    )
    return ranks.sort_values("off")


def winners(ranked: pd.DataFrame) -> tuple[str, str]:
    """Of the methods for all targets the best one, and the best where noise is independent."""
    whole = ranked[~ranked.index.str.startswith("profile")]
    return whole.index[0], whole["independent"].idxmin()


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def by_cell(table: pd.DataFrame, methods: Sequence[str]) -> str:
    """Mean coverage over targets, a row a cell."""
    used = advised(table)
    mean = used.pivot_table(
        index=["design", "noise"], columns="method", values="coverage", sort=False
    )
    rows = [[*cell, *(f"{row[m]:.3f}" for m in methods)] for cell, row in mean.iterrows()]
    return markdown(["design", "noise", *methods], rows)


def page(table: pd.DataFrame, draws: int) -> str:
    """docs/coverage.md."""
    studies = int(table["studies"].iloc[0])
    error = np.sqrt(LEVEL * (1 - LEVEL) / studies)
    floor = error * np.sqrt(2 / np.pi)
    parts = [HEAD.format(studies=studies, draws=draws, error=error, floor=floor).strip()]
    for objective, members in table.groupby("objective", sort=False):
        ranked = ranking(members)
        best, alone, default = *winners(ranked), ranked.loc[DEFAULT]
        rows = [
            [
                name,
                *(f"{row[c]:.3f}" for c in ("coverage", "off", "independent", "clustered")),
                f"{row['worst']:.3f} ({row['where']})",
                f"{row['unaware']:.3f}",
            ]
            for name, row in ranked.iterrows()
        ]
        parts += [
            f"## {objective}",
            f"Best over all cells and targets: **{best}**, {ranked.loc[best, 'off']:.3f} from "
            f"{LEVEL} on average ({DEFAULT}, what `fit_law` does: {default['off']:.3f}). Best "
            f"where the noise is independent: **{alone}**, "
            f"{ranked.loc[alone, 'independent']:.3f} ({DEFAULT}: {default['independent']:.3f}).",
            markdown(COLUMNS, rows),
            "Coverage by cell, mean over the targets:",
            by_cell(members, list(dict.fromkeys([best, alone, DEFAULT, PROFILE]))),
        ]
    return "\n\n".join(parts) + "\n"


# what the summary of a fit looks up: an interval of `fit_law` is a method here
INTERVALS = {
    "bootstrap": "bootstrap, bias-corrected",
    "residual": "residual, bias-corrected",
    "parametric": "parametric, bias-corrected",
    "profile": PROFILE,
}
LOOKED_UP = '''"""What intervals covered least in simulations (made by benchmarks/coverage.py)."""

LEVEL = {level}
# Interval, delta of huber_log, runs of the design, seeds that share noise (0 where the noise is
# independent), the target covered least, and how often it was.
SIMULATED = (
{rows}
)
'''


def looked_up(table: pd.DataFrame) -> str:
    """isoloss/fit/coverage.py."""
    rows = []
    for interval, method in INTERVALS.items():
        for shared in (False, True):
            chosen = table[(table["noise"] == "seed-clustered") == shared]
            chosen = chosen[chosen["method"] == (CLUSTERED if shared else "") + method]
            for (objective, design), cell in chosen.groupby(["objective", "design"], sort=False):
                least = cell.loc[cell["coverage"].idxmin()]
                runs = design.split(" ")[0]
                seeds = int(grid(*GRIDS[runs]).cluster.max()) + 1 if shared else 0
                delta = float(objective.removeprefix("huber_log(delta=").removesuffix(")"))
                row = (interval, delta, int(runs), seeds, least["target"], least["coverage"])
                rows.append(f"    {row[:-1]!r}"[:-1].replace("'", '"') + f", {row[-1]:.4f}),")
    return LOOKED_UP.format(level=LEVEL, rows="\n".join(rows))


def publish(table: pd.DataFrame, draws: int) -> None:
    """Write the page, and what the summary looks up."""
    PAGE.write_text(page(table, draws), "utf-8")
    MODULE.write_text(looked_up(table), "utf-8")


def main() -> None:
    """Run the cells, write the table and the page, and say which method is best."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=2000, help="a cell")
    parser.add_argument("--replicates", type=int, default=200, help="a study")
    parser.add_argument("--delta", type=float, nargs="+", default=[1e-3, 1e-2], help="of huber_log")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few studies; writes nothing")
    parser.add_argument("--page", action="store_true", help="only publish the last run again")
    chosen = parser.parse_args()
    file = RESULTS / "coverage.parquet"
    if chosen.page:
        publish(frame(file), int(facts(file)["replicates"]))
        return
    count = 12 if chosen.quick else chosen.studies
    sizes = [min(PART, count - at) for at in range(0, count, PART)]
    table = pooled(
        [
            survey(size, chosen.replicates, chosen.delta, chosen.seed, part)
            for part, size in enumerate(sizes)
        ]
    )
    for objective, rows in table.groupby("objective", sort=False):
        print(f"\n{objective}, {count} studies a cell; nominal {LEVEL}")
        print(ranking(rows).round(3).to_string())
        best, alone = winners(ranking(rows))
        print(f"best overall: {best}; where noise is independent: {alone}")
    if not chosen.quick:
        settings = {"replicates": chosen.replicates, "seed": chosen.seed}
        write_free(pa.Table.from_pandas(table, preserve_index=False), file, settings)
        publish(table, chosen.replicates)


if __name__ == "__main__":
    main()
