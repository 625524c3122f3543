"""The settings of a sampler of the local posterior, and what each may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from isoloss.core.escape import visible
from isoloss.core.problems import IsolossError, Problem, nearest

METHODS = ("sgmcmc_sgld", "rmsprop_sgld")
INIT_LOSSES = ("paired", "batches")


class SettingsError(IsolossError, ValueError):
    """Settings or data that cannot be sampled with; devinterp raises a ValueError for them."""


def refuse_unknown(function: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Refuse arguments of a function that it does not have.

    Raises:
        TypeError: there is one, with the nearest name that is known.

    Example:
        >>> refuse_unknown("llc", ["num_chain"], ["num_chains", "num_draws"])
        Traceback (most recent call last):
        TypeError: llc() has no argument 'num_chain'; did you mean 'num_chains'?
    """
    for name in names:
        if name not in known:
            hint = nearest(name, known)
            raise TypeError(f"{function}() has no argument {visible(repr(name))}; {hint}")


@dataclass(frozen=True)
class Settings:
    """Settings of stochastic gradient Langevin dynamics; names are those of devinterp 2.0.1.

    Every step takes the gradient g of the mean loss over a batch at the weights w and does
    `w -= lr/2 (n_beta g + llc_weight_decay w + localization (w - w0)); w += sqrt(lr) noise`, with
    w0 the trained weights (Welling and Teh 2011; Lau et al. 2023,
    arXiv:2308.12108).

    Attributes:
        lr: step size; 0 leaves the weights where they are.
        n_beta: inverse temperature times the number of items, by which the mean loss counts.
        num_chains: chains, which differ in noise and batches.
        num_draws: draws of a chain.
        batch_size: items of a batch; all items where there are fewer.
        num_burnin_steps: steps of a chain before those that count.
        num_steps_bw_draws: steps from one draw to the next; losses of all of them count.
        gradient_accumulation_steps: batches whose gradients are averaged for a step.
        localization: strength of the pull to the trained weights (gamma).
        noise_level: standard deviation of the noise; 1 samples the posterior.
        llc_weight_decay: strength of the pull to 0.
        bounding_box_size: how far each weight may be from its trained value; None: without limit.
        sampling_method: `sgmcmc_sgld`, or `rmsprop_sgld`, in which each weight's step is scaled by
            1 / (sqrt(v) + rmsprop_eps) with v a running mean of its squared gradients.
        rmsprop_alpha: what v keeps of itself in a step.
        rmsprop_eps: see `sampling_method`.
        init_noise: standard deviation of noise that is added before the first step; or None.
        shuffle: each epoch has an order of its own; else items come as they stand.
        match_batches: every chain sees the same batches.
        num_init_loss_batches: batches of the unpaired initial loss.
        init_loss: what the loss of the trained weights is taken over: `paired`, the batches that
            the chains see, or `batches`, the `num_init_loss_batches` first ones.
        init_seed: of noise and orders.

    Raises:
        SettingsError: a setting has another type or is out of range; all such settings at once.

    Example:
        >>> Settings(lr=1e-4, n_beta=100, num_draws=50, num_burnin_steps=10).num_steps
        60
    """

    lr: float
    n_beta: float
    num_chains: int = 4
    num_draws: int = 200
    batch_size: int = 32
    num_burnin_steps: int = 0
    num_steps_bw_draws: int = 1
    gradient_accumulation_steps: int = 1
    localization: float = 0.0
    noise_level: float = 1.0
    llc_weight_decay: float = 0.0
    bounding_box_size: float | None = None
    sampling_method: str = "sgmcmc_sgld"
    rmsprop_alpha: float = 0.99
    rmsprop_eps: float = 0.1
    init_noise: float | None = None
    shuffle: bool = True
    match_batches: bool = False
    num_init_loss_batches: int = 32
    init_loss: str = "paired"
    init_seed: int = 100

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise SettingsError(*problems)

    @property
    def num_steps(self) -> int:
        """Steps of a chain."""
        return self.num_draws * self.num_steps_bw_draws + self.num_burnin_steps

    @property
    def draws(self) -> range:
        """Steps, counted from 0, after which the weights are a draw."""
        return range(self.num_burnin_steps, self.num_steps, self.num_steps_bw_draws)

    def _problems(self) -> Iterator[Problem]:
        for name, (allowed, check) in _RULES.items():
            value = getattr(self, name)
            if not check(value):
                yield Problem(name, f"{value!r} is not {allowed}", f"give {allowed}")
        for name, choices in (("sampling_method", METHODS), ("init_loss", INIT_LOSSES)):
            value = getattr(self, name)
            if value not in choices:
                yield Problem(name, f"{value!r} is not known", nearest(value, choices))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


_Rule = tuple[str, Callable[[Any], bool]]
_AT_LEAST_ZERO: _Rule = ("a number, 0 or more", lambda v: _is_number(v) and v >= 0)
_ZERO_OR_NONE: _Rule = ("a number, 0 or more, or None", lambda v: v is None or _AT_LEAST_ZERO[1](v))
_COUNT: _Rule = ("a whole number, 1 or more", lambda v: _is_whole(v) and v >= 1)
_YES_OR_NO: _Rule = ("True or False", lambda v: isinstance(v, bool))
_RULES: dict[str, _Rule] = {
    "lr": _AT_LEAST_ZERO,
    "n_beta": _AT_LEAST_ZERO,
    "num_chains": _COUNT,
    "num_draws": _COUNT,
    "batch_size": _COUNT,
    "num_burnin_steps": ("a whole number, 0 or more", lambda v: _is_whole(v) and v >= 0),
    "num_steps_bw_draws": _COUNT,
    "gradient_accumulation_steps": _COUNT,
    "localization": _AT_LEAST_ZERO,
    "noise_level": _AT_LEAST_ZERO,
    "llc_weight_decay": _AT_LEAST_ZERO,
    "bounding_box_size": _ZERO_OR_NONE,
    "rmsprop_alpha": ("a number from 0 up to 1, without 1", lambda v: _is_number(v) and 0 <= v < 1),
    "rmsprop_eps": ("a number above 0", lambda v: _is_number(v) and v > 0),
    "init_noise": _ZERO_OR_NONE,
    "shuffle": _YES_OR_NO,
    "match_batches": _YES_OR_NO,
    "num_init_loss_batches": _COUNT,
    "init_seed": ("a whole number", _is_whole),
}
