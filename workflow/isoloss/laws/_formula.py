"""A law that is written as a formula: of any variables, with any parameters.

A formula that is a sum of power terms is fitted as the cards that are (`Posynomial`). Any other is
evaluated with the derivatives of its expression. Its search begins at parameters that are sized
against the runs (`_formula_starts`), moves in coordinates that are free of the variables' units
(`FormulaLaw.moves`), and has the parameters in which the law is linear at their best.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from isoloss.core.problems import IsolossError, Problem
from isoloss.formulas import (
    Evaluator,
    Node,
    as_latex,
    as_python,
    domains,
    latex_name,
    named,
    names_of,
    operation,
    power_terms,
    read_formula,
)
from isoloss.formulas.simpler import Simpler
from isoloss.laws._formula_bent import Approach, Straight, bent_parts, rows_of
from isoloss.laws._formula_limits import pushed, unseen_bends
from isoloss.laws._formula_starts import Draws, Sizing, factors_of, summands_of
from isoloss.laws._formula_terms import roles_of
from isoloss.laws._law import Data, Law, LawOnRuns, Move, Sums, Term
from isoloss.laws._posynomial import LEAST, Part, Posynomial, PosynomialOnRuns

NATS = "nats/token"  # the unit of what a law predicts, which stands for that of any response
STARTS, DESCENTS = 1000, 32  # parameters drawn, and the best of them that are descended from
STEEPEST = 5.0  # size of an exponent, at most
OF_BRACKET = 5000.0  # the same of (1 + x / S)**g, which becomes exp(g x / S) as g and S grow
EXPONENTS = (0.05, 0.15, 0.3, 0.45, 0.65, 1.0, 1.6)  # of a sum of power terms
CROSSED = 2  # exponents of which all combinations are starts; of more some are drawn
LOOKED_AT = 400  # runs by which starts are moved to the best amplitudes
SUBSETS = 5  # amplitudes above 0 of which every subset is tried
FAR = 14.0, 8.0  # below and above its usual size in logarithms, where an amplitude has its bounds
FARTHER = 40.0  # the same of a scale within a power, whose exponent may be small
SHOWN = 4  # runs that a problem names, at most
LIMITS = 3  # bends that the runs do not show, whose ends a search looks at
SPREAD = 1.4826  # standard deviations of a normal in its median absolute deviation


def formula_law(
    text: str,
    variables: Sequence[str],
    *,
    terms: Mapping[str, Mapping] | None = None,
    kind: str = "joint",
    any_sign: Collection[str] = (),
    shown: str = "",
    latex: str = "",
) -> Law:
    """The law of a formula.

    Args:
        text: the formula (docs/formulas.md), with limits of parameters if there are any.
        variables: names in it that are variables; every other is a parameter.
        terms: what is known of parameters, by name: fields of `Term`, such as
            {"alpha": {"low": 0.0, "high": 2.0, "symbol": "α"}}.
        kind: of the law, one of registry.LAW_KINDS.
        any_sign: parameters that may have any sign although the form suggests one above 0.
        shown: the formula as tables show it; as it is written if empty.
        latex: the formula as a paper shows it; made from the formula if empty.

    Raises:
        IsolossError: the text is not a formula, or it has no parameter.

    Example:
        >>> law = formula_law("loss = E + A / N**alpha", ["N"])
        >>> [(term.name, term.log) for term in law.terms]
        [('E', True), ('A', True), ('alpha', False)]
        >>> law.loss(law.theta({"E": 1.0, "A": 8.0, "alpha": 0.5}), {"N": np.array([16.0])})
        array([3.])
    """
    formula = read_formula(text)
    parameters = [name for name in formula.names if name not in variables]
    if not parameters:
        reason = "has no parameter: every name in it is a variable"
        raise IsolossError(Problem("formula", reason, "write a name for what is to be fitted"))
    asked = _Asked(formula, tuple(variables), parameters, terms or {}, kind, any_sign, shown)
    asked.latex = latex
    if (parts := parts_of(asked)) is None:
        return FormulaLaw(asked)
    # an exponent that is written in an exp: its coordinate is its value, whatever its limits are
    asked.free |= set(parameters) - {part.scale for part in parts}
    return FormulaSum(asked, parts)


class _Asked:
    """What a law is made of, and what its parameters are.

    Attributes:
        formula: as it was read.
        variables, parameters: names.
        terms, kind, shown, latex: as of `formula_law`.
        any_sign: parameters that somebody freed of their sign.
        roles: of the parameters.
        below: parameters that are below 0, as their limits say; their sizes are fitted.
        tree: of the formula, with -B for such a B: a tree of sizes.
        limits: of a parameter (of a size), in its own unit, infinite where open.
        free: parameters that may have any sign.
        value, slopes: evaluators of the tree, and of its derivatives by all parameters.
    """

    def __init__(self, formula, variables, parameters, terms, kind, any_sign, shown):
        self.formula, self.variables, self.parameters = formula, variables, parameters
        self.terms, self.kind, self.any_sign = terms, kind, tuple(sorted(any_sign))
        self.shown, self.latex = shown or formula.written, ""
        self.below = self._below_zero()
        self.tree = with_sizes(formula.tree, self.below)
        self.value = Evaluator(self.tree, ())
        self.slopes = Evaluator(self.tree, parameters)
        self.roles = roles_of(self.tree, parameters)
        self.limits, free = dict.fromkeys(parameters, (-np.inf, np.inf)), set(any_sign)
        free |= self.roles.any_sign
        for limit in formula.limits:
            if limit.name in self.limits:
                low = -np.inf if limit.low is None else limit.low
                high = np.inf if limit.high is None else limit.high
                if limit.name in self.below:
                    low, high = -high, -low
                self.limits[limit.name] = low, high
                if low >= 0 and limit.name not in self.roles.exponents:
                    free.discard(limit.name)
                elif -np.inf < low < 0 or high <= 0:
                    free.add(limit.name)
        self.free = free & set(parameters)

    def _below_zero(self) -> frozenset[str]:
        """Parameters, but exponents, that a limit keeps below 0: their sizes are fitted."""
        exponents = roles_of(self.formula.tree, self.parameters).exponents
        below = {one.name for one in self.formula.limits if one.high is not None and one.high <= 0}
        return frozenset(below & set(self.parameters) - exponents - set(self.any_sign))

    @property
    def key(self) -> tuple:
        """What makes one law differ from another."""
        return self.formula.text, self.variables, self.kind, self.any_sign, str(self.terms)

    @property
    def response_range(self) -> tuple[float | None, float | None] | None:
        """The limits of the response that the user wrote; None without any."""
        left = self.formula.response
        names = (left,) if left else ("loss", "L")
        known = [limit for limit in self.formula.limits if limit.name in names]
        return (known[-1].low, known[-1].high) if known else None

    @property
    def bounds(self) -> dict[str, tuple[float | None, float | None]]:
        """Limits beyond a sign that is fixed anyway, in the user's units, None where open."""
        bounds = {}
        for name, (low, high) in self.limits.items():
            low = -np.inf if name not in self.free and low <= 0 else low
            if np.isfinite([low, high]).any():
                ends = (-high, -low) if name in self.below else (low, high)
                bounds[name] = tuple(float(end) if np.isfinite(end) else None for end in ends)
        return bounds

    def term(self, name: str, low: float, high: float, starts: tuple[float, ...]) -> Term:
        """A parameter, with what is known of it in the place of what its role says."""
        log = name not in self.free
        unit = NATS if name in self.roles.linear else "1"
        sign = -1.0 if name in self.below else 1.0
        usual = Term(name, symbol_of(name), unit, log, low, high, starts, sign=sign)
        return replace(usual, **self.terms.get(name, {}))


GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "zeta": "ζ",
    "eta": "η", "theta": "θ", "kappa": "κ", "lam": "λ", "mu": "μ", "nu": "ν", "xi": "ξ",
    "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
}  # fmt: skip


def symbol_of(name: str) -> str:
    """The symbol of a parameter by its name: alpha_1 -> α_1."""
    head, *rest = name.split("_")
    return "_".join([GREEK.get(head, head), *rest])


class _OfFormula(Law):
    """What laws that are written as a formula have in common."""

    signed = True
    positive: tuple[str, ...] = ()

    def __init__(self, asked: _Asked):
        self.asked, self.kind, self.variables = asked, asked.kind, asked.variables
        self.formula, self.limits = asked.shown, asked.bounds
        self.response_range = asked.response_range
        needs = domains(asked.tree, asked.parameters)
        self.positive = tuple(v for v in asked.variables if needs.get(v) == "positive")

    def __eq__(self, other: object) -> bool:
        """Laws of formulas are the same if text, variables and decisions are."""
        return type(self) is type(other) and self.asked.key == other.asked.key

    __hash__ = None

    @property
    def python(self) -> str:
        """The formula in NumPy's language."""
        return as_python(self.asked.formula.tree)

    @property
    def latex(self) -> str:
        """The formula as LaTeX; names of several letters are upright."""
        if self.asked.latex:
            return self.asked.latex
        symbols = {t.name: latex_name(t.symbol) for t in self.terms if t.symbol.isidentifier()}
        left = as_latex(named(self.asked.formula.response or "L"), symbols)
        return f"{left} = {as_latex(self.asked.formula.tree, symbols)}"

    @property
    def decided(self) -> dict[str, list[str]]:
        """The options that hold what `settled` decided."""
        return {"any_sign": list(self.asked.any_sign)} if self.asked.any_sign else {}

    def settled(self, data: Data, loss: np.ndarray, labels: Sequence[str] = ()) -> Law:
        """The law whose offset may have any sign, where responses are not all above 0.

        Without an offset that is so of the parameters in which the law is linear.

        Raises:
            IsolossError: the formula has no value at some runs, whatever its parameters are.
        """
        check_finite(self, data, loss, labels)
        if not len(loss) or (np.asarray(loss) > 0).all():
            return self
        asked = self.asked
        open_ones = asked.roles.offsets or set(asked.roles.linear)
        more = {name for name in open_ones if name not in asked.free and name not in asked.terms}
        if not more:
            return self
        return self.freed(more)

    def freed(self, names: Collection[str]) -> Law:
        """The same law, whose parameters of these names may have any sign."""
        asked = self.asked
        return formula_law(
            asked.formula.text,
            asked.variables,
            terms=asked.terms,
            kind=asked.kind,
            any_sign={*asked.any_sign, *names},
            shown=asked.shown,
            latex=asked.latex,
        )


def parts_of(asked: _Asked) -> tuple[Part, ...] | None:
    """A formula as parts of a `Posynomial`; None where it is not one."""
    terms = power_terms(asked.tree, asked.variables)
    if terms is None or any(term.linear for term in terms):
        return None
    if asked.free & {term.scale for term in terms if term.exponents}:
        return None
    return tuple(
        Part(one.scale, one.exponents, factor=one.factor, inside=one.shifts) for one in terms
    )


def check_finite(law: Law, data: Data, loss: np.ndarray, labels: Sequence[str] = ()) -> None:
    """Refuse runs at which a formula has no value, whatever its parameters are.

    Raises:
        IsolossError: with the labels of the runs, or their numbers from 1, and their variables.
    """
    if not len(loss):
        return
    asked = law.asked
    data = {name: np.asarray(data[name], dtype=float) for name in law.variables}
    values = drawn(asked, data, np.asarray(loss, dtype=float), 16)
    given = {name: value[:, None] for name, value in values.items()}
    with np.errstate(all="ignore"):
        value = asked.value.value({**given, **data})
    value = np.broadcast_to(value, (16, len(loss)))
    never = np.flatnonzero(~np.isfinite(value).any(axis=0))
    if not len(never):
        return
    names = labels if len(labels) else range(1, len(loss) + 1)
    shown = [
        f"run {names[i]} ({', '.join(f'{v} = {column[i]:.6g}' for v, column in data.items())})"
        for i in never[:SHOWN]
    ]
    more = f" and {len(never) - SHOWN} more" if len(never) > SHOWN else ""
    reason = f"has no finite value at {', '.join(shown)}{more}, whatever its parameters are"
    remedy = (
        "leave these runs out (--keep, in a study `where`), or write the formula so that it has a"
        " value there"
    )
    raise IsolossError(Problem("formula", reason, remedy))


def drawn(
    asked: _Asked, data: Data, loss: np.ndarray, count: int, only: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Parameters drawn for starts, sized against runs, by name, (count,) each."""
    positive = {name: name not in asked.free for name in asked.parameters}
    usual = {name: (-STEEPEST, STEEPEST) for name in asked.roles.exponents}
    limits = {
        name: (max(low, usual.get(name, (low,))[0]), min(high, usual.get(name, (high,))[-1]))
        for name, (low, high) in asked.limits.items()
    }
    sizing = Sizing(positive, limits, data, loss, Draws(count))
    sizing.settle(asked.tree, sizing.target)
    return {name: sizing.values[name] for name in asked.parameters}


class FormulaSum(_OfFormula, Posynomial):
    """A formula that is a sum of power terms."""

    def __init__(self, asked: _Asked, parts):
        super().__init__(asked)
        self.parts, self.positive = parts, asked.variables
        scales = {part.scale: bool(part.exponents) for part in parts}
        self.terms = tuple(self._term(asked, name, scales) for name in asked.parameters)

    python = _OfFormula.python

    @staticmethod
    def _term(asked: _Asked, name: str, scales: Mapping[str, bool]) -> Term:
        """A parameter: bounds and starts as cards have them, in the scale of the runs."""
        if name not in scales:
            return asked.term(name, -STEEPEST, STEEPEST, EXPONENTS)
        if scales[name]:
            return asked.term(name, -30.0, 8.0, (-1.0,))
        return asked.term(
            name, *((-50.0, 50.0, (0.6,)) if name in asked.free else (-9.0, 3.0, (-0.5,)))
        )

    def starts(self) -> np.ndarray:
        """All combinations of few exponents; of more some that fill their range evenly."""
        exponents = [i for i, term in enumerate(self.terms) if len(term.starts) > 1]
        if len(exponents) <= CROSSED:
            return super().starts()
        draws, low, high = Draws(256), math.log(EXPONENTS[0]), math.log(EXPONENTS[-1])
        grid = np.tile([term.starts[0] for term in self.terms], (256, 1))
        for i in exponents:
            grid[:, i] = np.exp(low + (high - low) * draws.uniform())
        return grid

    @property
    def allocates(self) -> bool:
        """Whether one part falls with N alone, one with D alone, and no other with either."""
        return sorted(self.variables) == ["D", "N"] and self._sides() is not None

    def _sides(self) -> tuple[Part, Part] | None:
        """The parts that depend on N and on D, where each is the only one that does."""
        named = [({v for of in p.exponents.values() for v in of}, p) for p in self.parts]
        sides = {tuple(names): part for names, part in named if len(names) == 1}
        apart = len(sides) == sum(bool(names) for names, _ in named) == 2
        added = all(part.factor > 0 for part in sides.values())
        return (sides[("N",)], sides[("D",)]) if apart and added else None

    def allocate(self, theta: np.ndarray, flops: float) -> tuple[np.ndarray, np.ndarray]:
        """N and D of least loss for C = 6 N D, as of `Chinchilla.allocate`; NaN where none is."""
        sides = self._sides() if self.allocates else None
        if sides is None:
            return super().allocate(theta, flops)
        sizes, powers = [], []
        for part, variable in zip(sides, "ND", strict=True):
            size = theta[..., self.index(part.scale)] + math.log(part.factor)
            power = 0.0
            for name, of in part.exponents.items():
                size = size - theta[..., self.index(name)] * part.inside.get(name, 0.0)
                power = power + theta[..., self.index(name)] * of[variable]
            sizes.append(size)
            powers.append(power)
        with np.errstate(all="ignore"):
            log_g = (np.log(powers[0]) + sizes[0] - np.log(powers[1]) - sizes[1]) / sum(powers)
            n = np.exp(log_g + powers[1] / sum(powers) * np.log(flops / 6.0))
            return n, flops / 6.0 / n

    def on(self, data: Data) -> PosynomialOnRuns:
        """With all features and their products computed once."""
        on_runs = PosynomialOnRuns(self, data)
        on_runs.descents = 2 * DESCENTS
        return on_runs


class FormulaLaw(_OfFormula):
    """A formula of any form."""

    def __init__(self, asked: _Asked):
        super().__init__(asked)
        self.terms = tuple(self._term(asked, name) for name in asked.parameters)

    @staticmethod
    def _term(asked: _Asked, name: str) -> Term:
        """A parameter: bounds are those of what the search moves (`moves`)."""
        if name in asked.roles.exponents:
            steepest = OF_BRACKET if name in asked.roles.of_brackets else STEEPEST
            return asked.term(name, -steepest, steepest, (0.3,))
        if name not in asked.free:
            linear = name in asked.roles.linear
            low, high = (-FAR[0], FAR[1]) if linear else (-FARTHER, FARTHER)
            return asked.term(name, low, high, (0.0,))
        return asked.term(name, -np.inf, np.inf, (0.0,))

    def given_by(self, theta: np.ndarray) -> dict[str, np.ndarray]:
        """The parameters (the sizes of those below 0) by name, (..., 1), of theta (..., p)."""
        theta = np.asarray(theta, dtype=float)
        columns = ((t, theta[..., i, None]) for i, t in enumerate(self.terms))
        return {t.name: np.exp(column) if t.log else column for t, column in columns}

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """The value of the formula, (..., n)."""
        given = self.given_by(theta)
        given |= {name: np.asarray(data[name], dtype=float) for name in self.variables}
        with np.errstate(all="ignore"):
            value = self.asked.value.value(given)
        return np.broadcast_to(value, np.broadcast_shapes(*(v.shape for v in given.values())))

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """Its derivatives by theta, (..., n, p)."""
        given = self.given_by(theta)
        inner = self._inner(given)
        given |= {name: np.asarray(data[name], dtype=float) for name in self.variables}
        with np.errstate(all="ignore"):
            _, slopes = self.asked.slopes.gradient(given)
            return slopes * inner[..., None, :]

    def _inner(self, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """Derivative of every parameter by its coordinate in theta, (..., p)."""
        inner = (given[t.name] if t.log else np.ones_like(given[t.name]) for t in self.terms)
        return np.concatenate(list(inner), axis=-1)

    def moves(self, data: Data, log_loss_scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Scales relative to their usual size, amplitudes where variables have their mean.

        Slopes of one linear form are combined so that their regressors are orthogonal.
        """
        count = len(self.terms)
        matrix, origin = np.eye(count), np.zeros(count)
        data = {name: np.asarray(data[name], dtype=float) for name in self.variables}
        if not all(len(column) for column in data.values()):
            return matrix, origin
        loss = np.full(len(next(iter(data.values()))), np.exp(log_loss_scale))
        usual = drawn(self.asked, data, loss, 1)
        for i, term in enumerate(self.terms):
            if term.log:
                self._centre(matrix, i, data)
                sizes = [(t.log, usual[t.name][0]) for t in self.terms]
                point = [np.log(size) if log else size for log, size in sizes]
                origin[i] = matrix[i] @ point
            elif term.name not in self.asked.roles.exponents and term.name not in self.limits:
                size = abs(usual[term.name][0])
                matrix[i, i] = 1.0 / size if size > 0 else 1.0
        for tree in linear_forms(self.asked.tree):
            self._decorrelate(matrix, tree, data)
        return matrix, origin

    def _centre(self, matrix: np.ndarray, row: int, data: Data) -> None:
        """Add what powers of variables beside an amplitude are at the mean of their logarithms."""
        name, parameters = self.terms[row].name, set(self.asked.parameters)
        for factors in products(self.asked.tree):
            if not any(
                p > 0 and operation(f) == ("name", ()) and f.name == name for p, f in factors
            ):
                continue
            for power, factor in factors:
                kind, parts = operation(factor)
                if kind != "**" or set(names_of(parts[0])) & parameters:
                    continue
                sign, exponent = power, parts[1]
                while operation(exponent)[0] == "neg":
                    sign, exponent = -sign, operation(exponent)[1][0]
                if operation(exponent)[0] != "name" or exponent.name not in parameters:
                    continue
                with np.errstate(all="ignore"):
                    log = np.log(Evaluator(parts[0], ()).value(data))
                column = self.index(exponent.name)
                if np.isfinite(log).all() and not self.terms[column].log:
                    matrix[row, column] = sign * float(np.mean(log))
            return

    def _decorrelate(self, matrix: np.ndarray, tree, data: Data) -> None:
        """Rows of the coefficients of one linear form: those of its regressors' R."""
        parameters, columns, rows = set(self.asked.parameters), [], []
        count = len(next(iter(data.values())))
        for sign, part in summands_of(tree):
            bare = [f for p, f in factors_of(part) if operation(f)[0] == "name"]
            names = [f.name for f in bare if f.name in parameters]
            if len(names) != 1 or len(set(names_of(part)) & parameters) != 1:
                continue
            row = self.index(names[0])
            if self.terms[row].log or names[0] in self.limits or row in rows:
                continue
            with np.errstate(all="ignore"):
                column = Evaluator(part, ()).value({**data, names[0]: np.ones(())})
            column = np.broadcast_to(column, (count,))
            if np.isfinite(column).all() and column.any():
                columns.append(sign * column)
                rows.append(row)
        if not rows:
            return
        triangle = np.linalg.qr(np.stack(columns, axis=-1) / np.sqrt(count), mode="r")
        size = np.diag(triangle)[:, None]
        lost = np.abs(size[:, 0]) < 1e-10 * np.abs(triangle).max()
        triangle = triangle * np.where(size < 0, -1.0, 1.0)
        for i, row in enumerate(rows):
            if i < len(triangle) and not lost[i]:
                matrix[row] = 0.0
                matrix[row, rows] = triangle[i]

    def on(self, data: Data) -> FormulaOnRuns:
        """On runs, with what does not change during a fit computed once."""
        return FormulaOnRuns(self, data)


def with_sizes(tree, names: Collection[str]):
    """A tree in which the sizes of some names stand, with a sign in front of what they multiply.

    Example:
        >>> from isoloss.formulas import as_text, read_expression
        >>> as_text(with_sizes(read_expression("E + B / V**b"), ["B"]))
        'E - B / V**b'
    """
    if not names:
        return tree
    kind, parts = operation(tree)
    if kind == "name":
        return Node("neg", (tree,)) if tree.name in names else tree
    parts = tuple(with_sizes(part, names) for part in parts)
    kinds = [operation(part)[0] for part in parts]
    bare = [p.parts[0] if k == "neg" else p for k, p in zip(kinds, parts, strict=True)]
    if kind == "neg" and kinds[0] == "neg":
        return bare[0]
    if kind in ("*", "/") and "neg" in kinds:
        product = Node(kind, tuple(bare))
        return product if kinds == ["neg", "neg"] else Node("neg", (product,))
    if kind in ("+", "-") and kinds[1] == "neg":
        return Node("-" if kind == "+" else "+", (parts[0], bare[1]))
    return tree if not parts else replace(tree, parts=parts)


def products(tree):
    """The factors of every product in a formula, the outer ones first."""
    kind, parts = operation(tree)
    if kind in ("*", "/"):
        factors = list(factors_of(tree))
        yield factors
        for _, factor in factors:
            yield from products(factor)
        return
    for part in parts:
        yield from products(part)


def linear_forms(tree):
    """Every sum in a formula, the outer ones first."""
    kind, parts = operation(tree)
    if kind in ("+", "-"):
        yield tree
        for _, part in summands_of(tree):
            yield from linear_forms(part)
        return
    for part in parts:
        yield from linear_forms(part)


class FormulaOnRuns(LawOnRuns):
    """A formula on n runs."""

    descents = DESCENTS
    trading = True
    by_row = False

    def __init__(self, law: FormulaLaw, data: Data):
        super().__init__(law, data)
        tree = law.asked.tree
        self.logs = np.array([term.log for term in law.terms])
        above = [term.name for term in law.terms if term.log]
        self.bound = law.asked.slopes.on(self.data, above)
        self.count = len(next(iter(self.data.values())))
        self.linear = Evaluator(tree, law.asked.roles.linear)

    def with_data(self, data: Data) -> FormulaOnRuns:
        """The same on other runs, (n,)."""
        return type(self)(self.law, data)

    def starts(self, loss: np.ndarray) -> np.ndarray:
        """Parameters that are sized against the runs, (s, p)."""
        values = drawn(self.law.asked, self.data, loss, STARTS)
        coordinates = []
        for term in self.law.terms:
            own = values[term.name]
            coordinates.append(np.log(np.maximum(own, 1e-300)) if term.log else own)
        return self._straightened(np.stack(coordinates, axis=-1), loss)

    def _straightened(self, starts: np.ndarray, loss: np.ndarray) -> np.ndarray:
        """Starts of a formula with sums like a V^g + b near an optimum; others as they are."""
        law, names = self.law, [term.name for term in self.law.terms]
        sums = linear_forms(law.asked.tree)
        parts = bent_parts(sums, names, law.asked.free, self.data)
        if not parts:
            return starts
        rows = rows_of(self.count)
        few = {name: column[rows] for name, column in self.data.items()}
        starts = self.project(starts, loss, np.ones(self.count))
        approach = Approach(
            Straight(parts),
            self._ends(),
            lambda theta: law.loss(theta, few),
            lambda theta: law.gradient(theta, few),
            loss[rows],
        )
        return approach.starts(starts)

    def limits(self, theta: np.ndarray, loss: np.ndarray, lost: bool = False) -> list[Move]:
        """Moves to where a bend that the runs do not show is gone; see `LawOnRuns.limits`."""
        with np.errstate(all="ignore"):
            predicted = self.law.loss(theta, self.data)
            if not np.isfinite(predicted).all():
                return []
            relative = (predicted > 0).all() and (loss > 0).all() and not self.law.additive
            unit = predicted if relative else np.full_like(loss, np.std(loss) or 1.0)
            errors = (loss - predicted) / unit
            spread, far = SPREAD * float(np.median(np.abs(errors))), errors if lost else None
            tree = self.law.asked.formula.tree
            bends = list(unseen_bends(self.law, tree, theta, self.data, unit, spread, errors=far))
        return [
            partial(self._to_limit, one.way, factor)
            for one in bends[:LIMITS]
            for factor in one.way.factors
        ]

    def _to_limit(self, way: Simpler, factor: float, theta: np.ndarray) -> np.ndarray:
        """Points (b, p) with a piece of the law far away, and about the same predictions."""
        with np.errstate(all="ignore"):
            moved = pushed(self.law, theta, way, factor)
            if moved is None:
                return theta
            return self._linear(moved, self.law.loss(theta, self.data), np.ones(self.count))

    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest theta by the limits that the user wrote, and of exponents; (p,)."""
        ends = np.tile([[-np.inf], [np.inf]], len(self.law.terms))
        for i, term in enumerate(self.law.terms):
            least, most = self.law.limits.get(term.name, (None, None))
            if term.name in self.law.asked.roles.exponents:
                ends[:, i] = term.low, term.high
            low, high = term.bounds(least, most)
            ends[0, i] = low if low > -np.inf else ends[0, i]
            ends[1, i] = high if high < np.inf else ends[1, i]
        return ends[0], ends[1]

    def values(self, theta: np.ndarray) -> np.ndarray:
        """The parameters of theta, both (b, p)."""
        return np.where(self.logs, np.exp(np.where(self.logs, theta, 0.0)), theta)

    def at(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The value of the formula (b, n), and what `sums` needs: the parameters."""
        own = self.values(theta)
        return self.bound.at(own), own

    def sums(
        self, own: np.ndarray, slope: np.ndarray, curvature: np.ndarray, weight: np.ndarray
    ) -> Sums:
        """Sums over runs, with the derivatives of the expression; `own` is that of `at`."""
        scale = np.where(self.logs, own, 1.0)  # of a parameter by its coordinate
        both = scale[:, :, None] * scale[:, None, :]
        sums = self.bound.sums(own, slope, curvature, weight)
        gradient = sums.gradient * scale
        bent = np.eye(len(self.logs)) * (gradient * self.logs)[:, :, None]
        return Sums(
            gradient=gradient,
            absolute=sums.absolute * np.abs(scale),
            hessian=(sums.curved + sums.bent) * both + bent,
            outer=sums.weighed * both,
        )

    def project(self, theta: np.ndarray, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Starts with the parameters in which the law is linear at their best.

        Least squares of the relative errors, or of the errors where losses are not all above 0,
        over runs spread evenly; every subset of those above 0 is tried, and the rest of them keep
        little.
        """
        return self._linear(theta, loss, weight)

    def _linear(self, theta: np.ndarray, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """As `project`, of losses (n,) or of every theta's own, (b, n)."""
        names = self.law.asked.roles.linear
        if not names:
            return theta
        where = [self.law.index(name) for name in names]
        loss = np.atleast_2d(loss)
        above, size = (loss > 0).all(), np.mean(np.abs(loss)) or 1.0
        rows = np.unique(np.linspace(0, loss.shape[-1] - 1, LOOKED_AT).astype(int))
        loss = loss[:, rows]
        given, data = self.law.given_by(theta), {k: v[rows] for k, v in self.data.items()}
        with np.errstate(all="ignore"):
            value, slopes = self.linear.gradient({**given, **data})
            slopes = np.broadcast_to(slopes, (len(theta), len(rows), len(names)))
            now = self.values(theta)[:, where]
            rest = loss - (value - np.einsum("bnk,bk->bn", slopes, now))
            unit = loss if above else np.full_like(loss, size)
            unit = unit / np.sqrt(weight[rows])
            logs = np.array([self.law.terms[i].log for i in where])
            best = _least_squares(slopes / unit[..., None], rest / unit, logs)
        moved = theta.copy()
        for k, i in enumerate(where):
            own = np.log(best[:, k]) if logs[k] else best[:, k]
            moved[:, i] = np.where(
                np.isfinite(best).all(axis=-1) & np.isfinite(own), own, moved[:, i]
            )
        return moved


def _least_squares(shape: np.ndarray, target: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Coefficients (b, k) with which shapes (b, n, k) are the nearest to targets (b, n).

    Args:
        shape: of every coefficient.
        target: what to reach.
        above: whether a coefficient is above 0, bool (k,).
    """
    count = shape.shape[-1]
    size = np.sqrt(np.mean(shape**2, axis=1))
    size = np.where((size > 0) & np.isfinite(size), size, 1.0)
    shape = np.nan_to_num(shape / size[:, None, :])
    target = np.nan_to_num(target, posinf=0.0, neginf=0.0)
    normal = np.swapaxes(shape, -1, -2) @ shape / shape.shape[1]
    right = np.einsum("bnk,bn->bk", shape, target) / shape.shape[1]
    least = LEAST * np.sqrt(np.mean(target**2, axis=-1))
    best, chosen = np.full(len(shape), np.inf), np.where(above, least[:, None], 0.0)
    many = above.sum() > SUBSETS
    for some in _subsets(above):
        inner = normal[:, some[:, None], some] + 1e-9 * np.eye(len(some))
        scale = np.linalg.solve(inner, right[:, some, None])[..., 0]
        gain = -np.einsum("bk,bk->b", scale, right[:, some])
        fits = ((scale > least[:, None] * 0.1) | ~above[some]).all(axis=-1)
        better = (fits & (gain < best - 1e-12)) | (many & (best == np.inf))
        best[better] = gain[better]
        full = np.where(above, np.broadcast_to(least[:, None], (len(shape), count)), 0.0)
        full[:, some] = np.where(above[some], np.maximum(scale, least[:, None] * 0.1), scale)
        chosen[better] = full[better]
    return chosen / size


def _subsets(above: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of coefficients: those of any sign, with every subset of few that are above 0."""
    signed, positive = np.flatnonzero(~above), np.flatnonzero(above)
    subsets = itertools.product((False, True), repeat=len(positive))
    for kept in subsets if len(positive) <= SUBSETS else [(True,) * len(positive)]:
        some = np.sort(np.concatenate([signed, positive[np.array(kept, dtype=bool)]]))
        if len(some):
            yield some
