"""The table of a search in its own scale: groups side by side, sizes divided by a middle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isoloss.discovery.roles import Columns


@dataclass(frozen=True)
class Scale:
    """What variables are divided by after a shift is taken off; 1 and 0 leave them as they are."""

    divisor: Mapping[str, float]
    shift: Mapping[str, float]

    def apply(self, variables: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Variables in the scale of the table."""
        return {
            name: (np.asarray(x, dtype=float) - self.shift[name]) / self.divisor[name]
            for name, x in variables.items()
            if name in self.divisor
        }


def scale_of(variables: Mapping[str, np.ndarray], columns: Columns) -> Scale:
    """Sizes by their geometric middle (counts stay), the others by mean and SD.

    Distinct data have the scale of all data: their ratio means something.
    """
    divisor, shift = {}, {}
    for name, x in variables.items():
        shift[name] = 0.0 if name in columns.sizes else float(np.mean(x))
        if name in columns.counts:
            divisor[name] = 1.0
        elif name in columns.sizes:
            divisor[name] = float(np.exp(np.mean(np.log(x))))
        else:
            divisor[name] = float(np.std(x)) or 1.0
    if columns.unique:
        divisor[columns.unique] = divisor[columns.data]
    return Scale(divisor, shift)


@dataclass(frozen=True)
class Blocks:
    """Runs by group, (g, n): as many columns as the largest group has; the rest weighs nothing.

    Attributes:
        data: variables in the table's scale, (g, n) each.
        response: (g, n).
        real: where there is a run, bool (g, n).
        rows: positions in the table, (g, n); -1 where there is none.
    """

    data: dict[str, np.ndarray]
    response: np.ndarray
    real: np.ndarray
    rows: np.ndarray


def blocks_of(data: Mapping[str, np.ndarray], response: np.ndarray, group: np.ndarray) -> Blocks:
    """Runs side by side by group.

    Args:
        data: variables in the table's scale, (n,).
        response: (n,).
        group: number of the group of every run, from 0.
    """
    members = [np.flatnonzero(group == g) for g in range(group.max() + 1)]
    width = max(map(len, members))
    rows = np.full((len(members), width), -1)
    for g, which in enumerate(members):
        rows[g, : len(which)] = which
    real = rows >= 0
    filled = np.where(real, rows, rows[:, :1])
    return Blocks({k: x[filled] for k, x in data.items()}, response[filled], real, rows)
