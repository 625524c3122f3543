"""What a fit minimises: a sum over runs of a loss of the law's error.

Every objective is a function of the predicted log loss, so that laws give one gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Objective:
    """An objective and its settings.

    Attributes:
        name: one of OBJECTIVES.
        delta: where Huber's square turns into a line, in log loss (huber_log only).
    """

    name: str = "huber_log"
    delta: float = 1e-3

    def __str__(self) -> str:
        return f"huber_log(delta={self.delta:g})" if self.name == "huber_log" else self.name

    def terms(self, log_predicted: np.ndarray, loss: np.ndarray) -> Pair:
        """Contribution of each run and its derivative by the predicted log loss, both (..., n)."""
        return OBJECTIVES[self.name](log_predicted, loss, self.delta)


def huber_log(log_predicted: np.ndarray, loss: np.ndarray, delta: float) -> Pair:
    """Huber's loss of the log residual (arXiv:2203.15556, equation 3)."""
    residual = log_predicted - np.log(loss)
    slope = np.clip(residual, -delta, delta)
    return slope * (residual - 0.5 * slope), slope


def log_mse(log_predicted: np.ndarray, loss: np.ndarray, delta: float) -> Pair:
    """Squared log residual."""
    residual = log_predicted - np.log(loss)
    return residual**2, 2 * residual


def mse(log_predicted: np.ndarray, loss: np.ndarray, delta: float) -> Pair:
    """Squared residual of the loss."""
    predicted = np.exp(np.minimum(log_predicted, 300.0))
    residual = predicted - loss
    return residual**2, 2 * residual * predicted


OBJECTIVES: dict[str, Callable[[np.ndarray, np.ndarray, float], Pair]] = {
    "huber_log": huber_log,
    "log_mse": log_mse,
    "mse": mse,
}
