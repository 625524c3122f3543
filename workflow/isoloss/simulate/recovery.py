"""How well estimators recover the truth: bias, spread and coverage over simulated studies."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from isoloss.simulate.estimators import Estimator, Quantity

WILSON = 0.95  # level of the interval of a coverage


def wilson(count: int, number: int, level: float = WILSON) -> tuple[float, float]:
    """Wilson's score interval of a share: of `number` trials `count` succeeded.

    NaN of no trials. Wilson 1927, doi:10.1080/01621459.1927.10502953.

    Example:
        >>> tuple(round(end, 3) for end in wilson(95, 100))
        (0.888, 0.978)
    """
    if not number:
        return float("nan"), float("nan")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, grown = count / number, 1 + z**2 / number
    middle = (share + z**2 / (2 * number)) / grown
    wide = z / grown * np.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    return float(max(0.0, middle - wide)), float(min(1.0, middle + wide))


def recovery_of(trials: pd.DataFrame, estimators: Mapping[str, Estimator]) -> pd.DataFrame:
    """One row an estimator and quantity: the table `recovery`.

    Args:
        trials: the table of that name.
        estimators: by name.
    """
    rows = []
    keys = ["estimator", "quantity", "n_flops"]
    for (name, quantity, flops), own in trials.groupby(keys, sort=False, dropna=False):
        estimator = estimators[name]
        scale, level = estimator.scale(Quantity(quantity, flops)), estimator.settings.level
        row = {"estimator": name, "quantity": quantity, "n_flops": flops}
        rows.append({**row, **_row(own, scale), "ci_level": level})
    return pd.DataFrame(rows)


def _row(own: pd.DataFrame, scale: str) -> dict[str, Any]:
    """The statistics of the trials of one estimator and quantity."""
    truth = float(own["truth"].iloc[0])
    usable = own[(own["status"] == "converged") & np.isfinite(own["estimate"])]
    estimates = usable["estimate"].to_numpy(float)
    ends = usable[["ci_low", "ci_high"]].dropna().to_numpy(float)
    with np.errstate(divide="ignore"):  # an estimate of 0 is infinitely far on a log scale
        read = np.log if scale == "log" else np.asarray
        off, values = read(estimates) - read(truth), read(estimates)
        width = read(ends[:, 1]) - read(ends[:, 0])
    n, covered = len(off), int(usable["covered"].eq(True).sum())
    low, high = wilson(covered, len(ends))
    nothing = float("nan")
    mean = float(values.mean()) if n else nothing
    spread = float(off.std(ddof=1)) if n > 1 else nothing
    return {
        "scale": scale,
        "truth": truth,
        "n_trials": len(own),
        "n_converged": n,
        "mean": float(np.exp(mean)) if scale == "log" else mean,
        "median": float(np.median(estimates)) if n else nothing,
        "bias": float(off.mean()) if n else nothing,
        "bias_se": spread / np.sqrt(n) if n else nothing,
        "sd": spread,
        "rmse": float(np.sqrt(np.mean(off**2))) if n else nothing,
        "coverage": covered / len(ends) if len(ends) else nothing,
        "coverage_low": low,
        "coverage_high": high,
        "median_width": float(np.median(width)) if len(ends) else nothing,
    }
