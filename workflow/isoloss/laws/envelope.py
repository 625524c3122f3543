"""The compute-optimal frontier from the best run of every budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isoloss.laws._budgets import Budget, Frontier, Minima, edge
from isoloss.laws._law import Data

TITLE = "Envelope: the best run of every budget"
FORMULA = "L_min = L_0 C^-g at N_opt = N_0 C^a"
LATEX = r"L_{\min} = L_0\, C^{-g} \quad \text{at} \quad N_{\mathrm{opt}} = N_0\, C^{a}"
SOURCE = (
    "Hoffmann et al. 2022, arXiv:2203.15556, section 3.1 (approach 1): of points along"
    " training curves with `points: isoflop`, else of the ends of runs"
)
BIBTEX = """\
@misc{hoffmann2022training,
  title = {Training Compute-Optimal Large Language Models},
  author = {Hoffmann, Jordan and Borgeaud, Sebastian and Mensch, Arthur and others},
  year = {2022},
  eprint = {2203.15556},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "Several budgets with many sizes each: the best size is known no better than the sizes are"
    " spaced. A budget whose best run has its smallest or largest size is left out. The least of"
    " several noisy losses is biased low, and the more so the more runs a budget has. It predicts"
    " the best runs only, whatever their N"
)
KIND = "frontier"
OPTIONS = {}
PRESETS = {}


class Envelope(Frontier):
    """theta = (ln N_0, a, ln L_0, g)."""

    kind = KIND
    formula = FORMULA
    python = "L_0 * C ** -g"
    recipe = (
        "best run a budget, of budgets where its size is neither the smallest nor the largest;"
        " least squares lines in logarithms"
    )

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L_min, (..., n)."""
        return np.exp(theta[..., 2, None] - theta[..., 3, None] * np.log(data["C"]))

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L_min / d theta, (..., n, 4)."""
        loss, nothing = self.loss(theta, data), np.zeros(())
        columns = (nothing, nothing, loss, -loss * np.log(data["C"]))
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def minima(self, budget: Budget, loss: np.ndarray, weight: np.ndarray) -> Minima:
        """The best run that a sample has, where it is neither of the smallest nor largest size."""
        best = np.where(weight > 0, loss, np.inf).argmin(axis=-1)
        least = np.take_along_axis(loss, best[:, None], axis=-1)[:, 0]
        inside = (budget.size[best] > 0) & (budget.size[best] < len(budget.sizes) - 1)
        return Minima(np.where(inside, budget.log_n[best], np.nan), least)

    def judged(
        self, budgets: Sequence[Budget], loss: np.ndarray, weight: np.ndarray
    ) -> tuple[np.ndarray, tuple[str, ...]]:
        """Budgets whose best run has a size inside theirs, by the weight of their runs."""
        heavy, reasons = np.zeros(len(budgets)), []
        for number, budget in enumerate(budgets):
            best = budget.size[loss[budget.runs].argmin()]
            reasons.append(edge(best, len(budget.sizes)))
            if not reasons[-1]:
                heavy[number] = weight[budget.runs].sum()
        return heavy, tuple(reasons)


def make() -> Envelope:
    """The law; it has no options."""
    return Envelope()
