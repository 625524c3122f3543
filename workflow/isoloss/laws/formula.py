"""A law that the user writes: any formula of any columns."""

from __future__ import annotations

from collections.abc import Sequence

from isoloss.formulas import read_formula
from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "A law typed as a formula"
FORMULA = "L = E + A/N^α + B/D^β"
LATEX = r"L = E + \frac{A}{N^\alpha} + \frac{B}{D^\beta}"
SOURCE = "the user; the default is equation 2 of arXiv:2203.15556"
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
        "default": [],
        "description": "Names in the formula that are variables: letters of the runs' quantities, "
        "or columns. Every other name is a parameter. If none are named, by the columns of the "
        "runs, and where there are none N, D, C and U.",
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
REQUIRED = {"formula": "write the law, such as 'loss = E + A / N**alpha'"}  # in a study
PRESETS = {}

_LETTERS = ("N", "D", "C", "U")  # variables where none are named


def make(formula: str, variables: Sequence[str], any_sign: Sequence[str]) -> Law:
    """The law of a formula; see `formula_law`. Without variables these are N, D, C and U."""
    names = variables or [name for name in read_formula(formula).names if name in _LETTERS]
    return formula_law(formula, names, any_sign=any_sign)
