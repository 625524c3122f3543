"""A law in N, data and the size of the vocabulary."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Law in N, data and vocabulary"
FORMULA = "L = -E + A_1 / N^α_1 + A_2 / V^α_2 + B / D^β"
LATEX = r"L = -E + \frac{A_1}{N^{\alpha_1}} + \frac{A_2}{V^{\alpha_2}} + \frac{B}{D^{\beta}}"
SOURCE = (
    "Tao et al. 2024, arXiv:2407.13623, its third approach; form and values were read in its"
    " repository scaling-with-vocab (approach3_isoloss.py, optimal_Nv_predict.py), where α_1 = β;"
    " the text of the paper could not be read"
)
BIBTEX = """\
@misc{tao2024scaling,
  title = {Scaling Laws with Vocabulary: Larger Models Deserve Larger Vocabularies},
  author = {Tao, Chaofan and Liu, Qian and Dou, Longxu and Muennighoff, Niklas and others},
  year = {2024},
  eprint = {2407.13623},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "L is the loss less that of a model of unigrams, and below 0; N parameters outside the"
    " vocabulary, V (`vocab`) those of it, vocabulary size times width; D characters, which are the"
    " same text whatever the vocabulary is. The code of its source fits to tokens that it computes"
    " from characters and a vocabulary in thousands, 0.6 to 1 for a character, so that its"
    " values are nearer to characters than to tokens"
)
KIND = "joint"
OPTIONS = {
    "exponents": {
        "type": "string",
        "enum": ["tied", "free"],
        "default": "tied",
        "description": "Whether the exponent of N is that of D, as in its source.",
    },
}
PRESETS = {
    "tao": {
        "values": {
            "E": 5.5327846803337435,
            "A_1": 875.8258089074934,
            "A_2": 2071.7220819205154,
            "alpha_2": 0.6707374679896795,
            "B": 22214.398070320713,
            "beta": 0.44660634152009615,
        },
        # A_1, A_2 and B are 1.831, 0.196 and 2.124 for N and V in millions and D in 1e9
        "source": "arXiv:2407.13623, digits of its repository; of the variance of a public part of"
        " its runs they explain 95 % with D in characters, 11 % with D in tokens, and 98 % with D"
        " as its code counts",
        "of": "models with vocabularies of 4k to 96k words; ranges of a public part of its runs",
        "ranges": {"N": (3.32e7, 1.13e9), "D": (1.8e8, 2.31e11), "vocab": (2.1e6, 1.97e8)},
    },
}

TEXT = {
    "tied": "loss = A_1 / N**beta + A_2 / vocab**alpha_2 + B / D**beta - E",
    "free": "loss = A_1 / N**alpha_1 + A_2 / vocab**alpha_2 + B / D**beta - E",
}


def make(exponents: str) -> Law:
    """The law in N, D and `vocab`.

    Args:
        exponents: "tied" for one exponent of N and D, or "free".
    """
    shown = FORMULA if exponents == "free" else FORMULA.replace("α_1", "β")
    return formula_law(TEXT[exponents], ("N", "D", "vocab"), kind=KIND, shown=shown)
