"""What the noise of batches adds to the noise of the sampler."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from isoloss.posterior._parts import Part
from isoloss.posterior.settings import Settings


def batch_heat(gradient: Tensor, parts: Sequence[Part], settings: Settings) -> float:
    """The variance that batches add to a step's noise, over the variance of that noise.

    A step moves a weight by lr/2 n_beta g, g the gradient of a batch, beside noise of variance lr.
    So batches add lr n_beta² var(g) / 4 of it, which raises the LLC. Gradients vary most in steep
    directions, which are those that the LLC counts: the mean over weights gives each the weight
    var(g). It tells the order of magnitude: directions are not weights, and chains move on.

    Args:
        gradient: of all chains at the same weights, on batches of their own: what a step sums over
            `gradient_accumulation_steps` batches, (chains, P).
        parts: the weights that are sampled.
        settings: of the sampler.

    Returns:
        The share; NaN where it is not known: for a single chain, chains that share batches or do
        not start at the same weights, and RMSprop-SGLD, which scales its steps.
    """
    chains = len(gradient)
    shared = settings.match_batches or not settings.shuffle or bool(settings.init_noise)
    if chains < 2 or shared or settings.sampling_method == "rmsprop_sgld":
        return float("nan")
    total = squares = 0.0
    for part in parts:
        variance = gradient[:, part.of_weights].var(dim=0).double()
        if part.mask is not None:
            variance.mul_(part.mask)
        total += float(variance.sum())
        squares += float(variance.square().sum())
    # of c normal values the mean square of the estimated variance is 1 + 2 / (c - 1) times its own
    mean = squares / total / (1 + 2 / (chains - 1)) if total > 0 else total
    noise = settings.noise_level**2 * settings.gradient_accumulation_steps**2
    return settings.lr * settings.n_beta**2 / 4 * mean / noise if noise else float("nan")
