"""A power of one variable that grows with it, from an offset or from zero."""

from __future__ import annotations

from isoloss.laws._law import Term
from isoloss.laws._posynomial import Part, Posynomial

TITLE = "Growth as a power of one variable"
FORMULA = "L = E + A x^γ"
LATEX = r"L = E + A x^{\gamma}"
SOURCE = (
    "The power law of Kaplan et al. 2020, arXiv:2001.08361, equation 1.1, with a positive power;"
    " without E a straight line in logarithms, as they fit the best N and D to C (figure 14)"
)
BIBTEX = """\
@misc{kaplan2020scaling,
  title = {Scaling Laws for Neural Language Models},
  author = {Kaplan, Jared and McCandlish, Sam and Henighan, Tom and Brown, Tom B. and others},
  year = {2020},
  eprint = {2001.08361},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "x > 0; quantities above 0 that grow without a limit, such as a local learning coefficient with"
    " N; a loss falls, and needs another law"
)
KIND = "curve"
OPTIONS = {
    "variable": "variable",
    "offset": {
        "type": "boolean",
        "default": True,
        "description": "Whether a value E is left as x falls to 0; without: L = A x^γ.",
    },
}
PRESETS = {}


class Growth(Posynomial):
    """theta = (ln E, ln A, gamma), or (ln A, gamma) without offset."""

    kind = KIND

    def __init__(self, variable: str, offset: bool):
        formula = FORMULA if offset else FORMULA.replace("E + ", "")
        self.variables = (variable,)
        self.formula = formula.replace("x", variable)
        self.parts = (Part("E"), Part("A", {"gamma": {variable: -1}}))[not offset :]
        self.terms = (
            Term("E", "E", "nats/token", True, -9.0, 3.0, (-0.5,)),
            Term("A", "A", "nats/token", True, -14.0, 5.0, (-1.0,)),
            Term("gamma", "γ", "1", False, 0.0, 5.0, (0.05, 0.15, 0.3, 0.45, 0.65, 1.0, 1.6)),
        )[not offset :]

    @property
    def python(self) -> str:
        """The sum of its parts, without the powers of -1 that make it a posynomial."""
        power = f"A * {self.variables[0]} ** gamma"
        return f"E + {power}" if len(self.parts) > 1 else power


def make(variable: str, offset: bool) -> Growth:
    """The law in one of N, D, C."""
    return Growth(variable, offset)
