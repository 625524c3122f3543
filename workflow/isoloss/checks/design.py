"""Designs that cannot tell the parameters of a law apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import fdtrc

from isoloss.checks import limits
from isoloss.checks.evidence import CARE, NOTE, STOP, Evidence, Finding
from isoloss.core import units
from isoloss.core.escape import listed, short, visible


def spread(evidence: Evidence) -> Iterator[Finding]:
    """Variables that hardly vary."""
    for name in evidence.further:
        values = np.unique(evidence.data[name])
        if len(values) < limits.FEW_VALUES:
            many = " and ".join(f"{value:.4g}" for value in values)
            yield Finding(
                "spread",
                STOP if len(values) < 2 else CARE,
                f"{short(visible(name), 40)} has {len(values)} value{'s' * (len(values) > 1)}, "
                f"{many}: too little to tell how the {evidence.called} depends on it",
                "add runs with others, or fix what it decides: --fix",
            )
    for name in evidence.variables:
        values = evidence.data[name]
        factor, count = values.max() / values.min(), len(np.unique(np.log(values).round(9)))
        if factor < limits.NARROW or count < limits.FEW_VALUES:
            ends = f"{units.count(values.min())} to {units.count(values.max())}"
            many = (
                f"{count} values, {ends}" if count > 1 else f"one value, {units.count(values[0])}"
            )
            yield Finding(
                "spread",
                STOP if factor < limits.FLAT or count < 2 else CARE,
                f"{name} has {many}: too little to tell its power",
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
    """Residuals that bend with N and D: squares and products of their logarithms explain them."""
    names = [*evidence.variables, *evidence.further]
    names = [name for name in names if np.ptp(evidence.data[name]) > 0]
    if not evidence.describes or not names or evidence.clusters is not None:
        return
    values = [evidence.data[name] for name in names]
    logs = [np.log(one) if (one > 0).all() else one for one in values]
    logs = [(one - one.mean()) / one.std() for one in logs]
    bends = [one * other for i, one in enumerate(logs) for other in logs[i:]]
    base = np.column_stack([np.ones(len(evidence.loss)), evidence.gradient])
    left = _unexplained(evidence.clipped, base)
    less = _unexplained(evidence.clipped, np.column_stack([base, *bends]))
    inside = len(left) - base.shape[1] - len(bends)
    total, rest = float(left @ left), float(less @ less)
    if inside < limits.SHAPE_RUNS or not 0 < rest < total:
        return
    chance = fdtrc(len(bends), inside, (total - rest) / len(bends) / (rest / inside))
    share, size = 1.0 - rest / total, float(np.sqrt((total - rest) / len(left)))
    if share > limits.SHAPE and chance < limits.SHAPE_CHANCE:
        several = f"{listed(names[:-1])} and " if len(names) > 1 else ""
        yield Finding(
            "shape",
            CARE if size > limits.SHAPE_SIZE else NOTE,
            f"the misfit bends with {several}{listed(names[-1:])}: {100 * share:.0f} % of it, "
            f"{units.percent(size)} of the {evidence.sized}",
            "fit another law (python -m isoloss cards law), or a narrower range with --keep",
        )


def _unexplained(residuals: np.ndarray, design: np.ndarray) -> np.ndarray:
    """What a least squares fit of the columns of a design, (n, k), leaves of residuals, (n,)."""
    return residuals - design @ np.linalg.lstsq(design, residuals, rcond=1e-10)[0]


def sizes(evidence: Evidence) -> Iterator[Finding]:
    """Values that are hardly in the unit that they are read in."""
    yield from _tiny(evidence)
    if {"N", "D"} <= set(evidence.law.variables):
        ratio = float(np.median(evidence.data["D"] / evidence.data["N"]))
        if not limits.RATIOS[0] <= ratio <= limits.RATIOS[1]:
            yield Finding(
                "units",
                STOP,
                f"D is {units.power(ratio)} N: hardly both are counts",
                f"say the unit of one of them: --scale {'D' if ratio < 1 else 'N'}=1e6 or 1e9",
            )
    if {"N", "C"} <= set(evidence.law.variables):
        ratio = float(np.median(evidence.data["C"] / 6.0 / evidence.data["N"] ** 2))
        if not limits.RATIOS[0] <= ratio <= limits.RATIOS[1]:
            yield Finding(
                "units",
                STOP,
                f"C is {units.power(6.0 * ratio)} N^2, so that D is {units.power(ratio)} N: "
                "hardly FLOP and counts",
                "say the unit of C: --scale C=8.64e19 for PF-days, C=1e18 or C=1e21",
            )
        yield from _other_compute(evidence)
    if "nats" in str(evidence.params["unit"].iloc[0]) and evidence.loss.max() > limits.UNIFORM:
        yield Finding(
            "units",
            CARE,
            f"a loss of {evidence.loss.max():.4g} nats is worse than a uniform guess",
            "if it is a perplexity: --loss-unit perplexity; if runs diverged, drop them: --keep",
        )


def _other_compute(evidence: Evidence) -> Iterator[Finding]:
    """Compute that is not 6 N D, where a law in N and C says D of a budget as C / 6 N."""
    n, d, c = (evidence.runs[name] for name in ("n_params", "n_samples", "n_flops"))
    ratio = float((c / 6.0 / n / d).astype(float).median())
    if limits.RATIOS[0] < ratio < limits.RATIOS[1] and abs(np.log(ratio)) > limits.OTHER_COMPUTE:
        yield Finding(
            "units",
            CARE,
            f"C is {ratio:.3g} x 6 N D: the D of a budget, which is C / 6 N, is as much off",
            "leave the column out (--columns C=), so that C is 6 N D",
        )


def _tiny(evidence: Evidence) -> Iterator[Finding]:
    """Sizes that are too small, or too far apart, to be counts in one unit."""
    for name, least in (("N", limits.TINY_N), ("D", limits.TINY_D)):
        values = evidence.data.get(name, np.empty(0))
        if name not in evidence.variables or not len(values):
            continue
        if values.max() < least:
            yield Finding(
                "units",
                STOP if name == "N" else CARE,
                f"{name} is at most {units.count(values.max())}: hardly a count",
                f"say the unit: --scale {name}=1e6 for millions, {name}=1e9 for billions",
            )
        if values.max() > limits.APART_SIZES * values.min() and (split := _two_units(values)):
            low, high, factor = split
            yield Finding(
                "units",
                STOP,
                f"{name} has values up to {units.count(low)}, then none up to {units.count(high)}: "
                f"rows are hardly all in one unit (times {factor:.0e} the gap is closed)",
                "write all rows in one unit",
            )


def _two_units(values: np.ndarray) -> tuple[float, float, float] | None:
    """The gap of sizes that are written in two units: its ends, and the factor that closes it.

    Args:
        values: above 0, (n,).

    Returns:
        None where values are spread more evenly, or no usual factor of units closes the gap.

    Example:
        >>> _two_units(np.array([70.0, 160.0, 410.0, 1e9, 7e9]))
        (410.0, 1000000000.0, 1000000.0)
        >>> _two_units(np.geomspace(1e3, 1e11, 9)) is None
        True
    """
    own = np.unique(values)
    steps = np.diff(np.log10(own))
    at = int(np.argmax(steps))
    usual = float(np.delete(steps, at).max(initial=0.0))
    if steps[at] < limits.GAP_OF_UNITS or steps[at] < 2 * usual:
        return None
    low, high = np.log10(own[: at + 1]), np.log10(own[at + 1 :])
    for power in (3, 6, 9, 12):
        apart = max(high.min() - low.max() - power, low.min() + power - high.max())
        if apart <= max(usual, 1.0):
            return float(own[at]), float(own[at + 1]), 10.0**power
    return None


def reach(evidence: Evidence) -> Iterator[Finding]:
    """How far the runs reach."""
    names = [*evidence.variables, *evidence.further]
    ends = [f"{name} {evidence.shown(name, evidence.data[name].max())}" for name in names]
    if ends:
        yield Finding(
            "extrapolation",
            NOTE,
            f"the largest run has {', '.join(ends)}: beyond it nothing is tested",
        )
