"""Kaplan's law: a power law in model size and one in data, joined without an irreducible loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoloss.laws._law import Data, Law, Term

TITLE = "Kaplan's law in N and D"
FORMULA = "L = [(N_c/N)^(α_N/α_D) + D_c/D]^α_D"
LATEX = (
    r"L = \left[\left(\frac{N_c}{N}\right)^{\alpha_N/\alpha_D} + \frac{D_c}{D}\right]^{\alpha_D}"
)
SOURCE = "Kaplan et al. 2020, arXiv:2001.08361, equation 1.5"
BIBTEX = """\
@misc{kaplan2020scaling,
  title = {Scaling Laws for Neural Language Models},
  author = {Kaplan, Jared and McCandlish, Sam and Henighan, Tom and Brown, Tom B. and others},
  year = {2020},
  eprint = {2001.08361},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "N without embeddings, D the size of a data set on which training stops early; far above the"
    " irreducible loss, which the law lacks"
)
KIND = "joint"
OPTIONS = {}
PRESETS = {
    "kaplan": {
        "values": {"N_c": 6.4e13, "D_c": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103},
        "source": "arXiv:2001.08361, table 2: N without embeddings",
        "of": "models on WebText2; ranges as in its section 3",
        "ranges": {"N": (768, 1.5e9), "D": (2.2e7, 2.3e10)},
    },
}


class Kaplan(Law):
    """theta = (ln N_c, ln D_c, alpha_N, alpha_D)."""

    kind = KIND
    variables = ("N", "D")
    formula = FORMULA
    python = "((N_c / N) ** (alpha_N / alpha_D) + D_c / D) ** alpha_D"
    terms = (
        Term("N_c", "N_c", "parameters", True, -14.0, 60.0, (3.0, 8.0, 20.0)),
        Term("D_c", "D_c", "tokens", True, -14.0, 60.0, (3.0, 8.0, 20.0)),
        Term("alpha_N", "α_N", "1", False, 0.01, 2.0, (0.05, 0.15, 0.4)),
        Term("alpha_D", "α_D", "1", False, 0.01, 2.0, (0.05, 0.15, 0.4)),
    )

    def _logs(self, theta: np.ndarray, data: Data) -> tuple[np.ndarray, ...]:
        """Logarithms of N_c/N, of the two summands and of their sum, the exponents."""
        size, tokens, alpha, delta = (theta[..., i, None] for i in range(4))
        ratio = size - np.log(data["N"])
        of_n, of_d = alpha / delta * ratio, tokens - np.log(data["D"])
        return ratio, of_n, of_d, np.logaddexp(of_n, of_d), alpha, delta

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n)."""
        _, _, _, total, _, delta = self._logs(theta, data)
        return np.exp(delta * total)

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, 4)."""
        ratio, of_n, of_d, total, alpha, delta = self._logs(theta, data)
        share, rest = np.exp(of_n - total), np.exp(of_d - total)
        logs = (share * alpha, rest * delta, share * ratio, total - share * of_n)
        return np.exp(delta * total)[..., None] * np.stack(logs, axis=-1)

    def scales(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[Mapping[str, float], float]:
        """The loss keeps its unit: another would move N_c by a power that depends on alpha_N."""
        return log_scale, 0.0

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """N_c and D_c in the scales of N and D; for the loss in its own unit (see `scales`)."""
        return np.eye(4), -np.array([log_scale["N"], log_scale["D"], 0.0, 0.0])

    def allocate(self, theta: np.ndarray, flops: float) -> tuple[np.ndarray, np.ndarray]:
        """N and D of least loss for C = 6 N D: (...), (...)."""
        size, tokens, alpha, delta = (theta[..., i] for i in range(4))
        ratio, log_c = alpha / delta, np.log(flops / 6.0)
        n = np.exp((np.log(ratio) + ratio * size - tokens + log_c) / (1.0 + ratio))
        return n, flops / 6.0 / n


def make() -> Kaplan:
    """The law; it has no options."""
    return Kaplan()
