"""Designs that cannot tell the parameters of a law apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import fdtrc

from isoloss.checks import limits
from isoloss.checks.evidence import CARE, NOTE, STOP, Evidence, Finding
from isoloss.core import units


def spread(evidence: Evidence) -> Iterator[Finding]:
    """Variables that hardly vary."""
    for name in evidence.variables:
        values = evidence.data[name]
        factor, count = values.max() / values.min(), len(np.unique(values))
        if factor < limits.NARROW or count < limits.FEW_VALUES:
            ends = f"{units.count(values.min())} to {units.count(values.max())}"
            yield Finding(
                "spread",
                STOP if factor < limits.FLAT or count < 2 else CARE,
                f"{name} has {count} values, {ends}: too little to tell its power",
                f"add runs of other {name}, or fix its exponent: --fix",
            )


def collinear(evidence: Evidence) -> Iterator[Finding]:
    """N and D that rise together, so that their parts of the loss are one."""
    if not {"N", "D"} <= set(evidence.law.variables):
        return
    logs = np.log(np.column_stack([evidence.data["N"], evidence.data["D"]]))
    if (np.ptp(logs, axis=0) < np.log(limits.FLAT)).any():
        return  # `spread` says it
    centred = logs - logs.mean(axis=0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][-1]
    width = float(np.exp(np.ptp(centred @ direction)))
    if width < limits.COLLINEAR:
        rising = direction[0] * direction[1] < 0
        how = "D rises with N" if rising else "all runs are of about one budget"
        yield Finding(
            "collinear",
            STOP if width < limits.LINE else CARE,
            f"{how}: the runs do not tell the part of N from that of D",
            "add runs with other D/N" if rising else "add runs of other budgets",
        )


def few(evidence: Evidence) -> Iterator[Finding]:
    """Fewer runs than a law can be tested with."""
    free = int((evidence.params["ci_method"] != "fixed").sum())
    n = len(evidence.loss)
    if n - free < limits.TO_SPARE:
        yield Finding(
            "few_runs",
            STOP if n <= free else CARE,
            f"{n} runs for {free} parameters: any law would fit them",
            "add runs, or fix parameters: --fix",
        )


def shape(evidence: Evidence) -> Iterator[Finding]:
    """Residuals with a shape that is left in N and D."""
    n, names = len(evidence.loss), [v for v in evidence.variables if np.ptp(evidence.data[v]) > 0]
    columns = 1 + len(names) * (len(names) + 3) // 2
    if not evidence.describes or not names or evidence.clusters is not None or n < columns + 6:
        return
    logs = [np.log(evidence.data[name]) for name in names]
    logs = [(x - x.mean()) / x.std() for x in logs]
    features = [np.ones(n), *logs, *(x * y for i, x in enumerate(logs) for y in logs[i:])]
    matrix = np.column_stack(features)
    values = evidence.clipped
    rest = values - matrix @ np.linalg.lstsq(matrix, values, rcond=1e-10)[0]
    total = float(((values - values.mean()) ** 2).sum())
    if total <= 0:
        return
    share, inside = 1.0 - float(rest @ rest) / total, n - columns
    ratio = share / max(1.0 - share, 1e-12) * inside / (columns - 1)
    if share > limits.SHAPE and fdtrc(columns - 1, inside, ratio) < limits.SHAPE_CHANCE:
        yield Finding(
            "shape",
            CARE,
            f"the misfit is no noise: {100 * share:.0f} % of it is a smooth curve in "
            f"{' and '.join(names)}",
            "fit another law (python -m isoloss cards law), or a narrower range with --keep",
        )


def sizes(evidence: Evidence) -> Iterator[Finding]:
    """Values that are hardly in the unit that they are read in."""
    if {"N", "D"} <= set(evidence.law.variables):
        ratio = float(np.median(evidence.data["D"] / evidence.data["N"]))
        if not limits.RATIOS[0] <= ratio <= limits.RATIOS[1]:
            yield Finding(
                "units",
                STOP,
                f"D is {units.power(ratio)} N: hardly both are counts",
                "say the unit: --scale N=1e6 or --scale D=1e9",
            )
    if "nats" in str(evidence.params["unit"].iloc[0]) and evidence.loss.max() > limits.UNIFORM:
        yield Finding(
            "units",
            CARE,
            f"a loss of {evidence.loss.max():.4g} nats is worse than a uniform guess",
            "if it is a perplexity: --loss-unit perplexity; if runs diverged, drop them: --keep",
        )


def reach(evidence: Evidence) -> Iterator[Finding]:
    """How far the runs reach."""
    ends = [f"{name} {units.count(evidence.data[name].max())}" for name in evidence.variables]
    if ends:
        yield Finding(
            "extrapolation",
            NOTE,
            f"the largest run has {', '.join(ends)}: beyond it nothing is tested",
        )
