"""Which runs a fit does not see, and folds of them."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.budgets import budget_numbers
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.seeds import generator
from isoloss.fitted import OF_RUN

_OPTIONS = {
    "largest_compute": ("least",),
    "roll_out": ("by", "stages"),
    "leave_one_out": ("by",),
    "random": ("by", "fraction", "repeats"),
}
# least and greatest value of options that are integers, as in config.schema.yaml
LIMITS = {"least": (1, 1_000_000), "stages": (2, 1000), "repeats": (1, 1000)}
RULES = ("none", "largest_compute", "roll_out", "leave_one_out", "random")


@dataclass(frozen=True)
class Fold:
    """One division of the runs.

    Attributes:
        name: in tables.
        out: held out, bool (n,).
        seen: fitted, bool (n,); a run may be neither.
    """

    name: str
    out: np.ndarray
    seen: np.ndarray


def _check_numbers(name: str, options: Mapping[str, Any]) -> None:
    for key, (low, high) in LIMITS.items():
        value = options.get(key, low)
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not (whole and low <= value <= high):
            reason = f"found {value!r:.60}"
            do = f"needs an integer, {low} to {high}"
            raise IsolossError(Problem(f"holdout {name}, {key}", reason, do))
    share = options.get("fraction", 0.5)
    if not (isinstance(share, numbers.Real) and 0 < share < 1):
        do = "needs a number between 0 and 1"
        raise IsolossError(Problem(f"holdout {name}, fraction", f"found {share!r:.60}", do))


def held_out(runs: pd.DataFrame, rule: str | Mapping[str, Any] | None) -> np.ndarray:
    """Mask of the runs that the fit itself does not see, bool (n,): by largest_compute only."""
    if _named(rule) != "largest_compute":
        return np.zeros(len(runs), dtype=bool)
    return last_budgets(runs, _options_of(rule).get("least", 1))


def folds(runs: pd.DataFrame, rule: str | Mapping[str, Any] | None, seed: int) -> list[Fold]:
    """The folds of a rule; a run and its copies are always on one side.

    So are the points of a run, but for `roll_out`: a point that comes later in `by` than all that
    are fitted says nothing of them.

    Args:
        runs: the runs that a fit looks at, or points along them (column of_run).
        rule: a name or a mapping with `rule` and its options:
            `none`;
            `largest_compute`, all runs of the largest budget C, predicted from the others (and
            of the next ones, until there are `least` runs, default 1);
            `roll_out`, the runs in order of `by` (default n_flops) in `stages` (default 5),
            each stage predicted from those before it;
            `leave_one_out`, each value of the column `by` (default: budgets) from the others;
            `random`, a share (`fraction`, default 0.2) of the values of the column `by` (default:
            of the settings), `repeats` times (default 20).
        seed: of random folds.

    Raises:
        IsolossError: there is no such rule, option or column.
    """
    name, options = _named(rule), _options_of(rule)
    known = _OPTIONS.get(name, ())
    for key in set(options) - set(known):
        raise IsolossError(Problem(f"holdout {name}", f"unknown {key!r}", nearest(key, known)))
    _check_numbers(name, options)
    if name == "none" or not len(runs):
        return []
    if name == "largest_compute":
        out = held_out(runs, rule)
        return [Fold("largest_compute", out, ~out)]
    if name == "random":
        return _random(runs, options, seed)
    return _by_column(runs, name, options)


def _random(runs: pd.DataFrame, options: Mapping[str, Any], seed: int) -> list[Fold]:
    """A share of the settings, or of the values of a column, several times."""
    same, rng, by = copies(runs), generator(seed, "holdout", "random"), options.get("by")
    one = same if by is None else _labels(runs, by)
    count = max(1, round(options.get("fraction", 0.2) * (one.max() + 1)))
    divisions = []
    for i in range(options.get("repeats", 20)):
        out = np.isin(one, rng.permutation(one.max() + 1)[:count])
        divisions.append(Fold(f"random {i}", out, ~out & ~np.isin(same, same[out])))
    return divisions


def _labels(runs: pd.DataFrame, by: str) -> np.ndarray:
    """Number of the value of a column of every run, from 0, (n,)."""
    if by not in runs:
        raise IsolossError(Problem("holdout by", f"no column {by!r}", nearest(by, tuple(runs))))
    return runs.groupby(by, sort=True).ngroup().to_numpy()


def _by_column(runs: pd.DataFrame, name: str, options: Mapping[str, Any]) -> list[Fold]:
    """The values of a column one by one: each from the others, or in stages from those before."""
    same, along = copies(runs), OF_RUN in runs and name == "roll_out"
    by = options.get("by", "n_flops")
    label = _labels(runs, by)
    if by == "n_flops":
        label = budget_numbers((runs if along else whole(runs))["n_flops"].to_numpy())
    if name == "roll_out":
        label = _stages(label, options.get("stages", 5))
    divisions = []
    for value in np.unique(label)[1 if name == "roll_out" else 0 :]:
        out = label == value
        seen = label < value if name == "roll_out" else ~out
        if not along:
            seen &= ~np.isin(same, same[out])  # a copy of what is predicted is not fitted
        first = runs.loc[out, by].iloc[0]
        shown = f"{runs.loc[out, by].min():.3g}" if by == "n_flops" else str(first)
        more = " up" if name == "roll_out" else ""
        divisions.append(Fold(f"{name} {by} {shown}{more}", out, seen))
    return divisions


def _stages(label: np.ndarray, count: int) -> np.ndarray:
    """Ordered labels merged into about `count` stages of about as many runs, (n,)."""
    below = np.array([(label <= value).sum() for value in np.unique(label)])
    stage = np.minimum(((below - 1) * count) // len(label), count - 1)
    return stage[np.searchsorted(np.unique(label), label)]


def copies(runs: pd.DataFrame) -> np.ndarray:
    """Number of the cell of every run, from 0, (n,): runs that differ in their seed are one."""
    columns = tables.cell_columns(runs)
    return whole(runs).groupby(columns, dropna=False, sort=True).ngroup().to_numpy()


def whole(runs: pd.DataFrame) -> pd.DataFrame:
    """Points along runs with the D, C and distinct tokens of the last point of their run."""
    if OF_RUN not in runs:
        return runs
    growing = [c for c in ("n_samples", "n_flops", "n_unique") if c in runs]
    return runs.assign(**runs.groupby(OF_RUN)[growing].transform("max"))


def last_budgets(runs: pd.DataFrame, least: int = 1) -> np.ndarray:
    """Mask of the runs at the largest budgets, as many as it takes for `least` runs, bool (n,)."""
    number = budget_numbers(whole(runs)["n_flops"].to_numpy())
    reach = np.flatnonzero(np.cumsum(np.bincount(number)[::-1]) >= least)
    back = reach[0] if len(reach) else number.max()
    return number >= number.max() - back


def _options_of(rule: str | Mapping[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in rule.items() if k != "rule"} if isinstance(rule, Mapping) else {}


def _named(rule: str | Mapping[str, Any] | None) -> str:
    name = "none" if rule is None else rule if isinstance(rule, str) else rule.get("rule")
    if name not in RULES:
        raise IsolossError(Problem("holdout", f"unknown {name!r}", nearest(str(name), RULES)))
    return name
