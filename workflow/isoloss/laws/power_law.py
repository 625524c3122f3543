"""A power law in one variable, with an irreducible loss or without."""

from __future__ import annotations

from isoloss.laws._law import Term
from isoloss.laws._posynomial import Part, Posynomial

TITLE = "Power law in one variable"
FORMULA = "L = E + A / x^α"
LATEX = r"L = E + \frac{A}{x^{\alpha}}"
SOURCE = (
    "Henighan et al. 2020, arXiv:2010.14701, equation 1.1; without E: Kaplan et al. 2020,"
    " arXiv:2001.08361, equations 1.1 to 1.3"
)
BIBTEX = """\
@misc{henighan2020scaling,
  title = {Scaling Laws for Autoregressive Generative Modeling},
  author = {Henighan, Tom and Kaplan, Jared and others},
  year = {2020},
  eprint = {2010.14701},
  archivePrefix = {arXiv},
}
@misc{kaplan2020scaling,
  title = {Scaling Laws for Neural Language Models},
  author = {Kaplan, Jared and McCandlish, Sam and Henighan, Tom and Brown, Tom B. and others},
  year = {2020},
  eprint = {2001.08361},
  archivePrefix = {arXiv},
}
"""
DOMAIN = "x > 0, and nothing but x limits the loss; without E only far above the irreducible loss"
KIND = "curve"
OPTIONS = {
    "variable": "variable",
    "offset": {
        "type": "boolean",
        "default": True,
        "description": "Whether an irreducible loss E is left as x grows; without: L = A / x^α.",
    },
}
PRESETS = {}


class PowerLaw(Posynomial):
    """theta = (ln E, ln A, alpha), or (ln A, alpha) without offset."""

    kind = KIND

    def __init__(self, variable: str, offset: bool):
        formula = FORMULA if offset else FORMULA.replace("E + ", "")
        self.variables = (variable,)
        self.formula = formula.replace("x", variable)
        self.parts = (Part("E"), Part("A", {"alpha": {variable: 1}}))[not offset :]
        self.terms = (
            Term("E", "E", "nats/token", True, -9.0, 3.0, (-0.5,)),
            Term("A", "A", "nats/token", True, -14.0, 5.0, (-1.0,)),
            Term("alpha", "α", "1", False, -1.0, 5.0, (0.05, 0.15, 0.3, 0.45, 0.65, 1.0, 1.6)),
        )[not offset :]


def make(variable: str, offset: bool) -> PowerLaw:
    """The law in one of N, D, C."""
    return PowerLaw(variable, offset)
