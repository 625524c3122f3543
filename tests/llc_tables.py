"""Made-up tables of local learning coefficients, as the stage observe would write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from isoloss.core import tables

CHAINS, STEPS = 4, 30
FAILED = "all 4 chains failed"
SAMPLER = {
    "num_chains": CHAINS, "num_draws": STEPS, "batch_size": 32, "num_burnin_steps": 0,
    "num_steps_bw_draws": 1, "gradient_accumulation_steps": 1, "noise_level": 1.0,
    "llc_weight_decay": 0.0, "sampling_method": "sgmcmc_sgld", "shuffle": True,
    "match_batches": False, "num_init_loss_batches": 32, "init_loss_kind": "paired",
    "init_seed": 1, "n_items": 4096, "seed": 0,
}  # fmt: skip


def llc_tables(
    runs: pd.DataFrame,
    status: Mapping[str, str] | None = None,
    negative: Sequence[str] = (),
    lr: Sequence[float] = (1e-4,),
    n_beta: Sequence[float] = (500.0,),
    localization: Sequence[float] = (1.0,),
    **sampler,
) -> dict[str, pd.DataFrame]:
    """The tables `llc`, `llc_chain` and `llc_trace` of runs whose LLC is the root of N.

    Args:
        runs: their `run_id`, `n_params` and `loss`.
        status: of runs that are not ok. Of a `failed` one all chains end halfway, of a `warn` one
            the first does.
        negative: runs whose LLC has the other sign.
        lr: step sizes.
        n_beta: inverse temperatures.
        localization: pulls to the trained weights.
        sampler: other settings.
    """
    rows, chains, traces = [], [], []
    for run in runs.itertuples():
        sign = -1 if run.run_id in negative else 1
        about = {"run_id": run.run_id, "status": (status or {}).get(run.run_id, "ok")}
        for setting, (step, beta, pull) in enumerate(product(lr, n_beta, localization)):
            about |= {"setting": setting, "lr": step, "n_beta": beta, "localization": pull}
            of_chains = sign * run.n_params**0.5 * np.linspace(0.9, 1.1, CHAINS)
            made = _chains(about, of_chains, run.loss)
            rows.append(_row(about, of_chains, run) | SAMPLER | sampler)
            chains += made[0]
            traces += made[1]
    made = {
        "llc": pd.DataFrame(rows),
        "llc_chain": pd.DataFrame(chains),
        "llc_trace": pd.concat(traces, ignore_index=True),
    }
    return {name: table.reindex(columns=tables.schema(name).names) for name, table in made.items()}


def _row(about: dict, of_chains: np.ndarray, run) -> dict:
    ok = {"ok": CHAINS, "warn": CHAINS - 1, "failed": 0}[about["status"]]
    kept = of_chains[CHAINS - ok :]
    values = {"llc_mean": kept.mean(), "llc_se": kept.std() / 2} if ok else {}
    values |= {"split_rhat": 1.01, "ess": 90.0} if ok else {}
    why = {"ok": None, "warn": "1 chain failed", "failed": FAILED}[about["status"]]
    counts = {"chains_ok": ok, "chains_failed": CHAINS - ok, "n_sampled": int(run.n_params)}
    return about | values | counts | {"init_loss": run.loss, "status_reason": why}


def _chains(about: dict, of_chains: np.ndarray, loss: float) -> tuple[list, list]:
    """Rows of `llc_chain`, and tables of `llc_trace`, of one run in one setting."""
    rows, traces, steps = [], [], np.arange(STEPS)
    rng = np.random.default_rng(0)
    for chain, llc in enumerate(of_chains):
        fails = about["status"] == "failed" or (about["status"] == "warn" and chain == 0)
        place = {"run_id": about["run_id"], "setting": about["setting"], "chain": chain}
        own = {"llc": np.nan if fails else llc, "failed_step": STEPS // 2 if fails else None}
        rows.append(place | own | {"init_loss": loss, "status": "failed" if fails else "ok"})
        start = loss + 0.05 * rng.standard_normal(STEPS)
        above = llc / about["n_beta"] * (1 - np.exp(-steps / 5))
        losses = np.where(fails & (steps >= STEPS // 2), np.nan, start + above)
        traces.append(pd.DataFrame(place | {"step": steps, "loss": losses, "init_loss": start}))
    return rows, traces
