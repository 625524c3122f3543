"""The lines of a summary about simulated studies: which estimator is biased, what covers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from isoloss.core import units
from isoloss.core.escape import markdown

SURE = 3.0  # standard errors that a bias is away from 0, where it is told
FEW = 3  # quantities named


def recovered(name: str, recovery: pd.DataFrame) -> list[str]:
    """A line for every estimator of a simulation.

    Args:
        name: of the simulation.
        recovery: its table.
    """
    lines = []
    for estimator, own in recovery.groupby("estimator", sort=False):
        rows = list(own.itertuples())
        converged, trials = max(row.n_converged for row in rows), rows[0].n_trials
        title = f"- **Simulated** ({markdown(name)}, {markdown(estimator)})"
        if not converged:
            lines.append(f"{title}: no fit of {trials} studies converged")
            continue
        counts = f"{trials} studies, {converged} fits converged"
        lines.append(f"{title}: {counts}; {_bias(rows)}; {_coverage(rows)}")
    return lines


def _bias(rows: Sequence[Any]) -> str:
    """The quantities whose bias is the largest beside their spread."""
    sure = [row for row in rows if abs(row.bias) > SURE * row.bias_se]
    if not sure:
        return f"no bias of more than {SURE:g} standard errors"
    ordered = sorted(sure, key=lambda row: -abs(row.bias) / row.sd if row.sd else -math.inf)
    parts = [
        f"{_quantity(row)} {_off(row)} ({abs(row.bias) / row.sd:.2g} SD)" for row in ordered[:FEW]
    ]
    more = f" and {len(sure) - FEW} more" if len(sure) > FEW else ""
    return f"biased: {', '.join(parts)}{more}"


def _off(row: Any) -> str:
    """A bias with its sign: of a logarithm as a percentage, as far as that is one."""
    if row.scale == "log" and abs(row.bias) < 5:
        return f"{100 * math.expm1(row.bias):+.2g} %"
    return f"{row.bias:+.2g}{' in logarithm' if row.scale == 'log' else ''}"


def _coverage(rows: Sequence[Any]) -> str:
    """What the intervals hold that cover least, beside what all of them should."""
    known = [row for row in rows if not math.isnan(row.coverage)]
    if not known:
        return "no intervals"
    least = min(known, key=lambda row: row.coverage)
    level = 100 * least.ci_level
    low = [row for row in known if row.coverage_high < row.ci_level]
    ends = units.interval(100 * least.coverage_low, 100 * least.coverage_high, "{:.3g}".format)
    share = f"{100 * least.coverage:.3g} % {ends} of {_quantity(least)}"
    if not low:
        return f"{level:.4g} % intervals hold the truth as often as they say, least {share}"
    which = f"{len(low)} of {len(known)} quantities"
    return f"{level:.4g} % intervals of {which} hold the truth too rarely, least {share}"


def _quantity(row: Any) -> str:
    budget = "" if math.isnan(row.n_flops) else f" at {units.power(row.n_flops)} FLOP"
    return f"{markdown(row.quantity)}{budget}"
