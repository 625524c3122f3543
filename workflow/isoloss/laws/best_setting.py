"""The best learning rate or batch size of a run, by its size and data."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Best value of a setting by N and D"
FORMULA = "L = k N^a D^b"
LATEX = r"L = k N^{a} D^{b}"
SOURCE = (
    "Li et al. 2025, arXiv:2503.04715 (Step Law), equation 1 and table 2: best learning rate and"
    " best batch size; form, values, units and ranges were read in quotations of"
    " its text"
)
BIBTEX = """\
@misc{li2025predictable,
  title = {Predictable Scale: Part {I}, Step Law -- Optimal Hyperparameter Scaling Law in Large Language Model Pretraining},
  author = {Li, Houyi and Zheng, Wenzhen and Hu, Jingcheng and others},
  year = {2025},
  eprint = {2503.04715},
  archivePrefix = {arXiv},
}
"""  # noqa: E501
DOMAIN = (
    "the best peak learning rate, or the best batch size in tokens, of every N and D, in the place"
    " of a loss; N without embeddings; a learning rate that ends at a fixed least value"
)
KIND = "joint"
OPTIONS = {}
PRESETS = {
    "step_lr": {
        "values": {"k": 1.79, "a": -0.713, "b": 0.307},
        "response": "lr",
        "unit": "1",
        "source": "arXiv:2503.04715, table 2, as others quote it",
        "of": "the best learning rates of about 3700 models, and their ranges (section 3.4.1)",
        "ranges": {"N": (6.0e7, 1.07e9), "D": (2e9, 1e11)},
    },
    "step_batch": {
        "values": {"k": 0.58, "a": 0.0, "b": 0.571},
        "response": "batch",
        "unit": "tokens",
        "source": "arXiv:2503.04715, table 2, as others quote it",
        "of": "the best batch sizes of about 3700 models, and their ranges (section 3.4.1)",
        "ranges": {"N": (6.0e7, 1.07e9), "D": (2e9, 1e11)},
    },
}


def make() -> Law:
    """The law in N and D."""
    return formula_law("k * N**a * D**b", ("N", "D"), kind=KIND, shown=FORMULA)
