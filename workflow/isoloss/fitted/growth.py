"""How the best division of a budget grows with it, for reports."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isoloss.core import units
from isoloss.fitted.facts import Quantity

if TYPE_CHECKING:
    from isoloss.fitted.result import Fit


@dataclass(frozen=True)
class Growth:
    """The exponents by which the best N and D grow with the budget C = 6 N D.

    Attributes:
        n: of N, with its interval.
        d: of D, which is 1 minus that of N.
    """

    n: Quantity
    d: Quantity

    @property
    def text(self) -> str:
        """In words: N_opt ~ C^0.49 [0.46, 0.53], D_opt ~ C^0.51 [0.47, 0.54]."""
        parts = [
            f"{name} ~ C^{units.estimate(q.estimate, q.low, q.high, '{:.3f}'.format)}"
            for name, q in (("N_opt", self.n), ("D_opt", self.d))
        ]
        return f"{', '.join(parts)} (C = 6 N D)"


def growth(fit: Fit, group: str) -> Growth | None:
    """How a group's fit divides ever larger budgets, at that of its largest run.

    Returns:
        None where the law does not divide a budget, is not fitted to the loss, or has no best
        division of that budget.
    """
    if not (fit.allocates and fit.of_loss):
        return None
    points = fit.points
    largest = points.loc[points["group"].astype(str) == group, "n_flops_6nd"].max()
    row = fit.exponents(float(largest), group).to_dict("records")[0]
    if math.isnan(row["n_exponent"]):
        return None
    n, d = (
        Quantity(row[f"{name}_exponent"], row[f"{name}_exponent_low"], row[f"{name}_exponent_high"])
        for name in "nd"
    )
    return Growth(n, d)
