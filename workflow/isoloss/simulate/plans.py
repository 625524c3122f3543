"""The runs of a simulated study before they are run: their sizes and lengths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fitted import allocation
from isoloss.simulate.kinds import check_positive, made
from isoloss.simulate.truth import Truth

Points = tuple[np.ndarray, np.ndarray]  # N and D, (n,) each
Draw = Callable[[np.random.Generator], Points]
MOST = 100_000  # runs of a plan


class Plan(Protocol):
    """Sizes and lengths of runs.

    Attributes:
        drawn: whether every replicate has runs of its own.
    """

    drawn: bool

    def points(self, rng: np.random.Generator, truth: Truth) -> Points:
        """N and D of every run."""


@dataclass(frozen=True)
class Grid:
    """Sizes crossed with lengths, each from, to and points in equal ratios."""

    N: Mapping[str, float]
    D: Mapping[str, float]
    drawn = False

    def __post_init__(self):
        _check_ranges(N=self.N, D=self.D)

    def points(self, rng: np.random.Generator, truth: Truth) -> Points:
        """The grid, size by size."""
        N, D = np.meshgrid(_spaced(self.N), _spaced(self.D), indexing="ij")
        return N.ravel(), D.ravel()


@dataclass(frozen=True)
class IsoFlop:
    """Budgets, each with sizes around its best one.

    Attributes:
        C: budgets: from, to and points in equal ratios, FLOP.
        sizes: of every budget.
        spread: sizes go from the best over this to the best times this, in equal ratios.
        ratio: tokens per parameter of the best size; as the true law says if None.
    """

    C: Mapping[str, float]
    sizes: int = 7
    spread: float = 4.0
    ratio: float | None = None
    drawn = False

    def __post_init__(self):
        _check_ranges(C=self.C)
        check_positive(sizes=self.sizes, spread=self.spread)
        if self.ratio is not None:
            check_positive(ratio=self.ratio)

    def points(self, rng: np.random.Generator, truth: Truth) -> Points:
        """Budget by budget."""
        flops = _spaced(self.C)
        if self.ratio is None:
            best = allocation(truth.law, np.tile(truth.theta, (len(flops), 1)), flops)["N"]
        else:
            best = np.sqrt(flops / 6.0 / self.ratio)
        N = best[:, None] * np.geomspace(1 / self.spread, self.spread, self.sizes)
        return N.ravel(), (flops[:, None] / 6.0 / N).ravel()


@dataclass(frozen=True)
class SeedRanges:
    """Compute and tokens per parameter drawn evenly in their logarithms, as the toolkit seeds.

    Attributes:
        C: FLOP, from and to.
        N_to_D: tokens per parameter, from and to.
        runs: how many.
        drawn: whether every replicate draws its own; else all have the same.
    """

    C: Mapping[str, float]
    N_to_D: Mapping[str, float]
    runs: int
    drawn: bool = True

    def __post_init__(self):
        _check_ranges(needs_points=False, C=self.C, N_to_D=self.N_to_D)
        check_positive(runs=self.runs)

    def points(self, rng: np.random.Generator, truth: Truth) -> Points:
        """The draw."""
        flops, ratio = (
            np.exp(rng.uniform(*np.log([float(side["from"]), float(side["to"])]), self.runs))
            for side in (self.C, self.N_to_D)
        )
        N = np.sqrt(flops / 6.0 / ratio)
        return N, N * ratio


@dataclass(frozen=True)
class Given:
    """Runs at given sizes and lengths, (n,) each."""

    N: np.ndarray
    D: np.ndarray
    drawn = False

    def points(self, rng: np.random.Generator, truth: Truth) -> Points:
        """As given."""
        return self.N, self.D


@dataclass(frozen=True)
class Custom:
    """Runs that a function of the user draws, for every replicate anew."""

    function: Draw
    drawn = True

    def points(self, rng: np.random.Generator, truth: Truth) -> Points:
        """What the function gives.

        Raises:
            IsolossError: it is not a number above 0 for every run.
        """
        given = self.function(rng)
        if not isinstance(given, tuple | list | np.ndarray) or len(given) != 2:
            raise IsolossError(Problem("plan", f"the function gives {given!r:.60}", "give N and D"))
        N, D = (np.asarray(side, dtype=float) for side in given)
        _check_points(N, D)
        return N, D


KINDS = {"grid": Grid, "isoflop": IsoFlop, "seed_ranges": SeedRanges}


def plan_of(settings: Mapping[str, Any] | pd.DataFrame | Draw, truth: Truth) -> Plan:
    """The plan that is asked for.

    Args:
        settings: `kind` (one of KINDS) and the settings of that kind; or a table with columns N
            and D, or a `runs` table, whose sizes and lengths are taken; or a function of a
            generator that gives N and D, (n,) each.
        truth: the law that runs obey.

    Raises:
        IsolossError: no such kind, a setting that it does not take, or too many runs.
    """
    if isinstance(settings, pd.DataFrame):
        return _given(settings)
    if callable(settings):
        return Custom(settings)
    plan = made(KINDS, settings, "plan")
    if settings["kind"] == "isoflop" and settings.get("ratio") is None and not truth.law.allocates:
        reason = f"{truth.card} does not give the best size of a budget"
        raise IsolossError(Problem("plan.ratio", reason, "give tokens per parameter"))
    N, _ = plan.points(np.random.default_rng(0), truth)
    if not np.isfinite(N).all():
        reason = "the true law has no best size of a budget (an exponent is not above 0)"
        raise IsolossError(Problem("plan.ratio", reason, "give tokens per parameter"))
    count = len(N)
    if count > MOST:
        raise IsolossError(Problem("plan", f"{count} runs", f"at most {MOST} are allowed"))
    return plan


def _given(table: pd.DataFrame) -> Given:
    """The finished runs of a table."""
    table = table[table["status"] == "done"] if "status" in table else table
    columns = []
    for letter, name in {"N": "n_params", "D": "n_samples"}.items():
        column = letter if letter in table else name
        if column not in table:
            reason = f"no column {letter} or {name}"
            raise IsolossError(Problem("plan", reason, nearest(letter, table.columns)))
        columns.append(table[column].to_numpy(float))
    _check_points(*columns)
    return Given(*columns)


def _check_points(N: np.ndarray, D: np.ndarray) -> None:
    """Raise a problem unless every run has an N and a D above 0."""
    if N.shape != D.shape or N.ndim != 1 or not len(N):
        reason = f"N has the shape {N.shape}, and D {D.shape}"
        raise IsolossError(Problem("plan", reason, "give a number for every run"))
    sound = np.isfinite(N) & np.isfinite(D) & (N > 0) & (D > 0)
    if not sound.all():
        reason = f"{(~sound).sum()} of {len(N)} runs have no N and D above 0"
        raise IsolossError(Problem("plan", reason, "give every run both"))


def _spaced(side: Mapping[str, float]) -> np.ndarray:
    return np.geomspace(float(side["from"]), float(side["to"]), int(side["points"]))


def _check_ranges(needs_points: bool = True, **ranges: Mapping[str, Any]) -> None:
    """Raise what is wrong with ranges: their keys, and ends not above 0 or out of order."""
    keys = ("from", "to", "points") if needs_points else ("from", "to")
    wrong = []
    for name, side in ranges.items():
        if not isinstance(side, Mapping) or set(side) != set(keys):
            reason = f"found {side!r:.60}"
            wrong.append(Problem(name, reason, f"give {', '.join(keys)}, and nothing else"))
        elif not all(isinstance(v, int | float) and v > 0 for v in side.values()):
            wrong.append(Problem(name, f"found {dict(side)!r:.80}", "give numbers above 0"))
        elif side["from"] > side["to"]:
            reason = f"from {side['from']:g} is above to {side['to']:g}"
            wrong.append(Problem(name, reason, "exchange them"))
    if wrong:
        raise IsolossError(*wrong)
