"""What a fit is worth: whether it is an optimum, and what its runs say of the terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoloss.fit.coverage import LEVEL, SIMULATED
from isoloss.fit.objectives import Objective
from isoloss.fitted.errors import Errors
from isoloss.fitted.facts import WIDE, identified
from isoloss.laws._law import Data, Law

FLAT = 1e-6  # singular value of the scaled gradient below which a combination of terms is free
SHORT = 0.02  # of the level, by which an interval may cover too little and not be warned of
RUNS = min(row[2] for row in SIMULATED)  # of the smallest design of the coverage study
_SHARES = Errors(None)
CLUSTERS = min(row[3] for row in SIMULATED if row[3])


@dataclass(frozen=True)
class Conditioning:
    """How well the runs tell the terms apart.

    Attributes:
        number: largest over smallest singular value of the gradient, columns scaled to one.
        loosest: the combination of terms that the runs know least about, in words.
        free: names of terms in combinations that the runs do not see at all.
    """

    number: float
    loosest: str
    free: list[str]


def conditioning(
    law: Law,
    theta: np.ndarray,
    data: Data,
    held: list[bool] | None = None,
    errors: Errors = _SHARES,
) -> Conditioning:
    """From the singular values of d ln loss / d theta; of d loss / d theta for any sign.

    Args:
        law: the law.
        theta: the optimum, (p,).
        data: variables of the runs fitted, each (n,).
        held: terms that are no question (fixed, tied to another), in the order of theta.
        errors: how those of the fit are counted.
    """
    with np.errstate(all="ignore"):
        gradient = errors.slopes(law.gradient(theta, data), law.loss(theta, data))
    if not np.isfinite(gradient).all():  # no answer, or one beyond floating point
        return Conditioning(float("inf"), "", [])
    asked = ~np.array(held if held is not None else [False] * len(theta))
    gradient, terms = gradient[:, asked], [t for t, a in zip(law.terms, asked, strict=True) if a]
    if not terms:
        return Conditioning(1.0, "", [])
    size = np.linalg.norm(gradient, axis=0)
    scaled = gradient / np.where(size > 0, size, 1.0)
    _, values, directions = np.linalg.svd(scaled, full_matrices=len(scaled) < len(terms))
    values = np.concatenate([values, np.zeros(len(terms) - len(values))])
    loose = np.abs(directions[values < FLAT]).max(axis=0, initial=0.0) > 0.1
    free = [term.name for term, is_loose in zip(terms, loose, strict=True) if is_loose]
    number = float(values[0] / values[-1]) if values[-1] > 0 else float("inf")
    weights = directions[-1] / np.where(size > 0, size, 1.0)
    weights = weights / np.abs(weights).max()
    parts = [
        f"{weight:+.2g} {'ln ' if term.log else ''}{term.symbol}"
        for term, weight, share in zip(terms, weights, directions[-1], strict=True)
        if abs(share) > 0.2
    ]
    return Conditioning(number, " ".join(parts), free)


def verdict(
    converged: bool, free: list[str], params: pd.DataFrame, summary: dict, intervals: Sequence[str]
) -> tuple[str, str]:
    """Status and message: first whether this is an optimum, then what it is worth.

    Args:
        converged: whether the gradient vanishes.
        free: terms that the runs do not determine.
        params: rows of `params`.
        summary: the row of `summary` as far as it is known.
        intervals: what is to be said of the intervals (`doubts`).
    """
    remarks = []
    bounded = list(params.loc[params["at_bound"], "term"])
    if params["estimate"].isna().any():
        remarks.append("the runs give no estimate")
    elif not converged:
        remarks.append(f"the gradient does not vanish ({summary['gradient_norm']:.2g})")
    elif summary["n_starts"] and summary["n_agree"] < 2:
        remarks.append("only one start ends here; another may be lower: give more starts")
    status = "not_converged" if remarks else "at_bound" if bounded else "converged"
    if free and not bounded:
        status = "undetermined"
        remarks.append(
            f"not identified by these runs: {', '.join(free)}, whatever the intervals say"
        )
    if bounded:
        remarks.append(f"at a bound, so not identified by these runs: {', '.join(bounded)}")
    lost = summary["n_replicates"] - summary["n_replicates_converged"]
    if lost:
        remarks.append(f"{lost} of {summary['n_replicates']} replicates did not converge")
    wide = [p.term for p in params.itertuples() if not identified(p.ci_low, p.ci_high)]
    loose = [term for term in wide if term not in bounded]
    if loose:
        many = "intervals of" if len(loose) > 1 else "interval of"
        spans = "span" if len(loose) > 1 else "spans"
        reason = f"the {many} {', '.join(loose)} {spans} more than a factor of {WIDE}"
        remarks.append(f"not identified by these runs: {reason}")
    remarks += intervals
    if not remarks and summary["n_starts"]:
        remarks.append(f"{summary['n_agree']} of {summary['n_starts']} starts agree")
    return status, "; ".join(remarks)


def covering(
    interval: str, objective: Objective, runs: int, clusters: int | None
) -> tuple[int, str, float] | None:
    """The nearest simulated design, and what an interval covers least there (docs/coverage.md).

    Args:
        interval: kind of interval, as of `fit_law`.
        objective: what was minimised; only Huber's and squares of log losses were simulated.
        runs: fitted.
        clusters: drawn together, where the fit was told of any.

    Returns:
        Runs of the design, the target, and how often 95 % intervals held it; None if there is no
        such simulation.
    """
    near = {"huber_log": np.log(objective.delta), "log_mse": np.inf}.get(objective.name)
    designs = [row for row in SIMULATED if row[0] == interval and (row[3] > 0) == bool(clusters)]
    if near is None or not designs:
        return None
    near = np.clip(near, *np.log([min(row[1] for row in designs), max(row[1] for row in designs)]))

    def apart(row) -> tuple[float, float]:
        size = row[3] / clusters if clusters else row[2] / runs
        return abs(np.log(size)), abs(np.log(row[1]) - near)

    _, _, count, _, target, share = min(designs, key=apart)
    return count, target, share


def doubts(interval: str, objective: Objective, runs: int, clusters: int | None) -> list[str]:
    """Where intervals are not to be believed, by simulation."""
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
