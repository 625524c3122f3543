"""A law in N, D and the sparsity of a mixture of experts."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Law of sparse models in N, D and sparsity"
FORMULA = "L = e + a / N^α + b / D^β + c / (1 - S)^λ + d / ((1 - S)^δ N^γ)"
LATEX = (
    r"L = e + \frac{a}{N^{\alpha}} + \frac{b}{D^{\beta}} + \frac{c}{(1 - S)^{\lambda}}"
    r" + \frac{d}{(1 - S)^{\delta} N^{\gamma}}"
)
SOURCE = (
    "Abnar et al. 2025, arXiv:2501.12370, equation 6, read in its text; the values of table 3 were"
    " read on three secondary pages that agree"
)
BIBTEX = """\
@misc{abnar2025parameters,
  title = {Parameters vs {FLOPs}: Scaling Laws for Optimal Sparsity for Mixture-of-Experts Language Models},
  author = {Abnar, Samira and Shah, Harshay and Busbridge, Dan and others},
  year = {2025},
  eprint = {2501.12370},
  archivePrefix = {arXiv},
}
"""  # noqa: E501
DOMAIN = (
    "0 <= S < 1: the sparsity S (`sparsity`) is the share of experts that are not active; N all"
    " parameters, active or not, while training costs 6 D times the active ones; whether N has"
    " embeddings could not be confirmed; its source explains 68 % of the variance at the largest S,"
    " held out"
)
KIND = "joint"
OPTIONS = {}
PRESETS = {
    "abnar": {
        "values": {
            "e": 0.94,
            "a": 16612.50,
            "alpha": 0.5962,
            "b": 5455.67,
            "beta": 0.3954,
            "c": 0.4598,
            "lam": -0.1666,
            "d": 17.26,
            "delta": 0.1603,
            "gamma": 0.1595,
        },
        "source": "arXiv:2501.12370, table 3; read on three secondary pages",
        "of": "mixtures of experts of 3e19 to 1e21 FLOP; the ranges of N and D could not be read",
        "ranges": {"sparsity": (0.0, 0.98)},
    },
}

TEXT = (
    "loss = e + a / N**alpha + b / D**beta + c / (1 - sparsity)**lam"
    " + d / ((1 - sparsity)**delta * N**gamma)"
)


def make() -> Law:
    """The law in N, D and `sparsity`."""
    return formula_law(TEXT, ("N", "D", "sparsity"), kind=KIND, shown=FORMULA)
