"""A law in N and the number of parallel streams through a model."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Law of parallel streams in N and streams"
FORMULA = "L = E + (A / (N (k ln P + 1)))^α"
LATEX = r"L = E + \left(\frac{A}{N (k \ln P + 1)}\right)^{\alpha}"
SOURCE = (
    "Chen et al. 2025, arXiv:2505.10475, equation 5; the form was read in a copy of the code of its"
    " repository ParScale (parametric_fit.py), which prints its values only when it runs; of these"
    " k, 0.39 on code and 0.33 on the Pile, was read on two secondary pages, and A, α and E could"
    " not be read, so that this card has no preset"
)
BIBTEX = """\
@misc{chen2025parallel,
  title = {Parallel Scaling Law for Language Models},
  author = {Chen, Mouxiang and Hui, Binyuan and Cui, Zeyu and others},
  year = {2025},
  eprint = {2505.10475},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "one number of tokens for all runs, 42e9 in its source; N without embeddings, with the few that"
    " streams add; P >= 1 streams (`streams`, 1 for a usual model), 1 to 8 in its source"
)
KIND = "joint"
OPTIONS = {}
PRESETS = {}

TEXT = "loss = E + (A / (N * (k * log(streams) + 1)))**alpha; A > 0; k > 0; 0.01 < alpha < 3"
TERMS = {"A": {"unit": "parameters"}}


def make() -> Law:
    """The law in N and `streams`."""
    return formula_law(TEXT, ("N", "streams"), terms=TERMS, kind=KIND, shown=FORMULA)
