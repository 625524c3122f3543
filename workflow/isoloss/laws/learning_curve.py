"""The curve of one run, or of runs of one size, in tokens: a power law with a head start."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoloss.laws._law import Data, Law, Term

TITLE = "Learning curve in D with a head start"
FORMULA = "L = E + B / (D + D_0)^β"
LATEX = r"L = E + \frac{B}{(D + D_0)^{\beta}}"
SOURCE = (
    "Henighan et al. 2020, arXiv:2010.14701, equation 1.1 (power law with offset), in the effective"
    " data D + D_0 of Hernandez et al. 2021, arXiv:2102.01293 (its D_F + D_T), D_0 being constant"
)
BIBTEX = """\
@misc{henighan2020scaling,
  title = {Scaling Laws for Autoregressive Generative Modeling},
  author = {Henighan, Tom and Kaplan, Jared and others},
  year = {2020},
  eprint = {2010.14701},
  archivePrefix = {arXiv},
}
@misc{hernandez2021scaling,
  title = {Scaling Laws for Transfer},
  author = {Hernandez, Danny and Kaplan, Jared and Henighan, Tom and McCandlish, Sam},
  year = {2021},
  eprint = {2102.01293},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "D >= 0 tokens at one model size, learning rate constant or decayed to its end at each point;"
    " D_0 tokens of a head start, from pre-training or of a curve that begins flat"
)
KIND = "curve"
OPTIONS = {}
PRESETS = {}


class LearningCurve(Law):
    """theta = (ln E, ln B, beta, ln D_0)."""

    kind = KIND
    variables = ("D",)
    formula = FORMULA
    python = "E + B / (D + D_0) ** beta"
    terms = (
        Term("E", "E", "nats/token", True, -9.0, 3.0, (-3.0, -0.5)),
        Term("B", "B", "nats/token", True, -14.0, 9.0, (-1.0, 0.5)),
        Term("beta", "β", "1", False, -1.0, 5.0, (0.05, 0.15, 0.3, 0.65, 1.2)),
        Term("D_0", "D_0", "tokens", True, -14.0, 6.0, (-5.0, -1.0)),
    )

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n)."""
        e, b, beta, head = (theta[..., i, None] for i in range(4))
        return np.exp(e) + np.exp(b - beta * np.log(data["D"] + np.exp(head)))

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, 4)."""
        e, b, beta, head = (theta[..., i, None] for i in range(4))
        start = np.exp(head)
        log_d = np.log(data["D"] + start)
        part = np.exp(b - beta * log_d)
        share = start / (data["D"] + start)
        columns = (np.exp(e), part, -part * log_d, -part * beta * share)
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scale of D moves B (by beta) and D_0, that of the loss E and B."""
        matrix = np.eye(4)
        matrix[1, 2] = -log_scale["D"]
        return matrix, np.array([-log_loss_scale, -log_loss_scale, 0.0, -log_scale["D"]])


def make() -> LearningCurve:
    """The law; it has no options."""
    return LearningCurve()
