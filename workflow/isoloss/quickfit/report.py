"""What a quick fit tells its user, as text for a terminal: made from the facts alone."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from isoloss.aggregate.guess import Guess
from isoloss.core import escape, registry, units
from isoloss.core.escape import columns, listed, visible
from isoloss.core.tables import WHOLE
from isoloss.fitted import FALLBACK
from isoloss.fitted.facts import (
    DO_NOT_USE,
    Allocation,
    BestMixture,
    BudgetLoss,
    FoldScore,
    Gain,
    OneFit,
    Parameter,
    Quantity,
    Record,
    RunCounts,
)
from isoloss.fitted.growth import Growth
from isoloss.fitted.names import equation
from isoloss.fitted.optima import Optimum, text_of
from isoloss.fitted.paper_tables import side_by_side
from isoloss.fitted.presets import Comparison
from isoloss.laws._mixture import own_domain
from isoloss.quickfit import many
from isoloss.quickfit.ask import pasted
from isoloss.quickfit.many import FITS

_LOSSES = 12  # of a group, that are shown
_OTHERS = 3  # columns that a guess could have been as well, that are shown
_LINE = 110  # characters of a line of text
_REMEDIES = 3  # of doubts, that are shown


@dataclass(frozen=True)
class Meaning:
    """What a table's columns are, and the law that is fitted to them.

    Attributes:
        source: the table, as it is shown.
        law: law card.
        columns: letter (N, D, C, U, loss) or word (group, seed, ...) to column.
        given: what the user said of them.
        guess: what was guessed of the rest.
        renamed: of a table of mixtures, column to p_<domain> or loss_<domain>.
        notes: what was decided where the table was read, a sentence each.
        response: column that is fitted in the place of the loss.
        formula: that the user typed; empty of another law.
        variables: names of the formula that are columns.
        parameters: its other names.
        signed: whether there are losses of 0 or below, which a formula is fitted to.
        ranges: least and greatest value of every variable.
        proposal: a formula for further columns that vary, as words for a shell; or empty.
        options: of the law card, as far as the user or the table's columns say them.
        loss_unit: of the loss of a table of mixtures, where its name says it; or None.
    """

    source: str
    law: str
    columns: Mapping[str, str]
    given: Mapping[str, str]
    guess: Guess
    renamed: Mapping[str, str]
    notes: Sequence[str] = ()
    response: str | None = None
    formula: str = ""
    variables: Sequence[str] = ()
    parameters: Sequence[str] = ()
    signed: bool = False
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    proposal: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    loss_unit: str | None = None

    @property
    def mixture(self) -> bool:
        """Whether it is a law of mixtures."""
        return registry.of_mixtures(self.law)


@dataclass(frozen=True)
class Decisions:
    """What a fit says of budgets.

    Attributes:
        allocations: how each group's fit divides them, by group; empty if the law does not say.
        growth: how its best N and D grow with the budget, by group.
        losses: of them by each group's fit of a law in C, by group.
        gains: of the groups over one of them; empty of a single group.
        beside: published laws on the same runs.
        optima: answers of each group's fit to a question that the user asked.
    """

    allocations: Mapping[str, Sequence[Allocation]] = field(default_factory=dict)
    growth: Mapping[str, Growth] = field(default_factory=dict)
    losses: Mapping[str, Sequence[BudgetLoss]] = field(default_factory=dict)
    gains: Sequence[Gain] = ()
    beside: Sequence[Comparison] = ()
    optima: Sequence[Optimum] = ()


def of_sizes(
    meaning: Meaning,
    counts: RunCounts,
    facts: Record,
    held: Record | None,
    decisions: Decisions,
) -> str:
    """The text about a law in N, D or C.

    Args:
        meaning: of the table's columns.
        counts: of its runs.
        facts: about the fit of all runs.
        held: about the fit without the largest budget, if there is one.
        decisions: what follows for budgets.
    """
    parts = [
        _verdict(facts),
        _columns(meaning, counts),
        _parameters(facts),
        _evidence(facts),
        *([_errors(held)] if held is not None else []),
        *([_folds(facts)] if any(one.folds for one in facts.fits) else []),
        *([_allocations(decisions.allocations)] if decisions.allocations else []),
        *([_frontier(decisions.growth)] if decisions.growth else []),
        *([_losses(decisions.losses)] if decisions.losses else []),
        *([_gains(decisions.gains, facts)] if decisions.gains else []),
        *([text_of(decisions.optima)] if decisions.optima else []),
        *([_published(decisions)] if decisions.beside else []),
        *([_proposal(meaning)] if meaning.proposal else []),
    ]
    return escape.terminal("\n".join(parts))


def of_mixtures(
    meaning: Meaning,
    counts: RunCounts,
    facts: Record,
    domains: Sequence[str],
    best: Sequence[BestMixture],
    not_fitted: Sequence[str],
) -> str:
    """The text about a law of mixtures.

    Args:
        meaning: of the table's columns.
        counts: of its runs.
        facts: about the fits.
        domains: columns of proportions.
        best: the best mixture of each group.
        not_fitted: losses without a fit, and why.
    """
    shown = [*not_fitted[:3]]
    if len(not_fitted) > 3:
        shown.append(f"and {len(not_fitted) - 3} more")
    parts = [
        _verdict(facts),
        _columns(meaning, counts),
        f"{meaning.law}: {facts.formula}\n",
        *(_responses(facts.of(group), domains) for group in facts.groups),
        *(_best_mixture(one) for one in best),
        *(["not fitted: " + "; ".join(map(visible, shown)) + "\n"] if shown else []),
    ]
    return escape.terminal("\n".join(parts))


def _verdict(facts: Record) -> str:
    """The verdict in a sentence, and what would fix the doubts of the worst fit."""
    lines = [f"verdict: {visible(facts.judgement)}"]
    remedies = [one for one in facts.worst.doubts if one.grade != "note" and one.remedy]
    for remedy in list(dict.fromkeys(one.remedy for one in remedies))[:_REMEDIES]:
        lines.append(f"  what helps: {visible(remedy)}")
    wrapped = [textwrap.fill(line, _LINE, subsequent_indent="    ") for line in lines]
    return "\n".join(wrapped) + "\n"


def _name(text: object) -> str:
    """A name from the table, on a line of a terminal."""
    return escape.short(visible(text), escape.CELL)


def _columns(meaning: Meaning, counts: RunCounts) -> str:
    """How many runs there are, and which column is what."""
    runs = f"{counts.n_done} runs"
    if counts.n_along is not None:
        runs = f"{counts.n_done} points of {counts.n_along} runs"
    lines = [f"{visible(meaning.source)}: {counts.n_rows} rows, {runs}"]
    reasons: dict[tuple[str, str], int] = {}
    for lost in counts.lost:
        key = lost.status, lost.reason if lost.status == "dropped" else ""  # notes say the others
        reasons[key] = reasons.get(key, 0) + lost.n_runs
    lines[0] += "".join(
        f", {n} {status}" + (f" ({visible(reason)})" if reason else "")
        for (status, reason), n in reasons.items()
    )
    lines.append("columns: " + ", ".join(_meanings(meaning)))
    lines += _split(meaning)
    lines += [f"  {visible(note)}" for note in (*meaning.notes, *_doubts(meaning))]
    unused = [c for c in meaning.guess.unused if c not in meaning.columns.values()]
    if meaning.mixture:  # its law needs none of the sizes
        unused = [
            c for c in _guessed(meaning).values() if c not in meaning.columns.values()
        ] + unused
    if unused:
        lines.append(f"  not used: {listed(unused)}")
    if set(meaning.columns) - set(meaning.given):
        lines.append(f"  another column: {pasted(_alternatives(meaning))}; none: --columns group=")
    return "\n".join(lines) + "\n"


def _split(meaning: Meaning) -> list[str]:
    """Which names of a typed formula are variables, with their ranges, and which are parameters."""
    if not meaning.formula:
        return []
    ranges = [
        f"{name} {units.count(low)} to {units.count(high)}"
        for name, (low, high) in meaning.ranges.items()
    ]
    lines = [f"  variables: {', '.join(ranges)}", f"  parameters: {', '.join(meaning.parameters)}"]
    used = {meaning.columns.get(name, name) for name in meaning.variables}
    others = [size for size in "NDC" if meaning.columns.get(size) not in {None, *used}]
    if others:
        lines.append(f"  not in the formula: {', '.join(others)}")
    return [textwrap.fill(line, _LINE, subsequent_indent="    ") for line in lines]


def _guessed(meaning: Meaning) -> dict[str, str]:
    """The quantities and words that were guessed, and their columns."""
    return {k: c for k, c in meaning.guess.columns.items() if k not in meaning.given}


def _meanings(meaning: Meaning) -> list[str]:
    """Which column is what, whether that is a guess, and what else it could be."""
    shown = []
    for letter, column in meaning.columns.items():
        if letter == column and letter in meaning.variables and letter in meaning.given:
            continue  # a variable under its own name, which the next line names
        text = f"{letter} = {_name(column)}"
        if letter not in meaning.given:
            others = meaning.guess.others.get(letter, ())
            more = f"; also {listed(others, _OTHERS)}" if others else ""
            crossed = letter == "group" and meaning.guess.crossed
            more += "; all sizes are there with each of them" if crossed else ""
            text += f" (guessed{more})"
        shown.append(text)
    if meaning.response is not None:
        shown.append(f"fitted: {_name(meaning.response)}")
    if meaning.renamed:
        shares = sum(name.startswith("p_") for name in meaning.renamed.values())
        losses = len(meaning.renamed) - shares
        kind = "losses by domain" if losses > 1 else "loss"
        shown.append(f"{shares} proportions, {losses} {kind} (guessed)")
    return shown


def _doubts(meaning: Meaning) -> list[str]:
    """What the user should know about the guesses: quantities left open, labels, one size."""
    guess, lines = meaning.guess, []
    if meaning.mixture:
        return lines
    for key, names in guess.tied.items():
        if key not in meaning.columns:
            lines.append(f"{key} is not used: {listed(names)} are equally likely")
    if "group" not in {*meaning.columns, *meaning.given} and guess.labels:
        paste = pasted({"group": guess.labels[0]})
        lines.append(f"one law for all of {listed(guess.labels)}; a law for each: {paste}")
    if len({"N", "D", "C", "ratio"} & set(meaning.columns)) == 1 and meaning.law == "power_law":
        (size,) = {"N", "D", "C"} & set(meaning.columns)
        others = " or ".join(key for key in "NDC" if key not in (size, "C"))
        lines.append(f"no column for {others}: a power law in {size}")
    return lines


def _alternatives(meaning: Meaning) -> dict[str, str]:
    """Columns that some guesses could have been instead, or an example."""
    others = {
        key: names[0]
        for key, names in meaning.guess.others.items()
        if key in meaning.columns and key not in meaning.given and names
    }
    return others or {next(iter(_guessed(meaning)), "N"): "NAME"}


def _parameters(fit: Record) -> str:
    """The parameters of the first fits, with their intervals."""
    parts = []
    for one in fit.fits[:FITS]:
        title = f"{one.card}: {equation(one.formula, _name(one.quantity))}"
        if len(fit.fits) > 1:
            title += f"   [group {_name(one.group)}, {_name(one.response)}]"
        spread = [f"{100 * one.level:.4g} % interval", "std error"] if one.has_intervals else []
        rows = [
            (
                f"  {_name(p.symbol)}",
                units.count(p.estimate, 4),
                *_spread(p)[: len(spread)],
                p.unit + _marked(one, p),
            )
            for p in one.parameters
        ]
        how = f"  intervals: {one.method}"
        how += f", {one.n_replicates} refits" if one.n_replicates else ""
        parts.append(f"{title}\n{columns(('', 'estimate', *spread, 'unit'), rows)}{how}")
    if len(fit.fits) > FITS:
        parts.append(f"... and {len(fit.fits) - FITS} more fits in params.parquet")
    return "\n".join(parts) + "\n"


def _marked(one: OneFit, p: Parameter) -> str:
    """What to know about a parameter, in brackets behind its unit; or nothing."""
    short = p.at_bound or p.free or p.fixed  # that an interval is wide is seen
    remark = one.remark(p) if short else ""
    return f" ({remark})" if remark else ""


def _spread(p: Parameter) -> tuple[str, str]:
    """The interval and the standard error of a parameter."""
    error = units.count(p.std_error) if math.isfinite(p.std_error) else "-"
    return p.interval(), "" if p.fixed else error


def _evidence(fit: Record) -> str:
    """Whether each fit is an optimum, and how well it describes the runs."""
    if len(fit.fits) > FITS:
        return _evidence_of_many(fit)
    lines = []
    for one in fit.fits:
        state = one.status if one.converged else one.loud_status
        of = f" [{_name(one.group)}, {_name(one.response)}]" if len(fit.fits) > 1 else ""
        message = f"; {visible(one.message)}" if one.message else ""
        parts = [f"evidence{of}: {state}{message}"]
        if one.n_starts:
            parts.append(f"objective {one.objective_value:.10g} ({one.objective})")
            parts.append(f"gradient {one.gradient_norm:.1e}")
            gap = one.second_objective_gap
            parts.append(
                f"next optimum {gap:.2g} of the objective higher"
                if math.isfinite(gap)
                else "no other optimum met"
            )
        score = units.decimals(one.r2)
        parts.append(f"RMSE {units.plain(one.rmse)} on {one.n_runs} runs, R2 {score}")
        if one.n_starts:
            least = f", least known: {visible(one.loosest)}" if one.loosest else ""
            parts.append(f"condition {one.condition:.3g}{least}")
        lines.append("\n  ".join(parts))
    return "\n".join(lines) + "\n"


def _evidence_of_many(fit: Record) -> str:
    """The same of many fits: how many are of each status, and the worst of each kind."""
    by_status: dict[str, list[OneFit]] = {}
    for one in fit.fits:
        by_status.setdefault(one.status if one.converged else one.loud_status, []).append(one)
    counts = ", ".join(f"{len(ones)} {status}" for status, ones in by_status.items())
    parts = [f"evidence of {len(fit.fits)} fits: {counts} (all of them: summary.parquet, --json)"]
    for status, ones in by_status.items():
        if messages := [one for one in ones if one.warning]:
            first = messages[0]
            parts.append(f"{status}, such as {_whose(first)}: {visible(first.warning)}")
    searched = [one for one in fit.fits if one.n_starts]
    if searched:
        alone = min(searched, key=lambda one: one.n_agree / one.n_starts)
        steep = max(searched, key=lambda one: one.gradient_norm)
        agree = f"at least {alone.agreement} {_whose(alone)}"
        parts.append(f"objective {searched[0].objective}; {agree}")
        parts.append(f"gradient at most {steep.gradient_norm:.1e} {_whose(steep)}")
    far = max(fit.fits, key=lambda one: one.rmse)
    parts.append(f"RMSE at most {units.plain(far.rmse)} {_whose(far)}, {_least_r2(fit)}")
    if searched:
        loose = max(searched, key=lambda one: one.condition)
        least = f", least known there: {visible(loose.loosest)}" if loose.loosest else ""
        parts.append(f"condition at most {loose.condition:.3g} {_whose(loose)}{least}")
    return "\n  ".join(parts) + "\n"


def _least_r2(fit: Record) -> str:
    """The lowest R2 of many fits; those without one are left out."""
    known = [one for one in fit.fits if math.isfinite(one.r2)]
    worst = min(known, key=lambda one: one.r2, default=None)
    return "no R2" if worst is None else f"R2 at least {units.decimals(worst.r2)} {_whose(worst)}"


def _whose(one: OneFit) -> str:
    """Which of many fits it is, in brackets."""
    return f"[{_name(one.group)}, {_name(one.response)}]"


def _errors_of_many(held: Record) -> str:
    """Errors on the runs held out of each of many groups: the middle and the worst."""
    worst = max(held.fits, key=lambda one: one.held_out_rmse)
    middle = statistics.median(one.held_out_rmse for one in held.fits)
    better = sum(one.held_out_rmse < one.held_out_baseline_rmse for one in held.fits)
    fold, before = worst.folds[0], worst.folds[0].before
    inside = [one.folds[0].run_coverage for one in held.fits]
    share = statistics.mean(inside)
    hold = "" if math.isnan(share) else f"; {100 * share:.0f} % inside the interval of a run"
    return (
        f"held out of {len(held.fits)} groups (all of them: --json): the runs of "
        f"{visible(fold.which)}, predicted from the others\n"
        f"  RMSE {units.plain(middle)} in the middle, at most {units.plain(worst.held_out_rmse)} "
        f"{_whose(worst)}, "
        f"better than the mean of the {before} before in {better}{hold}\n"
    )


def _errors(held: Record) -> str:
    """Errors on the runs of the largest budget, by a fit that did not see them."""
    if len(held.fits) > FITS:
        return _errors_of_many(held)
    lines = []
    for one in held.fits:
        of = "" if one.group == WHOLE else f" [{_name(one.group)}]"
        fold = one.folds[0]
        runs = "run" if one.n_held_out == 1 else f"{one.n_held_out} runs"
        guess = units.plain(one.held_out_baseline_rmse)
        lines.append(
            f"held out{of}: the {runs} of {visible(fold.which)}, predicted from the other "
            f"{one.n_runs}: RMSE {units.plain(one.held_out_rmse)} "
            f"(guessing the mean of the {fold.before} before: {guess})"
            f"{_share(fold.mape, one)}{_inside(fold)}"
        )
    return "\n".join(lines) + "\n"


def _share(error: float, one: OneFit) -> str:
    """A mean relative error in words; nothing where errors are differences, which RMSE says."""
    if math.isnan(error):
        return ""
    return f", error {units.percent(error)} of the {_name(one.quantity)}"


def _inside(fold: FoldScore) -> str:
    """How many of the runs held out lie inside their intervals, where there are any."""
    if math.isnan(fold.run_coverage):
        return ""
    return f", {100 * fold.run_coverage:.0f} % inside the interval of a run"


def _folds(facts: Record) -> str:
    """Errors on runs held out by a rule with folds, each predicted by a fit of the others."""
    lines = []
    for one in facts.fits[:FITS]:
        if not one.folds:
            continue
        of = f" [{_name(one.group)}, {_name(one.response)}]" if len(facts.fits) > 1 else ""
        rule, count = one.folds[0].rule, len(one.folds)
        scored = one.scored
        if not scored:
            lines.append(f"held out{of} ({rule}): too few runs are left to fit in any fold")
            continue
        n_runs = sum(fold.n_held_out for fold in scored)
        errors = sum(fold.n_held_out * fold.mape for fold in scored)
        worst = max(scored, key=lambda fold: fold.rmse)
        few = f" ({count - len(scored)} more have too few runs to fit)" * (count > len(scored))
        others = "the runs before it" if rule == "roll_out" else "the others"
        lines.append(
            f"held out{of} ({rule}): {len(scored)} folds{few}, each predicted from {others}: "
            f"RMSE {units.plain(one.fold_rmse)}{_share(errors / n_runs, one)}; "
            f"worst {visible(worst.name)}: RMSE {units.plain(worst.rmse)}"
        )
    return "\n".join(lines) + "\n"


def _allocations(best: Mapping[str, Sequence[Allocation]]) -> str:
    """How each group's fit divides budgets: a row a budget."""
    if len(best) > FITS:
        return many.allocations(best)
    head = ("best for C, FLOP", "N", "D", "D/N", "loss", "outside the runs")
    return _by_group(head, {g: [_allocation(one) for one in ones] for g, ones in best.items()})


def _by_group(head: Sequence[str], rows: Mapping[str, Sequence[Sequence[str]]]) -> str:
    """A table a group, under its name."""
    parts = []
    for group, lines in rows.items():
        title = "" if group == WHOLE else f"[{_name(group)}]\n"
        parts.append(title + columns(head, lines))
    return "\n".join(parts)


def _frontier(growth: Mapping[str, Growth]) -> str:
    """How the best N and D grow with the budget: a line a group."""
    if len(growth) > FITS:
        return many.frontier(growth)
    lines = ["compute-optimal frontier:" if len(growth) > 1 else "compute-optimal frontier: "]
    for group, one in growth.items():
        lines.append(one.text if len(growth) == 1 else f"\n  [{_name(group)}] {one.text}")
    return "".join(lines) + "\n"


def _losses(losses: Mapping[str, Sequence[BudgetLoss]]) -> str:
    """The loss of budgets by each group's fit of a law in C: a row a budget."""
    if len(losses) > FITS:
        return many.losses(losses)
    rows = {
        group: [
            (units.power(one.flops), _estimate(one.loss, "{:.4g}".format), one.reach.text)
            for one in ones
        ]
        for group, ones in losses.items()
    }
    return _by_group(("at C, FLOP", "loss", "outside the runs"), rows)


def _gains(gains: Sequence[Gain], facts: Record) -> str:
    """The compute-equivalent gains of groups over one of them: a row a group and budget."""
    if len({one.group for one in gains}) > FITS:
        return many.gains(gains)
    first = gains[0].baseline
    lines = [
        f"compute-equivalent gain over {_name(first)}: C of {_name(first)} over the C that the"
        " group needs for the same loss"
    ]
    flops = f"C of {_name(first)}, FLOP"
    head = ("  group", flops, "its loss", "gain", "C needed, of that C", "outside the runs")
    lines.append(columns(head, map(_gain, gains)).rstrip("\n"))
    for group in dict.fromkeys([first, *(one.group for one in gains)]):
        for one in facts.of(group):
            if one.verdict == DO_NOT_USE:
                doubt = f"  {one.loud_verdict}: {_name(group)}: {visible(one.reasons)}"
                lines.append(textwrap.fill(doubt, _LINE, subsequent_indent="    "))
    return "\n".join(lines) + "\n"


def _gain(one: Gain) -> tuple[str, ...]:
    """The cells of a gain; NaN where the group never reaches the loss."""
    cells = (f"  {_name(one.group)}", units.power(one.flops))
    if math.isnan(one.loss):
        return (*cells, "none: an exponent is not positive", "", "", "")
    gain = _estimate(one.gain, units.count)
    needed = _estimate(one.needed, units.count)
    if not one.reaches:
        gain, needed = f"never reached {units.interval(one.gain.low, one.gain.high)}".rstrip(), ""
    if not one.always:
        gain += f" (reached in {one.often} % of refits)"
    far = visible(one.reach.text) if one.reaches or one.reach.outside else ""
    return (*cells, f"{one.loss:.4g}", gain, needed, far)


def _estimate(q: Quantity, form) -> str:
    return units.estimate(q.estimate, q.low, q.high, form)


def _allocation(best: Allocation) -> tuple[str, ...]:
    cells = [
        _estimate(q, form)
        for q, form in (
            (best.n_params, units.count),
            (best.n_samples, units.count),
            (best.tokens_per_parameter, units.count),
            (best.loss, "{:.4g}".format),
        )
    ]
    if not best.exists:
        cells = ["none: an exponent is not positive", "", "", ""]
    return (units.power(best.flops), *cells, best.reach.text)


def _published(decisions: Decisions) -> str:
    """Published laws on the same runs, and how they divide the same budgets."""
    beside = decisions.beside
    several = len({one.group for one in beside}) > 1
    head = ("published law", "RMSE", "shift of loss", "RMSE shifted", "fitted here", "outside")
    rows = [_published_losses(one, several) for one in beside]
    notes = ["shift: added to its loss, as tokenisers and data differ"]
    notes += [f"{one.name}: not compared, {visible(one.reason)}" for one in beside if one.reason]
    lines = [columns(head, rows), *(f"  {note}\n" for note in notes)]
    budgets = side_by_side(beside, decisions.allocations)
    if budgets:
        lines.append(columns(("C, FLOP", "law", "N", "D", "D/N", "loss"), budgets))
    return "".join(lines)


def _proposal(meaning: Meaning) -> str:
    """A formula for columns that vary and that the law does not have."""
    return (
        "a law with further columns that vary (change its terms as you like: docs/formulas.md):\n"
        f"  {meaning.proposal}\n"
    )


def _published_losses(one: Comparison, several: bool) -> tuple[str, ...]:
    name = f"  {one.name}" + (f" [{_name(one.group)}]" if several else "")
    if one.reason:
        return (name, "-", "-", "-", f"{one.rmse_fit:.3g}", "-")
    outside = "-" if one.n_outside is None else f"{one.n_outside} of {one.n_runs} runs"
    numbers = (f"{v:.3g}" for v in (one.rmse_shifted, one.rmse_fit))
    return (name, f"{one.rmse:.3g}", f"{one.shift:+.3g}", *numbers, outside)


def _responses(fits: Sequence[OneFit], domains: Sequence[str]) -> str:
    """What a group's fits are worth: a row a loss, those of domains trained on first."""
    head = ("loss of", "runs", "R2", "RMSE", "held out: R2", "RMSE", "rank corr.", "state")
    ordered = sorted(fits, key=lambda one: own_domain(one.response, domains) is None)
    more = len(ordered) - _LOSSES
    notes = [f"  ... and {more} more losses in summary.parquet and scores.parquet"]
    first, group = ordered[0], ordered[0].group
    notes = (notes if more > 0 else []) + [_how_held_out(first)]
    title = "" if group == WHOLE else f"[group {_name(group)}]\n"
    if group == FALLBACK:
        title = "[all runs: it answers for groups without a fit]\n"
    rows = [_response(one) for one in ordered[:_LOSSES]]
    return title + columns(head, rows) + "\n".join(notes) + "\n"


def _how_held_out(one: OneFit) -> str:
    """Over what the scores on held-out mixtures are medians, and the number of replicates."""
    rule = one.folds[0].rule if one.folds else "none"
    scores = {
        "none": "no mixtures",
        "random": f"medians over {len(one.folds)} random choices of the mixtures (RMSE: mean)",
    }.get(rule, f"medians over {len(one.folds)} folds of {rule} (RMSE: mean)")
    replicates = f"; {one.n_replicates} replicates" if one.n_replicates else ""
    return f"  held out: {scores}{replicates}"


def _response(one: OneFit) -> tuple[str, ...]:
    folds = pd.DataFrame(
        [(fold.r2, fold.rmse, fold.spearman) for fold in one.folds],
        columns=["r2", "rmse", "spearman"],
        dtype=float,
    )
    median, rmse = folds.median(), units.plain(folds["rmse"].mean())
    return (
        "  " + _name(one.response.removeprefix("loss_")),
        str(one.n_runs),
        units.decimals(one.r2),
        units.plain(one.rmse),
        *(
            (units.decimals(median["r2"]), rmse, f"{median['spearman']:.3f}")
            if one.folds
            else ("-", "-", "-")
        ),
        "ok" if one.converged else one.loud_status,
    )


def _best_mixture(best: BestMixture) -> str:
    """The best mixture of a group: a row a domain, and the loss there."""
    title = "" if best.group == WHOLE else f" [{_name(best.group)}]"
    title = " [all runs]" if best.group == FALLBACK else title
    interval = [f"{100 * best.level:.4g} % interval"] if best.n_replicates else []
    head = (f"best mixture{title}", "share", *interval, "of the runs")
    rows = []
    for share in best.shares:
        p = share.proportion
        reach = f"{share.least:.3f} to {share.most:.3f}"
        rows.append(
            (
                f"  {_name(share.domain)}",
                f"{p.estimate:.3f}",
                *[units.interval(p.low, p.high, "{:.3f}".format) for _ in interval],
                reach + (" (at its edge)" if share.at_edge else ""),
            )
        )
    what = f"mean of {len(best.responses)} losses"
    what += f" ({best.n_replicates} replicates)" if best.n_replicates else ""
    return columns(head, rows) + f"  {what}: {_estimate(best.loss, '{:.4g}'.format)}\n"
