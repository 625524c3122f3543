"""The noise of chains: standard normals, for each chain a stream of its own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from isoloss.core.seeds import generator

Noise = Callable[[int, Tensor], object]

AT_ONCE = 1 << 15  # normal draws of a chain that are made in one call, about
STEPS = 64  # for which they are made, at most


class Normals:
    """Normal draws for the steps of several chains.

    A chain's draws depend on the seed and the chain's number, not on how many chains there are.

    Args:
        shape: chains, and draws that each chain needs for a step.
        seed: of all streams.
        std: standard deviation of the draws.
        purpose: streams for other purposes are independent.
    """

    def __init__(
        self, shape: tuple[int, int], seed: int, std: float, purpose: str = "noise of a step"
    ) -> None:
        chains, length = shape
        steps = max(1, min(STEPS, AT_ONCE // length))
        self._std = std
        self._streams = [_stream(seed, purpose, chain) for chain in range(chains)]
        self._block = torch.empty(chains, steps, length)
        self._rows = self._block.unbind(0)
        self._steps = self._block.unbind(1)
        self._at = steps

    def next(self, step: int) -> Tensor:
        """Draws for a step (chains, length); the caller may write into them."""
        if self._at == len(self._steps):
            for row, stream in zip(self._rows, self._streams, strict=True):
                row.normal_(0.0, self._std, generator=stream)
            self._at = 0
        self._at += 1
        return self._steps[self._at - 1]


class GivenNormals:
    """Normal draws that a caller gives, in the form of `Normals`.

    Args:
        noise: fills a tensor of this shape with standard normals for a step.
        shape: chains, and draws that each chain needs for a step.
        std: what they are multiplied by.
    """

    def __init__(self, noise: Noise, shape: tuple[int, int], std: float) -> None:
        self._noise = noise
        self._std = std
        self._draws = torch.empty(shape)

    def next(self, step: int) -> Tensor:
        """Draws for a step (chains, length); the caller may write into them."""
        self._noise(step, self._draws)
        return self._draws.mul_(self._std)


def _stream(seed: int, purpose: str, chain: int) -> torch.Generator:
    number = int(generator(seed, purpose, str(chain)).integers(1 << 63))
    return torch.Generator().manual_seed(number)
