"""The tables of one fit: parameters with intervals, what it is worth, residuals, replicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from isoloss.checks import run as checks
from isoloss.checks import thresholds
from isoloss.checks.bends import told, unseen
from isoloss.checks.evidence import Evidence
from isoloss.checks.thresholds import Threshold
from isoloss.core.seeds import generator
from isoloss.core.units import NATS
from isoloss.fit import evidence, profile, resample
from isoloss.fit.holdout import Fold, cell_columns, folds, last_runs
from isoloss.fit.prepare import FittedRuns, variables
from isoloss.fit.replicate import clusters_of
from isoloss.fit.scores import scores
from isoloss.fit.settings import Settings
from isoloss.fit.solution import Replicates, Solution
from isoloss.fitted import TABLES, Interval, band, normal_interval, quantiles
from isoloss.fitted.errors import errors_of
from isoloss.fitted.facts import FIXED
from isoloss.fitted.names import FORMULA, RESPONSE
from isoloss.laws._formula_limits import Unseen
from isoloss.laws._law import Estimate, Law, Term

_METHODS = {
    "bootstrap": "bootstrap over runs, bias-corrected percentile",
    "residual": "residual bootstrap, bias-corrected percentile",
    "parametric": "parametric bootstrap, bias-corrected percentile",
    "profile": "profile likelihood",
    "none": "none",
}


@dataclass(frozen=True)
class Predictions:
    """What a fit predicts for every run that it could use, (m,) each, in the unit of the loss.

    Attributes:
        observed: losses.
        predicted: by the law.
        band: interval of the law, low and high.
        run_band: of a new run, noise and all.
        additive: whether errors are differences whatever the sign is (`Law.additive`).
    """

    observed: np.ndarray
    predicted: np.ndarray
    band: Interval
    run_band: Interval
    additive: bool

    def scores(self, which: np.ndarray) -> dict[str, float]:
        """Scores of some of the runs, with the shares that the intervals hold."""
        bands = (tuple(side[which] for side in interval) for interval in (self.band, self.run_band))
        observed, predicted = self.observed[which], self.predicted[which]
        return scores(observed, predicted, *bands, additive=self.additive)


def tables_of(
    runs: FittedRuns, solution: Solution, replicates: Replicates, settings: Settings
) -> dict[str, pd.DataFrame]:
    """All tables of one fit, but those of all fits together (`best_mixture`, `points`)."""
    predictions = _predictions(runs, solution, replicates.kept, settings)
    along, (clusters, number) = profile.empty(), clusters_of(runs.fitted, settings)
    if settings.profiles and number != 1:
        along = solution.profiles(clusters, settings.level)
    known, bends = _conditioning(runs, solution, settings), _bends(runs, solution, settings)
    free = solution.undetermined(known.free)
    params = params_of(solution, replicates.kept.theta, along, settings)
    params = _between_runs(params, known.thresholds).assign(free=params["term"].isin(free))
    untested = _doubts(runs, settings, number)
    summary = _summary(runs, solution, replicates, predictions, params, settings, untested, known)
    _add_notes(summary, [*_overruled(runs.law, settings), *map(told, bends)])
    doubts = checks.findings(
        Evidence(
            law=solution.law.given(solution.estimate.state),
            theta=solution.estimate.theta,
            runs=runs.fitted,
            data=runs.data,
            loss=runs.loss,
            predicted=predictions.predicted[~runs.out],
            lost=runs.lost,
            params=params,
            summary=summary,
            clusters=number,
            untested=untested,
            doubts=solution.law.doubts(solution.estimate),
            lower=settings.objective.name == "asymmetric_mae",
            quantity=settings.response,
            replicates=replicates.kept.theta,
            known=known.known,
            in_the_form=known.in_the_form,
            thresholds=known.thresholds,
            bends=bends,
        )
    )
    summary["verdict"] = checks.verdict(one.grade for one in doubts)
    summary["reasons"] = checks.reasons(doubts)
    fold_scores, unseen = _folds(runs, solution, predictions, settings)
    fit_tables = {
        "params": params,
        "summary": pd.DataFrame([summary]),
        "findings": checks.table(doubts),
        "residuals": _residuals(runs, predictions, unseen),
        "starts": solution.starts(),
        "replicates": _replicates(runs.law, replicates),
        "scores": fold_scores,
        "profiles": along,
        "ranges": _ranges(runs.law, runs.data),
    }
    assert {*fit_tables, "best_mixture", "points"} == set(TABLES)
    return {
        name: table.assign(group=runs.group, response=runs.response)
        for name, table in fit_tables.items()
    }


def _residuals(runs: FittedRuns, predictions: Predictions, unseen: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run_id": runs.usable["run_id"],
            "loss": predictions.observed,
            "predicted": predictions.predicted,
            "residual": predictions.observed - predictions.predicted,
            "held_out": runs.out,
            "predicted_unseen": unseen,
        }
    )


def _replicates(law: Law, replicates: Replicates) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "replicate": np.arange(len(replicates)),
            "theta": list(law.to_numbers(replicates.estimates)),
            "converged": replicates.converged,
        }
    )


def _predictions(
    runs: FittedRuns, solution: Solution, kept: Estimate, settings: Settings
) -> Predictions:
    """What the fit predicts, with intervals."""
    law, best = runs.law, solution.estimate
    everything = variables(runs.usable, law.variables)
    return Predictions(
        runs.usable[runs.response].to_numpy(float),
        law.within(law.given(best.state).loss(best.theta, everything)),
        band(law, best, kept, everything, settings.level),
        _run_band(runs, solution, kept, everything, settings),
        law.additive,
    )


def _run_band(
    runs: FittedRuns, solution: Solution, kept: Estimate, data, settings: Settings
) -> Interval:
    """Interval of a new run at points: of the law, with the noise of the runs fitted.

    Noise multiplies what the law predicts, or is added where errors are differences (`Errors`).
    """
    best, level = solution.estimate, settings.level
    law, drawn = runs.law.given(best.state), runs.law.given(kept.state)
    middle, run_sd = law.loss(best.theta, data), law.posterior_sd(best.theta, data, noise=True)
    if run_sd.any():
        return tuple(law.within(end) for end in normal_interval(middle, run_sd, level))
    if not len(kept):
        return np.full_like(middle, np.nan), np.full_like(middle, np.nan)
    rng, n = generator(settings.seed, "noise", runs.group), len(runs.loss)
    spread = np.sqrt(n / max(1, n - len(law.terms)))
    predicted = law.loss(best.theta, runs.data)
    errors = errors_of(runs.loss, predicted, law.additive)
    residuals = errors.of(runs.loss, predicted)
    size, pieces = max(1, resample.NUMBERS // len(kept)), []
    for at in range(0, len(middle), size):
        many = drawn.loss(kept.theta, {k: v[at : at + size] for k, v in data.items()})
        noise = rng.choice(residuals, size=many.shape) * spread
        pieces.append(np.stack(quantiles(errors.added(many, noise), level)))
    low, high = law.within(np.concatenate(pieces, axis=-1))
    return low, high


def _summary(
    runs: FittedRuns,
    solution: Solution,
    replicates: Replicates,
    predictions: Predictions,
    params: pd.DataFrame,
    settings: Settings,
    untested: Sequence[str],
    known: evidence.Conditioning,
) -> dict[str, Any]:
    """The row of `summary`: the search, the fit's errors, and whether it is an optimum."""
    law, best, held = runs.law, solution.estimate, settings.constraints.hold(runs.law)
    observed, predicted = predictions.observed[~runs.out], predictions.predicted[~runs.out]
    errors = errors_of(observed, predicted, law.additive)
    inside = scores(observed, predicted)
    summary: dict[str, Any] = {
        "card": settings.card,
        "formula": law.formula,
        "n_runs": len(runs.fitted),
        "n_held_out": int(runs.out.sum()),
        "n_dropped": runs.given - len(runs.usable),
        "objective": solution.minimised,
        **{"objective_value": np.nan, "gradient_norm": 0.0, "n_starts": 0, "n_agree": 0},
        **{"n_starts_converged": 0, "n_unmoved": 0, "second_objective_gap": np.nan},
        **solution.search(),
        "condition": known.number,
        "loosest": known.loosest,
        "n_replicates": len(replicates),
        "n_replicates_converged": int(replicates.converged.sum()),
        "rmse": inside["rmse"],
        "r2": inside["r2"],
        "aicc": aicc(errors.of(observed, predicted), held.count(False)),
        "seed_sd": seed_sd(runs.usable, runs.response, law.variables),
        **_held_out(runs, predictions, settings),
    }
    remarks = [*(doubt.found for doubt in law.doubts(best)), *untested]
    judged = params[~params["term"].isin(law.secondary)]
    free = list(params.loc[params["free"], "term"])
    notes = thresholds.told(known.thresholds)
    status, message = evidence.verdict(
        solution.sound, free, judged, summary, remarks, known.known, notes
    )
    return summary | {"status": status, "message": message}


def _conditioning(
    runs: FittedRuns, solution: Solution, settings: Settings
) -> evidence.Conditioning:
    """How well the runs tell the parameters apart."""
    law, best, held = runs.law, solution.estimate, settings.constraints.hold(runs.law)
    return evidence.conditioning(law.given(best.state), best.theta, runs.data, held)


def _bends(runs: FittedRuns, solution: Solution, settings: Settings) -> list[Unseen]:
    """The bends of a typed formula that the runs do not show."""
    law, best = runs.law, solution.estimate
    if settings.card != FORMULA:
        return []
    predicted = law.loss(best.theta, runs.data)
    errors = errors_of(runs.loss, predicted, law.additive)
    held = [t.name for t, one in zip(law.terms, settings.constraints.hold(law), strict=True) if one]
    residuals = errors.of(runs.loss, predicted)
    return unseen(law, best.theta, runs.data, errors, residuals, held)


def _overruled(law: Law, settings: Settings) -> list[str]:
    """Limits in a typed formula in whose place there are bounds of the fit, in words."""
    if settings.card != FORMULA:
        return []
    pairs = [
        (n, settings.constraints.bounds[n], law.limits[n])
        for n in law.limits
        if n in settings.constraints.bounds
    ]
    return [
        f"bounds of {name} ({_range(own)}) take the place of its limit in the formula "
        f"({_range(typed)})"
        for name, own, typed in pairs
        if tuple(own) != tuple(typed)
    ]


def _range(ends: Sequence[float | None]) -> str:
    return " to ".join("open" if end is None else f"{end:g}" for end in ends)


def _add_notes(summary: dict[str, Any], notes: Sequence[str]) -> None:
    """Add to a message what is good to know."""
    summary["message"] = "; ".join([summary["message"], *notes])


def _held_out(runs: FittedRuns, predictions: Predictions, settings: Settings) -> dict[str, float]:
    """Errors on the runs held out, beside those of the mean of the last runs fitted; or NaN."""
    out = runs.out
    if not out.any():
        names = ("held_out_rmse", "held_out_baseline_rmse", "held_out_coverage")
        return dict.fromkeys(names, np.nan)
    last = predictions.observed[~out][last_runs(runs.fitted, settings.holdout)].mean()
    unseen = predictions.scores(out)
    return {
        "held_out_rmse": unseen["rmse"],
        "held_out_baseline_rmse": float(np.sqrt(np.mean((predictions.observed[out] - last) ** 2))),
        "held_out_coverage": unseen["coverage"],
    }


def _doubts(runs: FittedRuns, settings: Settings, clusters: int | None) -> list[str]:
    """Where the intervals are not to be believed."""
    asked = settings.interval if settings.bootstrap or settings.interval == "profile" else "none"
    if runs.law.proportions and clusters != 1:
        return []  # simulations were of other laws
    return evidence.doubts(asked, settings.objective, len(runs.fitted), clusters)


def params_of(
    solution: Solution, thetas: np.ndarray, along: pd.DataFrame, settings: Settings
) -> pd.DataFrame:
    """The parameters with their intervals: rows of the table `params`.

    Args:
        solution: the fit.
        thetas: of the replicates that converged, (r, p).
        along: its profiles, or none.
        settings: what intervals are asked for.
    """
    bounded = solution.at_bound()
    rows = []
    for i, term in enumerate(solution.law.terms):
        values, estimate = term.value(thetas[:, i]), float(term.value(solution.estimate.theta[i]))
        if term.name in settings.constraints.fixed:  # as it was given: no rounding, no spread
            estimate = float(settings.constraints.fixed[term.name])
            values = np.full_like(values, estimate)
        own_profile = along[along["term"] == term.name]
        if settings.interval == "profile" and len(own_profile):
            low, high = profile.crossing(own_profile)
        else:
            low, high = quantiles(values, settings.level, estimate)
        rows.append(
            {
                "term": term.name,
                "symbol": term.symbol,
                "unit": term.unit.replace(NATS, settings.loss_unit),
                "estimate": estimate,
                "std_error": _std_error(values),
                "ci_low": float(low),
                "ci_high": float(high),
                "ci_level": settings.level,
                "ci_method": _method(term, len(values), len(own_profile), settings),
                "at_bound": bounded[i],
            }
        )
    return pd.DataFrame(rows)


def _between_runs(params: pd.DataFrame, known: Sequence[Threshold]) -> pd.DataFrame:
    """Parameters whose intervals have all of what leaves every prediction as it is.

    A threshold between two runs is not moved by a refit of them: the interval of replicates has no
    width, and reaches at least from the one run to the other here.
    """
    params = params.copy()
    for one in known:
        row = params["term"] == one.term
        if one.between and params.loc[row, "ci_low"].notna().all():
            params.loc[row, "ci_low"] = params.loc[row, "ci_low"].clip(upper=one.low)
            params.loc[row, "ci_high"] = params.loc[row, "ci_high"].clip(lower=one.high)
            params.loc[row, "std_error"] = np.nan
    return params


def _std_error(values: np.ndarray) -> float:
    """Standard deviation of replicates: 0 without rounding where all are alike, NaN of one."""
    if len(values) < 2:
        return float("nan")
    return float(values.std(ddof=1)) if np.ptp(values) else 0.0


def _method(term: Term, replicates: int, profiled: int, settings: Settings) -> str:
    """How the interval of a parameter was made, in words."""
    if term.name in settings.constraints.fixed:
        return FIXED
    method = settings.interval if replicates else "none"
    if settings.interval == "profile":
        method = "profile" if profiled else "bootstrap" if replicates else "none"
    if settings.cluster and method == "bootstrap":
        return f"bootstrap over {settings.cluster}, bias-corrected percentile"
    if settings.cluster and method == "profile":
        return f"profile likelihood by {settings.cluster}"
    return _METHODS[method]


def _folds(
    runs: FittedRuns, solution: Solution, predictions: Predictions, settings: Settings
) -> tuple[pd.DataFrame, np.ndarray]:
    """One row a fold, with a fit of its own of the runs that it may see, and what they predict.

    Returns:
        The scores, and the mean prediction of every run by the folds that held it out, (m,); NaN
        of runs that none did.
    """
    rows, unseen = [], []
    divisions = folds(runs.usable, settings.holdout, settings.seed, runs.law.variables)
    predicted = _predicted_unseen(runs, solution, predictions, divisions, settings)
    for fold, there in zip(divisions, predicted, strict=True):
        size = {"n_fitted": int(fold.seen.sum()), "n_held_out": int(fold.out.sum())}
        if fold.of_fit:
            errors = predictions.scores(fold.out)
        else:
            errors = scores(predictions.observed[fold.out], there, additive=runs.law.additive)
        rows.append({"fold": fold.name, **size, **errors})
        unseen.append(np.full(len(fold.out), np.nan))
        unseen[-1][fold.out] = there
        settings.step()
    columns = ["fold", "n_fitted", "n_held_out", *scores(np.empty(0), np.empty(0))]
    count = np.isfinite(unseen).sum(axis=0) if unseen else 0
    with np.errstate(invalid="ignore"):
        mean = np.nansum(unseen, axis=0) / count if unseen else np.full(len(runs.usable), np.nan)
    return pd.DataFrame(rows, columns=columns), mean


def _predicted_unseen(
    runs: FittedRuns,
    solution: Solution,
    predictions: Predictions,
    divisions: Sequence[Fold],
    settings: Settings,
) -> list[np.ndarray]:
    """Losses of the runs held out, by fits of those that each fold may see; NaN of too few.

    The fit itself has seen nothing of a fold that is held out of it.
    """
    law, asked = runs.law, {}
    for i, fold in enumerate(divisions):
        if not fold.of_fit and fold.seen.sum() >= law.least:
            asked[i] = fold.seen
    fitted = dict(
        zip(asked, _fold_fits(runs, solution, list(asked.values()), settings), strict=True)
    )
    unseen, everything = [], variables(runs.usable, law.variables)
    for i, fold in enumerate(divisions):
        if i in fitted:
            there, best = {name: of[fold.out] for name, of in everything.items()}, fitted[i]
            unseen.append(law.within(law.given(best.state).loss(best.theta, there)))
        elif fold.of_fit:
            unseen.append(predictions.predicted[fold.out])
        else:
            unseen.append(np.full(int(fold.out.sum()), np.nan))
    return unseen


def _fold_fits(
    runs: FittedRuns, solution: Solution, seen: Sequence[np.ndarray], settings: Settings
) -> list[Estimate]:
    """Fits of some of the runs, bool (m,) each.

    A law of mixtures that minimises an objective has many parameters for its runs, and slow
    descents: its folds are refitted together, as replicates of which some runs were not drawn.
    """
    law, samples = runs.law, []
    if seen and law.proportions and not law.recipe:
        drawn = solution.replicates(runs.weight * np.array(seen)[:, ~runs.out]).estimates
        return [drawn[i] for i in range(len(seen))]
    data, loss = variables(runs.usable, law.variables), runs.usable[runs.response].to_numpy(float)
    weight = runs.usable["fit_weight"].to_numpy(float)
    for some in seen:
        own = {name: values[some] for name, values in data.items()}
        samples.append((own, loss[some], weight[some]))
    return settings.estimates(law, samples)


def _ranges(law: Law, data) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "variable": list(law.variables),
            "low": [float(data[v].min()) for v in law.variables],
            "high": [float(data[v].max()) for v in law.variables],
        }
    )


def aicc(residuals: np.ndarray, terms: int) -> float:
    """Corrected Akaike criterion of normal residuals (Hurvich and Tsai 1989), of logs as a rule.

    The spread counts as a term. NaN where there are too few runs, or nothing is left over.
    """
    n, k = len(residuals), terms + 1
    left = float(residuals @ residuals)
    if n - k - 1 <= 0 or not left > 0:
        return float("nan")
    return n * np.log(left / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def seed_sd(runs: pd.DataFrame, response: str = RESPONSE, variables: Sequence[str] = ()) -> float:
    """SD of the response over seeds, pooled over cells that were run with several; else NaN.

    Args:
        runs: those that a fit could use.
        response: their column.
        variables: of the law; those without a letter make a cell, too.
    """
    if runs["seed"].nunique() < 2:
        return float("nan")
    cells = runs.groupby(cell_columns(runs, variables), dropna=False)[response]
    degrees = len(runs) - cells.ngroups
    squares = ((runs[response] - cells.transform("mean")) ** 2).sum()
    return float(np.sqrt(squares / degrees)) if degrees else float("nan")
