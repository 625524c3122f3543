"""The runs of every fit: selected, divided into groups and responses, some of them held out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.filters import LETTERS, evaluate
from isoloss.core.order import ordered
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.tables import WHOLE
from isoloss.fit.holdout import held_out
from isoloss.fit.mixture import domains_of, lacking, mixtures, responses_of
from isoloss.fit.settings import Settings
from isoloss.fitted import FALLBACK
from isoloss.fitted.names import PREDICTED, RESPONSE, equation
from isoloss.laws._law import Law
from isoloss.laws._make import made_law

RANGE = (1e-100, 1e100)  # of a response: the squares of its values are floats, too


@dataclass(frozen=True)
class FittedRuns:
    """The runs of one fit.

    Attributes:
        law: of its response.
        group: of runs.
        response: column of the loss, or of what else is fitted.
        given: runs of the group, whatever became of them.
        usable: those that the law can use, one row each.
        out: held out of them, bool.
        fitted: the others, n rows.
        data: variables of the runs fitted, (n,) each.
        loss: the response as it was observed, (n,).
        weight: of every run fitted, (n,).
        lost: labels of the group's runs that diverged or failed, or that have no response.
    """

    law: Law
    group: str
    response: str
    given: int
    usable: pd.DataFrame
    out: np.ndarray
    fitted: pd.DataFrame
    data: dict[str, np.ndarray]
    loss: np.ndarray
    weight: np.ndarray
    lost: list[str]


@dataclass(frozen=True)
class Division:
    """A table of runs as one fit a group and response.

    Attributes:
        law: that of the last response.
        runs: of every fit.
        not_fitted: responses that few runs of a group have, each with the reason.
        usable: all runs that any fit could use.
        settings: of all fits, the objective chosen where that was left to the values.
    """

    law: Law
    runs: list[FittedRuns]
    not_fitted: list[str]
    usable: pd.DataFrame
    settings: Settings


def selected(runs: pd.DataFrame, where: str, group: str, place: str) -> pd.DataFrame:
    """The runs with the status `dropped` where a filter omits them, and their group by name.

    Raises:
        IsolossError: the table is not one of runs, the filter is none, or there is no such column
            of groups.
    """
    if lacking := [column for column in ("run_id", "status") if column not in runs]:
        reason = f"is not a table of runs: no column {lacking[0]!r}"
        remedy = "make one with isoloss.read_runs(table, {'N': ..., 'D': ..., 'loss': ...})"
        raise IsolossError(Problem("runs", reason, remedy))
    if where:
        out = ~evaluate(runs, where, f"{place}, where") & (runs["status"] == "done")
        runs = runs.assign(status=runs["status"].mask(out, "dropped"))
    if group not in runs:
        raise IsolossError(Problem(f"{place}, group", f"no column {group!r}", nearest(group, runs)))
    return runs.assign(group=runs[group].astype(str))


def divided(runs: pd.DataFrame, settings: Settings, mixture: bool) -> Division:
    """One fit a group and response.

    Args:
        runs: a `runs` table with its groups.
        settings: of all fits.
        mixture: whether the law is one of mixtures: it has a law for each loss by domain, and a
            fit of all runs beside several groups.

    Raises:
        IsolossError: there is nothing to fit, or too few runs.
    """
    place = settings.place
    runs = mixtures(runs, place) if mixture else runs
    domains = domains_of(runs) if mixture else None
    law = made_law(settings.card, settings.options, domains)
    usable = runs[(runs["status"] == "done") & (runs["fit_weight"] > 0)]
    if usable.empty:
        raise too_few(place, 0, 1 if mixture else len(law.terms))
    if not mixture:
        check_values(usable, law, settings.response, f"{place}, response")
    responses = responses_of(runs) if mixture else [settings.response]
    ready, left = [], []
    for name, own_runs in _groups(runs, usable, mixture):
        for response in responses:
            own_law = law.for_response(response)
            need = own_law.least - len(settings.constraints.fixed)
            if mixture and (reason := lacking(own_runs, response, need)):
                left.append(f"{response} of group {name}: {reason}")
                continue
            ready.append(_ready(own_law, name, own_runs, response, settings))
    if ready and not mixture:
        ready = _settled(ready)
        law = ready[-1].law
    if not ready:
        do = "name the losses loss_<domain>, such as loss_web, or add runs"
        raise IsolossError(Problem(place, "; ".join(left) or "no column of losses", do))
    settings = settings.chosen(law, [runs.usable[runs.response].to_numpy(float) for runs in ready])
    usable = usable.reset_index(drop=True)
    return Division(law.for_response(responses[-1]), ready, left, usable, settings)


def check_values(runs: pd.DataFrame, law: Law, response: str, place: str) -> None:
    """Refuse what a law of all runs alike cannot be fitted to.

    Args:
        runs: those that are done.
        law: the law.
        response: what is fitted.
        place: where the response is named.

    Raises:
        IsolossError: the response is not one (`check_response`), has values that are not above 0
            though the law predicts no others, or values outside its range; or a variable has
            values that are not above 0 where the law needs that.
    """
    if response != RESPONSE:
        check_response(runs, response, place)
    if not law.signed:
        _check_above_zero(runs, response, place)
    _check_range(runs, response, law.response_range, place)
    for name in law.positive:
        if name not in LETTERS and name in runs:
            _check_variable(runs, name, f"{place}: variable {name}")


def _settled(ready: list[FittedRuns]) -> list[FittedRuns]:
    """The same with the law that the runs of all groups decide what it leaves open of."""
    law = ready[0].law
    data = {name: np.concatenate([runs.data[name] for runs in ready]) for name in law.variables}
    labels = [str(one) for runs in ready for one in runs.fitted["run_id"]]
    settled = law.settled(data, np.concatenate([runs.loss for runs in ready]), labels)
    return [replace(runs, law=settled) for runs in ready]


def check_response(runs: pd.DataFrame, response: str, place: str) -> None:
    """Refuse a column that cannot be fitted in place of the loss.

    Args:
        runs: those that are done.
        response: the column.
        place: where it is named.

    Raises:
        IsolossError: there is no such column, its name has a meaning of its own in predictions, it
            holds no numbers, or one that is out of RANGE, or it is one of the settings and labels
            that all runs have.
    """
    if not isinstance(response, str) or response not in runs:
        raise IsolossError(Problem(place, f"no column {response!r}", nearest(response, runs)))
    if response in (*LETTERS, *PREDICTED):
        reason = f"{response!r} has a meaning of its own beside what a law predicts"
        raise IsolossError(Problem(place, reason, "give the column another name"))
    column = runs[response]
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if column.isna().all() or (numeric and not np.isfinite(column.astype(float)).any()):
        reason = f"no run has a value of {response!r}"
        raise IsolossError(Problem(place, reason, "name another column"))
    if not numeric:
        reason = f"the column {response!r} does not hold numbers"
        raise IsolossError(Problem(place, reason, "name another column"))
    if response in tables.schema("runs").names:
        reason = f"{response!r} is a setting or a label of runs, and a law is of what they reach"
        raise IsolossError(Problem(place, reason, "name another column"))
    sizes = np.abs(column.to_numpy(float, na_value=np.nan))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if len(sizes) and not RANGE[0] <= sizes.min() <= sizes.max() <= RANGE[1]:
        reason = f"{response!r} is {sizes.min():.3g} to {sizes.max():.3g} in size"
        do = f"take a unit in which it is {RANGE[0]:g} to {RANGE[1]:g}"
        raise IsolossError(Problem(place, reason, do))


def _check_above_zero(runs: pd.DataFrame, response: str, place: str) -> None:
    """Refuse values that are not above 0, for a law that predicts no others."""
    low = runs[response].to_numpy(float, na_value=np.nan) <= 0
    if low.any():
        reason = (
            f"{_count_of(runs, low)} have a {response!r} that is not above 0: {_ids(runs, low)}"
        )
        do = (
            "this law needs values above 0: fit the others, which --keep (in a study `where`)"
            " selects, and say so, or take a formula that may be negative, such as"
            " 'E - A / N**alpha'"
        )
        raise IsolossError(Problem(place, reason, do))


def _check_range(
    runs: pd.DataFrame, response: str, known: Sequence[float | None] | None, place: str
) -> None:
    """Refuse values outside the range that a law says its response has."""
    if known is None:
        return
    low, high = (
        end if end is not None else side * np.inf for end, side in zip(known, (-1, 1), strict=True)
    )
    values = runs[response].to_numpy(float, na_value=np.nan)
    outside = (values < low) | (values > high)
    if outside.any():
        worst = values[outside][np.argmax(np.maximum(low - values, values - high)[outside])]
        reason = (
            f"{_count_of(runs, outside)} lie outside {low:g} to {high:g}: {_ids(runs, outside)}"
        )
        do = f"{response!r} is {worst:.6g} there: fix the rows, or the range that the law says"
        raise IsolossError(Problem(place, reason, do))


def _check_variable(runs: pd.DataFrame, name: str, place: str) -> None:
    """Refuse values of a variable that are not above 0, where a law needs them to be."""
    values = pd.to_numeric(runs[name], errors="coerce").to_numpy(float, na_value=np.nan)
    low = values <= 0
    if low.any():
        reason = f"{_count_of(runs, low)} have one that is not above 0: {_ids(runs, low)}"
        do = (
            f"the law needs it above 0: fit the others (--keep, in a study `where`), or write it as"
            f" ({name} + 1)"
        )
        raise IsolossError(Problem(place, reason, do))


def _count_of(runs: pd.DataFrame, which: np.ndarray) -> str:
    return f"{np.count_nonzero(which)} of {len(runs)} runs"


def _ids(runs: pd.DataFrame, which: np.ndarray) -> str:
    """The labels of some runs, the first few of them."""
    labels = list(runs.loc[which, "run_id"].astype(str))
    more = f" and {len(labels) - 4} more" if len(labels) > 4 else ""
    return ", ".join(labels[:4]) + more


def _groups(
    runs: pd.DataFrame, usable: pd.DataFrame, mixture: bool
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Groups with a finished run, in their order; beside several of a mixture law, one of all."""
    known = set(usable["group"])
    by_group = dict(iter(runs[runs["group"].isin(known)].groupby("group", sort=False)))
    for group in ordered(known):
        yield group, by_group[group]
    if mixture and len(known) > 1 and FALLBACK not in known:
        yield FALLBACK, runs


def _ready(
    law: Law, group: str, runs: pd.DataFrame, response: str, settings: Settings
) -> FittedRuns:
    """The runs of one fit; an error where they are fewer than the law needs."""
    usable = _usable(law, runs, response)
    place = settings.place + ("" if group == WHOLE else f", group {group}")
    need = law.least - sum(settings.constraints.hold(law))
    if len(usable) < need:
        raise too_few(place, len(usable), need)
    out = held_out(usable, settings.holdout, law.variables)
    fitted = usable[~out].reset_index(drop=True)
    if len(fitted) < need:
        raise too_few(f"{place}, after the hold-out", len(fitted), need)
    data, loss = variables(fitted, law.variables), fitted[response].to_numpy(float)
    weight = fitted["fit_weight"].to_numpy(float)
    gone = runs["status"].isin(("diverged", "failed"))
    if response != RESPONSE and not law.proportions:
        gone |= (runs["status"] == "done") & ~np.isfinite(runs[response].astype(float))
    lost = list(runs.loc[gone, "run_id"])
    return FittedRuns(
        law, group, response, len(runs), usable, out, fitted, data, loss, weight, lost
    )


def _usable(law: Law, runs: pd.DataFrame, response: str) -> pd.DataFrame:
    """Finished runs whose loss and variables are numbers that the law can use."""
    finished = runs[(runs["status"] == "done") & (runs["fit_weight"] > 0)]
    columns = [LETTERS.get(v, v) for v in law.variables]
    missing = [c for c in columns if c not in finished]
    if missing:
        own = [c for c in finished if c not in tables.schema("runs").names]
        known = ", ".join([*(k for k, c in LETTERS.items() if c in finished), *map(str, own)])
        raise IsolossError(Problem(f"variable {missing[0]}", "no such column", f"columns: {known}"))
    empty = [v for v, c in zip(law.variables, columns, strict=True) if finished[c].isna().all()]
    if empty and len(finished):
        do = f"give the table a column for it: the law is {equation(law.formula, response)}"
        raise IsolossError(Problem(f"variable {empty[0]}", "no run has a value", do))
    values = finished[[response, *columns]].astype(float)
    sound = np.isfinite(values).all(axis=1)
    if not law.signed:
        sound &= values[response] > 0
    positive = [LETTERS.get(v, v) for v in law.positive]
    sound &= (values[positive] > 0).all(axis=1)
    return finished[sound].reset_index(drop=True)


def variables(runs: pd.DataFrame, names: Sequence[str] = ("N", "D", "C")) -> dict[str, np.ndarray]:
    """Variables of every run by a law's names for them, each (n,)."""
    return {name: runs[LETTERS.get(name, name)].to_numpy(float) for name in names}


def too_few(place: str, count: int, need: int) -> IsolossError:
    """The error for a law with fewer runs than terms."""
    return IsolossError(
        Problem(place, f"{count} runs for {need} parameters", "add runs, or fit a smaller law")
    )
