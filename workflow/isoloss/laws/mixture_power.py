"""Losses by effective data, and what a random process finds beside it: the law to predict with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isoloss.core.problems import IsolossError, Problem
from isoloss.laws._law import Asked, Data, Estimate, Estimator, Part, Sample
from isoloss.laws._mixture import (
    Prior,
    curve_terms,
    domain_terms,
    each,
    own_domain,
    shares_of,
    standard,
)
from isoloss.laws._process import (
    AMPLITUDES,
    HYPERPARAMETERS,
    NOTHING,
    Blend,
    Hyperparameters,
    Member,
    Runs,
    State,
    curve_prior,
    floor_of,
    kernels,
)
from isoloss.laws._process_search import Task, searched

TITLE = "Power law in effective data, with a residual process"
FORMULA = "L = c + K (v^-γ - 1) / γ + r(p), v = sum_j a_j p_j"
LATEX = r"L = c + K \frac{v^{-\gamma} - 1}{\gamma} + r(p), \quad v = \sum_j a_j p_j"
SOURCE = (
    "this project: a power law of the data that a mixture is worth to a domain, and a Gaussian"
    " process through what it leaves. The form was first found on runs of Ye et"
    " al. 2024, arXiv:2403.16952; hyperparameters were chosen without them, and its parts weighed,"
    " on the training runs of Liu et al. 2024, arXiv:2407.01492, and on laws drawn at random"
    " (benchmarks/mixture_prior.py), and the length of its additive process, too, on mixtures far"
    " outside the runs (benchmarks/mixture_far.py)"
)
BIBTEX = ""
DOMAIN = (
    "proportions p_j of all domains, zeros too; three runs or more. a_j is held near 1 for the"
    " domain whose loss it is and has a prior for the others. Below 60 runs three fits with"
    " different priors are averaged, and the terms are those of the middle one; from 60 on, runs"
    " that the others do not predict count less. r falls to 0 far from all runs. Intervals of the"
    " loss are those of its posterior; replicates, which the terms' intervals and those of a best"
    " mixture are of, start from the fit, and from 60 runs on keep its amplitudes of r and noise"
)
KIND = "mixture"
OPTIONS = {}
PRESETS = {}

_PYTHON = """\
# the state: members, each a curve and a process through what it left of the runs
state, k, head = np.array(t["state"]), len(VARIABLES), len(VARIABLES) + 3
first = [t["c"], log(t["K"]), t["gamma"], *(log(t["a_" + p[2:]]) for p in VARIABLES)]
rest = np.concatenate([first, state[3:]])
count, floor = int(state[0]), state[1]
n = (len(rest) - count * (head + 8)) // (count + k + 1)
members = rest[: count * (head + 8 + n)].reshape(count, head + 8 + n)
runs = rest[members.size :][: n * k].reshape(n, k)
here = np.stack([x[p] for p in VARIABLES], axis=-1)

def axis(shares):
    return np.log1p(shares / floor) / np.log1p(1 / floor)

def matern(squares, length):
    away = sqrt(5 * squares) / length
    return (1 + away + away * away / 3) * exp(-away)

squares = (axis(here)[:, None, :] - axis(runs)) ** 2
kernels = [here @ runs.T, matern(squares, 2.0).sum(axis=-1), matern(squares.sum(axis=-1), 1.0)]
total = 0.0
for m in members:
    c, size, gamma, a = m[0], exp(m[1]), m[2], exp(m[3 : 3 + k])
    gamma = gamma if abs(gamma) >= 1e-4 else 1e-4
    s, reference, pull = exp(2 * m[head : head + 5]), m[head + 7], m[head + 8 :]
    total = total + c + size * (maximum(here @ a, 1e-12) ** -gamma - 1) / gamma
    total = total + sum(s[i] * kernels[i] for i in range(3)) @ pull
    scarce_here, scarce_there = (2 / (1 + shares @ a / reference) for shares in (here, runs))
    scarce = s[3] * kernels[1] + s[4] * kernels[2]
    total = total + scarce_here * (scarce @ (scarce_there * pull))
return total / count"""


class MixturePower(Estimator):
    """theta = (c, ln K, gamma, ln a_1 .. ln a_k) of the first member; the state is a `State`."""

    kind = KIND
    recipe = "posterior mode of curve and amplitudes in turn"
    formula = FORMULA
    python = _PYTHON
    least = 3

    def __init__(
        self,
        domains: Sequence[str],
        own: str | None = None,
        hyper: Hyperparameters = HYPERPARAMETERS,
        state: Any = None,
    ):
        self.variables = tuple(domains)
        self.own = own
        self.hyper = hyper
        self.state = state
        self.terms = (*curve_terms(), *domain_terms("a", domains, "1", log=True))

    def for_response(self, response: str) -> MixturePower:
        """The law of a loss: the domain whose loss it is has a weight of about 1."""
        own = own_domain(response, self.variables)
        return MixturePower(self.variables, own, self.hyper, self.state)

    # Its state

    def given(self, state: Any) -> MixturePower:
        """The law with members and runs: a `State` for every theta that it is given, or one."""
        return MixturePower(self.variables, self.own, self.hyper, state)

    def to_numbers(self, estimate: Estimate) -> np.ndarray:
        """See `State.numbers`."""
        states = np.asarray(estimate.state, dtype=object)
        width = max((len(state.numbers()) for state in states.flat), default=0)
        numbers = np.empty((*states.shape, width))
        for at in np.ndindex(states.shape):
            numbers[at] = states[at].numbers()
        return np.concatenate([estimate.theta, numbers], axis=-1)

    def from_numbers(self, numbers: np.ndarray) -> Estimate:
        """See `State.of`."""
        theta, rest = np.split(np.asarray(numbers, dtype=float), [len(self.terms)], axis=-1)
        state = np.empty(theta.shape[:-1], dtype=object)
        for at in np.ndindex(state.shape):
            state[at] = State.of(theta[at], rest[at])
        return Estimate(theta, state)

    # The law

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n): the mean of the members."""

        def one(members: Sequence[Member], runs: Runs, shares: np.ndarray) -> np.ndarray:
            between = kernels(shares, runs.shares, runs.floor, self.hyper.lengths)
            return np.mean([m.loss(shares, runs.shares, between) for m in members], axis=0)

        return self._each(one, theta, data, ())

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d terms, (..., n, p), the state held."""

        def one(members: Sequence[Member], runs: Runs, shares: np.ndarray) -> np.ndarray:
            between = kernels(shares, runs.shares, runs.floor, self.hyper.lengths)
            return members[0].slopes(shares, runs.shares, between) / len(members)

        return self._each(one, theta, data, (len(self.terms),))

    def posterior_sd(self, theta: np.ndarray, data: Data, noise: bool = False) -> np.ndarray:
        """SD of L given the runs, (..., n): of each member and between them.

        As the amplitudes are fitted, and not integrated out, they count as degrees of freedom of
        the variance (benchmarks/mixture_prior.py measures what it then covers).
        """

        def one(members: Sequence[Member], runs: Runs, shares: np.ndarray) -> np.ndarray:
            if not runs.sd:
                return np.zeros(len(shares))
            seen = runs.weight > 0
            runs = replace(runs, shares=runs.shares[seen], weight=runs.weight[seen])
            between = kernels(shares, runs.shares, runs.floor, self.hyper.lengths)
            between_runs = kernels(runs.shares, runs.shares, runs.floor, self.hyper.lengths)
            unit = np.ones(len(self.terms))
            unit[0] = runs.sd  # c alone has the scale of the losses
            prior = self._prior(self.hyper.shifts[0]).covariance * np.outer(unit, unit)
            heavy = 1.0
            if len(seen) >= self.hyper.many:  # a Student distribution's variance over its scale
                heavy = self.hyper.freedom / (self.hyper.freedom - 2)
            losses, variances = [], []
            for member in members:
                member = replace(member, pull=member.pull[seen])
                law, run = member.variances(shares, runs, between, between_runs, prior)
                losses.append(member.loss(shares, runs.shares, between))
                variances.append(law + heavy * run if noise else law)
            total, n = np.mean(variances, axis=0) + np.var(losses, axis=0), seen.sum()
            return np.sqrt(total * n / max(n - AMPLITUDES, 1))

        return self._each(one, theta, data, ())

    def combined(self, parts: Sequence[Part]) -> Callable[[Data], np.ndarray]:
        """See `Law.combined`: where the laws have their runs in common, one sum over them."""
        states = [np.asarray(one.state, dtype=object).item() for _, _, one in parts]
        runs = states[0].runs
        if not all(state.finite and state.runs.like(runs) for state in states):
            return super().combined(parts)
        members = [member for state in states for member in state.members]
        weight = [w / len(state.members) for (w, _, _), state in zip(parts, states, strict=True)]
        count = [len(state.members) for state in states]
        blend = Blend.of(members, np.repeat(weight, count), runs)
        return lambda data: blend.loss(shares_of(data, self.variables), self.hyper.lengths)

    def _each(self, function: Callable, theta: np.ndarray, data: Data, more: tuple[int, ...]):
        """function(members, runs, shares) of every estimate; NaN where one is not finite."""

        def one(theta: np.ndarray, state: State | None, shares: np.ndarray) -> np.ndarray:
            if state is None:
                do = "evaluate law.given(estimate.state)"
                raise IsolossError(Problem(self.formula, "needs the state of an estimate", do))
            if not state.finite:
                return np.nan
            first, *others = state.members
            return function([replace(first, curve=theta), *others], state.runs, shares)

        return each(one, np.asarray(theta), self.state, shares_of(data, self.variables), more)

    # Its recipe

    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> Estimate:
        """The posterior mode, with a state; NaN where no run has weight."""
        return self.estimates([(data, loss, weight)])[0]

    def estimates(self, samples: Sequence[Sample]) -> list[Estimate]:
        """The same of several samples of runs, whose searches go side by side."""
        return _fitted([(self, None, samples)], self.hyper)[0]

    def again(self, estimate: Estimate, samples: Sequence[Sample]) -> list[Estimate]:
        """As `estimates`, from one of these runs (with other losses or weights) in one round.

        From `many` runs on the amplitudes are those of the estimate.
        """
        return self.together([(self, estimate, samples)])[0]

    def together(self, asked: Sequence[Asked]) -> list[list[Estimate]]:
        """The same of several responses, whose searches go side by side."""
        near = [(law, estimate.state.members, samples) for law, estimate, samples in asked]
        return _fitted(near, self.hyper)

    def tasks(self, piece: _Piece, near: Sequence[Member] | None) -> list[Task]:
        """The searches for the members that are found on a sample."""
        count = piece.members if piece.sd > 0 else 0
        priors = [self._prior(shift) for shift in self.hyper.shifts[:count]]
        begin = near or [None] * count
        return [piece.task(prior, one) for prior, one in zip(priors, begin, strict=False)]

    def estimate_of(self, piece: _Piece, ends: Iterator[tuple[Member, np.ndarray]]) -> Estimate:
        """The estimate of a sample, whose members come next."""
        if not piece.drawn.any():
            return self._none(piece)
        heavy = piece.weight
        if piece.sd > 0:
            own = [next(ends) for _ in range(piece.members)]
            members, heavy = [member.scaled(piece.mean, piece.sd) for member, _ in own], own[0][1]
        else:
            shifts = self.hyper.shifts[: piece.members]
            members = [self._constant(piece.mean, shift, len(heavy)) for shift in shifts]
        members = tuple(replace(one, pull=piece.over_all(one.pull)) for one in members)
        runs = Runs(piece.over_all(piece.shares), piece.over_all(heavy), piece.floor, piece.sd)
        return Estimate(members[0].curve, State(members, runs))

    def _prior(self, shift: tuple[float, float]) -> Prior:
        own = None if self.own is None else self.variables.index(self.own)
        return curve_prior(len(self.variables), own, shift, self.hyper)

    def _constant(self, mean: float, shift: tuple[float, float], runs: int) -> Member:
        """The law of losses that are all the same."""
        centre = self._prior(shift).centre.copy()
        centre[:2] = mean, NOTHING
        return Member(centre, np.full(AMPLITUDES, NOTHING), 1.0, np.zeros(runs))

    def _none(self, piece: _Piece) -> Estimate:
        """What stands for an estimate where there is none: NaN all of it."""
        runs, domains = len(piece.drawn), len(self.variables)
        theta, pull = np.full(len(self.terms), np.nan), np.full(runs, np.nan)
        member = Member(theta, np.full(AMPLITUDES, np.nan), np.nan, pull)
        known = Runs(np.full((runs, domains), np.nan), pull, np.nan, np.nan)
        return Estimate(theta, State((member,) * piece.members, known))


def _fitted(
    asked: Sequence[tuple[MixturePower, Sequence[Member] | None, Sequence[Sample]]],
    hyper: Hyperparameters,
) -> list[list[Estimate]]:
    """The estimates of the samples of every response, from members or from the priors."""
    pieces = [
        [_Piece.of(sample, law.variables, hyper) for sample in samples] for law, _, samples in asked
    ]
    tasks = [
        task
        for (law, near, _), own in zip(asked, pieces, strict=True)
        for piece in own
        for task in law.tasks(piece, near)
    ]
    ends = iter(searched(tasks, hyper))
    return [
        [law.estimate_of(piece, ends) for piece in own]
        for (law, _, _), own in zip(asked, pieces, strict=True)
    ]


@dataclass(frozen=True)
class _Piece:
    """A sample of runs as the search takes it.

    Attributes:
        drawn: whether a run has weight, (all runs,).
        members: how many there are to find.
        shares: of the runs drawn, (n, k).
        target: their standardised losses, (n,).
        weight: one on average, (n,).
        mean, sd: of their losses.
        floor: of the axis of log shares.
    """

    drawn: np.ndarray
    members: int
    shares: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    mean: float
    sd: float
    floor: float

    @classmethod
    def of(cls, sample: Sample, domains: Sequence[str], hyper: Hyperparameters) -> _Piece:
        """Of a sample."""
        data, loss, weight = sample
        drawn = weight > 0
        members = 1 if len(loss) >= hyper.many else len(hyper.shifts)
        shares, own = shares_of(data, domains)[drawn], weight[drawn]
        if not len(own):
            return cls(drawn, members, shares, own, own, np.nan, 0.0, np.nan)
        heavy = own / own.mean()
        target, mean, sd = standard(loss[drawn], heavy)
        return cls(drawn, members, shares, target, heavy, mean, sd, floor_of(shares, hyper.floor))

    def task(self, prior: Prior, near: Member | None) -> Task:
        """The search for a member, from one in the unit of the loss if there is one."""
        begin = None if near is None else near.scaled(-self.mean / self.sd, 1 / self.sd)
        robust = self.members == 1
        return Task(self.shares, self.target, self.weight, self.floor, prior, robust, begin)

    def over_all(self, values: np.ndarray) -> np.ndarray:
        """Values of the runs drawn as values of all, 0 of the others."""
        spread = np.zeros((len(self.drawn), *values.shape[1:]))
        spread[self.drawn] = values
        return spread


def make(domains: Sequence[str]) -> MixturePower:
    """The law of a loss that is no domain's own; `for_response` gives the others."""
    return MixturePower(domains)
