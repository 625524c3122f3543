"""Estimates that are not an optimum, lie on a bound, or are not determined."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from isoloss.checks import limits
from isoloss.checks.evidence import CARE, NOTE, STOP, Evidence, Finding
from isoloss.fitted.facts import WIDE, identified

ADD = "add runs where they differ, or fix a parameter: --fix"
ROUNDING = 1e-9  # of an estimate: runs without noise leave intervals as narrow as rounding


def optimum(evidence: Evidence) -> Iterator[Finding]:
    """A search that did not end at an optimum, or at one of many."""
    status, summary = evidence.summary["status"], evidence.summary
    if status == "not_converged":
        yield Finding("optimum", STOP, "the search did not converge", "give more starts")
    if status == "undetermined":
        yield Finding("optimum", STOP, "the runs do not determine all parameters", ADD)
    for one in evidence.params[evidence.params["at_bound"]].itertuples():
        yield Finding(
            "bounds",
            STOP if evidence.pure(one.term) else CARE,
            f"{one.term} lies on a bound of the law: {one.estimate:.3g}",
            ADD,
        )
    lost = summary["n_replicates"] - summary["n_replicates_converged"]
    if lost > limits.LOST * max(summary["n_replicates"], 1):
        yield Finding(
            "replicates", CARE, f"{lost} of {summary['n_replicates']} refits did not converge", ADD
        )


def by_law(evidence: Evidence) -> Iterator[Finding]:
    """What the law itself knows against its estimate, such as budgets without a minimum."""
    for doubt in evidence.doubts:
        grade = CARE if doubt.grave else NOTE
        yield Finding(evidence.law.kind, grade, doubt.found, doubt.remedy)


def intervals(evidence: Evidence) -> Iterator[Finding]:
    """Intervals that are missing, hold nothing, or hold anything."""
    free = evidence.params[evidence.params["ci_method"] != "fixed"]
    for reason in evidence.untested:
        yield Finding("intervals", CARE, reason, "add runs")
    for one in free.itertuples():
        if not (np.isfinite(one.ci_low) and np.isfinite(one.ci_high)):
            continue
        if one.term in evidence.law.secondary:
            continue
        if evidence.law.proportions:  # its parameters trade off; its predictions are what counts
            continue
        beside = ROUNDING * abs(one.estimate)
        if not one.ci_low - beside <= one.estimate <= one.ci_high + beside:
            yield Finding(
                "estimate_outside",
                CARE,
                f"the estimate of {one.term} lies outside its interval",
                "add runs, or take interval profile",
            )
        elif evidence.pure(one.term) and _loose(one):
            ends = f"{one.ci_low:.3g} to {one.ci_high:.3g}"
            yield Finding("identified", CARE, f"{one.term} may be {ends}", ADD)
        elif not identified(one.ci_low, one.ci_high):
            yield Finding(
                "identified",
                CARE if one.term == "E" else NOTE,
                f"{one.term} is not known to a factor of {WIDE}",
                ADD,
            )


def _loose(one) -> bool:
    """Whether an exponent's interval holds 0 or spans more than a factor."""
    near, far = sorted((abs(one.ci_low), abs(one.ci_high)))
    return one.ci_low <= 0 <= one.ci_high or far > limits.EXPONENT * near


def held_out(evidence: Evidence) -> Iterator[Finding]:
    """Runs held out that the fit predicts badly."""
    summary = evidence.summary
    error, inside = summary["held_out_rmse"], summary["rmse"]
    if np.isfinite(error) and error > max(
        limits.HELD_OUT * inside, summary["held_out_baseline_rmse"]
    ):
        yield Finding(
            "held_out",
            CARE,
            f"the error on the runs held out is {error / inside:.2g} times that of the others, and "
            "worse than guessing their neighbours' mean",
            "do not extrapolate with it: fit another law, or drop runs that are alike to none",
        )
