"""Losses by effective data, and what a random process finds beside it: the law to predict with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from isoloss.laws._law import Data, Estimator
from isoloss.laws._mixture import CURVE, curve_terms, domain_terms, each, shares_of, standard
from isoloss.laws._process import (
    AMPLITUDES,
    Member,
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
    " process through what it leaves; chosen on runs of Ye et al. 2024, arXiv:2403.16952, and"
    " Liu et al. 2024, arXiv:2407.01492"
)
DOMAIN = (
    "proportions p_j of all domains, zeros too; three runs or more. a_j is held near 1 for the"
    " domain whose loss it is and has a prior for the others. Below 60 runs three fits with"
    " different priors are averaged, and the terms are those of the middle one; from 60 on, runs"
    " that the others do not predict count less. r falls to 0 far from all runs. Replicates start"
    " from the fit, and from 60 runs on keep its amplitudes of r and of the noise"
)
OPTIONS = {}
PRESETS = {}
NEEDS = "mixture"

MANY = 60  # runs from which one robust fit takes the place of an average of three
SHIFTS = (0.0, 1.5, -1.5)  # of the prior mean of ln a; the terms are those of the first
NOTHING = -30.0  # logarithm of a size of nothing, where all losses are the same

_PYTHON = """\
# what the fit remembers: members, each a curve and a process through what it left of the runs
memory, k, head = np.array(t["memory"]), len(VARIABLES), len(VARIABLES) + 3
first = [t["c"], log(t["K"]), t["gamma"], *(log(t["a_" + p[2:]]) for p in VARIABLES)]
rest = np.concatenate([first, memory[2:]])
count, floor = int(memory[0]), memory[1]
n = (len(rest) - count * (head + 8)) // (count + k)
members = rest[: count * (head + 8 + n)].reshape(count, head + 8 + n)
runs = rest[members.size :].reshape(n, k)
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


@dataclass(frozen=True)
class Memory:
    """What theta holds.

    Attributes:
        members: whose mean is the law.
        floor: of the axis of log shares.
        shares: of the runs, (n, k); zeros where a run has no weight.
    """

    members: list[Member]
    floor: float
    shares: np.ndarray


class MixturePower(Estimator):
    """theta = (c, ln K, gamma, ln a_1 .. ln a_k) of the first member, and a memory.

    In the memory: the number of members and the floor; of every member amplitudes, reference and
    pulls, after its terms (those of the first are where theta begins); the shares of the runs.
    """

    recipe = "posterior mode of curve and amplitudes in turn"
    formula = FORMULA
    python = _PYTHON
    flat = True
    least = 3

    def __init__(self, domains: Sequence[str], own: str | None):
        self.variables = tuple(domains)
        self.own = None if own is None else self.variables.index(own)
        self.terms = (*curve_terms(), *domain_terms("a", domains, "1", log=True))

    # The law

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n): the mean of the members."""

        def one(theta: np.ndarray, shares: np.ndarray) -> np.ndarray:
            known = self._read(theta)
            between = kernels(shares, known.shares, known.floor)
            losses = [member.loss(shares, known.shares, between) for member in known.members]
            return np.mean(losses, axis=0)

        return each(one, theta, shares_of(data, self.variables), ())

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d terms, (..., n, p), the memory held."""

        def one(theta: np.ndarray, shares: np.ndarray) -> np.ndarray:
            known = self._read(theta)
            between = kernels(shares, known.shares, known.floor)
            slopes = known.members[0].slopes(shares, known.shares, between)
            return slopes / len(known.members)

        return each(one, theta, shares_of(data, self.variables), (len(self.terms),))

    # Its recipe

    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """theta with its memory; NaN where no run has weight."""

        def find(searches: list[Search], mean: float, sd: float) -> list[Member]:
            found = [search.member() for search in searches]
            if len(found) > 1:
                return found
            return [searches[0].robust(found[0]).again(found[0])]

        return self._fitted(data, loss, weight, find)

    def again(
        self, theta: np.ndarray, data: Data, loss: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """As `estimate`, from theta (of these runs, other losses or weights) in one round.

        From MANY runs on the amplitudes are those of theta.
        """
        known = self._read(theta)

        def find(searches: list[Search], mean: float, sd: float) -> list[Member]:
            near = [member.scaled(-mean / sd, 1 / sd) for member in known.members]
            if len(near) > 1:
                return [s.again(m) for s, m in zip(searches, near, strict=True)]
            found = searches[0].at_amplitudes(near[0])
            return [searches[0].robust(found).at_amplitudes(found)]

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
        floor = floor_of(shares)
        if sd > 0:
            between = kernels(shares, shares, floor)
            searches = [
                Search(shares, target, heavy, between, curve_prior(len(shares.T), self.own, shift))
                for shift in SHIFTS[:count]
            ]
            members = [member.scaled(mean, sd) for member in find(searches, mean, sd)]
        else:
            members = [self._constant(mean, shift, len(shares)) for shift in SHIFTS[:count]]
        return self._written(members, floor, np.where(drawn[:, None], every, 0.0), drawn)

    def _constant(self, mean: float, shift: float, runs: int) -> Member:
        """The law of losses that are all the same."""
        centre = curve_prior(len(self.variables), self.own, shift).centre
        centre[:2] = mean, NOTHING
        return Member(centre, np.full(AMPLITUDES, NOTHING), 1.0, np.zeros(runs))

    # Its memory

    def _count(self, runs: int) -> int:
        return 1 if runs >= MANY else len(SHIFTS)

    def _length(self, runs: int) -> int:
        """Of theta."""
        domains, count = len(self.variables), self._count(runs)
        return 2 + count * (CURVE + domains + AMPLITUDES + 1 + runs) + runs * domains

    def _written(self, members, floor: float, shares: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """theta of members; their pulls are of the runs drawn."""
        pieces = []
        for member in members:
            pull = np.zeros(len(shares))
            pull[drawn] = member.pull
            pieces += [member.curve, member.amplitudes, [member.reference], pull]
        pieces.insert(1, [len(members), floor])
        return np.concatenate([*pieces, shares.ravel()])

    def _read(self, theta: np.ndarray) -> Memory:
        """What theta holds, (p,)."""
        head, domains = len(self.terms), len(self.variables)
        count, floor = int(theta[head]), theta[head + 1]
        tail = head + AMPLITUDES  # where a member's reference stands
        rest = np.concatenate([theta[:head], theta[head + 2 :]])
        runs = (len(rest) - count * (tail + 1)) // (count + domains)
        blocks = rest[: count * (tail + 1 + runs)].reshape(count, tail + 1 + runs)
        members = [Member(m[:head], m[head:tail], float(m[tail]), m[tail + 1 :]) for m in blocks]
        return Memory(members, float(floor), rest[blocks.size :].reshape(runs, domains))


def make(domains: Sequence[str], own: str | None) -> MixturePower:
    """The law of the loss of one domain (own), or of any other loss (None)."""
    return MixturePower(domains, own)
