"""What a law is: terms with units and bounds, a predicted loss, its gradient, and what follows.

A law works in coordinates `theta` in which its terms are free of scale: a term that must be
positive enters by its logarithm. Every function takes any number of leading dimensions of
`theta`, so that a grid of starts or a set of bootstrap replicates is one call.

A card is a module with TITLE, FORMULA, LATEX, SOURCE, DOMAIN, KIND (one of registry.LAW_KINDS),
OPTIONS, PRESETS and `make(**options) -> Law`. The smallest is a subclass of Law with `kind`,
`variables`, `terms`, `formula`, `loss` and `gradient`; a sum of power terms is one line a term
(Posynomial, in _posynomial.py). A law that can divide a budget between N and D has `allocate`.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Data = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Term:
    """A parameter of a law.

    Bounds and starts are said for data in their own scale: every variable divided by its
    geometric mean over the runs, the loss too (see `Law.rescaling`).

    Attributes:
        name: in tables and notebooks.
        symbol: in formulas.
        unit: of the value.
        log: whether theta holds the value's logarithm.
        low, high: bounds of theta.
        starts: values of theta from which the fit starts, crossed with those of the other terms.
        bent: of a size in the unit of the loss: whether the loss is no straight line in it.
    """

    name: str
    symbol: str
    unit: str
    log: bool
    low: float
    high: float
    starts: tuple[float, ...]
    bent: bool = False

    @property
    def amplitude(self) -> bool:
        """Whether it is a size in which the loss is a straight line."""
        return self.log and self.unit.startswith("nats/") and not self.bent

    def value(self, theta: np.ndarray) -> np.ndarray:
        """From theta's coordinate to the term's own value."""
        return np.exp(theta) if self.log else np.asarray(theta)

    def coordinate(self, value: float) -> float:
        """From the term's own value to theta's coordinate."""
        return float(np.log(value)) if self.log else float(value)


class Law(ABC):
    """A law, its options chosen.

    Attributes:
        kind: what it is a law of, one of registry.LAW_KINDS.
        variables: what it needs of `data`: letters (N, D, C, U for distinct tokens) or other
            names, each an array (n,), or (..., n) where every theta has points of its own.
        terms: its parameters, in the order of theta.
        formula: with the options put in.
        python: the same for an exported file: an expression of terms and variables by their
            names in NumPy's language, or the lines of a function that returns one.
        flat: whether the variables are proportions, which have no scale and may be zero.
    """

    kind: str
    variables: tuple[str, ...]
    terms: tuple[Term, ...]
    formula: str
    python: str
    flat = False

    def __eq__(self, other: object) -> bool:
        """Laws are the same if their cards and options are."""
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None

    @abstractmethod
    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """Predicted loss: theta (..., p) -> (..., n)."""

    @abstractmethod
    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d loss / d theta: theta (..., p) -> (..., n, p)."""

    @property
    def allocates(self) -> bool:
        """Whether it gives the best N and D of a budget."""
        return type(self).allocate is not Law.allocate

    def allocate(self, theta: np.ndarray, flops: float) -> tuple[np.ndarray, np.ndarray]:
        """N and D of least loss for C = 6 N D FLOP, of a law that allocates: (...), (...).

        Args:
            theta: an estimate, (..., p).
            flops: the budget, a number or (...).

        Raises:
            NotImplementedError: the law does not allocate.
        """
        raise NotImplementedError(f"{self.formula} does not give the best N and D of a budget")

    def posterior_sd(self, theta: np.ndarray, data: Data, noise: bool = False) -> np.ndarray:
        """SD of the predicted loss given the runs, (..., n); 0 for a law that knows none.

        Args:
            theta: an estimate, (..., p).
            data: where.
            noise: whether it is that of a new run's loss, noise and all.
        """
        return np.zeros(self.loss(theta, data).shape)

    def scales(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[Mapping[str, float], float]:
        """The scales, of those offered, that the law can take: none without `rescaling`."""
        if type(self).rescaling is Law.rescaling:
            return dict.fromkeys(log_scale, 0.0), 0.0
        return log_scale, log_loss_scale

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same law where variables and loss are divided by their scales.

        Args:
            log_scale: logarithm of the scale of every variable.
            log_loss_scale: of the loss.

        Returns:
            R (p, p) and r (p,): theta' = R theta + r predicts loss / scale from variable / scale.
            The identity for a law that has no other (it is fitted in the user's units).
        """
        return np.eye(len(self.terms)), np.zeros(len(self.terms))

    def starts(self) -> np.ndarray:
        """All combinations of the terms' starts, (s, p)."""
        return np.array(list(itertools.product(*(term.starts for term in self.terms))))

    def bind(self, data: Data) -> Bound:
        """The law on the runs of a fit, with what can be computed once."""
        return Bound(self, data)

    def index(self, name: str) -> int:
        """Position of a term in theta."""
        return [term.name for term in self.terms].index(name)


class Estimator(Law):
    """A law with a recipe of its own in place of an objective: least squares, ridge, parabolas.

    Its theta may go on after the terms, with what it remembers of the runs.

    Attributes:
        recipe: in a few words, for summaries: "ridge 0.001 in log loss".
        least: runs that it needs.
    """

    recipe: str
    least = 2

    @abstractmethod
    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """theta from runs: variables (n,), loss (n,), weight (n,) -> (p,); NaN where it has none.

        The weights may hold zeros, and twos where a bootstrap drew a run twice; the length of
        theta depends on the number of runs at most.
        """

    def again(
        self, theta: np.ndarray, data: Data, loss: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """The estimate of a replicate: other losses or weights of runs with an estimate (p,)."""
        return self.estimate(data, loss, weight)


@dataclass(frozen=True)
class Sums:
    """Sums over runs of derivatives of the loss.

    Attributes:
        gradient: sum of slope * dL, (b, p).
        absolute: sum of |slope * dL|, (b, p), a law's parts apart: what cancels in `gradient`.
        hessian: sum of bend * dL dL' + slope * ddL, (b, p, p).
        outer: sum of weight * dL dL', (b, p, p).
    """

    gradient: np.ndarray
    absolute: np.ndarray
    hessian: np.ndarray
    outer: np.ndarray


class Bound:
    """A law on n runs, evaluated for b thetas at once; second derivatives by differences."""

    def __init__(self, law: Law, data: Data):
        self.law = law
        self.data = {name: np.asarray(data[name], dtype=float) for name in law.variables}

    def at(self, theta: np.ndarray) -> tuple[np.ndarray, object]:
        """Loss (b, n) at theta (b, p), and what `sums` needs of it."""
        return self.law.loss(theta, self.data), theta

    def take(self, inner, which: np.ndarray):
        """What `sums` needs, of some of the thetas."""
        return inner[which]

    def project(self, theta: np.ndarray, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Starts (b, p) moved to the best scales for their exponents; here left as they are."""
        return theta

    def sums(self, theta, slope: np.ndarray, bend: np.ndarray, weight: np.ndarray) -> Sums:
        """Sums over runs, for slopes, bends and weights (b, n)."""
        gradient = self.law.gradient(theta, self.data)
        across = np.swapaxes(gradient, -1, -2)
        second = across @ (bend[..., None] * gradient)
        for i in range(theta.shape[-1]):
            step = 1e-5 * np.maximum(1.0, np.abs(theta[:, i]))
            ahead, behind = theta.copy(), theta.copy()
            ahead[:, i] += step
            behind[:, i] -= step
            width = (ahead[:, i] - behind[:, i])[:, None]
            change = self.law.gradient(ahead, self.data) - self.law.gradient(behind, self.data)
            second[:, i] += np.einsum("bn,bnp->bp", slope, change) / width
        return Sums(
            gradient=np.einsum("bn,bnp->bp", slope, gradient),
            absolute=np.einsum("bn,bnp->bp", np.abs(slope), np.abs(gradient)),
            hessian=(second + np.swapaxes(second, -1, -2)) / 2,
            outer=across @ (weight[..., None] * gradient),
        )
