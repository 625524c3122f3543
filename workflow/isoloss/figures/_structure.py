"""Loss and structural entropies against size: the valid regime, reducible quantities, lines.

The experiment fits straight lines in logarithms to what is left of loss and entropies above their
least values, in the regime up to the least loss. `Experiment` holds its numbers for one seed;
`seeds_apart` and `regimes_of_others` say how far they depend on the seed and on the regime.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

QUANTITIES = ("loss", "h_tse", "h_sie")
FEWEST = 3  # runs of a line: through two there is always one


@dataclass(frozen=True)
class Line:
    """A straight line fitted by least squares, after logarithms of x, or of x and y.

    Attributes:
        slope: of y against log10 x, or of log10 y: the exponent of a power law.
        intercept: at log10 x = 0.
        r2: squared correlation.
        p: two-sided p-value of a slope of zero (Wald's test, t distribution).
        n: points used.
        power: whether the logarithm of y was taken.
    """

    slope: float
    intercept: float
    r2: float
    p: float
    n: int
    power: bool

    def at(self, x) -> np.ndarray:
        """The line at some x, (k,)."""
        y = self.slope * np.log10(np.asarray(x, float)) + self.intercept
        return 10.0**y if self.power else y


def fitted_line(x, y, power: bool) -> Line:
    """A power law y = 10^b x^a, or a logarithm y = a log10 x + b, by least squares.

    Points without a logarithm are left out: with `power`, those at y <= 0 too, such as the one
    whose value was subtracted from all. Fewer than two points give no line: slope NaN, R2 0, p 1.

    Args:
        x: (n,).
        y: (n,).
        power: a power law.

    Example:
        >>> line = fitted_line([1, 10, 100, 1000], [8, 4, 2, 1], power=True)
        >>> round(line.slope, 3), round(line.r2, 3), line.n
        (-0.301, 1.0, 4)
    """
    from scipy.stats import linregress

    x, y = np.asarray(x, float), np.asarray(y, float)
    used = np.isfinite(x) & np.isfinite(y) & (x > 0) & ((y > 0) | (not power))
    log_x, values = np.log10(x[used]), np.log10(y[used]) if power else y[used]
    if len(values) < 2 or np.ptp(log_x) == 0:
        return Line(np.nan, np.nan, 0.0, 1.0, len(values), power)
    fit = linregress(log_x, values)
    return Line(fit.slope, fit.intercept, fit.rvalue**2, fit.pvalue, len(values), power)


def valid(loss) -> np.ndarray:
    """Which runs, sorted by size, are in the regime that ends at the least loss; bool (n,).

    Example:
        >>> valid([3.0, 2.0, 2.5, 2.2]).tolist()
        [True, True, False, False]
    """
    loss = np.asarray(loss, float)
    return np.arange(len(loss)) <= int(np.argmin(loss))


@dataclass(frozen=True)
class Experiment:
    """The experiment's numbers for the runs of one seed.

    Attributes:
        table: a row a run of the regime, sorted by `x`: `x`, `loss`, `h_tse`, `h_sie`, what each
            has above its least value (`reducible_loss`, ...), and `ideal`, the norm of the two
            reducible entropies with weights w1 and w2: sqrt(w1 tse^2 + w2 sie^2).
        least: the least value of each quantity in the regime.
        lines: by name: `performance`, `abstraction` and `core` are power laws, `compression` is a
            logarithm in x.
    """

    table: pd.DataFrame
    least: dict[str, float]
    lines: dict[str, Line]


def experiment(runs: pd.DataFrame, w1: float, w2: float, regime=None) -> Experiment:
    """Fit the four lines to the runs of one seed.

    Args:
        runs: columns `x`, `loss`, `h_tse`, `h_sie`, sorted by `x`.
        w1: weight of H_TSE in the norm.
        w2: weight of H_SIE in the norm.
        regime: which runs are fitted, bool (n,); up to the least loss if None.
    """
    table = runs[valid(runs["loss"]) if regime is None else regime].copy()
    least = {name: float(table[name].min()) for name in QUANTITIES}
    for name in QUANTITIES:
        table[f"reducible_{name}"] = table[name] - least[name]
    squares = w1 * table["reducible_h_tse"] ** 2 + w2 * table["reducible_h_sie"] ** 2
    table["ideal"] = np.sqrt(squares)
    lines = {
        "performance": fitted_line(table["x"], table["reducible_loss"], True),
        "abstraction": fitted_line(table["x"], table["reducible_h_tse"], True),
        "compression": fitted_line(table["x"], table["reducible_h_sie"], False),
        "core": fitted_line(table["ideal"], table["reducible_loss"], True),
    }
    return Experiment(table, least, lines)


def by_seed(runs: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """The runs of every seed, sorted by `x`, one a value of x."""
    ordered = runs.sort_values(["seed", "x", "run_id"]).drop_duplicates(["seed", "x"])
    return {int(seed): part.reset_index(drop=True) for seed, part in ordered.groupby("seed")}


def seeds_apart(seeds: dict[int, pd.DataFrame], w1: float, w2: float) -> list[Experiment]:
    """The experiment for each seed by itself, each with a regime and least values of its own."""
    return [experiment(runs, w1, w2) for runs in seeds.values()]


def regimes_of_others(seeds: dict[int, pd.DataFrame], w1: float, w2: float) -> list[Experiment]:
    """The experiment for each seed, its regime chosen by the mean loss of the other seeds.

    So the loss that is fitted has no say in which runs are fitted. Sizes that the other seeds do
    not have are left out; a single seed has none, and gives an empty list.
    """
    results = []
    for seed, runs in seeds.items():
        others = [other.set_index("x")["loss"] for s, other in seeds.items() if s != seed]
        if others:
            mean = pd.concat(others).groupby(level=0).mean().sort_index()
            last = float(mean.index[valid(mean)][-1])
            regime = (runs["x"] <= last) & runs["x"].isin(mean.index)
            if regime.any():
                results.append(experiment(runs, w1, w2, regime.to_numpy()))
    return results


def spread(experiments: list[Experiment], line: str) -> tuple[float, float, int]:
    """Mean and standard deviation of a line's slope over experiments, and how many there are."""
    slopes = np.array([e.lines[line].slope for e in experiments if e.lines[line].n >= FEWEST])
    slopes = slopes[np.isfinite(slopes)]
    sd = float(slopes.std(ddof=1)) if len(slopes) > 1 else np.nan
    return (float(slopes.mean()) if len(slopes) else np.nan), sd, len(slopes)
