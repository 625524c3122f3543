"""All checks, and the verdict of what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, replace

import pandas as pd

from isoloss.checks import bends, checkpoints, design, estimate, identified, lost, pooled
from isoloss.checks.evidence import CARE, GRADES, NOTE, STOP, Evidence, Finding
from isoloss.fitted import Fit

Check = Callable[[Evidence], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (
    pooled.check,
    checkpoints.check,
    lost.doubtful,
    lost.misfit,
    lost.outside,
    lost.beyond,
    lost.copies,
    design.sizes,
    design.spread,
    design.collinear,
    estimate.optimum,
    estimate.by_law,
    lost.outliers,
    lost.diverged,
    design.few,
    design.shape,
    bends.check,
    identified.cancellation,
    estimate.intervals,
    identified.scales,
    identified.thresholds,
    identified.trades,
    estimate.held_out,
    design.reach,
)
SHOWN = 3  # reasons of a verdict
COLUMNS = ("check", "grade", "found", "remedy")


def findings(evidence: Evidence) -> list[Finding]:
    """What the checks find, the gravest first.

    Example:
        >>> import isoloss, numpy as np, pandas as pd
        >>> N = np.geomspace(1e7, 1e9, 24)
        >>> table = pd.DataFrame({"N": N, "D": 20 * N, "loss": 2 + 400 / N**0.34})
        >>> runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> fit = isoloss.fit_law(runs, "power_law", {"variable": "N"}, bootstrap=20)
        >>> fit.summary["verdict"].item()
        'sound'
    """
    every = [finding for check in CHECKS for finding in check(evidence)]
    return sorted(every, key=lambda one: -GRADES.index(one.grade))


def verdict(grades: Iterable[str]) -> str:
    """`sound`, `with care` or `do not use`: the worst of some grades.

    >>> verdict([]), verdict(["note", "care"]), verdict(["care", "stop"])
    ('sound', 'with care', 'do not use')
    """
    grades = set(grades)
    return "do not use" if STOP in grades else "with care" if CARE in grades else "sound"


def reasons(doubts: Sequence[Finding]) -> str:
    """What the verdict is made of, in words, the gravest first; empty where all is sound.

    Args:
        doubts: findings, the gravest first.
    """
    grave = [one.found for one in doubts if one.grade != NOTE]
    more = f" (and {len(grave) - SHOWN} more)" if len(grave) > SHOWN else ""
    return "; ".join(grave[:SHOWN]) + more


def table(doubts: Sequence[Finding]) -> pd.DataFrame:
    """Findings as rows of the table `findings`, in their order."""
    made = pd.DataFrame([astuple(one) for one in doubts], columns=list(COLUMNS), dtype=object)
    made = made.astype("str")
    made.insert(0, "rank", range(len(made)))
    return made


def with_held_out(fit: Fit, held: Fit) -> Fit:
    """A fit whose verdict counts how another, of the same law, predicts the runs it did not see.

    Args:
        fit: of all runs.
        held: of the others, with the errors on those held out.
    """
    more = held.findings[held.findings["check"] == "held_out"]
    if more.empty:
        return fit
    rows, parts = pd.concat([fit.findings, more], ignore_index=True), []
    summary = fit.summary.copy()
    for at, (group, response) in enumerate(zip(summary["group"], summary["response"], strict=True)):
        own = rows[(rows["group"] == group) & (rows["response"] == response)]
        doubts = [Finding(*values) for values in own[list(COLUMNS)].itertuples(index=False)]
        doubts.sort(key=lambda one: -GRADES.index(one.grade))
        parts.append(table(doubts).assign(group=group, response=response))
        summary.loc[summary.index[at], "verdict"] = verdict(one.grade for one in doubts)
        summary.loc[summary.index[at], "reasons"] = reasons(doubts)
    judged = {"findings": pd.concat(parts, ignore_index=True), "summary": summary}
    return replace(fit, tables={**fit.tables, **judged})
