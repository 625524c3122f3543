"""The error on tasks by the loss of a model."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Error on tasks by the loss"
FORMULA = "L = ε - k e^(-γ loss)"
LATEX = r"L = \epsilon - k e^{-\gamma loss}"
SOURCE = (
    "Gadre et al. 2024, arXiv:2403.08540, equation 5 and table 6, read in its text; digits of one"
    " preset as in its repository scaling"
)
BIBTEX = """\
@misc{gadre2024language,
  title = {Language Models Scale Reliably with Over-Training and on Downstream Tasks},
  author = {Gadre, Samir Yitzhak and Smyrnis, Georgios and Shankar, Vaishaal and others},
  year = {2024},
  eprint = {2403.08540},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "top-1 error, the mean of several tasks, by the loss (`loss`) on one validation set; with"
    " --response error; chained with a law of the loss it predicts the error of N and D"
)
KIND = "curve"
RESPONSE = "error"  # what it is fitted to, as a rule: a column that is not the loss
OPTIONS = {}
PRESETS = {
    "gadre": {
        "values": {"epsilon": 0.85699, "k": 2.2065, "gamma": 0.71459},
        "response": "error",
        "unit": "1",
        "source": "arXiv:2403.08540, table 6, RedPajama, digits of its repository",
        "of": "6 models on RedPajama: mean error on 17 tasks by the loss on C4",
        "ranges": {},
    },
    "gadre_c4": {
        "values": {"epsilon": 0.850, "k": 2.08, "gamma": 0.756},
        "response": "error",
        "unit": "1",
        "source": "arXiv:2403.08540, table 6, C4",
        "of": "6 models on C4: mean error on 17 tasks by the loss on C4",
        "ranges": {},
    },
    "gadre_refinedweb": {
        "values": {"epsilon": 0.865, "k": 2.21, "gamma": 0.707},
        "response": "error",
        "unit": "1",
        "source": "arXiv:2403.08540, table 6, RefinedWeb",
        "of": "6 models on RefinedWeb: mean error on 17 tasks by the loss on C4",
        "ranges": {},
    },
}

TEXT = (
    "error = epsilon - k * exp(-gamma * loss);"
    " 0 <= error <= 1; 0 < epsilon < 2; k > 0; 0 < gamma < 20"
)
TERMS = {"gamma": {"unit": "1/nats"}}


def make() -> Law:
    """The law in `loss`."""
    return formula_law(TEXT, ("loss",), terms=TERMS, kind=KIND, shown=FORMULA)
