"""Farseer: a law in N and D whose exponent of D depends on N."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Farseer: a law in N and D with an exponent of D that depends on N"
FORMULA = (
    "L = e^(b_3 + a_3 h_γ) + e^(b_2 + a_2 h_β) D^(-e^(b_1 + a_1 h_α)), h_x = ((N / 10^9)^x - 1) / x"
)
LATEX = (
    r"L = e^{b_3 + a_3 h_{\gamma}} + e^{b_2 + a_2 h_{\beta}} D^{-e^{b_1 + a_1 h_{\alpha}}},"
    r" \quad h_x = \frac{(N / 10^9)^x - 1}{x}"
)
SOURCE = (
    "Li et al. 2025, arXiv:2506.10972, equation 3, read in its text, e^(a N^x + b) written with"
    " a h_x + b, so that a and b are known where x is small; the text prints no values of the"
    " parameters"
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
    "N without embeddings; b_3, b_2 and b_1 are those of 1e9 parameters; runs over two decades of N"
    " and of D at least, for nine parameters; signs of the exponents as in its source (α, γ > 0 >"
    " β); its losses are per character: it calls them bits (appendix D.2), and they have the size"
    " of nats, which its text does not decide"
)
KIND = "joint"
OPTIONS = {}
PRESETS = {
    "farseer": {
        "values": {
            "b_3": -0.7954439829076918,
            "a_3": -0.1201111666107531,
            "gamma": 0.13,
            "b_2": 4.868067711861197,
            "a_2": -1.1086827392674008,
            "beta": -0.1729,
            "b_1": -1.1786527514232277,
            "a_1": -0.1979207977154961,
            "alpha": 0.0459,
        },
        "unit": "nats/character",
        "source": "arXiv:2506.10972, as code of others (PlanarG/active-sl) quotes its notebook,"
        " in this card's parameters",
        "of": "models of 21 sizes on its baseline recipe, and their ranges (table 4)",
        "ranges": {"N": (2.01e8, 6.37e9), "D": (1e9, 5.12e11)},
    },
}

TEXT = (
    "loss = exp(b_3 + a_3 * ((N / 1e9)**gamma - 1) / gamma)"
    " + exp(b_2 + a_2 * ((N / 1e9)**beta - 1) / beta"
    " - log(D) * exp(b_1 + a_1 * ((N / 1e9)**alpha - 1) / alpha));"
    " 0.005 <= gamma <= 0.6; -0.8 <= beta <= -0.005; 0.001 <= alpha <= 0.4;"
    " -3 < a_3 < 3; -5 < b_3 < 5; -3 < a_2 < 3; -10 < b_2 < 30; -1 < a_1 < 1; -3 < b_1 < 1"
)


def make() -> Law:
    """The law in N and D."""
    return formula_law(TEXT, ("N", "D"), kind=KIND, shown=FORMULA)
