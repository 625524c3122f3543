"""The record of a fit: every fact that reports, summaries, exports and figures tell about it.

The renderers (a shell's report, a notebook's table, summary.md, the quick fit's text, explain.md,
the note under a figure) read this record, and decide on words, order and digits alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from isoloss.core import units
from isoloss.core.order import label_of
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.tables import WHOLE
from isoloss.fitted.names import OF_RUN, UNSEEN
from isoloss.fitted.reach import Reach, farthest, of_budget

if TYPE_CHECKING:
    from isoloss.fitted.result import Fit

CONVERGED = "converged"
NOT_JUDGED = "it was fitted before there were verdicts: fit it again"
VERDICTS = SOUND, WITH_CARE, DO_NOT_USE = "sound", "with care", "do not use"
NO_DOUBT = "no check has a doubt"
FIXED = "fixed"  # the interval of a parameter whose value was given
EDGE = 1e-4  # of a share from the least or greatest of the runs, within which it is at the edge
WIDE = 10  # factor between the ends of an interval above which a parameter is not identified


@dataclass(frozen=True)
class Parameter:
    """A parameter of a law as it was fitted, in its unit; NaN for what is not known.

    Attributes:
        free: whether the runs do not tell it apart from others, or it changes no prediction.
    """

    term: str
    symbol: str
    unit: str
    estimate: float
    std_error: float
    low: float
    high: float
    method: str
    at_bound: bool
    free: bool = False

    @property
    def fixed(self) -> bool:
        """Whether its value was given."""
        return self.method == FIXED

    def interval(self, form: Callable[[float], str] = units.count) -> str:
        """Its interval in brackets; `(fixed)` where its value was given, empty without any."""
        return f"({FIXED})" if self.fixed else units.interval(self.low, self.high, form)

    @property
    def remark(self) -> str:
        """What to know about it in a few words: at its bound, or not identified; or nothing."""
        if self.fixed:
            return ""
        if self.at_bound:
            return "at its bound"
        if self.free:
            return "not identified alone"
        wide = f"not identified: the interval spans a factor above {WIDE}"
        return "" if self.identified else wide

    @property
    def has_interval(self) -> bool:
        """Whether an interval was made."""
        return not math.isnan(self.low)

    @property
    def identified(self) -> bool:
        """Whether the interval spans no more than a factor of 10, where there is an interval."""
        return identified(self.low, self.high)


@dataclass(frozen=True)
class FoldScore:
    """Errors on runs held out, in the unit of the loss or none; NaN for what is not known."""

    name: str
    n_fitted: int
    n_held_out: int
    r2: float
    rmse: float
    mape: float
    spearman: float
    run_coverage: float

    @property
    def rule(self) -> str:
        """The rule that made the fold, such as `roll_out`."""
        return self.name.split(" ")[0]

    @property
    def of_fit(self) -> bool:
        """Whether the fit itself did not see the runs of the fold."""
        return self.rule in UNSEEN

    @property
    def before(self) -> str:
        """What the runs before those of such a fold have in common: a `budget` or a `value`."""
        return "budget" if self.rule == UNSEEN[0] else "value"

    @property
    def which(self) -> str:
        """The runs of a fold that the fit did not see, in words: `most compute`, or `largest D`."""
        return "most compute" if self.rule == UNSEEN[0] else self.name


@dataclass(frozen=True)
class Doubt:
    """What a check found: how grave it is (`stop`, `care` or `note`), and what would fix it."""

    check: str
    grade: str
    found: str
    remedy: str


@dataclass(frozen=True)
class OneFit:
    """The facts about the fit of one group and response.

    Attributes:
        status: `converged`, or what else it is (tables.yaml, summary.status).
        message: what to know about it, in words.
        verdict: `sound`, `with care` or `do not use`.
        reasons: why, where it is not sound.
        doubts: what the checks found, the gravest first; empty where a table of them is not read.
        quantity: what was fitted: the loss, or the name of another column of the runs.
        loss_unit: of what was fitted, such as nats/token.
        n_points_of: runs along which the fitted points lie; None where runs are fitted whole.
        parameters: in the law's order.
        folds: by rule, in their order.
    """

    group: str
    response: str
    card: str
    formula: str
    quantity: str
    loss_unit: str
    status: str
    message: str
    verdict: str
    reasons: str
    n_runs: int
    n_held_out: int
    n_dropped: int
    n_points_of: int | None
    objective: str
    objective_value: float
    gradient_norm: float
    n_starts: int
    n_agree: int
    second_objective_gap: float
    condition: float
    loosest: str
    n_replicates: int
    n_replicates_converged: int
    rmse: float
    r2: float
    seed_sd: float
    held_out_rmse: float
    held_out_baseline_rmse: float
    level: float
    parameters: tuple[Parameter, ...]
    folds: tuple[FoldScore, ...]
    doubts: tuple[Doubt, ...]

    @property
    def converged(self) -> bool:
        """Whether the fit is a sound optimum."""
        return self.status == CONVERGED

    @property
    def sound(self) -> bool:
        """Whether no check has a doubt."""
        return self.verdict == SOUND

    @property
    def grave(self) -> tuple[str, ...]:
        """What the checks found that made the verdict; empty where their table is not read."""
        return tuple(one.found for one in self.doubts if one.grade != "note")

    @property
    def loud_verdict(self) -> str:
        """The verdict, in capitals where the numbers are not to be used."""
        return self.verdict.upper() if self.verdict == DO_NOT_USE else self.verdict

    @property
    def judgement(self) -> str:
        """The verdict and its reasons in a sentence."""
        return f"{self.loud_verdict}: {self.reasons or NO_DOUBT}"

    @property
    def loud_status(self) -> str:
        """The status in capitals, so that it is seen among other words."""
        return self.status.replace("_", " ").upper()

    @property
    def scored(self) -> tuple[FoldScore, ...]:
        """The folds that had enough runs to fit."""
        return tuple(fold for fold in self.folds if math.isfinite(fold.rmse))

    @property
    def fold_rmse(self) -> float:
        """Root mean square error over the runs held out in all folds; NaN without any."""
        count = sum(fold.n_held_out for fold in self.scored)
        squares = sum(fold.n_held_out * fold.rmse**2 for fold in self.scored)
        return math.sqrt(squares / count) if count else math.nan

    @property
    def agreement(self) -> str:
        """How many starts agree; empty for a recipe, which has none."""
        return f"{self.n_agree} of {self.n_starts} starts agree" if self.n_starts else ""

    @property
    def fitted_rows(self) -> str:
        """How many runs were fitted, or points along how many of them."""
        if self.n_points_of is None:
            return f"{self.n_runs} runs"
        return f"{self.n_runs} points of {self.n_points_of} runs"

    @property
    def warning(self) -> str:
        """The message where it says more than that starts agree; else empty."""
        return "" if self.message == self.agreement else self.message

    @property
    def has_intervals(self) -> bool:
        """Whether intervals were made of the parameters that are not fixed."""
        return any(p.has_interval for p in self.parameters if p.method != FIXED)

    def remark(self, parameter: Parameter) -> str:
        """What to know about a parameter; that it is fixed where intervals do not say so."""
        if parameter.fixed and not self.has_intervals:
            return FIXED
        return parameter.remark

    @property
    def method(self) -> str:
        """How the intervals were made: of the first parameter that is not fixed."""
        methods = [parameter.method for parameter in self.parameters]
        return next((method for method in methods if method != FIXED), FIXED)


@dataclass(frozen=True)
class Record:
    """The facts about a fit.

    Attributes:
        formula: of the law; for a mixture law, of that of its last domain.
        quantity: what was fitted: the loss, or the name of another column of the runs.
        fits: one a group and response, groups in their order.
    """

    formula: str
    quantity: str
    level: float
    groups: tuple[str, ...]
    responses: tuple[str, ...]
    allocates: bool
    fits: tuple[OneFit, ...]

    def of(self, group: str) -> list[OneFit]:
        """The fits of a group."""
        return [one for one in self.fits if one.group == group]

    @property
    def unsound(self) -> list[OneFit]:
        """The fits whose verdict is not `sound`."""
        return [one for one in self.fits if not one.sound]

    @property
    def worst(self) -> OneFit:
        """The fit of the gravest verdict, the first of them."""
        return max(self.fits, key=lambda one: VERDICTS.index(one.verdict))

    @property
    def judgement(self) -> str:
        """The verdict on all fits in a sentence: the worst, and whose it is."""
        worst = self.worst
        if len(self.fits) == 1 or worst.sound:
            return worst.judgement
        count = sum(one.verdict == worst.verdict for one in self.fits)
        if all(one.judgement == worst.judgement for one in self.fits):
            return f"{worst.loud_verdict} (all {count} fits): {worst.reasons}"
        whose = " ".join(
            [worst.group] * (len(self.groups) > 1) + [worst.response] * (len(self.responses) > 1)
        )
        return f"{worst.loud_verdict} ({count} of {len(self.fits)} fits): {whose}: {worst.reasons}"


@dataclass(frozen=True)
class Quantity:
    """An estimate with its interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Allocation:
    """How a fit divides a budget.

    Attributes:
        flops: the budget, FLOP.
        times_largest: the budget over that of the largest run; above 1 the law extrapolates.
        n_params, n_samples, tokens_per_parameter, loss: with intervals; NaN where there is
            no optimum, since an exponent is not positive.
        reach: how far outside the group's runs its C, N and D lie.
    """

    flops: float
    times_largest: float
    n_params: Quantity
    n_samples: Quantity
    tokens_per_parameter: Quantity
    loss: Quantity
    reach: Reach

    @property
    def exists(self) -> bool:
        """Whether there is an optimum."""
        return bool(self.n_params.estimate > 0)


@dataclass(frozen=True)
class BudgetLoss:
    """The loss that a fit of a law in C predicts for a budget.

    Attributes:
        flops: the budget, FLOP.
        times_largest: the budget over that of the largest run; above 1 the law extrapolates.
        loss: with its interval.
        reach: how far outside the group's runs the budget lies.
    """

    flops: float
    times_largest: float
    loss: Quantity
    reach: Reach


@dataclass(frozen=True)
class Gain:
    """The compute-equivalent gain of a group over another at a budget.

    Attributes:
        flops: the budget of the baseline, FLOP.
        times_largest: the budget over that of the largest run.
        baseline: the group that the other is compared with.
        group: the other.
        loss: that the baseline reaches with the budget; NaN where it has no best division.
        gain: the budget over the one with which the group reaches that loss; above 1 the group is
            better. NaN where it never reaches it; ends of the interval are then 0.
        reached: share of replicates in which the group reaches the loss; NaN without any.
        beyond: the greater of both groups' budgets over their own largest runs.
        reach: how far outside the runs of either group its budget, or the best N or D of it, lies.
    """

    flops: float
    times_largest: float
    baseline: str
    group: str
    loss: float
    gain: Quantity
    reached: float
    beyond: float
    reach: Reach

    @property
    def needed(self) -> Quantity:
        """The compute that the group needs for the same loss, as a part of the baseline's."""
        ends = self.gain.estimate, self.gain.high, self.gain.low
        return Quantity(*(1 / end if end else math.inf for end in ends))

    @property
    def reaches(self) -> bool:
        """Whether the group reaches the loss, by the estimates of both."""
        return not math.isnan(self.gain.estimate)

    @property
    def always(self) -> bool:
        """Whether the group reaches the loss in every replicate, or there are none to say so."""
        return not self.reached < 1

    @property
    def often(self) -> str:
        """The percentage of replicates that reach the loss; 100 only where all of them do."""
        return f"{min(100 * self.reached, 100 if self.always else 99.9):.3g}"


@dataclass(frozen=True)
class Share:
    """The share of a domain in the best mixture, and in the runs fitted.

    Attributes:
        least, most: of the runs fitted; the best mixture is sought in between.
    """

    domain: str
    proportion: Quantity
    least: float
    most: float

    @property
    def at_edge(self) -> bool:
        """Whether the share is the least or greatest of the runs fitted."""
        share = self.proportion.estimate
        return min(abs(share - self.least), abs(share - self.most)) < EDGE


@dataclass(frozen=True)
class BestMixture:
    """The mixture of least mean loss of some responses.

    Attributes:
        level: of the intervals.
        n_replicates: that the intervals are made of.
        loss: the mean loss there.
    """

    group: str
    responses: tuple[str, ...]
    level: float
    n_replicates: int
    shares: tuple[Share, ...]
    loss: Quantity


@dataclass(frozen=True)
class LostRuns:
    """Runs of a table that are not finished, or not used, for one reason.

    Attributes:
        status: `dropped`, `diverged` or `failed`.
        reason: in words; empty if none is known.
    """

    status: str
    reason: str
    n_runs: int


@dataclass(frozen=True)
class RunCounts:
    """How many runs a table has, and what became of those that are not finished.

    Attributes:
        n_along: runs along which finished rows lie; None where each row is a run.
    """

    n_rows: int
    n_done: int
    lost: tuple[LostRuns, ...]
    n_along: int | None = None

    def of(self, status: str) -> list[LostRuns]:
        """The runs of a status, by reason."""
        return [lost for lost in self.lost if lost.status == status]


@dataclass(frozen=True)
class Selection:
    """What some fits looked at, fitted or held out.

    Attributes:
        n_runs: whole, or with points along them.
        n_points: points along runs.
    """

    n_runs: int
    n_points: int


def identified(low: float, high: float) -> bool:
    """Whether an interval spans no more than a factor of 10, or there is none to say so.

    >>> identified(1.0, 9.0), identified(1.0, 11.0), identified(-1.0, 1.0)
    (True, False, True)
    """
    return not (low > 0 and high > WIDE * low)


def record(fit: Fit) -> Record:
    """The record of a fit."""
    params = dict(iter(fit.params.groupby(["group", "response"], sort=False)))
    folds = dict(iter(fit.scores.groupby(["group", "response"], sort=False)))
    doubts = dict(iter(fit.findings.groupby(["group", "response"], sort=False)))
    ones = []
    for row in fit.summary.to_dict("records"):
        key = row["group"], row["response"]
        own = {name: row[name] for name in OneFit.__dataclass_fields__ if name in row}
        parameters = tuple(_parameter(p) for p in params[key].to_dict("records"))
        scores = folds[key].to_dict("records") if key in folds else []
        own_doubts = doubts[key].to_dict("records") if key in doubts else []
        ones.append(
            OneFit(
                **own,
                quantity=fit.quantity,
                loss_unit=fit.loss_unit,
                n_points_of=_parent_runs(fit, *key),
                level=float(params[key]["ci_level"].iloc[0]),
                parameters=parameters,
                folds=tuple(_fold(fold) for fold in scores),
                doubts=tuple(_doubt(one) for one in own_doubts),
            )
        )
    return Record(
        formula=fit.law.formula,
        quantity=fit.quantity,
        level=fit.level,
        groups=tuple(fit.groups),
        responses=tuple(fit.responses),
        allocates=fit.allocates,
        fits=tuple(ones),
    )


def allocations(fit: Fit, group: str, flops: Sequence[float], largest: float) -> list[Allocation]:
    """How a group's fit divides budgets.

    Args:
        fit: of a law that divides budgets.
        group: of it.
        flops: budgets, FLOP.
        largest: 6 N D of the largest run, FLOP.
    """
    columns = {
        "n_params": "N",
        "n_samples": "D",
        "tokens_per_parameter": "tokens_per_parameter",
        "loss": "loss",
    }
    return [
        Allocation(
            flops=row["C"],
            times_largest=row["C"] / largest,
            **{name: _quantity(row, column) for name, column in columns.items()},
            reach=of_budget(fit, group, row["C"]),
        )
        for row in fit.allocate(list(flops), group).to_dict("records")
    ]


def budget_losses(fit: Fit, group: str, flops: Sequence[float], largest: float) -> list[BudgetLoss]:
    """The losses of budgets by a group's fit of a law in C.

    Args:
        fit: of a law in C alone.
        group: of it.
        flops: budgets, FLOP.
        largest: compute of the largest run, FLOP.
    """
    return [
        BudgetLoss(
            flops=row["C"],
            times_largest=row["C"] / largest,
            loss=Quantity(row["loss"], row["low"], row["high"]),
            reach=of_budget(fit, group, row["C"]),
        )
        for row in fit.predict(group, C=list(flops)).to_dict("records")
    ]


def baseline_of(groups: Sequence[str], baseline: str | None, place: str = "baseline") -> str:
    """The group that the others are compared with: the first in their order if none is named.

    Raises:
        IsolossError: there is no such group.
    """
    if baseline is None:
        return groups[0]
    label = label_of(baseline, groups)
    if label is None and list(groups) == [WHOLE]:
        do = "name the column of the groups: group=COLUMN, of --columns"
        raise IsolossError(Problem(place, f"no group {baseline!r}: the runs have no groups", do))
    if label is None:
        raise IsolossError(Problem(place, f"no group {baseline!r}", nearest(baseline, groups)))
    return label


def gains(
    fit: Fit, flops: Sequence[float], largest: float, baseline: str | None = None
) -> list[Gain]:
    """How much compute the groups of a fit save over one of them, budget by budget.

    Args:
        fit: of any law.
        flops: budgets of the baseline, FLOP.
        largest: compute of the largest run, FLOP.
        baseline: group that the others are compared with; the first if None.

    Returns:
        One for each other group and budget; none of a single group, and none where the law gives
        no loss for a budget or is not fitted to the loss.

    Raises:
        IsolossError: there is no such group.
    """
    first = baseline_of(fit.groups, baseline)
    if len(fit.groups) < 2 or not fit.has_least_loss:
        return []
    compute = "n_flops_6nd" if fit.allocates else "n_flops"
    ends = fit.points.groupby("group")[compute].max()
    return [
        _gain(row, largest, (first, ends[first]), (group, ends[group]), fit)
        for group in fit.groups
        if group != first
        for row in fit.gain(list(flops), first, group).to_dict("records")
    ]


def _gain(
    row: dict, largest: float, baseline: tuple[str, float], other: tuple[str, float], fit: Fit
) -> Gain:
    """A row of `Fit.gain`, of two groups with the compute of their largest runs."""
    budgets = (baseline[0], row["C"]), (other[0], row["C"] / row["gain"])
    beyond = row["C"] / baseline[1], row["C"] / row["gain"] / other[1]
    return Gain(
        flops=row["C"],
        times_largest=row["C"] / largest,
        baseline=baseline[0],
        group=other[0],
        loss=row["loss"],
        gain=_quantity(row, "gain"),
        reached=row["reached"],
        beyond=float(max(end for end in beyond if not math.isnan(end))),
        reach=farthest(*(of_budget(fit, group, C) for group, C in budgets if not math.isnan(C))),
    )


def best_mixture(fit: Fit, group: str, responses: Sequence[str], n_replicates: int) -> BestMixture:
    """The mixture of least mean loss of some responses.

    Args:
        fit: of a mixture law.
        group: of it.
        responses: whose losses count alike.
        n_replicates: for the intervals, at most.
    """
    n_replicates = min(n_replicates, len(fit.replicate_thetas(group, responses[0])))
    best = fit.best_mixture(dict.fromkeys(responses, 1.0), group, replicates=n_replicates)
    ranges = fit.rows_of("ranges", group, responses[0]).set_index("variable")
    rows = best.to_dict("records")
    shares = [
        Share(
            domain=row["domain"],
            proportion=_quantity(row, "proportion"),
            least=float(ranges.loc[f"p_{row['domain']}", "low"]),
            most=float(ranges.loc[f"p_{row['domain']}", "high"]),
        )
        for row in rows
    ]
    loss = _quantity(rows[0], "loss")
    return BestMixture(group, tuple(responses), fit.level, n_replicates, tuple(shares), loss)


def count_runs(runs: pd.DataFrame) -> RunCounts:
    """How many runs a table `runs` has, by status and reason in their order."""
    unfinished = runs[runs["status"] != "done"]
    reasons = unfinished["status_reason"].astype(object).fillna("")
    sizes = unfinished.groupby([unfinished["status"], reasons], sort=False).size()
    lost = tuple(LostRuns(status, reason, int(size)) for (status, reason), size in sizes.items())
    along = None
    if OF_RUN in runs:
        along = int(runs.loc[runs["status"] == "done", OF_RUN].nunique())
    return RunCounts(len(runs), len(runs) - len(unfinished), lost, along)


def selection(
    fits: Iterable[Fit], group: str = "", shown: Iterable[str] | None = None
) -> Selection:
    """What some fits looked at, or some of it.

    Args:
        fits: whose runs are counted.
        group: of the fits; all groups if empty.
        shown: the `run_id` of what is counted in the place of all that they looked at.
    """
    ids: set[str] = set() if shown is None else set(shown)
    parents: dict[str, str] = {}  # of points along runs
    for fit in fits:
        residuals = fit.residuals
        if shown is None:
            ids |= set(residuals.loc[(residuals["group"] == group) | (group == ""), "run_id"])
        if OF_RUN in fit.points:
            parents |= dict(zip(fit.points["run_id"], fit.points[OF_RUN], strict=True))
    n_runs = len({parents.get(one, one) for one in ids})
    return Selection(n_runs, sum(one in parents for one in ids))


def _quantity(row: dict, column: str) -> Quantity:
    return Quantity(row[column], row[f"{column}_low"], row[f"{column}_high"])


def _parameter(row: dict) -> Parameter:
    return Parameter(
        term=row["term"],
        symbol=row["symbol"],
        unit=row["unit"],
        estimate=row["estimate"],
        std_error=row["std_error"],
        low=row["ci_low"],
        high=row["ci_high"],
        method=row["ci_method"],
        at_bound=bool(row["at_bound"]),
        free=bool(row.get("free", False)),
    )


def _fold(row: dict) -> FoldScore:
    return FoldScore(
        name=row["fold"],
        **{name: row[name] for name in FoldScore.__dataclass_fields__ if name in row},
    )


def _doubt(row: dict) -> Doubt:
    return Doubt(**{name: row[name] for name in Doubt.__dataclass_fields__})


def _parent_runs(fit: Fit, group: str, response: str) -> int | None:
    """Along how many runs the fitted points lie; None where runs were fitted whole."""
    if OF_RUN not in fit.points:
        return None
    residuals = fit.rows_of("residuals", group, response)
    fitted = fit.points["run_id"].isin(set(residuals.loc[~residuals["held_out"], "run_id"]))
    return int(fit.points.loc[fitted, OF_RUN].nunique())
