"""The choices of a round: what a planner card chooses, under the rules that hold for all of them.

A round is empty when its budget is spent or the interval of the optimum is narrow enough. Of what
the planner chooses, runs are dropped that were trained before or that cost more than is left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from isoloss.core import registry, units
from isoloss.core.problems import IsolossError, Problem
from isoloss.fitted import Fit
from isoloss.fitted.facts import DO_NOT_USE
from isoloss.laws._make import allocating
from isoloss.planners._planner import Choice, State, law_problems

ALIKE = 1.01  # factor in N and in D within which two runs are the same choice
_NOTHING = Choice(math.nan, math.nan, "")


def choices_of(
    fit: Fit,
    runs: pd.DataFrame,
    settings: Mapping[str, Any],
    round_number: int,
    seed: int = 0,
) -> pd.DataFrame:
    """The runs that a round is to train, each with the reason for its N and D.

    Args:
        fit: of a law that divides a budget between N and D, fitted to the runs so far.
        runs: the `runs` table so far.
        settings: `planner` and its `options`; `budget`, FLOP of the runs so far and all rounds
            together; `target`, FLOP of the budget at which the optimum is wanted (if None, that of
            the largest run chosen); `until`, the ratio of the ends of the interval of N there at
            which the rounds end. None, or left out, is no limit.
        round_number: from 1.
        seed: of planners that draw.

    Returns:
        The `choices` table. Rows with a `choice`, counted from 0, are to be trained; of those
        without, `reason` says why the round is empty or the run is left out. N, D and compute
        (6 N D) are targets: the plan finds the sizes of a model that come nearest.

    Raises:
        IsolossError: the law does not divide a budget, the fit is one of several groups, or no run
            ended well.

    Example:
        >>> import isoloss, numpy as np, pandas as pd
        >>> N, D = np.meshgrid(np.geomspace(1e4, 1e6, 5), np.geomspace(1e6, 1e8, 5))
        >>> loss = (1.7 + 50 / N**0.34 + 40 / D**0.28).ravel()
        >>> table = pd.DataFrame({"N": N.ravel(), "D": D.ravel(), "loss": loss})
        >>> runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> fit = isoloss.fit_law(runs, "chinchilla", bootstrap=20)
        >>> settings = {"planner": "scale_up", "options": {"factor": 4}, "budget": 1e16}
        >>> choices = choices_of(fit, runs, settings, round_number=1)
        >>> print(f"{choices['n_flops'].item():.3g}")
        2.4e+15
        >>> print(choices["reason"].item().partition(":")[0])
        the optimum at C = 2.4e15 FLOP by the fit of 25 runs
    """
    state = _state(fit, runs, settings, seed)
    chosen, rest = _round(state, settings)
    table = pd.DataFrame([_facts(state, choice) for choice in [*chosen, *rest]])
    numbers = pd.array([*range(len(chosen)), *(pd.NA for _ in rest)], dtype="Int64")
    return table.assign(round=round_number, choice=numbers, planner=settings["planner"])


def _round(state: State, settings: Mapping[str, Any]) -> tuple[list[Choice], list[Choice]]:
    """What is to be trained, and what is not and why."""
    stop = _unfit(state) or _spent(state, settings.get("budget"))
    if stop:
        return [], [replace(_NOTHING, reason=stop)]
    planner, given = settings["planner"], settings.get("options") or {}
    options = {**registry.defaults("planner", planner), **given}
    chosen = _checked(registry.card("planner", planner).choose(state, **options), planner)
    if not chosen:
        return [], [replace(_NOTHING, reason=f"the planner {planner} chooses nothing")]
    enough = _enough(state, chosen, settings.get("until"))
    return ([], [enough]) if enough else _sifted(state, chosen)


def _checked(chosen: Iterable[Choice], planner: str) -> list[Choice]:
    """What a planner card returned, if that is choices.

    Raises:
        IsolossError: it is something else.
    """
    try:
        return [replace(choice, reason=choice.reason or "no reason given") for choice in chosen]
    except (TypeError, AttributeError) as error:
        reason = f"its `choose` returned {type(chosen).__name__}, not a list of Choice"
        remedy = f"change planners/{planner}.py"
        raise IsolossError(Problem(f"planner {planner}", reason, remedy)) from error


def _state(fit: Fit, runs: pd.DataFrame, settings: Mapping[str, Any], seed: int) -> State:
    """What is known, of a fit that can be asked for the best N and D of a budget."""
    card = fit.facts["card"]
    if not fit.law.allocates:
        reason = "its law does not give the best N and D of a budget"
        remedy = f"take one of the laws {', '.join(allocating())}"
        raise IsolossError(Problem(f"rounds: fit of the law {card}", reason, remedy))
    if wrong := law_problems(settings["planner"], card):
        raise IsolossError(*wrong)
    if len(fit.groups) > 1:
        reason = f"it has fits of {len(fit.groups)} groups, and a round is chosen by one"
        raise IsolossError(Problem("rounds: fit", reason, "select one of them with `where`"))
    ended = runs.loc[runs["status"] == "done", "n_flops_6nd"].astype(float).dropna()
    if ended.empty:
        remedy = "see `status_reason` in the runs table"
        raise IsolossError(Problem("rounds: runs", "none of the runs so far ended well", remedy))
    spent, target, budget = float(runs["n_flops_6nd"].sum()), settings.get("target"), None
    if settings.get("budget") is not None:
        budget = float(settings["budget"]) - spent
    return State(fit, runs, spent, float(ended.max()), budget, target, seed)


def _unfit(state: State) -> str:
    """Why the fit cannot be asked for a larger run; empty if it can."""
    if math.isfinite(state.optimum(state.largest).n_params):
        return ""
    values = ", ".join(f"{k} = {v:.3g}" for k, v in state.fit.values.items())
    return (
        f"the fit of {state.n_fitted} runs has no best N and D of a budget ({values}): "
        "more seeding runs, over a wider range of N and D, are needed"
    )


def _spent(state: State, budget: float | None) -> str:
    """That the budget is spent; empty if it is not, or there is none."""
    if state.left is None or state.left > 0:
        return ""
    spent = f"{units.power(state.spent)} of {units.power(budget)} FLOP"
    return f"the budget is spent: {spent} by {len(state.runs)} runs"


def _enough(state: State, chosen: list[Choice], until: float | None) -> Choice | None:
    """The optimum at the target, which is known well enough; None if it is not."""
    if until is None:
        return None
    best = state.optimum(state.target or max(choice.flops for choice in chosen))
    ratio = best.n_high / best.n_low
    if not ratio < until:  # nor where there is no interval
        return None
    ends = f"its ends have a ratio of {ratio:.3g}, below `until` = {until:g}"
    return Choice(best.n_params, best.n_samples, f"{best}, which is narrow enough: {ends}")


def _sifted(state: State, chosen: list[Choice]) -> tuple[list[Choice], list[Choice]]:
    """The choices that can be trained, and the others, each with the reason why not."""
    left = math.inf if state.left is None else state.left
    kept: list[Choice] = []
    others: list[Choice] = []
    for choice in chosen:
        problem = _impossible(choice) or _trained(choice, state.runs)
        if not problem and any(_alike(choice, other) for other in kept):
            problem = "another choice of this round is the same run"
        elif not problem and choice.flops > left:
            need = f"{units.power(choice.flops)} of {units.power(left)} FLOP"
            problem = f"it costs more than is left of the budget, {need}"
        if problem:
            others.append(replace(choice, reason=f"left out: {problem}; {choice.reason}"))
        else:
            kept.append(choice)
            left -= choice.flops
    return kept, others


def _impossible(choice: Choice) -> str:
    """That no run can have these N and D; empty if one can."""
    if all(math.isfinite(v) and v >= 1 for v in (choice.n_params, choice.n_samples)):
        return ""
    return "no run has such N and D"


def _trained(choice: Choice, runs: pd.DataFrame) -> str:
    """That a run so far has these N and D, whatever became of it; empty if none has."""
    for row in runs[["run_id", "n_params", "n_samples", "status"]].itertuples(index=False):
        if _alike(choice, Choice(row.n_params, row.n_samples, "")):
            return f"run {row.run_id} has this N and D already ({row.status})"
    return ""


def _alike(one: Choice, other: Choice) -> bool:
    """Whether two choices are the same within what the sizes of models can tell apart."""
    pairs = ((one.n_params, other.n_params), (one.n_samples, other.n_samples))
    return all(1 / ALIKE <= a / b <= ALIKE for a, b in pairs)


def _facts(state: State, choice: Choice) -> dict[str, Any]:
    """N, D, compute and reason of a choice, the interval of the optimum, and the loss predicted."""
    size = {"n_params": choice.n_params, "n_samples": choice.n_samples, "n_flops": choice.flops}
    ends = [f"{name}_{end}" for name in "nd" for end in ("low", "high")]
    losses = ["loss_predicted", "loss_low", "loss_high"]
    reason = {"ci_level": state.fit.level, "reason": choice.reason}
    if _impossible(choice):
        return {**size, **dict.fromkeys([*ends, *losses], math.nan), **reason}
    best = state.fit.allocate(choice.flops).iloc[0]
    point = state.fit.predict(N=choice.n_params, D=choice.n_samples, C=choice.flops).iloc[0]
    loss, low, high = point["loss"], point["low"], point["high"]
    predicted = units.estimate(loss, low, high, "{:.4g}".format)
    reason["reason"] += f"; the loss there is predicted as {predicted}{_doubt(state.fit)}"
    optimum = {end: best[end.replace("n_", "N_").replace("d_", "D_")] for end in ends}
    return {**size, **optimum, **dict(zip(losses, (loss, low, high), strict=True)), **reason}


def _doubt(fit: Fit) -> str:
    """That the fit is not to be used, which more runs may cure; empty if it can be."""
    row = fit.summary.iloc[0]
    return f"; this fit is not to be used: {row['reasons']}" if row["verdict"] == DO_NOT_USE else ""
