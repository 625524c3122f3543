"""Farseer: a law in N and D whose exponent of D depends on N."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Farseer: a law in N and D with an exponent of D that depends on N"
FORMULA = "L = e^(a_3 N^γ + b_3) + e^(a_2 N^β + b_2) D^(-e^(a_1 N^α + b_1))"
LATEX = (
    r"L = e^{a_3 N^{\gamma} + b_3}"
    r" + e^{a_2 N^{\beta} + b_2} D^{-e^{a_1 N^{\alpha} + b_1}}"
)
SOURCE = (
    "Li et al. 2025, arXiv:2506.10972, equation 3; the form was read on a secondary page and in"
    " code of others"
)
BIBTEX = """\
@misc{li2025farseer,
  title = {Predictable Scale: Part {II}, {Farseer}: A Refined Scaling Law in Large Language Models},
  author = {Li, Houyi and Zheng, Wenzhen and Wang, Qiufeng and others},
  year = {2025},
  eprint = {2506.10972},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "runs over two decades of N and of D at least: nine parameters; signs of the exponents as in"
    " its source (α, γ > 0 > β); its losses are per character"
)
KIND = "joint"
OPTIONS = {}
PRESETS = {
    "farseer": {
        "values": {
            "a_3": -0.062465473,
            "gamma": 0.13,
            "b_3": 0.1284880679442551,
            "a_2": 230.73437075885855,
            "beta": -0.1729,
            "b_2": -1.544209554,
            "a_1": -1.665630816,
            "alpha": 0.0459,
            "b_1": 3.133347198805445,
        },
        "unit": "nats/character",
        "source": "arXiv:2506.10972, as code of others (PlanarG/active-sl) quotes its notebook",
        "of": "about 1000 models; ranges of its public runs",
        "ranges": {"N": (9.96e7, 2.51e10), "D": (1e9, 5.12e11)},
    },
}

TEXT = (
    "loss = exp(a_3 * N**gamma + b_3) + exp(a_2 * N**beta + b_2) * D**(-exp(a_1 * N**alpha + b_1));"
    " 0.005 <= gamma <= 0.6; -0.8 <= beta <= -0.005; 0.001 <= alpha <= 0.4"
)


def make() -> Law:
    """The law in N and D."""
    return formula_law(TEXT, ("N", "D"), kind=KIND, shown=FORMULA)
