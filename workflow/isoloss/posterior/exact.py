"""Exact values of learning coefficients, to hold a sampler against.

A learning coefficient λ comes with its multiplicity m: at inverse temperature n_beta the expected
LLC is λ - (m - 1) / ln(n_beta) and smaller terms, so that it is far from λ where m > 1. What a
sampler should measure is known at finite n_beta for monomials (`monomial_at`) and at finite step
size for quadratic losses (`quadratic`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import combinations
from math import isqrt, prod
from operator import index
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from isoloss.posterior.settings import Settings


def regular(parameters: int) -> tuple[Fraction, int]:
    """λ and m of a loss with a positive definite Hessian at its minimum: half of the parameters.

    Args:
        parameters: their number d.

    Raises:
        ValueError: a number below 0.

    Example:
        >>> regular(5)
        (Fraction(5, 2), 1)
    """
    (d,) = _whole("parameters", [parameters], least=0)
    return Fraction(d, 2), 1


def monomial(powers: Sequence[int]) -> tuple[Fraction, int]:
    """λ and m of the loss w_1^a_1 w_2^a_2 ... at 0: least 1 / a, and how many powers have it.

    Args:
        powers: a_1, a_2, ...; even, at least 2.

    Raises:
        ValueError: no power, or one that is odd or below 2.

    Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009), the poles of the
    zeta function in normal crossing form.

    Example:
        >>> monomial([2, 2])
        (Fraction(1, 2), 2)
        >>> monomial([2, 6])
        (Fraction(1, 6), 1)
    """
    a = _even(powers)
    return Fraction(1, max(a)), a.count(max(a))


def reduced_rank(inputs: int, hidden: int, outputs: int, rank: int) -> tuple[Fraction, int]:
    """λ and m of reduced-rank regression y = B A x, with A (hidden, inputs), B (outputs, hidden).

    The coefficient is that of the whole set of true weights: its least local value.

    Args:
        inputs: M.
        hidden: H.
        outputs: N.
        rank: r, the rank of the true B A; at most each of the others.

    Raises:
        ValueError: a width below 1, or a rank that the network cannot have.

    Source: Aoyagi and Watanabe 2005, Stochastic complexities of reduced rank regression in
    Bayesian estimation, Neural Networks 18, 924-933, Main Theorem, cases 1 to 4.

    Example:
        >>> reduced_rank(5, 3, 5, rank=0)
        (Fraction(13, 2), 2)
    """
    M, H, N = _whole("width", [inputs, hidden, outputs], least=1)
    r = index(rank)
    if not 0 <= r <= min(M, H, N):
        raise ValueError(f"rank {r}: a product of these widths has a rank of 0 to {min(M, H, N)}")
    if N + r > M + H:  # case 2
        return Fraction(H * M - H * r + N * r, 2), 1
    if M + r > N + H:  # case 3
        return Fraction(H * N - H * r + M * r, 2), 1
    if H + r > M + N:  # case 4
        return Fraction(M * N, 2), 1
    eightfold = 2 * (H + r) * (M + N) + 2 * M * N - (H + r) ** 2 - M**2 - N**2
    odd = (M + H + N + r) % 2  # case 1: (a) even, (b) odd
    return Fraction(eightfold + odd, 8), 1 + odd


def deep_linear(widths: Sequence[int], rank: int) -> tuple[Fraction, int]:
    """λ and m of a deep linear network y = W_L ... W_1 x without biases.

    The coefficient is that of the whole set of true weights: its least local value. One hidden
    layer is reduced-rank regression.

    Args:
        widths: of the inputs, of each hidden layer and of the outputs; at least two.
        rank: r, the rank of the true product.

    Raises:
        ValueError: a rank that the network cannot have, fewer than two widths, or one below 1.

    Source: Aoyagi 2024, Consideration on the learning efficiency of multiple-layered neural
    networks with linear units, Neural Networks 172, 106132, Theorem 1. In its notation the
    excess widths are M_s = H_s - r, and the set of the narrowest layers is the calligraphic M.

    Example:
        >>> deep_linear([4, 3, 3, 4], rank=1)
        (Fraction(11, 2), 3)
    """
    widths, rank = _whole("width", widths, least=1), index(rank)
    if len(widths) < 2 or not 0 <= rank <= min(widths):
        raise ValueError(f"rank {rank}: two widths or more, none below the rank, are needed")
    narrow = _narrowest([width - rank for width in widths])
    ell, total = len(narrow) - 1, sum(narrow)
    a = total - (-(-total // ell) - 1) * ell  # 1 to ell: what is beyond a multiple of ell
    pairs = sum(one * other for one, other in combinations(narrow, 2))
    true_part = Fraction(rank * (widths[0] + widths[-1]) - rank**2, 2)
    excess = Fraction(a * (ell - a), 4 * ell) - Fraction((ell - 1) * total**2, 4 * ell)
    return true_part + excess + Fraction(pairs, 2), a * (ell - a) + 1


def _narrowest(excess: list[int]) -> list[int]:
    """The excess widths that decide λ: the k smallest, with their sum between bounds.

    Their sum is at least (k - 1) times the largest of them, and less than (k - 1) times the
    smallest of the others; equal widths are all in or all out.
    """
    ranked = sorted(excess)
    for count in range(2, len(ranked) + 1):
        inside, outside = ranked[:count], ranked[count:]
        ell, total = count - 1, sum(inside)
        if total >= ell * inside[-1] and all(total < ell * width for width in outside):
            return inside
    raise AssertionError(f"no set of the widths {excess} satisfies the theorem")


def tanh_one_input(hidden: int) -> tuple[Fraction, int]:
    """λ and m of the regression y = sum_k a_k tanh(b_k x), one input, where the truth is 0.

    Args:
        hidden: p, the number of hidden units, at least 1.

    Raises:
        ValueError: a number below 1.

    Source: Aoyagi 2006, The zeta function of learning theory and generalization error of three
    layered neural perceptron, RIMS Kokyuroku 1501, 153-167, with i the integer part of sqrt(p).

    Example:
        >>> [str(tanh_one_input(p)[0]) for p in (1, 2, 3)]
        ['1/2', '2/3', '5/6']
    """
    (p,) = _whole("hidden", [hidden], least=1)
    i = isqrt(p)
    return Fraction(p + i * i + i, 4 * i + 2), 2 if i * i == p else 1


def _whole(name: str, numbers: Iterable[int], least: int) -> list[int]:
    """Integers of any type, NumPy's too, as Python's, which do not overflow.

    Raises:
        TypeError: one is not an integer.
        ValueError: one is too small.
    """
    whole = [index(number) for number in numbers]
    for number in whole:
        if number < least:
            raise ValueError(f"{name} {number}: at least {least} is needed")
    return whole


def _even(powers: Sequence[int]) -> list[int]:
    """The powers of a monomial, checked."""
    whole = _whole("power", powers, least=2)
    if not whole or any(power % 2 for power in whole):
        raise ValueError(f"powers {whole}: one or more are needed, all even")
    return whole


def monomial_at(powers: Sequence[int], n_beta: float, localization: float) -> float:
    """The expected LLC of the loss w_1^a_1 w_2^a_2 at finite n_beta, centred at its minimum 0.

    It is E[n_beta L] under the density exp(-n_beta L(w) - localization |w|^2 / 2), by the
    trapezoidal rule in ln|w|; the relative error is below 1e-6 for powers up to 8.

    Args:
        powers: a_1, or a_1 and a_2; even, at least 2.
        n_beta: inverse temperature, 0.001 to 1e8.
        localization: γ, 0 to 1e8; at least 1e-5 for two variables: without it the density has no
            integral, and with less it reaches beyond the range of the rule.

    Raises:
        ValueError: more than two powers, or a number out of its range.

    Example:
        >>> round(monomial_at([2, 2], n_beta=1000, localization=1), 4)
        0.3903
    """
    powers = _even(powers)
    if len(powers) > 2:
        raise ValueError(f"{len(powers)} powers: one or two")
    least = 1e-5 if len(powers) == 2 else 0
    for name, number, low in (("n_beta", n_beta, 1e-3), ("localization", localization, least)):
        if not low <= number <= 1e8:
            raise ValueError(f"{name} {number:g}: {low:g} to 1e8, with powers {powers}")
    u = np.arange(-40.0, 8.0, 0.04)  # ln|w|
    parts = [np.exp(u.reshape(shape)) for shape in ((-1, 1), (1, -1))[: len(powers)]]
    energy = n_beta * prod(w**a for w, a in zip(parts, powers, strict=True))
    pull = localization / 2 * sum(w**2 for w in parts)
    density = np.exp(-energy - pull) * prod(parts)
    return float((energy * density).sum() / density.sum())


def quadratic(
    curvatures: Sequence[float] | np.ndarray,
    settings: Settings,
    start: Sequence[float] | np.ndarray | float = 0.0,
) -> float:
    """The expected LLC that SGLD measures at its step size, of a loss sum_i h_i (p_i - s_i)^2 / 2.

    It is exact for chains that begin at the minimum s with full batches: the mean of n_beta L
    over the steps after the burn-in, step 0 being the start. A coordinate is an autoregression:
    with a = n_beta h + γ + d (localisation γ, weight decay d) each step multiplies the distance
    from the fixed point -d s / a by ρ = 1 - lr a / 2 and adds noise of variance lr.

    Args:
        curvatures: h_i, shape (P,).
        settings: of the sampler `sgmcmc_sgld`; no box.
        start: s_i, shape (P,) or one number; it matters only to weight decay.

    Raises:
        ValueError: a step at which the chain diverges, lr a >= 4, a curvature that is negative or
            not finite, or settings without a formula.

    Example:
        >>> from isoloss.posterior.settings import Settings
        >>> still = Settings(lr=1e-4, n_beta=1000.0, num_draws=5000, num_burnin_steps=5000)
        >>> round(quadratic([1.0, 2.0], still), 3)  # 1 as lr goes to 0
        1.039
    """
    if settings.sampling_method != "sgmcmc_sgld" or settings.bounding_box_size is not None:
        raise ValueError("the formula is that of sgmcmc_sgld without a box")
    h = np.asarray(curvatures, dtype=float)
    if not (np.isfinite(h) & (h >= 0)).all():
        raise ValueError("a curvature below 0 or not finite: the loss has no minimum")
    curved = settings.n_beta * h > 0
    s = np.broadcast_to(np.asarray(start, dtype=float), h.shape)[curved]
    h = h[curved]  # a flat direction adds nothing to the loss, however far the chain walks
    decay = settings.llc_weight_decay
    a = settings.n_beta * h + settings.localization + decay
    if (settings.lr * a >= 4).any():
        raise ValueError(f"lr times the largest curvature is {settings.lr * a.max():g}: below 4")
    steps = np.arange(settings.num_burnin_steps, settings.num_steps)[:, None]
    gone = (1 - settings.lr * a / 2) ** steps  # ρ^t: what is left of the start
    variance = settings.noise_level**2 / (a * (1 - settings.lr * a / 4)) * (1 - gone**2)
    variance += (settings.init_noise or 0.0) ** 2 * gone**2
    mean = -decay * s / a * (1 - gone)
    return float((settings.n_beta * h / 2 * (variance + mean**2)).mean(axis=0).sum())
