"""Penalties of observed and predicted losses, to choose as `loss_fn`."""

from __future__ import annotations

import numpy as np


def asymmetric_mae(y_true: np.ndarray, y_pred: np.ndarray, w: float = 1e1) -> np.ndarray:
    """The absolute error, `w` times as large where more is predicted than was observed.

    A fit with it lies near the lower edge of the losses: what a run can reach.

    Args:
        y_true: observed losses, (n,).
        y_pred: predicted losses, (n,).
        w: the weight of a prediction that is too large, above 0.

    Returns:
        Penalties, (n,).

    Example:
        >>> asymmetric_mae(np.array([3.0, 2.0]), np.array([2.0, 3.0]))
        array([ 1., 10.])
    """
    error = y_true - y_pred
    return np.maximum(error, -w * error)


def huber(y_true: np.ndarray, y_pred: np.ndarray, delta: float = 1.0) -> np.ndarray:
    """Half the squared error up to `delta`, linear beyond (Huber 1964), (n,).

    Example:
        >>> huber(np.array([1.0, 4.0]), np.array([0.0, 0.0]))
        array([0.5, 3.5])
    """
    error = np.abs(y_true - y_pred)
    return np.where(error < delta, error**2 / 2, delta * (error - delta / 2))


def log_huber(y_true: np.ndarray, y_pred: np.ndarray, delta: float = 1.0) -> np.ndarray:
    """Huber's penalty of the error of ln L, as in Hoffmann et al. 2022 (equation 3), (n,).

    Example:
        >>> log_huber(np.array([np.e]), np.array([1.0]))
        array([0.5])
    """
    return huber(np.log(y_true), np.log(y_pred), delta)


def mae(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """The absolute error, (n,).

    Example:
        >>> mae(np.array([1.0]), np.array([3.0]))
        array([2.])
    """
    return np.abs(y_true - y_pred)


def mse(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
    """The squared error, (n,).

    Example:
        >>> mse(np.array([1.0]), np.array([3.0]))
        array([4.])
    """
    return (y_true - y_pred) ** 2
