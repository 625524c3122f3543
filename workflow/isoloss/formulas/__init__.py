"""The language of formulas: reading, evaluating with derivatives, writing, structure.

A formula is text such as `loss = E + A / (N**alpha * experts**gamma); 0 < alpha < 1`. It is read
into a tree (`read_formula`), whose names are variables or parameters (`divide`). `Evaluator` gives
values and exact derivatives for many parameters at once.
"""

from isoloss.formulas.evaluating import BoundEvaluator, Evaluator
from isoloss.formulas.reading import (
    Formula,
    Limit,
    divide,
    read_expression,
    read_formula,
    read_relation,
)
from isoloss.formulas.structure import (
    PowerTerm,
    amplitudes,
    domains,
    power_terms,
    roles,
    without_effect,
)
from isoloss.formulas.tree import Node, named, names_of, number, operation, walk
from isoloss.formulas.writing import as_latex, as_python, as_text, latex_name, number_text

__all__ = [
    "BoundEvaluator",
    "Evaluator",
    "Formula",
    "Limit",
    "Node",
    "PowerTerm",
    "amplitudes",
    "as_latex",
    "as_python",
    "as_text",
    "divide",
    "domains",
    "latex_name",
    "named",
    "names_of",
    "number",
    "number_text",
    "operation",
    "power_terms",
    "read_expression",
    "read_formula",
    "read_relation",
    "roles",
    "walk",
    "without_effect",
]
