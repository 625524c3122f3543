"""The local learning coefficient (LLC) of samples that are kept in an xarray DataTree."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from isoloss.core import extras
from isoloss.core.arguments import checked
from isoloss.core.escape import listed
from isoloss.core.problems import IsolossError, Problem

if TYPE_CHECKING:
    import xarray as xr

LOSSES = "sampling_loss_micro"  # (chain, step, batch_sampling, token_pos), nats
WITHIN_STEP = ["batch_sampling", "token_pos"]


def xarray() -> ModuleType:
    """The package xarray, which comes with the extra `llc`.

    Raises:
        IsolossError: it is not installed.
    """
    try:
        return importlib.import_module("xarray")
    except ImportError as error:
        raise extras.lacks("xarray") from error


@checked()
def compute_llc(samples: xr.DataTree, *, strict: bool = False) -> xr.Dataset:
    """Compute the LLC from sampled losses: n_beta times their mean above the initial loss.

    The result has the bits of devinterp 2.0.1: means in float32 that skip NaN, over every step,
    those of burn-in too. There a chain that failed (a loss that is NaN or infinite) counts with
    the steps before its failure, and nothing says so; here a warning names it.

    Args:
        samples: one group without coordinates, as `sample` of devinterp or of
            `isoloss.posterior.compat` returns it: `init_loss` (chain, token_pos) and
            `sampling_loss_micro` (chain, step, batch_sampling, token_pos) in nats, float32, and
            n_beta in `attrs["metadata"]["config"]["sampler"]["n_beta"]`.
        strict: leave a failed chain out altogether: out of `llc_mean`, `llc_std`, `llc_scalar`
            and `init_loss`; its `llc_per_chain` is NaN.

    Returns:
        `llc_mean` and `llc_std` (over chains, ddof 0; float32), `llc_per_chain` (chain; float32),
        `llc_scalar` (all losses in one mean; float64), `loss_trace` (chain, step; float32),
        `init_loss` (float64).

    Raises:
        IsolossError: a variable or n_beta is missing.

    Source:
        Lau et al. (2023), The Local Learning Coefficient; devinterp 2.0.1, `compute_llc`.

    Example:
        >>> import isoloss, numpy as np, xarray as xr
        >>> losses = np.full((2, 3, 1, 1), 1.75, dtype=np.float32)
        >>> losses[1] = 2.0
        >>> variables = {
        ...     "init_loss": (("chain", "token_pos"), np.full((2, 1), 1.5, dtype=np.float32)),
        ...     "sampling_loss_micro": (("chain", "step", "batch_sampling", "token_pos"), losses),
        ... }
        >>> metadata = {"config": {"sampler": {"n_beta": 10.0}}}
        >>> samples = xr.DataTree(xr.Dataset(variables, attrs={"metadata": metadata}))
        >>> llc = isoloss.compute_llc(samples)
        >>> llc["llc_per_chain"].values.tolist(), float(llc["llc_mean"]), float(llc["llc_std"])
        ([2.5, 5.0], 3.75, 1.25)
    """
    xr = xarray()
    _check(samples)
    losses, init_losses = samples[LOSSES], samples["init_loss"]
    n_beta = float(samples.attrs["metadata"]["config"]["sampler"]["n_beta"])
    failed = ~np.isfinite(losses).all([*WITHIN_STEP, "step"])
    failed |= ~np.isfinite(init_losses).all("token_pos")
    if failed.any():
        _warn_of(losses, failed, strict)
    counted, init_counted = losses, init_losses
    if strict:
        chains = np.flatnonzero(~failed.values)
        counted, init_counted = losses.isel(chain=chains), init_losses.isel(chain=chains)
    init_loss = float(init_counted.values.mean()) if init_counted.size else float("nan")
    # bottleneck and numbagg add in another order
    with xr.set_options(use_bottleneck=False, use_numbagg=False), np.errstate(invalid="ignore"):
        trace = losses.mean(WITHIN_STEP)
        excess = trace.mean("step") - init_loss
        per_chain = (n_beta * excess).where(~failed) if strict else n_beta * excess
        overall = float(counted.mean())
        mean, std = per_chain.mean(), per_chain.std()
    return xr.Dataset(
        {
            "llc_mean": mean,
            "llc_std": std,
            "llc_per_chain": per_chain,
            "llc_scalar": n_beta * (overall - init_loss),
            "loss_trace": trace,
            "init_loss": init_loss,
        }
    )


def _check(samples: xr.DataTree) -> None:
    """Refuse a tree without the variables and the attribute that the LLC is computed from."""
    there = [str(name) for name in samples.data_vars]
    problems = [
        Problem("samples", f"has no variable {name!r}", f"its variables: {listed(there) or 'none'}")
        for name in ("init_loss", LOSSES)
        if name not in there
    ]
    settings = samples.attrs.get("metadata") or {}
    for key in ("config", "sampler", "n_beta"):
        if not isinstance(settings, dict) or key not in settings:
            reason = "does not say at which n_beta it was sampled"
            remedy = 'set samples.attrs["metadata"] = {"config": {"sampler": {"n_beta": ...}}}'
            problems.append(Problem("samples", reason, remedy))
            break
        settings = settings[key]
    if problems:
        raise IsolossError(*problems)


def _warn_of(losses: xr.DataArray, failed: xr.DataArray, strict: bool) -> None:
    """Warn that chains failed: which, at which step, and whether they count."""
    finite = np.isfinite(losses).all(WITHIN_STEP).transpose("chain", "step").values
    names = [
        f"chain {chain} (its {'initial loss' if row.all() else f'step {np.argmin(row)}'})"
        for chain, row in enumerate(finite)
        if failed.values[chain]
    ]
    use = (
        "they are left out"
        if strict
        else "their steps before that count in llc_mean, llc_std and llc_scalar, as in devinterp;"
        " compute_llc(samples, strict=True) leaves them out"
    )
    text = f"{len(names)} of {len(finite)} chains failed, with a loss that is NaN or infinite"
    warnings.warn(f"{text}: {listed(names)}; {use}", stacklevel=3)
