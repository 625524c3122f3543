"""Formulas in a canonical form in which equal parts are one, and derivatives in that form.

A graph keeps every sum, product and function of a formula once. Sums and products are flat: a sum
maps parts to coefficients, a product maps parts to constant exponents. A power with a free
exponent is exp(exponent * log(base)), the logarithm of a product falls apart, and products of exps
are one exp; `A / (N**alpha * experts**gamma)` so becomes A * exp(-alpha log N - gamma log experts),
whose derivatives share everything with the value. Derivatives are parts of the same graph.

Three rewritings keep numbers finite: 1 / (1 + exp(x)) is a sigmoid, log(1 + exp(x)) a softplus, and
log 0 within a power is -1e100, so that 0 ** y is 0 with a derivative of 0 for y above 0. At ties
min and max have the derivative of their first part, abs at 0 has 0.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from isoloss.formulas.tree import COMPARISONS, Node

Terms = tuple[tuple[int, float], ...]  # parts by their number, with coefficients or exponents
Exponents = dict[int, float]  # of the parts of a product; coefficients of those of a sum
LOG_OF_ZERO = -1e100  # within a power
_LOG_BASES = {"log2": math.log(2.0), "log10": math.log(10.0)}


@dataclass(frozen=True)
class Item:
    """A part of a graph.

    Attributes:
        kind: `constant`, `leaf`, `sum`, `product`, `plog` (the logarithm within a power), a
            function, a comparison, `sign` or `select` (of where).
        terms: parts with coefficients of a sum, with exponents of a product; else with 1.
        value: a constant; what a sum has beside its parts, a product as a factor.
        name: of a leaf.
        free: whether it depends on what it is differentiated by.
        fixed: whether it depends on variables.
        positive: whether it is above 0 whatever the parameters are.
    """

    kind: str
    terms: Terms = ()
    value: float = 0.0
    name: str = ""
    free: bool = False
    fixed: bool = False
    positive: bool = False

    @property
    def parts(self) -> tuple[int, ...]:
        """The numbers of its parts."""
        return tuple(number for number, _ in self.terms)


class Graph:
    """All parts of some formulas, each once.

    Args:
        parameters: names that change between evaluations on the same data; all others are data.
        positive: names whose values are all above 0.
    """

    def __init__(self, parameters: Collection[str], positive: Collection[str] = ()):
        self.parameters, self.positive = frozenset(parameters), frozenset(positive)
        self.items: list[Item] = []
        self._numbers: dict[tuple, int] = {}
        self._slopes: dict[tuple[int, str], int] = {}
        self.zero, self.one = self.constant(0.0), self.constant(1.0)

    # building

    def _add(self, kind: str, terms: Terms = (), value: float = 0.0, name: str = "") -> int:
        key = kind, terms, value, name
        if key not in self._numbers:
            parts = [self.items[number] for number, _ in terms]
            leaf = kind == "leaf"
            free = name in self.parameters if leaf else any(part.free for part in parts)
            fixed = name not in self.parameters if leaf else any(part.fixed for part in parts)
            positive = self._positive(kind, terms, value, name)
            self.items.append(Item(kind, terms, value, name, free, fixed, positive))
            self._numbers[key] = len(self.items) - 1
        return self._numbers[key]

    def _positive(self, kind: str, terms: Terms, value: float, name: str) -> bool:
        positive = [self.items[number].positive for number, _ in terms]
        if kind == "leaf":
            return name in self.positive
        if kind == "constant":
            return value > 0
        if kind == "sum":
            return value >= 0 and all(positive) and all(c > 0 for _, c in terms)
        if kind == "product":
            return value > 0 and all(positive)
        if kind == "select":
            return all(positive[1:])
        return kind in ("exp", "sigmoid", "softplus")

    def constant(self, value: float) -> int:
        """A number."""
        return self._add("constant", value=float(value) + 0.0)

    def leaf(self, name: str) -> int:
        """A parameter or a variable."""
        return self._add("leaf", name=name)

    def sum(self, parts: Mapping[int, float], value: float = 0.0) -> int:
        """A sum of parts with coefficients, and a constant."""
        flat: dict[int, float] = {}
        for number, coefficient in parts.items():
            value += self._into_sum(flat, number, coefficient)
        terms = tuple(sorted((number, c) for number, c in flat.items() if c != 0))
        if not terms:
            return self.constant(value)
        if len(terms) == 1 and value == 0:
            ((number, coefficient),) = terms
            return number if coefficient == 1 else self.product({number: 1.0}, coefficient, False)
        return self._add("sum", terms, value)

    def _into_sum(self, flat: dict[int, float], number: int, coefficient: float) -> float:
        """Add a part to the parts of a sum; what it adds to the constant."""
        item = self.items[number]
        if item.kind == "constant":
            return coefficient * item.value
        if item.kind == "sum":
            for inner, c in item.terms:
                flat[inner] = flat.get(inner, 0.0) + coefficient * c
            return coefficient * item.value
        if item.kind == "product" and item.value != 1:
            plain = self._add("product", item.terms, 1.0)
            if len(item.terms) == 1 and item.terms[0][1] == 1:
                plain = item.terms[0][0]
            return self._into_sum(flat, plain, coefficient * item.value)
        flat[number] = flat.get(number, 0.0) + coefficient
        return 0.0

    def product(self, parts: Mapping[int, float], value: float = 1.0, fuse: bool = True) -> int:
        """A product of parts with constant exponents, and a constant factor.

        Args:
            parts: with exponents.
            value: the factor.
            fuse: whether exps become one; derivatives leave them apart, as the value has them.
        """
        flat: dict[int, float] = {}
        exponents: dict[int, float] = {}
        for number, exponent in parts.items():
            value *= self._into_product(flat, exponents if fuse else None, number, exponent)
        if exponents:
            whole = self.exp(self.sum(exponents))
            item = self.items[whole]
            if item.kind == "constant":
                value *= item.value
            else:
                flat[whole] = 1.0
        terms = tuple(sorted((number, k) for number, k in flat.items() if k != 0))
        if not terms or value == 0:
            return self.constant(value)
        if len(terms) == 1 and value == 1 and terms[0][1] == 1:
            return terms[0][0]
        if len(terms) == 1 and terms[0][1] == 1 and self.items[terms[0][0]].kind == "sum":
            return self.sum({terms[0][0]: value})
        return self._add("product", terms, value)

    def _into_product(
        self,
        flat: dict[int, float],
        exponents: dict[int, float] | None,
        number: int,
        exponent: float,
    ) -> float:
        """Put a part into a product; the factor that it gives to the constant."""
        item = self.items[number]
        if item.kind == "constant":
            if exponent == 1 or item.value > 0 or (item.value < 0 and exponent % 1 == 0):
                return _power(item.value, exponent)
        elif item.kind == "exp" and exponents is not None:
            ((inner, _),) = item.terms
            exponents[inner] = exponents.get(inner, 0.0) + exponent
            return 1.0
        elif item.kind == "product" and (exponent % 1 == 0 or item.positive):
            value = _power(item.value, exponent)
            for inner, k in item.terms:
                value *= self._into_product(flat, exponents, inner, k * exponent)
            return value
        elif item.kind == "sum" and exponent < 0 and (shift := self._logistic(item)) is not None:
            inner = self.function("sigmoid", self.sum({shift: -1.0}))
            factor = self._into_product(flat, exponents, inner, -exponent)
            return factor * _power(item.value, exponent)
        flat[number] = flat.get(number, 0.0) + exponent
        return 1.0

    def _logistic(self, item: Item) -> int | None:
        """x of c (1 + exp(x)), c above 0; None of another sum."""
        if len(item.terms) != 1 or item.value <= 0:
            return None
        number, coefficient = item.terms[0]
        part = self.items[number]
        if part.kind != "exp" or coefficient <= 0:
            return None
        return self.sum({part.terms[0][0]: 1.0}, math.log(coefficient / item.value))

    def exp(self, number: int) -> int:
        """The exponential of a part."""
        item = self.items[number]
        if item.kind == "constant":
            return self.constant(_exp(item.value))
        if item.kind == "log" and self.items[item.terms[0][0]].positive:
            return item.terms[0][0]
        if item.kind == "sum" and item.value != 0 and abs(item.value) < 300:
            rest = self.sum(dict(item.terms))
            inner = self._add("exp", ((rest, 1.0),))
            return self._add("product", ((inner, 1.0),), math.exp(item.value))
        return self._add("exp", ((number, 1.0),))

    def log(self, number: int, power: bool = False) -> int:
        """The natural logarithm of a part.

        Args:
            number: of the part.
            power: whether it stands in the exponent of a power, where log 0 is finite.
        """
        item = self.items[number]
        if item.kind == "constant" and item.value > 0:
            return self.constant(math.log(item.value))
        if item.kind == "exp":
            return item.terms[0][0]
        if item.kind == "sum" and (shift := self._logistic(item)) is not None:
            return self.sum({self.function("softplus", shift): 1.0}, math.log(item.value))
        if item.kind == "product":
            split = self._log_of_product(item, power)
            if split is not None:
                return split
        return self._add("plog" if power and not item.positive else "log", ((number, 1.0),))

    def _log_of_product(self, item: Item, power: bool) -> int | None:
        """The logarithms of the factors that are above 0, apart from the others."""
        apart = {n: k for n, k in item.terms if self.items[n].positive}
        rest = {n: k for n, k in item.terms if n not in apart}
        value = item.value if item.value > 0 else 1.0
        if not apart and value == 1:
            return None
        parts: dict[int, float] = {}
        for n, k in apart.items():
            logarithm = self.log(n)
            parts[logarithm] = parts.get(logarithm, 0.0) + k
        if rest or item.value <= 0:
            inner = self.product(rest, 1.0 if item.value > 0 else item.value)
            logarithm = self.log(inner, power)
            parts[logarithm] = parts.get(logarithm, 0.0) + 1.0
        return self.sum(parts, math.log(value))

    def power(self, base: int, exponent: int) -> int:
        """A part to the power of another."""
        item, power = self.items[base], self.items[exponent]
        if power.kind == "constant":
            return self.product({base: power.value})
        if item.kind == "constant" and item.value == 1:
            return base
        return self.exp(self._times(exponent, self.log(base, power=True), fuse=True))

    def function(self, kind: str, *numbers: int) -> int:
        """A function of parts."""
        items = [self.items[number] for number in numbers]
        if kind == "exp":
            return self.exp(numbers[0])
        if kind == "log":
            return self.log(numbers[0])
        if kind in _LOG_BASES:
            return self.sum({self.log(numbers[0]): 1.0 / _LOG_BASES[kind]})
        if kind == "sqrt":
            return self.product({numbers[0]: 0.5})
        if kind == "abs" and items[0].positive:
            return numbers[0]
        if kind == "select" and numbers[1] == numbers[2]:
            return numbers[1]
        if kind == "select" and items[0].kind == "constant":
            return numbers[1 if items[0].value else 2]
        if kind in COMPARISONS and all(item.kind == "constant" for item in items):
            one, two = (item.value for item in items)
            return self.constant(_compared(kind, one, two))
        return self._add(kind, tuple((number, 1.0) for number in numbers))

    def build(self, tree: Node) -> int:
        """The part that a tree is."""
        known: dict[int, int] = {}

        def number_of(node: Node) -> int:
            if id(node) not in known:
                known[id(node)] = self._built(node, [number_of(part) for part in node.parts])
            return known[id(node)]

        return number_of(tree)

    def _built(self, node: Node, parts: list[int]) -> int:
        kind = node.kind
        if kind == "number":
            return self.constant(node.number)
        if kind == "name":
            return self.leaf(node.name)
        if kind in ("neg", "+", "-"):
            signs = (-1.0,) if kind == "neg" else (1.0, 1.0 if kind == "+" else -1.0)
            return self._signed(parts, signs)
        if kind in ("*", "/"):
            first, second = parts
            if first == second:
                return self.product({first: 2.0 if kind == "*" else 0.0})
            return self.product({first: 1.0, second: 1.0 if kind == "*" else -1.0})
        if kind == "**":
            return self.power(*parts)
        if kind in ("min", "max"):
            whole = parts[0]
            for part in parts[1:]:
                sign = "<=" if kind == "min" else ">="
                whole = self.function("select", self.function(sign, whole, part), whole, part)
            return whole
        return self.function("select" if kind == "where" else kind, *parts)

    def _signed(self, parts: list[int], signs: tuple[float, ...]) -> int:
        coefficients: dict[int, float] = {}
        for part, sign in zip(parts, signs, strict=True):
            coefficients[part] = coefficients.get(part, 0.0) + sign
        return self.sum(coefficients)

    # derivatives

    def slope(self, number: int, name: str) -> int:
        """The derivative of a part by a name, as a part."""
        key = number, name
        if key not in self._slopes:
            self._slopes[key] = self._slope(self.items[number], number, name)
        return self._slopes[key]

    def _slope(self, item: Item, number: int, name: str) -> int:
        if item.kind == "leaf":
            return self.one if item.name == name else self.zero
        slopes = {part: self.slope(part, name) for part in item.parts}
        if all(slope == self.zero for slope in slopes.values()):
            return self.zero
        if item.kind == "sum":
            coefficients: dict[int, float] = {}
            for part, coefficient in item.terms:
                slope = slopes[part]
                coefficients[slope] = coefficients.get(slope, 0.0) + coefficient
            return self.sum(coefficients)
        if item.kind == "product":
            return self._slope_of_product(item, slopes)
        if item.kind == "select":
            condition, one, two = item.parts
            return self.function("select", condition, slopes[one], slopes[two])
        (inner, _), *_ = item.terms
        return self._times(self._outer_slope(item, number, inner), slopes[inner])

    def _slope_of_product(self, item: Item, slopes: Mapping[int, int]) -> int:
        coefficients: dict[int, float] = {}
        for part, exponent in item.terms:
            if slopes[part] == self.zero:
                continue
            rest = {other: k for other, k in item.terms if other != part}
            rest[part] = exponent - 1.0
            term = self._times(self.product(rest, item.value * exponent, fuse=False), slopes[part])
            coefficients[term] = coefficients.get(term, 0.0) + 1.0
        return self.sum(coefficients)

    def _times(self, one: int, two: int, fuse: bool = False) -> int:
        return self.product({one: 2.0} if one == two else {one: 1.0, two: 1.0}, fuse=fuse)

    def _outer_slope(self, item: Item, number: int, inner: int) -> int:
        """The derivative of a function by what stands in it."""
        kind = item.kind
        if kind == "exp":
            return number
        if kind in ("log", "plog"):
            return self.product({inner: -1.0}, fuse=False)
        if kind == "tanh":
            one = self.function("sigmoid", self.sum({inner: 2.0}))
            two = self.function("sigmoid", self.sum({inner: -2.0}))
            return self.product({one: 1.0, two: 1.0}, 4.0)
        if kind == "sigmoid":
            other = self.function("sigmoid", self.sum({inner: -1.0}))
            return self._times(number, other)
        if kind == "softplus":
            return self.function("sigmoid", inner)
        if kind == "abs":
            return self.function("sign", inner)
        return self.zero  # of comparisons and of a sign


def _power(value: float, exponent: float) -> float:
    try:
        return math.pow(value, exponent)
    except (OverflowError, ValueError):
        return math.inf if value else math.nan


def _exp(value: float) -> float:
    return math.exp(value) if value < 709.0 else math.inf


def _compared(sign: str, one: float, two: float) -> float:
    return float(
        {
            "<": one < two, "<=": one <= two, ">": one > two, ">=": one >= two,
            "==": one == two, "!=": one != two,
        }[sign]
    )  # fmt: skip
