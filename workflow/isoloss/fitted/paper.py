"""paper.md: the sentences, the tables and the BibTeX that a paper needs of a fit."""

from __future__ import annotations

from collections.abc import Sequence

from isoloss.core import escape, registry
from isoloss.fitted import bibliography, paper_tables
from isoloss.fitted.facts import (
    DO_NOT_USE,
    FIXED,
    OneFit,
    RunCounts,
    allocations,
    budget_losses,
    gains,
    record,
)
from isoloss.fitted.facts import Record as Facts
from isoloss.fitted.markup import Column, Latex, Markdown
from isoloss.fitted.names import FORMULA
from isoloss.fitted.optima import asked_of, for_paper
from isoloss.fitted.result import Fit
from isoloss.fitted.sentences import Context, paragraph

BUDGETS = (1.0, 10.0, 100.0)  # times the largest run, that are divided if none are asked for
_SHIFT = "The shift is added to the loss that a published law predicts: tokenisers and data differ."
_GAINS = (
    "Times the largest run: C over the baseline's largest run, or what the group needs for the same"
    " loss over its own, whichever is more."
)
_NAMED = 2  # fits of one verdict that are named
Titled = tuple[str, str, Sequence[Column]]  # title, note, columns


def context_of(
    fit: Fit, source: str = "", counts: RunCounts | None = None, flops: Sequence[float] = ()
) -> Context:
    """What a page says of a fit beside its own tables, as far as the fit itself knows it.

    Args:
        fit: of any law.
        source: where the runs come from.
        counts: of all runs there.
        flops: budgets to divide, FLOP; 1, 10 and 100 times the largest run if empty.
    """
    if not fit.has_least_loss or fit.points.empty:
        return Context(source, counts)
    compute = fit.points["n_flops_6nd" if fit.allocates else "n_flops"].astype(float)
    largest, ends = float(compute.max()), compute.groupby(fit.points["group"].astype(str)).max()
    budgets = list(flops) or [largest * factor for factor in BUDGETS]
    about = allocations if fit.allocates else budget_losses
    by_group = {group: about(fit, group, budgets, float(ends[group])) for group in fit.groups}
    best, losses = (by_group, {}) if fit.allocates else ({}, by_group)
    return Context(source, counts, None, best, losses, gains(fit, budgets, largest))


def paper(fit: Fit, context: Context | None = None) -> str:
    r"""The page, as Markdown.

    Args:
        fit: of any law.
        context: what is known beside the fit's tables; what the fit knows itself if None.

    Returns:
        The sentences to write into a paper, its tables, the same in LaTeX (booktabs), and the
        BibTeX of the law, of the methods and of isoloss.

    Example:
        >>> import isoloss, numpy as np, pandas as pd
        >>> N = np.geomspace(1e7, 1e9, 8)
        >>> table = pd.DataFrame({"N": N, "D": 1e9, "loss": 2 + 400 / N**0.34})
        >>> runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> fit = isoloss.fit_law(runs, "power_law", {"variable": "N"}, bootstrap=0)
        >>> page = paper(fit)
        >>> "@misc{henighan2020scaling," in page, r"\toprule" in page
        (True, True)
    """
    facts = record(fit)
    context = context_of(fit) if context is None else context
    parts = [_head(facts), "## Text\n", paragraph(fit, facts, context, Markdown()) + "\n"]
    shown = _tables(fit, facts, context)
    for title, note, columns in shown:
        parts += [f"## {title}\n", *([note + "\n"] if note else []), Markdown().table(columns)]
    parts += [
        "## LaTeX\n",
        "Tables need the package booktabs.\n",
        _latex(fit, facts, context, shown),
    ]
    parts += ["## BibTeX\n", _fenced("bibtex", bibtex(fit, facts, context))]
    return "\n".join(parts)


def verdict(fit: Facts) -> str:
    """The verdict on every fit in a sentence, those that are alike together."""
    if not fit.unsound:
        return f"Verdict: {fit.judgement}."
    alike: dict[str, list[OneFit]] = {}
    for one in fit.unsound:
        alike.setdefault(one.judgement, []).append(one)
    if len(alike) == 1 and len(fit.unsound) == len(fit.fits):
        return escape.visible(f"Verdict: {fit.judgement}")
    verdicts = [f"{_named(ones)}: {judgement}" for judgement, ones in alike.items()]
    if sound := len(fit.fits) - len(fit.unsound):
        verdicts.append(f"{sound} other {'fit is' if sound == 1 else 'fits are'} sound")
    return escape.visible("Verdict: " + "; ".join(verdicts))


def _named(fits: Sequence[OneFit]) -> str:
    """Group and response of some fits; of many how many they are, and the first."""
    first = " and ".join(f"{one.group}, {one.response}" for one in fits[:_NAMED])
    return f"{len(fits)} fits, such as {first}" if len(fits) > _NAMED else first


def _head(facts: Facts) -> str:
    """What comes first: whether the numbers may be used, and what the page is."""
    lines = ["# For a paper\n"]
    if facts.worst.verdict == DO_NOT_USE:
        lines.append(f"**{Markdown().text(verdict(facts))}**\n")
    lines.append(
        "Written anew with every fit: copy from here. Numbers are rounded by their uncertainty;"
        " `law.py` predicts with all digits, and params.parquet has them.\n"
    )
    return "\n".join(lines)


def _tables(fit: Fit, facts: Facts, context: Context) -> list[Titled]:
    """The tables of the page, each with its title."""
    shown: list[Titled] = []
    if len(facts.fits) > 1:
        shown.append(("Fits", "", paper_tables.fits(facts)))
    count = sum(len(one.parameters) for one in facts.fits)
    if count <= paper_tables.MOST_PARAMETERS:
        shown.append(("Parameters", "", paper_tables.parameters(fit, facts)))
    if context.allocations:
        columns = paper_tables.budgets(context.allocations, fit.loss_unit)
        note = f"{_intervals(facts)}; C = 6 N D."
        shown.append(("Best division of a budget", note[:1].upper() + note[1:], columns))
    if context.losses:
        columns = paper_tables.losses(context.losses, fit.loss_unit)
        note = _intervals(facts)
        shown.append(("Loss of a budget", f"{note[:1].upper()}{note[1:]}.", columns))
    if context.gains:
        note = f"{_GAINS} Interval: {100 * facts.level:.4g} %."
        shown.append(("Compute-equivalent gain", note, paper_tables.gains(context.gains)))
    if columns := for_paper(context.optima):
        note = "; ".join([*asked_of(context.optima, Markdown()), _intervals(facts)])
        shown.append(("Optimum", f"{note[:1].upper()}{note[1:]}.", columns))
    if context.mixtures:
        note = _intervals(facts)
        columns = paper_tables.mixtures(context.mixtures)
        shown.append(("Best mixture", f"{note[:1].upper()}{note[1:]}.", columns))
    if context.comparisons:
        losses = paper_tables.published(context.comparisons)
        shown.append(("Published laws on these runs", _SHIFT, losses))
        budgets = paper_tables.published_budgets(context.comparisons, context.allocations)
        shown += [("Best division by published laws", "", budgets)] if budgets else []
    return shown


def _latex(fit: Fit, facts: Facts, context: Context, shown: Sequence[Titled]) -> str:
    """The sentences and tables in LaTeX, each in a block of its own."""
    latex = Latex()
    parts = [_fenced("latex", paragraph(fit, facts, context, latex) + "\n")]
    parts += [_fenced("latex", f"% {title}\n{latex.table(columns)}") for title, _, columns in shown]
    return "\n".join(parts)


def bibtex(fit: Fit, facts: Facts, context: Context) -> str:
    """The entries of the law, of the methods that were used, of published laws, and of isoloss."""
    one = facts.fits[0]
    card = fit.facts["card"]
    cited = {} if card == FORMULA else bibliography.of_law(card)  # what users type has no source
    cited |= bibliography.of_methods(one.objective, one.method)
    for published in context.comparisons:
        card, _, name = published.name.partition(":")
        preset = registry.facts("law", card)["PRESETS"][name]
        cited |= bibliography.of_preset(card, preset)
    return "\n".join([*cited.values(), bibliography.isoloss()])


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}```\n"


def _intervals(facts: Facts) -> str:
    one = facts.fits[0]
    if one.method in (FIXED, "none"):
        return "without intervals"
    refits = f", from {one.n_replicates_converged} refits" if one.n_replicates else ""
    return f"{100 * facts.level:.4g} % intervals in brackets{refits}"
