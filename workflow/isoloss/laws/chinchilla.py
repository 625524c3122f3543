"""The Chinchilla law: an irreducible loss, a term in model size, a term in data."""

from __future__ import annotations

import itertools

import numpy as np

from isoloss.laws._law import Term
from isoloss.laws._posynomial import Part, Posynomial

TITLE = "Chinchilla law in N and D"
FORMULA = "L = E + A / N^α + B / D^β"
LATEX = r"L = E + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}"
SOURCE = "Hoffmann et al. 2022, arXiv:2203.15556, equation 2; fitted as in its equation 3"
BIBTEX = """\
@misc{hoffmann2022training,
  title = {Training Compute-Optimal Large Language Models},
  author = {Hoffmann, Jordan and Borgeaud, Sebastian and Mensch, Arthur and others},
  year = {2022},
  eprint = {2203.15556},
  archivePrefix = {arXiv},
}
@misc{besiroglu2024chinchilla,
  title = {{Chinchilla} Scaling: A Replication Attempt},
  author = {Besiroglu, Tamay and Erdil, Ege and Barnett, Matthew and You, Josh},
  year = {2024},
  eprint = {2404.10102},
  archivePrefix = {arXiv},
}
"""
DOMAIN = "N > 0, D > 0; runs of one recipe that see no token often (four epochs are safe)"
KIND = "joint"
OPTIONS = {
    "E": {
        "type": "string",
        "enum": ["positive", "any"],
        "default": "positive",
        "description": "Sign of the irreducible loss; any: a number that may be 0 or below.",
    },
}
PRESETS = {
    "hoffmann": {
        "values": {
            "E": 1.69337368,
            "A": 406.401018,
            "B": 410.722827,
            "alpha": 0.33917084,
            "beta": 0.2849083,
        },
        "source": "arXiv:2203.15556, TeX source of appendix D.2, which gives logarithms",
        "of": "over 400 models on MassiveText; ranges as in its abstract",
        "ranges": {"N": (7e7, 1.6e10), "D": (5e9, 5e11)},
    },
    "epoch": {
        "values": {
            "E": 1.81686,
            "A": 482.00572,
            "B": 2085.43420,
            "alpha": 0.34781,
            "beta": 0.36585,
        },
        "source": "Besiroglu et al. 2024, arXiv:2404.10102, digits of its notebook",
        "of": "240 points read off figure 4 of arXiv:2203.15556 (MassiveText), and their ranges",
        "ranges": {"N": (5.73e7, 1.62e10), "D": (8.19e8, 3.18e11)},
    },
}

_EXPONENTS = (0.05, 0.15, 0.3, 0.45, 0.65, 1.0, 1.6)


class Chinchilla(Posynomial):
    """theta = (ln E, ln A, ln B, alpha, beta); E itself where it may have any sign."""

    kind = KIND
    variables = ("N", "D")
    formula = FORMULA
    parts = (Part("E"), Part("A", {"alpha": {"N": 1}}), Part("B", {"beta": {"D": 1}}))

    def __init__(self, any_sign: bool = False):
        # where runs cannot tell a power from a logarithm, E would fall without end and an exponent
        # vanish with it: A and B are at most 20 times the loss, so that budgets can be divided
        least, most = (-30.0, 3.0) if any_sign else (-14.0, 5.0)
        exponents = (0.025, *_EXPONENTS) if any_sign else _EXPONENTS
        signed = Term("E", "E", "nats/token", False, -50.0, 50.0, (0.6,))
        positive = Term("E", "E", "nats/token", True, -9.0, 3.0, (-0.5,))
        self.terms = (
            signed if any_sign else positive,
            Term("A", "A", "nats/token", True, least, most, (-1.0,)),
            Term("B", "B", "nats/token", True, least, most, (-1.0,)),
            Term("alpha", "α", "1", False, -1.0, 5.0, exponents),
            Term("beta", "β", "1", False, -1.0, 5.0, exponents),
        )

    def allocate(self, theta: np.ndarray, flops: float) -> tuple[np.ndarray, np.ndarray]:
        """Optimal N and D for C = 6 N D (arXiv:2203.15556, equation 4): (...), (...)."""
        _, a, b, alpha, beta = (theta[..., i] for i in range(5))
        log_g = (np.log(alpha) + a - np.log(beta) - b) / (alpha + beta)
        log_c = np.log(flops / 6.0)
        n = np.exp(log_g + beta / (alpha + beta) * log_c)
        return n, flops / 6.0 / n


def published_starts() -> np.ndarray:
    """The grid of arXiv:2203.15556, appendix D.2, in theta: (4500, 5)."""
    exponents, scales = (0.0, 0.5, 1.0, 1.5, 2.0), (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
    axes = ((-1.0, -0.5, 0.0, 0.5, 1.0), scales, scales, exponents, exponents)
    return np.array(list(itertools.product(*axes)))


def make(E: str = "positive") -> Chinchilla:
    """The law.

    Args:
        E: "positive", or "any" for an irreducible loss that may be 0 or below.
    """
    return Chinchilla(any_sign=E == "any")
