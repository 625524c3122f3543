"""L = E + A / N^α + B / D^β and its best division of compute, by parameters in a mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from isoloss.laws import chinchilla as law

PARAMS = ("E", "A", "B", "alpha", "beta")
Array = float | list | np.ndarray | pd.Series


def allocate(C: Array, params: Mapping[str, float]) -> tuple[Array, Array]:
    """The N and D = C / 6 / N of least loss for a budget, or for each of several.

    On an instance, `params` are its own.

    Args:
        C: compute in FLOP, a number or (n,).
        params: A, B, alpha and beta by name.

    Returns:
        N and D, numbers or (n,) each.

    Raises:
        ValueError: a parameter is missing.

    Example:
        >>> N, D = allocate(6e18, {"A": 400, "B": 400, "alpha": 0.3, "beta": 0.3})
        >>> round(N), round(D)
        (1000000000, 1000000000)
    """
    A, B, alpha, beta = _named(params, PARAMS[1:])
    theta = np.array([0.0, np.log(A), np.log(B), alpha, beta])
    return law.make().allocate(theta, _floats(C))


def predict(N: Array, D: Array, params: Mapping[str, float]) -> Array:
    """The loss of N parameters trained on D samples.

    On an instance, `params` are its own.

    Args:
        N: number of parameters, a number or (n,).
        D: number of samples, a number or (n,).
        params: E, A, B, alpha and beta by name.

    Returns:
        The loss, a number or (n,).

    Raises:
        ValueError: a parameter is missing.

    Example:
        >>> params = {"E": 1.5, "A": 100, "B": 10, "alpha": 0.5, "beta": 0.25}
        >>> float(predict(1e4, 1e4, params))
        3.5
    """
    E, A, B, alpha, beta = _named(params, PARAMS)
    return E + A * _floats(N) ** -alpha + B * _floats(D) ** -beta


def samples_for(N: float, params: Mapping[str, float]) -> float:
    """The D with which N is the best division of 6 N D: α A / N^α = β B / D^β.

    Example:
        >>> float(samples_for(100, {"A": 4, "B": 4, "alpha": 0.5, "beta": 0.5}))
        100.0
    """
    A, B, alpha, beta = _named(params, PARAMS[1:])
    return np.power(beta * B / (alpha * A) * np.power(float(N), alpha), 1 / beta)


def _floats(values: Array) -> Array:
    """Numbers as floats, which counts beyond 64 bits need; a series stays one."""
    if isinstance(values, pd.Series):
        return values.astype(float)
    return np.asarray(values, dtype=float)[()]


def _named(params: Mapping[str, float], names: tuple[str, ...]) -> list[float]:
    """Parameters by name.

    Raises:
        ValueError: one is missing.
    """
    if missing := [name for name in names if name not in params]:
        raise ValueError(f"Missing required parameters: {', '.join(missing)} of {list(names)}")
    return [params[name] for name in names]


class OfParams:
    """A function of parameters: on a class they are given, on an instance they are its own."""

    def __init__(self, function: Callable):
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type) -> Callable:
        """The function, with the parameters of an instance."""
        if instance is None:
            return self.function

        def of_own(*args: Any, **kwargs: Any) -> Any:
            return self.function(*args, params=instance.get_params(), **kwargs)

        of_own.__doc__ = self.__doc__
        return of_own
