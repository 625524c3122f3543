"""How good predictions are: scores of predicted against observed losses."""

from __future__ import annotations

import numpy as np

SCORES = ("r2", "rmse", "mape", "log_error", "spearman", "coverage", "run_coverage")


def scores(
    observed: np.ndarray,
    predicted: np.ndarray,
    band: tuple[np.ndarray, np.ndarray] | None = None,
    run_band: tuple[np.ndarray, np.ndarray] | None = None,
    additive: bool = False,
) -> dict[str, float]:
    """All scores; NaN where one is not defined.

    Values of both signs have no relative errors, nor do error rates and others whose errors are
    differences.

    Args:
        observed: losses, (n,).
        predicted: losses, (n,).
        band: interval of the law at every run, (n,) each.
        run_band: interval of a new run there, noise included.
        additive: whether errors are differences whatever the sign is (`Law.additive`).

    Returns:
        r2, rmse, mape (mean absolute relative error), log_error (root mean square of the log
        ratio), spearman (rank correlation), coverage and run_coverage (shares inside the bands).
        rmse has the unit of the losses, the others none.

    Example:
        >>> made = scores(np.array([2.0, 3.0, 4.0]), np.array([2.1, 3.0, 3.9]))
        >>> {name: round(made[name], 3) for name in ("r2", "rmse", "mape", "spearman")}
        {'r2': 0.99, 'rmse': 0.082, 'mape': 0.025, 'spearman': 1.0}
    """
    error = predicted - observed
    shares = _of_one_sign(observed) and not additive
    spread = observed - observed.mean() if len(observed) else observed
    with np.errstate(all="ignore"):
        values = {
            "r2": 1 - _sum(error) / _sum(spread) if len(observed) > 1 and spread.any() else np.nan,
            "rmse": np.sqrt(np.mean(error**2)) if len(observed) else np.nan,
            "mape": np.mean(np.abs(error / observed)) if shares else np.nan,
            "log_error": np.sqrt(np.mean(np.log(predicted / observed) ** 2))
            if len(observed)
            else np.nan,
            "spearman": rank_correlation(observed, predicted),
            "coverage": inside(observed, band),
            "run_coverage": inside(observed, run_band),
        }
    return {name: float(value) for name, value in values.items()}


def _of_one_sign(values: np.ndarray) -> bool:
    """Whether all values are above 0, or all below: a share of one is then a number."""
    return len(values) > 0 and bool((values > 0).all() or (values < 0).all())


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation; NaN where one side is constant, or of fewer than 3 values.

    Example:
        >>> rank_correlation(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0]))
        1.0
    """
    if len(one) < 3 or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("nan")
    a, b = _ranks(one), _ranks(other)
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    """The rank of every value, from 1; equal values share the mean of theirs."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def inside(observed: np.ndarray, band) -> float:
    """Share of observations inside a band."""
    if band is None or not len(observed) or not np.isfinite(band[0]).all():
        return float("nan")
    return float(np.mean((band[0] <= observed) & (observed <= band[1])))


def _sum(values: np.ndarray) -> float:
    return float(values @ values)
