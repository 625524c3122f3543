"""Fit a law to runs: the room's verb."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from isoloss.core import registry, tables
from isoloss.core.filters import LETTERS, evaluate
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.schema import complete_options
from isoloss.core.seeds import generator
from isoloss.fit import evidence, profile, resample
from isoloss.fit.holdout import Fold, folds, held_out, last_budgets
from isoloss.fit.mixture import domains_of, lacking, mixtures, own_domain, responses_of
from isoloss.fit.objectives import OBJECTIVES, Objective
from isoloss.fit.scores import scores
from isoloss.fit.solve import Constraints, Optimum, Recipe, together
from isoloss.fitted import OF_RUN, TABLES, Fit, band, normal_interval, quantiles
from isoloss.laws._law import Estimator, Law

RESPONSE = "loss_nats"
ALL = "ALL"  # the group of a mixture law that stands for all of them
# least and greatest value of the numbers that `fit_law` is given, as in config.schema.yaml
LIMITS = {
    "bootstrap": (0, 100_000),
    "seed": (0, 2**63 - 1),
    "ci_level": (0.01, 0.9999),
    "delta": (1e-9, 1e9),
}
LARGEST = 1e30  # value of a parameter that is fixed or bounded


@dataclass(frozen=True)
class Settings:
    """How a law is fitted; see `fit_law`."""

    objective: Objective
    constraints: Constraints
    holdout: Any
    bootstrap: int
    interval: str
    cluster: str | None
    level: float
    starts: Any
    seed: int
    profiles: bool


# matrices are small: threads of the linear algebra would only wait for each other
@threadpool_limits.wrap(limits=1)
def fit_law(
    runs: pd.DataFrame,
    law: str,
    options: Mapping[str, Any] | None = None,
    *,
    where: str = "",
    group: str = "group",
    objective: str | Callable[[np.ndarray], np.ndarray] = "huber_log",
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
) -> Fit:
    """Fit a law to the finished runs of a table, one fit a group (a domain, for mixture laws).

    Args:
        runs: a `runs` table; rows whose status is not `done` are counted and left out. With a
            column `of_run` the rows are points along runs (see `points.points`): those of a run
            are drawn together by the bootstrap and are on one side of a hold-out. Mixture
            laws read columns p_<domain>, prepared as `fit.mixture.mixtures` says (missing ones
            count 0, rounded ones are divided by their sum, runs with bad ones dropped), and fit
            every loss_<domain> that half of a group's runs or more have; what was not fitted is
            in `facts["not_fitted"]`. A fit of all runs stands beside those of several groups.
        law: law card.
        options: of the card.
        where: filter (docs/filters.md) that selects runs; the others are counted among the dropped.
        group: column; one fit for each of its values.
        objective: one of objectives.OBJECTIVES, summed over runs times their fit_weight; or a
            function of log residuals that gives the penalty of each.
        delta: of huber_log in log loss, of huber in loss.
        fixed: value of terms that are not fitted.
        tied: groups of terms that share one value, such as [["alpha", "beta"]].
        bounds: least and greatest value of terms, None for open.
        shared: terms that all groups have in common; the others are each group's own.
        starts: in the law's coordinates, (s, p); the law's own grid if None.
        holdout: see `holdout.folds`. Runs of `largest_compute` are not fitted; the other rules
            are scored beside a fit of all runs.
        interval: `bootstrap` over runs, `residual`, `parametric`, `profile` (parameters by
            profile likelihood, decisions by bootstrap), or `none`. Predicted losses of laws with
            a posterior SD have intervals of that in any case.
        cluster: column; runs alike in it are drawn together. Points along runs are by run.
        bootstrap: replicates, each a global refit.
        ci_level: of the intervals.
        profiles: whether to keep the objective along every term.
        seed: of the replicates and of random folds.

    Returns:
        The fit; `summary.status` says whether to believe it.

    Raises:
        IsolossError: too few runs for the law's terms, a name that is not known, or a number out
            of its range.

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
    """
    card = registry.card("law", law)
    chosen = {**registry.defaults("law", law), **(options or {})}
    known, place = registry.options("law", law), f"options of {law}"
    wrong = complete_options(chosen, known, place, fill=False) if options else []
    if not callable(objective) and objective not in OBJECTIVES:
        wrong.append(Problem("objective", f"unknown {objective!r}", nearest(objective, OBJECTIVES)))
    if interval not in resample.INTERVALS:
        near = nearest(interval, resample.INTERVALS)
        wrong.append(Problem("interval", f"unknown {interval!r}", near))
    given = {"bootstrap": bootstrap, "seed": seed, "ci_level": ci_level, "delta": delta}
    wrong += [line for name, value in given.items() for line in _out_of_range(name, value)]
    wrong += _too_large(fixed or {}, bounds or {})
    if wrong:
        raise IsolossError(*wrong)
    settings = Settings(
        objective=Objective("callable", delta, objective)
        if callable(objective)
        else Objective(objective, delta),
        constraints=Constraints(fixed or {}, tied, bounds or {}),
        holdout=holdout,
        bootstrap=0 if interval == "none" else bootstrap,
        interval=interval,
        cluster=cluster or (OF_RUN if OF_RUN in runs else None),
        level=ci_level,
        starts=starts,
        seed=seed,
        profiles=profiles or interval == "profile",
    )
    if where:
        out = ~evaluate(runs, where, f"law {law}, where") & (runs["status"] == "done")
        runs = runs.assign(status=runs["status"].mask(out, "dropped"))
    if group not in runs:
        raise IsolossError(
            Problem(f"law {law}, group", f"no column {group!r}", nearest(group, runs))
        )
    runs = runs.assign(group=runs[group].astype(str))
    mixture = getattr(card, "NEEDS", None) == "mixture"
    runs = mixtures(runs, f"law {law}") if mixture else runs
    pieces: dict[str, list[pd.DataFrame]] = {}
    made, left = None, []
    if settings.cluster and interval in ("residual", "parametric"):
        found = f"runs alike in {settings.cluster} share noise; {interval} draws one by one"
        raise IsolossError(Problem(f"law {law}, interval", found, "use bootstrap or profile"))
    if not ((runs["status"] == "done") & (runs["fit_weight"] > 0)).any():
        raise too_few(f"law {law}", 0, 1 if mixture else len(card.make(**chosen).terms))
    ready: list[_Runs] = []
    for name, mine in _groups(runs, mixture):
        for response, one in _laws(card, law, chosen, mine, mixture):
            made = one
            if mixture and (reason := lacking(mine, response, _need(one) - len(fixed or {}))):
                left.append(f"{response} of group {name}: {reason}")
                continue
            ready.append(_ready(one, name, mine, response, settings, law))
    for one, found, replicates in _solved(ready, shared, settings, law):
        for name, table in _tables(one, found, *replicates, settings, law).items():
            pieces.setdefault(name, []).append(table)
    if not pieces:
        do = "name the losses loss_<domain>, such as loss_web, or add runs"
        raise IsolossError(Problem(f"law {law}", "; ".join(left) or "no column of losses", do))
    joined = {name: pd.concat(parts, ignore_index=True) for name, parts in pieces.items()}
    usable = (runs["status"] == "done") & (runs["fit_weight"] > 0)
    joined["points"] = runs[usable].reset_index(drop=True)
    facts = {"card": law, "options": chosen}
    if mixture:
        facts |= {"domains": list(made.variables), "not_fitted": left}
    return Fit(made, joined, facts)


def _out_of_range(name: str, value: Any) -> list[Problem]:
    """What is wrong with a number that has limits."""
    low, high = LIMITS[name]
    whole = isinstance(low, int)
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool | np.bool) or not isinstance(value, kind):
        needed = f"needs {'an integer' if whole else 'a number'}, {low} to {high}"
        return [Problem(name, f"found {value!r:.60}", needed)]
    if not low <= value <= high:
        long = whole and int(value).bit_length() > 1023
        shown = "a number of very many digits" if long else f"{value:.6g}"
        return [Problem(name, f"found {shown}", f"needs {low} to {high}")]
    return []


def _too_large(fixed: Mapping[str, Any], bounds: Mapping[str, Any]) -> list[Problem]:
    """Values and bounds of parameters that are not numbers, or beyond what can be computed."""
    given = {f"fixed {name}": [value] for name, value in fixed.items()}
    given |= {f"bounds {name}": [v for v in pair if v is not None] for name, pair in bounds.items()}
    return [
        Problem(place, f"found {value!r:.60}", f"needs a number, -{LARGEST:g} to {LARGEST:g}")
        for place, values in given.items()
        for value in values
        if not (isinstance(value, numbers.Real) and abs(value) <= LARGEST)
    ]


def variables(runs: pd.DataFrame, names: Sequence[str] = ("N", "D", "C")) -> dict[str, np.ndarray]:
    """Variables of every run by a law's names for them, each (n,)."""
    return {name: runs[LETTERS.get(name, name)].to_numpy(float) for name in names}


def _groups(runs: pd.DataFrame, mixture: bool):
    """Groups with a finished run; beside several of a mixture law, one of all runs."""
    finished = runs.loc[(runs["status"] == "done") & (runs["fit_weight"] > 0), "group"]
    for group, mine in runs[runs["group"].isin(set(finished))].groupby("group", sort=True):
        yield str(group), mine
    if mixture and finished.nunique() > 1 and ALL not in set(finished):
        yield ALL, runs


def _laws(card, name: str, options: Mapping[str, Any], runs: pd.DataFrame, mixture: bool):
    """Responses with the law of each."""
    if not mixture:
        yield RESPONSE, card.make(**options)
        return
    domains = domains_of(runs)
    for response in responses_of(runs):
        own = own_domain(response, domains)
        yield response, card.make(domains=domains, own=own, **options)


def _need(law: Law) -> int:
    """Runs that a law needs."""
    return law.least if isinstance(law, Estimator) else len(law.terms)


def _usable(law: Law, runs: pd.DataFrame, response: str) -> pd.DataFrame:
    """Finished runs whose loss and variables are numbers that the law can use."""
    done = runs[(runs["status"] == "done") & (runs["fit_weight"] > 0)]
    columns = [LETTERS.get(v, v) for v in law.variables]
    missing = [c for c in columns if c not in done]
    if missing:
        known = ", ".join(str(c) for c in done)
        raise IsolossError(Problem(f"variable {missing[0]}", "no such column", f"columns: {known}"))
    empty = [v for v, c in zip(law.variables, columns, strict=True) if done[c].isna().all()]
    if empty and len(done):
        do = f"give the table a column for it: the law is {law.formula}"
        raise IsolossError(Problem(f"variable {empty[0]}", "no run has a value", do))
    values = done[[response, *columns]].astype(float)
    sound = np.isfinite(values).all(axis=1) & (values[response] > 0)
    if not law.flat:
        sound &= (values[columns] > 0).all(axis=1)
    return done[sound].reset_index(drop=True)


@dataclass(frozen=True)
class _Runs:
    """The runs of one fit: all that are usable, and of those fitted what the search needs."""

    law: Law
    group: str
    response: str
    given: int
    done: pd.DataFrame
    out: np.ndarray
    fitted: pd.DataFrame
    data: dict[str, np.ndarray]
    loss: np.ndarray
    weight: np.ndarray


def _ready(
    law: Law, group: str, runs: pd.DataFrame, response: str, settings: Settings, card: str
) -> _Runs:
    done = _usable(law, runs, response)
    place = f"law {card}" + ("" if group == "all" else f", group {group}")
    need = _need(law) - sum(settings.constraints.hold(law))
    if len(done) < need:
        raise too_few(place, len(done), need)
    out = held_out(done, settings.holdout)
    fitted = done[~out].reset_index(drop=True)
    if len(fitted) < need:
        raise too_few(f"{place}, after the hold-out", len(fitted), need)
    data, loss = variables(fitted, law.variables), fitted[response].to_numpy(float)
    weight = fitted["fit_weight"].to_numpy(float)
    return _Runs(law, group, response, len(runs), done, out, fitted, data, loss, weight)


def _solved(ready: Sequence[_Runs], shared: Sequence[str], settings: Settings, card: str):
    """Every fit with its optimum and its replicates (thetas, and which converged)."""
    if not shared:
        for runs in ready:
            found = _solve(runs.law, runs.data, runs.loss, runs.weight, settings)
            drawn = _draws(runs, found, settings, len(runs.loss))
            yield runs, found, _joined([found.replicates(*block) for block in drawn])
        return
    law = ready[0].law
    names = tuple(term.name for term in law.terms)
    wrong = [Problem(f"shared {n}", "no such parameter", nearest(n, names)) for n in shared]
    wrong = [said for said, name in zip(wrong, shared, strict=True) if name not in names]
    if isinstance(law, Estimator):
        wrong.append(Problem(f"shared, law {card}", "it has a recipe of its own", "leave it out"))
    if settings.profiles or settings.holdout not in (None, "none", "largest_compute"):
        do = "use interval bootstrap, and the hold-out largest_compute"
        wrong.append(Problem("shared", "neither profiles nor folds are made of it", do))
    if wrong:
        raise IsolossError(*wrong)
    parts = [(runs.data, runs.loss, runs.weight) for runs in ready]
    faces = together(law, parts, shared, settings.objective, settings.constraints, settings.starts)
    total = sum(len(runs.loss) for runs in ready)
    drawn = [_draws(*one, settings, total) for one in zip(ready, faces, strict=True)]
    blocks = []
    for sides in zip(*drawn, strict=True):  # of every group, the same replicates
        weights = np.concatenate([weight for weight, _ in sides], axis=-1)
        losses = [loss for _, loss in sides]
        joined = None if losses[0] is None else np.concatenate(losses, axis=-1)
        blocks.append(faces[0].joint_replicates(weights, joined))
    every, sound = _joined(blocks)
    for runs, face in zip(ready, faces, strict=True):
        yield runs, face, (every[:, face.position], sound)


def _tables(
    runs: _Runs, found, thetas: np.ndarray, sound: np.ndarray, settings: Settings, card: str
) -> dict[str, pd.DataFrame]:
    """All tables of one fit."""
    law, group, response = runs.law, runs.group, runs.response
    done, out, fitted = runs.done, runs.out, runs.fitted
    data, loss = runs.data, runs.loss
    kept = thetas[sound]

    everything = variables(done, law.variables)
    observed, predicted = done[response].to_numpy(float), law.loss(found.theta, everything)
    bands = _bands(
        law, found.theta, kept, everything, loss, law.loss(found.theta, data), settings, group
    )
    along, (clusters, number) = profile.empty(), _clusters(fitted, settings)
    if settings.profiles and isinstance(found, Optimum) and number != 1:
        along = profile.profiles(found, clusters, settings.level)
    params = _params(found, law, kept, along, settings)
    held = settings.constraints.hold(law)
    known = evidence.conditioning(law, found.theta, data, held)
    free_terms = known.free if isinstance(found, Optimum) else []
    inner = scores(observed[~out], predicted[~out])
    n, free = len(fitted), held.count(False)
    summary: dict[str, Any] = {
        "card": card,
        "formula": law.formula,
        "n_runs": n,
        "n_held_out": int(out.sum()),
        "n_dropped": runs.given - len(done),
        "objective": str(settings.objective),
        "objective_value": np.nan,
        "gradient_norm": 0.0,
        "n_starts": 0,
        "n_agree": 0,
        "n_starts_converged": 0,
        "n_unmoved": 0,
        "second_objective_gap": np.nan,
        "condition": known.number,
        "loosest": known.loosest,
        "n_replicates": len(thetas),
        "n_replicates_converged": int(sound.sum()),
        "rmse": inner["rmse"],
        "r2": inner["r2"],
        "aicc": aicc(np.log(observed[~out] / predicted[~out]), free),
        "seed_sd": seed_sd(done, response),
        "held_out_rmse": np.nan,
        "held_out_baseline_rmse": np.nan,
        "held_out_coverage": np.nan,
    }
    if isinstance(found, Optimum):
        summary |= {"objective_value": found.objective_value, **evidence.facts(found)}
        converged = bool(found.converged[0])
    else:
        summary["objective"] = law.recipe
        converged = bool(np.isfinite(found.theta).all())
    if out.any():
        last = observed[~out][last_budgets(fitted)].mean()
        unseen = scores(observed[out], predicted[out], *(tuple(b[:, out] for b in bands)))
        summary["held_out_rmse"] = unseen["rmse"]
        summary["held_out_baseline_rmse"] = float(np.sqrt(np.mean((observed[out] - last) ** 2)))
        summary["held_out_coverage"] = unseen["coverage"]
    asked = settings.interval if settings.bootstrap or settings.interval == "profile" else "none"
    said = evidence.doubts(asked, settings.objective, n, number)
    said = [] if law.flat and number != 1 else said  # simulations were of other laws
    summary["status"], summary["message"] = evidence.verdict(
        converged, free_terms, params, summary, said
    )
    tables = {
        "params": params,
        "summary": pd.DataFrame([summary]),
        "residuals": pd.DataFrame(
            {
                "run_id": done["run_id"],
                "loss_nats": observed,
                "predicted": predicted,
                "residual": observed - predicted,
                "held_out": out,
            }
        ),
        "starts": _starts(found),
        "replicates": pd.DataFrame(
            {"replicate": np.arange(len(thetas)), "theta": list(thetas), "converged": sound}
        ),
        "scores": _scores(law, done, observed, predicted, bands, settings, response),
        "profiles": along,
        "ranges": _ranges(law, data),
    }
    assert {*tables, "points"} == set(TABLES)
    return {k: t.assign(group=group, response=response) for k, t in tables.items()}


def _solve(law: Law, data, loss, weight, settings: Settings) -> Optimum | Recipe:
    if isinstance(law, Estimator):
        return Recipe(law, data, loss, weight)
    return Optimum(
        law, data, loss, weight, settings.objective, settings.constraints, settings.starts
    )


def _joined(blocks: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Replicates of several blocks: thetas (r, p), and which converged, bool (r,)."""
    thetas, sound = zip(*blocks, strict=True)
    return np.concatenate(thetas), np.concatenate(sound)


def _draws(runs: _Runs, found, settings: Settings, together: int) -> Iterator[tuple]:
    """Weights of the runs (r, n), and losses (r, n) where replicates have their own, by block.

    Args:
        runs: of the fit.
        found: its optimum.
        settings: of all fits.
        together: runs that are refitted at once, of all groups that share parameters.
    """
    count, law = settings.bootstrap, runs.law
    rng = generator(settings.seed, "bootstrap", runs.group)
    if settings.interval in ("residual", "parametric"):
        predicted, logarithmic = law.loss(found.theta, runs.data), settings.objective.logarithmic
        noise = predicted, runs.loss, logarithmic, len(law.terms)
        for size in resample.blocks(count, together):
            drawn = resample.losses(settings.interval, *noise, size, rng)
            yield np.broadcast_to(runs.weight, drawn.shape), drawn
        return
    clusters, number = _clusters(runs.fitted, settings)
    if number == 1:
        count = 0  # whatever is drawn is the same
    for size in resample.blocks(count, together):
        yield resample.weights(runs.weight, clusters, size, rng), None


def _clusters(fitted: pd.DataFrame, settings: Settings) -> tuple[np.ndarray, int | None]:
    """The cluster of every run, and how many there are; None where runs are drawn one by one."""
    clusters = resample.clusters_of(fitted, settings.cluster)
    return clusters, None if settings.cluster is None else int(clusters.max()) + 1


def _bands(law, theta, thetas, data, loss, predicted, settings: Settings, group: str):
    """Intervals at every run: of the law, and of a new run with the noise of the fitted ones."""
    level, best = settings.level, law.loss(theta, data)
    mine = np.stack(band(law, theta, thetas, data, level))
    run_sd = law.posterior_sd(theta, data, noise=True)
    if run_sd.any():
        return mine, np.stack(normal_interval(best, run_sd, level))
    if not len(thetas):
        return mine, np.full_like(mine, np.nan)
    rng = generator(settings.seed, "noise", group)
    spread = np.sqrt(len(loss) / max(1, len(loss) - len(law.terms)))
    size, pieces = max(1, resample.NUMBERS // len(thetas)), []
    for at in range(0, len(best), size):
        many = law.loss(thetas, {k: v[at : at + size] for k, v in data.items()})
        noise = rng.choice(np.log(loss / predicted), size=many.shape) * spread
        pieces.append(np.stack(quantiles(many * np.exp(noise), level)))
    return mine, np.concatenate(pieces, axis=-1)


def _params(found, law: Law, thetas, along: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    bounded = found.at_bound() if isinstance(found, Optimum) else [False] * len(law.terms)
    rows = []
    for i, term in enumerate(law.terms):
        values = term.value(thetas[:, i])
        low, high = quantiles(values, settings.level, float(term.value(found.theta[i])))
        method = _METHODS[settings.interval] if len(values) else "none"
        if settings.interval == "profile" and term.name in set(along["term"]):
            low, high = profile.crossing(along[along["term"] == term.name])
            method = _METHODS["profile"]
        elif settings.interval == "profile" and len(values):
            method = _METHODS["bootstrap"]
        if term.name in settings.constraints.fixed:
            method = "fixed"
        elif settings.cluster and method == _METHODS["bootstrap"]:
            method = f"bootstrap over {settings.cluster}, bias-corrected percentile"
        elif settings.cluster and method == _METHODS["profile"]:
            method = f"profile likelihood by {settings.cluster}"
        rows.append(
            {
                "term": term.name,
                "symbol": term.symbol,
                "unit": term.unit,
                "estimate": float(term.value(found.theta[i])),
                "std_error": values.std(ddof=1) if len(values) > 1 else np.nan,
                "ci_low": float(low),
                "ci_high": float(high),
                "ci_level": settings.level,
                "ci_method": method,
                "at_bound": bounded[i],
            }
        )
    return pd.DataFrame(rows)


_METHODS = {
    "bootstrap": "bootstrap over runs, bias-corrected percentile",
    "residual": "residual bootstrap, bias-corrected percentile",
    "parametric": "parametric bootstrap, bias-corrected percentile",
    "profile": "profile likelihood",
    "none": "none",
}


def _starts(found) -> pd.DataFrame:
    if isinstance(found, Recipe):  # no descent: its one end is what it found
        state = "converged" if np.isfinite(found.theta).all() else "not_converged"
        one = {"start": 0, "objective_value": np.nan, "gradient_norm": np.nan, "status": state}
        return pd.DataFrame([{**one, "begin": found.theta, "end": found.theta}])
    ends, unit = found.ends, found.objective.unit(found.size)
    return pd.DataFrame(
        {
            "start": range(len(ends.objective)),
            "begin": list(found.outer(found.begin)),
            "end": list(found.outer(ends.free)),
            "objective_value": ends.objective * unit,
            "gradient_norm": ends.gradient,
            "status": np.where(found.converged, "converged", "not_converged"),
        }
    )


def _scores(law, runs, observed, predicted, bands, settings: Settings, response) -> pd.DataFrame:
    """One row a fold: a fit of its own for each, of the runs that it may see."""
    rows = []
    law_band, run_band = bands
    for fold in folds(runs, settings.holdout, settings.seed):
        row = {
            "fold": fold.name,
            "n_fitted": int(fold.seen.sum()),
            "n_held_out": int(fold.out.sum()),
        }
        if fold.name == "largest_compute":
            at = fold.out
            found = scores(
                observed[at], predicted[at], tuple(law_band[:, at]), tuple(run_band[:, at])
            )
        else:
            found = _score(law, runs, observed, fold, settings)
        rows.append(row | found)
    columns = ["fold", "n_fitted", "n_held_out", *scores(np.empty(0), np.empty(0))]
    return pd.DataFrame(rows, columns=columns)


def _score(law: Law, runs, observed, fold: Fold, settings: Settings) -> dict[str, float]:
    seen = runs[fold.seen].reset_index(drop=True)
    need = _need(law)
    if len(seen) < need:
        return scores(np.empty(0), np.empty(0))
    weight = seen["fit_weight"].to_numpy(float)
    data = variables(seen, law.variables)
    theta = _solve(law, data, observed[fold.seen], weight, settings).theta
    there = variables(runs[fold.out], law.variables)
    return scores(observed[fold.out], law.loss(theta, there))


def _ranges(law: Law, data) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "variable": list(law.variables),
            "low": [float(data[v].min()) for v in law.variables],
            "high": [float(data[v].max()) for v in law.variables],
        }
    )


def aicc(log_residuals: np.ndarray, terms: int) -> float:
    """Corrected Akaike criterion of normal log residuals (Hurvich and Tsai 1989).

    The spread counts as a term. NaN where there are too few runs, or nothing is left over.
    """
    n, k = len(log_residuals), terms + 1
    left = float(log_residuals @ log_residuals)
    if n - k - 1 <= 0 or not left > 0:
        return float("nan")
    return n * np.log(left / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def seed_sd(runs: pd.DataFrame, response: str = RESPONSE) -> float:
    """SD of the loss over seeds, pooled over cells that were run with several; else NaN."""
    if runs["seed"].nunique() < 2:
        return float("nan")
    cells = runs.groupby(tables.cell_columns(runs), dropna=False)[response]
    degrees = len(runs) - cells.ngroups
    squares = ((runs[response] - cells.transform("mean")) ** 2).sum()
    return float(np.sqrt(squares / degrees)) if degrees else float("nan")


def too_few(place: str, found: int, need: int) -> IsolossError:
    """The error for a law with fewer runs than terms."""
    return IsolossError(
        Problem(place, f"{found} runs for {need} parameters", "add runs, or fit a smaller law")
    )
