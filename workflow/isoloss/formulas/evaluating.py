"""Values and exact derivatives of a formula, for many parameters at once.

Derivatives are symbolic: parts of one graph in which every part stands once (graph.py), so that
the value, all first and all second derivatives share their work. Measured on 256 sets of
parameters and 200 rows, that is faster than forward mode on arrays (see docs/log.md).

Arrays of three kinds are kept apart: of parameters only (b, 1), of data only (n,), and the others
(b, n). What depends on data only is computed once; a sum of products of the first two kinds is a
matrix product.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from isoloss.formulas.graph import LOG_OF_ZERO, Graph, Item
from isoloss.formulas.tree import Node, names_of

Given = Mapping[str, np.ndarray]
Sums = dict[tuple[int | None, int | None], np.ndarray]  # by a mixed part and one of data
Key = int | tuple[str, int | None]  # of a part, or of an array made of several
CELLS = 12_000  # parameters times rows that are evaluated together: few enough for a core's cache
MOST_GRAPHS = 16  # that an evaluator keeps, one for every set of names whose values are above 0


def _power_log(x: np.ndarray) -> np.ndarray:
    """The logarithm within a power: of 0 it is a finite number, so that 0 ** y is 0."""
    return np.where(x == 0, LOG_OF_ZERO, np.log(x))


_FUNCTIONS = {
    "log": np.log, "plog": _power_log, "tanh": np.tanh, "sigmoid": special.expit, "abs": np.abs,
    "softplus": lambda x: np.logaddexp(0.0, x), "sign": np.sign,
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
    "==": np.equal, "!=": np.not_equal,
}  # fmt: skip


class Evaluator:
    """A tree that gives values, gradients and second derivatives.

    Args:
        tree: of the formula.
        by: names by which it is differentiated, parameters or variables.

    Example:
        >>> from isoloss.formulas import read_expression
        >>> law = Evaluator(read_expression("A * N ** -alpha"), ["A", "alpha"])
        >>> given = {"A": np.array([[2.0], [4.0]]), "alpha": 0.5, "N": np.array([1.0, 4.0, 16.0])}
        >>> law.value(given)
        array([[2. , 1. , 0.5],
               [4. , 2. , 1. ]])
        >>> law.gradient(given)[1].shape
        (2, 3, 2)
    """

    def __init__(self, tree: Node, by: Sequence[str]):
        self.tree, self.by, self.names = tree, tuple(by), names_of(tree)
        self._plans: dict[frozenset[str], Plan] = {}

    @np.errstate(all="ignore")
    def value(self, given: Given) -> np.ndarray:
        """The value, of the shape of all that is given.

        Args:
            given: every name of the tree (others are ignored): arrays that broadcast, parameters
                (b, 1) and variables (n,) or (b, n), or numbers.
        """
        values, shape = self._values(given)
        return _filled(values.of(values.plan.whole), shape)

    @np.errstate(all="ignore")
    def gradient(self, given: Given) -> tuple[np.ndarray, np.ndarray]:
        """The value (...), and its derivatives by every name of `by`, (..., p)."""
        values, shape = self._values(given)
        gradient = np.zeros((*shape, len(self.by)))
        for i, slope in enumerate(values.plan.slopes):
            gradient[..., i] = values.of(slope)
        return _filled(values.of(values.plan.whole), shape), gradient

    @np.errstate(all="ignore")
    def curvature(self, given: Given, slope: np.ndarray) -> np.ndarray:
        """Sums over the last axis of slope times second derivatives, (..., p, p).

        Args:
            given: as of `value`.
            slope: one number for every row, or (..., n).
        """
        values, shape = self._values(given)
        shape = np.broadcast_shapes(shape, np.shape(slope)) or (1,)
        slope = _filled(np.asarray(slope, dtype=float), shape)
        return values.contracted(slope)

    def on(self, data: Given, positive: Collection[str] = ()) -> BoundEvaluator:
        """The evaluator bound to data of n rows, for many calls.

        Args:
            data: every name of the tree that is not in `by`, (n,).
            positive: names of `by` whose values are always above 0.
        """
        return BoundEvaluator(self, data, positive)

    def plan(self, positive: frozenset[str]) -> Plan:
        """The graph of value and derivatives, given which names have values above 0."""
        if positive not in self._plans:
            if len(self._plans) >= MOST_GRAPHS:
                self._plans.clear()
            self._plans[positive] = Plan(self.tree, self.by, positive)
        return self._plans[positive]

    def _values(self, given: Given) -> tuple[Values, tuple[int, ...]]:
        arrays = {name: np.asarray(given[name], dtype=float) for name in self.names}
        positive = frozenset(name for name, array in arrays.items() if (array > 0).all())
        shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
        return Values(self.plan(positive), arrays, {}), shape


class Plan:
    """A graph of a tree and its derivatives.

    Attributes:
        graph: all parts.
        whole: the tree.
        slopes: first derivatives, (p,).
        bends: second derivatives that are not 0: positions in `by` and the part, i <= j.
    """

    def __init__(self, tree: Node, by: Sequence[str], positive: Collection[str]):
        self.graph = Graph(by, positive)
        self.whole = self.graph.build(tree)
        self.by = tuple(by)
        self.slopes = [self.graph.slope(self.whole, name) for name in by]
        self._seconds: list[tuple[int, int, list[Summand]]] | None = None
        self._factors: dict[int | None, tuple[int | None, ...]] | None = None
        self._sums: dict[int, SumPlan] = {}
        self._products: dict[int, tuple[int | None, int | None, int | None]] = {}

    @property
    def seconds(self) -> list[tuple[int, int, list[Summand]]]:
        """Second derivatives that are not 0: positions in `by` (i <= j), and their summands."""
        if self._seconds is None:
            self._seconds = []
            for i, slope in enumerate(self.slopes):
                for j in range(i, len(self.by)):
                    second = self.graph.slope(slope, self.by[j])
                    if second != self.graph.zero:
                        self._seconds.append((i, j, self.summands(second)))
        return self._seconds

    @property
    def second_factors(self) -> dict[int | None, tuple[int | None, ...]]:
        """Mixed parts of second derivatives, each with the parts of data beside it."""
        if self._factors is None:
            factors: dict[int | None, dict[int | None, None]] = {}
            for _, _, summands in self.seconds:
                for one in summands:
                    factors.setdefault(one.mixed, {})[one.data] = None
            self._factors = {mixed: tuple(data) for mixed, data in factors.items()}
        return self._factors

    def summands(self, number: int) -> list[Summand]:
        """A part as a sum of products, each split into what depends on what."""
        item = self.graph.items[number]
        if item.kind == "sum":
            parts = [
                Summand(c * s.value, s.own, s.mixed, s.data)
                for part, c in item.terms
                for s in self.summands(part)
            ]
            return [*parts, Summand(item.value)] if item.value else parts
        if item.kind == "constant":
            return [Summand(item.value)]
        terms = item.terms if item.kind == "product" else ((number, 1.0),)
        own, mixed, data = self._kinds(terms)
        value = item.value if item.kind == "product" else 1.0
        return [Summand(value, *(self._part(some) for some in (own, mixed, data)))]

    def _kinds(self, terms) -> tuple[dict, dict, dict]:
        """Factors of parameters only, mixed ones, and those of data only."""
        own, mixed, data = {}, {}, {}
        for number, exponent in terms:
            item = self.graph.items[number]
            kind = mixed if item.free and item.fixed else own if item.free else data
            kind[number] = exponent
        return own, mixed, data

    def _part(self, factors: Mapping[int, float], value: float = 1.0) -> int | None:
        return self.graph.product(factors, value, fuse=False) if factors else None

    def split_product(self, number: int) -> tuple[int, int] | None:
        """Two parts whose product a part is, in an order that shares work; None if it is one."""
        if number not in self._products:
            self._products[number] = self._split_product(self.graph.items[number])
        return self._products[number]

    def _split_product(self, item: Item) -> tuple[int, int] | None:
        own, mixed, data = self._kinds(item.terms)
        kinds = [kind for kind in (own, mixed, data) if kind]
        if len(kinds) < 2:
            return None
        if data:
            return self._part({**own, **mixed}), self._part(data, item.value)
        return self._part(mixed), self._part(own, item.value)

    def split_sum(self, number: int) -> SumPlan:
        """How a sum is computed."""
        if number not in self._sums:
            self._sums[number] = self._split_sum(self.graph.items[number])
        return self._sums[number]

    def _split_sum(self, item: Item) -> SumPlan:
        if not (item.free and item.fixed):
            return SumPlan(None, None, (), item.terms, item.value)
        own, data, pairs, others = {}, {}, [], []
        for number, c in item.terms:
            part = self.graph.items[number]
            if not part.fixed:
                own[number] = c
            elif not part.free:
                data[number] = c
            elif part.kind == "product" and not (kinds := self._kinds(part.terms))[1]:
                pairs.append((self._part(kinds[0]), self._part(kinds[2], c * part.value)))
            else:
                others.append((number, c))
        first = self.graph.sum(own, item.value) if own else None
        second = self.graph.sum(data, 0.0 if own else item.value) if data else None
        rest = 0.0 if own or data else item.value
        return SumPlan(first, second, tuple(pairs), tuple(others), rest)


@dataclass(frozen=True)
class Summand:
    """value * own * mixed * data: a constant, and parts of parameters, of both, and of data."""

    value: float
    own: int | None = None
    mixed: int | None = None
    data: int | None = None


@dataclass(frozen=True)
class SumPlan:
    """A sum as a sum of parameters, one of data, products of both, other parts and a constant."""

    own: int | None
    data: int | None
    pairs: tuple[tuple[int, int], ...]
    others: tuple[tuple[int, float], ...]
    value: float


class Values:
    """Values of the parts of a graph, each computed once.

    Args:
        plan: of the graph.
        given: values of the leaves.
        known: values of parts that are known; those of data are added.
    """

    def __init__(self, plan: Plan, given: Given, known: dict[Key, np.ndarray]):
        self.plan, self.given, self.known = plan, given, known
        self.own: dict[int, np.ndarray] = {}

    def of(self, number: int) -> np.ndarray:
        """The value of a part."""
        value = self.own.get(number)
        if value is None:
            value = self.known.get(number)
        if value is None:
            item = self.plan.graph.items[number]
            value = self._computed(item, number)
            (self.own if item.free else self.known)[number] = value
        return value

    def _computed(self, item: Item, number: int) -> np.ndarray:
        kind = item.kind
        if kind == "leaf":
            return self.given[item.name]
        if kind == "constant":
            return np.float64(item.value)
        if kind == "sum":
            return self._sum(number)
        if kind == "product":
            return self._product(item, number)
        if kind == "exp":
            return self._exp(item.parts[0])
        if kind == "select":
            return np.where(*(self.of(part) for part in item.parts))
        return _FUNCTIONS[kind](*(self.of(part) for part in item.parts))

    def _exp(self, inner: int) -> np.ndarray:
        """exp, in the memory of what stands in it where that is a sum computed for it."""
        if inner in self.own or self.plan.graph.items[inner].kind != "sum":
            return np.exp(self.of(inner))
        exponent = np.asarray(self._sum(inner))
        return np.exp(exponent, out=exponent)

    def _sum(self, number: int) -> np.ndarray:
        """A new array."""
        split = self.plan.split_sum(number)
        total = self._pairs(split, number)
        for part, coefficient in split.others:
            value = self.of(part)
            if total is None:
                total = coefficient * value
                continue
            if coefficient not in (1.0, -1.0):
                value = coefficient * value
            combine = np.subtract if coefficient == -1.0 else np.add
            fits = isinstance(total, np.ndarray) and total.shape == np.broadcast_shapes(
                total.shape, np.shape(value)
            )
            total = combine(total, value, out=total) if fits else combine(total, value)
        return total + split.value if split.value else total

    def _pairs(self, split: SumPlan, number: int) -> np.ndarray | None:
        """The sum of what depends on parameters, on data, and of products of both."""
        own = None if split.own is None else self.of(split.own)
        data = None if split.data is None else self.of(split.data)
        products = [(self.of(one), self.of(two)) for one, two in split.pairs]
        if own is not None and (products or data is not None):
            products.append((own, None))
        if data is not None and products:
            products.append((None, data))
        if not products:
            return None if own is data else np.array(data if own is None else own)
        if len(products) > 1 and all(_outer(one, two) for one, two in products):
            return self._matrix_product(products, number)
        total = None
        for one, two in products:
            part = two if one is None else one if two is None else one * two
            total = part if total is None else total + part
        return np.array(total)

    def _matrix_product(self, products: Sequence[tuple], number: int) -> np.ndarray:
        """The sum of products of columns and rows; the rows are kept with what is known of data."""
        key = "rows", number
        rows = self.known.get(key)
        if rows is None:
            several = [np.ones(1) if two is None else two for _, two in products]
            rows = self.known[key] = np.array(np.broadcast_arrays(*several))
        count = max(len(one) for one, _ in products if one is not None)
        columns = np.empty((count, len(products)))
        for k, (one, _) in enumerate(products):
            columns[:, k] = 1.0 if one is None else one[:, 0]
        return columns @ rows

    def _product(self, item: Item, number: int) -> np.ndarray:
        split = self.plan.split_product(number)
        if split is not None:
            return self.of(split[0]) * self.of(split[1])
        above = below = None
        for part, exponent in item.terms:
            factor = _raised(self.of(part), abs(exponent))
            if exponent > 0:
                above = factor if above is None else above * factor
            else:
                below = factor if below is None else below * factor
        if below is not None:
            return (item.value if above is None else above * item.value) / below
        return above if item.value == 1 else above * item.value

    def contracted(self, slope: np.ndarray) -> np.ndarray:
        """Sums over the last axis of slope (..., n) times second derivatives, (..., p, p)."""
        return self.combined(self.weighed(slope), slope)

    def combined(self, sums: Sums, slope: np.ndarray) -> np.ndarray:
        """The same from what `weighed` gave."""
        p = len(self.plan.by)
        total = np.zeros((*slope.shape[:-1], p, p))
        for i, j, summands in self.plan.seconds:
            value = 0.0
            for s in summands:
                own = s.value if s.own is None else s.value * self.of(s.own)
                if np.ndim(own) and own.shape[-1] != 1:  # parameters that change along the rows
                    value = value + (slope * own * self._factor(s)).sum(axis=-1)
                else:
                    value = value + (own[..., 0] if np.ndim(own) else own) * sums[s.mixed, s.data]
            total[..., i, j] = total[..., j, i] = value
        return total

    def _factor(self, s: Summand) -> np.ndarray:
        """What depends on both, times what depends on data."""
        one = 1.0 if s.mixed is None else self.of(s.mixed)
        return one if s.data is None else one * self.of(s.data)

    def weighed(self, slope: np.ndarray) -> Sums:
        """Sums over the last axis of slope times every mixed part and every part of data."""
        sums: Sums = {}
        for mixed, several in self.plan.second_factors.items():
            weighed = slope if mixed is None else slope * self.of(mixed)
            data = [np.ones(1) if part is None else self.of(part) for part in several]
            if all(np.ndim(one) <= 1 for one in data):
                totals = weighed @ self._columns(mixed, data, slope.shape[-1])
                sums |= {(mixed, part): totals[..., k] for k, part in enumerate(several)}
            else:
                products = [(weighed * one).sum(axis=-1) for one in data]
                sums |= {(mixed, part): one for part, one in zip(several, products, strict=True)}
        return sums

    def _columns(self, mixed: int | None, data: Sequence[np.ndarray], rows: int) -> np.ndarray:
        """The parts of data beside a mixed part, (n, m); kept with what is known of data."""
        key = "columns", mixed
        if key not in self.known:
            several = [np.broadcast_to(one, (rows,)) for one in data]
            self.known[key] = np.ascontiguousarray(np.array(several).T)
        return self.known[key]


@dataclass(frozen=True)
class FormulaSums:
    """Sums over runs of derivatives by parameters, of b sets of them.

    Attributes:
        gradient: sum of slope * dL, (b, p).
        absolute: sum of |slope * dL|, (b, p).
        curved: sum of curvature * dL dL', (b, p, p).
        weighed: sum of weight * dL dL', (b, p, p).
        bent: sum of slope * ddL, (b, p, p).
    """

    gradient: np.ndarray
    absolute: np.ndarray
    curved: np.ndarray
    weighed: np.ndarray
    bent: np.ndarray


class BoundEvaluator:
    """An evaluator on n rows of data, for b sets of parameters at once.

    Args:
        evaluator: of the formula.
        data: every name that is not differentiated by, (n,).
        positive: names of parameters whose values are always above 0.
    """

    def __init__(self, evaluator: Evaluator, data: Given, positive: Collection[str] = ()):
        self.by = evaluator.by
        names = [name for name in evaluator.names if name not in self.by]
        self.data = {name: np.asarray(data[name], dtype=float) for name in names}
        self.rows = max([len(array) for array in data.values()], default=1)
        above = {name for name, array in self.data.items() if (array > 0).all()}
        self._plan = evaluator.plan(frozenset(above | set(positive) & set(self.by)))
        self._known: dict[Key, np.ndarray] = {}
        self.step = max(1, CELLS // max(1, self.rows))
        self._kept: tuple[np.ndarray, np.ndarray] | None = None

    @np.errstate(all="ignore")
    def at(self, parameters: np.ndarray) -> np.ndarray:
        """Values (b, n) for parameters (b, p) in the order of `by`."""
        total = np.empty((len(parameters), self.rows))
        for here, values in self._blocks(parameters):
            total[here] = values.of(self._plan.whole)
        return total

    @np.errstate(all="ignore")
    def jacobian(self, parameters: np.ndarray) -> np.ndarray:
        """First derivatives, (b, n, p)."""
        slopes = np.empty((len(parameters), self.rows, len(self.by)))
        for here, values in self._blocks(parameters):
            for i, slope in enumerate(self._plan.slopes):
                slopes[here, :, i] = values.of(slope)
        return slopes

    @np.errstate(all="ignore")
    def curvature(self, parameters: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Sums over rows of slope (b, n) times second derivatives, (b, p, p)."""
        parts = [values.weighed(slope[here]) for here, values in self._blocks(parameters)]
        return self._combined(parts, parameters, slope)

    def _combined(
        self, parts: Sequence[Sums], parameters: np.ndarray, slope: np.ndarray
    ) -> np.ndarray:
        """Second derivatives from the sums of all blocks."""
        if not parts:
            return np.empty((0, len(self.by), len(self.by)))
        sums = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        return self._values(parameters).combined(sums, slope)

    @np.errstate(all="ignore")
    def sums(
        self, parameters: np.ndarray, slope: np.ndarray, curvature: np.ndarray, weight: np.ndarray
    ) -> FormulaSums:
        """Sums over rows of first and second derivatives, with factors (b, n) each."""
        b, p = len(parameters), len(self.by)
        gradient, absolute = np.empty((b, p)), np.empty((b, p))
        curved, weighed, parts = np.empty((b, p, p)), np.empty((b, p, p)), []
        slopes, factors = self._memory()
        for here, values in self._blocks(parameters):
            count = here.stop - here.start
            own, factor = slopes[:count], factors[:count]
            for i, part in enumerate(self._plan.slopes):
                own[:, i] = values.of(part)
            np.multiply(own, curvature[here, None], out=factor[:, :p])
            np.multiply(own, weight[here, None], out=factor[:, p:-1])
            factor[:, -1] = slope[here]
            products = factor @ np.swapaxes(own, 1, 2)
            np.abs(own, out=own)
            absolute[here] = (own @ np.abs(slope[here, :, None]))[..., 0]
            curved[here], weighed[here] = products[:, :p], products[:, p:-1]
            gradient[here] = products[:, -1]
            parts.append(values.weighed(slope[here]))
        bent = self._combined(parts, parameters, slope)
        return FormulaSums(gradient, absolute, curved, weighed, bent)

    def _memory(self) -> tuple[np.ndarray, np.ndarray]:
        """Memory for derivatives of a block, and for these times factors; kept between calls."""
        if self._kept is None or len(self._kept[0]) != self.step:
            p = len(self.by)
            shapes = (self.step, p, self.rows), (self.step, 2 * p + 1, self.rows)
            self._kept = np.empty(shapes[0]), np.empty(shapes[1])
        return self._kept

    def _blocks(self, parameters: np.ndarray) -> Iterator[tuple[slice, Values]]:
        """Few sets of parameters at a time, so that what is computed stays in a core's cache."""
        for begin in range(0, len(parameters), self.step):
            some = parameters[begin : begin + self.step]
            yield slice(begin, begin + len(some)), self._values(some)

    def _values(self, parameters: np.ndarray) -> Values:
        columns = {name: parameters[:, i, None] for i, name in enumerate(self.by)}
        return Values(self._plan, {**self.data, **columns}, self._known)


def _outer(one: np.ndarray | None, two: np.ndarray | None) -> bool:
    """Whether a product is one of a column and a row."""
    column = one is None or (one.ndim == 2 and one.shape[1] == 1)
    return column and (two is None or two.ndim == 1)


def _raised(x: np.ndarray, exponent: float) -> np.ndarray:
    """x ** exponent for a constant above 0."""
    if exponent == 1:
        return x
    if exponent == 2:
        return x * x
    if exponent == 0.5:
        return np.sqrt(x)
    if exponent == 3:
        return x * x * x
    return np.power(x, exponent)


def _filled(value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A value at its whole shape."""
    return np.array(np.broadcast_to(value, shape), dtype=float)
