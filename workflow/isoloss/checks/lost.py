"""Runs far from the others, and runs that are not there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from isoloss.checks import limits
from isoloss.checks.evidence import CARE, NOTE, STOP, Evidence, Finding
from isoloss.core import units
from isoloss.core.joined import status_of
from isoloss.fitted.names import FORMULA
from isoloss.laws._formula_limits import levels
from isoloss.laws._tree import tree_of


def outliers(evidence: Evidence) -> Iterator[Finding]:
    """Runs whose loss is far from the law, compared with the others, by name."""
    far = evidence.outliers
    if not evidence.describes or not far.any():
        return
    worst_size = np.abs(evidence.centred).max()
    many = far.mean() > limits.MANY_OUTLIERS and worst_size > limits.LARGE
    order = np.argsort(-np.abs(evidence.centred), kind="stable")
    worst = order[: int(far.sum())]
    named = ", ".join(str(label) for label in evidence.runs["run_id"].to_numpy()[worst[:4]])
    more = f" and {len(worst) - 4} more" if len(worst) > 4 else ""
    word = "run is" if len(worst) == 1 else "runs are"
    yield Finding(
        "outliers",
        CARE if many or worst_size > limits.GROSS else NOTE,
        f"{len(worst)} {word} far from the law: {named}{more} "
        f"(up to {evidence.percent(worst_size)} of the {evidence.sized})",
        "look at them; --keep drops them",
    )


def diverged(evidence: Evidence) -> Iterator[Finding]:
    """Runs that diverged or failed."""
    count = len(evidence.lost)
    if not count:
        return
    share = count / (count + len(evidence.loss))
    named = ", ".join(evidence.lost[:4]) + (f" and {count - 4} more" if count > 4 else "")
    yield Finding(
        "diverged",
        CARE if share > limits.MANY_DIVERGED else NOTE,
        f"{count} of {count + len(evidence.loss)} runs have no {evidence.called}: {named}",
        "runs that are left may be a selection of the better ones",
    )


def doubtful(evidence: Evidence) -> Iterator[Finding]:
    """Values that were measured, such as llc_mean, and that their own status tells to doubt."""
    status = status_of(evidence.quantity)
    if status not in evidence.runs:
        return
    doubted = (evidence.runs[status] != "ok").to_numpy()
    if doubted.any():
        yield Finding(
            "doubtful",
            STOP if 1 - doubted.mean() < limits.FEWEST_OK else CARE,
            f"{doubted.sum()} of {len(doubted)} {evidence.values} are doubtful, by {status}",
            f"measure them better, or fit the others: where {status} == 'ok'",
        )


def copies(evidence: Evidence) -> Iterator[Finding]:
    """Rows that appear twice, so that there seem to be more runs than there were."""
    names = [name for name in ("seed", *evidence.unused) if name in evidence.runs]
    rows = pd.DataFrame({**evidence.data, "of what is fitted": evidence.loss})
    for at, name in enumerate(names):
        rows[f"of user {at}"] = evidence.runs[name].map(str).to_numpy()
    twice = rows.duplicated().to_numpy()
    if twice.mean() > limits.COPIES:
        yield Finding(
            "copies",
            CARE,
            f"{twice.sum()} of {len(twice)} rows are copies of others: intervals are too narrow",
            "leave each run once in the table",
        )


def misfit(evidence: Evidence) -> Iterator[Finding]:
    """A law that does not describe the runs, or explains nothing."""
    if not evidence.describes:
        return
    explained = explains(evidence)
    if explained < limits.EXPLAINS:
        yield Finding(
            "no_fit",
            STOP if explained < limits.NOTHING else CARE,
            f"the law explains {100 * max(explained, 0.0):.0f} % of the differences between runs",
            "check which column is what, or widen the design",
        )
    if evidence.errors.relative and evidence.spread > limits.NOISY:
        grave = evidence.usual and evidence.spread > limits.NO_LAW
        by_chance = evidence.spread < limits.BEYOND_SEEDS * evidence.seeds
        yield Finding(
            "noise",
            STOP if grave and not by_chance else CARE,
            f"a run differs from the law by {units.percent(evidence.spread)} of its "
            f"{evidence.called}; seeds differ by {evidence.by_seeds}",
            "train more seeds of each size"
            if by_chance
            else "check that all runs are of one experiment and one unit, or fit another law",
        )


def outside(evidence: Evidence) -> Iterator[Finding]:
    """A law that leaves the range of its response at runs that it was fitted to."""
    law = evidence.law
    if law.response_range is None:
        return
    free = law.loss(evidence.theta, evidence.data)
    count = int(np.count_nonzero(free != law.within(free)))
    if np.isfinite(free).all() and count:
        yield Finding(
            "range",
            CARE if count > limits.OUTSIDE * len(free) else NOTE,
            f"at {count} of {len(free)} runs the law gives a {evidence.called} outside its range, "
            f"{_range(law.response_range)}: there the end of the range stands for it",
            "take a form that stays inside, such as 1 / (1 + A / N**alpha) for an accuracy",
        )


def beyond(evidence: Evidence) -> Iterator[Finding]:
    """Levels of a response that may be outside the range that the user stated."""
    law = evidence.law
    typed = evidence.summary["card"] == FORMULA and law.response_range is not None
    tree = tree_of(law) if typed else None
    if tree is None:
        return
    least, most = law.response_range
    low = -np.inf if least is None else float(least)
    high = np.inf if most is None else float(most)
    rows = evidence.params[evidence.params["term"].isin(levels(tree, law.variables))]
    for one in rows[rows["ci_method"] != "fixed"].itertuples():
        over, under = one.ci_high > high, one.ci_low < low
        if not (over or under):
            continue
        far = max(one.ci_high - high, low - one.ci_low) / np.ptp(evidence.loss)
        ends = f"{units.plain(one.ci_low, 3)} to {units.plain(one.ci_high, 3)}"
        limit = f"{low:g}:" if under else f":{high:g}"
        limit = f"{low:g}:{high:g}" if under and over else limit
        yield Finding(
            "range",
            CARE if far > limits.BEYOND else NOTE,
            f"{one.term} is a level of the {evidence.called}, and may be {ends}: beyond its range, "
            f"{_range(law.response_range)}",
            f"add runs that come nearer to {one.term}, or limit it: --bounds {one.term}={limit}",
        )


def _range(ends) -> str:
    """The range of a response in words."""
    return " to ".join("open" if end is None else f"{end:g}" for end in ends)


def explains(evidence: Evidence) -> float:
    """R2 of log loss, without a few outliers; of values of any sign that of the values."""
    inside = ~evidence.outliers
    if inside.mean() < 1 - 2 * limits.MANY_OUTLIERS:
        inside = np.ones(len(evidence.loss), dtype=bool)
    levels, residuals = evidence.levels[inside], evidence.residuals[inside]
    total = float(((levels - levels.mean()) ** 2).sum())
    return 1.0 - float((residuals**2).sum()) / total if total > 0 else 0.0
