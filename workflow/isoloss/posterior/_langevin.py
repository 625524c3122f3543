"""The update of weights in Langevin dynamics, in place and for all chains at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from isoloss.posterior._noise import GivenNormals, Noise, Normals
from isoloss.posterior._parts import Part
from isoloss.posterior.settings import Settings

_ABOVE_ZERO = 1e-30  # added to v: roots of 0, and what is below 1e-38, take 25 times as long


class Langevin:
    """The weights of several chains, and the step that moves them.

    A step adds `sqrt(lr) noise - lr/2 (n_beta g + decay (w - center))` with one addition, so that a
    pull that is less than the last bit of a weight still acts.

    Args:
        start: the trained weights (P,).
        settings: of the sampler.
        parts: the weights that are sampled.
        noise: see `sampler.sample`.

    Attributes:
        weights: (chains, P).
        gradient: of the mean loss over the batches of a step, summed over
            `gradient_accumulation_steps` batches (chains, P); to be written before each step.
    """

    def __init__(
        self, start: Tensor, settings: Settings, parts: Sequence[Part], noise: Noise | None
    ) -> None:
        self._seed = settings.init_seed
        self.weights = start.repeat(settings.num_chains, 1)
        self.gradient = torch.zeros_like(self.weights)
        rule = {"sgmcmc_sgld": _Plain, "rmsprop_sgld": _Scaled}[settings.sampling_method]
        self._moves = [rule(self.weights, self.gradient, start, part, settings) for part in parts]
        spread = settings.lr**0.5 * settings.noise_level
        self._noise = self._source(parts, noise, spread, "noise of a step")
        if settings.init_noise:
            first = self._source(parts, noise, settings.init_noise, "noise before the first step")
            for move, draws in zip(self._moves, first.next(-1), strict=True):
                move.add(draws)

    def step(self, step: int) -> None:
        """Move the weights of all chains by their gradient and noise."""
        for move, draws in zip(self._moves, self._noise.next(step), strict=True):
            move(draws)

    def _source(
        self, parts: Sequence[Part], noise: Noise | None, std: float, purpose: str
    ) -> Normals | GivenNormals:
        """Where draws for the parts come from; those that are given are for all weights."""
        if noise is not None:
            of_weights = [part.of_weights for part in parts]
            return GivenNormals(noise, self.weights.shape, of_weights, std)
        ends = list(itertools.accumulate(part.length for part in parts))
        packed = [slice(end - part.length, end) for part, end in zip(parts, ends, strict=True)]
        return Normals(len(self.weights), packed, std, self._seed, purpose)


class _Plain:
    """The step of a part of the weights."""

    def __init__(
        self, weights: Tensor, gradient: Tensor, start: Tensor, part: Part, settings: Settings
    ) -> None:
        at = part.of_weights
        self._weights, self._gradient, center = weights[:, at], gradient[:, at], start[at]
        self._mask = part.mask
        half = settings.lr / 2
        self._rate = half * settings.n_beta / settings.gradient_accumulation_steps
        self._decay = half * (settings.localization + settings.llc_weight_decay)
        self._pull = half * settings.localization * center if settings.localization else None
        box = settings.bounding_box_size
        self._box = None if box is None else (center - box, center + box)

    def __call__(self, noise: Tensor) -> None:
        """Move the weights; `noise` (chains, length) is overwritten."""
        self.add(self._change(noise))
        if self._box:
            torch.clamp(self._weights, *self._box, out=self._weights)

    def add(self, change: Tensor) -> None:
        """Add a change (chains, length) to the weights that are sampled; it may be overwritten."""
        if self._mask is not None:
            change.mul_(self._mask)
        self._weights.add_(change)

    def _change(self, noise: Tensor) -> Tensor:
        """The change of all weights, in the place of `noise`."""
        noise.sub_(self._gradient, alpha=self._rate)
        if self._decay:
            noise.sub_(self._weights, alpha=self._decay)
        if self._pull is not None:
            noise.add_(self._pull)
        return noise


class _Scaled(_Plain):
    """The step of RMSprop-SGLD: the force is scaled by G = 1 / (sqrt(v) + eps), noise by sqrt(G).

    v is a running mean of squared gradients, which begins at 0 (Li et al. 2016, arXiv:1512.07666,
    without the correction for the change of G).
    """

    def __init__(
        self, weights: Tensor, gradient: Tensor, start: Tensor, part: Part, settings: Settings
    ) -> None:
        super().__init__(weights, gradient, start, part, settings)
        self._keep, self._eps = settings.rmsprop_alpha, settings.rmsprop_eps
        self._share = (1 - settings.rmsprop_alpha) / settings.gradient_accumulation_steps**2
        self._squares = torch.zeros_like(self._weights)
        self._inverse = torch.zeros_like(self._weights)  # 1/G
        self._root = torch.zeros_like(self._weights)  # its square root

    def _change(self, noise: Tensor) -> Tensor:
        gradient = self._gradient
        self._squares.mul_(self._keep).add_(_ABOVE_ZERO)
        self._squares.addcmul_(gradient, gradient, value=self._share)
        torch.sqrt(self._squares, out=self._inverse).add_(self._eps)
        torch.sqrt(self._inverse, out=self._root)
        return super()._change(noise.mul_(self._root)).div_(self._inverse)
