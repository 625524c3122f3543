"""A law in active parameters, data and experts for dense models and mixtures of experts."""

from __future__ import annotations

from isoloss.laws._experts import SATURATED, TERMS
from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Law of dense models and mixtures of experts in N, D and experts"
FORMULA = (
    "L = c + a X^δ N^(α + γ ln X) + b X^ω D^(β + ζ ln X),"
    " 1/X = 1/(E - 1 + (1/E_start - 1/E_max)^-1) + 1/E_max"
)
LATEX = (
    r"L = c + a X^{\delta} N^{\alpha + \gamma \ln X} + b X^{\omega} D^{\beta + \zeta \ln X},"
    r" \quad \frac{1}{X} = \frac{1}{E - 1 + (1/E_{start} - 1/E_{max})^{-1}} + \frac{1}{E_{max}}"
)
SOURCE = (
    "Ludziejewski et al. 2025, arXiv:2502.05172, equations 4 and 6, tables 1, 3 and 4 and appendix"
    " A.1, read in its text"
)
BIBTEX = """\
@misc{ludziejewski2025joint,
  title = {Joint {MoE} Scaling Laws: Mixture of Experts Can Be Memory Efficient},
  author = {Ludziejewski, Jan and Pi\\'oro, Maciej and Krajewski, Jakub and others},
  year = {2025},
  eprint = {2502.05172},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "N active parameters with embeddings and unembeddings, E experts (`experts`, 1 for a dense"
    " model) of which one is active; for one E it is the Chinchilla law"
)
KIND = "joint"
OPTIONS = {}
PRESETS = {
    "ludziejewski": {
        "values": {
            "c": 1.3637,
            "a": 35.91,
            "delta": -0.2285,
            "alpha": -0.1889,
            "gamma": 0.0098,
            "b": 35.98,
            "omega": 0.5529,
            "beta": -0.1775,
            "zeta": -0.0259,
            "E_start": 2.0732,
            "E_max": 290.4521,
        },
        "source": "arXiv:2502.05172, table 3",
        "of": "over 280 models on FineWeb-Edu, and their ranges (appendix E)",
        "ranges": {"N": (7.9e7, 2.7e9), "D": (5e8, 8e10), "experts": (1.0, 32.0)},
    },
}

TEXT = (
    # N**(alpha + gamma * log(X)) as a product, so that a is sized where N has its mean
    "loss = c + a * X**delta * N**alpha * exp(gamma * log(X) * log(N))"
    " + b * X**omega * D**beta * exp(zeta * log(X) * log(D)); " + SATURATED
)


def make() -> Law:
    """The law in N (active parameters), D and `experts`."""
    shown = {"shown": FORMULA, "latex": LATEX}
    return formula_law(TEXT, ("N", "D", "experts"), terms=TERMS, kind=KIND, **shown)
