"""The compute-optimal frontier from the best run of every budget."""

from __future__ import annotations

import numpy as np

from isoloss.laws._budgets import Frontier, budgets
from isoloss.laws._law import Data, Estimate

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
    "Several budgets with many sizes each, the best inside the range: the best size is known no"
    " better than the sizes are spaced. The least of several noisy losses is biased low, and the"
    " more so the more runs a budget has. It predicts the best runs only, whatever their N"
)
KIND = "frontier"
OPTIONS = {}
PRESETS = {}


class Envelope(Frontier):
    """theta = (ln N_0, a, ln L_0, g)."""

    kind = KIND
    formula = FORMULA
    python = "L_0 * C ** -g"
    recipe = "best run a budget; least squares lines in logarithms"

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L_min, (..., n)."""
        return np.exp(theta[..., 2, None] - theta[..., 3, None] * np.log(data["C"]))

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L_min / d theta, (..., n, 4)."""
        loss, nothing = self.loss(theta, data), np.zeros(())
        columns = (nothing, nothing, loss, -loss * np.log(data["C"]))
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def estimate(self, data: Data, loss: np.ndarray, weight: np.ndarray) -> Estimate:
        """By the best run of every budget; a budget counts by the weight of its runs."""
        points = []
        for group in budgets(data, weight):
            best = group[np.argmin(loss[group])]
            if loss[best] > 0:
                logs = (np.log(v[best]) for v in (data["C"], data["N"], loss))
                points.append((*logs, weight[group].sum()))
        return Estimate(self.through(points))


def make() -> Envelope:
    """The law; it has no options."""
    return Envelope()
