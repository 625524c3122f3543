"""The local learning coefficient (LLC) of samples, its error, and how far to believe it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from isoloss.posterior.sampler import Samples

SPLIT_RHAT = 1.1  # Gelman and Rubin 1992: above it, chains or their halves tell different values
ESS = 50  # with fewer independent draws the standard error is itself off by more than 10 %
DRIFT = 3  # standard errors that the slope of steps without a drift hardly exceeds
DRIFT_SHARE = 0.1  # of the LLC; a drift that moves it by less in the last half does little harm
BATCH_HEAT = 0.25  # of the noise; the LLC is then too high by a tenth or more
SHARE_BELOW = 0.5  # around a minimum, most steps have a higher loss than the trained weights
BOUND_SHARE = 1.1  # steps of finite size give up to some 5 % too much where they are small enough
ERRORS = 2  # standard errors that the LLC may be above its bound, or below 0, by chance
_COLUMNS = {"init_loss": "init_loss_kind"}  # settings whose column has another name


def summary(samples: Samples) -> dict[str, Any]:
    """The LLC of samples with its error and health: a row of the table `llc`.

    The LLC is n_beta times how far the mean loss of the steps after burn-in is above the loss of
    the trained weights (Lau et al. 2023, arXiv:2308.12108). Chains that failed are left out whole.
    A negative LLC, a sign that the weights are not at a minimum, is given as it is.

    Returns:
        The columns of the table but `run_id`, `setting` and `seed`; NaN where no chain is left.

    Example:
        >>> import torch
        >>> from isoloss.posterior.potential import FunctionPotential
        >>> from isoloss.posterior.sampler import sample
        >>> from isoloss.posterior.settings import Settings
        >>> quadratic = FunctionPotential(lambda w: (w**2).sum(1) / 2, torch.zeros(10))
        >>> row = summary(sample(quadratic, Settings(lr=1e-3, n_beta=100, num_draws=2000)))
        >>> row["status"], round(row["llc_mean"]), row["llc_se"] < 0.2
        ('ok', 5, True)
    """
    settings = samples.settings
    steps = _Steps(samples)
    n_failed = int((samples.failed_at >= 0).sum())
    row = {
        **steps.estimates(),
        **steps.init_loss(),
        "chains_ok": settings.num_chains - n_failed,
        "chains_failed": n_failed,
        **steps.diagnostics(),
        "batch_heat": samples.batch_heat,
        "distance": _mean(samples.distances[samples.failed_at < 0]),
        **{_COLUMNS.get(name, name): value for name, value in asdict(settings).items()},
        "n_items": samples.n_items,
        "n_sampled": samples.n_sampled,
    }
    reasons = list(_doubts(row, settings.num_steps - settings.num_burnin_steps))
    status = "failed" if row["chains_ok"] == 0 else "warn" if reasons else "ok"
    return {**row, "status": status, "status_reason": "; ".join(reasons)}


def chain_rows(samples: Samples) -> pd.DataFrame:
    """The LLC of each chain: the table `llc_chain` without `run_id` and `setting`."""
    steps = _Steps(samples, every_chain=True)
    failed = samples.failed_at >= 0
    empty = np.where(failed, np.nan, 0.0)  # added to the values of chains, which it empties
    return pd.DataFrame(
        {
            "chain": np.arange(len(failed)),
            "llc": steps.of_chains() + empty,
            "llc_with_burnin": steps.of_chains(burnin=True) + empty,
            "init_loss": steps.paired.mean(axis=1) + empty,
            "distance": samples.distances.mean(axis=1) + empty,
            "status": np.where(failed, "failed", "ok"),
            "failed_step": pd.Series(samples.failed_at, dtype="Int64").where(failed),
        }
    )


def trace_rows(samples: Samples) -> pd.DataFrame:
    """The losses of each step: the table `llc_trace` without `run_id` and `setting`."""
    n_chains, n_steps = samples.losses.shape
    return pd.DataFrame(
        {
            "chain": np.repeat(np.arange(n_chains), n_steps),
            "step": np.tile(np.arange(n_steps), n_chains),
            "loss": samples.losses.ravel(),
            "init_loss": samples.paired.ravel(),
        }
    )


class _Steps:
    """The steps of chains, and what follows from them.

    Args:
        samples: of all chains.
        every_chain: also of those that failed.

    Attributes:
        losses: of the steps after burn-in (chains, steps).
        paired: of the trained weights over the same items.
    """

    def __init__(self, samples: Samples, every_chain: bool = False) -> None:
        kept = np.full(len(samples.failed_at), True) if every_chain else samples.failed_at < 0
        self._samples = samples
        self._all = samples.losses[kept], samples.paired[kept]
        burnin = samples.settings.num_burnin_steps
        self.losses, self.paired = (values[:, burnin:] for values in self._all)

    def of_chains(self, burnin: bool = False, init_loss: str | None = None) -> np.ndarray:
        """The LLC of each chain.

        Args:
            burnin: whether the steps of burn-in count.
            init_loss: `paired` or `batches`; by default as in the settings.
        """
        settings = self._samples.settings
        losses, paired = self._all if burnin else (self.losses, self.paired)
        kind = init_loss or settings.init_loss
        at_start = paired.mean(axis=1) if kind == "paired" else self._samples.init_loss
        return settings.n_beta * (losses.mean(axis=1) - at_start)

    def estimates(self) -> dict[str, float]:
        """The LLC in each of its forms."""
        of_chains = self.of_chains()
        return {
            "llc_mean": _mean(of_chains),
            "llc_std": float(of_chains.std()) if len(of_chains) else np.nan,
            "llc_se": self._error(),
            "llc_scalar": _mean(self.of_chains(burnin=True, init_loss="batches")),
            "llc_paired": _mean(self.of_chains(init_loss="paired")),
            "llc_unpaired": _mean(self.of_chains(init_loss="batches")),
            "llc_with_burnin": _mean(self.of_chains(burnin=True)),
        }

    def init_loss(self) -> dict[str, float]:
        """The loss of the trained weights that is subtracted, and its standard error."""
        if self._samples.settings.init_loss == "paired":
            mean, error = _mean(self.paired), self._error_of(self.paired)
        else:
            mean, error = self._samples.init_loss, self._samples.init_loss_se
        return {"init_loss": mean, "init_loss_se": error}

    def diagnostics(self) -> dict[str, float]:
        """What tells whether the chains have settled, and where."""
        if not len(self.losses):
            return dict.fromkeys(("split_rhat", "ess", "share_below", "drift"), np.nan)
        differences = self.losses - self.paired
        return {
            "split_rhat": split_rhat(differences),
            "ess": float(np.fmin.reduce([*map(effective_draws, self._views(differences))])),
            "share_below": float((differences < 0).mean()),
            "drift": _slope(differences[:, differences.shape[1] // 2 :].mean(axis=0)),
        }

    def _error(self) -> float:
        if not len(self.losses):
            return np.nan
        settings = self._samples.settings
        if settings.init_loss == "paired":
            return settings.n_beta * self._error_of(self.losses - self.paired)
        error = self._error_of(self.losses)
        return settings.n_beta * float(np.hypot(error, self._samples.init_loss_se))

    def _error_of(self, values: np.ndarray) -> float:
        """The standard error of the mean of values (chains, steps)."""
        return float(np.fmax.reduce([*map(mean_error, self._views(values))]))

    def _views(self, values: np.ndarray) -> list[np.ndarray]:
        """The rows of values (chains, steps), and their mean where chains see the same batches.

        What batches do to all chains is only seen in the mean. What chains do by themselves is
        better seen between them: batches that come again in the same order hide it in the mean.
        """
        settings = self._samples.settings
        shared = settings.match_batches or not settings.shuffle
        if shared and settings.batch_size < self._samples.n_items and len(values):
            return [values, values.mean(axis=0, keepdims=True)]
        return [values]


def mean_error(values: np.ndarray) -> float:
    """Standard error of the mean over all steps of independent chains.

    It is the square root of the sum of autocovariances up to the lag at which sums of two of them
    are negative or rise (Geyer 1992). With several chains, what they have in common is taken off
    first: it is how they leave the trained weights, and no chance. So slow chains, whose means
    differ, have a large error.

    Measured on a quadratic with ten weights, LLC about 5, 400 times each: the mean was within one
    error of its exact expectation in 66 to 69 % and within two in 91 to 96 % (91 % for four chains
    of 200 steps with an R-hat of 1.14; 95 % for four of 1000 steps with a burn-in).

    Args:
        values: (chains, steps).

    Returns:
        The error; NaN for a single step, where a value is not finite, or where steps are too few to
        tell how they depend on each other.
    """
    autocovariances = _autocovariances(values)
    if autocovariances is None:
        return np.nan
    return float(np.sqrt(_summed(autocovariances) / values.size))


def effective_draws(values: np.ndarray) -> float:
    """How many independent draws would give the mean over all steps the same error.

    Args:
        values: (chains, steps).
    """
    autocovariances = _autocovariances(values)
    if autocovariances is None or autocovariances[0] <= 0:
        return np.nan
    return values.size * float(autocovariances[0]) / _summed(autocovariances)


def split_rhat(values: np.ndarray) -> float:
    """The potential scale reduction of the halves of chains (Gelman et al. 2013, equation 11.4).

    Args:
        values: (chains, steps).

    Returns:
        About 1 where all halves of chains have the same mean; NaN with fewer than 4 steps, or where
        no value differs.
    """
    half = values.shape[1] // 2
    if half < 2:
        return np.nan
    halves = np.concatenate([values[:, :half], values[:, -half:]])
    within = halves.var(axis=1, ddof=1).mean()
    between = halves.mean(axis=1).var(ddof=1)
    return float(np.sqrt((half - 1) / half + between / within)) if within > 0 else np.nan


def _autocovariances(values: np.ndarray) -> np.ndarray | None:
    """Autocovariances by lag, those of lag k as sums over steps - k products; None if unknown."""
    n_chains, n_steps = values.shape
    if n_chains == 0 or n_steps < 2 or not np.isfinite(values).all():
        return None
    if n_chains > 1:
        rest, unbiased = values - values.mean(axis=0), n_chains / (n_chains - 1)
    else:
        rest, unbiased = values - values.mean(), n_steps / (n_steps - 1)
    spectrum = np.abs(np.fft.rfft(rest, 2 * n_steps, axis=1)) ** 2
    return np.fft.irfft(spectrum.mean(axis=0))[:n_steps] * unbiased / n_steps


def _summed(autocovariances: np.ndarray) -> float:
    """The sum over lags of both signs, up to where noise begins; NaN if no positive one is left."""
    even = len(autocovariances) // 2 * 2
    pairs = autocovariances[:even].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    kept = pairs[: negative[0]] if len(negative) else pairs
    total = float(2 * np.minimum.accumulate(kept).sum() - autocovariances[0])
    least = 1e-6 * autocovariances[0]  # below it there is only rounding
    return total if total >= least else np.nan


def _slope(values: np.ndarray) -> float:
    """The slope of a line through values, one a step; NaN for a single one."""
    at = np.arange(len(values)) - (len(values) - 1) / 2
    return float(at @ values / (at @ at)) if len(values) > 1 else np.nan


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan


def _doubts(row: dict[str, Any], n_steps: int) -> Iterator[str]:
    """What speaks against the LLC of a row, one reason at a time."""
    llc, error, bound = row["llc_mean"], row["llc_se"], row["n_sampled"] / 2
    if row["distance"] == 0:
        yield "the weights did not move"
    elif row["chains_ok"] and np.isnan(error):
        yield f"the error is not known: too few steps after burn-in ({n_steps})"
    elif row["chains_ok"] and np.isnan(row["ess"]):
        yield "independent draws cannot be counted: the losses never differ"
    if row["chains_failed"]:
        yield f"{row['chains_failed']} of {row['num_chains']} chains failed: NaN or infinite loss"
    if row["split_rhat"] > SPLIT_RHAT:
        yield f"chains disagree: split R-hat is {row['split_rhat']:.3g}, above {SPLIT_RHAT}"
    if row["ess"] < ESS:
        yield f"few independent draws: about {row['ess']:.0f}, fewer than {ESS}"
    moved = row["n_beta"] * row["drift"] * (n_steps - n_steps // 2)
    # the slope of n/2 independent steps times n/2 has sqrt(24) times the error of the mean of n
    if abs(moved) > max(DRIFT * 24**0.5 * error, DRIFT_SHARE * abs(llc)):
        yield f"not settled: the last half of the steps moves the LLC by {moved:+.3g}"
    if row["batch_heat"] > BATCH_HEAT:
        share = f"{100 * row['batch_heat']:.0f} %"
        yield f"too hot: batches add about {share} to the noise; take a larger batch or smaller lr"
    if row["share_below"] > SHARE_BELOW:
        share = f"{100 * row['share_below']:.0f} %"
        yield f"not at a minimum: {share} of the steps have a lower loss than the trained weights"
    if abs(llc) < ERRORS * error:
        yield f"the LLC may be 0: it is {abs(llc) / error:.1f} times its error"
    elif llc < 0:
        yield "the LLC is negative"
    if llc - ERRORS * error > BOUND_SHARE * bound:
        yield f"the LLC is above {bound:g}, half the weights, the largest that a minimum has"
