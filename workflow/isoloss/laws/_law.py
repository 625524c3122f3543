"""What a law is: terms with units and bounds, a prediction, its gradient, and what follows.

A law works in coordinates `theta` in which its terms are free of scale: a term that must be
positive enters by its logarithm. Every function takes any number of leading dimensions of
`theta`, so that a grid of starts or a set of bootstrap replicates is one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Data = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Term:
    """A parameter of a law.

    Attributes:
        name: in tables and notebooks.
        symbol: in formulas.
        unit: of the value.
        log: whether theta holds the value's logarithm.
        low, high: bounds of theta.
        starts: values of theta from which the fit starts, crossed with those of the other terms.
    """

    name: str
    symbol: str
    unit: str
    log: bool
    low: float
    high: float
    starts: tuple[float, ...]

    def value(self, theta: np.ndarray) -> np.ndarray:
        """From theta's coordinate to the term's own value."""
        return np.exp(theta) if self.log else np.asarray(theta)

    def coordinate(self, value: float) -> float:
        """From the term's own value to theta's coordinate."""
        return float(np.log(value)) if self.log else float(value)


class Law(Protocol):
    """A law, its options chosen.

    `variables` names the letters it needs (N, D, C) of `data`, each an array (n,), or (..., n)
    where every theta has points of its own.
    """

    variables: tuple[str, ...]
    terms: tuple[Term, ...]
    formula: str

    def log_loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """Logarithm of the predicted loss: theta (..., p) -> (..., n)."""

    def log_loss_gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """Its derivatives: theta (..., p) -> (..., n, p)."""


class Allocating(Law, Protocol):
    """A law that says how to divide a budget."""

    def allocate(self, theta: np.ndarray, flops: float) -> tuple[np.ndarray, np.ndarray]:
        """Optimal N and D for a budget C = 6 N D: theta (..., p) -> (...), (...)."""


def softmax_sum(exponents: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """log(sum(exp(e))) over a list of arrays that broadcast, and each one's share of the sum."""
    top = exponents[0]
    for e in exponents[1:]:
        top = np.maximum(top, e)
    parts = [np.exp(e - top) for e in exponents]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return top + np.log(total), [part / total for part in parts]
