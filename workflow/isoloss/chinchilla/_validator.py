"""What a `Chinchilla` and its simulations are given, checked by pydantic (version 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic import BaseModel, Field, field_validator, model_validator

_SCALES = ("e", "a", "b")  # an upper-case letter for values, a lower-case letter for logarithms
_EXPONENTS = ("alpha", "beta")
Numbers = tuple[float, ...]


class ParamGrid(BaseModel):
    """Values of each parameter of the law from which a fit starts: a grid of five axes.

    Attributes:
        E, A, B: values, or None where the logarithms are given.
        e, a, b: their logarithms, or None.
        alpha, beta: exponents.

    Raises:
        ValidationError: other keys than these five parameters once each, or values that are not
            sequences of numbers.

    Example:
        >>> ParamGrid(E=[1, 2], a=[3], b=[4], alpha=[0.3], beta=[0.3]).E
        (1.0, 2.0)
    """

    E: Numbers | None = None
    A: Numbers | None = None
    B: Numbers | None = None
    alpha: Numbers
    beta: Numbers
    e: Numbers | None = None
    a: Numbers | None = None
    b: Numbers | None = None

    @model_validator(mode="before")
    @classmethod
    def check_keys(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Each of the five parameters appears once, and nothing else."""
        counts = Counter(key.lower() for key in values)
        if len(counts) != 5:
            raise ValueError(
                f"`param_grid` must be a dict of 5 keys (E or e, A or a, B or b, alpha, beta), and "
                f"has {len(counts)}"
            )
        if twice := [key for key, count in counts.items() if count > 1]:
            raise ValueError(f"duplicate keys when lowercased: {', '.join(twice)}")
        allowed = {*_SCALES, *(key.upper() for key in _SCALES), *_EXPONENTS}
        invalid = [key for key in values if key not in allowed]
        missing = [f"{key.upper()}/{key}" for key in _SCALES if key not in counts]
        missing += [key for key in _EXPONENTS if key not in counts]
        if invalid or missing:
            lines = ["Invalid set of keys in `param_grid`:"]
            lines += [f"- Invalid key(s): {', '.join(invalid)}"] * bool(invalid)
            lines += [f"- Missing key(s): {', '.join(missing)}"] * bool(missing)
            raise ValueError("\n".join(lines))
        return values


class SeedRanges(BaseModel):
    """The regime that seeding runs are drawn from.

    Attributes:
        C: least and greatest compute in FLOP.
        N_to_D: least and greatest number of samples per parameter, D / N.

    Raises:
        ValidationError: not two numbers each, a negative C, or a least C that is not below the
            greatest.

    Example:
        >>> SeedRanges(C=(1e15, 1e16), N_to_D=(10, 100)).N_to_D
        (10.0, 100.0)
    """

    C: tuple[float, float]
    N_to_D: tuple[float, float]

    @field_validator("C")
    @classmethod
    def check_C_values(cls, values: tuple[float, float]) -> tuple[float, float]:
        """Compute is not negative, and rises."""
        least, greatest = values
        if least < 0 or greatest < 0:
            raise ValueError("Negative value(s) in 'C': give FLOP as floats, such as 1e18")
        if not least < greatest:
            raise ValueError("'C' must have the first value less than the second value")
        return values


class ModelSearchConfig(BaseModel):
    """Where the configuration of a model of a given size is searched.

    Attributes:
        size_estimator: takes hyperparameters by name, returns the number of parameters.
        hyperparam_grid: the values of each hyperparameter.

    Raises:
        ValidationError: the first cannot be called, or the second does not map to numbers.

    Example:
        >>> grid = {"width": [64, 128]}
        >>> ModelSearchConfig(size_estimator=lambda width: width**2, hyperparam_grid=grid)
        ... # doctest: +ELLIPSIS
        ModelSearchConfig(size_estimator=<function ...>, hyperparam_grid={'width': (64.0, 128.0)})
    """

    model_config = {"protected_namespaces": ()}
    size_estimator: Callable[..., float]
    hyperparam_grid: dict[str, Numbers]


class SimulationArgs(BaseModel):
    """What a simulation is given.

    Attributes:
        num_seeding_steps: seeding runs, at least 3 if any step of scaling follows.
        num_scaling_steps: steps of scaling, 0 or more.
        target_params: E, A, B, alpha and beta of the hypothetical law.
        noise_generator: gives a number to add to each loss, or None.
        scaling_factor: by which compute grows in a step; needed where there is one.

    Raises:
        ValidationError: one of these rules does not hold.

    Example:
        >>> SimulationArgs(num_seeding_steps=9, num_scaling_steps=0).scaling_factor is None
        True
    """

    num_seeding_steps: int = Field(gt=0)
    num_scaling_steps: int = Field(ge=0)
    target_params: dict[str, float] = Field(
        default={
            "E": 1.69337368,
            "A": 406.401018,
            "B": 410.722827,
            "alpha": 0.33917084,
            "beta": 0.2849083,
        }
    )
    noise_generator: Iterable[float] | None = None
    scaling_factor: float | None = None

    @field_validator("noise_generator", mode="before")
    @classmethod
    def check_noise_generator(cls, value: Any) -> Any:
        """Noise is drawn with `next`, one number a run."""
        if value is not None and not isinstance(value, Iterator):
            raise ValueError("noise_generator must be an iterator or None")
        return value

    @model_validator(mode="after")
    def check_seeding_steps(self) -> SimulationArgs:
        """A law can be fitted before it is scaled, and the scale is known."""
        if self.num_scaling_steps and self.num_seeding_steps < 3:
            raise ValueError("Too few seed models to estimate the scaling law: at least 3")
        if self.num_scaling_steps and self.scaling_factor is None:
            raise ValueError(
                "`scaling_factor` must be a positive number to simulate steps of scaling: give it "
                "in `Chinchilla(...)` or in `simulate(...)`"
            )
        return self
