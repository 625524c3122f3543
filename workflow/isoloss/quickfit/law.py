"""Fit a law to a user's table of runs, with intervals and decisions, without a study file.

`python -m isoloss law runs.csv`
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoloss.aggregate.guess import guess_columns, holds_numbers, run_ids
from isoloss.aggregate.proportions import MixtureColumns, mixture_columns
from isoloss.aggregate.table import COLUMNS, WORDS, Reading, Rules, named, read_table
from isoloss.checks.run import with_held_out
from isoloss.core import registry, tables
from isoloss.core.arguments import checked
from isoloss.core.budgets import budget_numbers
from isoloss.core.filters import LETTERS
from isoloss.core.order import ordered
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.schema import complete_options
from isoloss.core.sources import MAX_MIB, MAX_SECONDS, Limits, Source, open_source
from isoloss.fit.holdout import held_out, unseen
from isoloss.fit.law import fit_law
from isoloss.fit.mixture import mixtures
from isoloss.fit.scores import rank_correlation
from isoloss.fit.settings import response_problems
from isoloss.fitted import Fit, load_fit
from isoloss.fitted.chain import asked_of, chain
from isoloss.fitted.decisions import FitDecisions
from isoloss.fitted.export import export_fit
from isoloss.fitted.facts import (
    BestMixture,
    OneFit,
    allocations,
    baseline_of,
    best_mixture,
    budget_losses,
    count_runs,
    gains,
    record,
)
from isoloss.fitted.growth import growth
from isoloss.fitted.names import FORMULA, RESPONSE
from isoloss.fitted.optima import Optimum, optima
from isoloss.fitted.optimum import Question, asked_question, problems_of
from isoloss.fitted.paper import BUDGETS, paper
from isoloss.fitted.presets import compare_presets, preset
from isoloss.fitted.sentences import Context
from isoloss.formats.names import words_of
from isoloss.formats.read import rows
from isoloss.laws._law import Law
from isoloss.laws._make import made_law
from isoloss.laws._mixture import own_domain
from isoloss.quickfit import cards, report
from isoloss.quickfit import formula as typed
from isoloss.quickfit.answer import Answer, as_json
from isoloss.quickfit.ask import SIZES, Known, question
from isoloss.quickfit.proposal import column_for, command, ways_below_zero
from isoloss.quickfit.report import Decisions, Meaning
from isoloss.quickfit.shares import check_shares

MIXTURE_LAW = "mixture_power"
OF_ONE_SIZE = ("power_law", "growth")  # laws that are fitted to a size that the table has
MOST_FLOPS, MOST_BUDGETS = 1e40, 100  # budgets to divide, as in config.schema.yaml
_STATUS = ("status", "state")  # columns that say how a run ended, and its words for no good end
_LOST = {"failed", "crashed", "killed", "deleted"}
_REPLICATES, _MIXTURE_REPLICATES = 4000, 200  # if none are asked for; of every loss of a mixture
_HELD_OUT_REPLICATES = 500  # of the fit without the largest budget, at most
_FOLDS = {"rule": "random", "repeats": 10}  # of mixtures, which have no order to extrapolate in
_LOOKS, _FEW = 1_000_000, 20  # numbers to look at for the best mixture; replicates at least


@dataclass(frozen=True)
class QuickFit:
    """The result of a quick fit: a law fitted to a user's table.

    Attributes:
        runs: the table as `runs`.
        fit: of all runs.
        held: the same law with the largest budget held out; None where there is no second one.
        text: what to tell the user.
        answer: the facts that the text tells.
    """

    runs: pd.DataFrame
    fit: Fit
    held: Fit | None
    text: str
    answer: Answer

    @property
    def decisions(self) -> Decisions:
        """What the fit says of budgets; of a mixture law nothing."""
        return self.answer.decisions

    def json(self, files: Sequence[Path] = ()) -> str:
        """The answer as one JSON object; docs/fitting.md lists its keys.

        Args:
            files: that were written, to be named in it.
        """
        return as_json(self.answer, files)

    @property
    def context(self) -> Context:
        """What a paper says of the fit beside its tables."""
        answer = self.answer
        return Context(
            _short(answer.meaning.source),
            answer.counts,
            answer.held,
            answer.decisions.allocations,
            answer.decisions.losses,
            answer.decisions.gains,
            answer.best_mixtures,
            answer.decisions.beside,
            answer.decisions.optima,
        )

    @property
    def paper(self) -> str:
        """The sentences, tables and BibTeX that a paper needs: what `save` writes to paper.md."""
        return paper(self.fit, self.context)


@checked(fit_law)
def law_of_table(
    source: str | Path | Sequence[str | Path] | Source,
    law: str | None = None,
    given: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    keep: Sequence[str] = (),
    flops: Sequence[float] = (),
    *,
    formula: str | None = None,
    best_of: Sequence[str] = (),
    scale: Mapping[str, Any] | None = None,
    loss_unit: str | None = None,
    response: str | None = None,
    compare: Sequence[str] = (),
    baseline: str | None = None,
    optimize: Mapping[str, Any] | None = None,
    then: str | None = None,
    holdout: str | Mapping[str, Any] | None = None,
    max_seconds: float = MAX_SECONDS,
    max_mib: float = MAX_MIB,
    **settings,
) -> QuickFit:
    r"""Read a table, guess what its columns are, fit a law, hold runs out, and decide with it.

    Args:
        source: a table in any format of docs/fitting.md: a path (also of a folder, or with * for
            several files), an http or https address, a list of these, or what was read of them.
        law: law card; guessed from the columns if None.
        given: letter (N, D, C, U, loss), word (table.WORDS) or variable of the law to column,
            instead of guesses.
        options: of the law card.
        keep: filters, as in a study.
        flops: budgets to decide about, FLOP; 1, 10 and 100 times the largest run if empty: how they
            are divided, by a law in C what loss they reach, and the gains of groups there.
        formula: a law as text, or @FILE for that of a file (docs/formulas.md), and no law card: its
            names that are columns are variables, the others parameters; N, D, C and U are guessed.
        best_of: columns or letters; of the runs alike in them the one of least loss is fitted.
        scale: letter to factor (1e9) or logarithm (log10) of its column, as in a study.
        loss_unit: nats, bits, bits_per_byte, nats_per_byte, perplexity, error or accuracy.
        response: a column of numbers that is fitted in the place of the loss, by a law in N, D or
            C; the loss is then not asked for, and no budget is divided.
        compare: published laws to set beside the fit, such as "chinchilla:epoch" (`preset`).
        baseline: group that the others are compared with; the first in their order if None.
        optimize: a question to the fit, as `Fit.optimize` takes its arguments.
        then: a law by the loss that the question is asked of in a chain after the fit: a published
            one, such as "downstream_error:gadre", or the folder of a fit.
        holdout: runs that are predicted from the others, as `holdout` of `fit_law`; if None those
            of most compute where they are of several budgets, and of mixtures some at random.
        max_seconds: for all of a download.
        max_mib: MiB of the table as it comes, unpacked, and in memory at 8 bytes a cell.
        settings: of `fit_law`; of a mixture law, fewer replicates unless they are asked for.

    Returns:
        The runs, the fits, and a report as text.

    Raises:
        IsolossError: the table has no loss, or nothing that it could depend on; there is no such
            group; or budgets are asked for of a law that gives no loss for a budget.

    Example:
        >>> import isoloss, numpy as np, pandas as pd, pathlib, tempfile
        >>> N, D = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
        >>> loss = (1.7 + 400 / N**0.34 + 400 / D**0.28).ravel()
        >>> table = pd.DataFrame({"params": N.ravel(), "tokens": D.ravel(), "val_loss": loss})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "runs.csv")
        ...     table.to_csv(path, index=False)
        ...     result = isoloss.law_of_table(path, bootstrap=20)
        >>> result.text.splitlines()[0]
        'verdict: sound: no check has a doubt'
        >>> print(result.text.splitlines()[3])
        columns: N = params (guessed), D = tokens (guessed), loss = val_loss (guessed)
        >>> round(result.fit.values["alpha"], 3)
        0.34
    """
    opened = open_source(source, Limits(max_seconds, max_mib))
    if law == FORMULA and formula is None:  # the card, with the text as its option
        formula, law, options = (options or {}).get(FORMULA, ""), None, None
    formula = checked_formula(formula, law, options)
    check_asked(opened.label, given or {}, flops, formula, law, options)
    second = _second(then, optimize)
    for name in compare:
        preset(name)  # before the fit, which takes longer than to be told of a typo
    if response is not None:
        unit = None if (given or {}).get("loss") else loss_unit  # of a loss for filters
        of_loss = {"best_of": best_of, "flops": flops, "loss_unit": unit}
        of_loss |= {"baseline": baseline, "compare": compare}
        _check_response(law, response, of_loss)
    rules = Rules({}, keep, best_of, scale or {}, loss_unit, response=response)
    runs, meaning = runs_of(opened, rules, law, given or {}, options, formula=formula)
    if response is None and meaning.response is not None and not meaning.formula:
        of_loss = {"best_of": best_of, "flops": flops, "baseline": baseline, "compare": compare}
        _check_response(law, meaning.response, of_loss)
    options = meaning.options
    asked = {name: value for name, value in settings.items() if value is not None}
    if "cluster" in asked:
        asked["cluster"] = _column_of(asked["cluster"], meaning, runs)
    holdout = _holdout_of(holdout, meaning, runs)
    asking = Asking(tuple(flops), baseline, tuple(compare), optimize, second)
    if meaning.mixture:
        asking.check(None, [])
        return _fit_mixtures(runs, meaning, options, asked, _FOLDS if holdout is None else holdout)
    if meaning.response is not None:
        asked["response"] = meaning.response
        meaning = meaning if meaning.formula else with_law(meaning, runs, law)
    if meaning.law in OF_ONE_SIZE and "variable" not in (options or {}):
        options = {"variable": variable(meaning), **(options or {})}
    return _fit_sizes(runs, meaning, options, {"bootstrap": _REPLICATES, **asked}, asking, holdout)


def _second(then: str | None, asked: Mapping[str, Any] | None) -> FitDecisions | None:
    """The law of a chain after the fit; None without one.

    Raises:
        IsolossError: there is no such law, it does not read the loss, or nothing is asked of it.
    """
    if then is None:
        return None
    if asked is None:
        do = "ask where it is best: --over N D --subject-to '6*N*D <= 1e22'"
        raise IsolossError(Problem("then", f"nothing is asked of the chain with {then!r}", do))
    second = load_fit(then) if Path(then).is_dir() else preset(then)
    if RESPONSE not in second.law.variables:
        reason = f"{then!r} reads {', '.join(second.law.variables)}, and not the loss"
        do = "take a law by the loss, such as of the card downstream_error"
        raise IsolossError(Problem("then", reason, do))
    return second


def _column_of(name: str, meaning: Meaning, runs: pd.DataFrame) -> str:
    """The column of the runs that holds a column of the table, by its name there or its letter."""
    letters = {column: letter for letter, column in meaning.columns.items()}
    letter = letters.get(name, name)
    return name if name in runs else LETTERS.get(letter, letter)


def _holdout_of(rule, meaning: Meaning, runs: pd.DataFrame):
    """A rule of a hold-out whose column may be said by its name in the table, too."""
    if isinstance(rule, str) and ":" in rule:
        name, _, column = rule.partition(":")
        return f"{name}:{_column_of(column, meaning, runs)}"
    if isinstance(rule, Mapping):
        columns = {key: rule[key] for key in ("variable", "by") if isinstance(rule.get(key), str)}
        return {**rule, **{key: _column_of(one, meaning, runs) for key, one in columns.items()}}
    return rule


@dataclass(frozen=True)
class Asking:
    """What is to be decided with a fit.

    Attributes:
        flops: budgets, FLOP; multiples of the largest run if empty.
        baseline: group that the others are compared with; the first if None.
        compare: published laws beside the fit.
        asked: what is to be least, over which variables, as of `Fit.optimize`.
        then: a law by the loss that the question is asked of, in a chain after the fit; or None.
    """

    flops: tuple[float, ...]
    baseline: str | None
    compare: tuple[str, ...] = ()
    asked: Mapping[str, Any] | None = None
    then: FitDecisions | None = None

    @property
    def question(self) -> Question | None:
        """The question to the fit itself; None where nothing is asked, or of a chain."""
        return None if self.then is not None else asked_question(self.asked)

    def optima(self, fit: Fit) -> list[Optimum]:
        """The answers of every group's fit, or of the chain after it."""
        if self.then is None:
            return optima(fit, self.question)
        chains = [chain(fit, self.then, group) for group in fit.groups]
        return [one for own in chains for one in optima(own, asked_of(own, self.asked))]

    def check(self, law: Law | None, groups: Sequence[str], quantity: str | None = None) -> None:
        """Refuse what cannot be decided, before a fit is made.

        Args:
            law: that is to be fitted; None for one of mixtures.
            groups: of the runs.
            quantity: that is fitted; the loss if None.

        Raises:
            IsolossError: a question cannot be asked of the law, the law gives no loss for a budget,
                or there is no such group.
        """
        if law is None and self.compare:
            do = "leave it out, or fit the loss by N, D or C"
            raise IsolossError(Problem("compare", "published laws are not of mixtures", do))
        if self.asked is not None and law is None:
            do = "leave it out; the best mixture is told anyway"
            raise IsolossError(Problem("minimize", "the law is one of mixtures", do))
        if self.question is not None and (
            wrong := problems_of(self.question, law, quantity or RESPONSE)
        ):
            raise IsolossError(*wrong)
        if law is not None and law.has_least_loss:
            baseline_of(groups, self.baseline)
            return
        formula = "a law of mixtures" if law is None else f"the law {law.formula}"
        reason = f"{formula} gives no loss for a budget"
        remedy = "leave it out, or take a law in C, or one that divides budgets"
        given = {"flops": self.flops, "baseline": self.baseline}
        if wrong := [Problem(name, reason, remedy) for name, value in given.items() if value]:
            raise IsolossError(*wrong)


def runs_of(
    opened: Source,
    rules: Rules,
    law: str | None,
    given: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
    again: str = "law",
    formula: str | None = None,
) -> tuple[pd.DataFrame, Meaning]:
    """A table as `runs`, and what its columns are by what the user says, or by their names.

    Args:
        opened: the table.
        rules: how it is read, without columns.
        law: law card; guessed from the columns if None.
        given: letter or word to column.
        options: of the law card.
        again: command that the user is told to give where a column has to be named.
        formula: a law as text, in the place of a card.
    """
    parsed = rows(opened)
    own = named(parsed.rows, opened.label)
    if formula is not None:
        asked = typed.Asked(formula, given, rules.response, again)
        raw, meaning = own, typed.meaning_of(own, opened.label, asked)
        options = {"formula": formula, "variables": list(meaning.variables)}
    else:
        response = rules.response
        if law is not None:
            options = cards.options_of(own, law, options, given)
            response = response or cards.response_of(own, opened.label, law, given)
        raw, meaning = _read_columns(own, opened.label, law, given, options, response, again)
        made = None if law is None or meaning.mixture else _made(law, options)
        signed = made is not None and made.signed
        signed = signed and typed.is_negative(raw, meaning.columns.get("loss"))
        meaning = replace(meaning, signed=signed)
    if meaning.response is not None and rules.response is None and not meaning.formula:
        note = f"{meaning.response} has the name of what the law is fitted to"
        meaning = replace(meaning, notes=(*meaning.notes, f"{note}; another: --response COLUMN"))
    meaning = replace(meaning, options=options or {})
    rules = replace(rules, response=meaning.response, signed=meaning.signed)
    rules = replace(rules, loss_unit=rules.loss_unit or meaning.loss_unit)
    if meaning.mixture and rules.best_of:
        reason = "runs of mixtures have a loss a domain, and none of them is the loss of the run"
        raise IsolossError(Problem(f"{opened.label}, best_of", reason, "leave it out"))
    reading = _read_runs(own, raw, meaning, rules)
    meaning = replace(meaning, ranges=typed.ranges(reading.runs, meaning.variables))
    notes = (*parsed.notes, *meaning.notes, *reading.notes)
    return reading.runs, replace(meaning, notes=notes)


def variable(meaning: Meaning) -> str:
    """The size that a law of one size is fitted to: the compute, or of a response N, if known."""
    letters = "CDN" if meaning.response is None else "NDC"
    known = (letter for letter in letters if letter in meaning.columns)
    return next(known, letters[0])  # with a ratio beside one of them all are known


def with_law(meaning: Meaning, runs: pd.DataFrame, law: str | None) -> Meaning:
    """The law of a response where none is named: one of growth if it rises with its size."""
    if law is not None:
        return meaning
    letter, finished = variable(meaning), runs[runs["status"] == "done"]
    sides = finished[[LETTERS[letter], meaning.response]].to_numpy(float)
    rises = rank_correlation(*sides[np.isfinite(sides).all(axis=1)].T) > 0
    note = f"{meaning.response} {'rises' if rises else 'does not rise'} with {letter}: the law is"
    law = "growth" if rises else "power_law"
    return replace(meaning, law=law, notes=(*meaning.notes, f"{note} {law}; another: --law"))


def checked_formula(
    formula: str | None, law: str | None, options: Mapping[str, Any] | None
) -> str | None:
    """The text of a formula, where one is given: without a law card and its options.

    Raises:
        IsolossError: a card or options are given too, or a file of a formula cannot be read.
    """
    if formula is None:
        return None
    wrong = []
    if law is not None:
        reason = f"found a formula, and the law card {law!r}"
        wrong.append(Problem("formula and law", reason, "leave one of the two out"))
    if options:
        reason = f"found {', '.join(options)}: a formula has no options"
        wrong.append(Problem("options", reason, "leave them out"))
    if wrong:
        raise IsolossError(*wrong)
    return typed.text_of(formula)


def check_asked(
    source: str,
    given: Mapping[str, str],
    flops: Sequence[float] = (),
    formula: str | None = None,
    law: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Refuse keys of columns that are not known, and budgets that are not above 0.

    A key may be a variable of the law too; those of a formula are checked with it.
    """
    known = {*COLUMNS, *_variables_of(law, options)}
    wrong = [
        Problem(f"{source}, columns.{letter}", "is not a known quantity", nearest(letter, known))
        for letter in given
        if letter not in known and formula is None
    ]
    for budget in flops:
        if not 0 < budget <= MOST_FLOPS:
            do = f"needs a number above 0, at most {MOST_FLOPS:g}"
            wrong.append(Problem("flops", f"found {budget:g}", do))
    if len(flops) > MOST_BUDGETS:
        wrong.append(Problem("flops", f"{len(flops)} budgets", f"at most {MOST_BUDGETS}"))
    if wrong:
        raise IsolossError(*wrong)


def _variables_of(law: str | None, options: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The variables of a law in sizes; none where the law is not known yet, or wrong."""
    if law not in registry.names("law") or registry.of_mixtures(law):
        return ()
    made = _made(law, options)
    return () if made is None else made.variables


def _check_response(
    law: str | None, response: str, of_loss: Mapping[str, Sequence[Any] | None]
) -> None:
    """Refuse what only a loss has: mixtures, frontiers, and settings about it, by their names."""
    wrong = [] if law is None else response_problems(law, response)
    for place, given in of_loss.items():
        if given:
            reason = f"it is about the loss, and {response!r} is fitted"
            wrong.append(Problem(place, reason, "leave it out"))
    if wrong:
        raise IsolossError(*wrong)


def _read_columns(
    raw: pd.DataFrame,
    source: str,
    law: str | None,
    given: Mapping[str, str],
    options: Mapping[str, Any] | None,
    response: str | None,
    again: str,
) -> tuple[pd.DataFrame, Meaning]:
    """A table, and what its columns are by what the user says of them, or by their names.

    Raises:
        IsolossError: the columns do not say which is the loss, or the sizes that the law needs.
    """
    spoken = {*given.values(), response}
    free = raw[[column for column in raw.columns if column not in spoken]]
    sizes = response is not None or any(given.get(key) for key in ("loss", "ratio", *SIZES))
    may_mix = registry.of_mixtures(law) if law else not sizes
    mixture = _mixture_of(free, source, law) if may_mix else None
    renamed = mixture.renamed if mixture else {}
    looked_for = response is None or RESPONSE in _variables_of(law, options)
    known = given if looked_for else {"loss": "", **given}
    others = [c for c in raw if c in renamed or c == response]
    others += [c for c in _losses_as_variables(raw, law, options, given) if c not in others]
    guess = guess_columns(raw.drop(columns=others), known)
    if mixture:
        raw = named(mixture.applied(raw), source)
    both, proposal = {**run_ids(raw, guess.columns), **given}, ""
    columns = {letter: both[letter] for letter in COLUMNS if both.get(letter)}
    columns |= _further_variables(raw, law, options, columns, given)
    if mixture or (law and registry.of_mixtures(law)):
        columns = {word: column for word, column in columns.items() if word in WORDS}
        law = law or MIXTURE_LAW
    else:
        needs = _sizes_of(law, options) if law else None
        if response is not None and needs is None:
            needs = frozenset()
        proposal = command(raw, source, columns, guess.unused, response) if law is None else ""
        known = Known(source, raw, columns, given, guess, needs, response, again, proposal)
        if law is not None:
            known = replace(known, law=law, one_size=_is_of_one_size(law, options))
        if known.one_size and not known.sizes:
            known = replace(known, needs=frozenset("C"))
        if asked := question(known):
            raise IsolossError(asked)
        unused = [one for one in guess.unused if one not in columns.values()]
        cards.check_variables(source, law, _variables_of(law, options), columns, unused)
        law = law or _law_for(columns)
    notes = [*(mixture.notes if mixture else ())]
    if response is None and (note := cards.note_of_loss(raw, law, columns)):
        notes.append(note)
    meaning = Meaning(source, law, columns, given, guess, renamed, notes, response)
    unit = mixture.loss_unit if mixture else None
    return raw, replace(meaning, proposal=proposal, loss_unit=unit)


def _mixture_of(free: pd.DataFrame, source: str, law: str | None) -> MixtureColumns | None:
    """The proportions and losses of a table; where it has no sizes its one loss will do."""
    sizes = () if law else {*SIZES, "ratio"} & {*guess_columns(free).columns}
    return mixture_columns(free, source, whole=not sizes)


def _further_variables(
    raw: pd.DataFrame,
    law: str | None,
    options: Mapping[str, Any] | None,
    columns: Mapping[str, str],
    given: Mapping[str, str],
) -> dict[str, str]:
    """The columns of a law's variables beside N, D, C and U, given or called as they are."""
    own = [name for name in _variables_of(law, options) if name not in COLUMNS]
    free = [name for name in raw if name not in columns.values() and holds_numbers(raw[name])]
    known = {name: given.get(name) or column_for(name, free) for name in own}
    return {name: column for name, column in known.items() if column}


def _losses_as_variables(
    raw: pd.DataFrame, law: str | None, options: Mapping[str, Any] | None, given: Mapping[str, str]
) -> list[str]:
    """Columns of losses that a law reads, such as a teacher's, none of which it is fitted to."""
    variables = _further_variables(raw, law, options, {}, {})
    own = {name: column for name, column in variables.items() if "loss" in words_of(name)}
    return [column for column in own.values() if column not in given.values()]


def _sizes_of(law: str, options: Mapping[str, Any] | None) -> frozenset[str]:
    """Those of N, D and C that a law needs; one of them will do for a power law without a variable.

    None, too, if its options are wrong, which `fit_law` says.
    """
    made = _made(law, options)
    if made is None or (law in OF_ONE_SIZE and _is_of_one_size(law, options)):
        return frozenset()
    return SIZES & set(made.variables)


def _is_of_one_size(law: str, options: Mapping[str, Any] | None) -> bool:
    """Whether a law is one of a single size, which the user has not chosen."""
    if law not in registry.names("law") or "variable" in (options or {}):
        return False
    return "variable" in registry.options("law", law)


def _made(law: str, options: Mapping[str, Any] | None) -> Law | None:
    """A law in sizes with its options; None if they are wrong, which `fit_law` says."""
    chosen = {**registry.defaults("law", law), **(options or {})}
    if complete_options(chosen, registry.options("law", law), "options", fill=False):
        return None
    return made_law(law, chosen)


def _law_for(columns: Mapping[str, str]) -> str:
    """The law for what there is: Chinchilla's for N and D (or one and C), else a power law."""
    return "chinchilla" if len({*SIZES, "ratio"} & set(columns)) >= 2 else "power_law"


def _read_runs(own: pd.DataFrame, raw: pd.DataFrame, meaning: Meaning, rules: Rules) -> Reading:
    """The table as `runs`; problems have its source as their place."""
    sizes = {*SIZES, "ratio"} & set(meaning.columns)
    need = 0 if meaning.mixture or not sizes else 1  # those that the law needs were asked for
    columns = dict(meaning.columns)
    if meaning.given.get("of_run") == "":  # rows are runs of their own
        columns["of_run"] = ""
    try:
        reading = read_table(raw, replace(rules, columns=columns, need=need), own=own)
    except IsolossError as error:
        placed = [
            replace(one, place=meaning.source + one.place.removeprefix("the table"))
            for one in error.problems
        ]
        if typed.is_negative(raw, meaning.columns.get("loss")) and not meaning.signed:
            lines = "".join(f"\n  {line}" for line in ways_below_zero(raw, meaning))
            do = f"values of any sign are fitted by{lines}"
            placed.append(Problem(meaning.source, "the loss is not above 0 in all runs", do))
        raise IsolossError(*placed) from error
    fitted = own[(reading.runs["status"] == "done").to_numpy()]
    reading = replace(reading, notes=(*reading.notes, *_unfinished(fitted)))
    if not meaning.mixture:
        return reading
    return replace(reading, runs=mixtures(reading.runs, meaning.source))


def _unfinished(fitted: pd.DataFrame) -> Iterator[str]:
    """A note where a column says that runs that are fitted did not come to their end."""
    for column in (name for name in fitted if str(name).lower() in _STATUS):
        counts = Counter(word for word in fitted[column] if isinstance(word, str))
        lost = sorted(word for word in counts if word.lower() in _LOST)
        if lost:
            whole = [f"{column} == '{word}'" for word in counts if word.lower() == "finished"]
            filters = whole or [f"{column} != '{word}'" for word in lost]
            some = ", ".join(f"{counts[word]} {word}" for word in lost)
            remedy = " ".join(f'"{one}"' for one in filters)
            yield f"{column}: {some} are fitted; without them: --keep {remedy}"


def _fit_sizes(
    runs: pd.DataFrame,
    meaning: Meaning,
    options,
    settings: Mapping,
    asking: Asking,
    holdout,
) -> QuickFit:
    """A law in N, D or C: the fit, its errors on runs held out, and what follows for budgets.

    With budgets that cannot be decided about nothing is fitted.
    """
    law, apart = meaning.law, holdout is None or unseen(holdout)
    finished = runs[runs["status"] == "done"]
    groups = ordered(set(finished["group"].astype(str)))
    meaning = replace(meaning, notes=(*meaning.notes, *_without_fit(runs, groups)))
    if (made := _made(law, options)) is not None:
        asking.check(made, groups, meaning.response)
        check_shares(made, finished[meaning.response or RESPONSE], meaning.notes, settings)
    if settings.get("shared") and len(groups) < 2:
        do = "leave it out, or name the column of the groups: group=COLUMN, of --columns"
        raise IsolossError(Problem("shared", "the runs have no groups to share parameters", do))
    fit = fit_law(runs, law, options, **settings, holdout="none" if apart else holdout)
    if meaning.response is not None:
        finished = finished[np.isfinite(finished[meaning.response])]
    held = _fit_held_out(runs, finished, law, options, settings, holdout) if apart else None
    fit = fit if held is None else with_held_out(fit, held)
    facts = record(fit)
    decisions = _decisions(fit, finished, asking)
    decisions = replace(decisions, optima=asking.optima(fit))
    errors = None if held is None else record(held)
    counts = count_runs(runs)
    text = report.of_sizes(meaning, counts, facts, errors, decisions)
    answer = Answer(meaning, counts, facts, errors, decisions)
    return QuickFit(runs, fit, held, text, answer)


def _without_fit(runs: pd.DataFrame, groups: Sequence[str]) -> Iterator[str]:
    """A note for each group that has no fit as all of its runs diverged or failed."""
    lost = runs.loc[runs["status"].isin(("diverged", "failed")), "group"].astype(str)
    counts = Counter(lost[~lost.isin(groups)])
    for group in ordered(counts):
        yield f"group {group} has no fit: none of its runs has a loss ({counts[group]} runs)"


def largest_budgets(
    finished: pd.DataFrame, law: str, options: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """The rule that holds the runs of most compute out, as many as are a tenth of each group.

    Of runs without compute those of the largest value of the law's variable that spans most. None
    where the runs are of one budget, or too few would be left to fit.
    """
    flops = finished["n_flops"].to_numpy(float)
    made = made_law(law, {**registry.defaults("law", law), **(options or {})})
    groups = [of_group for _, of_group in finished.groupby("group")]
    if not groups:
        return None
    least = max(1, min(map(len, groups)) // 10)
    rule: dict[str, Any] = {"rule": "largest_compute", "least": least}
    if not np.isfinite(flops).any() and (widest := _widest(finished, made)) is not None:
        rule = {"rule": "largest", "variable": widest, "least": least}
    elif not np.isfinite(flops).all() or budget_numbers(flops).max() == 0:
        return None
    left = [int((~held_out(rows, rule, made.variables)).sum()) for rows in groups]
    return rule if min(left) >= len(made.terms) else None


def _widest(finished: pd.DataFrame, law: Law) -> str | None:
    """The variable of a law whose largest value is the most times its least; None without one.

    It has at least three values, all of them above 0.
    """
    spans = {}
    for name in law.variables:
        values = finished[LETTERS.get(name, name)].to_numpy(float, na_value=np.nan)
        if np.isfinite(values).all() and values.min() > 0 and len(np.unique(values)) > 2:
            spans[name] = values.max() / values.min()
    return max(spans, key=spans.__getitem__, default=None)


def _fit_held_out(
    runs: pd.DataFrame, finished: pd.DataFrame, law: str, options, settings: Mapping, asked
) -> Fit | None:
    """The same fit without the runs of most compute; None where too few runs would be left.

    Or without the runs that a rule `asked` for holds out.
    """
    by_us = asked in (None, "largest_compute")
    rule = largest_budgets(finished, law, options) if by_us else asked
    if rule is None:
        return None
    count = min(_HELD_OUT_REPLICATES, settings["bootstrap"])
    cluster = settings.get("cluster")
    if settings.get("shared") and cluster in finished:
        seen = made_law(law, {**registry.defaults("law", law), **(options or {})}).variables
        left = (rows[~held_out(rows, rule, seen)] for _, rows in finished.groupby("group"))
        if min(rows[cluster].nunique(dropna=False) for rows in left) == 1:
            count = 0  # a group that is left with one cluster cannot be drawn
    return fit_law(runs, law, options, **{**settings, "holdout": rule, "bootstrap": count})


def _decisions(fit: Fit, finished: pd.DataFrame, asking: Asking) -> Decisions:
    """What a fit says of budgets; if none are asked for, of multiples of the largest run."""
    if not fit.has_least_loss:
        return Decisions(beside=compare_presets(fit, asking.compare))
    compute = finished["n_flops_6nd" if fit.allocates else "n_flops"].astype(float)
    largest, ends = float(compute.max()), compute.groupby(finished["group"].astype(str)).max()
    budgets = asking.flops or tuple(largest * factor for factor in BUDGETS)
    about = allocations if fit.allocates else budget_losses
    by_group = {group: about(fit, group, budgets, float(ends[group])) for group in fit.groups}
    compared = gains(fit, budgets, largest, asking.baseline)
    beside = compare_presets(fit, asking.compare, budgets, largest)
    if fit.allocates:
        grows = {group: one for group in fit.groups if (one := growth(fit, group)) is not None}
        return Decisions(allocations=by_group, growth=grows, gains=compared, beside=beside)
    return Decisions(losses=by_group if asking.flops else {}, gains=compared, beside=beside)


def _fit_mixtures(
    runs: pd.DataFrame, meaning: Meaning, options, settings: Mapping, holdout
) -> QuickFit:
    """A mixture law of every loss: what it predicts of runs held out, and the best mixture."""
    chosen = {"bootstrap": _MIXTURE_REPLICATES, "holdout": holdout, **settings}
    fit = fit_law(runs, meaning.law, options, **chosen)
    facts, domains = record(fit), fit.facts["domains"]
    best = [_best_mixture(fit, facts.of(group), domains) for group in facts.groups]
    not_fitted = fit.facts["not_fitted"]
    counts = count_runs(runs)
    text = report.of_mixtures(meaning, counts, facts, domains, best, not_fitted)
    answer = Answer(meaning, counts, facts, best_mixtures=best, not_fitted=not_fitted)
    return QuickFit(runs, fit, None, text, answer)


def _best_mixture(fit: Fit, fits: Sequence[OneFit], domains: Sequence[str]) -> BestMixture:
    """The mixture of least mean loss over the domains trained on (all losses if there are none)."""
    responses = [one.response for one in fits if own_domain(one.response, domains)]
    responses = responses or [one.response for one in fits]
    work = fits[0].n_runs * len(domains) * len(responses)  # numbers of a look at all losses
    replicates = int(np.clip(_LOOKS / work, _FEW, _MIXTURE_REPLICATES))
    return best_mixture(fit, fits[0].group, responses, replicates)


def _short(source: str) -> str:
    """A table's name without its folder, as a paper says it; an address whole."""
    return source if "://" in source else source.rpartition("/")[2]


def save(result: QuickFit, out: Path, width: float | None = None) -> list[Path]:
    """The fit's tables, a figure of it, one of gains, and the files of `export_fit`.

    Args:
        result: of `law_of_table`.
        out: folder.
        width: inches of the figures, which are then for a paper; for a screen if None.

    Raises:
        IsolossError: the width is not one of a paper; nothing is written.
    """
    from isoloss.figures._figure import check_width
    from isoloss.plot.draw import draw

    check_width(width)
    files = result.fit.save(out, law=out.name, sweep="table", study=out.name)
    runs = result.runs[[c for c in result.runs if not str(c).endswith(tables.SET_ASIDE)]]
    facts = {"sweep": "table", "study": out.name, "token": "token"}
    facts["loss_unit"] = result.fit.loss_unit
    tables.write("runs", runs, out / "runs.parquet", facts)
    card = _figure_of(result.fit)
    options = registry.defaults("figure", card)
    if "reach" in options:
        options["reach"] = _reach(result.decisions) or options["reach"]
    look = {"style": "screen" if width is None else "paper", "width": width}
    shown = [*files, out / "runs.parquet"]
    drawn = draw(card, options, shown, out / "law.png", **look)
    if compared := result.decisions.gains:
        options = registry.defaults("figure", "compute_gain")
        options["baseline"] = compared[0].baseline
        options["budgets"] = list(dict.fromkeys(one.flops for one in compared))
        drawn += draw("compute_gain", options, shown, out / "gain.png", **look)
    return [*files, *drawn, *export_fit(result.fit, out, result.context)]


def _figure_of(fit: Fit) -> str:
    """The card of the figure that shows most of a fit."""
    if fit.allocates and fit.law.variables == ("N", "D"):
        return "isoloss"
    if fit.law.kind == "frontier":
        return "optimal_frontier"
    if fit.law.kind == "mixture":
        return "predicted_observed"
    if len(fit.law.variables) == 1 or fit.allocates:
        return "scaling_curve"
    return "variable_curves" if len(fit.groups) == 1 else "predicted_observed"


def _reach(decisions: Decisions) -> float | None:
    """The largest budget that a fit is asked about, as a multiple of the largest run; or None."""
    by_group = (*decisions.allocations.values(), *decisions.losses.values())
    return max((max(1.0, one.times_largest) for ones in by_group for one in ones), default=None)
