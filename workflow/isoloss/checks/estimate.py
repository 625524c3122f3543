"""Estimates that are not an optimum, lie on a bound, or are not determined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from isoloss.checks import bends, directions, limits
from isoloss.checks.evidence import CARE, NOTE, STOP, Evidence, Finding
from isoloss.core import units
from isoloss.fitted.facts import WIDE, identified
from isoloss.fitted.names import FORMULA
from isoloss.formulas import roles
from isoloss.laws._tree import tree_of

ADD = "add runs where they differ, or fix a parameter: --fix"
TURNS = np.geomspace(0.03, 2.0, 13)  # sizes of exponents at which an amplitude might be turned
HALF = 0.5  # of the squares of the errors, that an amplitude turned leaves
NOTHING = 1e-3  # of the values, that is left of a size that the runs want at 0 or beyond it
ROUNDING = 1e-9  # of an estimate: runs without noise leave intervals as narrow as rounding


def optimum(evidence: Evidence) -> Iterator[Finding]:
    """A search that did not end at an optimum, or at one of many."""
    status, summary = evidence.summary["status"], evidence.summary
    known = directions.first(evidence.known)
    if status == "not_converged":
        helps = bends.first_remedy(evidence.bends) or "give more starts"
        yield Finding("optimum", STOP, "the search did not converge", helps)
    if status == "undetermined" and evidence.in_the_form:
        words = "; ".join(["the law has more parameters than it can tell apart", *known])
        yield Finding("optimum", CARE, words, "write one parameter for them, or fix one: --fix")
    elif status == "undetermined":
        words = "; ".join(["the runs do not determine all parameters", *known])
        yield Finding("optimum", STOP, words, ADD)
    for words in evidence.known[directions.SHOWN :] if status == "undetermined" else ():
        yield Finding("optimum", NOTE, words)
    for one in evidence.params[evidence.params["at_bound"]].itertuples():
        helps = bends.first_remedy(evidence.bends, one.term)
        yield Finding(
            "bounds",
            STOP if evidence.pure(one.term) and not helps else CARE,
            f"{one.term} lies on a bound of the law: {one.estimate:.3g}",
            helps or _beyond_zero(evidence, one.term) or ADD,
        )
    lost = summary["n_replicates"] - summary["n_replicates_converged"]
    if lost > limits.LOST * max(summary["n_replicates"], 1):
        words = f"{lost} of {summary['n_replicates']} refits did not converge"
        yield Finding("replicates", CARE, words, bends.first_remedy(evidence.bends) or ADD)


def _beyond_zero(evidence: Evidence, name: str) -> str:
    """What to type where a size in a formula has nothing left of it; empty of any other bound.

    The runs may want it on the other side of 0, where its form, or its limit, does not let it be.
    """
    law, which = evidence.law, evidence.law.index(name)
    term = law.terms[which]
    tree = tree_of(law) if evidence.summary["card"] == FORMULA else None
    if tree is None:
        return ""
    if turned := _turned(evidence, roles(tree, [one.name for one in law.terms]), name):
        side, sign = ("below", "<") if law.terms[law.index(turned)].sign > 0 else ("above", ">")
        return f"if {turned} may be {side} 0, write the limit {turned} {sign} 0 in the formula"
    if not term.log:
        return ""
    size = float(np.max(np.abs(evidence.loss)))
    with np.errstate(all="ignore"):
        left = np.abs(law.gradient(evidence.theta, evidence.data)[:, which])
    place = roles(tree, [name])[name]
    if not place <= {"offset", "amplitude"} or not left.max() < NOTHING * size:
        return ""
    side, sign = ("below", "<") if term.sign > 0 else ("above", ">")
    if place == {"amplitude"}:
        limit = f"{name} {sign} 0"
        return f"leave the term of {name} out; if {name} may be {side} 0, write the limit {limit}"
    far = 10.0 ** np.ceil(np.log10(size))
    limit = f"{name} > {-far:g}" if term.sign > 0 else f"{name} < {far:g}"
    return f"if {name} may be {side} 0, write the limit {limit} in the formula"


def _turned(evidence: Evidence, places: Mapping[str, frozenset[str]], name: str) -> str:
    """The amplitude that, on the other side of 0, explains what an offset at a bound does not.

    Values that rise to a level are A below 0 in E + A / x**a. With A above 0, E runs away from
    them. The amplitudes are put at their best by least squares along each exponent.
    """
    law, theta, data = evidence.law, evidence.theta, evidence.data
    sizes = [one.name for one in law.terms if one.log and places[one.name] == {"amplitude"}]
    if places[name] != {"offset"} or not sizes:
        return ""
    linear = [law.index(one) for one in (name, *sizes)]
    values = np.asarray(evidence.loss, dtype=float)
    least, turned = HALF * np.sum((values - evidence.predicted) ** 2), ""
    for exponent in evidence.exponents:
        for value in (*-TURNS, *TURNS):
            moved = theta.copy()
            moved[law.index(exponent)] = value
            with np.errstate(all="ignore"):
                slopes = law.gradient(moved, data)[:, linear]
            scale = np.abs(slopes).max(axis=0)
            if not (np.isfinite(scale).all() and (scale > 0).all()):
                continue
            slopes = slopes / np.where(np.arange(len(linear)) > 0, scale, slopes.mean(axis=0))
            best, *_ = np.linalg.lstsq(slopes, values, rcond=None)
            off = np.sum((values - slopes @ best) ** 2)
            other = [one for one, factor in zip(sizes, best[1:], strict=True) if factor < 0]
            if off < least and len(other) == 1:
                least, turned = off, other[0]
    return turned


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
        elif _hardly_known(evidence, one):
            ends = f"{units.count(one.ci_low)} to {units.count(one.ci_high)}"
            yield Finding("identified", CARE, f"{one.term} may be {ends}", ADD)
        elif not identified(one.ci_low, one.ci_high):
            yield Finding(
                "identified",
                CARE if one.term == "E" and _changes(evidence, one) > limits.OFFSET else NOTE,
                f"{one.term} is not known to a factor of {WIDE}",
                ADD,
            )


def _hardly_known(evidence: Evidence, one) -> bool:
    """Whether the interval of a pure number is too wide for what the number does.

    An exponent is to have a sign, and to be known to a factor. What is added to a variable, as m in
    (log(lr) - m)**2, or stands in a function, has no 0 of its own: it is judged by how much the
    predictions at the runs change along its interval.
    """
    if not evidence.pure(one.term):
        return False
    if one.term in evidence.exponents:
        near, far = sorted((abs(one.ci_low), abs(one.ci_high)))
        return one.ci_low <= 0 <= one.ci_high or far > limits.EXPONENT * near
    return _changes(evidence, one) > limits.LOCATION


def _changes(evidence: Evidence, one) -> float:
    """The most that a prediction changes along a parameter's interval, over their range.

    The other parameters stay as they are. Infinite where the law has no value at an end.
    """
    law, which = evidence.law, evidence.law.index(one.term)
    term, ends = law.terms[which], np.stack([evidence.theta, evidence.theta])
    with np.errstate(all="ignore"):
        ends[:, which] = [term.coordinate(end) for end in (one.ci_low, one.ci_high)]
        low, high = law.loss(ends, evidence.data)
        change, range_ = np.abs(high - low).max(), np.ptp(evidence.predicted)
    return float(change / range_) if np.isfinite(change) and range_ > 0 else float("inf")


def held_out(evidence: Evidence) -> Iterator[Finding]:
    """Runs held out that the fit predicts badly."""
    summary = evidence.summary
    error, inside = summary["held_out_rmse"], summary["rmse"]
    if np.isfinite(error) and error > max(
        limits.HELD_OUT * inside, summary["held_out_baseline_rmse"]
    ):
        times = units.plain(error / inside, 2) if inside > 0 else "many"
        yield Finding(
            "held_out",
            CARE,
            f"the error on the runs held out is {times} that of the others, and "
            "worse than guessing their neighbours' mean",
            "do not extrapolate with it: fit another law, or drop runs that are unlike the others",
        )
