"""The Chinchilla law for repeated data: repeated data and excess parameters count less."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isoloss.laws._law import Data, Law, Term

TITLE = "Data-constrained law in N, D and distinct tokens U"
FORMULA = (
    "L = E + A / (U_N + U_N R_N* (1 - e^(-R_N/R_N*)))^α"
    " + B / (U_D + U_D R_D* (1 - e^(-R_D/R_D*)))^β"
)
LATEX = (
    r"L = E + \frac{A}{\left(U_N + U_N R_N^* (1 - e^{-R_N/R_N^*})\right)^{\alpha}}"
    r" + \frac{B}{\left(U_D + U_D R_D^* (1 - e^{-R_D/R_D^*})\right)^{\beta}}"
)
SOURCE = (
    "Muennighoff et al. 2023, arXiv:2305.16264, equations 5 and 6; U_D = min(D, U),"
    " R_D = D/U_D - 1, U_N = min(N, best N for U_D tokens), R_N = N/U_N - 1; form and"
    " values were read in the README of its repository datablations"
)
BIBTEX = """\
@misc{muennighoff2023scaling,
  title = {Scaling Data-Constrained Language Models},
  author = {Muennighoff, Niklas and Rush, Alexander M. and Barak, Boaz and others},
  year = {2023},
  eprint = {2305.16264},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "U distinct tokens, seen D/U times; some tens of times at most: the law levels off where"
    " training on would raise the loss"
)
KIND = "joint"
OPTIONS = {
    "decay": {
        "type": "string",
        "enum": ["both", "data"],
        "default": "both",
        "description": "What counts less in excess: repeated data and parameters, or data only.",
    },
}
PRESETS = {
    "muennighoff": {
        "values": {
            "E": 1.8691436784054858,
            "A": 520.8249516599187,
            "B": 1487.716093782861,
            "alpha": 0.3526596,
            "beta": 0.3526596,
            "R_D": 15.387756,
            "R_N": 5.309743,
        },
        "source": "arXiv:2305.16264, for decay of both; digits of its repository datablations",
        "of": "182 runs on C4, and their ranges",
        "ranges": {"N": (7.1e6, 8.67e9), "D": (1e8, 9e11), "U": (1e8, 1.78e11)},
    },
}

_HUGE = 600.0  # the exponential of this is finite, and an excess of which nothing more counts
_EXPONENTS = (0.1, 0.3, 0.65, 1.6)


_SIZE = """\
best = (alpha * A / (beta * B) * unique**beta) ** (1 / alpha)
base = minimum(N, best)
parameters = base + base * R_N * (1 - exp(-(N / base - 1) / R_N))
"""
_PYTHON = f"""\
unique = minimum(D, U)
{_SIZE}\
tokens = unique + unique * R_D * (1 - exp(-(D / unique - 1) / R_D))
return E + A / parameters**alpha + B / tokens**beta"""


class DataConstrained(Law):
    """theta = (ln E, ln A, ln B, alpha, beta, ln R_D*, ln R_N*); the last only for decay "both"."""

    kind = KIND
    variables = ("N", "D", "U")

    def __init__(self, decay: str):
        self.decay = decay
        self.python = _PYTHON if decay == "both" else _PYTHON.replace(_SIZE, "parameters = N\n")
        self.formula = FORMULA
        self.terms = (
            Term("E", "E", "nats/token", True, -9.0, 3.0, (-0.5,)),
            Term("A", "A", "nats/token", True, -14.0, 5.0, (-1.0,), nonlinear=decay == "both"),
            Term("B", "B", "nats/token", True, -14.0, 5.0, (-1.0,), nonlinear=decay == "both"),
            Term("alpha", "α", "1", False, 0.01, 5.0, _EXPONENTS),
            Term("beta", "β", "1", False, 0.01, 5.0, _EXPONENTS),
            Term("R_D", "R_D*", "1", True, -5.0, 12.0, (0.5, 2.5, 4.5)),
            Term("R_N", "R_N*", "1", True, -5.0, 12.0, (0.5, 2.5)),
        )
        if decay == "data":
            self.formula = f"L = E + A / N^α{FORMULA[FORMULA.index(' + B') :]}"
            self.terms = self.terms[:-1]

    def loss(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """L, (..., n)."""
        (log_n, _), (log_d, _) = self._size(theta, data), self._tokens(theta, data)
        e, a, b, alpha, beta = (theta[..., i, None] for i in range(5))
        return np.exp(e) + np.exp(a - alpha * log_n) + np.exp(b - beta * log_d)

    def gradient(self, theta: np.ndarray, data: Data) -> np.ndarray:
        """d L / d theta, (..., n, p); at the kink, where N is the best, that of smaller N."""
        (log_n, n_by), (log_d, d_by) = self._size(theta, data), self._tokens(theta, data)
        e, a, b, alpha, beta = (theta[..., i, None] for i in range(5))
        of_n, of_d = np.exp(a - alpha * log_n), np.exp(b - beta * log_d)
        derivatives = np.zeros((*of_n.shape, len(self.terms)))
        derivatives[..., 0] = np.exp(e)
        for part, scale, exponent, log, by in (
            (of_n, 1, 3, log_n, n_by),
            (of_d, 2, 4, log_d, d_by),
        ):
            derivatives[..., scale] += part
            derivatives[..., exponent] -= part * log
            for i, slope in by.items():
                derivatives[..., i] -= theta[..., exponent, None] * part * slope
        return derivatives

    def _size(self, theta: np.ndarray, data: Data) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """ln of the parameters that count, (..., n); derivatives by position in theta."""
        log_n = np.log(data["N"]) + np.zeros((*theta.shape[:-1], 1))
        if self.decay == "data":
            return log_n, {}
        a, b, alpha, beta = (theta[..., i, None] for i in range(1, 5))
        log_u = np.log(np.minimum(data["D"], data["U"]))
        # where both terms of the Chinchilla law fall at the same rate along C = 6 N D
        best = (np.log(alpha / beta) + a - b + beta * log_u) / alpha
        base = np.minimum(log_n, best)
        excess = np.expm1(np.minimum(log_n - base, _HUGE))
        gain, by_excess, by_limit = _gain(excess, theta[..., 6, None])
        by_best = np.where(best < log_n, 1.0 - (1.0 + excess) * by_excess, 0.0) / alpha
        slopes = (by_best, -by_best, by_best * (1.0 / alpha - best), by_best * (log_u - 1.0 / beta))
        return base + gain, {**dict(enumerate(slopes, start=1)), 6: by_limit}

    def _tokens(self, theta: np.ndarray, data: Data) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        """ln of the tokens that count, (..., n); derivatives by position in theta."""
        unique = np.minimum(data["D"], data["U"])
        gain, _, by_limit = _gain(data["D"] / unique - 1.0, theta[..., 5, None])
        return np.log(unique) + gain, {5: by_limit}

    def scales(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[Mapping[str, float], float]:
        """U has the scale of D: how often a token is repeated does not depend on units."""
        return {**log_scale, "U": log_scale["D"]}, log_loss_scale

    def rescaling(
        self, log_scale: Mapping[str, float], log_loss_scale: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """As the Chinchilla law; U in the scale of D (see `scales`)."""
        matrix, shift = np.eye(len(self.terms)), np.zeros(len(self.terms))
        matrix[1, 3], matrix[2, 4] = -log_scale["N"], -log_scale["D"]
        shift[:3] = -log_loss_scale
        return matrix, shift


def _gain(excess: np.ndarray, log_limit: np.ndarray) -> tuple[np.ndarray, ...]:
    """ln(1 + R* (1 - e^(-R/R*))) and its derivatives by R and by ln R*, each (..., n)."""
    limit = np.exp(log_limit)
    kept, gained = np.exp(-excess / limit), -limit * np.expm1(-excess / limit)
    return np.log1p(gained), kept / (1 + gained), (gained - excess * kept) / (1 + gained)


def make(decay: str) -> DataConstrained:
    """The law with parameters that count less too, or only data."""
    return DataConstrained(decay)
