"""Search a table for its law: what `isoloss.discover` and the command `discover` do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from isoloss.core.arguments import checked
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.sources import Source
from isoloss.discovery import report
from isoloss.discovery.holdouts import Holdout, holdouts
from isoloss.discovery.of_mixtures import MixtureDiscovery, discover_mixtures
from isoloss.discovery.outliers import note, outliers
from isoloss.discovery.process import Process, ResidualProcess, judged
from isoloss.discovery.roles import Columns, columns_of
from isoloss.discovery.scaled import Scale, blocks_of, scale_of
from isoloss.discovery.search import Edge, Fitted, Nested, edge_of, fitted, noise_of, ranked, search
from isoloss.discovery.table import LEAST, Asked, SearchTable, mixture_of, opened, search_table
from isoloss.discovery.typed import Typed, Typist
from isoloss.fitted import Fit

FINALISTS = 8  # forms that are compared again where there are more runs than that
JUDGES = 0.2  # share of the runs that are the largest, which judge whether forms may grow
SHOWN = 5  # laws of the ranking that are told, and whose median is the answer beside the best
MARGIN = 1.0  # of 2 ln(error), by which a law of the median may be worse than the best
TRIED = 12  # forms at most that are typed for them
PLAIN = 4  # forms at most that are typed for the simplest
SAME = 1e-6  # relative difference of all predictions, below which two laws are one
BEYOND = 3.0  # times the largest runs, where the best five are asked for their median
HALF = 1e-9  # by which a share of weights may miss one half and is it all the same
WIDER = 10.0  # times the largest values, where the laws are compared


@dataclass(frozen=True)
class FoundLaw:
    """A law of the ranking, fitted to all runs.

    Attributes:
        formula: as `fit_law` and `isoloss law --formula` take it.
        variables: its columns.
        parameters: how many of them.
        error: geometric mean over hold-outs of the mean absolute error.
        score: mean over hold-outs of 2 ln(error) with the penalties; least is best.
        loose: combinations of parameters that the runs do not determine.
        constants: of every group, the formula with numbers.
        fit: of the formula to all runs, as `fit_law` gives it, without intervals.
    """

    formula: str
    variables: tuple[str, ...]
    parameters: int
    error: float
    score: float
    loose: int
    constants: Mapping[str, str]
    fit: Fit
    _law: Any
    _owner: Any

    def predict(self, runs: pd.DataFrame | None = None, *, group: str | None = None, **values):
        """The response at values of the variables.

        Args:
            runs: a table with the variables as columns, and with the groups where there are
                several and `group` is not given.
            group: of all values; the first if None and the table has no such column.
            **values: variables by name, numbers or (n,), in place of a table.

        Returns:
            float64 (n,).

        Raises:
            IsolossError: a variable is missing, or there is no such group.
        """
        return self._owner.predicted(self._law, runs, group, values)


@dataclass(frozen=True)
class Discovery:
    """The laws of a table, ranked by what they miss of runs that were held out.

    Attributes:
        laws: the five with the least score: first the one that lies nearest to their median at the
            largest runs and beyond, the others by score.
        simplest: the law of fewest parameters whose score is within one standard error of the
            best one's.
        table: the runs, without those far from every law; its notes tell of them.
        ranking: every form that was looked at (formula, parameters, error, score, loose), best
            first; of more than 400 runs the eight that were compared again.
        screened: how many forms were looked at.
        holdouts: name and runs of every hold-out.
        noise: mean absolute error that is left when the best fitting form has all runs.
        guess: what the mean of the other runs of its group errs by on the hold-outs, as `error`.
        edge, beyond: spread of the best laws over the response's own, at the largest values of
            every variable and at ten times them.
        residual: the process of what the best law leaves, where one was asked for.
    """

    laws: tuple[FoundLaw, ...]
    simplest: FoundLaw
    table: SearchTable
    ranking: pd.DataFrame
    screened: int
    holdouts: tuple[tuple[str, int], ...]
    noise: float
    guess: float
    edge: float
    beyond: float
    source: str
    residual: ResidualProcess | None = None

    @property
    def best(self) -> FoundLaw:
        """Of the five laws with the least score the one nearest to their median beyond the runs."""
        return self.laws[0]

    def predict(self, runs: pd.DataFrame | None = None, *, group: str | None = None, **values):
        """The median of the best five laws, or the best law with its residual process.

        The latter where one was asked for and is offered; arguments as of `FoundLaw.predict`.
        """
        if self.residual is not None and self.residual.process is not None:
            own, process = self.best, self.residual.process
            return own._owner.predicted(own._law, runs, group, values, process)
        return self.median(runs, group=group, **values)

    def median(self, runs: pd.DataFrame | None = None, *, group: str | None = None, **values):
        """The median of the best five laws; arguments as of `FoundLaw.predict`.

        Laws whose score is worse than the best one's by more than 1 are left out of it. Each of the
        others has the weight of the inverse of its squared error, as its score tells it.
        """
        return median_of(self._all(runs, group, values), [law.score for law in self._near])

    def spread(self, runs: pd.DataFrame | None = None, *, group: str | None = None, **values):
        """Largest minus least prediction of the laws of the median, float64 (n,)."""
        return np.ptp(self._all(runs, group, values), axis=0)

    @property
    def _near(self) -> list[FoundLaw]:
        """The laws of the median."""
        least = min(law.score for law in self.laws)
        return [law for law in self.laws if law.score <= least + MARGIN]

    def _all(self, runs, group, values) -> np.ndarray:
        return np.stack([law.predict(runs, group=group, **values) for law in self._near])

    @property
    def command(self) -> str:
        """What to type next: the best law with intervals and decisions."""
        return report.command(self, self.best)

    def __str__(self) -> str:
        return report.text(self)

    def record(self) -> dict[str, Any]:
        """The answer as plain values: what `--json` prints."""
        return report.record(self)


@checked()
def discover(
    table: str | Path | Sequence[str | Path] | Source | pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    response: str | None = None,
    variables: Sequence[str] = (),
    groups: str | None = None,
    seed: int = 0,
    residual_process: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Discovery | MixtureDiscovery:
    """Search for the law of a table of runs.

    Forms are built from terms of the field, fitted to the table without its largest values, and
    ranked by what they miss of these (docs/discovery.md).

    Args:
        table: path or address of a table, several of them, or a table in memory (also `runs`).
        columns: name in formulas to column, such as {"V": "vocab_size"}.
        response: column to predict; the one called like a loss if None.
        variables: columns to predict it from; all that vary if empty.
        groups: column; its groups have one form with constants of their own. One called `group`
            if None.
        seed: of the starts; the same seed gives the same answer.
        residual_process: whether a Gaussian process of what the best law leaves is tried; where
            it lowers the error of runs held out, `predict` uses it.
        progress: is told of every form that is fitted.

    Returns:
        The ranked laws; of a table of mixtures the ranked cards of mixture laws.

    Raises:
        IsolossError: fewer than 8 runs, no column that varies, no response, or a residual process
            of a table of mixtures.

    Example:
        >>> import isoloss, numpy as np, pandas as pd
        >>> N = np.geomspace(1e7, 1e9, 9)
        >>> runs = pd.DataFrame({"N": N, "loss": 1.7 + 400 / N**0.34})
        >>> discovery = isoloss.discover(runs)
        >>> discovery.best.formula
        'loss = E + A / N**alpha'
        >>> discovery.best.predict(N=[1e10]).round(3)
        array([1.859])
    """
    asked = Asked(columns or {}, response, tuple(variables), groups)
    raw, label = opened(table)
    mixture = mixture_of(raw, label, asked)
    if mixture is not None:
        if residual_process:
            reason = "a residual process is one of a formula, and this table has mixtures"
            do = "leave it out: the law mixture_power, one of those compared, has one of its own"
            raise IsolossError(Problem(f"{label}, residual process", reason, do))
        return discover_mixtures(raw, label, mixture, asked, seed, progress)
    return discovered(search_table(raw, label, asked), seed, progress, residual_process)


@threadpool_limits.wrap(limits=1)
def discovered(
    table: SearchTable,
    seed: int = 0,
    told: Callable[[str], None] | None = None,
    residual_process: bool = False,
) -> Discovery:
    """The laws of a table that is read; see `discover`."""
    work = Work.of(table, seed)
    order, screened = work.searched(told)
    far = work.far(order)
    if far.any():
        work = work.without(far)
        if len(work.table.y) < len(table.y):
            order, screened = work.searched(told)
    if not order:
        counts = np.bincount(work.table.group)
        smallest = f"group {table.groups[counts.argmin()]}: " if len(counts) > 1 else ""
        reason = f"{smallest}{counts.min()} runs are too few for every form when some are held out"
        do = "add runs, leave the group out, or name fewer columns with --variables"
        raise IsolossError(Problem(table.label, reason, do))
    answer = work.discovery(order, screened)
    if residual_process:
        answer = replace(answer, residual=judged(work, answer.best._law))
    return answer


@dataclass(frozen=True)
class Work:
    """A search at work: a table in its own scale, and its hold-outs.

    Attributes:
        table: the runs.
        columns: what the variables are.
        scale: of the variables.
        held: hold-outs.
        seed: of starts and of the runs on which forms are screened.
    """

    table: SearchTable
    columns: Columns
    scale: Scale
    held: tuple[Holdout, ...]
    seed: int

    @classmethod
    def of(cls, table: SearchTable, seed: int) -> Work:
        """The search of a table.

        Raises:
            IsolossError: nothing can be held out.
        """
        middle = np.array([table.y[table.group == g].mean() for g in range(len(table.groups))])
        columns = columns_of(table.variables, table.y - middle[table.group], table.names)
        columns = replace(columns, share=table.within)
        held = holdouts(table.variables, columns.sizes, table.group, LEAST - 2)
        if not held:
            reason = "no variable has levels enough that its largest can be held out"
            do = "a search needs at least 4 levels of one variable and 8 runs of a group"
            raise IsolossError(Problem(table.label, reason, do))
        return cls(table, columns, scale_of(table.variables, columns), tuple(held), seed)

    def edge(self, rows: np.ndarray) -> Edge:
        """Some of the runs, with what is held out of them."""
        table = self.table
        data = self.scale.apply({k: x[rows] for k, x in table.variables.items()})
        blocks = blocks_of(data, table.y[rows], table.group[rows])
        parts = [Holdout(one.name, one.out[rows]) for one in self.held if one.out[rows].any()]
        largest = outermost(self.held, rows)[np.maximum(blocks.rows, 0)] & blocks.real
        tuned = self.columns.tuned
        beyond = {k: x if k in tuned else further(x, x) for k, x in blocks.data.items()}
        return edge_of(blocks, parts, table.positive, table.bounded, beyond, largest)

    def nested(self, rows: np.ndarray) -> Nested | None:
        """Some of the runs without the largest, and these; None of a table too small for it."""
        table = self.table
        largest = outermost(self.held, rows)
        inner, outer = rows[~largest], rows[largest]
        own = {name: x[inner] for name, x in table.variables.items()}
        group = table.group[inner]
        if len(np.unique(group)) < len(table.groups):
            return None
        held = holdouts(own, self.columns.sizes, group, LEAST - 2)
        if not held:
            return None
        work = replace(
            self,
            held=tuple(Holdout(one.name, _spread(one.out, inner, len(table.y))) for one in held),
        )
        data = {name: x[outer] for name, x in self.scale.apply(table.variables).items()}
        return Nested(work.edge(inner), data, table.y[outer], table.group[outer])

    def rows(self, most: int) -> np.ndarray:
        """So many of the runs, drawn by the seed; all where there are no more, or of groups."""
        count = len(self.table.y)
        if count <= most or len(self.table.groups) > 1:
            return np.arange(count)
        drawn = np.random.default_rng([self.seed, count]).permutation(count)
        return np.sort(drawn[:most])

    @property
    def rows_compared(self) -> np.ndarray:
        """Runs on which the best forms are compared."""
        return self.rows(report.FINAL)

    def searched(self, told: Callable[[str], None] | None) -> tuple[list[Fitted], int]:
        """Forms by what they miss, best first, and of how many forms they are the best.

        Of many runs, the best are compared again on more of them.
        """
        few, more = self.rows(report.SCREENED), self.rows_compared
        order = search(self.columns, self.edge(few), self.seed, told, self.nested(few))
        if len(few) == len(more):
            return order, len(order)
        edge = self.edge(more)
        finals = ranked([fitted(one.form, edge, self.seed) for one in order[:FINALISTS]])
        return finals, len(order)

    def far(self, order: Sequence[Fitted]) -> np.ndarray:
        """The runs far from the laws of a search, bool (n,); see `outliers`."""
        table, blocks = self.table, self.whole.blocks
        if not order:
            return np.zeros(len(table.y), dtype=bool)
        made = np.empty((len(order), len(table.y)))
        for own, one in zip(made, order, strict=True):
            with np.errstate(all="ignore"):
                own[blocks.rows[blocks.real]] = self.whole.model(one.form).predicted(one.theta)[
                    blocks.real
                ]
        sizes = [one.form.size for one in order]
        return outliers(table.y, made, sizes, table.group, table.positive)

    def without(self, far: np.ndarray) -> Work:
        """The search of the other runs; of all with a note where a group would have too few."""
        table = self.table
        if np.bincount(table.group[~far], minlength=len(table.groups)).min() >= LEAST:
            return Work.of(table.without(far), self.seed)
        told = note(table.rows[far], left_out=False)
        return replace(self, table=replace(table, notes=(*table.notes, told)))

    @cached_property
    def whole(self) -> Edge:
        """All runs."""
        return self.edge(np.arange(len(self.table.y)))

    @cached_property
    def typist(self) -> Typist:
        """What fits the forms that are told as they are typed."""
        return Typist(self.table, self.columns, self.scale, self.whole)

    def told(self, order: Sequence[Fitted], count: int, noise: float) -> list[Typed]:
        """The first laws that are as good when they are typed, or the first of all where none is.

        A form is passed over whose fit from the engine's own starts is much worse than the
        search's, and one that predicts what a law before it does: it is the same, written
        otherwise, or has a part more that the runs do not determine. The others are placed by
        their scores with what their typed fits cost.
        """
        laws: list[Typed] = []
        for one in order[:TRIED]:
            if len(laws) == count and laws[-1].score(noise) <= one.score(noise):
                break
            if any(one.repeats(law.found, noise) for law in laws if not law.adrift):
                continue
            law = self.typist.typed(one)
            if law.reached:
                laws = self._apart(sorted([*laws, law], key=lambda own: own.score(noise)))[:count]
        return laws or [self.typist.typed(one) for one in order[:count]]

    def _apart(self, laws: Sequence[Typed]) -> list[Typed]:
        """Laws without those that predict what one before them does."""
        kept: list[Typed] = []
        made: list[np.ndarray] = []
        for law in laws:
            own = law.at(*self.edges)
            if not any(np.allclose(own, other, rtol=SAME, atol=0.0) for other in made):
                kept.append(law)
                made.append(own)
        return kept

    def discovery(self, order: list[Fitted], screened: int) -> Discovery:
        """The answer, of forms by what they miss, the best of so many."""
        noise = noise_of(order)
        finals = self.told(order, SHOWN, noise)
        finals.insert(0, finals.pop(self.central(finals, noise)))
        plain = self.plain(order, noise, finals[0])
        ranking = pd.DataFrame(
            {
                "formula": [report.formula(self.table.response, one.form.text) for one in order],
                "parameters": [one.form.size for one in order],
                "error": [one.error for one in order],
                "score": [one.score(noise) for one in order],
                "loose": [one.loose for one in order],
            }
        )
        held = tuple((one.name, int(one.out.sum())) for one in self.held)
        answer = Discovery(
            tuple(self.law(one, noise) for one in finals),
            self.law(plain, noise),
            self.table,
            ranking,
            screened,
            held,
            noise,
            self.guess(),
            0.0,
            0.0,
            self.table.label,
        )
        edge, beyond = self.disagreement(answer)
        return replace(answer, edge=edge, beyond=beyond)

    def plain(self, order: Sequence[Fitted], noise: float, best: Typed) -> Typed:
        """The simplest law: the first that is typed as well and determined, or the best."""
        for one in simplest(order, noise)[:PLAIN]:
            if one.form.size >= best.found.form.size:
                break
            law = self.typist.typed(one)
            if law.reached and not law.adrift:
                return law
        return best

    def central(self, finals: list[Typed], noise: float) -> int:
        """Which of the best laws is told as the best: one near their median beyond the runs.

        Of the laws whose score is within the margin of the best one's it is the nearest to their
        median; where some differ from that by less than the noise of the runs, or a millionth of
        what they predict, the first of these.
        """
        scores = np.array([one.score(noise) for one in finals])
        near = np.flatnonzero(scores <= scores[0] + MARGIN)
        number, values = self.edges
        made = np.stack([finals[i].at(number, values) for i in near])
        apart = np.abs(made - median_of(made, scores[near])).mean(axis=1)
        apart = np.where(np.isfinite(apart), apart, np.inf)
        alike = max(noise, 1e-6 * float(np.nanmean(np.abs(made))))
        return int(near[np.argmax(apart <= max(apart.min(), alike))])

    @cached_property
    def edges(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The largest runs, and as many beyond them: group number (n,), variables (n,) each.

        Beyond: variables without an optimum times three; of one that may be 0 or below, a quarter
        of its range further.
        """
        table, tuned = self.table, self.columns.tuned
        largest = outermost(self.held, np.arange(len(table.y)))
        values = {}
        for name, x in table.variables.items():
            own = x[largest]
            values[name] = np.concatenate([own, own if name in tuned else further(own, x)])
        return np.tile(table.group[largest], 2), values

    def guess(self) -> float:
        """Geometric mean over hold-outs of what the mean of the other runs errs by."""
        y, group, errors = self.table.y, self.table.group, []
        for one in self.held:
            means = [y[~one.out & (group == g)].mean() for g in range(len(self.table.groups))]
            errors.append(np.abs(y - np.array(means)[group])[one.out].mean())
        return float(np.exp(np.mean(np.log(np.maximum(errors, 1e-300)))))

    def law(self, law: Typed, noise: float) -> FoundLaw:
        """A law as the user sees it."""
        one = law.found
        numbers = {
            name: report.with_numbers(law, group)
            for name, group in zip(self.table.groups, law.groups, strict=True)
        }
        return FoundLaw(
            law.formula,
            tuple(name for name in self.columns.free if name in one.form.variables),
            one.form.size,
            one.error,
            law.score(noise),
            one.loose,
            numbers,
            law.fit,
            law,
            self,
        )

    def disagreement(self, answer: Discovery) -> tuple[float, float]:
        """Spread of the best laws over that of the response, at the edge and beyond."""
        spread = float(np.ptp(self.table.y))
        parts = []
        for times in (1.0, WIDER):
            values = {name: far(x, times) for name, x in self.table.variables.items()}
            every = [answer.spread(group=group, **values)[0] for group in self.table.groups]
            parts.append(float(np.max(every)) / spread)
        return parts[0], parts[1]

    def predicted(
        self, law: Typed, runs, group: str | None, values, process: Process | None = None
    ) -> np.ndarray:
        """See `FoundLaw.predict`; with a process of what the law leaves, where one is given."""
        number, values = self._placed(runs, group, values)
        names = self.columns.free
        missing = [name for name in names if name in law.fit.law.variables and name not in values]
        unknown = [name for name in values if name not in names]
        if unknown:
            reason = f"{unknown[0]!r} is not a variable of these runs"
            if missing:
                reason += f", and {missing[0]!r} has no value"
            raise IsolossError(Problem("predict", reason, nearest(unknown[0], names)))
        if missing:
            reason = f"no values of {missing[0]!r}"
            raise IsolossError(Problem("predict", reason, f"give them: {missing[0]}=..."))
        given = [np.asarray(values[name], float) for name in names if name in values]
        arrays = np.broadcast_arrays(np.zeros(1), number, *given)
        data = dict(zip([n for n in names if n in values], arrays[2:], strict=True))
        made = law.at(arrays[1], data)
        if process is None:
            return made
        return process.applied(made, arrays[1], process.axes.places(data))

    def _placed(self, runs, group: str | None, values) -> tuple[np.ndarray, dict[str, Any]]:
        """The group number of every value (n,), and the values."""
        groups = self.table.groups
        values = dict(values)
        labels: Any = np.array([groups[0] if group is None else group])
        if runs is not None:
            renamed = {old: new for new, old in self.table.renamed.items()}
            named = runs.rename(columns=renamed)
            values |= {n: named[n].to_numpy(float) for n in self.columns.free if n in named}
            column = next((c for c in named if str(c).lower() == "group"), None)
            if group is None and len(groups) > 1 and column is not None:
                labels = named[column].astype(str).to_numpy()
        wrong = sorted(set(labels.tolist()) - set(groups))
        if wrong:
            reason = f"no group {wrong[0]!r}"
            raise IsolossError(Problem("predict", reason, nearest(wrong[0], groups)))
        return np.array([groups.index(name) for name in labels]), values


def median_of(made: np.ndarray, scores: Sequence[float] | np.ndarray) -> np.ndarray:
    """The median of what laws predict, each weighted by the inverse of its squared error, (n,).

    Args:
        made: what each predicts, (k, n).
        scores: of each, 2 ln(error), (k,).

    >>> median_of(np.array([[1.0], [2.0], [9.0]]), [0.0, 0.1, 0.2])
    array([2.])
    >>> median_of(np.array([[1.0], [2.0], [9.0]]), [-5.0, 0.1, 0.2])
    array([1.])
    """
    weight = np.exp(np.min(scores) - np.asarray(scores))
    order = np.argsort(made, axis=0)
    sorted_values = np.take_along_axis(made, order, axis=0)
    below = np.cumsum(weight[order], axis=0) / weight.sum()
    ends = [(below < 0.5 + sign * HALF).sum(axis=0) for sign in (-1, 1)]
    low, high = (np.take_along_axis(sorted_values, end[None], axis=0)[0] for end in ends)
    return (low + high) / 2


def outermost(held: Sequence[Holdout], rows: np.ndarray) -> np.ndarray:
    """Of some runs the largest, bool: the hold-out that is nearest to a fifth of them.

    One of all variables together where there is one.
    """
    together = [one for one in held if one.name.startswith("product")] or held
    shares = [one.out[rows].mean() for one in together]
    return together[int(np.argmin(np.abs(np.array(shares) - JUDGES)))].out[rows]


def further(x: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Values times three; of a variable that may be 0 or below, a quarter of its range further."""
    return x * BEYOND if (whole > 0).all() else x + np.ptp(whole) / 4


def _spread(out: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    whole = np.zeros(count, dtype=bool)
    whole[rows[out]] = True
    return whole


def far(x: np.ndarray, times: float) -> float:
    """The largest value of a variable, times a factor; of one that may be 0, as far again."""
    if (x > 0).all():
        return float(x.max() * times)
    return float(x.max() if times == 1 else 2 * x.max() - x.min())


def simplest(order: Sequence[Fitted], noise: float) -> list[Fitted]:
    """Forms within one standard error of the best, those of fewest parameters first.

    The error is that of the mean difference of the two over hold-outs. Those of one variable hold
    out the same runs, and count as one; where there is one variable only, each counts.
    """
    best = order[0]
    own = best.terms(noise)
    kinds = np.unique(best.kinds, return_inverse=True)[1]
    if kinds.max(initial=0) == 0:
        kinds = np.arange(len(own))

    def near(one: Fitted) -> bool:
        apart = one.terms(noise) - own
        if not np.isfinite(apart).all():
            return False
        counts = len(kinds), kinds.max() + 1
        sums = np.bincount(kinds, apart - apart.mean())
        error = np.sqrt((sums**2).sum() * counts[1] / max(1, counts[1] - 1)) / counts[0]
        return bool(apart.mean() <= error)

    within = [(one.form.size, at) for at, one in enumerate(order) if one is best or near(one)]
    return [order[at] for _, at in sorted(within)]
