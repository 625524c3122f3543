"""Noise of simulated losses: by kind and settings, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.simulate.kinds import check_positive, made
from isoloss.simulate.truth import Runs

Draw = Callable[[np.random.Generator, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class Noise(Protocol):
    """What is added to the losses of runs."""

    def draw(self, rng: np.random.Generator, runs: Runs) -> np.ndarray:
        """The noise of every run in nats, (n,)."""


@dataclass(frozen=True)
class NoNoise:
    """Every loss is what the law says."""

    def draw(self, rng: np.random.Generator, runs: Runs) -> np.ndarray:
        """Zeros, (n,)."""
        return np.zeros(len(runs))


@dataclass(frozen=True)
class Exponential:
    """Noise that only makes a loss worse, as of a set-up that is not the best; its mean in nats."""

    mean: float

    def __post_init__(self):
        check_positive(mean=self.mean)

    def draw(self, rng: np.random.Generator, runs: Runs) -> np.ndarray:
        """The noise, (n,)."""
        return rng.exponential(self.mean, len(runs))


@dataclass(frozen=True)
class Normal:
    """Normal noise, its standard deviation in nats, or a part of the loss where relative."""

    sd: float
    relative: bool = False

    def __post_init__(self):
        check_positive(sd=self.sd)

    def draw(self, rng: np.random.Generator, runs: Runs) -> np.ndarray:
        """The noise, (n,)."""
        return rng.normal(0.0, self.sd, len(runs)) * (runs.loss if self.relative else 1.0)


@dataclass(frozen=True)
class HeavyTailed:
    """Student's t of `df` degrees of freedom times a scale in nats, or a part of the loss."""

    scale: float
    df: float = 3.0
    relative: bool = False

    def __post_init__(self):
        check_positive(scale=self.scale, df=self.df)

    def draw(self, rng: np.random.Generator, runs: Runs) -> np.ndarray:
        """The noise, (n,)."""
        unit = runs.loss if self.relative else 1.0
        return self.scale * rng.standard_t(self.df, len(runs)) * unit


@dataclass(frozen=True)
class Heteroscedastic:
    """Normal noise whose standard deviation is a power of the compute or the reducible loss.

    Attributes:
        sd: in nats, where x is `at`.
        power: of x / at.
        of: what x is: `C`, or `reducible`: what the loss is above the law's E.
        at: a value of x; the geometric mean over the runs if None.
    """

    sd: float
    power: float
    of: str = "C"
    at: float | None = None

    def __post_init__(self):
        check_positive(sd=self.sd, **({} if self.at is None else {"at": self.at}))
        if self.of not in ("C", "reducible"):
            hint = nearest(self.of, ("C", "reducible"))
            raise IsolossError(Problem("of", f"found {self.of!r}", hint))

    def draw(self, rng: np.random.Generator, runs: Runs) -> np.ndarray:
        """The noise, (n,)."""
        x = runs.C if self.of == "C" else runs.reducible
        middle = np.exp(np.log(x).mean()) if self.at is None else float(self.at)
        return rng.normal(0.0, self.sd * (x / middle) ** self.power)


@dataclass(frozen=True)
class Custom:
    """Noise that a function of the user draws: of generator, N, D and loss, (n,) each."""

    function: Draw

    def draw(self, rng: np.random.Generator, runs: Runs) -> np.ndarray:
        """What the function gives.

        Raises:
            IsolossError: it is not a finite number for every run.
        """
        noise = np.asarray(self.function(rng, runs.N, runs.D, runs.loss), dtype=float)
        if noise.shape not in ((), (len(runs),)) or not np.isfinite(noise).all():
            what = f"the function gives an array of shape {noise.shape}"
            what = what if np.isfinite(noise).all() else "the function gives NaN or infinity"
            need = f"it has to give a finite number for each of {len(runs)} runs"
            raise IsolossError(Problem("noise", what, need))
        return np.broadcast_to(noise, len(runs))


KINDS = {
    "none": NoNoise,
    "exponential": Exponential,
    "normal": Normal,
    "heavy_tailed": HeavyTailed,
    "heteroscedastic": Heteroscedastic,
}


def noise_of(settings: Mapping[str, Any] | Draw | None) -> Noise:
    """The noise that is asked for.

    Args:
        settings: `kind` (one of KINDS) and the settings of that kind; or a function of generator,
            N, D and loss, (n,) each, that gives the noise (n,); None for none.

    Raises:
        IsolossError: no such kind, or a setting that it does not take.

    Example:
        >>> noise_of({"kind": "normal", "sd": 0.01})
        Normal(sd=0.01, relative=False)
    """
    if settings is None:
        return NoNoise()
    return Custom(settings) if callable(settings) else made(KINDS, settings, "noise")
