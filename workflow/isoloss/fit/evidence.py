"""What a fit is worth: whether it is an optimum, and what its runs say of the terms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoloss.fit.optimize import AGREE, separate
from isoloss.fit.solve import Optimum
from isoloss.laws._law import Data, Law

FLAT = 1e-6  # singular value of the scaled gradient below which a combination of terms is free
TESTED, FEW = 24, 60  # runs of the smallest design of the coverage study, and of the next
UNMOVED = 1e-8  # change of a coordinate below which a start is its own end


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
    law: Law, theta: np.ndarray, data: Data, held: list[bool] | None = None
) -> Conditioning:
    """From the singular values of d ln loss / d theta.

    Args:
        law: the law.
        theta: the optimum, (p,).
        data: variables of the runs fitted, each (n,).
        held: terms that are no question (fixed, tied to another), in the order of theta.
    """
    with np.errstate(all="ignore"):
        gradient = law.gradient(theta, data) / law.loss(theta, data)[:, None]
    if not np.isfinite(gradient).all():  # no answer, or one beyond floating point
        return Conditioning(float("inf"), "", [])
    asked = ~np.array(held if held is not None else [False] * len(theta))
    gradient, terms = gradient[:, asked], [t for t, a in zip(law.terms, asked, strict=True) if a]
    if not terms:
        return Conditioning(1.0, "", [])
    size = np.linalg.norm(gradient, axis=0)
    scaled = gradient / np.where(size > 0, size, 1.0)
    _, values, directions = np.linalg.svd(scaled, full_matrices=True)
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


def facts(found: Optimum) -> dict[str, float | int]:
    """Columns of `summary` about the search."""
    ends = found.ends
    best = ends.objective[0]
    apart = separate(ends)
    gap = (ends.objective[apart[1]] - best) / abs(best) if len(apart) > 1 and best else np.nan
    moved = np.abs(found.begin - ends.free).max(axis=-1)
    exact = found.exact
    agree = exact.sum() if exact[0] else (ends.objective - best <= AGREE * abs(best)).sum()
    return {
        "gradient_norm": float(ends.gradient[0]),
        "n_starts": len(ends.objective),
        "n_agree": int(agree),
        "n_starts_converged": int(found.converged.sum()),
        "n_unmoved": int((moved < UNMOVED).sum()),
        "second_objective_gap": float(gap),
    }


def verdict(
    converged: bool, free: list[str], params: pd.DataFrame, summary: dict
) -> tuple[str, str]:
    """Status and message: first whether this is an optimum, then what it is worth."""
    said = []
    bounded = list(params.loc[params["at_bound"], "term"])
    if not converged:
        said.append(f"the gradient does not vanish ({summary['gradient_norm']:.2g})")
    elif summary["n_starts"] and summary["n_agree"] < 2:
        said.append("only one start ends here; another may be lower: give more starts")
    status = "not_converged" if said else "at_bound" if bounded else "converged"
    if free and not bounded:
        status = "undetermined"
        said.append(f"the data do not determine {', '.join(free)}, whatever the intervals say")
    if bounded:
        said.append(f"at a bound: {', '.join(bounded)}; the data do not determine it")
    lost = summary["n_replicates"] - summary["n_replicates_converged"]
    if lost:
        said.append(f"{lost} of {summary['n_replicates']} replicates did not converge")
    loose = params[(params["ci_high"] > 10 * params["ci_low"]) & (params["ci_low"] > 0)]
    if len(loose):
        said.append(f"not known to a factor of 10: {', '.join(loose['term'])}")
    said += _coverage(summary["n_runs"], params["ci_method"].iloc[0])
    if not said and summary["n_starts"]:
        said.append(f"{summary['n_agree']} of {summary['n_starts']} starts agree")
    return status, "; ".join(said)


def _coverage(runs: int, method: str) -> list[str]:
    """What the nearest simulated design says of the intervals (docs/coverage.md)."""
    if method in ("none", "fixed"):
        return []
    if runs < TESTED:
        return [f"intervals from {runs} runs: fewer than in any design whose coverage was tested"]
    if method.startswith("parametric") and runs < FEW:
        return ["parametric intervals of so few runs held the truth in 86 % of simulations, not 95"]
    return []
