"""Chains of Langevin dynamics (SGLD) around trained weights, all of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from isoloss.posterior._heat import batch_heat
from isoloss.posterior._langevin import Langevin
from isoloss.posterior._noise import Noise
from isoloss.posterior._orders import Order, Orders, order_of
from isoloss.posterior._parts import Masks, Part, parts_of
from isoloss.posterior.potential import Potential
from isoloss.posterior.settings import Settings

BLOCK = 64  # steps after which losses are averaged and looked at
DISTANCES = 25  # draws of a chain whose distance is measured, at most
Watch = Callable[[int, Tensor], object]
START_BATCHES = 4  # batches whose losses at the trained weights are computed at once


@dataclass(frozen=True)
class Samples:
    """Losses along chains that start at trained weights.

    Attributes:
        losses: mean loss of each step's batches before the step, nats, float64 (chains, steps); NaN
            from the step on at which a chain failed.
        paired: mean loss of the trained weights over the same items, in the same form.
        init_loss: mean loss of the trained weights over the first batches of the first chain.
        init_loss_se: its standard error as an estimate of the mean over all items.
        distances: Euclidean distance of draws from the trained weights, float64 (chains, draws), of
            at most 25 draws that are evenly spread; NaN where a chain had failed.
        batch_heat: what batches add to the variance of the noise, as a share; see `_heat.py`.
        failed_at: step at which a chain's loss was NaN or infinite, or -1; int64 (chains,).
        settings: of the sampler.
        n_items: items there are.
        n_sampled: weights that were sampled; all others stayed as they were.
    """

    losses: np.ndarray
    paired: np.ndarray
    init_loss: float
    init_loss_se: float
    distances: np.ndarray
    batch_heat: float
    failed_at: np.ndarray
    settings: Settings
    n_items: int
    n_sampled: int


def sample(
    potential: Potential,
    settings: Settings,
    *,
    masks: Masks | None = None,
    noise: Noise | None = None,
    orders: Orders | None = None,
    watch: Watch | None = None,
) -> Samples:
    """Sample the posterior around the trained weights of a potential.

    A chain's values depend on its number and the seed, never on the other chains. A chain whose
    loss is NaN or infinite has failed, and the others go on.

    Args:
        potential: losses and gradients.
        settings: see `Settings`.
        masks: name of a parameter to which of its weights are sampled (booleans, or 0 and 1), or to
            None for all of them; others stay as they are. By default all weights are sampled.
        noise: fills a tensor (chains, P) with standard normals for a step; step -1 is the noise
            before the first step. By default each chain has a generator of its own.
        orders: of the number of a chain, its batches of items (int64), one after the other and
            without end. By default each chain goes through all items in an order of its own,
            another one each epoch, and leaves out what does not fill a batch.
        watch: is called at each draw with its number and the weights (chains, P), which it may
            only read; those of a chain that has failed are worthless.

    Raises:
        IsolossError: a mask does not fit, no weight is to be sampled, or batches end.

    Example:
        >>> from isoloss.posterior.potential import FunctionPotential
        >>> quadratic = FunctionPotential(lambda w: (w**2).sum(1) / 2, torch.zeros(10))
        >>> samples = sample(quadratic, Settings(lr=1e-3, n_beta=100, num_draws=2000))
        >>> samples.losses.shape, round(100 * float(samples.losses.mean()))  # the LLC is 10/2
        ((4, 2000), 5)
    """
    parts = parts_of(potential.names, masks)
    first, *batches = [
        order_of(chain, potential.n_items, settings, orders)
        for chain in (0, *range(settings.num_chains))
    ]
    with torch.no_grad():
        langevin = Langevin(potential.start, settings, parts, noise)
        chains = _Chains(potential, langevin, settings, watch, parts)
        start = _StartLosses(potential, settings)
        chains.run(batches, start)
        init_loss, init_loss_se = _init_loss(start, first, settings)
    return Samples(
        losses=chains.losses,
        paired=chains.paired,
        init_loss=init_loss,
        init_loss_se=init_loss_se,
        distances=chains.distances,
        batch_heat=chains.batch_heat,
        failed_at=chains.failed_at,
        settings=settings,
        n_items=potential.n_items,
        n_sampled=sum(part.n_sampled for part in parts),
    )


def _items_of(batches: Sequence[Order], steps: int, accumulated: int) -> np.ndarray:
    """The items of the next steps, int64 (steps, accumulated, chains, batch)."""
    taken = [order.take(steps * accumulated) for order in batches]
    return np.stack(taken, axis=1).reshape(steps, accumulated, len(batches), -1)


class _Chains:
    """The chains of a call, and what is kept of them.

    Args:
        potential: losses and gradients.
        langevin: the weights.
        settings: of the sampler.
        watch: see `sample`.
        parts: the weights that are sampled.
    """

    def __init__(
        self,
        potential: Potential,
        langevin: Langevin,
        settings: Settings,
        watch: Watch | None,
        parts: Sequence[Part],
    ) -> None:
        self._potential, self._langevin, self._settings = potential, langevin, settings
        self._watch, self._draws, self._parts = watch, 0, parts
        self.batch_heat = np.nan
        shape = (settings.num_chains, settings.num_steps)
        self.losses = np.full(shape, np.nan)
        self.paired = np.full(shape, np.nan)
        self.failed_at = np.full(settings.num_chains, -1)
        self._column = _measured(settings)
        self.distances = np.full((settings.num_chains, len(self._column)), np.nan)
        self._further_batches = settings.gradient_accumulation_steps - 1
        self._further = torch.empty_like(langevin.gradient)
        self._difference = torch.zeros_like(potential.start)

    def run(self, batches: Sequence[Order], start: _StartLosses) -> None:
        """Take all steps, block by block, unless all chains fail; `batches` has a value a chain."""
        n_steps = self.losses.shape[1]
        for at in range(0, n_steps, BLOCK):
            steps = range(at, min(at + BLOCK, n_steps))
            self._take(steps, _items_of(batches, len(steps), self._further_batches + 1), start)
            if (self.failed_at >= 0).all():
                return

    def _take(self, steps: range, items: np.ndarray, start: _StartLosses) -> None:
        """Take some steps with their items (steps, accumulated, chains, batch)."""
        losses = torch.empty(items.shape, dtype=torch.float32)
        batches = zip(
            torch.from_numpy(items).flatten(0, 1).unbind(),
            losses.flatten(0, 1).unbind(),
            strict=True,
        )
        for step in steps:
            self._learn(batches)
            if step == 0:
                gradient = self._langevin.gradient
                self.batch_heat = batch_heat(gradient, self._parts, self._settings)
            self._langevin.step(step)
            if step in self._column:
                self._measure(self._column[step])
            if self._watch is not None and step in self._settings.draws:
                self._watch(self._draws, self._langevin.weights)
                self._draws += 1
        self.losses[:, steps] = _means(losses.numpy())
        self.paired[:, steps] = _means(start.of(items))
        self._look(steps)

    def _learn(self, batches: Iterator[tuple[Tensor, Tensor]]) -> None:
        """Write the losses (chains, batch) of a step's batches, and sum their gradients."""
        langevin, learn = self._langevin, self._potential.learn
        items, losses = next(batches)
        losses.copy_(learn(langevin.weights, langevin.gradient, items))
        for items, losses in islice(batches, self._further_batches):
            losses.copy_(learn(langevin.weights, self._further, items))
            langevin.gradient.add_(self._further)

    def _measure(self, column: int) -> None:
        for chain, weights in enumerate(self._langevin.weights):
            torch.sub(weights, self._potential.start, out=self._difference)
            self.distances[chain, column] = float(torch.linalg.vector_norm(self._difference))

    def _look(self, steps: range) -> None:
        """Note which chains failed in these steps, and keep nothing of what they did after."""
        columns = np.array(list(self._column), dtype=np.int64)
        for chain, losses in enumerate(self.losses[:, steps]):
            if self.failed_at[chain] < 0 and not np.isfinite(losses).all():
                self.failed_at[chain] = steps[int(np.argmin(np.isfinite(losses)))]
            if (failed := self.failed_at[chain]) >= 0:
                self.losses[chain, failed:] = np.nan
                self.paired[chain, failed:] = np.nan
                self.distances[chain, columns >= failed] = np.nan


def _measured(settings: Settings) -> dict[int, int]:
    """Steps after which the distance is measured, to their columns in the result."""
    every = -(-settings.num_draws // DISTANCES)
    return {step: column for column, step in enumerate(settings.draws[::-every][::-1])}


def _means(losses: np.ndarray) -> np.ndarray:
    """The mean of each step, float64 (chains, steps), of losses of items."""
    with np.errstate(invalid="ignore", over="ignore"):  # of a chain that failed
        return losses.mean(axis=(1, 3), dtype=np.float64).T


class _StartLosses:
    """The losses of items at the trained weights; each is computed once, when it is asked for.

    Args:
        potential: losses.
        settings: of the sampler.

    Attributes:
        known: whether the loss of each item has been computed.
    """

    def __init__(self, potential: Potential, settings: Settings) -> None:
        self._potential = potential
        self._start = potential.start.repeat(2, 1)  # potentials are at home with several
        self._at_once = START_BATCHES * min(settings.batch_size, potential.n_items)
        self._losses = np.zeros(potential.n_items, dtype=np.float32)
        self.known = np.zeros(potential.n_items, dtype=bool)

    def of(self, items: np.ndarray) -> np.ndarray:
        """Losses in the shape of `items`, float32."""
        asked = np.zeros_like(self.known)
        asked[items] = True
        new = np.flatnonzero(asked & ~self.known)
        for at in range(0, len(new), self._at_once):
            part = new[at : at + self._at_once]
            filled = np.resize(part, self._at_once)  # always as many: sums take the same order
            losses = self._potential.losses(self._start, torch.from_numpy(filled).view(2, -1))
            self._losses[part] = losses.reshape(-1)[: len(part)].numpy()
        self.known |= asked
        return self._losses[items]


def _init_loss(start: _StartLosses, order: Order, settings: Settings) -> tuple[float, float]:
    """Mean loss of the trained weights over the first batches of an order, and its error."""
    items = order.take(settings.num_init_loss_batches * settings.gradient_accumulation_steps)
    mean = float(start.of(items).mean(dtype=np.float64))
    sample = start.of(np.unique(items)).astype(np.float64)
    unseen = 1 - len(sample) / len(start.known)
    if unseen == 0:
        return mean, 0.0
    deviation = sample.std(ddof=1) if len(sample) > 1 else np.nan
    return mean, float(deviation * np.sqrt(unseen / len(sample)))
