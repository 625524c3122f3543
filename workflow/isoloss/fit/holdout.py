"""Which runs a fit does not see, and folds of them."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.budgets import budget_numbers
from isoloss.core.filters import LETTERS
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.seeds import generator
from isoloss.fitted import OF_RUN
from isoloss.fitted.names import UNSEEN

_OPTIONS = {
    "largest_compute": ("least",),
    "largest": ("variable", "least"),
    "roll_out": ("by", "stages", "apart"),
    "leave_one_out": ("by", "apart"),
    "random": ("by", "fraction", "repeats", "apart"),
}
# least and greatest value of options that are integers, as in config.schema.yaml
LIMITS = {"least": (1, 1_000_000), "stages": (2, 1000), "repeats": (1, 1000)}
RULES = ("none", "largest_compute", "largest", "roll_out", "leave_one_out", "random")


@dataclass(frozen=True)
class Fold:
    """One division of the runs.

    Attributes:
        name: in tables.
        out: held out, bool (n,).
        seen: fitted, bool (n,); a run may be neither.
        of_fit: whether the fit itself does not see what is held out.
    """

    name: str
    out: np.ndarray
    seen: np.ndarray
    of_fit: bool = False


def rule_problems(rule: str | Mapping[str, Any] | None) -> list[Problem]:
    """What is wrong with a rule and its options, whatever the runs are.

    >>> rule_problems({"rule": "random", "repeats": 0})[0].remedy
    'needs an integer, 1 to 1000'
    """
    try:
        name, options = name_of(rule), _options_of(rule)
    except IsolossError as error:
        return error.problems
    known, needed = _OPTIONS.get(name, ()), {}
    for key, (low, high) in LIMITS.items():
        value = options.get(key, low)
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not (whole and low <= value <= high):
            needed[key] = f"needs an integer, {low} to {high}"
    share = options.get("fraction", 0.5)
    if not (isinstance(share, numbers.Real) and 0 < share < 1):
        needed["fraction"] = "needs a number between 0 and 1"
    for key in ("by", "variable"):
        if not isinstance(options.get(key, ""), str):
            needed[key] = "needs the name of a column"
    if not all(isinstance(one, str) for one in _listed(options.get("apart", ()))):
        needed["apart"] = "needs a list of columns"
    if name == "largest" and "variable" not in options:
        needed["variable"] = "name one: {rule: largest, variable: N}, or largest:N"
    unknown = [key for key in options if key not in known]
    wrong = [Problem(f"holdout {name}", f"unknown {key!r}", nearest(key, known)) for key in unknown]
    return wrong + [
        Problem(f"holdout {name}, {key}", f"found {options.get(key)!r:.60}", do)
        for key, do in needed.items()
        if key in known
    ]


def _listed(value: Any) -> Sequence[Any]:
    """A list as it is; anything else as a list of one value that is not a name."""
    return value if isinstance(value, list | tuple) else [None]


def held_out(
    runs: pd.DataFrame, rule: str | Mapping[str, Any] | None, variables: Sequence[str] = ()
) -> np.ndarray:
    """Mask of the runs that the fit itself does not see, bool (n,): of the rules UNSEEN only.

    Args: as of `folds`.
    """
    if name_of(rule) not in UNSEEN or not len(runs):
        return np.zeros(len(runs), dtype=bool)
    last = last_runs(runs, rule, _options_of(rule).get("least", 1))
    if name_of(rule) == "largest_compute":
        return last
    same = copies(runs, [*variables, _options_of(rule)["variable"]])
    return np.isin(same, same[last])


def last_runs(
    runs: pd.DataFrame, rule: str | Mapping[str, Any] | None, least: int = 1
) -> np.ndarray:
    """Mask of the runs at the end of what a rule orders by, bool (n,): compute, or a variable.

    Args:
        runs: at least one.
        rule: of a hold-out; one of compute unless it is `largest`.
        least: so many runs, and those alike to them.

    Raises:
        IsolossError: there is no such column, or no run has a value.
    """
    if name_of(rule) != "largest":
        return last_budgets(runs, least)
    if wrong := rule_problems(rule):
        raise IsolossError(*wrong)
    return _last(_ranks(runs, _options_of(rule)["variable"]), least)


def _letter(column: str) -> str:
    """The letter of a column that has one, by which users call it; else its name."""
    return next((letter for letter, one in LETTERS.items() if one == column), column)


def _ranks(runs: pd.DataFrame, name: str) -> np.ndarray:
    """Number of the value of a variable, by size from 0, of every run, (n,)."""
    place = "holdout largest, variable"
    column = LETTERS.get(name, name)
    if column not in runs:
        raise IsolossError(Problem(place, f"no column {name!r}", nearest(name, tuple(runs))))
    values = pd.to_numeric(whole(runs)[column], errors="coerce").to_numpy(float, na_value=np.nan)
    if not np.isfinite(values).all():
        reason = f"{np.count_nonzero(~np.isfinite(values))} of {len(runs)} runs have no {name!r}"
        raise IsolossError(Problem(place, reason, "name a column of numbers, or fit the others"))
    if column == "n_flops":
        return budget_numbers(values)
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def folds(
    runs: pd.DataFrame,
    rule: str | Mapping[str, Any] | None,
    seed: int,
    variables: Sequence[str] = (),
) -> list[Fold]:
    """The folds of a rule; a run and its copies, which differ in their seed, are on one side.

    Of runs alike in all settings and variables those are copies, too, that differ in a column which
    neither is, such as experts of a table for Chinchilla's law; but not where folds are `by` it.
    So are the points of a run, but for `roll_out`: a point that comes later in `by` than all that
    are fitted says nothing of them.

    Args:
        runs: the runs that a fit looks at, or points along them (column of_run).
        rule: a name or a mapping with `rule` and its options:
            `none`;
            `largest_compute`, all runs of the largest budget C, predicted from the others (and
            of the next ones, until there are `least` runs, default 1);
            `largest`, the same of the largest value of `variable`, a letter or column (also
            written `largest:experts`);
            `roll_out`, the runs in order of `by` (default n_flops) in `stages` (default 5),
            each stage predicted from those before it;
            `leave_one_out`, each value of the letter or column `by` (default: budgets) from the
            others;
            `random`, a share (`fraction`, default 0.2) of the values of the column `by` (default:
            of the settings), `repeats` times (default 20);
            of the last three also `apart`, columns that tell runs apart, as `variables` do.
        seed: of random folds.
        variables: columns that tell runs apart beside the settings of a sweep: those of the law.

    Raises:
        IsolossError: there is no such rule, option or column.
    """
    name, options = name_of(rule), _options_of(rule)
    if wrong := rule_problems(rule):
        raise IsolossError(*wrong)
    if name == "none" or not len(runs):
        return []
    if name in UNSEEN:
        out = held_out(runs, rule, variables)
        shown = name if name == "largest_compute" else f"{name} {_letter(options['variable'])}"
        return [Fold(shown, out, ~out, of_fit=True)]
    if (by := options.get("by")) is not None and by not in runs:
        options["by"] = LETTERS.get(by, by)
    lacking = [one for one in options.get("apart", ()) if LETTERS.get(one, one) not in runs]
    if lacking:
        do = nearest(lacking[0], tuple(runs))
        raise IsolossError(Problem(f"holdout {name}, apart", f"no column {lacking[0]!r}", do))
    apart = [*variables, *options.get("apart", ()), *_setting_by(runs, options.get("by"))]
    same = copies(runs, apart)
    if name == "random":
        return _random(runs, options, seed, same)
    return _by_column(runs, name, options, same)


def _setting_by(runs: pd.DataFrame, by: str | None) -> list[str]:
    """The column that folds are made by, where it is a setting: runs that differ in it are others.

    Not a setting is a seed, a name (a column with a value of its own for every run), and a column
    that differs along the points of a run, which are always on one side.
    """
    if by is None or by not in runs or by == "seed" or tables.role("runs", by) != "setting":
        return []
    own_value = runs[by].nunique() == len(runs)
    along = OF_RUN in runs and (runs.groupby(OF_RUN)[by].nunique(dropna=False) > 1).any()
    return [] if own_value or along else [by]


def _random(
    runs: pd.DataFrame, options: Mapping[str, Any], seed: int, same: np.ndarray
) -> list[Fold]:
    """A share of the settings, or of the values of a column, several times."""
    rng, by = generator(seed, "holdout", "random"), options.get("by")
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


def _by_column(
    runs: pd.DataFrame, name: str, options: Mapping[str, Any], same: np.ndarray
) -> list[Fold]:
    """The values of a column one by one: each from the others, or in stages from those before."""
    along = OF_RUN in runs and name == "roll_out"
    by = options.get("by", "n_flops")
    label = _labels(runs, by)
    if by == "n_flops":
        label = _budgets(runs if along else whole(runs), name)
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


def copies(runs: pd.DataFrame, variables: Sequence[str] = ()) -> np.ndarray:
    """Number of the cell of every run, from 0, (n,): runs that differ in their seed are one.

    Args:
        runs: as of `folds`.
        variables: columns that make a cell beside the settings.
    """
    columns = cell_columns(runs, variables)
    return whole(runs).groupby(columns, dropna=False, sort=True).ngroup().to_numpy()


def cell_columns(runs: pd.DataFrame, variables: Sequence[str] = ()) -> list[str]:
    """The columns that make a cell: settings, and variables of a law that have no letter."""
    own = [name for name in variables if name not in LETTERS and name in runs]
    return list(dict.fromkeys([*tables.cell_columns(runs), *own]))


def _budgets(runs: pd.DataFrame, rule: str) -> np.ndarray:
    """Number of the budget of every run, (n,); an error where no run has compute."""
    flops = runs["n_flops"].to_numpy(float, na_value=np.nan)
    if len(flops) and not np.isfinite(flops).any():
        do = "hold out the largest values of a variable, such as largest:lr, or take random"
        raise IsolossError(Problem(f"holdout {rule}", "the runs have no compute C", do))
    return budget_numbers(flops)


def whole(runs: pd.DataFrame) -> pd.DataFrame:
    """Points along runs with the D, C and distinct tokens of the last point of their run."""
    if OF_RUN not in runs:
        return runs
    growing = [c for c in ("n_samples", "n_flops", "n_unique") if c in runs]
    return runs.assign(**runs.groupby(OF_RUN)[growing].transform("max"))


def last_budgets(runs: pd.DataFrame, least: int = 1) -> np.ndarray:
    """Mask of the runs at the largest budgets, as many as it takes for `least` runs, bool (n,)."""
    return _last(_budgets(whole(runs), "largest_compute"), least)


def _last(number: np.ndarray, least: int) -> np.ndarray:
    """Mask of the largest numbers, as many as it takes for `least` of them, bool (n,)."""
    reach = np.flatnonzero(np.cumsum(np.bincount(number)[::-1]) >= least)
    back = reach[0] if len(reach) else number.max()
    return number >= number.max() - back


def unseen(rule: str | Mapping[str, Any] | None) -> bool:
    """Whether a rule holds runs out of the fit itself.

    >>> unseen("largest:experts"), unseen({"rule": "random"}), unseen(None)
    (True, False, False)
    """
    return name_of(rule) in UNSEEN


def _options_of(rule: str | Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(rule, Mapping):
        return {k: v for k, v in rule.items() if k != "rule"}
    name, _, variable = (rule or "").partition(":")
    return {"variable": variable} if variable and name == "largest" else {}


def name_of(rule: str | Mapping[str, Any] | None) -> str:
    """The name of a rule, one of RULES; an error for another.

    >>> name_of("largest:experts"), name_of({"rule": "random"}), name_of(None)
    ('largest', 'random', 'none')
    """
    name = "none" if rule is None else rule if isinstance(rule, str) else rule.get("rule")
    if isinstance(rule, str) and _options_of(rule):
        name = "largest"
    if name not in RULES:
        raise IsolossError(Problem("holdout", f"unknown {name!r}", nearest(str(name), RULES)))
    return name
