"""The accuracy on a task by the loss of a model: a sigmoid."""

from __future__ import annotations

from isoloss.laws._formula import formula_law
from isoloss.laws._law import Law

TITLE = "Accuracy on a task by the loss"
FORMULA = "L = a_0 + (a_1 - a_0) / (1 + e^(-k (m - loss)))"
LATEX = r"L = a_0 + \frac{a_1 - a_0}{1 + e^{-k (m - loss)}}"
SOURCE = (
    "Grattafiori et al. 2024, arXiv:2407.21783, section 3.2.1, read in its text: a sigmoid from the"
    " loss of the right answer to accuracy; it names the form and prints neither formula nor"
    " values, so that this card has no preset"
)
BIBTEX = """\
@misc{grattafiori2024llama,
  title = {The {Llama} 3 Herd of Models},
  author = {Grattafiori, Aaron and Dubey, Abhimanyu and Jauhri, Abhinav and others},
  year = {2024},
  eprint = {2407.21783},
  archivePrefix = {arXiv},
}
"""
DOMAIN = (
    "accuracy by the loss (`loss`), of the right answers to the task where that is known; a_0 is"
    " the accuracy of guessing, which runs that only guess determine, or --fix floor=0.25"
)
KIND = "curve"
RESPONSE = "accuracy"  # what it is fitted to, as a rule: a column that is not the loss
OPTIONS = {}
PRESETS = {}

TEXT = (
    "accuracy = floor + (ceiling - floor) * sigmoid(k * (m - loss));"
    " 0 <= accuracy <= 1; 0 <= floor <= 1; 0 <= ceiling <= 1; 0 < k < 1000"
)
TERMS = {
    "floor": {"symbol": "a_0"},
    "ceiling": {"symbol": "a_1"},
    "k": {"unit": "1/nats"},
    "m": {"unit": "nats"},
}


def make() -> Law:
    """The law in `loss`."""
    return formula_law(TEXT, ("loss",), terms=TERMS, kind=KIND, shown=FORMULA)
