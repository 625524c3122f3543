"""Fit a law to runs: the room's verb."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from isoloss.core import registry, tables
from isoloss.core.arguments import checked
from isoloss.core.problems import IsolossError
from isoloss.core.units import NATS
from isoloss.fit.formula import chosen_law
from isoloss.fit.holdout import folds
from isoloss.fit.outcome import tables_of
from isoloss.fit.prepare import FittedRuns, divided, selected
from isoloss.fit.replicate import Draw, clusters_of, drawn
from isoloss.fit.settings import Progress, Settings, settings_of
from isoloss.fit.shapes import check_starts
from isoloss.fit.shared import SharedOptimum, alone_problems, shared_problems
from isoloss.fit.solution import Replicates, Solution, join_replicates
from isoloss.fit.solve import replicates_of
from isoloss.fitted import OF_RUN, Fit
from isoloss.fitted.names import RESPONSE

Solved = tuple[FittedRuns, Solution, Replicates]
# numbers of the runs of all replicates that are held: of a law with a method of its own, of others
AT_A_TIME, SEARCHED = 1 << 20, 1 << 22


# matrices are small: threads of the linear algebra would only wait for each other
@threadpool_limits.wrap(limits=1)
@checked()
def fit_law(
    runs: pd.DataFrame,
    law: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    formula: str | None = None,
    where: str = "",
    group: str = "group",
    objective: str | Mapping[str, Any] | Callable[..., np.ndarray] = "auto",
    delta: float = 1e-3,
    fixed: Mapping[str, float] | None = None,
    tied: Sequence[Sequence[str]] = (),
    bounds: Mapping[str, Sequence[float | None]] | None = None,
    shared: Sequence[str] = (),
    starts: np.ndarray | None = None,
    holdout: str | Mapping[str, Any] | None = "none",
    interval: str = "bootstrap",
    cluster: str | None = None,
    bootstrap: int = 4000,
    ci_level: float = 0.95,
    profiles: bool = False,
    seed: int = 0,
    loss_unit: str | None = None,
    response: str | None = None,
    progress: Progress | None = None,
) -> Fit:
    """Fit a law to the finished runs of a table, one fit a group (a domain, for mixture laws).

    Args:
        runs: a `runs` table, or points along runs (`points.points`); docs/fitting.md says which
            rows and which columns of mixtures are used, and what is said of the others.
        law: law card; left out where a formula is given.
        options: of the card.
        formula: a law as text, such as "loss = E + A / N**alpha" (docs/formulas.md): its names that
            are N, D, C, U or columns of the runs are variables, the others parameters. Its left
            side says what is fitted: the loss, or a column.
        where: filter (docs/filters.md) that selects runs; the others are counted among the dropped.
        group: column; one fit for each of its values.
        objective: one of objectives.OBJECTIVES, summed over runs times their fit_weight; a mapping
            of its name and settings, such as {"name": "asymmetric_mae", "above": 3}; or a function
            that gives the penalty of each run, of log residuals or of (observed, predicted).
            `auto` is `huber_log` where all values are above 0, and else `huber_scaled` with ten
            times the delta; `huber_scaled` too where the law says the greatest value of its
            response, as `0 <= error <= 1` does.
        delta: of huber_log in log loss, of huber in loss, of huber_scaled in the values' spread.
        fixed: value of terms that are not fitted.
        tied: groups of terms that share one value, such as [["alpha", "beta"]].
        bounds: least and greatest value of terms, None for open.
        shared: terms that all groups have in common; the others are each group's own.
        starts: in the law's coordinates, (s, p); the law's own grid if None.
        holdout: see `holdout.folds`. Runs of `largest_compute` are not fitted; the other rules
            are scored beside a fit of all runs.
        interval: one of resample.INTERVALS (docs/fitting.md).
        cluster: column; runs alike in it are drawn together. Points along runs are by run.
        bootstrap: replicates, each a global refit.
        ci_level: of the intervals.
        profiles: whether to keep the objective along every term.
        seed: of the replicates and of random folds.
        loss_unit: of the losses, such as nats/byte; if None what `read_runs` noted of them
            (`runs.attrs["loss_unit"]`), or else nats/token. Of another response its unit, or 1.
        response: another column of numbers that is fitted in place of the loss, such as llc_mean;
            runs without a value are left out. A law of mixtures or of a frontier has none. Only
            laws of any sign (`Law.signed`, formulas) take values that are not above 0.
        progress: is told how many fits and folds there are, and of each that is done.

    Returns:
        The fit; `summary.status` says whether to believe it.

    Raises:
        IsolossError: too few runs for the law's terms, a name that is not known, a number out
            of its range, a response with values that the law cannot have, or a text that is not a
            formula.

    Example:
        >>> import isoloss, numpy as np, pandas as pd
        >>> N, D = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
        >>> loss = (1.7 + 400 / N**0.34 + 400 / D**0.28).ravel()
        >>> table = pd.DataFrame({"N": N.ravel(), "D": D.ravel(), "loss": loss})
        >>> runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> fit = isoloss.fit_law(runs, "chinchilla", bootstrap=20, holdout="largest_compute")
        >>> fit.params[["term", "estimate", "unit"]].round(3)
            term  estimate        unit
        0      E      1.70  nats/token
        1      A    400.00  nats/token
        2      B    400.00  nats/token
        3  alpha      0.34           1
        4   beta      0.28           1
        >>> fit.summary[["status", "n_runs", "n_held_out"]].to_dict("records")
        [{'status': 'converged', 'n_runs': 24, 'n_held_out': 1}]
        >>> typed = isoloss.fit_law(runs, formula="loss = c + a * D**-b", where="N < 2e7")
        >>> {name: round(value, 2) for name, value in typed.values.items()}
        {'c': 3.37, 'a': 400.0, 'b': 0.28}
    """
    card, options, response = chosen_law(law, formula, options, response, runs)
    if loss_unit is None:
        loss_unit = runs.attrs.get("loss_unit", NATS) if response == RESPONSE else "1"
    settings = settings_of(
        card,
        options,
        fixed,
        tied,
        bounds,
        objective=objective,
        delta=delta,
        shared=shared,
        starts=starts,
        holdout=holdout,
        interval=interval,
        cluster=cluster or (OF_RUN if OF_RUN in runs else None),
        bootstrap=bootstrap,
        ci_level=ci_level,
        profiles=profiles,
        seed=seed,
        loss_unit=loss_unit,
        response=response,
        progress=progress,
    )
    return fit_by(runs, settings, where, group)


def solved(runs: pd.DataFrame, settings: Settings, where: str = "") -> Solved:
    """The fit of runs that are one group, without its tables: for very many fits.

    Args:
        runs: a `runs` table.
        settings: how the law is fitted.
        where: filter that selects runs.

    Returns:
        The runs fitted, the solution and its replicates.

    Raises:
        IsolossError: there are too few runs.
    """
    division = divided(selected(runs, where, "group", settings.place), settings, mixture=False)
    return next(_solved(division.runs, division.settings))


def fit_by(runs: pd.DataFrame, settings: Settings, where: str = "", group: str = "group") -> Fit:
    """The fit of runs by settings that are checked; see `fit_law`."""
    fit = _fit(selected(runs, where, group, settings.place), settings)
    asked = {**settings.asked, **({"where": where} if where else {})}
    return replace(fit, facts={**fit.facts, "asked": asked}) if asked else fit


def _fit(runs: pd.DataFrame, settings: Settings) -> Fit:
    """The fits of all groups and responses as one."""
    mixture = registry.of_mixtures(settings.card)
    division = divided(runs, settings, mixture)
    settings = division.settings
    pieces: dict[str, list[pd.DataFrame]] = {}
    first = division.runs[0]
    check_starts(settings.starts, len(first.law.terms))
    # made before anything is fitted, so that a column that is not there costs no time
    divisions = folds(first.usable, settings.holdout, settings.seed, first.law.variables)
    if settings.progress is not None:
        settings.progress.expect(len(division.runs) * (1 + len(divisions)))
    for solved in _solved(division.runs, settings):
        for name, table in tables_of(*solved, settings).items():
            pieces.setdefault(name, []).append(table)
        settings.step()
    joined = {name: pd.concat(parts, ignore_index=True) for name, parts in pieces.items()}
    joined |= {"best_mixture": tables.empty("best_mixture"), "points": division.usable}
    options = {**settings.options, **division.law.decided}
    facts = {"card": settings.card, "options": options, "loss_unit": settings.loss_unit}
    if not settings.of_loss:
        facts["response"] = settings.response
    if mixture:
        facts |= {"domains": list(division.law.variables), "not_fitted": division.not_fitted}
    return Fit(division.law, joined, facts)


def _solved(ready: Sequence[FittedRuns], settings: Settings) -> Iterator[Solved]:
    """Every fit with its solution and its replicates."""
    if settings.shared:
        yield from _solved_together(ready, settings)
        return
    for some in _side_by_side(ready, settings):
        samples = [(runs.data, runs.loss, runs.weight) for runs in some]
        fits = settings.solve_all([runs.law for runs in some], samples)
        draws = [
            drawn(runs, fit, settings, len(runs.loss)) for runs, fit in zip(some, fits, strict=True)
        ]
        yield from zip(some, fits, replicates_of(fits, draws), strict=True)


def _side_by_side(
    ready: Sequence[FittedRuns], settings: Settings
) -> Iterator[Sequence[FittedRuns]]:
    """Fits whose replicates are held at a time."""
    some: list[FittedRuns] = []
    held, law = 0, ready[0].law
    width, most = (len(law.variables), AT_A_TIME) if law.recipe else (2, SEARCHED)
    for runs in ready:
        size = len(runs.loss) * width * max(1, settings.bootstrap)
        if some and held + size > most:
            yield some
            some, held = [], 0
        some.append(runs)
        held += size
    yield some


def _solved_together(ready: Sequence[FittedRuns], settings: Settings) -> Iterator[Solved]:
    """The same where groups share parameters: all of them are one search."""
    law = ready[0].law
    wrong = shared_problems(law, settings.shared, settings.profiles, settings.holdout, "shared")
    if settings.interval == "bootstrap" and settings.bootstrap:
        counts = {runs.group: clusters_of(runs.fitted, settings)[1] for runs in ready}
        wrong += alone_problems(counts, str(settings.cluster), "cluster")
    if wrong:
        raise IsolossError(*wrong)
    groups = [(runs.data, runs.loss, runs.weight) for runs in ready]
    constraints, starts = settings.constraints, settings.starts
    whole = SharedOptimum(law, groups, settings.shared, settings.objective, constraints, starts)
    total = sum(len(runs.loss) for runs in ready)
    draws = [drawn(runs, fit, settings, total) for runs, fit in zip(ready, whole.fits, strict=True)]
    # of every group the same replicates
    blocks = [whole.replicates(*_beside(sides)) for sides in zip(*draws, strict=True)]
    for runs, fit, own in zip(ready, whole.fits, zip(*blocks, strict=True), strict=True):
        yield runs, fit, join_replicates(own)


def _beside(sides: Sequence[Draw]) -> Draw:
    """What was drawn for the runs of every group as one draw for those of all groups."""
    weights, losses = zip(*sides, strict=True)
    own = losses[0] is not None
    return np.concatenate(weights, axis=-1), np.concatenate(losses, axis=-1) if own else None
