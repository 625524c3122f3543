"""Fit a law to runs: the room's verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from isoloss import registry
from isoloss.filters import LETTERS, evaluate
from isoloss.fit.holdout import held_out, last_budget
from isoloss.fit.objectives import OBJECTIVES, Objective
from isoloss.fit.optimize import End, Problem, agreeing, basins, descend, optimize, starts_grid
from isoloss.fitted import Fit, quantiles
from isoloss.laws._law import Law
from isoloss.problems import IsolossError, nearest, problem
from isoloss.progress import track
from isoloss.seeds import generator

RESPONSE = "loss_nats"
FLAT = 1e-6  # singular value of the scaled gradient below which a combination of terms is free
# Columns that may differ between runs which are the same but for their seed.
_OF_A_RUN = {"run_id", "run_digest", "seed", "n_unique", "loss_nats", "fit_weight"}
_OF_A_RUN |= {"status", "status_reason"}


def fit_law(
    runs: pd.DataFrame,
    law: str,
    options: Mapping[str, Any] | None = None,
    *,
    where: str = "",
    objective: str = "huber_log",
    delta: float = 1e-3,
    holdout: str | None = "none",
    bootstrap: int = 1000,
    ci_level: float = 0.95,
    n_starts: int = 64,
    seed: int = 0,
) -> Fit:
    """Fit a law to the finished runs of a table, one fit a group.

    Args:
        runs: a `runs` table; rows whose status is not `done` are counted and left out.
        law: law card.
        options: of the card.
        where: expression that selects runs; the others are counted among the dropped.
        objective: huber_log, log_mse or mse, summed over runs times their fit_weight.
        delta: of huber_log, in log loss.
        holdout: none (or None) or largest_compute.
        bootstrap: replicates; runs are drawn with replacement, each replicate refitted from the
            optimum and the next best basin.
        ci_level: of the percentile intervals.
        n_starts: starts optimised, the best of the card's grid by objective.
        seed: of the bootstrap.

    Returns:
        The fit; `summary.status` says whether to believe it.

    Raises:
        IsolossError: too few runs for the law's terms.
    """
    card = registry.card("law", law)
    chosen = {**registry.defaults("law", law), **(options or {})}
    wrong = [
        problem(f"law {law}, option {key}", "unknown", nearest(key, registry.options("law", law)))
        for key in set(chosen) - set(registry.options("law", law))
    ]
    if objective not in OBJECTIVES:
        wrong.append(problem("objective", f"unknown {objective!r}", nearest(objective, OBJECTIVES)))
    if wrong:
        raise IsolossError("\n".join(wrong))
    made = card.make(**chosen)
    goal = Objective(objective, delta)
    if where:
        out = ~evaluate(runs, where, f"law {law}, where") & (runs["status"] == "done")
        runs = runs.assign(status=runs["status"].mask(out, "dropped"))
    pieces: dict[str, list[pd.DataFrame]] = {}
    finished = runs.loc[(runs["status"] == "done") & (runs["fit_weight"] > 0), "group"]
    if finished.empty:
        raise too_few(f"law {law}", 0, len(made.terms))
    for group, mine in runs[runs["group"].isin(set(finished))].groupby("group", sort=True):
        found = _fit_group(
            made, str(group), mine, goal, holdout, bootstrap, ci_level, n_starts, seed, law
        )
        for name, table in found.items():
            pieces.setdefault(name, []).append(table)
    joined = {name: pd.concat(parts, ignore_index=True) for name, parts in pieces.items()}
    return Fit(law=made, facts={"card": law, "options": chosen}, **joined)


def variables(runs: pd.DataFrame) -> dict[str, np.ndarray]:
    """N, D and C of every run, each (n,)."""
    return {letter: runs[LETTERS[letter]].to_numpy(float) for letter in ("N", "D", "C")}


def _fit_group(
    law: Law,
    group: str,
    runs: pd.DataFrame,
    objective: Objective,
    holdout: str,
    bootstrap: int,
    level: float,
    n_starts: int,
    seed: int,
    card: str,
) -> dict[str, pd.DataFrame]:
    done = runs[(runs["status"] == "done") & (runs["fit_weight"] > 0)].reset_index(drop=True)
    need = len(law.terms)
    if len(done) < need:
        raise too_few(f"law {card}, group {group}", len(done), need)
    out = held_out(done, holdout)
    fitted = done[~out]
    if len(fitted) < need:
        raise too_few(f"law {card}, group {group}, after the hold-out", len(fitted), need)
    loss, weight = fitted[RESPONSE].to_numpy(float), fitted["fit_weight"].to_numpy(float)
    data = variables(fitted)
    ends = optimize(Problem(law, data, loss, weight, objective), starts_grid(law), n_starts)
    best = ends[0]
    replicates = _bootstrap(law, data, loss, weight, objective, ends, bootstrap, seed, group)
    thetas = np.array([end.theta for end in replicates if end.converged])
    thetas = thetas.reshape(-1, need)

    everything = variables(done)
    predicted = np.exp(law.log_loss(best.theta, everything))
    observed = done[RESPONSE].to_numpy(float)
    residuals = pd.DataFrame(
        {
            "run_id": done["run_id"],
            "loss_nats": observed,
            "predicted": predicted,
            "residual": observed - predicted,
            "held_out": out,
        }
    )
    params = _params(law, best, thetas, level)
    flat = undetermined(law, best.theta, data)
    spread = observed[~out] - observed[~out].mean()
    error = observed - predicted
    summary: dict[str, Any] = {
        "card": card,
        "formula": law.formula,
        "n_runs": int((~out).sum()),
        "n_held_out": int(out.sum()),
        "n_dropped": len(runs) - len(done),
        "objective": str(objective),
        "objective_value": best.objective,
        "gradient_norm": best.gradient_norm,
        "n_starts": len(ends),
        "n_agree": agreeing(ends),
        "n_replicates": bootstrap,
        "n_replicates_converged": len(thetas),
        "rmse": _rms(error[~out]),
        "r2": 1 - np.sum(error[~out] ** 2) / np.sum(spread**2) if spread.any() else np.nan,
        "seed_sd": seed_sd(done),
        "held_out_rmse": np.nan,
        "held_out_baseline_rmse": np.nan,
        "held_out_coverage": np.nan,
    }
    if out.any():
        last = observed[~out][last_budget(fitted)].mean()
        summary["held_out_rmse"] = _rms(error[out])
        summary["held_out_baseline_rmse"] = _rms(observed[out] - last)
        if len(thetas):
            low, high = quantiles(np.exp(law.log_loss(thetas, everything))[:, out], level)
            inside = (low <= observed[out]) & (observed[out] <= high)
            summary["held_out_coverage"] = inside.mean()
    summary["status"], summary["message"] = _verdict(best, ends, flat, params, summary)
    starts = pd.DataFrame(
        {
            "start": range(len(ends)),
            "begin": [end.begin for end in ends],
            "end": [end.theta for end in ends],
            "objective_value": [end.objective for end in ends],
            "gradient_norm": [end.gradient_norm for end in ends],
            "status": ["converged" if end.converged else "not_converged" for end in ends],
        }
    )
    drawn = pd.DataFrame(
        {
            "replicate": range(len(replicates)),
            "theta": [end.theta for end in replicates],
            "converged": [end.converged for end in replicates],
        },
        columns=["replicate", "theta", "converged"],
    )
    found = {
        "params": params,
        "summary": pd.DataFrame([summary]),
        "residuals": residuals,
        "starts": starts,
        "replicates": drawn.astype({"replicate": "int64", "converged": bool}),
    }
    return {k: t.assign(group=group, response=RESPONSE) for k, t in found.items()}


def _bootstrap(law, data, loss, weight, objective, ends, replicates, seed, group) -> list[End]:
    """Refit every replicate from the optimum and the next best basin; the better end counts."""
    rng = generator(seed, "bootstrap", group)
    ticks = track(replicates, "bootstrap replicates")
    found = []
    for _ in range(replicates):
        drawn = rng.multinomial(len(loss), np.full(len(loss), 1 / len(loss)))
        problem_ = Problem(law, data, loss, weight * drawn, objective)
        refits = [descend(problem_, theta) for theta in basins(ends, 2)]
        found.append(min(refits, key=lambda end: end.objective))
        next(ticks)
    return found


def _params(law: Law, best: End, thetas: np.ndarray, level: float) -> pd.DataFrame:
    rows = []
    for i, term in enumerate(law.terms):
        values = term.value(thetas[:, i])
        low, high = quantiles(values, level)
        rows.append(
            {
                "term": term.name,
                "symbol": term.symbol,
                "unit": term.unit,
                "estimate": float(term.value(best.theta[i])),
                "std_error": values.std(ddof=1) if len(values) > 1 else np.nan,
                "ci_low": float(low),
                "ci_high": float(high),
                "ci_level": level,
                "ci_method": "bootstrap percentile over runs" if len(values) else "none",
                "at_bound": bool(best.theta[i] <= term.low or best.theta[i] >= term.high),
            }
        )
    return pd.DataFrame(rows)


def undetermined(law: Law, theta: np.ndarray, data: Mapping[str, np.ndarray]) -> list[str]:
    """Terms that some combination of which the data do not see: the gradient's null space.

    Columns of the gradient are scaled to one; a singular value below FLAT leaves its combination
    free, and every term with a tenth of it is named.
    """
    gradient = law.log_loss_gradient(theta, data)
    size = np.linalg.norm(gradient, axis=0)
    scaled = gradient / np.where(size > 0, size, 1.0)
    _, values, directions = np.linalg.svd(scaled, full_matrices=True)
    values = np.concatenate([values, np.zeros(len(theta) - len(values))])
    free = np.abs(directions[values < FLAT]).max(axis=0, initial=0.0) > 0.1
    return [term.name for term, loose in zip(law.terms, free, strict=True) if loose]


def _verdict(
    best: End, ends, flat: list[str], params: pd.DataFrame, summary: dict
) -> tuple[str, str]:
    """Status and message: first whether this is an optimum, then what it is worth."""
    said = []
    bounded = list(params.loc[params["at_bound"], "term"])
    if not best.converged:
        said.append(f"the gradient does not vanish ({best.gradient_norm:.2g})")
    elif summary["n_agree"] < 2:
        said.append("only one start ends here; another may be lower: raise n_starts")
    status = "not_converged" if said else "at_bound" if bounded else "converged"
    if flat and not bounded:
        status = "undetermined"
        said.append(f"the data do not determine {', '.join(flat)}, whatever the intervals say")
    if bounded:
        said.append(f"at a bound: {', '.join(bounded)}; the data do not determine it")
    lost = summary["n_replicates"] - summary["n_replicates_converged"]
    if lost:
        said.append(f"{lost} of {summary['n_replicates']} bootstrap refits did not converge")
    loose = params[(params["ci_high"] > 10 * params["ci_low"]) & (params["ci_low"] > 0)]
    if len(loose):
        said.append(f"not known to a factor of 10: {', '.join(loose['term'])}")
    if not said:
        said.append(f"{summary['n_agree']} of {summary['n_starts']} starts agree")
    return status, "; ".join(said)


def seed_sd(runs: pd.DataFrame) -> float:
    """SD of the loss over seeds, pooled over settings that were run with several; else NaN.

    Of runs made elsewhere only N, D, model and weighting are known to be settings.
    """
    if runs["seed"].nunique() < 2:
        return float("nan")
    here = runs["run_digest"].notna().all()
    same = [c for c in runs.columns if c not in _OF_A_RUN]
    same = same if here else ["n_params", "n_samples", "model", "weighting"]
    cells = runs.groupby(same, dropna=False)["loss_nats"]
    degrees = len(runs) - cells.ngroups
    squares = ((runs["loss_nats"] - cells.transform("mean")) ** 2).sum()
    return float(np.sqrt(squares / degrees)) if degrees else float("nan")


def too_few(place: str, found: int, need: int) -> IsolossError:
    """The error for a law with fewer runs than terms."""
    return IsolossError(
        problem(place, f"{found} runs for {need} parameters", "add runs, or fit a smaller law")
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
