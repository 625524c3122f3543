"""Losses by effective data, and what a random process finds beside it: the law to predict with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from isoloss.laws._law import Data, Estimator
from isoloss.laws._mixture import CURVE, Prior, curve_terms, domain_terms, each, shares_of, standard
from isoloss.laws._process import (
    AMPLITUDES,
    HYPERPARAMETERS,
    NOTHING,
    Hyperparameters,
    Member,
    Runs,
    Search,
    curve_prior,
    floor_of,
    kernels,
)

TITLE = "Power law in effective data, with a residual process"
FORMULA = "L = c + K (v^-γ - 1) / γ + r(p), v = sum_j a_j p_j"
LATEX = r"L = c + K \frac{v^{-\gamma} - 1}{\gamma} + r(p), \quad v = \sum_j a_j p_j"
SOURCE = (
    "this project: a power law of the data that a mixture is worth to a domain, and a Gaussian"
    " process through what it leaves. The form was first found on runs of Ye et"
    " al. 2024, arXiv:2403.16952; hyperparameters were chosen without them, and its parts weighed,"
    " on the training runs of Liu et al. 2024, arXiv:2407.01492, and on laws drawn at random"
    " (benchmarks/mixture_prior.py)"
)
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

Found = tuple[list[Member], np.ndarray]  # members, and the weights of their runs

_PYTHON = """\
# what the fit remembers: members, each a curve and a process through what it left of the runs
memory, k, head = np.array(t["memory"]), len(VARIABLES), len(VARIABLES) + 3
first = [t["c"], log(t["K"]), t["gamma"], *(log(t["a_" + p[2:]]) for p in VARIABLES)]
rest = np.concatenate([first, memory[3:]])
count, floor = int(memory[0]), memory[1]
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
kernels = [here @ runs.T, matern(squares, 0.5).sum(axis=-1), matern(squares.sum(axis=-1), 1.0)]
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
    """theta = (c, ln K, gamma, ln a_1 .. ln a_k) of the first member, and a memory.

    In the memory: the number of members, the floor and the losses' SD; of every member
    amplitudes, reference and pulls, after its terms (those of the first are where theta
    begins); the shares of the runs, and their weights.
    """

    kind = KIND
    recipe = "posterior mode of curve and amplitudes in turn"
    formula = FORMULA
    python = _PYTHON
    flat = True
    least = 3

    def __init__(
        self, domains: Sequence[str], own: str | None, hyper: Hyperparameters = HYPERPARAMETERS
    ):
        self.variables = tuple(domains)
        self.own = None if own is None else self.variables.index(own)
        self.hyper = hyper
        self.terms = (*curve_terms(), *domain_terms("a", domains, "1", log=True))

    # The law

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n): the mean of the members."""

        def one(theta: np.ndarray, shares: np.ndarray) -> np.ndarray:
            members, runs = self._read(theta)
            between = kernels(shares, runs.shares, runs.floor, self.hyper.lengths)
            return np.mean([m.loss(shares, runs.shares, between) for m in members], axis=0)

        return each(one, theta, shares_of(data, self.variables), ())

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d terms, (..., n, p), the memory held."""

        def one(theta: np.ndarray, shares: np.ndarray) -> np.ndarray:
            members, runs = self._read(theta)
            between = kernels(shares, runs.shares, runs.floor, self.hyper.lengths)
            return members[0].slopes(shares, runs.shares, between) / len(members)

        return each(one, theta, shares_of(data, self.variables), (len(self.terms),))

    def posterior_sd(self, theta: np.ndarray, data: Data, noise: bool = False) -> np.ndarray:
        """SD of L given the runs, (..., n): of each member and between them.

        As the amplitudes are fitted, and not integrated out, they count as degrees of freedom of
        the variance (benchmarks/mixture_prior.py measures what it then covers).
        """

        def one(theta: np.ndarray, shares: np.ndarray) -> np.ndarray:
            members, runs = self._read(theta)
            if not runs.sd:
                return np.zeros(len(shares))
            seen = runs.weight > 0
            runs = replace(runs, shares=runs.shares[seen], weight=runs.weight[seen])
            between = kernels(shares, runs.shares, runs.floor, self.hyper.lengths)
            among = kernels(runs.shares, runs.shares, runs.floor, self.hyper.lengths)
            unit = np.ones(len(self.terms))
            unit[0] = runs.sd  # c alone has the scale of the losses
            prior = self._prior(self.hyper.shifts[0]).covariance * np.outer(unit, unit)
            heavy = 1.0
            if len(seen) >= self.hyper.many:  # a Student distribution's variance over its scale
                heavy = self.hyper.freedom / (self.hyper.freedom - 2)
            losses, variances = [], []
            for member in members:
                member = replace(member, pull=member.pull[seen])
                law, run = member.variances(shares, runs, between, among, prior)
                losses.append(member.loss(shares, runs.shares, between))
                variances.append(law + heavy * run if noise else law)
            total, n = np.mean(variances, axis=0) + np.var(losses, axis=0), seen.sum()
            return np.sqrt(total * n / max(n - AMPLITUDES, 1))

        return each(one, theta, shares_of(data, self.variables), ())

    # Its recipe

    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """theta with its memory; NaN where no run has weight."""

        def find(searches: list[Search], mean: float, sd: float) -> Found:
            found = [search.member() for search in searches]
            if len(found) > 1:
                return found, searches[0].weight
            robust = searches[0].robust(found[0])
            return [robust.again(found[0])], robust.weight

        return self._fitted(data, loss, weight, find)

    def again(
        self, theta: np.ndarray, data: Data, loss: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """As `estimate`, from theta (of these runs, other losses or weights) in one round.

        From `many` runs on the amplitudes are those of theta.
        """
        members = self._read(theta)[0]

        def find(searches: list[Search], mean: float, sd: float) -> Found:
            near = [member.scaled(-mean / sd, 1 / sd) for member in members]
            if len(near) > 1:
                found = [s.again(m) for s, m in zip(searches, near, strict=True)]
                return found, searches[0].weight
            found = searches[0].at_amplitudes(near[0])
            robust = searches[0].robust(found)
            return [robust.at_amplitudes(found)], robust.weight

        return self._fitted(data, loss, weight, find)

    def _fitted(self, data: Data, loss: np.ndarray, weight: np.ndarray, find: Callable):
        """theta of the members that are found on the runs of some weight."""
        n, count = len(loss), self._count(len(loss))
        drawn = weight > 0
        if not drawn.any():
            return np.full(self._length(n), np.nan)
        every = shares_of(data, self.variables)
        shares, heavy = every[drawn], weight[drawn] / weight[drawn].mean()
        target, mean, sd = standard(loss[drawn], heavy)
        floor = floor_of(shares, self.hyper.floor)
        if sd > 0:
            between = kernels(shares, shares, floor, self.hyper.lengths)
            searches = [
                Search(shares, target, heavy, between, self._prior(shift), self.hyper)
                for shift in self.hyper.shifts[:count]
            ]
            found, heavy = find(searches, mean, sd)
            members = [member.scaled(mean, sd) for member in found]
        else:
            members = [self._constant(mean, s, len(shares)) for s in self.hyper.shifts[:count]]

        def over_all(values: np.ndarray) -> np.ndarray:
            found = np.zeros((n, *values.shape[1:]))
            found[drawn] = values
            return found

        members = [replace(member, pull=over_all(member.pull)) for member in members]
        return self._written(members, Runs(over_all(shares), over_all(heavy), floor, sd))

    def _prior(self, shift: tuple[float, float]) -> Prior:
        return curve_prior(len(self.variables), self.own, shift, self.hyper)

    def _constant(self, mean: float, shift: tuple[float, float], runs: int) -> Member:
        """The law of losses that are all the same."""
        centre = self._prior(shift).centre
        centre[:2] = mean, NOTHING
        return Member(centre, np.full(AMPLITUDES, NOTHING), 1.0, np.zeros(runs))

    # Its memory

    def _count(self, runs: int) -> int:
        return 1 if runs >= self.hyper.many else len(self.hyper.shifts)

    def _length(self, runs: int) -> int:
        """Of theta."""
        domains, count = len(self.variables), self._count(runs)
        return 3 + count * (CURVE + domains + AMPLITUDES + 1 + runs) + runs * (domains + 1)

    def _written(self, members: list[Member], runs: Runs) -> np.ndarray:
        """theta of members and runs."""
        pieces = [[*m.curve, *m.amplitudes, m.reference, *m.pull] for m in members]
        head = pieces[0][: len(self.terms)]
        pieces[0] = pieces[0][len(self.terms) :]
        header = [len(members), runs.floor, runs.sd]
        return np.concatenate([head, header, *pieces, runs.shares.ravel(), runs.weight])

    def _read(self, theta: np.ndarray) -> tuple[list[Member], Runs]:
        """The members and the runs that theta holds, (p,)."""
        head, domains = len(self.terms), len(self.variables)
        count, floor, sd = int(theta[head]), *theta[head + 1 : head + 3]
        tail = head + AMPLITUDES  # where a member's reference stands
        rest = np.concatenate([theta[:head], theta[head + 3 :]])
        n = (len(rest) - count * (tail + 1)) // (count + domains + 1)
        blocks = rest[: count * (tail + 1 + n)].reshape(count, tail + 1 + n)
        members = [Member(m[:head], m[head:tail], m[tail], m[tail + 1 :]) for m in blocks]
        shares, weight = rest[blocks.size : -n].reshape(n, domains), rest[-n:]
        return members, Runs(shares, weight, floor, sd)


def make(domains: Sequence[str], own: str | None) -> MixturePower:
    """The law of the loss of one domain (own), or of any other loss (None)."""
    return MixturePower(domains, own)
