"""A law in N and experts for routed models: bilinear in their logarithms."""

from __future__ import annotations

from isoloss.laws._experts import SATURATED, TERMS
from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Law of routed models in N and experts"
FORMULA = (
    "log L = a log N + b log X + c log N log X + d,"
    " 1/X = 1/(E - 1 + (1/E_start - 1/E_max)^-1) + 1/E_max"
)
LATEX = (
    r"\log L = a \log N + b \log X + c \log N \log X + d, \quad"
    r" \frac{1}{X} = \frac{1}{E - 1 + (1/E_{start} - 1/E_{max})^{-1}} + \frac{1}{E_{max}}"
)
SOURCE = (
    "Clark et al. 2022, arXiv:2202.01169, equation 1 with logarithms to base 10; the form was"
    " read in the notebook of its repository scaling_laws_for_routing, and what N is in the README"
    " there; the text of the paper could not be read"
)
BIBTEX = """\
@misc{clark2022unified,
  title = {Unified Scaling Laws for Routed Language Models},
  author = {Clark, Aidan and de las Casas, Diego and Guy, Aurelia and Mensch, Arthur and others},
  year = {2022},
  eprint = {2202.01169},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "one number of tokens for all runs; N the parameters that one token meets, those of the dense"
    " model that is routed, E experts (`experts`, 1 for a dense model) of which one is active"
)
KIND = "joint"
OPTIONS = {}
PRESETS = {
    "s_base": {
        "values": {
            "a": -0.082,
            "b": -0.108,
            "c": 0.009,
            "d": 1.104,
            "E_start": 1.847,
            "E_max": 314.478,
        },
        "source": "arXiv:2202.01169, table 3, S-BASE; read on two secondary pages",
        "of": "dense and S-BASE models on 130B tokens; ranges of a public part of its runs",
        "ranges": {"N": (1.65e7, 3.68e8), "experts": (1.0, 512.0)},
    },
    "rl_r": {
        "values": {
            "a": -0.083,
            "b": -0.126,
            "c": 0.012,
            "d": 1.111,
            "E_start": 1.880,
            "E_max": 469.982,
        },
        "source": "arXiv:2202.01169, table 3, RL-R; read on two secondary pages",
        "of": "dense and RL-R models on 130B tokens; ranges of a public part of its runs",
        "ranges": {"N": (1.65e7, 3.68e8), "experts": (1.0, 512.0)},
    },
    "hash": {
        "values": {
            "a": -0.087,
            "b": -0.136,
            "c": 0.012,
            "d": 1.157,
            "E_start": 4.175,
            "E_max": 477.741,
        },
        "source": "arXiv:2202.01169, table 3, HASH; read on two secondary pages",
        "of": "dense and HASH models on 130B tokens; ranges of a public part of its runs",
        "ranges": {"N": (1.65e7, 3.68e8), "experts": (1.0, 512.0)},
    },
}

TEXT = "loss = 10 ** (a * log10(N) + b * log10(X) + c * log10(N) * log10(X) + d); " + SATURATED


def make() -> Law:
    """The law in N and `experts`."""
    shown = {"shown": FORMULA, "latex": LATEX}
    return formula_law(TEXT, ("N", "experts"), terms=TERMS, kind=KIND, **shown)
