"""Which of several laws that a user typed extrapolates best: what `isoloss.choose_law` does.

The laws are judged as the search judges its forms (`search.Fitted`): by what they miss of the
largest values when these are held out, by what they leave of all runs, and by their parameters.
Here the laws are typed, so that the engine fits each of them from all starts, and the largest
values are also held out of two variables jointly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from isoloss.core import escape
from isoloss.core.arguments import checked
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.seeds import generator
from isoloss.core.sources import Source
from isoloss.discovery import outliers, report
from isoloss.discovery.discovery import MARGIN, SAME, SHOWN, Work
from isoloss.discovery.holdouts import DEEP, REMAIN, SMALLEST
from isoloss.discovery.roles import level_of
from isoloss.discovery.search import CEILING, EXACT, INSIDE, LOOSE, PENALTY, SHORT, floor_of
from isoloss.discovery.table import LEAST, Asked, SearchTable, opened, search_table
from isoloss.discovery.typed import ADRIFT
from isoloss.fit.formula import chosen_law
from isoloss.fit.law import fit_law
from isoloss.fit.prepare import divided, selected
from isoloss.fit.settings import settings_of
from isoloss.fit.solve import replicates_of
from isoloss.fitted import Fit
from isoloss.formulas import read_formula

DRAWS = 1000  # of settings and of kinds of hold-outs, by which a choice is repeated
MOST = 1000  # runs at most that hold-outs are of; more are drawn by the seed
BASINS, SHARED = 4, 24  # ends of a fit of all runs that refits begin from, of a group and in all
HARDLY_APART = 0.01  # of the noise: laws whose predictions differ by less are one
LAWS = (2, 100)  # laws that a choice may be among


@dataclass(frozen=True)
class Part:
    """Runs that are predicted, and the runs that are fitted for it.

    Attributes:
        name: of the variables, with the number of levels.
        kind: what the runs are the largest of: a variable, two, or the product of all.
        out: predicted, bool (n,).
        seen: fitted, bool (n,); of two variables runs with large values of one are neither.
    """

    name: str
    kind: str
    out: np.ndarray
    seen: np.ndarray


def parts_of(work: Work, rows: np.ndarray, least: int) -> list[Part]:
    """The hold-outs of the search, and the largest values of every two variables jointly.

    Args:
        work: the table with its hold-outs.
        rows: of the table, in order, (n,).
        least: runs at least that a group keeps; of one that keeps fewer nothing is held out.
    """
    table = work.table
    parts = [
        Part(one.name, one.name.rsplit(maxsplit=1)[0], one.out[rows], ~one.out[rows])
        for one in work.held
        if one.out[rows].any()
    ]
    group = table.group[rows]
    members = [np.flatnonzero(group == g) for g in range(len(table.groups))]
    levels = {name: _from_above(x[rows], members) for name, x in table.variables.items()}
    for (one, first), (other, second) in combinations(levels.items(), 2):
        for depth in range(1, DEEP + 1):
            large = [first[0] < depth, second[0] < depth]
            enough = (first[1] - depth >= REMAIN) & (second[1] - depth >= REMAIN)
            out, seen = large[0] & large[1] & enough, ~large[0] & ~large[1]
            parts.append(Part(f"{one} with {other} {depth}", f"{one} with {other}", out, seen))
    for part in parts:
        for own in members:
            if part.seen[own].sum() < least:
                part.out[own] = False
    few = max(2, SMALLEST * len(rows))
    return [part for part in parts if part.out.sum() >= few]


def _from_above(x: np.ndarray, members: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The level of every value, 0 for the largest of its group, and how many there are, (n,)."""
    below, count = np.zeros(len(x), dtype=int), np.zeros(len(x), dtype=int)
    for rows in members:
        level = level_of(x[rows])
        below[rows], count[rows] = level.max() - level, level.max() + 1
    return below, count


@dataclass(frozen=True)
class Judged:
    """A typed law with what it misses.

    Attributes:
        formula: the law.
        fit: to all runs.
        parameters: how many of them.
        loose: directions of them that the runs do not determine.
        adrift: whether in most groups parameters lie at bounds or are not determined, or the fit
            has not converged.
        missed: absolute error of every run in every hold-out, (h, n).
        left: the same of every run when all are fitted, as prediction minus response, (n,).
        far: what it predicts of the largest runs and beyond them, (m,).
    """

    formula: str
    fit: Fit
    parameters: int
    loose: int
    adrift: bool
    missed: np.ndarray
    left: np.ndarray
    far: np.ndarray


@dataclass(frozen=True)
class Ground:
    """What all laws of a choice are judged on.

    Attributes:
        work: the table.
        rows: of it, that hold-outs are of, (n,).
        parts: hold-outs.
        cells: number of the setting of each of the rows, (n,).
        spread: mean distance of the responses from the middle one of their group.
    """

    work: Work
    rows: np.ndarray
    parts: tuple[Part, ...]
    cells: np.ndarray
    spread: float

    @classmethod
    def of(cls, table: SearchTable, seed: int, parameters: int = 0) -> Ground:
        """The hold-outs of a table that leave enough runs for so many parameters.

        Raises:
            IsolossError: there are none.
        """
        work = Work.of(table, seed)
        rows = work.rows(MOST)
        parts = tuple(parts_of(work, rows, max(LEAST - 2, parameters + 2)))
        if not parts:
            reason = f"no hold-out leaves enough runs for {parameters} parameters"
            do = "add runs, or leave out the laws of most parameters"
            raise IsolossError(Problem(table.label, reason, do))
        settings = pd.DataFrame({"group": table.group, **table.variables}).iloc[rows]
        cells = settings.groupby(list(settings), sort=False).ngroup().to_numpy()
        middle = pd.Series(table.y).groupby(table.group).transform("median").to_numpy()
        spread = float(np.abs(table.y - middle).mean())
        return cls(work, rows, parts, cells, spread)

    @property
    def kinds(self) -> np.ndarray:
        """Number of the kind of every hold-out, (h,)."""
        return np.unique([part.kind for part in self.parts], return_inverse=True)[1]

    def far(self, laws: Sequence[Judged]) -> np.ndarray:
        """The rows that lie far from the laws, bool (n,)."""
        table = self.work.table
        y, group = table.y[self.rows], table.group[self.rows]
        made = np.stack([y + law.left for law in laws])
        sizes = [law.parameters for law in laws]
        return outliers.outliers(y, made, sizes, group, table.positive)

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.work.table.groups)

    def judged(self, formula: str) -> Judged:
        """A law with what it misses.

        Raises:
            IsolossError: it cannot be fitted, to all runs or to those of a hold-out.
        """
        runs = self.work.typist.runs
        fit = fit_law(runs, formula=formula, bootstrap=0, interval="none")
        made, loose = self._refitted(fit, formula)
        y = self.work.table.y[self.rows]
        number, values = self.work.edges
        names = sorted(set(fit.params["group"])) if self.groups == 1 else self.work.table.groups
        far = np.empty(len(number))
        for g in np.unique(number):
            own = {name: values[name][number == g] for name in fit.law.variables}
            far[number == g] = fit.loss(group=names[g], **own)
        return Judged(
            formula,
            fit,
            len(fit.law.terms),
            loose,
            _adrift(fit),
            np.abs(made[:-1] - y),
            made[-1] - y,
            far,
        )

    def _refitted(self, fit: Fit, formula: str) -> tuple[np.ndarray, int]:
        """What a law predicts of the rows without each hold-out and with all runs, (h + 1, n).

        Beside it the directions of its parameters that the rows do not determine.
        """
        runs = self.work.typist.runs.iloc[self.rows]
        card, options, response = chosen_law(None, formula, None, None, runs)
        ends = fit.starts[fit.starts["start"] < BASINS].sort_values("start", kind="stable")["end"]
        settings = settings_of(
            card, options, {}, (), {}, objective="auto", delta=1e-3, shared=(),
            starts=np.stack(list(ends))[:SHARED], holdout="none", interval="none", cluster=None,
            bootstrap=0, ci_level=0.95, profiles=False, seed=0, loss_unit="1", response=response,
        )  # fmt: skip
        division = divided(selected(runs, "", "group", settings.place), settings, mixture=False)
        ready, settings = division.runs, division.settings
        samples = [(own.data, own.loss, own.weight) for own in ready]
        fits = settings.solve_all([own.law for own in ready], samples)
        place = {label: at for at, label in enumerate(runs["run_id"])}
        where = [np.array([place[label] for label in own.fitted["run_id"]]) for own in ready]
        seen = np.array([part.seen for part in self.parts] + [np.ones(len(runs), dtype=bool)])
        draws = [[(own.weight * seen[:, at], None)] for own, at in zip(ready, where, strict=True)]
        made, loose = np.full(seen.shape, np.nan), []
        for own, at, one in zip(ready, where, replicates_of(fits, draws), strict=True):
            theta = one.estimates.theta
            with np.errstate(all="ignore"):
                made[:, at] = own.law.loss(theta, own.data)
            loose.append(_loose(own.law, theta[-1], own.data, self._noise(made[-1, at], own)))
        return made, int(np.median(loose))

    def _noise(self, made: np.ndarray, own) -> float:
        """Mean absolute error of a group's runs, without those far from the law, for each left."""
        size, positive = len(own.law.terms), self.work.table.positive
        group = np.zeros(len(made), dtype=int)
        near = ~outliers.outliers(own.loss, made[None], [size], group, positive)
        return float(np.abs(made - own.loss)[near].sum() / max(1, len(made) - size))


def _adrift(fit: Fit) -> bool:
    """Whether in most groups parameters are at bounds or not determined, or no end converged."""
    params, summary = fit.params, fit.summary
    off = (params["at_bound"] | params["free"]).groupby(params["group"]).any()
    lost = (summary["status"] == "not_converged").groupby(summary["group"]).any()
    return bool((off | lost).mean() > 0.5)


def _loose(law, theta: np.ndarray, data: Mapping[str, np.ndarray], noise: float) -> int:
    """Directions whose standard error is above 1: a factor of e, or all of a parameter."""
    with np.errstate(all="ignore"):
        slopes = law.gradient(theta, data)
    logs = np.array([term.log for term in law.terms])
    size = np.where(logs, 1.0, np.maximum(np.abs(theta), 1e-12))
    slopes = np.where(np.isfinite(slopes), slopes, 0.0) * size
    return int((np.linalg.svd(slopes, compute_uv=False) < noise).sum())


@dataclass(frozen=True)
class Choice:
    """Typed laws by how well they extrapolate.

    Attributes:
        ranking: one row a law, the least score first: `formula`, `parameters`, `error` (geometric
            mean over the kinds of hold-outs of the mean absolute error), `score`, `first` (share
            of draws in which it has the least score), `loose`, `adrift`, `within` (one standard
            error of the best), `same_as` (the law that predicts the same, whose `first` counts
            both), `status` (of the fit to all runs, or why there is none).
        errors: mean absolute error, one row a law in the order of `ranking`, one column a hold-out.
        best: the formula to take: of the five with the least score, within 1 of it, the one
            nearest to their median at the largest runs and beyond.
        simplest: that of fewest parameters within one standard error of the least score.
        fits: of every formula, to all runs, without intervals.
        table: the runs.
        holdouts: name and runs of each.
        guess: what the mean of the other runs of its group errs by on the largest values.
        spread: of the laws of the median over that of the response, beyond the runs.
        source: what the table is called.
    """

    ranking: pd.DataFrame
    errors: pd.DataFrame
    best: str
    simplest: str
    fits: Mapping[str, Fit]
    table: SearchTable
    holdouts: tuple[tuple[str, int], ...]
    guess: float
    spread: float
    source: str

    @property
    def fit(self) -> Fit:
        """That of the best law."""
        return self.fits[self.best]

    def __str__(self) -> str:
        table, rows = self.table, self.ranking
        held = escape.listed(
            [f"{name} ({count} run{'s' * (count != 1)})" for name, count in self.holdouts], 24
        )
        head = ("", "error held out", "parameters", "first in", "formula")
        judged = rows[rows["error"].notna()]
        place = {text: at for at, text in enumerate(judged["formula"], 1)}
        lines = [
            (
                str(at),
                f"{one.error:.3g}",
                report.sized(int(one.parameters), int(one.loose)),
                f"as {place[one.same_as]}" if one.same_as else f"{one.first:.0%}",
                one.formula,
            )
            for at, one in enumerate(judged.itertuples(), 1)
        ]
        alike = any(judged["same_as"] != "")
        refused = rows[rows["error"].isna()]
        return "\n".join(
            [
                f"{len(table.y)} runs: {table.response} by {', '.join(table.variables)}",
                f"{len(lines)} law{'s' * (len(lines) != 1)}, ranked by what they miss of the "
                "largest values held out:",
                f"  {held}",
                *table.notes,
                "",
                escape.columns(head, lines).rstrip(),
                *(f"not fitted: {one.formula}: {one.status}" for one in refused.itertuples()),
                f"first in: share of {DRAWS} draws of settings and kinds of hold-outs in which a "
                "law has the least score",
                *(["as 2: predicts the same as law 2 and is counted with it"] if alike else []),
                *([report.LOOSE] if judged["loose"].any() else []),
                "",
                *self._told(),
                "",
                f"next: {report.law_command(table, self.source, self.best)}",
            ]
        )

    def _told(self) -> list[str]:
        """The best law, the simplest, and what speaks against them."""
        least, rows = self.ranking["formula"].iloc[0], self.ranking.set_index("formula")
        lines = [f"best law: {self.best}"]
        if least != self.best:
            lines.append("  nearest to the median of the best beyond the table")
        if self.simplest == self.best:
            lines.append("it is also the simplest within one standard error")
        else:
            lines.append(f"simplest within one standard error: {self.simplest}")
        if rows.loc[self.best, "error"] > report.HARDLY * self.guess:
            lines.append(
                f"warning: it misses the runs held out by {rows.loc[self.best, 'error']:.3g}, the "
                f"mean of the other runs by {self.guess:.3g}: these laws may not be of this table"
            )
        if self.spread > report.DISAGREE:
            lines.append(
                f"warning: beyond the table the best laws disagree by {self.spread:.0%} of the "
                "response's range: measure runs there"
            )
        if rows.loc[self.best, "adrift"]:
            lines.append(
                "warning: parameters of it lie at bounds or are not determined, or its fit has not "
                "converged"
            )
        return lines

    def record(self) -> dict[str, Any]:
        """The answer as plain values: what `--json` prints."""
        return {
            "table": self.source,
            "response": self.table.response,
            "variables": list(self.table.variables),
            "n_runs": len(self.table.y),
            "holdouts": [{"name": name, "n_runs": count} for name, count in self.holdouts],
            "best": self.best,
            "simplest": self.simplest,
            "laws": [
                {**_plain(row), "errors": dict(zip(self.errors.columns, own, strict=True))}
                for row, own in zip(
                    self.ranking.to_dict("records"), self.errors.to_numpy().tolist(), strict=True
                )
            ],
            "guess": self.guess,
            "spread_beyond": self.spread,
            "notes": list(self.table.notes),
            "command": report.law_command(self.table, self.source, self.best),
        }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the ranking, whole numbers as such; of a law that has no fit the formula and why."""
    known = {name: value for name, value in row.items() if value == value}
    return known | {name: int(known[name]) for name in ("parameters", "loose") if name in known}


@checked()
def choose_law(
    table: str | Path | Sequence[str | Path] | Source | pd.DataFrame,
    formulas: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    response: str | None = None,
    groups: str | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Choice:
    """Which of several typed laws extrapolates best, how sure that is, and which is the simplest.

    Every law is fitted to all runs from all starts, and again without the largest values: those of
    each variable, of each two of them jointly, and of the product of all (docs/discovery.md).

    Args:
        table: path or address of a table, several of them, or a table in memory (also `runs`).
        formulas: 2 to 100 laws as `fit_law` takes them, all of one response.
        columns: name in formulas to column, such as {"V": "vocab_size"}.
        response: column to predict; that on the left side of the formulas if None.
        groups: column; its groups have constants of their own. One called `group` if None.
        seed: of the draws, and of the 1000 runs that hold-outs are of where there are more.
        progress: is told of every law that is fitted.

    Returns:
        The laws by their scores, and the fits.

    Raises:
        IsolossError: fewer than two laws or one twice, a formula that is not one, laws of several
            responses, no law that can be fitted, or a table of which nothing can be held out.

    Example:
        >>> import isoloss, numpy as np, pandas as pd
        >>> N, D = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), 2.0 ** np.arange(5)))
        >>> noise = 1 + 0.001 * np.random.default_rng(0).normal(size=25)
        >>> loss = (1.7 + 400 / N**0.34 + 1 / D**0.3) * noise
        >>> runs = pd.DataFrame({"N": N, "D": D, "loss": loss})
        >>> choice = isoloss.choose_law(runs, ["E + A / N**a + B / D**b", "A / (N**a * D**b)"])
        >>> choice.best
        'E + A / N**a + B / D**b'
        >>> choice.ranking[["formula", "parameters", "first"]].to_dict("records")[0]["first"]
        1.0
    """
    raw, label = opened(table)
    read = _read(formulas)
    asked = _asked(raw, label, read, Asked(columns or {}, response, (), groups))
    return chosen(search_table(raw, label, asked), list(read), seed, progress)


def _read(formulas: Sequence[str]) -> dict[str, Any]:
    """Formulas by their texts.

    Raises:
        IsolossError: there are too few or too many, one appears twice, or is not a formula.
    """
    if isinstance(formulas, str) or not LAWS[0] <= len(formulas) <= LAWS[1]:
        count = 1 if isinstance(formulas, str) else len(formulas)
        do = f"give {LAWS[0]} to {LAWS[1]} of them; `discover` alone searches for laws"
        raise IsolossError(Problem("formulas", f"found {count}", do))
    if twice := [text for text in formulas if list(formulas).count(text) > 1]:
        raise IsolossError(Problem("formulas", f"{twice[0]!r} appears twice", "leave one out"))
    return {text: read_formula(text, f"formula {at}") for at, text in enumerate(formulas, 1)}


def _asked(raw: pd.DataFrame, label: str, read: Mapping[str, Any], asked: Asked) -> Asked:
    """The response and the variables of formulas, by the columns of a table."""
    left = {one.response for one in read.values() if one.response is not None}
    if len(left) > 1:
        reason = f"their left sides are {escape.listed(sorted(left))}"
        raise IsolossError(Problem("formulas", reason, "compare laws of one response"))
    given = asked.response
    if given is None and left and (own := left.pop()) in {*raw.columns, *asked.columns}:
        given = asked.columns.get(own, own)
    names = dict.fromkeys(name for one in read.values() for name in one.names)
    known = {*raw.columns, *asked.columns}
    variables = [asked.columns.get(name, name) for name in names if name in known]
    if not variables:
        reason = f"none of their names is a column: {escape.listed(list(names))}"
        raise IsolossError(Problem(label, reason, nearest(next(iter(names), ""), known)))
    for name in variables:
        if raw[name].nunique() < 2:
            reason = "has the same value in all runs, so that the runs cannot tell laws apart by it"
            do = "write its value in its place"
            raise IsolossError(Problem(f"{label}, {name}", reason, do))
    return Asked(asked.columns, given, tuple(variables), asked.groups)


@threadpool_limits.wrap(limits=1)
def chosen(
    table: SearchTable,
    formulas: Sequence[str],
    seed: int = 0,
    told: Callable[[str], None] | None = None,
) -> Choice:
    """The choice among laws of a table that is read; see `choose_law`."""
    names = [set(read_formula(text).names) - set(table.variables) for text in formulas]
    ground = Ground.of(table, seed, max(map(len, names)))
    laws: list[Judged] = []
    refused: dict[str, str] = {}
    for text in formulas:
        if told is not None:
            told(text)
        try:
            laws.append(ground.judged(text))
        except IsolossError as error:
            refused[text] = str(error)
    if not laws:
        first = next(iter(refused.values()))
        raise IsolossError(
            Problem(table.label, f"no law can be fitted: {first}", "correct a formula")
        )
    return Judgement.of(ground, laws, seed).choice(refused)


@dataclass(frozen=True)
class Judgement:
    """Laws with their scores.

    Attributes:
        ground: what they are judged on.
        laws: the least score first.
        terms: 2 ln(error) of every law and kind of hold-out, of all runs, and the penalty, as
            their weighted sum, (laws, kinds).
        errors: mean absolute error of every law and hold-out, (laws, h).
        first: share of draws in which each law has the least score, (laws,); laws that predict the
            same count as one, by the share of that of fewest parameters, and the others have 0.
        same: place of that law, (laws,); its own where none predicts the same.
        far: runs that are left out of all errors, bool (n,).
    """

    ground: Ground
    laws: tuple[Judged, ...]
    terms: np.ndarray
    errors: np.ndarray
    first: np.ndarray
    same: np.ndarray
    far: np.ndarray

    @classmethod
    def of(cls, ground: Ground, laws: Sequence[Judged], seed: int) -> Judgement:
        """The laws by their scores."""
        far = ground.far(laws)
        whole = (~far).astype(float)[None]
        noise = min(_inside(ground, law, whole[0]) for law in laws)
        typed = {law.formula: at for at, law in enumerate(laws)}
        each = np.ones((1, ground.kinds.max() + 1))
        scores, terms, errors = zip(
            *(_scores(ground, law, noise, whole, each) for law in laws), strict=True
        )
        order = np.argsort(np.concatenate(scores), kind="stable")
        laws = [laws[at] for at in order]
        same = _alike(laws, noise, [typed[law.formula] for law in laws])
        by_run, by_kind = _drawn(ground, seed)
        drawn = [_scores(ground, law, noise, by_run * whole, by_kind)[0] for law in laws]
        leads = same[np.argmin(np.stack(drawn), axis=0)]
        first = np.bincount(leads, minlength=len(laws)) / len(leads)
        return cls(
            ground,
            tuple(laws),
            np.concatenate(terms)[order],
            np.concatenate(errors)[order],
            first,
            same,
            far,
        )

    @property
    def scores(self) -> np.ndarray:
        """The mean over kinds, (laws,)."""
        return self.terms.mean(axis=1)

    def within(self) -> np.ndarray:
        """Laws within one standard error of the first, bool (laws,).

        The error is that of the mean over kinds of the difference of the two.
        """
        apart = self.terms - self.terms[0]
        count = apart.shape[1]
        with np.errstate(invalid="ignore"):
            error = apart.std(axis=1, ddof=min(1, count - 1)) / np.sqrt(count)
            return (apart.mean(axis=1) <= error) | (np.arange(len(apart)) == 0)

    def near(self) -> list[int]:
        """The laws of the median: the best five, within the margin, that predict apart."""
        kept: list[int] = []
        for at in np.flatnonzero(self.scores <= self.scores[0] + MARGIN):
            own = self.laws[at].far
            alike = (np.allclose(own, self.laws[i].far, rtol=SAME, atol=0.0) for i in kept)
            if np.isfinite(own).all() and not any(alike):
                kept.append(int(at))
        return kept[:SHOWN] or [0]

    def central(self) -> int:
        """Which law is nearest to the median beyond the runs; see `discovery.Work.central`."""
        near = self.near()
        made = np.stack([self.laws[at].far for at in near])
        apart = np.abs(made - np.median(made, axis=0)).mean(axis=1)
        noise = min(_inside(self.ground, law, ~self.far) for law in self.laws)
        alike = max(noise, 1e-6 * float(np.nanmean(np.abs(made))))
        return int(self.same[near[int(np.argmax(apart <= max(apart.min(), alike)))]])

    def choice(self, refused: Mapping[str, str]) -> Choice:
        """The answer, with the laws that could not be fitted, and why."""
        ground, within, table = self.ground, self.within(), self.ground.work.table
        kinds = ground.kinds
        by_kind = _by_kind(np.log(np.maximum(self.errors, 1e-300)), kinds)
        rows = [
            {
                "formula": law.formula,
                "parameters": law.parameters,
                "error": float(np.exp(own.mean())),
                "score": float(score),
                "first": float(first),
                "loose": law.loose,
                "adrift": law.adrift,
                "within": bool(inside),
                "same_as": "" if same == at else self.laws[same].formula,
                "status": escape.listed(list(dict.fromkeys(law.fit.summary["status"]))),
            }
            for at, (law, own, score, first, inside, same) in enumerate(
                zip(self.laws, by_kind, self.scores, self.first, within, self.same, strict=True)
            )
        ]
        rows += [{"formula": text, "status": reason} for text, reason in refused.items()]
        names = [part.name for part in ground.parts]
        errors = pd.DataFrame(self.errors, columns=names).reindex(range(len(rows)))
        plain = min(np.flatnonzero(within), key=lambda at: (self.laws[at].parameters, at))
        plain = self.same[plain]
        if self.far.any():
            told = outliers.note(table.rows[ground.rows[self.far]])
            table = replace(table, notes=(*table.notes, told))
        made = np.stack([self.laws[at].far for at in self.near()])
        return Choice(
            pd.DataFrame(rows),
            errors,
            self.laws[self.central()].formula,
            self.laws[plain].formula,
            {law.formula: law.fit for law in self.laws},
            table,
            tuple((part.name, int(part.out.sum())) for part in ground.parts),
            ground.work.guess(),
            float(np.ptp(made, axis=0).max() / np.ptp(table.y)),
            table.label,
        )


def _alike(laws: Sequence[Judged], noise: float, typed: Sequence[int]) -> np.ndarray:
    """Place of the law that stands for those that predict the same, (laws,).

    It is that of fewest parameters, and of these the one typed first; the same is what differs by
    less than a hundredth of the noise, on average over the runs and over what lies beyond them.
    """
    order = sorted(range(len(laws)), key=lambda at: (laws[at].parameters, typed[at]))
    same = np.arange(len(laws))
    for place, at in enumerate(order):
        for other in (one for one in order[:place] if same[one] == one):
            pairs = (laws[at].left, laws[other].left), (laws[at].far, laws[other].far)
            with np.errstate(invalid="ignore"):
                apart = max(float(np.abs(a - b).mean()) for a, b in pairs)
            rounded = np.allclose(laws[at].far, laws[other].far, rtol=SAME, atol=0.0)
            if apart < HARDLY_APART * noise or (rounded and apart < noise):
                same[at] = other
                break
    return same


def _inside(ground: Ground, law: Judged, weight: np.ndarray) -> np.ndarray:
    """Mean absolute error of all runs, for each that the parameters leave, of weights (..., n)."""
    count = len(ground.rows)
    left = max(1, count - ground.groups * law.parameters) / count
    error = (weight * np.abs(law.left)).sum(axis=-1) / weight.sum(axis=-1) / left
    return np.where(np.isfinite(error), np.maximum(error, EXACT * ground.spread), np.inf)


def _scores(
    ground: Ground, law: Judged, noise: float, weight: np.ndarray, kind_weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (d,) of draws, their parts by kind (d, k), and errors by hold-out (d, h).

    Args:
        ground: what the law is judged on.
        law: with what it misses.
        noise: of a run.
        weight: of every run in every draw, (d, n).
        kind_weight: of every kind of hold-out in every draw, (d, k).
    """
    out = np.array([part.out for part in ground.parts])
    missed = np.where(out, law.missed, 0.0)
    lost = np.array([not np.isfinite(own).all() for own in missed])
    counts = weight @ out.T
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = weight @ np.where(np.isfinite(missed), missed, 0.0).T / counts
    errors = np.where(lost, np.inf, np.minimum(errors, CEILING * ground.spread))
    outside = 2 * np.log(np.hypot(errors, floor_of(noise, np.maximum(counts, 1.0))))
    by_kind = _by_kind(np.where(counts > 0, outside, np.nan), ground.kinds)
    each = PENALTY + SHORT * ground.groups / len(ground.rows)
    penalty = each * law.parameters + LOOSE * law.loose + ADRIFT * law.adrift
    inside = 2 * np.log(_inside(ground, law, weight))
    terms = (1 - INSIDE) * by_kind + (INSIDE * inside + penalty)[:, None]
    known = np.isfinite(terms) | np.isposinf(terms)
    share = np.where(known, kind_weight, 0.0)
    with np.errstate(invalid="ignore"):
        total = np.where(share > 0, share * np.where(known, terms, 0.0), 0.0).sum(axis=1)
        return total / share.sum(axis=1), terms, errors


def _by_kind(values: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Means over the hold-outs of each kind that have a value, (..., h) -> (..., k)."""
    columns = []
    for kind in range(kinds.max() + 1):
        own = values[..., kinds == kind]
        known = ~np.isnan(own)
        with np.errstate(invalid="ignore"):
            columns.append(np.where(known, own, 0.0).sum(axis=-1) / known.sum(axis=-1))
    return np.stack(columns, axis=-1)


def _drawn(ground: Ground, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of runs (d, n), drawn by setting, and of kinds of hold-outs (d, k)."""
    draws = generator(seed, "choice of a law", ground.work.table.response)
    count, kinds = int(ground.cells.max()) + 1, int(ground.kinds.max()) + 1
    cells = draws.multinomial(count, np.full(count, 1 / count), size=DRAWS)
    return (
        cells[:, ground.cells].astype(float),
        draws.multinomial(kinds, np.full(kinds, 1 / kinds), size=DRAWS).astype(float),
    )
