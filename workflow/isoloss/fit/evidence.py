"""What a fit is worth: whether it is an optimum, and what its runs say of the terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoloss.checks import directions
from isoloss.checks.thresholds import Threshold, thresholds
from isoloss.fit.coverage import LEVEL, SIMULATED
from isoloss.fit.coverage_scaled import SIMULATED as OF_RATES
from isoloss.fit.objectives import OF_ANY_SIGN, Objective
from isoloss.fitted.facts import WIDE, identified
from isoloss.laws._law import Data, Law

SHORT = 0.02  # of the level, by which an interval may cover too little and not be warned of
RUNS = min(row[2] for row in SIMULATED)  # of the smallest design of the coverage study
CLUSTERS = min(row[3] for row in SIMULATED if row[3])
_NAMES = 8  # parameters that are named one by one in a message


@dataclass(frozen=True)
class Conditioning:
    """How well the runs tell the terms apart.

    Attributes:
        number: largest over smallest singular value of the gradient, columns scaled to one.
        loosest: how parameters move together so that predictions change least, in words.
        free: names of terms in combinations that the runs do not see at all.
        known: what the runs know and do not know of those, in words: "only A * B is known, not A
            and B apart".
        in_the_form: whether no runs at all would tell them apart.
        thresholds: parameters that are only compared with something; those between two runs are
            not among the free terms.
    """

    number: float
    loosest: str
    free: list[str]
    known: tuple[str, ...] = ()
    in_the_form: bool = False
    thresholds: tuple[Threshold, ...] = ()


def conditioning(
    law: Law,
    theta: np.ndarray,
    data: Data,
    held: list[bool] | None = None,
) -> Conditioning:
    """From the singular values of the derivatives of predictions, in parts of them, by theta.

    Args:
        law: the law.
        theta: the optimum, (p,).
        data: variables of the runs fitted, each (n,).
        held: whether each term is not estimated (fixed, or tied to another), in the order of theta.
    """
    gradient = directions.relative(law, theta, data)
    if not np.isfinite(gradient).all():  # no answer, or one beyond floating point
        return Conditioning(float("inf"), "", [])
    asked = ~np.array(held if held is not None else [False] * len(theta))
    compared = tuple(one for one in thresholds(law, theta, data) if asked[law.index(one.term)])
    asked[[law.index(one.term) for one in compared if one.between]] = False
    slopes, terms = gradient[:, asked], [t for t, a in zip(law.terms, asked, strict=True) if a]
    if not terms:
        return Conditioning(1.0, "", [], thresholds=compared)
    size, values, rows = _singular(slopes)
    loose = np.abs(rows[values < directions.FLAT]).max(axis=0, initial=0.0) > 0.1
    loose |= directions.unseen(law, theta, gradient)[asked]
    free = [term.name for term, is_loose in zip(terms, loose, strict=True) if is_loose]
    number = float(values[0] / values[-1]) if values[-1] > 0 else float("inf")
    direction = np.zeros(len(theta))
    direction[asked] = rows[-1] / size
    loosest = directions.loosest(law, theta, direction, gradient)
    if not free:
        return Conditioning(number, loosest, [], thresholds=compared)
    where = [int(i) for i in np.flatnonzero(asked)]
    known = directions.combinations(law, theta, data, where)
    in_the_form = directions.in_the_form(law, theta, data, where)
    return Conditioning(number, loosest, free, tuple(known), in_the_form, compared)


def _singular(slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular values of slopes (n, q) whose columns have length 1, one for every column.

    Returns:
        The columns' lengths, 1 in the place of 0, (q,); the values, largest first, (q,); and the
        combinations of columns that they belong to, in rows, (q, q).
    """
    size = np.linalg.norm(slopes, axis=0)
    size = np.where(size > 0, size, 1.0)
    _, values, rows = np.linalg.svd(slopes / size, full_matrices=len(slopes) < slopes.shape[1])
    return size, np.concatenate([values, np.zeros(slopes.shape[1] - len(values))]), rows


def verdict(
    converged: bool,
    free: list[str],
    params: pd.DataFrame,
    summary: dict,
    intervals: Sequence[str],
    known: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> tuple[str, str]:
    """Status and message: first whether this is an optimum, then what it is worth.

    Args:
        converged: whether the gradient vanishes.
        free: terms that the runs do not determine.
        params: rows of `params`.
        summary: the row of `summary` as far as it is known.
        intervals: doubts of the intervals, in words (`doubts`).
        known: what the runs know of the free terms together, in words.
        notes: remarks that are not doubts.

    Returns:
        The status (tables.yaml, summary.status), and remarks joined by semicolons.
    """
    remarks = _of_search(converged, params, summary)
    bounded = list(params.loc[params["at_bound"], "term"])
    status = "not_converged" if remarks else "at_bound" if bounded else "converged"
    if free and not bounded:
        status = "undetermined"
        names = directions.some(free, _NAMES)
        remarks.append(f"not identified by these runs: {names}, whatever the intervals say")
        remarks += directions.first(known)
    if bounded:
        names = directions.some(bounded, _NAMES)
        remarks.append(f"at a bound, so not identified by these runs: {names}")
    remarks += [*_of_replicates(params, summary, bounded), *intervals]
    if not remarks and summary["n_starts"]:
        remarks.append(f"{summary['n_agree']} of {summary['n_starts']} starts agree")
    return status, "; ".join([*remarks, *notes])


def _of_search(converged: bool, params: pd.DataFrame, summary: dict) -> list[str]:
    """Why an estimate may not be the optimum, in words."""
    if params["estimate"].isna().any():
        return ["the runs give no estimate"]
    if not converged:
        return [f"the gradient does not vanish ({summary['gradient_norm']:.2g})"]
    if summary["n_starts"] and summary["n_agree"] < 2:
        return ["only one start ends here; another may be lower: give more starts"]
    return []


def _of_replicates(params: pd.DataFrame, summary: dict, bounded: list[str]) -> list[str]:
    """Replicates that were lost, and intervals that they leave wide, in words."""
    remarks = []
    lost = summary["n_replicates"] - summary["n_replicates_converged"]
    if lost:
        remarks.append(f"{lost} of {summary['n_replicates']} replicates did not converge")
    wide = [p.term for p in params.itertuples() if not identified(p.ci_low, p.ci_high)]
    loose = [term for term in wide if term not in bounded]
    if loose:
        many = "intervals of" if len(loose) > 1 else "interval of"
        spans = "span" if len(loose) > 1 else "spans"
        reason = f"the {many} {directions.some(loose, _NAMES)} {spans} more than a factor of {WIDE}"
        remarks.append(f"not identified by these runs: {reason}")
    return remarks


def covering(
    interval: str, objective: Objective, runs: int, clusters: int | None
) -> tuple[int, str, float] | None:
    """The nearest simulated design, and what an interval covers least there (docs/coverage.md).

    Args:
        interval: kind of interval, as of `fit_law`.
        objective: what was minimised; only Huber's and squares of log losses were simulated, and
            of error rates Huber's of differences in spreads.
        runs: fitted.
        clusters: drawn together, where the fit was told of any.

    Returns:
        Runs of the design, the target, and how often 95 % intervals held it; None if such intervals
        were not simulated.

    Example:
        >>> covering("residual", Objective("huber_log", 1e-3), 30, None)
        (24, 'loss at 10 C', 0.918)
    """
    near = {
        "huber_log": np.log(objective.delta),
        OF_ANY_SIGN: np.log(objective.delta),
        "log_mse": np.inf,
    }.get(objective.name)
    simulated = OF_RATES if objective.name == OF_ANY_SIGN else SIMULATED
    designs = [row for row in simulated if row[0] == interval and (row[3] > 0) == bool(clusters)]
    if near is None or not designs:
        return None
    near = np.clip(near, *np.log([min(row[1] for row in designs), max(row[1] for row in designs)]))

    def apart(row) -> tuple[float, float]:
        size = row[3] / clusters if clusters else row[2] / runs
        return abs(np.log(size)), abs(np.log(row[1]) - near)

    _, _, count, _, target, share = min(designs, key=apart)
    return count, target, share


def doubts(interval: str, objective: Objective, runs: int, clusters: int | None) -> list[str]:
    """Why intervals are not to be believed, by simulations: a sentence each.

    Args: as of `covering`.

    Example:
        >>> doubts("bootstrap", Objective("huber_log", 1e-3), 9, None)
        ['intervals from 9 runs: fewer than in any design whose coverage was tested (24)']
    """
    if interval == "none":
        return []
    if clusters == 1:
        return ["no intervals: all runs are one cluster"]
    for count, what, least in ((clusters, "clusters", CLUSTERS), (runs, "runs", RUNS)):
        if count is not None and count < least:
            few = f"fewer than in any design whose coverage was tested ({least})"
            return [f"intervals from {count} {what}: {few}"]
    design = covering(interval, objective, runs, clusters)
    if design is None or design[2] >= LEVEL - SHORT:
        return []
    count, target, share = design
    return [
        f"in simulations of {count} runs such intervals of {100 * LEVEL:g} % held {target} in "
        f"{100 * share:.0f} %"
    ]
