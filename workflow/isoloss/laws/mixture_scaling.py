"""A law in N, D and the mixture of the training data together."""

from __future__ import annotations

from collections.abc import Sequence

from isoloss.core.problems import IsolossError, Problem
from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Law in N, D and mixture"
FORMULA = "L = E + 1 / Σ_i C_i p_i^γ_i + A / N^α + B / D^β"
LATEX = r"L = E + \frac{1}{\sum_i C_i p_i^{\gamma_i}} + \frac{A}{N^{\alpha}} + \frac{B}{D^{\beta}}"
SOURCE = (
    "Shukor et al. 2025, arXiv:2507.09404, equations 2.4 (additive) and 2.5 (joint), read in its"
    " text, which prints errors and best mixtures and no values of the parameters, so that this"
    " card has no preset"
)
BIBTEX = """\
@misc{shukor2025scaling,
  title = {Scaling Laws for Optimal Data Mixtures},
  author = {Shukor, Mustafa and Bethune, Louis and Busbridge, Dan and others},
  year = {2025},
  eprint = {2507.09404},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "the loss on one domain by the proportions of the domains in the data, every one above 0 (0.1"
    " at least in its source); by `additive` the best mixture is the same for every N and D"
)
KIND = "joint"
OPTIONS = {
    "domains": {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "maxItems": 64,
        "default": ["p_1", "p_2"],
        "description": "Columns of the proportions, such as [p_web, p_code].",
    },
    "form": {
        "type": "string",
        "enum": ["additive", "joint"],
        "default": "additive",
        "description": "Whether what N and D leave depends on the mixture too (joint).",
    },
}
PRESETS = {}


def make(domains: Sequence[str], form: str) -> Law:
    """The law in N, D and the proportions.

    Args:
        domains: columns of the proportions.
        form: "additive" or "joint".

    Raises:
        IsolossError: a column cannot be a name in a formula, or two parameters have one name.
    """
    named = {column: column.removeprefix("p_") for column in domains}
    wrong = [column for column in named if not column.isidentifier()]
    if wrong or len(set(named.values())) < len(domains):
        what = f"found {wrong[0]!r}" if wrong else "a domain is named twice"
        do = "name columns p_<domain> of letters, digits and _, each once"
        raise IsolossError(Problem("mixture_scaling, domains", what, do))

    def weighted(scale: str) -> str:
        return " + ".join(f"{scale}_{name} * {column}" for column, name in named.items())

    shares = [f"C_{name} * {column}**gamma_{name}" for column, name in named.items()]
    text = f"loss = E + 1 / ({' + '.join(shares)})"
    shown = FORMULA
    if form == "additive":
        text += " + A / N**alpha + B / D**beta"
    else:
        text += f" + ({weighted('A')})**gamma_A / N**alpha + ({weighted('B')})**gamma_B / D**beta"
        text += "; 0.05 <= gamma_A <= 5; 0.05 <= gamma_B <= 5"
        shown = shown.replace("A / N", "(Σ_i A_i p_i)^γ_A / N")
        shown = shown.replace("B / D", "(Σ_i B_i p_i)^γ_B / D")
    return formula_law(text, ("N", "D", *domains), kind=KIND, shown=shown)
