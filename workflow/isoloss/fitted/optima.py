"""Optima that were asked for, as facts, and as they are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isoloss.core import units
from isoloss.core.escape import columns, latex, visible
from isoloss.core.problems import Problem
from isoloss.core.tables import WHOLE
from isoloss.fitted.chain import Chain
from isoloss.fitted.decisions import INSIDE, FitDecisions
from isoloss.fitted.facts import Quantity
from isoloss.fitted.markup import MATH, TEXT, Column, Latex, Markdown
from isoloss.fitted.names import FARTHEST, RESPONSE
from isoloss.fitted.optimum import Limits, Question, shown_limits
from isoloss.fitted.reach import Reach
from isoloss.formulas import as_latex, latex_name, read_expression, read_relation

_LOSS = "{:.4g}".format
_GROUPS = 6  # whose optima are shown one by one
_SIGNS = {"<=": r"\leq", ">=": r"\geq", "<": "<", ">": ">", "=": "=", "==": "="}


@dataclass(frozen=True)
class Chosen:
    """A variable at the optimum."""

    name: str
    value: Quantity
    at_limit: bool


@dataclass(frozen=True)
class Optimum:
    """Where an expression is least, by the fit of a group.

    Attributes:
        minimize, subject_to, given, within: what was asked.
        quantity: what the law predicts: the loss, or the name of another column.
        chosen: the variables; empty where there is no optimum.
        minimum: of the expression.
        predicted: of the quantity, there.
        between: of a chain, what its first law predicts there, such as the loss.
        chained_law: of a chain, the formula of its second law; else empty.
        active: constraints that the optimum lies on.
        beyond: how far outside the runs it is, as a factor.
        farthest: the variable of which that is true; empty inside.
        lower_outside: whether the expression falls lower at the end of the range searched.
        reached: share of replicates that have an optimum; NaN without any.
        problem: why there is no optimum; empty if there is one.
    """

    group: str
    minimize: str
    subject_to: tuple[str, ...]
    given: Mapping[str, float]
    within: Mapping[str, Limits]
    quantity: str
    chosen: tuple[Chosen, ...]
    minimum: Quantity
    predicted: Quantity
    active: tuple[str, ...]
    beyond: float
    farthest: str
    lower_outside: bool
    reached: float
    problem: str
    between: tuple[Chosen, ...] = ()
    chained_law: str = ""

    @property
    def exists(self) -> bool:
        """Whether there is an optimum."""
        return not self.problem

    @property
    def asked(self) -> str:
        """The question in words."""
        under = f" under {' and '.join(self.subject_to)}" if self.subject_to else ""
        given = f", given {self.told_given}" if self.given else ""
        within = [f"{name} {shown_limits(*ends, _plain)}" for name, ends in self.within.items()]
        limits = f", with {' and '.join(within)}" if within else ""
        what = f"largest {self.quantity}" if self.largest else f"least {self.minimize}"
        return f"{what}{under}{given}{limits}"

    @property
    def largest(self) -> bool:
        """Whether the question is where the quantity itself is largest."""
        return self.minimize.replace(" ", "") in (f"-{self.quantity}", f"-({self.quantity})")

    @property
    def of_itself(self) -> bool:
        """Whether what is least, or largest, is the quantity itself."""
        return self.largest or self.minimize.strip() == self.quantity

    @property
    def told_given(self) -> str:
        """The values that were given, in words."""
        return ", ".join(f"{name} = {_plain(value)}" for name, value in self.given.items())

    def asked_in(self, markup: Markdown | Latex) -> str:
        """The question in words, its expressions as formulas."""
        under = " and ".join(markup.math(_relation(text)) for text in self.subject_to)
        given = self.given_in(markup)
        within = [
            f"{markup.math(latex_name(name))} from {markup.power(_plain(low))} to"
            f" {markup.power(_plain(high))}"
            for name, (low, high) in self.within.items()
        ]
        what = f"largest {markup.text(self.quantity)}"
        what = what if self.largest else f"least {self.minimized_in(markup)}"
        parts = [what, f" under {under}" if under else ""]
        parts += [f", given {given}" if given else ""]
        parts += [f", with {' and '.join(within)}" if within else ""]
        return "".join(parts)

    def given_in(self, markup: Markdown | Latex) -> str:
        """The values that were given, as formulas."""
        return ", ".join(
            markup.math(f"{latex_name(name)} = {_latex_number(value)}")
            for name, value in self.given.items()
        )

    def minimized_in(self, markup: Markdown | Latex) -> str:
        """The expression that is least: a word where it is what the law predicts."""
        if self.minimize.strip() in (self.quantity, RESPONSE):
            return markup.text(self.minimize.strip())
        return markup.math(_expression(self.minimize))


def _expression(text: str) -> str:
    r"""An expression in LaTeX.

    >>> print(_expression("6*N*D + 2*N*served"))
    6 \, N \, D + 2 \, N \, \mathrm{served}
    """
    return as_latex(read_expression(text))


def _latex_number(value: float) -> str:
    """A number in LaTeX."""
    return as_latex(read_expression(_plain(value)))


def _relation(text: str) -> str:
    r"""A constraint in LaTeX.

    >>> print(_relation("6*N*D <= 1e22"))
    6 \, N \, D \leq 10^{22}
    """
    left, sign, right = read_relation(text)
    return f"{as_latex(left)} {_SIGNS[sign]} {as_latex(right)}"


def optima(
    fit: FitDecisions | Chain,
    question: Question | None,
    group: str | None = None,
    level: float | None = None,
) -> list[Optimum]:
    """The answer of every group's fit to a question; none where nothing is asked.

    Args:
        fit: of any law.
        question: as of `Fit.optimize`; arrays of what is given are rows of their own.
        group: one alone.
        level: of the intervals; that of the fit if None.

    Raises:
        IsolossError: the question cannot be asked of this law.
    """
    if question is None:
        return []
    answers = []
    for own in fit.groups if group is None else [group]:
        for one in fit.answers(question, own, level=level):
            answer = _optimum(own, fit.quantity, fit.between, *one)
            answers.append(replace(answer, chained_law=fit.chained_law))
    return answers


def _optimum(
    group: str,
    quantity: str,
    between: Sequence[str],
    question: Question,
    row: Mapping[str, Any],
    problem: Problem | None,
) -> Optimum:
    limits = row.get("at_limit", ())
    beside = [name for name in between if name in row]
    others = ("minimum", quantity, *beside)
    names = [n for n in row if f"{n}_low" in row and n not in others]
    return Optimum(
        group=group,
        minimize=question.minimize,
        subject_to=tuple(question.subject_to),
        given=dict(question.given),
        within=dict(question.within),
        quantity=quantity,
        chosen=tuple(Chosen(name, _of(row, name), name in limits) for name in names),
        minimum=_of(row, "minimum"),
        predicted=_of(row, quantity),
        active=tuple(row.get("active", ())),
        beyond=float(row.get("distance", math.nan)),
        farthest=str(row.get(FARTHEST, "")),
        lower_outside=bool(row.get("lower_outside", False)),
        reached=float(row.get("reached", math.nan)),
        problem="" if problem is None else str(problem),
        between=tuple(Chosen(name, _of(row, name), False) for name in beside),
    )


def _of(row: Mapping[str, Any], name: str) -> Quantity:
    return Quantity(*(float(row.get(name + end, math.nan)) for end in ("", "_low", "_high")))


def _form(name: str):
    """How values of a variable are written."""
    return units.count if name in ("N", "D", "U", "C") else "{:.4g}".format


def _plain(value: float) -> str:
    """A number as people type it: 64, 0.003, 1e12."""
    return units.power(value, 6) if abs(value) >= 1e6 else f"{value:.6g}"


def text_of(ones: Sequence[Optimum]) -> str:
    """The optima for a terminal: a title, and a row a variable; of many groups least to most."""
    parts, several = [], len({one.group for one in ones}) > 1
    if len({one.group for one in ones}) > _GROUPS:
        by_question: dict[str, list[Optimum]] = {}
        for one in ones:
            by_question.setdefault(one.asked, []).append(one)
        return "\n".join(map(_of_many, by_question.values()))
    for one in ones:
        whose = f" [{visible(one.group)}]" if several and one.group != WHOLE else ""
        title = f"{visible(one.asked)}{whose}\n"
        parts.append(title + (_rows(one) if one.exists else f"  none: {visible(one.problem)}\n"))
    return "\n".join(parts)


def _of_many(ones: Sequence[Optimum]) -> str:
    """One question's optima in many groups: the least and the most of every value."""
    exist = [one for one in ones if one.exists]
    title = (
        f"{visible(ones[0].asked)} in {len(ones)} groups, least to most (each of them: --json)\n"
    )
    lacking = [one for one in ones if not one.exists]
    none = ""
    if lacking:
        such = f"{visible(lacking[0].group)}: {visible(lacking[0].problem)}"
        none = f"  none in {len(lacking)} of them, such as {such}\n"
    if not exist:
        return title + none
    rows = [
        (f"  {visible(chosen.name)}", _between([one.chosen[i].value for one in exist], form))
        for i, chosen in enumerate(exist[0].chosen)
        for form in (_form(chosen.name),)
    ]
    if not ones[0].of_itself:
        minima = _between([one.minimum for one in exist], units.count)
        rows.append((f"  {visible(ones[0].minimize)}", minima))
    predicted = _between([one.predicted for one in exist], _LOSS)
    rows.append((f"  {visible(ones[0].quantity)}", predicted))
    far = max(exist, key=lambda one: -1.0 if math.isnan(one.beyond) else one.beyond)
    note = f"  {_far(far)}{' at most' if far.beyond > INSIDE else ''}\n"
    return title + columns(("  at the optimum", "value"), rows) + note + none


def _between(values: Sequence[Quantity], form) -> str:
    """The least and the most of some estimates."""
    low, high = (form(end(one.estimate for one in values)) for end in (min, max))
    return low if low == high else f"{low} to {high}"


def _rows(one: Optimum) -> str:
    rows = [(f"  {visible(c.name)}", _of_chosen(c)) for c in one.chosen]
    if not one.of_itself:
        rows.append((f"  {visible(one.minimize)}", _estimate(one.minimum, units.count)))
    rows += [(f"  {visible(c.name)}", _estimate(c.value, _LOSS)) for c in one.between]
    rows.append((f"  {visible(one.quantity)}", _estimate(one.predicted, _LOSS)))
    notes = [f"on its limit: {visible('; '.join(one.active))}"] if one.active else []
    notes.append(_far(one))
    if one.lower_outside:
        notes.append("lower values only at the end of the range searched")
    if one.reached < 1:
        notes.append(f"{100 * one.reached:.3g} % of refits have an optimum")
    law = f"  where {visible(one.chained_law)}\n" if one.chained_law else ""
    return columns(("  at the optimum", "value"), rows) + law + f"  {'; '.join(notes)}\n"


def _far(one: Optimum) -> str:
    reach = Reach(one.beyond, one.farthest)
    if reach.outside:
        return f"outside the runs, {visible(reach.text)}"
    return "how far outside the runs is not known" if math.isnan(one.beyond) else "inside the runs"


def _of_chosen(one: Chosen) -> str:
    """A variable's value with its interval, and whether it is as far as it may go."""
    limit = " (at its limit)" if one.at_limit else ""
    return _estimate(one.value, _form(one.name)) + limit


def _estimate(q: Quantity, form) -> str:
    return units.estimate(q.estimate, q.low, q.high, form)


def for_paper(ones: Sequence[Optimum]) -> list[Column]:
    """The optima as columns of a table: a row a group and variable."""
    rows = [
        (one.group, one.told_given, name, value)
        for one in ones
        if one.exists
        for name, value in _values(one)
    ]
    if not rows:
        return []
    groups, given, names, values = zip(*rows, strict=True)
    shown = [Column("group", TEXT, list(groups))] if len(set(groups)) > 1 else []
    shown += [Column("given", TEXT, list(given))] if len(set(given)) > 1 else []
    return [
        *shown,
        Column("quantity", MATH, list(names)),
        Column("at the optimum", TEXT, list(values)),
    ]


def _values(one: Optimum) -> list[tuple[str, str]]:
    """The names, in LaTeX, and values of what an optimum says."""
    values = [(latex_name(c.name), _of_chosen(c)) for c in one.chosen]
    values += [(latex_name(c.name), _estimate(c.value, _LOSS)) for c in one.between]
    if not one.of_itself and one.minimize.strip() != RESPONSE:
        values.append((_expression(one.minimize), _estimate(one.minimum, units.count)))
    return [*values, (_quantity(one.quantity), _estimate(one.predicted, _LOSS))]


def _quantity(name: str) -> str:
    """What a law predicts in LaTeX: a name of a formula, or any column."""
    return latex_name(name) if name.isidentifier() else rf"\mbox{{{latex(name)}}}"


def asked_of(ones: Sequence[Optimum], markup: Markdown | Latex) -> list[str]:
    """The questions in words, their expressions as formulas, each once."""
    return list(dict.fromkeys(one.asked_in(markup) for one in ones))


def sentences_of(ones: Sequence[Optimum], markup: Markdown | Latex) -> list[str]:
    """A sentence an optimum, for a page."""
    several, told = len({one.group for one in ones}) > 1, []
    for one in ones:
        whose = f" for {markup.text(one.group)}" if several else ""
        asked = one.asked_in(markup)
        if not one.exists:
            told.append(
                f"The question of the {asked} has no answer{whose}: {markup.text(one.problem)}."
            )
            continue
        at = [f"{markup.math(name)} = {markup.text(value)}" for name, value in _values(one)]
        asked += "," if one.given or one.within else ""
        law = f", where {markup.text(one.chained_law)}" if one.chained_law else ""
        told.append(f"The {asked} is reached{whose} at {', '.join(at)} ({_far(one)}){law}.")
    return told
