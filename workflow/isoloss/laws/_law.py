"""What a law is: terms with units and bounds, a predicted loss, its gradient, and what follows.

A law works in coordinates `theta` in which its terms are free of scale: a term that must be
positive enters by its logarithm. Every function takes any number of leading dimensions of
`theta`, so that a grid of starts or a set of bootstrap replicates is one call.

A card is a module with TITLE, FORMULA, LATEX, SOURCE, BIBTEX, DOMAIN, KIND (of registry.LAW_KINDS),
OPTIONS, PRESETS and `make(**options) -> Law`. The smallest is a subclass of Law with `kind`,
`variables`, `terms`, `formula`, `loss` and `gradient`; a sum of power terms is one line a term
(Posynomial, in _posynomial.py). A law that can divide a budget between N and D has `allocate`.
"""

from __future__ import annotations

import copy
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoloss.core.problems import IsolossError, Problem, nearest

Data = Mapping[str, np.ndarray]
Sample = tuple[Data, np.ndarray, np.ndarray]  # variables, losses and weights of runs, (n,) each


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
        nonlinear: of a size in the unit of the loss: whether the loss is not linear in it.
        sign: -1 of a value below 0, whose size theta holds by its logarithm.
    """

    name: str
    symbol: str
    unit: str
    log: bool
    low: float
    high: float
    starts: tuple[float, ...]
    nonlinear: bool = False
    sign: float = 1.0

    @property
    def above_zero(self) -> bool:
        """Whether the value is above 0 whatever theta is."""
        return self.log and self.sign > 0

    @property
    def amplitude(self) -> bool:
        """Whether it is a size in which the loss is linear."""
        return self.log and self.unit.startswith("nats/") and not self.nonlinear

    def value(self, theta: np.ndarray) -> np.ndarray:
        """From theta's coordinate to the term's own value."""
        return self.sign * np.exp(theta) if self.log else np.asarray(theta)

    def coordinate(self, value: float) -> float:
        """From the term's own value to theta's coordinate."""
        return float(np.log(self.sign * value)) if self.log else float(value)

    def bounds(self, least: float | None, most: float | None) -> tuple[float, float]:
        """Bounds of theta's coordinate by those of the term's own value, None where open.

        Example:
            >>> Term("B", "B", "1", True, -9.0, 9.0, (0.0,), sign=-1.0).bounds(-1.0, 0.0)
            (-inf, 0.0)
        """
        if self.log and self.sign < 0:
            least, most = (None if end is None else -end for end in (most, least))
        open_below = least is None or (self.log and least <= 0)
        place = np.log if self.log else float
        low = -np.inf if open_below else float(place(least))
        return low, np.inf if most is None else float(place(most))


@dataclass(frozen=True)
class Doubt:
    """What a law knows against its own estimate.

    Attributes:
        found: what was found, with numbers and names.
        remedy: what would fix it.
        grave: whether numbers may be off by it, or it is only good to know.
    """

    found: str
    remedy: str
    grave: bool


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a fit knows of a law: its parameters, and what the law keeps of the runs beside them.

    One estimate, or several of the same law (the replicates of a fit), which an index selects.

    Attributes:
        theta: the parameters in the law's coordinates, (..., p).
        state: what the law keeps of the runs, an object of its own, or an array (...) of them;
            None for a law that is known by its parameters.
    """

    theta: np.ndarray
    state: Any = None

    def __getitem__(self, which) -> Estimate:
        """Some of several estimates."""
        return Estimate(self.theta[which], None if self.state is None else self.state[which])

    def __len__(self) -> int:
        return len(self.theta)


def stacked(estimates: Sequence[Estimate], terms: int) -> Estimate:
    """Single estimates of a law as one of several, theta (r, p); `terms` is p."""
    theta = np.array([one.theta for one in estimates]).reshape(-1, terms)
    if all(one.state is None for one in estimates):
        return Estimate(theta)
    state = np.empty(len(estimates), dtype=object)
    state[:] = [one.state for one in estimates]
    return Estimate(theta, state)


def joined(parts: Sequence[Estimate]) -> Estimate:
    """Several estimates of a law each, one after the other."""
    theta = np.concatenate([part.theta for part in parts])
    kept = [part.state for part in parts if part.state is not None]
    return Estimate(theta, np.concatenate(kept) if kept else None)


Asked = tuple["Estimator", Estimate, Sequence[Sample]]  # of a response
Part = tuple[float, "Law", Estimate]  # weight of a response, its law, and an estimate
Move = Callable[[np.ndarray], np.ndarray]  # of thetas (b, p) to others


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
        secondary: names of terms that describe the runs beside what the law is for; that they are
            hardly known is no doubt about the fit.
        recipe: how it is estimated, in a few words for summaries ("ridge 0.001 in log loss"), of a
            law that has a method of its own (`Estimator`); empty where an objective is minimised.
        latex: of this law with its options; empty where the card's LATEX says it.
        signed: whether it may predict values of any sign.
        response_range: least and greatest value of the response that the user gave, None where
            open; None for a law without.
        limits: least and greatest value of terms in their own units, None where open, in the place
            of a term's bounds: those that a user wrote in a formula.
        decided: options of the card that hold what `settled` decided.
    """

    kind: str
    variables: tuple[str, ...]
    terms: tuple[Term, ...]
    formula: str
    python: str = ""
    secondary: tuple[str, ...] = ()
    recipe = ""
    latex: str = ""
    signed: bool = False
    response_range: tuple[float | None, float | None] | None = None
    limits: Mapping[str, tuple[float | None, float | None]] = {}
    decided: Mapping[str, Any] = {}

    @property
    def positive(self) -> tuple[str, ...]:
        """The variables that must be above 0: all of them, but none that are proportions."""
        return () if self.proportions else self.variables

    @property
    def additive(self) -> bool:
        """Whether errors of the response are differences though all of its values are above 0.

        So it is where the range of the response has a greatest value, as 0 <= error <= 1: such a
        value errs as much near an end of its range as elsewhere, and not by a share of itself.
        """
        return self.response_range is not None and self.response_range[1] is not None

    def within(self, values: np.ndarray) -> np.ndarray:
        """Predicted values, those outside the range of the response at its end.

        Args:
            values: predicted, of any shape.
        """
        return values if self.response_range is None else np.clip(values, *self.response_range)

    @property
    def least(self) -> int:
        """The number of runs that it needs."""
        return len(self.terms)

    @property
    def proportions(self) -> bool:
        """Whether its variables are proportions, which have no scale and may be zero."""
        return self.kind == "mixture"

    def for_response(self, response: str) -> Law:
        """The law of one response, such as loss_web: a mixture law may have another for each."""
        return self

    def settled(self, data: Data, loss: np.ndarray, labels: Sequence[str] = ()) -> Law:
        """The law with what it leaves open decided by all runs that are to be fitted.

        Its decisions (`decided`) are kept with the options of its card, so that a fit that was
        saved is of the same law.

        Args:
            data: variables of the runs of all groups, (n,) each.
            loss: observed, (n,).
            labels: of the runs, for messages; their numbers from 1 if empty.
        """
        return self

    def freed(self, names: Sequence[str]) -> Law:
        """The same law, whose parameters of these names may have any sign."""
        reason = f"the sign of {', '.join(names)} is not open in {self.formula}"
        raise IsolossError(Problem("options.any_sign", reason, "leave it out"))

    def moves(self, data: Data, log_loss_scale: float) -> tuple[np.ndarray, np.ndarray]:
        """The coordinates in which the search of a fit moves, and in which bounds hold.

        Args:
            data: variables in the runs' scale, (n,) each.
            log_loss_scale: of the loss in it.

        Returns:
            M (p, p) with ones or other numbers above 0 on its diagonal, and m (p,): the search
            moves M theta - m. The identity where theta itself is free of scale (`rescaling`).
        """
        return np.eye(len(self.terms)), np.zeros(len(self.terms))

    def given(self, state: Any) -> Law:
        """The law with what an estimate keeps of the runs, so that it is evaluated there.

        Args:
            state: of the estimate (or estimates) whose theta `loss` and the others are then given.
        """
        return self

    def to_numbers(self, estimate: Estimate) -> np.ndarray:
        """An estimate (or several) as tables hold it: theta, then the numbers of its state."""
        return estimate.theta

    def from_numbers(self, numbers: np.ndarray) -> Estimate:
        """The estimate (or estimates) that a table holds, (..., p + m); see `to_numbers`."""
        return Estimate(numbers)

    def theta(self, values: Mapping[str, float]) -> np.ndarray:
        """The law's coordinates of parameters that are given in their own units.

        Args:
            values: every parameter by the name of its term, in its unit: a number, or an array
                (...) for many at once.

        Returns:
            theta, float64 (..., p), in the order of `terms`; logarithms where `Term.log` says so.

        Raises:
            IsolossError: a parameter is missing or unknown, or its value is not finite, or not
                above 0 where theta holds its logarithm.

        Example:
            >>> from isoloss.laws import chinchilla
            >>> law = chinchilla.make()
            >>> theta = law.theta(chinchilla.PRESETS["epoch"]["values"])
            >>> theta.round(3)
            array([0.597, 6.178, 7.643, 0.348, 0.366])
            >>> law.loss(theta, {"N": [7e10], "D": [1.4e12]}).round(3)
            array([1.973])
        """
        names = [term.name for term in self.terms]
        wrong = [
            Problem(f"parameter {name}", "not one of the law", nearest(name, names))
            for name in values
            if name not in names
        ]
        wrong += [
            Problem(f"parameter {name}", "not given", f"the law is {self.formula}")
            for name in names
            if name not in values
        ]
        for term in self.terms:
            value = np.asarray(values.get(term.name, term.sign), dtype=float)
            if not (np.isfinite(value) & ((term.sign * value > 0) | (not term.log))).all():
                side = "above" if term.sign > 0 else "below"
                needed = f"a number {side} 0" if term.log else "a finite number"
                reason = f"found {values[term.name]!r:.60}"
                wrong.append(Problem(f"parameter {term.name}", reason, f"needs {needed}"))
        if wrong:
            raise IsolossError(*wrong)
        given = (np.asarray(values[term.name], dtype=float) for term in self.terms)
        pairs = zip(self.terms, given, strict=True)
        columns = [np.log(term.sign * v) if term.log else v for term, v in pairs]
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def values(self, theta: np.ndarray) -> dict[str, np.ndarray | float]:
        """The parameters in their own units, of the law's coordinates; the inverse of `theta`.

        Args:
            theta: coordinates, (..., p).

        Returns:
            Every parameter by the name of its term, in its unit: (...), a number for one theta.

        Raises:
            IsolossError: theta has not one coordinate for every parameter.

        Example:
            >>> from isoloss.laws import power_law
            >>> law = power_law.make(variable="N", offset=True)
            >>> values = law.values([0.0, 6.0, 0.34])
            >>> {name: round(value, 2) for name, value in values.items()}
            {'E': 1.0, 'A': 403.43, 'alpha': 0.34}
            >>> law.theta(values).round(2)
            array([0.  , 6.  , 0.34])
        """
        theta = np.asarray(theta, dtype=float)
        if theta.shape[-1:] != (len(self.terms),):
            reason = f"found an array of shape {theta.shape}"
            needed = f"the last dimension needs the {len(self.terms)} parameters of {self.formula}"
            raise IsolossError(Problem("theta", reason, needed))
        own = {term.name: term.value(theta[..., i]) for i, term in enumerate(self.terms)}
        return own if theta.ndim > 1 else {name: float(value) for name, value in own.items()}

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
            IsolossError: the law does not allocate.
        """
        reason = "does not give the best N and D of a budget"
        raise IsolossError(Problem(f"the law {self.formula}", reason, "take a law in N and D"))

    @property
    def has_least_loss(self) -> bool:
        """Whether it gives a loss for a budget: a law in C, or one that allocates."""
        known = {"N", "D", "C"} if self.allocates else {"C"}
        return set(self.variables) <= known

    def least_loss(self, theta: np.ndarray, flops: float) -> np.ndarray:
        """The least loss of a budget: where it is divided best, or of a law in C at that C; (...).

        Args:
            theta: an estimate, (..., p).
            flops: the budget, a number or (...); 6 N D where N and D are divided.

        Returns:
            The loss in nats; not finite where a budget has no best division.

        Raises:
            IsolossError: the law does not give a loss for a budget.

        Example:
            >>> from isoloss.laws import power_law
            >>> law = power_law.make(variable="C", offset=False)
            >>> float(law.least_loss(law.theta({"A": 8.0, "alpha": 0.5}), 1e4).round(6))
            0.08
        """
        flops = np.broadcast_to(np.asarray(flops, dtype=float), np.shape(theta)[:-1])
        points = {"C": flops[..., None]}
        if self.allocates:
            n, d = self.allocate(theta, flops)
            points |= {"N": n[..., None], "D": d[..., None]}
        missing = [name for name in self.variables if name not in points]
        if missing:
            remedy = "take a law in C, or one that divides a budget between N and D"
            reason = f"gives no loss for a budget: it needs {', '.join(missing)}"
            raise IsolossError(Problem(f"the law {self.formula}", reason, remedy))
        return self.loss(theta, {name: points[name] for name in self.variables})[..., 0]

    def doubts(self, estimate: Estimate) -> list[Doubt]:
        """What the law doubts of its own estimate, in the order of its parts; none by default.

        Args:
            estimate: one, with the state that it was fitted with.
        """
        return []

    def posterior_sd(self, theta: np.ndarray, data: Data, noise: bool = False) -> np.ndarray:
        """SD of the predicted loss given the runs, (..., n); 0 for a law that knows none.

        Args:
            theta: an estimate, (..., p).
            data: where.
            noise: whether it is that of a new run's loss, noise and all.
        """
        return np.zeros(self.loss(theta, data).shape)

    def combined(self, parts: Sequence[Part]) -> Callable[[Data], np.ndarray]:
        """The weighted sum of the losses of several responses, as a function of data: (n,).

        Args:
            parts: of each response its weight, its law of this kind, and an estimate (p,).
        """
        bound = [(weight, law.given(one.state), one.theta) for weight, law, one in parts]

        def total(data: Data) -> np.ndarray:
            return sum(weight * law.loss(theta, data) for weight, law, theta in bound)

        return total

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

    def along_valley(self, theta: np.ndarray) -> np.ndarray:
        """Points that predict nearly what theta (p,) does near a variable's mean of 1, (k, p).

        Further starts where few agree; none of a law whose terms no such valley connects.
        """
        return np.empty((0, len(theta)))

    def on(self, data: Data) -> LawOnRuns:
        """The law on runs, with what does not change during a fit computed once."""
        return LawOnRuns(self, data)

    def index(self, name: str) -> int:
        """Position of a term in theta."""
        return [term.name for term in self.terms].index(name)


class Estimator(Law):
    """A law with a method of its own in place of an objective: least squares, ridge, parabolas.

    It has a `recipe`, and may keep a state of the runs beside its parameters; it has then `given`,
    `to_numbers` and `from_numbers` too.
    """

    least = 2

    @abstractmethod
    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> Estimate:
        """The estimate from runs; theta is NaN where there is none.

        Args:
            data: variables, (n,) each.
            loss: observed, (n,).
            weight: of every run, (n,); zeros, and twos where a bootstrap drew a run twice, too.
        """

    def estimates(self, samples: Sequence[Sample]) -> list[Estimate]:
        """The estimate of every sample of runs: variables, losses, weights as of `estimate`."""
        return [self.estimate(*sample) for sample in samples]

    def again(self, estimate: Estimate, samples: Sequence[Sample]) -> list[Estimate]:
        """The estimates of replicates: other losses or weights of runs that have an estimate."""
        return self.estimates(samples)

    def together(self, asked: Sequence[Asked]) -> list[list[Estimate]]:
        """What `again` gives for every response: its law, its estimate and its samples."""
        return [law.again(estimate, samples) if samples else [] for law, estimate, samples in asked]

    def undetermined(self, estimate: Estimate) -> list[str]:
        """The names of terms that the runs of an estimate do not determine."""
        return []


@dataclass(frozen=True)
class Sums:
    """Sums over runs of derivatives of the loss.

    Attributes:
        gradient: sum of slope * dL, (b, p).
        absolute: sum of |slope * dL|, (b, p), a law's parts apart: what cancels in `gradient`.
        hessian: sum of curvature * dL dL' + slope * ddL, (b, p, p).
        outer: sum of weight * dL dL', (b, p, p).
    """

    gradient: np.ndarray
    absolute: np.ndarray
    hessian: np.ndarray
    outer: np.ndarray


class LawOnRuns:
    """A law on n runs, evaluated for b thetas at once; second derivatives by differences.

    Attributes:
        descents: of so many starts, the most promising, a search descends; None: of all.
        trading: whether amplitudes trade with exponents, as where variables are not in units of
            their own mean; a search then tries steps of their logarithms too.
        side_by_side: whether descents on other runs may go on beside those on these; then nothing
            but `data` holds numbers of the runs.
        by_row: whether `at` and `sums` also take data (b, n), every theta's own, with the same
            bits as (n,); they are then elementwise, but for sums over the runs of one theta.
    """

    descents: int | None = None
    trading = False
    side_by_side = True
    by_row = True

    def __init__(self, law: Law, data: Data):
        self.law = law
        self.data = {name: np.asarray(data[name], dtype=float) for name in law.variables}

    def at(self, theta: np.ndarray) -> tuple[np.ndarray, object]:
        """Loss (b, n) at theta (b, p), and what `sums` needs of it."""
        return self.law.loss(theta, self.data), theta

    def take(self, inner, which: np.ndarray):
        """What `sums` needs, of some of the thetas."""
        return inner[which]

    def with_data(self, data: Data) -> LawOnRuns:
        """The same on other runs, (n,) or, where the law takes them by row, (b, n)."""
        other = copy.copy(self)
        other.data = dict(data)
        return other

    def starts(self, loss: np.ndarray) -> np.ndarray:
        """Where a search begins, (s, p): the law's own grid, whatever the losses (n,) are."""
        return self.law.starts()

    def limits(self, theta: np.ndarray, loss: np.ndarray, lost: bool = False) -> Sequence[Move]:
        """Moves to the ends of valleys in which a parameter runs to 0 or to infinity.

        They change the predictions by less than the noise of the runs.

        Args:
            theta: the estimate, (p,).
            loss: observed, (n,).
            lost: whether the search has not converged there, and ends that may be better count.
        """
        return ()

    def project(self, theta: np.ndarray, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Starts (b, p) moved to the best scales for their exponents; here left as they are."""
        return theta

    def sums(self, theta, slope: np.ndarray, curvature: np.ndarray, weight: np.ndarray) -> Sums:
        """Sums over runs, for slopes, curvatures and weights (b, n)."""
        gradient = self.law.gradient(theta, self.data)
        across = np.swapaxes(gradient, -1, -2)
        second = across @ (curvature[..., None] * gradient)
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
