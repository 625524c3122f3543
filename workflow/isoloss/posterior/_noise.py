"""The noise of chains: normal draws, for each chain a stream of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from isoloss.core.seeds import generator

Noise = Callable[[int, Tensor], object]

AT_ONCE = 1 << 15  # draws of a chain that are made in one call, about: they stay in the cache
PIECE = 1 << 14  # draws whose bits are made at once; even
STEPS = 64  # for which they are made, at most
_TO_UNIT = 2.0**-31 * (1 - 2.0**-24)  # from whole numbers of 32 bits to between -1 and 1
_TO_NORMAL = 2**0.5


class Normals:
    """Normal draws for the steps of several chains.

    A chain's draws depend on the seed and the chain's number, not on how many chains there are. A
    draw is the inverse of the normal distribution function at a whole number of 32 bits; it is
    made faster than by `torch.Tensor.normal_`, and is below 5.5 in size.

    Args:
        chains: how many chains there are.
        parts: parts of the draws of a step, each as a part of the row of a chain.
        std: standard deviation of the draws.
        seed: of all streams.
        purpose: streams for another purpose are other ones.
    """

    def __init__(
        self, chains: int, parts: Sequence[slice], std: float, seed: int, purpose: str
    ) -> None:
        length = max(part.stop for part in parts)
        steps = max(1, min(STEPS, AT_ONCE // length))
        self._factor = std * _TO_NORMAL
        self._streams = [_bits(seed, purpose, chain) for chain in range(chains)]
        block = torch.empty(chains, steps, length, dtype=torch.float32)
        self._rows = [row.view(-1) for row in block]
        self._steps = [[draws[:, part] for part in parts] for draws in block.unbind(1)]
        self._at = steps

    def next(self, step: int) -> Sequence[Tensor]:
        """Draws for the next step (chains, length of the part), part by part.

        They may be overwritten.
        """
        if self._at == len(self._steps):
            for row, stream in zip(self._rows, self._streams, strict=True):
                _fill(row, stream, self._factor)
            self._at = 0
        self._at += 1
        return self._steps[self._at - 1]


def _fill(row: Tensor, stream: np.random.SFC64, factor: float) -> None:
    """Fill a row with normal draws; bits come in pieces, for which no new memory is mapped."""
    values = row.numpy()
    for at in range(0, len(values), PIECE):
        piece = values[at : at + PIECE]
        piece[:] = stream.random_raw((len(piece) + 1) // 2).view(np.int32)[: len(piece)]
    row.mul_(_TO_UNIT).erfinv_().mul_(factor)


class GivenNormals:
    """Normal draws that a caller gives, in the form of `Normals`.

    Args:
        noise: fills a tensor of this shape with standard normals for a step.
        shape: chains, and draws of a chain for a step.
        parts: parts of the draws of a step.
        std: what they are multiplied by.
    """

    def __init__(
        self, noise: Noise, shape: tuple[int, int], parts: Sequence[slice], std: float
    ) -> None:
        self._noise = noise
        self._std = std
        self._draws = torch.empty(shape, dtype=torch.float32)
        self._parts = [self._draws[:, part] for part in parts]

    def next(self, step: int) -> Sequence[Tensor]:
        """Draws for a step (chains, length of the part), part by part."""
        self._noise(step, self._draws)
        self._draws.mul_(self._std)
        return self._parts


def _bits(seed: int, purpose: str, chain: int) -> np.random.SFC64:
    """Random bits of a chain."""
    key = generator(seed, purpose, str(chain)).integers(1 << 32, size=4)
    return np.random.SFC64(key)
