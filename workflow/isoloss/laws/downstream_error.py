"""The error on tasks by the loss of a model."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Error on tasks by the loss"
FORMULA = "Err = ε - k e^(-γ loss)"
LATEX = r"Err = \epsilon - k e^{-\gamma loss}"
SOURCE = (
    "Gadre et al. 2024, arXiv:2403.08540, equation 5; form and values as in its repository scaling"
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
OPTIONS = {}
PRESETS = {
    "gadre": {
        "values": {"epsilon": 0.85699, "k": 2.2065, "gamma": 0.71459},
        "response": "error",
        "unit": "1",
        "source": "arXiv:2403.08540, of RedPajama, digits of its repository",
        "of": "models on RedPajama, their loss on OpenLM's validation set and 17 tasks",
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
