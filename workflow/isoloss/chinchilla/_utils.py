"""The search for a model of a given size, and small helpers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class _Sizes:
    """The configurations of a grid that have a size, in rising order of it.

    Attributes:
        names: of the hyperparameters.
        values: of each configuration, as `names`.
        sizes: what the estimator gave.
        numbers: the same as an array.
    """

    names: tuple[str, ...]
    values: list[tuple[Any, ...]]
    sizes: list[float]
    numbers: np.ndarray

    def closest(self, size: float) -> tuple[dict[str, Any], float]:
        """The configuration of nearest size, the smaller one of a tie, and its size."""
        at = int(np.abs(self.numbers - float(size)).argmin())
        return dict(zip(self.names, self.values[at], strict=True)), self.sizes[at]


def _sized(grid: Mapping[str, Sequence[Any]], estimator: Callable[..., float]) -> _Sizes:
    """Every configuration of a grid with its size; those of size 0, None or NaN are left out."""
    names, pairs = tuple(grid), []
    for values in itertools.product(*grid.values()):
        size = estimator(**dict(zip(names, values, strict=True)))
        if size and np.isfinite(size):
            pairs.append((values, size))
    if not pairs:
        raise ValueError("the size estimator gives no configuration of `hyperparam_grid` a size")
    pairs.sort(key=lambda pair: pair[1])
    values, sizes = (list(part) for part in zip(*pairs, strict=True))
    return _Sizes(names, values, sizes, np.array(sizes, dtype=float))


_last: tuple[Hashable, _Sizes] | None = None  # of the grid that was searched last


def search_model_config(
    N_opt: float,
    hyperparam_grid: Mapping[str, Sequence[Any]],
    size_estimator: Callable[..., float],
    use_cache: bool = False,
) -> tuple[dict[str, Any], float]:
    """The configuration of a grid whose model is nearest in size to a number of parameters.

    Args:
        N_opt: the number of parameters to be near.
        hyperparam_grid: values of each hyperparameter; every combination is looked at.
        size_estimator: takes a configuration by name, returns its number of parameters; one
            without a size (None, 0, NaN) is left out.
        use_cache: keep the sizes of the last search if grid and estimator are the same.

    Returns:
        The configuration and its size, as the estimator gave it; of two that are equally near, the
        smaller one.

    Raises:
        ValueError: no configuration has a size.

    Example:
        >>> search_model_config(1e4, {"width": [64, 128]}, lambda width: width**2)
        ({'width': 64}, 4096)
    """
    global _last
    axes = {name: list(values) for name, values in hyperparam_grid.items()}
    key = _key(axes, size_estimator)
    if use_cache and key is not None and _last is not None and _last[0] == key:
        return _last[1].closest(N_opt)
    sizes = _sized(axes, size_estimator)
    _last = None if key is None else (key, sizes)
    return sizes.closest(N_opt)


def _key(grid: dict[str, list[Any]], estimator: Callable[..., float]) -> Hashable | None:
    """What tells one grid and estimator from others; None of values that could change."""
    key = (estimator, *((name, *((type(v), v) for v in values)) for name, values in grid.items()))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def is_between(
    value: float | np.ndarray, bounds: tuple[float, float] | np.ndarray
) -> bool | np.ndarray:
    """Whether a value, or each of an array, lies between two bounds or on one of them.

    Example:
        >>> is_between(2.0, (1, 2)), is_between(np.array([0.5, 1.5]), (1, 2))
        (True, array([False,  True]))
    """
    lower, upper = bounds
    return (lower <= value) & (value <= upper)


class AttrDict(dict):
    """A mapping whose keys are attributes too.

    Example:
        >>> AttrDict(C=[1.0, 2.0]).C
        [1.0, 2.0]
    """

    def __getattr__(self, name: str) -> Any:
        """The value of a key."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no key {name!r}; there are {', '.join(self)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        """Set the value of a key."""
        self[name] = value


def ordinal(number: int) -> str:
    """A number with its ending, such as 1st.

    Example:
        >>> ordinal(2), ordinal(13), ordinal(101)
        ('2nd', '13th', '101st')
    """
    teens = 10 < number % 100 < 14
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
