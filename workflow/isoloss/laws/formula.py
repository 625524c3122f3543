"""A law that the user writes: any formula of any columns."""

from __future__ import annotations

from collections.abc import Sequence

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "A formula of the user's"
FORMULA = "L = E + A/N^α + B/D^β"
LATEX = r"L = E + \frac{A}{N^\alpha} + \frac{B}{D^\beta}"
SOURCE = "A formula that the user writes; this project. The default is that of arXiv:2203.15556"
BIBTEX = """\
@misc{hoffmann2022training,
  title = {Training Compute-Optimal Large Language Models},
  author = {Hoffmann, Jordan and Borgeaud, Sebastian and Mensch, Arthur and others},
  year = {2022},
  eprint = {2203.15556},
  archivePrefix = {arXiv},
}
"""
DOMAIN = "what the formula says; docs/formulas.md has its language, and how it is fitted"
KIND = "joint"
OPTIONS = {
    "formula": {
        "type": "string",
        "minLength": 1,
        "maxLength": 4000,
        "default": "loss = E + A / N**alpha + B / D**beta",
        "description": "The law, with names of variables and parameters: docs/formulas.md.",
    },
    "variables": {
        "type": "array",
        "items": {"type": "string"},
        "maxItems": 64,
        "default": ["N", "D"],
        "description": "Names in the formula that are variables: letters of the runs' quantities, "
        "or columns. Every other name is a parameter.",
    },
    "any_sign": {
        "type": "array",
        "items": {"type": "string"},
        "maxItems": 64,
        "default": [],
        "description": "Parameters that may be below 0 although the form suggests a size above it. "
        "A fit adds offsets where responses are not all above 0.",
    },
}
PRESETS = {}


def make(formula: str, variables: Sequence[str], any_sign: Sequence[str]) -> Law:
    """The law of a formula; see `formula_law`."""
    return formula_law(formula, variables, any_sign=any_sign)
