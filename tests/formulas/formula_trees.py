"""Random trees of formulas for property tests, and an evaluator that shares nothing with ours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st

from isoloss.formulas import Node, named, number

VARIABLES = ("N", "D")
PARAMETERS = ("A", "alpha", "k")
ONE = ("exp", "log", "log2", "log10", "sqrt", "tanh", "sigmoid", "softplus", "abs", "neg")
TWO = ("+", "-", "*", "/", "**", "min", "max")

leaves = st.sampled_from(
    [*map(named, (*VARIABLES, *PARAMETERS)), *map(number, (0.0, 0.5, 2.0, 1e-5, 1e9, 3.25))]
)


def _larger(inner):
    pairs = st.tuples(inner, inner)
    conditions = st.builds(Node, st.sampled_from(["<", "<=", ">", ">="]), pairs)
    return st.one_of(
        st.builds(Node, st.sampled_from(ONE), st.tuples(inner)),
        st.builds(Node, st.sampled_from(TWO), pairs),
        st.builds(Node, st.just("where"), st.tuples(conditions, inner, inner)),
    )


trees = st.recursive(leaves, _larger, max_leaves=12)


def _real(x: np.ndarray) -> np.ndarray:
    """Real numbers, but for the tiny part of a complex step; of others NaN."""
    return np.where(np.abs(x.imag) < 1e-20, x.real, np.nan)


_FUNCTIONS = {
    "neg": lambda x: -x,
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "**": lambda x, y: x**y,
    "exp": np.exp,
    "log": np.log,
    "log2": lambda x: np.log(x) / np.log(2.0),
    "log10": lambda x: np.log(x) / np.log(10.0),
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "abs": lambda x: np.where(_real(x) < 0, -x, x),
    "min": lambda x, y: np.where(_real(x) <= _real(y), x, y),
    "max": lambda x, y: np.where(_real(x) >= _real(y), x, y),
    "where": np.where,
    "<": lambda x, y: _real(x) < _real(y),
    "<=": lambda x, y: _real(x) <= _real(y),
    ">": lambda x, y: _real(x) > _real(y),
    ">=": lambda x, y: _real(x) >= _real(y),
}


def complex_value(tree: Node, given: Mapping[str, np.ndarray]) -> np.ndarray:
    """The value by the plain meaning of the operators; NaN where a part of it is not finite."""
    if tree.kind == "number":
        return np.complex128(tree.number)
    if tree.kind == "name":
        return np.asarray(given[tree.name], dtype=complex)
    with np.errstate(all="ignore"):
        parts = [complex_value(part, given) for part in tree.parts]
        value = np.asarray(_FUNCTIONS[tree.kind](*parts))
    finite = np.isfinite(sum(parts))
    return np.where(finite & np.isfinite(value), value, np.nan)
