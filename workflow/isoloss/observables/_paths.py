"""Expectations over all paths of a layered network, in time linear in its edges.

Layers are matrices (out, in), as linear layers store them; a path starts at a unit of one layer of
units, takes one edge a matrix and ends at an output. A distribution over the paths of a unit whose
probabilities are products of a weight an edge is a Markov chain: `chain` turns weights into its
transition probabilities, and the mean of a function that is a product over edges is then one sweep
of matrix products from the outputs back, which gives it for every unit of every layer.

1/c and ln(1 + q/f) of a path's cost c and probability q are not products over edges, but integrals
of such products: of exp(-t c) over t, and of q^s over s. The integrands are analytic in a strip and
fall exponentially, so that the trapezoidal rule converges exponentially (Trefethen and Weideman
2014, SIAM Review 56:385); its error is known before anything is computed, whatever the network.
Nothing overflows: what is swept lies between 0 and 1.
"""

from __future__ import annotations

import math

import numpy as np

ABSENT = 1e-9  # an edge of this probability or less does not exist
# of the two trapezoidal rules; the error that they leave is shown where they are used
BLOCK = 2**14  # numbers that a small layer's nodes have together: they stay in the cache
INVERSE_STEP, FIRST_TIME, LAST_TIME = 0.375, 1e-5, 25.0
LOGARITHM_STEP, LOGARITHM_LINE, LOGARITHM_NODES = 0.0875, 0.38, 104


def log_probabilities(weights: np.ndarray) -> np.ndarray:
    """Return ln p of every edge, p the softmax of |w| over the edges that leave a unit.

    Args:
        weights: finite, (out, in), float64.

    Returns:
        (out, in); -inf where p is 1e-9 or less: there is no such edge. A unit keeps its most
        probable edge, for that has 1/out at least.
    """
    size = np.abs(weights)
    odds = np.exp(size - size.max(axis=0))
    p = odds / odds.sum(axis=0)
    return np.log(p, out=np.full_like(p, -np.inf), where=p > ABSENT)


def chain(log_weights: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The distribution over paths that is proportional to the product of their edges' weights.

    Args:
        log_weights: (out, in) a layer, -inf for an absent edge; every unit has an edge.

    Returns:
        The logarithms of the transition probabilities (out, in) a layer; and for the units (in,)
        below each layer the logarithm of the sum over their paths of the product of weights.
    """
    above = np.zeros(len(log_weights[-1]))
    transitions, totals = [], []
    for layer in reversed(log_weights):
        onward = layer + above[:, None]
        highest = onward.max(axis=0)
        above = highest + np.log(np.exp(onward - highest).sum(axis=0))
        transitions.append(onward - above)
        totals.append(above)
    return transitions[::-1], totals[::-1]


def mean_inverse_cost(transitions: list[np.ndarray], costs: list[np.ndarray]) -> list[np.ndarray]:
    """The mean of 1/c over paths, c the sum of their edges' costs.

    1/c is the integral of exp(u) exp(-c exp(u)) over all u. With steps h = 0.375 the rule is off by
    2 |Γ(1 + 2πi/h)| = 8e-11 of 1/c for every c. Nodes above t = exp(u) = 25 / (lowest c) hold
    2e-11 of it. Those below t0 = 1e-5 / (highest c) are a geometric series if exp(-t c) is taken
    for 1 there, which costs h (c t0)^2 / (exp(2h) - 1), 4e-11 or less.

    Args:
        transitions: logarithms of the chain's probabilities, (out, in) a layer.
        costs: of the edges, (out, in) a layer, positive; what absent edges have is not read.

    Returns:
        For the units (in,) below each layer the mean, to a relative 1e-9.
    """
    edges = [layer > -np.inf for layer in transitions]
    costs = [np.where(there, cost, 0.0) for there, cost in zip(edges, costs, strict=True)]
    lowest, highest = costs[-1][edges[-1]].min(), sum(layer.max() for layer in costs)
    first, step = FIRST_TIME / highest, INVERSE_STEP
    times = first * np.exp(step * np.arange(math.log(LAST_TIME / lowest / first) / step + 1))
    above = np.ones((len(times), len(transitions[-1])))
    means = []
    for transition, cost in zip(reversed(transitions), reversed(costs), strict=True):
        below = np.empty((len(times), transition.shape[1]))
        block = max(1, BLOCK // transition.size)
        for start in range(0, len(times), block):
            some = slice(start, start + block)
            factors = np.exp(transition - times[some, None, None] * cost)
            np.matmul(above[some, None], factors, out=below[some, None])
        above = below
        means.append(step * (times @ above) + first * step / math.expm1(step))
    return means[::-1]


def mean_log_ratio(transitions: list[np.ndarray], scale: float) -> list[np.ndarray]:
    """The mean over paths of ln(1 + q/scale), q the path's own probability.

    ln(1 + x) is the integral of x^s π / (s sin πs) / 2πi along a line Re s = σ between 0 and 1.
    Steps h along it add ln(1 + x exp(2πk/h)) exp(-2πσk/h) for every whole k but 0: with h = 0.0875
    and σ = 0.38 that is below 2e-10 for k = 1 and k = -1 up to x = 1e9, and negligible for
    the others. Nodes beyond Im s = 9 hold 1e-10.

    Args:
        transitions: logarithms of the chain's probabilities, (out, in) a layer.
        scale: 1e-9 or more.

    Returns:
        For the units (in,) below each layer the mean, to 1e-9.
    """
    nodes = LOGARITHM_LINE + 1j * LOGARITHM_STEP * np.arange(LOGARITHM_NODES)
    kernel = LOGARITHM_STEP / (nodes * np.sin(np.pi * nodes)) * np.exp(-nodes * math.log(scale))
    kernel[0] /= 2
    above = np.ones((len(nodes), len(transitions[-1])), complex)
    means = []
    for transition in reversed(transitions):
        power = np.exp((1 + LOGARITHM_LINE) * transition).astype(complex)
        turn = np.exp(1j * LOGARITHM_STEP * np.where(transition > -np.inf, transition, 0.0))
        below = np.empty((len(nodes), transition.shape[1]), complex)
        for row, out in zip(above, below, strict=True):
            np.matmul(row, power, out=out)
            np.multiply(power, turn, out=power)
        above = below
        means.append((kernel @ above).real)
    return means[::-1]
