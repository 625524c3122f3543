"""Where an expression of any variables has its least value under constraints, by a fit.

The search is in logarithms of variables that are above 0, from many starts, at the estimate and at
every replicate; derivatives by the variables come from the expressions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core import units
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.fitted import constrained
from isoloss.fitted.constrained import Derived, Minima, Task
from isoloss.fitted.intervals import quantiles
from isoloss.fitted.names import RESPONSE
from isoloss.fitted.parameters import FitParameters
from isoloss.formulas import Node, names_of, read_expression, read_relation
from isoloss.formulas.evaluating import Evaluator
from isoloss.formulas.tree import put_in
from isoloss.laws._law import Law
from isoloss.laws._tree import tree_of

BEYOND = 1e8  # factor beyond the runs up to which a positive variable is searched
_WIDTHS = 10.0  # of the runs' range, beyond it, of a variable that may be 0 or below
_ANYWHERE = (1.0, 1e30)  # where a law's N, D, C or U is searched if no range of runs is known
_STARTS, _OPTIMA = 64, 4  # at the estimate; local optima from which replicates start
_APART = 1e-3  # coordinates from which two optima are not the same
_END = 1e-6  # of a coordinate, from an end of its range
_ACTIVE = 1e-6  # slack of a constraint that is active, in logarithms or parts
_MOST = 6  # variables to choose


Limits = tuple[float | None, float | None]  # of a variable, None where there is none


def shown_limits(low: float | None, high: float | None, form=lambda end: f"{end:g}") -> str:
    """Limits in words.

    >>> shown_limits(1, 64), shown_limits(1, None), shown_limits(None, 64)
    ('from 1 to 64', 'from 1 on', 'up to 64')
    """
    if low is None:
        return "no limit" if high is None else f"up to {form(high)}"
    return f"from {form(low)} on" if high is None else f"from {form(low)} to {form(high)}"


@dataclass(frozen=True)
class Question:
    """What is to be least, and what may be chosen.

    Attributes:
        minimize: expression of variables, parameters and the predicted value.
        over: names of variables to choose; those that a constraint names are chosen too.
        subject_to: relations such as "6*N*D <= 1e22".
        given: values of other names, one number each.
        within: limits of variables to choose; None for an end that is open.
        integers: variables that are whole numbers.
    """

    minimize: str = RESPONSE
    over: Sequence[str] = ()
    subject_to: Sequence[str] = ()
    given: Mapping[str, float] = field(default_factory=dict)
    within: Mapping[str, Limits] = field(default_factory=dict)
    integers: Sequence[str] = ()


def asked_question(asked: Mapping[str, Any] | None) -> Question | None:
    """A question from arguments as `Fit.optimize` takes them; None from None.

    >>> asked_question({"over": "N", "subject_to": "6*N*D <= 1e22"}).subject_to
    ('6*N*D <= 1e22',)
    """
    if asked is None:
        return None
    listed = {
        name: (asked[name],) if isinstance(asked[name], str) else tuple(asked[name])
        for name in ("over", "subject_to", "integers")
        if asked.get(name)
    }
    named = {name: dict(asked[name]) for name in ("given", "within") if asked.get(name)}
    return Question(asked.get("minimize") or RESPONSE, **listed, **named)


@dataclass(frozen=True)
class _Axis:
    """How a variable enters the search: by its logarithm, or in parts of its range.

    Attributes:
        low, high: ends of the range searched, of the variable.
        own: whether the user gave the lower one, and the upper one.
    """

    name: str
    low: float
    high: float
    own: tuple[bool, bool] = (False, False)

    @property
    def log(self) -> bool:
        """Whether the coordinate is the logarithm."""
        return self.low > 0

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Ends of the coordinate."""
        low, high = self.coordinate(np.array([self.low, self.high]))
        return float(low), float(high)

    @property
    def _middle(self) -> tuple[float, float]:
        return (self.low + self.high) / 2, max((self.high - self.low) / 2, 1e-300)

    def coordinate(self, value: np.ndarray) -> np.ndarray:
        """The coordinate of values of the variable."""
        middle, half = self._middle
        return np.log(value) if self.log else (value - middle) / half

    def value(self, coordinate: np.ndarray) -> np.ndarray:
        """The variable at coordinates."""
        middle, half = self._middle
        return np.exp(coordinate) if self.log else middle + half * coordinate

    def slopes(self, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivative of the variable by its coordinate."""
        if self.log:
            return value, value
        return np.full_like(value, self._middle[1]), np.zeros_like(value)


class _Expression:
    """An expression by the coordinates of the variables that are chosen; see `Function`."""

    def __init__(
        self, evaluator: Evaluator, axes: Sequence[_Axis], known: Mapping[str, np.ndarray]
    ):
        self.evaluator, self.axes = evaluator, axes
        self.known = {k: known[k] for k in evaluator.names if k in known}

    def _given(self, point: np.ndarray, problem: np.ndarray) -> dict[str, np.ndarray]:
        known = {name: values[problem, None] for name, values in self.known.items()}
        chosen = {a.name: a.value(point[:, [i]]) for i, a in enumerate(self.axes)}
        return {**known, **chosen}

    def value(self, point: np.ndarray, problem: np.ndarray) -> np.ndarray:
        """At points (b, q) of problems (b,): (b,)."""
        value = self.evaluator.value(self._given(point, problem))
        return np.broadcast_to(value, (len(point), 1))[:, 0]

    def derived(self, point: np.ndarray, problem: np.ndarray) -> Derived:
        """The value with gradient (b, q) and Hessian (b, q, q), by the coordinates."""
        given, count = self._given(point, problem), len(self.axes)
        value, gradient = self.evaluator.gradient(given)
        gradient = np.broadcast_to(gradient, (len(point), 1, count))[:, 0]
        hessian = self.evaluator.curvature(given, np.ones((len(point), 1)))
        hessian = np.array(np.broadcast_to(hessian, (len(point), count, count)))
        slopes = [a.slopes(given[a.name][:, 0]) for a in self.axes]
        first, second = (np.stack(side, axis=-1) for side in zip(*slopes, strict=True))
        hessian *= first[:, :, None] * first[:, None, :]
        hessian[:, np.arange(count), np.arange(count)] += gradient * second
        return np.broadcast_to(value, (len(point), 1))[:, 0], gradient * first, hessian


def named_by(question: Question, quantity: str, law: Law) -> Question:
    """A question with what is fitted by its own name in the place of `loss`, if that is least.

    `loss` stays where it is a variable that a constraint holds: then it can be meant.
    """
    own = RESPONSE in law.variables and question.subject_to
    if question.minimize.strip() != RESPONSE or not quantity.isidentifier() or own:
        return question
    return replace(question, minimize=quantity)


def relations_of(question: Question) -> list[tuple[Node, str, Node]]:
    """The constraints of a question as trees: left side, sign, right side."""
    return [read_relation(text, "subject_to") for text in question.subject_to]


def _names_in(question: Question) -> list[str]:
    """The names in what is minimised and in the constraints, each once."""
    trees = [read_expression(question.minimize, "minimize")]
    trees += [side for left, _, right in relations_of(question) for side in (left, right)]
    return list(dict.fromkeys(name for tree in trees for name in names_of(tree)))


def chosen(question: Question, law: Law) -> list[str]:
    """What is chosen: `over`, and variables that the expressions name and nobody gives."""
    named = [name for name in _names_in(question) if name in law.variables]
    names = dict.fromkeys([*question.over, *named, *question.within])
    return [name for name in names if name not in question.given]


def problems_of(question: Question, law: Law, *quantities: str) -> list[Problem]:
    """Names that mean nothing, variables without a value, and limits that are none.

    Args:
        question: what is asked.
        law: of which.
        quantities: what it predicts, by its name.

    Raises:
        IsolossError: an expression or a constraint cannot be read.
    """
    names, wrong = _names_in(question), []
    outcomes = {*quantities, RESPONSE} - set(law.variables)
    terms = [term.name for term in law.terms]
    known = [*law.variables, *question.given, *question.within, *terms, *sorted(outcomes)]
    known = list(dict.fromkeys(known))
    for place, listed in (("over", question.over), ("integers", question.integers)):
        for name in listed:
            if name in question.given:
                wrong.append(Problem(f"{place} {name}", "is given a value", "leave one out"))
            elif name not in law.variables and name not in question.within:
                near = nearest(name, law.variables)
                wrong.append(Problem(f"{place} {name}", "is not a variable of the law", near))
    for name in (name for name in names if name not in known):
        do = f"{nearest(name, known)}; or give it a value: given"
        if name == "C" and {"N", "D"} <= set(law.variables):
            do = "write 6*N*D for compute, or give C a value: given"
        wrong.append(Problem(f"name {name}", "is neither a variable nor given", do))
    used = {*law.variables, *terms, *names}
    for name in (name for name in question.given if name not in used):
        open_ = [one for one in law.variables if one not in question.given]
        do = nearest(name, [*open_, *(one for one in names if one not in known)] or law.variables)
        wrong.append(Problem(f"given {name}", "is neither a variable nor in an expression", do))
    picked = chosen(question, law)
    free = [v for v in law.variables if v not in question.given and v not in picked]
    if not picked:
        do = f"name some of {', '.join(free)}" if free else "leave a variable without a value"
        return [*wrong, Problem("over", "nothing is chosen", do)]
    for name in free:
        do = f"give it a value, or choose it too: over {name}"
        wrong.append(Problem(f"variable {name}", "is neither given nor chosen", do))
    for name in (name for name in question.integers if name in free):
        wrong.append(Problem(f"integers {name}", "is not chosen", f"choose it: over {name}"))
    if len(picked) > _MOST:
        do = f"choose at most {_MOST}, and give the others"
        wrong.append(Problem("over", f"{len(picked)} variables to choose", do))
    for name, limits in question.within.items():
        ends = [end for end in limits if end is not None]
        if not (ends and np.isfinite(ends).all() and ends == sorted(ends)):
            reason = f"found {shown_limits(*limits)}"
            do = "give two numbers, the lower first; one of them may be open (None)"
            wrong.append(Problem(f"within {name}", reason, do))
    return wrong


class Choice:
    """A question to a fit, of one group and response: what is chosen, in which range, and how."""

    def __init__(self, fit: FitParameters, question: Question, group: str, response: str):
        self.fit, self.question, self.group, self.response = fit, question, group, response
        self.law: Law = fit.law_of(response)
        self.tree = self._law_tree()
        self.objective = self._read(read_expression(question.minimize, "minimize"))
        sides = relations_of(question)
        self.relations = [(self._read(a), sign, self._read(b)) for a, sign, b in sides]
        self.names = chosen(question, self.law)
        if wrong := problems_of(question, self.law, *self.outcomes):
            raise IsolossError(*wrong)
        self.axes = [self._axis(name) for name in self.names]
        self._evaluators: dict[Node, Evaluator] = {}

    def _law_tree(self) -> Node:
        """The law's expression."""
        law = self.law
        card = self.fit.facts.get("card", "this law")
        if law.proportions:
            do = "use `best_mixture`"
            raise IsolossError(Problem(card, "is a law of mixtures, whose shares sum to 1", do))
        tree = tree_of(law)
        if tree is None or self.fit.estimate(self.group, self.response).state is not None:
            raise IsolossError(
                Problem(card, "has no expression in its variables", "use `predict` on a grid")
            )
        return tree

    @property
    def outcomes(self) -> dict[str, Node]:
        """What is predicted, by its name in an expression."""
        return {self.fit.quantity: self.tree}

    def _read(self, tree: Node) -> Node:
        """An expression with the prediction put in."""
        names = {RESPONSE: self.tree, **self.outcomes}
        return put_in(tree, {k: v for k, v in names.items() if k not in self.law.variables})

    def _axis(self, name: str) -> _Axis:
        """The range in which a variable is searched."""
        least, most = self.question.within.get(name, (None, None))
        own = (least is not None, most is not None)
        low, high = (least, most) if all(own) else self._searched(name)
        low, high = least if own[0] else low, most if own[1] else high
        if not low <= high:
            reason = f"found {shown_limits(least, most)}, far outside the runs"
            raise IsolossError(Problem(f"within {name}", reason, "give both limits"))
        return _Axis(name, float(low), float(high), own)

    def _searched(self, name: str) -> tuple[float, float]:
        """How far a variable is searched where nobody limits it."""
        ranges = self.fit.rows_of("ranges", self.group, self.response).set_index("variable")
        if name in ranges.index:
            low, high = ranges.loc[name, ["low", "high"]].astype(float)
            if low > 0:
                return low / BEYOND, high * BEYOND
            width = _WIDTHS * max(high - low, abs(high), 1e-300)
            return low - width, high + width
        if name in ("N", "D", "C", "U"):
            return _ANYWHERE
        raise IsolossError(
            Problem(f"over {name}", "its range in the runs is not known", "give limits: within")
        )

    @property
    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the coordinates, (q,) each."""
        low, high = zip(*(axis.ends for axis in self.axes), strict=True)
        return np.array(low), np.array(high)

    def starts(self) -> np.ndarray:
        """Coordinates to start from, (s, q): half around the runs, half in the whole range."""
        count, (low, high) = len(self.axes), self.box
        ratio = _golden(count)
        parts = (0.5 + np.arange(1, _STARTS + 1)[:, None] * ratio) % 1.0
        near_low, near_high = self._near(low, high)
        near = near_low + parts * (near_high - near_low)
        return np.where(np.arange(_STARTS)[:, None] % 2, near, low + parts * (high - low))

    def _near(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the coordinates of the runs, a little widened, (q,) each."""
        ranges = self.fit.rows_of("ranges", self.group, self.response).set_index("variable")
        ends = []
        for i, axis in enumerate(self.axes):
            inner = (low[i], high[i])
            if axis.name in ranges.index:
                values = ranges.loc[axis.name, ["low", "high"]].astype(float).to_numpy()
                if not axis.log or (values > 0).all():
                    at = axis.coordinate(values)
                    wide = 0.1 * (at[1] - at[0]) + 0.1
                    inner = np.clip([at[0] - wide, at[1] + wide], low[i], high[i])
            ends.append(inner)
        near_low, near_high = np.array(ends).T
        return near_low, near_high

    def known(self, thetas: np.ndarray) -> dict[str, np.ndarray]:
        """What does not change in the search: parameters and what is given, (r,) each."""
        given = {k: np.full(len(thetas), float(v)) for k, v in self.question.given.items()}
        return {**self.law.values(thetas), **given}

    def _expression(self, tree: Node, known: Mapping[str, np.ndarray]) -> _Expression:
        """An expression with what is known put in; its derivatives are derived once."""
        if tree not in self._evaluators:
            self._evaluators[tree] = Evaluator(tree, self.names)
        return _Expression(self._evaluators[tree], self.axes, known)

    @cached_property
    def forms(self) -> tuple[Node, list[Node]]:
        """What is minimised, and what may not be above 0: in logarithms where both allow it."""
        known = self.known(self.fit.theta(self.group, self.response)[None])
        starts, first = self.starts(), np.zeros(_STARTS, dtype=int)

        def at_starts(tree: Node) -> np.ndarray:
            with np.errstate(all="ignore"):
                return self._expression(tree, known).value(starts, first)

        defined = np.isfinite(at_starts(self.tree))  # elsewhere signs have no meaning

        def positive(tree: Node) -> bool:
            values = at_starts(tree)
            return bool((values[np.isfinite(values) & defined] > 0).all())

        objective = self.objective
        if positive(objective):
            objective = Node("log", (objective,))
        constraints = []
        for left, sign, right in self.relations:
            if sign.startswith(">"):
                left, right = right, left
            if positive(left) and positive(right):
                left, right = Node("log", (left,)), Node("log", (right,))
            constraints.append(Node("-", (left, right)))
        return objective, constraints

    def can_be_met(self) -> bool:
        """Whether a start at which the law has a value meets all constraints."""
        starts, theta = self.starts(), self.fit.theta(self.group, self.response)
        thetas = np.broadcast_to(theta, (len(starts), len(theta)))
        met = np.isfinite(self.values_at(self.tree, starts, thetas))
        for constraint, equal in zip(self.forms[1], self.equal, strict=True):
            slack = self.values_at(constraint, starts, thetas)
            met &= (slack == 0) if equal else (slack <= 0)
        return bool(met.any())

    @property
    def equal(self) -> list[bool]:
        """Which constraints are equations."""
        return [sign in ("=", "==") for _, sign, _ in self.relations]

    def task(self, thetas: np.ndarray) -> Task:
        """The question at some estimates, (r, p)."""
        known, (objective, constraints) = self.known(thetas), self.forms
        made = [self._expression(tree, known) for tree in (objective, *constraints)]
        return Task(made[0], made[1:], self.equal)

    def values_at(self, tree: Node, point: np.ndarray, thetas: np.ndarray) -> np.ndarray:
        """An expression at points (r, q), each with an estimate of its own: (r,)."""
        with np.errstate(all="ignore"):
            return self._expression(tree, self.known(thetas)).value(point, np.arange(len(point)))

    def optima(self) -> Minima:
        """The local optima at the estimate, the lowest first; the least bad where none is one.

        Those at an end of a range that nobody gave come after the others: far outside the runs a
        law may fall again, without meaning.
        """
        starts, (low, high) = self.starts(), self.box
        task = self.task(self.fit.theta(self.group, self.response)[None])
        box = np.broadcast_to(low, starts.shape), np.broadcast_to(high, starts.shape)
        ends = constrained.minimised(task, starts, *box, np.zeros(len(starts), dtype=int))
        endless = self.endless(ends).any(axis=1)
        worth = np.where(np.isfinite(ends.value), ends.value, np.inf)
        order = np.lexsort((worth, endless, ~ends.sound))
        if not ends.met.any():  # the least bad comes nearest to what was asked
            off = np.where(self.equal, np.abs(ends.slack), ends.slack).max(axis=1)
            order = np.argsort(np.where(np.isfinite(off), off, np.inf), kind="stable")
        kept: list[int] = []
        for i in order:
            apart = [np.abs(ends.point[i] - ends.point[k]).max() > _APART for k in kept]
            if all(apart) and (ends.sound[i] or not kept):
                kept.append(int(i))
        optima = ends.take(np.array(kept[:_OPTIMA]))
        return self._whole(optima, task, np.zeros(len(optima.point)))

    def at_replicates(self, optima: Minima, thetas: np.ndarray) -> Minima:
        """The optimum of every replicate, (r, p), from all those of the estimate."""
        many, count = len(thetas), len(optima.point)
        problem = np.repeat(np.arange(many), count)
        start, (low, high) = np.tile(optima.point, (many, 1)), self.box
        box = np.broadcast_to(low, start.shape), np.broadcast_to(high, start.shape)
        task = self.task(thetas)
        ends = constrained.minimised(task, start, *box, problem)
        endless = self.endless(ends).any(axis=1)
        best = constrained.best_of(ends, problem, many, endless)
        return self._whole(best, task, np.arange(many))

    def _whole(self, minima: Minima, task: Task, problem: np.ndarray) -> Minima:
        """With variables that are whole numbers at the better of both sides."""
        columns = [self.names.index(name) for name in self.question.integers]
        if not columns or not len(minima.point):
            return minima
        count, (low, high) = len(minima.point), self.box
        parts, sides = [], list(itertools.product((np.floor, np.ceil), repeat=len(columns)))
        for side in sides:
            ends = [np.broadcast_to(end, minima.point.shape).copy() for end in (low, high)]
            for column, rounded in zip(columns, side, strict=True):
                axis = self.axes[column]
                whole = rounded(np.round(axis.value(minima.point[:, column]), 9))
                whole = np.clip(whole, np.ceil(axis.low), np.floor(axis.high))
                with np.errstate(divide="ignore"):
                    ends[0][:, column] = ends[1][:, column] = axis.coordinate(whole)
            parts.append(constrained.minimised(task, minima.point, *ends, problem.astype(int)))
        names = Minima.__dataclass_fields__
        every = Minima(*(np.concatenate([getattr(one, n) for one in parts]) for n in names))
        return constrained.best_of(every, np.tile(np.arange(count), len(sides)), count)

    def endless(self, minima: Minima) -> np.ndarray:
        """Variables that the search took to an end of a range that nobody gave, bool (b, q).

        Or whose direction has no curvature: the objective does not depend on them there.
        """
        low, high = self.box
        own = np.array([axis.own for axis in self.axes])
        below, above = minima.point <= low + _END, minima.point >= high - _END
        flat = (minima.flat > 0.5) & ~own.all(axis=1)
        return (below & ~own[:, 0]) | (above & ~own[:, 1]) | flat

    def points(self, minima: Minima) -> dict[str, np.ndarray]:
        """The variables at minima, (b,) each."""
        values = {a.name: a.value(minima.point[:, i]) for i, a in enumerate(self.axes)}
        return values | {name: np.round(values[name]) for name in self.question.integers}


def _golden(count: int) -> np.ndarray:
    """Steps of an even sequence in `count` dimensions: powers of the generalised golden ratio."""
    root = 2.0
    for _ in range(40):
        root = (1 + root) ** (1 / (count + 1))
    return root ** -np.arange(1.0, count + 1)


def why_none(choice: Choice, best: Minima) -> Problem | None:
    """What keeps a question from having an answer at the estimate; None if it has one."""
    question = choice.question
    unsettled = Problem("minimize", "the search did not converge", "limit the variables: within")
    if not best.met[0] and choice.can_be_met():
        return unsettled
    if not best.met[0]:
        lacking = [
            text
            for text, slack, equal in zip(
                question.subject_to, best.slack[0], choice.equal, strict=True
            )
            if not (abs(slack) if equal else slack) <= 1e-8
        ]
        reason = "no point searched meets " + (" and ".join(lacking) or "all constraints")
        least = ""
        if any(RESPONSE in text or choice.fit.quantity in text for text in lacking):
            theta = choice.fit.theta(choice.group, choice.response)[None]
            value = choice.values_at(choice.tree, best.point[:1], theta)
            least = f"; the nearest has {choice.fit.quantity} {value[0]:.4g}"
        return Problem("subject_to", reason + least, "loosen it, or choose over more variables")
    endless = choice.endless(best)[0]
    for name, value, is_endless, flat in zip(
        choice.names, choice.points(best).values(), endless, best.flat[0], strict=True
    ):
        if is_endless:
            reason = (
                f"{question.minimize} does not depend on it there"
                if flat > 0.5
                else f"{question.minimize} falls all the way to {units.count(float(value[0]))}, "
                "the end of the range searched"
            )
            do = f"limit it (within), give it a value, or add a constraint that {name} is part of"
            return Problem(f"over {name}", reason, do)
    return None if best.settled[0] else unsettled


def optimum(choice: Choice, level: float) -> tuple[dict[str, object], Problem | None]:
    """The answer to a question, or why it has none.

    Returns:
        Given values, chosen variables, `minimum` and the predicted quantity, the last three with
        `_low` and `_high`; `active` constraints, variables `at_limit`, `replicates` that have an
        optimum, and the share of them, `reached`. Or nothing, and the problem.
    """
    fit, group, response = choice.fit, choice.group, choice.response
    theta, thetas = fit.theta(group, response)[None], fit.replicate_thetas(group, response)
    optima = choice.optima()
    best = optima.take(np.array([0]))
    problem = why_none(choice, best)
    if problem is not None:
        return {}, problem
    many = choice.at_replicates(optima, thetas) if len(thetas) else best.take(np.zeros(0, int))
    row: dict[str, object] = {name: float(value) for name, value in choice.question.given.items()}
    sound, endless = many.sound, choice.endless(many)
    centre, drawn = choice.points(best), choice.points(many)
    for i, axis in enumerate(choice.axes):
        reached = _reached(drawn[axis.name], endless[:, i], axis)[sound]
        row |= _with_interval(axis.name, centre[axis.name], reached, level)
    for name, tree in (("minimum", choice.objective), *choice.outcomes.items()):
        at_best = choice.values_at(tree, best.point, theta)
        at_all = choice.values_at(tree, many.point, thetas)
        row |= _with_interval(name, at_best, at_all[sound], level)
    row |= {"active": tuple(_active(choice, best)), "at_limit": tuple(_at_limits(choice, best))}
    share = float(sound.mean()) if len(sound) else np.nan
    outside = choice.endless(optima).any(axis=1) & optima.sound
    row["lower_outside"] = bool((optima.value[outside] < best.value[0]).any())
    return row | {"replicates": int(sound.sum()), "reached": share}, None


def _reached(values: np.ndarray, endless: np.ndarray, axis: _Axis) -> np.ndarray:
    """The values of a variable at the optima of replicates; infinite or 0 where it has no end."""
    middle = np.sqrt(axis.low * axis.high) if axis.log else (axis.low + axis.high) / 2
    beyond = np.where(values > middle, np.inf, 0.0 if axis.log else -np.inf)
    return np.where(endless, beyond, values)


def _with_interval(name: str, centre, drawn: np.ndarray, level: float) -> dict[str, float]:
    low, high = quantiles(drawn, level, float(centre[0]))
    return {name: float(centre[0]), f"{name}_low": float(low), f"{name}_high": float(high)}


def _active(choice: Choice, best: Minima) -> Iterator[str]:
    """The constraints that the optimum lies on, as they were written."""
    for text, slack in zip(choice.question.subject_to, best.slack[0], strict=True):
        if abs(slack) <= _ACTIVE:
            yield text


def _at_limits(choice: Choice, best: Minima) -> Iterator[str]:
    """The variables that lie on a limit that was given."""
    for axis, point in zip(choice.axes, best.point[0], strict=True):
        low, high = axis.ends
        least, most = axis.own
        if (least and point - low <= _END) or (most and high - point <= _END):
            yield axis.name


def questions(question: Question) -> Iterator[Question]:
    """A question for every value of what is given, where arrays are; they belong together.

    Raises:
        IsolossError: they are of different lengths, or not finite.
    """
    arrays = {name: np.atleast_1d(np.asarray(v, dtype=float)) for name, v in question.given.items()}
    sizes = {len(v) for v in arrays.values() if len(v) != 1}
    if len(sizes) > 1:
        raise IsolossError(Problem("given", f"arrays of {sorted(sizes)} values", "of one length"))
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise IsolossError(Problem(f"given {name}", f"found {values}", "give finite numbers"))
    for i in range(sizes.pop() if sizes else 1):
        given = {name: float(v[i if len(v) > 1 else 0]) for name, v in arrays.items()}
        yield Question(
            question.minimize,
            question.over,
            question.subject_to,
            given,
            question.within,
            question.integers,
        )


def table_of(told: Sequence[tuple[Question, Mapping[str, object], Problem | None]]) -> pd.DataFrame:
    """Answers as a table, a row each.

    Raises:
        IsolossError: one has no answer.
    """
    if wrong := [problem for _, _, problem in told if problem is not None]:
        raise IsolossError(*dict.fromkeys(wrong))
    rows = [
        {k: ", ".join(v) if isinstance(v, tuple) else v for k, v in row.items()}
        for _, row, _ in told
    ]
    return pd.DataFrame(rows)
