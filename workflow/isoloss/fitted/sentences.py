"""The sentences about a fit that a paper needs, from the facts alone, in Markdown or LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isoloss.core import registry, units
from isoloss.core.escape import GREEK
from isoloss.core.filters import LETTERS
from isoloss.fitted import bibliography, paper_tables
from isoloss.fitted.facts import (
    DO_NOT_USE,
    FIXED,
    WITH_CARE,
    Allocation,
    BestMixture,
    BudgetLoss,
    Gain,
    OneFit,
    Record,
    RunCounts,
)
from isoloss.fitted.growth import growth
from isoloss.fitted.markup import Markdown, latex_symbol
from isoloss.fitted.names import ERROR, FALLBACK, FORMULA, RESPONSE
from isoloss.fitted.optima import Optimum, sentences_of
from isoloss.fitted.reach import Reach
from isoloss.fitted.result import Fit

if TYPE_CHECKING:
    from isoloss.fitted.presets import Comparison

_FEW = 4  # groups that are told one by one
_REASONS = 6  # why runs were excluded, that are told one by one
_NAME = re.compile(r"[A-Za-z]|\\[a-z]+(\{[^{}]*\})?")  # of one symbol in LaTeX


@dataclass(frozen=True)
class Context:
    """What is known about a fit beside its own tables.

    Attributes:
        source: where the runs come from; empty if that is not known.
        counts: of all runs there, with those that were excluded.
        held: the same law fitted without the runs of most compute, if that was done.
        allocations: group to the best divisions of budgets.
        losses: group to the losses of budgets, by a law in C.
        gains: of groups over a baseline.
        mixtures: the best mixture of each group.
        comparisons: published laws on the same runs.
        optima: answers to a question that was asked of the fit.
    """

    source: str = ""
    counts: RunCounts | None = None
    held: Record | None = None
    allocations: Mapping[str, Sequence[Allocation]] = field(default_factory=dict)
    losses: Mapping[str, Sequence[BudgetLoss]] = field(default_factory=dict)
    gains: Sequence[Gain] = ()
    mixtures: Sequence[BestMixture] = ()
    comparisons: Sequence[Comparison] = ()
    optima: Sequence[Optimum] = ()


def paragraph(fit: Fit, facts: Record, context: Context, markup: Markdown) -> str:
    """The sentences, as one paragraph."""
    sentences = [
        _warning(facts, markup),
        _data(fit, facts, context, markup),
        *_excluded(facts, context, markup),
        _estimate(facts, markup),
        _constraints(fit, facts, context, markup),
        _intervals(facts, markup),
        _errors(facts, markup),
        *_unseen(facts, context, markup),
        _doubts(facts, markup),
        *_decisions(context, markup),
        _growth(fit, context, markup),
        *_gains(context, markup),
        *sentences_of(context.optima, markup),
        *_published(context, markup),
    ]
    return " ".join(filter(None, sentences))


def formula(fit: Fit) -> str:
    """The formula of a law in LaTeX, with the options that were chosen."""
    law, card = fit.law, registry.facts("law", fit.facts["card"])
    if law.latex:
        return _with_commands(law.latex)
    latex = card["LATEX"]
    if law.kind == "curve":
        latex = re.sub(r"(?<![\\A-Za-z])x(?![A-Za-z])", law.variables[0], latex)
    if "E" not in [term.name for term in law.terms]:
        latex = latex.replace("E + ", "")
    return latex


def _with_commands(latex: str) -> str:
    r"""LaTeX with Greek letters as commands.

    >>> print(_with_commands("A / N^{α} + βx"))
    A / N^{\alpha} + \beta x
    """
    letters = "".join(GREEK)
    latex = re.sub(rf"([{letters}])(?=[A-Za-z])", r"\1 ", latex)
    return re.sub(rf"[{letters}]", lambda match: GREEK[match[0]], latex)


def _warning(facts: Record, markup: Markdown) -> str:
    worst = facts.worst
    if worst.verdict != DO_NOT_USE:
        return ""
    which = "" if len(facts.fits) == 1 else f" (of {_whose(facts, worst, markup)})"
    reasons = markup.text(worst.reasons)
    cite = markup.cite(["isoloss"])
    return (
        f"The checks by isoloss{cite} say that these numbers{which} are not to be used: {reasons}."
    )


def _whose(facts: Record, one: OneFit, markup: Markdown) -> str:
    """Which fit it is, among several."""
    names = [one.group] * (len(facts.groups) > 1) + [one.response] * (len(facts.responses) > 1)
    return ", ".join(map(markup.text, names))


def _data(fit: Fit, facts: Record, context: Context, markup: Markdown) -> str:
    """The law, and the runs that it was fitted to."""
    card = registry.facts("law", fit.facts["card"])
    title = markup.text(card["TITLE"]) + markup.cite(list(bibliography.of_law(fit.facts["card"])))
    title = "" if fit.facts["card"] == FORMULA else f" ({title})"  # what users type has no source
    law = f"{markup.math(formula(fit))}{_being(fit, markup)}"
    sentence = f"We fitted the law {law}{title} to {_runs(facts)}"
    sentence += f" of {markup.text(context.source)}" if context.source else ""
    sizes = _ranges(fit, markup)
    sentence += f", with {sizes}" if sizes else ""
    return f"{sentence}.{_groups(facts, markup)}"


def _being(fit: Fit, markup: Markdown) -> str:
    """What the left side of the law stands for, where it is not called what was fitted."""
    left = formula(fit).partition(" = ")[0]
    if fit.of_loss or left == latex_symbol(fit.quantity):
        return ""
    left = left if _NAME.fullmatch(left) else "L"  # of \log L too
    return f", {markup.math(left)} being {markup.text(fit.quantity)},"


def _runs(facts: Record) -> str:
    """How many runs were fitted, those of all groups together."""
    whole = facts.of(FALLBACK) if FALLBACK in facts.groups else facts.fits
    most = {one.group: one for one in sorted(whole, key=lambda one: one.n_runs)}
    count = sum(one.n_runs for one in most.values())
    if any(one.n_points_of is not None for one in most.values()):
        return f"{count} points along {sum(one.n_points_of or 0 for one in most.values())} runs"
    return f"{count} runs"


def _groups(facts: Record, markup: Markdown) -> str:
    """That groups and responses have fits of their own."""
    groups = [group for group in facts.groups if group != FALLBACK]
    parts = []
    if len(groups) > 1:
        counts = {one.group: one.fitted_rows for one in facts.fits}
        named = [f"{markup.text(group)} ({counts[group]})" for group in groups[:_FEW]]
        more = [f"{len(groups) - _FEW} more"] if len(groups) > _FEW else []
        parts.append(f"each of {len(groups)} groups, {_listed(named + more)}")
    if len(facts.responses) > 1:
        parts.append(f"each of {len(facts.responses)} losses")
    return f" There is a fit for {' and '.join(parts)}." if parts else ""


def _ranges(fit: Fit, markup: Markdown) -> str:
    """Least and greatest N, D, C and further variables of the law, over the runs fitted."""
    seen = set(fit.residuals.loc[~fit.residuals["held_out"], "run_id"])
    points = fit.points[fit.points["run_id"].isin(seen)] if len(fit.points) else fit.points
    per = fit.loss_unit.partition("/")[2] if fit.of_loss else ""
    shown, examples = [], f"{per or 'token'}s"
    letters = {"N": "parameters", "D": examples, "C": "FLOP"}
    letters |= {"U": f"distinct {examples}"} if "U" in fit.law.variables else {}
    further = [] if fit.law.proportions else [v for v in fit.law.variables if v not in letters]
    further = [name for name in further if name in points and points[name].notna().any()]
    for letter, what in letters.items():
        values = points[LETTERS[letter]].dropna() if LETTERS[letter] in points else []
        if not len(values) or any(points[name].equals(points[LETTERS[letter]]) for name in further):
            continue  # told below, under the name that the formula has for it
        form = units.power if letter == "C" else units.count
        low, high = form(min(values)), form(max(values))
        if letter == "C":
            low, high = markup.power(low), markup.power(high)
        ends = low if low == high else f"{low} to {high}"
        shown.append(f"{markup.math(letter)} of {ends} {what}")
    for name in further:
        low, high = units.count(points[name].min()), units.count(points[name].max())
        shown.append(f"{markup.text(name)} of {low if low == high else f'{low} to {high}'}")
    return _listed(shown)


def _listed(parts: Sequence[str]) -> str:
    """Parts of a sentence: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _excluded(facts: Record, context: Context, markup: Markdown) -> list[str]:
    """Which runs were not fitted, and why."""
    sentences = []
    counts = context.counts
    if counts is not None and counts.lost:
        reasons = [
            f"{lost.n_runs} {lost.status}" + (f" ({markup.text(lost.reason)})" * bool(lost.reason))
            for lost in counts.lost[:_REASONS]
        ]
        rest = sum(lost.n_runs for lost in counts.lost[_REASONS:])
        reasons += [f"{rest} for other reasons"] if rest else []
        total = sum(lost.n_runs for lost in counts.lost)
        rows = f"Of {counts.n_rows} rows of the table"
        sentences.append(f"{rows} {total} {_were(total)} excluded: {_listed(reasons)}.")
    dropped = max(one.n_dropped for one in facts.fits)
    if counts is None and dropped:
        whose = "Of each group up to " if len(facts.groups) > 1 else ""
        why = "not finished, or not selected"
        sentences.append(f"{whose}{_count(dropped)} {_were(dropped)} excluded ({why}).")
    out = max(one.n_held_out for one in facts.fits)
    if out:
        least = min(one.n_held_out for one in facts.fits)
        many = _count(out) if least == out else f"{least} to {_count(out)}"
        whose = " of each group" if len(facts.groups) > 1 else ""
        which = _which(facts.fits, markup)
        sentences.append(f"The {many} of {which}{whose} {_were(out)} held out.")
    return sentences


def _which(fits: Sequence[OneFit], markup: Markdown) -> str:
    """Which runs were held out of the fits, in words: those of most compute as a rule."""
    known = [fold.which for one in fits for fold in one.folds if fold.of_fit]
    return markup.text(known[0]) if known else "most compute"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _count(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


_OBJECTIVES = {  # of which difference between predicted and observed what is summed
    "huber_log": "the Huber loss{cite}{delta} of the difference between {logs}",
    "huber_scaled": "the Huber loss{cite}{delta} of the difference between {both}, in units of the"
    " robust standard deviation of what was observed",
    "huber": "the Huber loss{cite}{delta} of the difference between {both}",
    "log_mse": "the squared difference between {logs}",
    "mse": "the squared difference between {both}",
    "mae": "the absolute difference between {both}",
    "asymmetric_mae": "the absolute difference between {both}, which weighs {above} times as much"
    " where the prediction is the greater",
}
_DELTA = r"\delta = "
_ABOVE = "10"  # of asymmetric_mae, unless its name says another


def _estimate(facts: Record, markup: Markdown) -> str:
    """What was minimised, and how many starts agree on the optimum."""
    one = facts.fits[0]
    if not one.n_starts:
        return f"The estimator is: {markup.text(one.objective)}."
    name, _, setting = one.objective.rstrip(")").partition("(")
    value = setting.partition("=")[2]
    both = f"predicted and observed {markup.text(_called(one))}"
    words = {
        "{cite}": markup.cite(list(bibliography.of_methods(name))),
        "{delta}": f" ({markup.math(_DELTA + value)})" if value else "",
        "{above}": value or _ABOVE,
        "{both}": both,
        "{logs}": f"the logarithms of {both}",
    }
    summed = _OBJECTIVES.get(name, f"a penalty of our own ({markup.text(one.objective)})")
    for word, text in words.items():
        summed = summed.replace(word, text)
    return f"The parameters minimise the sum over runs of {summed}; {_starts(facts, markup)}."


def _called(one: OneFit) -> str:
    """What was fitted, in a word: the loss, an error rate, or the name of another column."""
    return ERROR if (one.quantity, one.loss_unit) == (RESPONSE, ERROR) else one.quantity


def _starts(facts: Record, markup: Markdown) -> str:
    """Whether the search ended in one optimum."""
    wrong = [one for one in facts.fits if not one.converged]
    if wrong:
        status, message = map(markup.text, (wrong[0].status.replace("_", " "), wrong[0].message))
        whose = "" if len(facts.fits) == 1 else f" for {_whose(facts, wrong[0], markup)}"
        return f"the search{whose} has the status {status} ({message})"
    shares = {(one.n_agree, one.n_starts) for one in facts.fits}
    agree, starts = min(shares, key=lambda share: share[0] / share[1])
    least = "" if len(shares) == 1 else "at least "
    return f"{least}{agree} of {starts} distinct starts of the search end in this optimum"


def _constraints(fit: Fit, facts: Record, context: Context, markup: Markdown) -> str:
    """Parameters that were held, tied, bounded or shared."""
    asked = fit.facts.get("asked", {})
    symbols = {p.term: markup.math(latex_symbol(p.symbol)) for p in facts.fits[0].parameters}

    def named(terms: Sequence[str]) -> str:
        return _listed([symbols.get(term, markup.text(term)) for term in terms])

    parts = [
        f"{symbols[p.term]} was fixed at {markup.power(f'{p.estimate:.10g}')}"
        for p in facts.fits[0].parameters
        if p.method == FIXED
    ]
    parts += [f"{named(terms)} share one value" for terms in asked.get("tied", ())]
    if asked.get("shared"):
        parts.append(f"{named(asked['shared'])} {_verb(asked['shared'])} shared by all groups")
    for term, (low, high) in asked.get("bounds", {}).items():
        limits = (("at least", low), ("at most", high))
        ends = [f"{side} {end:g}" for side, end in limits if end is not None]
        if ends:
            parts.append(f"{named([term])} was bounded to {' and '.join(ends)}")
    if asked.get("where"):
        left = _left_out(facts, context)
        count = f", which leaves {_count(left)} out" if left > 0 else ""
        parts.append(f"runs were selected by the filter {markup.text(asked['where'])}{count}")
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "." if text else ""


def _left_out(facts: Record, context: Context) -> int:
    """Finished runs that no fit looked at; 0 if that is not known."""
    if context.counts is None or len(facts.responses) > 1:
        return 0
    lost = sum(lost.n_runs for lost in context.counts.lost)
    return sum(one.n_dropped for one in facts.fits if one.group != FALLBACK) - lost


def _verb(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _intervals(facts: Record, markup: Markdown) -> str:
    """How intervals were made; nothing where there are none."""
    one = facts.fits[0]
    kind, _, _ = one.method.partition(",")
    if one.method in (FIXED, "none"):
        return "No intervals were computed." if one.method == "none" else ""
    cite = markup.cite(list(bibliography.of_methods(one.method)))
    level = markup.percent(one.level)
    if kind.startswith("profile likelihood"):
        return f"Intervals of {level} are those of the profile likelihood{cite}{kind[18:]}."
    converged = min(fit.n_replicates_converged for fit in facts.fits)
    total = one.n_replicates
    less = "" if converged == total else f", of which {converged} or more converged"
    drawn = {
        "residual bootstrap": "with residuals of the fit drawn anew around the law",
        "parametric bootstrap": "with normal noise of the residuals' spread drawn around the law",
    }.get(kind)
    if drawn is None:
        what = kind.removeprefix("bootstrap over ")
        whole = "" if what == "runs" else f"whole groups of runs alike in {markup.text(what)}"
        drawn = f"to {whole or 'runs'} drawn with replacement"
    return (
        f"Intervals of {level} are percentiles of {total} refits {drawn}, corrected for their"
        f" median bias{cite}{less}; standard errors are the standard deviations of the refits."
    )


def _errors(facts: Record, markup: Markdown) -> str:
    """How well the law describes the runs that it was fitted to."""
    ones = [one for one in facts.fits if math.isfinite(one.rmse)]
    if len(ones) > _FEW:
        low, high = _ends([one.rmse for one in ones])
        least = markup.power(units.plain(low))
        return f"The RMSE on the runs fitted is {least} to {_error(high, ones[0], markup)}."
    square = markup.math("R^2")
    told = [
        f"{_error(one.rmse, one, markup)} ({square} {markup.power(units.decimals(one.r2))})"
        for one in ones
    ]
    shown = _by_fit(told, ones, facts, markup)
    return f"The RMSE on the runs fitted is {shown}." if told else ""


def _error(value: float, one: OneFit, markup: Markdown) -> str:
    unit = "" if one.loss_unit in ("1", ERROR) else f" {one.loss_unit}"
    return f"{markup.power(units.plain(value))}{markup.text(unit) if unit else ''}"


def _unseen(facts: Record, context: Context, markup: Markdown) -> list[str]:
    """Errors on runs that the fit did not see: of most compute, or of other folds."""
    held = context.held or facts
    ones = [one for one in held.fits if math.isfinite(one.held_out_rmse)]
    sentences = [_largest(ones, held, markup)] if ones else []
    return sentences + _over_folds(facts, markup)


def _largest(ones: Sequence[OneFit], held: Record, markup: Markdown) -> str:
    """Errors on the runs of most compute, or of the largest values, one sentence for all fits."""
    least, most = _ends([one.n_held_out for one in ones])
    many = _count(most) if least == most else f"{least} to {_count(most)}"
    of_each = "" if len(held.fits) == 1 else f" of each {_each(held)}"
    before = ones[0].folds[0].before if ones[0].folds else "budget"
    errors = [one.held_out_rmse for one in ones]
    if len(ones) > _FEW:
        low, high = _ends(errors)
        error = f"{low:.3g} to {_error(high, ones[0], markup)}"
        better = sum(one.held_out_rmse < one.held_out_baseline_rmse for one in ones)
        guess = f", less than by the mean of the largest {before} fitted in {better} of {len(ones)}"
    else:
        error = _by_fit([_error(error, ones[0], markup) for error in errors], ones, held, markup)
        guesses = [one.held_out_baseline_rmse for one in ones]
        told = _listed([f"{guess:.3g}" for guess in guesses])
        known = all(map(math.isfinite, guesses))
        guess = f", against {told} by the mean of the largest {before} fitted" if known else ""
    return (
        f"Fitted without the {many} of {_which(ones, markup)}{of_each}, the law predicts"
        f" {'it' if most == 1 else 'them'} with an RMSE of {error}{guess}."
    )


def _each(facts: Record) -> str:
    """What the fits are told apart by: groups, or groups and responses."""
    return "group" if len(facts.responses) == 1 else "fit"


def _by_fit(told: Sequence[str], ones: Sequence[OneFit], facts: Record, markup: Markdown) -> str:
    """What is told of some fits, each with its name where there are several fits."""
    if len(facts.fits) == 1:
        return _listed(told)
    return _listed(
        [f"{text} for {_whose(facts, one, markup)}" for text, one in zip(told, ones, strict=True)]
    )


def _over_folds(facts: Record, markup: Markdown) -> list[str]:
    """Errors on the runs of all folds, of a rule that has several."""
    ones = [one for one in facts.fits if math.isfinite(one.fold_rmse)]
    if not ones or ones[0].folds[0].of_fit:
        return []
    rule, least, most = ones[0].folds[0].rule, *_ends([len(one.scored) for one in ones])
    folds = f"{least}" if least == most else f"{least} to {most}"
    each = " of each fit" if len(ones) > 1 else ""
    if len(ones) > _FEW:
        low, high = _ends([one.fold_rmse for one in ones])
        errors = f"{low:.3g} to {_error(high, ones[0], markup)}"
    else:
        told = [_error(one.fold_rmse, one, markup) for one in ones]
        errors = _by_fit(told, ones, facts, markup)
    told = f"On runs held out by the rule {markup.text(rule)} ({folds} folds{each})"
    return [f"{told} the RMSE is {errors}."]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _doubts(facts: Record, markup: Markdown) -> str:
    """What the checks found that a reader should know."""
    if not facts.unsound:
        cite = markup.cite(["isoloss"])
        return f"The checks of runs and fit by isoloss{cite} found no reason for doubt."
    ones = [one for one in facts.fits if one.verdict == WITH_CARE]
    if not ones:
        return ""
    by_reason: dict[str, list[OneFit]] = {}
    for one in ones:
        for reason in one.grave or (one.reasons,):
            by_reason.setdefault(reason, []).append(one)
    most_first = sorted(by_reason.items(), key=lambda reason: -len(reason[1]))
    told = [
        _whose_all(alike, facts, markup) + markup.text(reason)
        for reason, alike in most_first[:_FEW]
    ]
    rest = len(most_first) - len(told)
    more = f"; and {rest} more reasons" if rest > 1 else "; and 1 more reason" * rest
    cite = markup.cite(["isoloss"])
    return f"The checks by isoloss{cite} ask for care ({'; '.join(told)}{more})."


def _whose_all(ones: Sequence[OneFit], facts: Record, markup: Markdown) -> str:
    """Which fits they are, before a colon; how many where they are many or all."""
    if len(facts.fits) == 1:
        return ""
    if len(ones) == len(facts.fits):
        return f"all {len(ones)} fits: "
    if len(ones) > _FEW:
        return f"{len(ones)} of {len(facts.fits)} fits: "
    return f"{_listed([_whose(facts, one, markup) for one in ones])}: "


def _decisions(context: Context, markup: Markdown) -> list[str]:
    """The best division of each budget, of a single group; others stand in the table."""
    if len(context.allocations) != 1:
        return []
    (ones,) = context.allocations.values()
    form = paper_tables.quantity
    return [
        f"For a budget of {markup.power(units.power(one.flops))} FLOP"
        f" ({_beyond(one.times_largest, one.reach, markup)}) the law puts the best"
        f" {markup.math('N')} at {markup.text(form(one.n_params))} and {markup.math('D')} at"
        f" {markup.text(form(one.n_samples))}, with a loss of"
        f" {markup.text(paper_tables.loss_of(one.loss))}."
        for one in ones
        if one.exists
    ]


def _beyond(factor: float, reach: Reach, markup: Markdown) -> str:
    """How far a budget is outside the runs: of its compute, unless N or D lies farther."""
    if not reach.outside:
        return "within the runs"
    if reach.variable != "C" or factor <= 1:
        of = markup.math(reach.variable)
        by = markup.power(paper_tables.times(reach.factor))
        return f"{of} lies outside the runs by a factor of {by}, an extrapolation"
    return f"{markup.power(paper_tables.times(factor))} times the largest run, an extrapolation"


def _gains(context: Context, markup: Markdown) -> list[str]:
    """How much compute each group saves over the baseline, a sentence a group."""
    by_group: dict[str, list[Gain]] = {}
    for one in context.gains:
        if math.isfinite(one.gain.estimate):
            by_group.setdefault(one.group, []).append(one)
    if len(by_group) > _FEW:
        return [_many_gains(by_group, markup)]
    sentences = []
    for number, (group, ones) in enumerate(by_group.items()):
        over = markup.text(ones[0].baseline)
        told = _listed([_gain(one, markup) for one in ones])
        name, what = markup.text(group), ""
        if number == 0:
            what = f" (the compute of {over} over that with which {name} reaches the same loss)"
        sentences.append(f"The compute-equivalent gain of {name} over {over}{what} is {told}.")
    return sentences


def _many_gains(by_group: Mapping[str, Sequence[Gain]], markup: Markdown) -> str:
    """The range of the gains of many groups over the baseline, a part for each budget."""
    by_budget: dict[float, list[float]] = {}
    for ones in by_group.values():
        for one in ones:
            by_budget.setdefault(one.flops, []).append(one.gain.estimate)
    told = [
        " to ".join(markup.power(paper_tables.times(end)) for end in _ends(gains))
        + f" at {markup.power(units.power(flops))} FLOP"
        for flops, gains in by_budget.items()
    ]
    over = markup.text(next(iter(by_group.values()))[0].baseline)
    return (
        f"The compute-equivalent gains of {len(by_group)} groups over {over} (the compute of {over}"
        f" over that with which a group reaches the same loss) are {_listed(told)}; the table of"
        " gains has each with its interval, and how far it is extrapolated."
    )


def _gain(one: Gain, markup: Markdown) -> str:
    gain = markup.text(paper_tables.quantity(one.gain, paper_tables.times))
    where = f"at {markup.power(units.power(one.flops))} FLOP"
    equal = ", which does not tell them apart" if one.gain.low <= 1 <= one.gain.high else ""
    return f"{gain} {where} ({_beyond(one.beyond, one.reach, markup)}{equal})"


def _growth(fit: Fit, context: Context, markup: Markdown) -> str:
    """By which powers of the budget the best N and D grow; nothing of many groups."""
    grows = {group: growth(fit, group) for group in list(context.allocations)[: _FEW + 1]}
    known = {group: one for group, one in grows.items() if one is not None}
    if not known or len(context.allocations) > _FEW:
        return ""
    several = len(context.allocations) > 1
    told = [
        markup.text(paper_tables.quantity(one.n, "{:.3f}".format))
        + (f" for {markup.text(group)}" if several else "")
        for group, one in known.items()
    ]
    best_n, best_d = markup.math("N \\propto C^{a}"), markup.math("D \\propto C^{1 - a}")
    return (
        f"At the budget of the largest run the best division grows as {best_n} and {best_d}, with"
        f" {markup.math('a')} = {_listed(told)}."
    )


def _published(context: Context, markup: Markdown) -> list[str]:
    """How published laws predict the same runs, a sentence a law."""
    by_name: dict[str, list[Comparison]] = {}
    for one in context.comparisons:
        by_name.setdefault(one.name, []).append(one)
    return [_beside(ones, markup) for ones in by_name.values()]


def _beside(ones: Sequence[Comparison], markup: Markdown) -> str:
    """What a published law predicts of the runs, and after a shift of the loss."""
    first = ones[0]
    law = f"The published law {markup.text(first.name)}{markup.cite(first.keys)}"
    compared = [one for one in ones if not one.reason]
    if not compared:
        return f"{law} is not compared in loss: {markup.text(first.reason)}."
    raw, shifted, ours = (
        _from_to([getattr(one, error) for one in compared])
        for error in ("rmse", "rmse_shifted", "rmse_fit")
    )
    by = " by group" if len(compared) > 1 else ""
    shift = _from_to([one.shift for one in compared], "{:+.3g}")
    return (
        f"{law} predicts the same runs with an RMSE of {raw} {markup.text(first.unit)}{by}, and of"
        f" {shifted} once its loss is shifted by {shift}, as tokenisers and data differ; the law"
        f" fitted here has {ours}."
    )


def _from_to(values: Sequence[float], form: str = "{:.3g}") -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"
