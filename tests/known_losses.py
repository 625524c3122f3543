"""Population losses whose learning coefficients are known, for many sets of weights at once.

Each is a potential of the sampler without data: one item, whose loss is that of the population.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


class KnownLoss:
    """A population loss: `loss_and_gradient` of weights (c, P), and the weights to start from."""

    n_items = 1

    def __init__(self, start: Tensor, names: dict[str, slice] | None = None):
        self.start = start.float()
        self.names = names or {"weights": slice(0, len(start))}

    def loss_and_gradient(self, weights: Tensor, gradient: Tensor | None) -> Tensor:
        """Losses (c,) of weights (c, P); their gradients are written into `gradient`, if given."""
        raise NotImplementedError

    def learn(self, weights: Tensor, gradient: Tensor, items: Tensor) -> Tensor:
        return self.loss_and_gradient(weights, gradient)[:, None].expand(items.shape)

    def losses(self, weights: Tensor, items: Tensor) -> Tensor:
        return self.loss_and_gradient(weights, None)[:, None].expand(items.shape)


class Monomial(KnownLoss):
    """The loss w_1^a_1 w_2^a_2 ... of even powers, from 0."""

    def __init__(self, powers: Sequence[int]):
        super().__init__(torch.zeros(len(powers)))
        self.powers = torch.tensor(powers)

    def loss_and_gradient(self, weights, gradient):
        factors = weights**self.powers
        if gradient is not None:
            slopes = self.powers * weights ** (self.powers - 1)
            for k in range(len(self.powers)):
                others = [j for j in range(len(self.powers)) if j != k]
                gradient[:, k] = slopes[:, k] * factors[:, others].prod(1)
        return factors.prod(1)


class Quadratic(KnownLoss):
    """The loss sum_i h_i (w_i - s_i)^2 / 2, from s."""

    def __init__(self, curvatures: Sequence[float], start: Sequence[float] | float = 0.0):
        h = torch.tensor(curvatures, dtype=torch.float32)
        super().__init__(torch.as_tensor(start, dtype=torch.float32).expand(h.shape).clone())
        self.h = h

    def loss_and_gradient(self, weights, gradient):
        away = weights - self.start
        pull = self.h * away
        if gradient is not None:
            gradient.copy_(pull)
        return (pull * away).sum(1) / 2


class DeepLinear(KnownLoss):
    """Half the expected squared error of W_L ... W_1 x, where x has unit covariance.

    The start is a true set of weights that is as singular as there is: each matrix has ones on
    the first `rank` places of its diagonal, and zeros elsewhere.
    """

    def __init__(self, widths: Sequence[int], rank: int):
        self.shapes = list(zip(widths[1:], widths[:-1], strict=True))
        ones = (torch.arange(max(widths)) < rank).float().diag()
        matrices = [ones[:rows, :columns] for rows, columns in self.shapes]
        ends = np.cumsum([0, *(rows * columns for rows, columns in self.shapes)])
        parts = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        names = {f"layers.{k}.weight": part for k, part in enumerate(parts)}
        super().__init__(torch.cat([matrix.flatten() for matrix in matrices]), names)
        self.truth = ones[: widths[-1], : widths[0]]

    def matrices(self, flat: Tensor) -> list[Tensor]:
        """The layers (c, rows, columns) of weights (c, P): views."""
        parts = zip(self.names.values(), self.shapes, strict=True)
        return [flat[:, part].unflatten(1, shape) for part, shape in parts]

    def loss_and_gradient(self, weights, gradient):
        layers = self.matrices(weights)
        below = [layers[0]]  # W_k ... W_1
        for layer in layers[1:]:
            below.append(layer @ below[-1])
        error = below[-1] - self.truth
        losses = (error * error).sum((1, 2)) / 2
        if gradient is not None:
            slopes = self.matrices(gradient)
            for k in range(len(layers) - 1, 0, -1):
                slopes[k].copy_(error @ below[k - 1].mT)
                error = layers[k].mT @ error
            slopes[0].copy_(error)
        return losses


class Tanh(KnownLoss):
    """Half the expected square of sum_k a_k tanh(b_k x), truth 0, from 0.

    x has the 32 values and probabilities of Gauss and Hermite's rule for the standard normal.
    Weights: a_1 to a_p, then b_1 to b_p.
    """

    def __init__(self, hidden: int):
        super().__init__(torch.zeros(2 * hidden))
        nodes, chances = np.polynomial.hermite_e.hermegauss(32)
        half = nodes > 0  # the square is the same at x and -x
        self.x = torch.tensor(nodes[half], dtype=torch.float32)
        self.chances = torch.tensor(2 * chances[half] / math.sqrt(2 * math.pi), dtype=torch.float32)

    def loss_and_gradient(self, weights, gradient):
        a, b = weights.chunk(2, dim=1)
        units = torch.tanh(b[:, :, None] * self.x)  # (c, p, nodes)
        outputs = (a[:, None] @ units)[:, 0]
        weighted = outputs * self.chances
        if gradient is not None:
            to_a, to_b = gradient.chunk(2, dim=1)
            to_a.copy_((units @ weighted[:, :, None])[:, :, 0])
            bent = (1 - units * units) @ (weighted * self.x)[:, :, None]
            to_b.copy_(a * bent[:, :, 0])
        return (outputs * weighted).sum(1) / 2


class NoisyQuadratic(KnownLoss):
    """The loss sum_i h_i (w_i - x_i)^2 / 2 of items x, from their mean."""

    def __init__(self, curvatures: Sequence[float], items: Tensor):
        super().__init__(items.mean(0))
        self.h, self.items, self.n_items = torch.tensor(curvatures), items, len(items)

    def learn(self, weights, gradient, items):
        away = weights[:, None] - self.items[items]  # (c, b, P)
        gradient.copy_(self.h * away.mean(1))
        return (self.h * away * away).sum(2) / 2

    def losses(self, weights, items):
        return self.learn(weights, torch.empty_like(weights), items)


def true_llc_of_deep_linear(
    widths: Sequence[int], rank: int, n_beta: float, localization: float
) -> float:
    """The expected LLC at the start of `DeepLinear`, by Gibbs sampling: it has no step size.

    Given the other layers, each layer has a normal law under the local posterior, from which it is
    drawn. 64 chains of 3000 rounds: the standard error is about a thousandth.
    """
    rng = np.random.default_rng(0)
    n_layers, eye = len(widths) - 1, np.eye(max(widths))
    ones = eye * (np.arange(max(widths)) < rank)
    centers = [ones[: widths[k + 1], : widths[k]] for k in range(n_layers)]
    truth = ones[: widths[-1], : widths[0]]
    layers = [np.tile(center, (64, 1, 1)) for center in centers]
    losses = []
    for _ in range(3000):
        for k in range(n_layers):
            left = product_of(layers[k + 1 :], eye[: widths[k + 1], : widths[k + 1]])
            right = product_of(layers[:k], eye[: widths[k], : widths[k]])
            p, U = np.linalg.eigh(left.mT @ left)
            q, V = np.linalg.eigh(right @ right.mT)
            precision = n_beta * np.maximum(p, 0)[:, :, None] * np.maximum(q, 0)[:, None]
            precision += localization
            pull = n_beta * left.mT @ truth @ right.mT + localization * centers[k]
            mean = U.mT @ pull @ V / precision
            draw = mean + rng.standard_normal(mean.shape) / np.sqrt(precision)
            layers[k] = U @ draw @ V.mT
        losses.append(((product_of(layers, eye) - truth) ** 2).sum((1, 2)).mean() / 2)
    return n_beta * float(np.mean(losses[500:]))


def product_of(layers: list[np.ndarray], empty: np.ndarray) -> np.ndarray:
    """The product of layers (c, rows, columns), the last one leftmost; `empty` of none."""
    product = layers[0] if layers else empty[None]
    for layer in layers[1:]:
        product = layer @ product
    return product


def true_llc_of_tanh(hidden: int, n_beta: float, localization: float) -> float:
    """The expected LLC at the start of `Tanh`, without a step size.

    The a_k have a normal law given the b_k and are integrated out; the b_k are drawn by Metropolis
    steps: one b anew, or all of them scaled, or all moved. The standard error is about 0.001.
    """
    rng = np.random.default_rng(0)
    loss, chains, rounds = Tanh(hidden), 2000, 2000
    rows = np.arange(chains)
    b = rng.standard_normal((chains, hidden)) / math.sqrt(localization)
    density, llc = _without_outputs(loss, b, n_beta, localization)
    total = 0.0
    for turn in range(rounds):
        moved, gain = b.copy(), 0.0  # gain: logarithm of the step's density backwards over forwards
        if turn % 3 == 0:
            k = rng.integers(hidden, size=chains)
            moved[rows, k] = rng.standard_normal(chains) / math.sqrt(localization)
            gain = localization / 2 * (moved**2 - b**2).sum(1)
        elif turn % 3 == 1:
            factor = rng.standard_normal(chains)
            moved, gain = b * np.exp(factor)[:, None], hidden * factor
        else:
            size = np.exp(rng.uniform(math.log(1e-4), 0, chains)) / math.sqrt(localization)
            moved += size[:, None] * rng.standard_normal(b.shape)
        other = _without_outputs(loss, moved, n_beta, localization)
        accept = np.log(rng.random(chains)) < other[0] - density + gain
        b[accept] = moved[accept]
        density, llc = np.where(accept, other, (density, llc))
        total += llc.mean() if turn >= rounds // 5 else 0.0
    return float(total / (rounds - rounds // 5))


def _without_outputs(
    loss: Tanh, b: np.ndarray, n_beta: float, localization: float
) -> tuple[np.ndarray, np.ndarray]:
    """Log density of b (c, p) and expected n_beta L given b, the a_k integrated out: (c,) each."""
    units = np.tanh(b[:, :, None] * loss.x.numpy())
    curvature = n_beta * np.einsum("cpn,cqn,n->cpq", units, units, loss.chances.numpy())
    h = np.maximum(np.linalg.eigvalsh(curvature), 0)
    density = -np.log(h + localization).sum(1) / 2 - localization / 2 * (b * b).sum(1)
    return density, (h / (h + localization)).sum(1) / 2
