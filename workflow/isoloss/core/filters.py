"""Filters over the columns of a table of runs, as studies write them in `keep` and `where`.

The grammar is in `core/grammar.py`; here a filter's terms get their values from a table. Nothing of
a filter is run as Python: a term is a column, a constant, or one of the operations below.
"""

from __future__ import annotations

import datetime
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce
from itertools import chain
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from isoloss.core.grammar import (
    AGGREGATES,
    NUMERIC,
    RANKED,
    TEXTUAL,
    Expression,
    columns,
    read,
    refuse,
)
from isoloss.core.problems import TableError, nearest
from isoloss.core.stand_ins import shortened

# The field's letters, and the columns of `runs` that they stand for.
LETTERS = {
    "N": "n_params",
    "D": "n_samples",
    "C": "n_flops",
    "U": "n_unique",
    "loss": "loss",
}
ROW = "index"  # the number of a row, from 0, in a table without a column of this name
_KINDS = {
    "number": "a number",
    "text": "text",
    "boolean": "yes or no",
    "time": "a time",
    "mixed": "values of several types",
    "other": "neither number nor text",
    "empty": "empty",
}
_ORDER = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_SIGNS = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "//": np.floor_divide,
    "%": np.remainder, "**": np.power,
}  # fmt: skip
_SAME_SIGN = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SHOWN = 40  # columns that an error names
_DATE = re.compile(r"\d{4}-\d{2}")


# Reads a column of texts as numbers; None if it does not hold numbers.
Reader = Callable[[pd.Series], "pd.Series | None"]


def evaluate(
    runs: pd.DataFrame, expression: str, place: str, reader: Reader | None = None
) -> pd.Series:
    """Evaluate a filter: True for every row that it selects.

    A comparison with a missing value is False, `!=` is True; a missing yes or no counts as no.

    Args:
        runs: the table; the field's letters can be used for its columns.
        expression: the filter.
        place: where it stands, for errors.
        reader: reads columns of texts as numbers, where a filter asks for numbers.

    Returns:
        One bool a row, with the index of the table.

    Raises:
        TableError: it is not a filter, names an unknown column, compares what cannot be compared,
            or is not a yes or no for every row.
    """
    try:
        term = read(expression, place)
    except TableError as error:
        raise _with_backticks(error, str(expression), runs.columns) from error
    answer = _Table(runs, expression, place, reader).answer(term)
    return pd.Series(answer, index=runs.index)


def _with_backticks(error: TableError, expression: str, names: Iterable[object]) -> TableError:
    """The error, with what to write if the filter has an odd name without backticks."""
    plain = re.sub(r"`[^`]*`", "", expression)
    odd = [n for n in map(str, names) if n in plain and not ("`" in n or n.isidentifier())]
    name = max(odd, key=len, default="").strip()
    if not name:
        return error
    remedy = f"write `{name}` in backticks"
    return TableError(*(replace(problem, remedy=remedy) for problem in error.problems))


def check(expression: str, place: str) -> None:
    """Raise a TableError unless an expression is a filter, whatever the table is."""
    read(expression, place)


def names(expression: str) -> frozenset[str]:
    """The columns that a filter reads, as written and as the field's letters are meant.

    >>> sorted(names("N < 1e8 and count(step, by=`my run`) > 2"))
    ['N', 'my run', 'n_params', 'step']

    Raises:
        TableError: it is not a filter.
    """
    written = set(columns(read(expression, "filter")))
    return frozenset(written | {LETTERS[name] for name in written & set(LETTERS)})


@dataclass(frozen=True)
class Values:
    """The values of a term.

    Attributes:
        kind: one of _KINDS; `empty` where all are missing, of whatever kind.
        data: one a row, or () for a constant; anything where missing.
        missing: which of them are missing.
    """

    kind: str
    data: np.ndarray
    missing: np.ndarray

    @property
    def constant(self) -> bool:
        """Whether it is one value for all rows."""
        return self.data.shape == ()


def _constant(value: bool | int | float | str) -> Values:
    kind = "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
    data = np.asarray(value, dtype=object) if kind == "text" else np.asarray(value)
    return Values(kind, data, np.asarray(False))


def _yes_no(answer: np.ndarray) -> Values:
    """Yes-or-no values without missing ones."""
    return Values("boolean", np.asarray(answer), np.asarray(False))


class _Table:
    """A table of runs, and a filter that is evaluated over it."""

    def __init__(
        self, runs: pd.DataFrame, expression: str, place: str, reader: Reader | None = None
    ):
        self.runs, self.expression, self.place = runs, expression, place
        self.reader = reader
        self.size = len(runs)
        self.read: dict[int, Values] = {}
        self.numbers: dict[str, Values | None] = {}
        self.where: dict[str, list[int]] = {}
        for i, name in enumerate(runs.columns):
            if isinstance(name, str):
                self.where.setdefault(name, []).append(i)

    def refuse(self, term: Expression, reason: str, remedy: str) -> NoReturn:
        refuse(self.expression, self.place, term.start, reason, remedy)

    def source(self, term: Expression) -> str:
        return shortened(self.expression[term.start : term.end])

    def described(self, term: Expression, values: Values) -> str:
        """A term with the kind of its values, for errors."""
        named = f"column {term.value!r}" if term.kind == "column" else repr(self.source(term))
        return f"{named[:80]} is {_KINDS[values.kind]}"

    def answer(self, term: Expression) -> np.ndarray:
        """The filter's answer for every row."""
        if next(columns(term), None) is None:
            self.refuse(term, "the filter names no column", "compare a column with something")
        with np.errstate(all="ignore"):
            return np.broadcast_to(self._yes(term), self.size).copy()

    def _yes(self, term: Expression) -> np.ndarray:
        """The answers of a term; a missing answer counts as no."""
        values = self.values(term)
        if values.kind != "boolean":
            reason = (
                f"{self.source(term)!r:.80} is not a yes-or-no value, it is {_KINDS[values.kind]}"
            )
            self.refuse(term, reason, "compare it with something")
        return values.data & ~values.missing

    def values(self, term: Expression) -> Values:
        """The values of a term."""
        return getattr(self, f"_{term.kind}")(term)

    def _constant(self, term: Expression) -> Values:
        return _constant(term.value)

    def _column(self, term: Expression) -> Values:
        return self._named(term, term.value)

    def _named(self, term: Expression, name: str) -> Values:
        """The values of a column, by its name or letter."""
        at = self.where.get(name) or self.where.get(LETTERS.get(name, name))
        if at is None and name == ROW:
            numbers = pd.Series(self.runs.index)
            return _values(numbers if numbers.dtype.kind == "i" else pd.Series(range(self.size)))
        if at is None:
            self.refuse(term, f"no column {name!r:.80}", self._hint(term, name))
        if len(at) > 1:
            self.refuse(term, f"column {name!r:.80} appears twice", "give each its own name")
        try:
            if at[0] not in self.read:
                self.read[at[0]] = _values(self.runs.iloc[:, at[0]])
            return self.read[at[0]]
        except (ArithmeticError, ValueError, TypeError, NotImplementedError) as error:
            reason = f"column {name!r:.80} cannot be read ({' '.join(str(error).split()):.80})"
            self.refuse(term, reason, "give it one type")

    def _as_number(self, term: Expression, values: Values) -> Values:
        """The values of a term, as numbers if it is a column of texts that are numbers."""
        if self.reader is None or term.kind != "column" or values.kind not in ("text", "mixed"):
            return values
        name = term.value
        if name not in self.numbers:
            at = self.where.get(name) or self.where[LETTERS[name]]
            column = self.reader(self.runs.iloc[:, at[0]])
            self.numbers[name] = None if column is None else _values(column)
        return self.numbers[name] or values

    def _hint(self, term: Expression, name: str) -> str:
        """What to do about a name that the table does not have."""
        there = [c for c in self.where if self.expression.startswith(c, term.start)]
        longest = max(there, key=len, default="")
        if len(longest) > len(name):  # a name with signs that was written without backticks
            return f"write `{longest}` in backticks"
        letters = (k for k, v in LETTERS.items() if v in self.where and k not in self.where)
        known = [*self.where, *letters]
        near = nearest(name, known)
        shown = [c if c.isprintable() else repr(c) for c in known[:_SHOWN]]
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        near = near if near.startswith("did you mean") else ""
        return f"{near} columns are {', '.join(shown)}{more}".strip()

    def _and(self, term: Expression) -> Values:
        return self._joined(np.logical_and, map(self._yes, term.parts))

    def _or(self, term: Expression) -> Values:
        return self._joined(np.logical_or, map(self._yes, term.parts))

    def _not(self, term: Expression) -> Values:
        return _yes_no(~self._yes(term.parts[0]))

    def _joined(self, join: Callable, answers: Iterable[np.ndarray]) -> Values:
        """Join answers one by one: there may be thousands, each as long as the table."""
        return _yes_no(reduce(join, answers))

    def _comparison(self, term: Expression) -> Values:
        def answers() -> Iterator[np.ndarray]:
            left = self.values(term.parts[0])
            for i, sign in enumerate(term.value):
                right = self.values(term.parts[i + 1])
                yield self._compared(sign, term.parts[i : i + 2], left, right)
                left = right

        return self._joined(np.logical_and, answers())

    def _compared(
        self, sign: str, terms: Sequence[Expression], one: Values, two: Values
    ) -> np.ndarray:
        """Compare the two sides of a sign, row by row."""
        for term, values in zip(terms, (one, two), strict=True):
            if values.kind == "other":
                do = "only isna and count accept it"
                self.refuse(term, self.described(term, values), do)
        if "number" in (one.kind, two.kind):
            one, two = self._as_number(terms[0], one), self._as_number(terms[1], two)
        one, two = self._as_times(terms, one, two), self._as_times(terms[::-1], two, one)
        kinds = {one.kind, two.kind}
        if "empty" in kinds:
            same = np.zeros(np.broadcast_shapes(one.data.shape, two.data.shape), bool)
            return ~same if sign == "!=" else same
        if kinds <= {"number", "boolean"}:
            a, b = _comparable(one.data, two.data)
            answer = _ORDER[sign](a, b)
        elif len(kinds) == 1 and kinds <= {"text", "time"}:
            answer = _ORDER[sign](one.data, two.data)
        elif sign not in ("==", "!="):
            reason = f"{self.described(terms[0], one)}, {self.described(terms[1], two)}"
            self.refuse(terms[0], reason, f"`{sign}` compares two numbers, two texts or two times")
        else:
            answer = _alike(one.data, two.data)
            answer = ~answer if sign == "!=" else answer
        return np.where(one.missing | two.missing, sign == "!=", np.asarray(answer, bool))

    def _as_times(self, terms: Sequence[Expression], one: Values, two: Values) -> Values:
        """A text that is compared with times, as a time."""
        if one.kind != "text" or not one.constant or two.kind != "time":
            return one
        return replace(one, kind="time", data=np.asarray(self._time(terms[0], one.data.item())))

    def _time(self, term: Expression, text: str) -> np.datetime64:
        try:
            if not _DATE.match(text):
                raise ValueError(text)
            time = pd.Timestamp(text)
            return (time.tz_convert(None) if time.tz else time).to_datetime64().astype("M8[us]")
        except (ValueError, OverflowError):
            self.refuse(term, f"{text!r:.80} is not a time", 'write it as "2026-01-31"')

    def _in(self, term: Expression) -> Values:
        part = term.parts[0]
        one = self.values(part)
        if one.kind == "other":
            self.refuse(part, self.described(part, one), "only isna and count accept it")
        if one.kind == "time":
            equal = (
                self._compared("==", (part, part), one, _constant(value)) for value in term.value
            )
            return self._joined(np.logical_or, chain([np.zeros(one.data.shape, bool)], equal))
        listed = list(term.value)
        if listed and not any(isinstance(value, str) for value in listed):
            one = self._as_number(part, one)
        if one.data.dtype.kind == "f":  # as exact as the column is
            of = one.data.dtype.type
            listed = [float(of(value)) for value in listed if not isinstance(value, str)]
        inside = {(isinstance(value, str), value) for value in listed}
        flat = np.atleast_1d(one.data).tolist()
        answer = [(isinstance(v, str), v) in inside for v in map(_plain, flat)]
        return _yes_no(np.asarray(answer, bool).reshape(one.data.shape) & ~one.missing)

    def _number(self, term: Expression, what: str) -> Values:
        """The values of a term that must be numbers."""
        values = self._as_number(term, self.values(term))
        if values.kind == "empty":
            return Values("number", np.full(values.data.shape, np.nan), values.missing)
        if values.kind != "number":
            self.refuse(term, self.described(term, values), f"{what} needs numbers")
        return values

    def _arithmetic(self, term: Expression) -> Values:
        one, two = (self._number(part, f"`{term.value}`") for part in term.parts)
        sign, missing = term.value, one.missing | two.missing
        a, b = one.data.astype(float), two.data.astype(float)
        data = np.asarray(_SIGNS[sign](a, b))
        if sign in ("+", "-", "*", "**"):
            self._check_finite(term, data, (a, b), missing)
        whole = one.data.dtype.kind == two.data.dtype.kind == "i" and sign not in ("/", "**")
        if whole and np.all(np.abs(data) < 2.0**62) and not (sign in "//%" and np.any(b == 0)):
            data = np.asarray(_SIGNS[sign](one.data, two.data))
        return Values("number", data, missing | np.isnan(data))

    def _check_finite(self, term: Expression, data: np.ndarray, given: Sequence, missing) -> None:
        """Raise an error for a result that is infinite although its operands are finite."""
        bad = np.isinf(data) & ~missing
        for part in given:
            bad = bad & np.isfinite(part)
        if np.any(bad):
            row = f" in row {np.flatnonzero(bad)[0] + 1}" if bad.shape else ""
            reason = f"{self.source(term)!r:.80} is infinite{row}"
            self.refuse(term, reason, "compare something smaller, such as its logarithm")

    def _call(self, term: Expression) -> Values:
        name, part = term.value, term.parts[0]
        if name == "isna":
            return _yes_no(self._as_number(part, self.values(part)).missing)
        if name in NUMERIC:
            return self._function(term, self._number(part, name))
        if name in TEXTUAL:
            return self._search(term, self.values(part))
        assert name in AGGREGATES + RANKED
        return self._aggregate(term, self._as_number(part, self.values(part)))

    def _function(self, term: Expression, one: Values) -> Values:
        """abs, log, exp or round."""
        name, data = term.value, one.data
        if name == "round":
            digits = term.parts[1].value if len(term.parts) > 1 else 0
            rounded = np.round(data.astype(float), digits)
            whole = data.dtype.kind in "iu" and digits >= 0
            data = data if whole else np.where(np.isfinite(rounded), rounded, data)
        elif name == "abs":
            least = data.dtype.kind == "i" and np.any(data == np.iinfo(np.int64).min)
            data = np.abs(data.astype(float) if least else data)
        else:
            values = data.astype(float)
            data = {"log": np.log, "exp": np.exp}[name](values)
            if name == "exp":
                self._check_finite(term, data, (values,), one.missing)
        return Values("number", np.asarray(data), one.missing | np.isnan(data))

    def _search(self, term: Expression, one: Values) -> Values:
        """startswith, endswith or contains, of plain text."""
        part, text = term.parts[0], term.parts[1].value
        if one.kind not in ("text", "empty"):
            self.refuse(part, self.described(part, one), f"{term.value} searches texts")
        test = {"startswith": str.startswith, "endswith": str.endswith}.get(
            term.value, str.__contains__
        )
        if one.kind == "empty":
            answer = np.zeros(one.data.shape, bool)
        else:
            flat = np.atleast_1d(one.data).tolist()
            answer = np.array([test(value, text) for value in flat], bool)
            answer = answer.reshape(one.data.shape) & ~one.missing
        return _yes_no(answer)

    def _aggregate(self, term: Expression, one: Values) -> Values:
        """One value for each group of rows, repeated for all rows of the group."""
        name, part = term.value, term.parts[0]
        one = Values(
            one.kind,
            np.broadcast_to(one.data, self.size),
            np.broadcast_to(one.missing, self.size),
        )
        groups = self._groups(term)
        if name == "count":
            counts = np.bincount(groups, weights=~one.missing, minlength=1)[groups]
            return Values("number", counts.astype(np.int64), np.zeros(self.size, bool))
        if one.kind == "empty":
            return one
        if one.kind in ("other", "mixed") and name != "last":
            self.refuse(part, self.described(part, one), f"{name} needs numbers, texts or times")
        if name in ("mean", "quantile"):
            if one.kind not in ("number", "boolean"):
                self.refuse(part, self.described(part, one), f"{name} needs numbers")
            return self._average(term, one, groups)
        return _picked(name, one, groups, term.parts[1].value if len(term.parts) > 1 else 1)

    def _average(self, term: Expression, one: Values, groups: np.ndarray) -> Values:
        """The mean, or a quantile, of the rows of a group."""
        column = pd.Series(one.data.astype(float)).mask(pd.Series(one.missing))
        if term.value == "mean":
            data = column.groupby(groups).transform("mean").to_numpy()
        elif term.by:
            quantiles = column.groupby(groups).quantile(term.parts[1].value)
            data = pd.Series(groups).map(quantiles).to_numpy(float)
        else:
            data = np.full(self.size, column.quantile(term.parts[1].value))
        finite = np.full(self.size, bool(np.isfinite(column.dropna()).all()))
        self._check_finite(term, data, (np.where(finite, 0.0, np.inf),), one.missing)
        return Values("number", data, np.isnan(data))

    def _groups(self, term: Expression) -> np.ndarray:
        """The group of every row by the columns of `by`, from 0; missing values are one group."""
        groups = np.zeros(self.size, dtype=np.int64)
        for name in term.by:
            values = self._named(term, name)
            if values.kind == "other":
                reason = f"column {name!r:.80} is {_KINDS[values.kind]}"
                self.refuse(term, reason, "name a column of numbers, texts or times")
            keys = values.data.astype(object)
            keys[values.missing] = None
            codes = pd.factorize(keys, use_na_sentinel=True)[0] + 1
            groups = pd.factorize(groups * (codes.max(initial=0) + 1) + codes)[0]
        return groups


def _picked(name: str, one: Values, groups: np.ndarray, rank: int) -> Values:
    """One value of each group, its last or that of a rank; missing if the group is too small."""
    rows = np.flatnonzero(~one.missing)
    if not len(rows):
        return Values("empty", one.data, one.missing)
    there = groups[rows]
    if name == "last":
        order = np.argsort(there, kind="stable")
    else:
        order = np.lexsort((np.unique(one.data[rows], return_inverse=True)[1], there))
    sizes = np.bincount(there, minlength=int(groups.max()) + 1)
    ends = np.cumsum(sizes)
    steps = np.minimum(rank, sizes)  # groups that have fewer values than the rank
    from_below = name in ("min", "smallest")
    at = ends - sizes + steps - 1 if from_below else ends - steps
    none = sizes == 0
    chosen = rows[order][np.where(none, 0, at)]
    return Values(one.kind, one.data[chosen][groups], none[groups])


def _comparable(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of numbers in the precision in which they are compared: that of the column."""
    if a.shape == () and b.dtype.kind == "f":
        a = a.astype(b.dtype)
    elif b.shape == () and a.dtype.kind == "f":
        b = b.astype(a.dtype)
    return a, b


def _plain(value: Any) -> Any:
    """A value that can be looked up in a set; None for what is neither a number nor a text."""
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    return value if isinstance(value, str | bool | int | float | np.bool_ | np.number) else None


def _alike(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether values of different kinds are equal, row by row: a text equals no number."""
    one, two = np.broadcast_arrays(a.astype(object), b.astype(object))
    pairs = zip(map(_plain, one.ravel().tolist()), map(_plain, two.ravel().tolist()), strict=True)
    same = [x is not None and isinstance(x, str) == isinstance(y, str) and x == y for x, y in pairs]
    return np.asarray(same, bool).reshape(one.shape)


def _values(column: pd.Series) -> Values:
    """The values of a column and their kind, for every type of column that pandas has."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        ordered = column.dtype.ordered  # its order is not that of its texts
        values = _values(column.astype(object))
        return replace(values, kind="mixed") if ordered and values.kind == "text" else values
    if isinstance(column.dtype, pd.ArrowDtype) and column.dtype.kind not in "biuf":
        column = column.astype(object)
    missing = column.isna().to_numpy(bool)
    dtype, types = column.dtype, pd.api.types
    plain = types.is_object_dtype(dtype)
    if missing.all() and (len(column) or plain):
        return Values("empty", np.full(len(column), np.nan), missing)
    if types.is_bool_dtype(dtype) and not plain:
        return Values("boolean", column.to_numpy(bool, na_value=False), missing)
    if types.is_integer_dtype(dtype):
        unsigned = types.is_unsigned_integer_dtype(dtype)
        data = column.to_numpy(np.uint64 if unsigned else np.int64, na_value=0)
        if unsigned and data.max(initial=0) < 2**63:
            data = data.astype(np.int64)
        return Values("number", data, missing)
    if types.is_float_dtype(dtype):
        numpy = getattr(dtype, "numpy_dtype", dtype)
        short = numpy in (np.dtype("float32"), np.dtype("float16"))
        data = column.to_numpy(numpy if short else np.float64, na_value=np.nan)
        return Values("number", data, missing)
    if types.is_datetime64_any_dtype(dtype):
        return _times(column, missing)
    if types.is_string_dtype(dtype) and not plain:
        return Values("text", _filled(column.to_numpy(object), missing, ""), missing)
    if plain:
        return _objects(column.to_numpy(object), missing)
    return Values("other", np.zeros(len(column), bool), missing)


def _times(column: pd.Series, missing: np.ndarray) -> Values:
    """Times; those with a time zone are converted to UTC."""
    zoned = getattr(column.dt, "tz", None) is not None
    plain = column.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else column
    return Values("time", plain.to_numpy("datetime64[us]"), missing)


def _objects(data: np.ndarray, missing: np.ndarray) -> Values:
    """Values and kind of a column that pandas keeps as Python objects."""
    types = {type(value) for value in data[~missing]}
    if all(issubclass(t, str) for t in types):
        return Values("text", _filled(data, missing, ""), missing)
    flags = {t for t in types if issubclass(t, bool | np.bool_)}
    if flags == types:
        return Values("boolean", _filled(data, missing, False).astype(bool), missing)
    numeric = {t for t in types if issubclass(t, int | float | Decimal | np.integer | np.floating)}
    if numeric == types and not flags:
        whole = all(issubclass(t, int | np.integer) for t in types)
        try:
            values = _filled(data, missing, 0)
            return Values("number", values.astype(np.int64 if whole else float), missing)
        except (OverflowError, ValueError):  # more than 64 bits
            return Values("mixed", data, missing)
    if all(issubclass(t, datetime.date) for t in types):
        try:
            times = pd.to_datetime(pd.Series(_filled(data, missing, None)), utc=True)
            return _times(times, missing)
        except (ValueError, OverflowError, TypeError):
            return Values("other", data, missing)
    texts = {t for t in types if issubclass(t, str)}
    simple = types == texts | numeric | flags
    return Values("mixed" if simple else "other", data, missing)


def _filled(data: np.ndarray, missing: np.ndarray, value: Any) -> np.ndarray:
    """A copy in which missing values are replaced by one of the same kind."""
    data = data.copy()
    data[missing] = value
    return data
