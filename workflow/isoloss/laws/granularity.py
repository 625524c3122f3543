"""A law in N, D and granularity for models of many small experts."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Law of fine-grained experts in N, D and granularity"
FORMULA = "L = c + (g / G^γ + a) / N^α + b / D^β"
LATEX = r"L = c + \frac{g / G^{\gamma} + a}{N^{\alpha}} + \frac{b}{D^{\beta}}"
SOURCE = (
    "Krajewski et al. 2024, arXiv:2402.07871, equation 9 and tables 1 and 2, read in its text; the"
    " losses of its table 2 are 0.01 to 0.03 above those of its rounded coefficients"
)
BIBTEX = """\
@misc{krajewski2024scaling,
  title = {Scaling Laws for Fine-Grained Mixture of Experts},
  author = {Krajewski, Jakub and Ludziejewski, Jan and Adamczewski, Kamil and others},
  year = {2024},
  eprint = {2402.07871},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "one expansion rate for all runs: parameters of a layer of experts over those of a dense"
    " feed-forward layer, 64 in its source; granularity G (`granularity`) is the hidden size of a"
    " dense feed-forward layer over that of an expert; N all parameters, active or not, without"
    " embeddings"
)
KIND = "joint"
OPTIONS = {}
PRESETS = {
    "krajewski": {
        "values": {
            "c": 0.47,
            "g": 2.1,
            "gamma": 0.58,
            "a": 18.1,
            "alpha": 0.115,
            "b": 30.8,
            "beta": 0.147,
        },
        "source": "arXiv:2402.07871, table 1, MoE",
        "of": "over 100 models with expansion rate 64, and their ranges (section 5)",
        "ranges": {"N": (1.29e8, 3.7e9), "D": (1.6e10, 1.3e11), "granularity": (1.0, 16.0)},
    },
}

TEXT = "loss = c + g / (granularity**gamma * N**alpha) + a / N**alpha + b / D**beta"


def make() -> Law:
    """The law in N, D and `granularity`."""
    return formula_law(TEXT, ("N", "D", "granularity"), kind=KIND, shown=FORMULA)
