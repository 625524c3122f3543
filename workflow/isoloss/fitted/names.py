"""Names that fits share with what makes them and what reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isoloss.core.registry import FIT_TABLES

TABLES = FIT_TABLES
RESPONSE = "loss"  # what a fit is of, unless it is of another column of the runs
ERROR = "error"  # the unit of a loss that is an error rate, a share of what was asked
AT_END = "at_end"  # column of a chain: the law leaves the range of its response there
FARTHEST = "farthest"  # column of answers: the variable that lies farthest outside the runs
# columns of a prediction beside variables and response
PREDICTED = ("low", "high", "distance", FARTHEST, AT_END)
OF_RUN = "of_run"  # column of points along runs: the run that a point belongs to
UNSEEN = ("largest_compute", "largest")  # hold-outs whose runs the fit itself does not see
FORMULA = "formula"  # the law card of what users type; its option of that name has the text
FALLBACK = "ALL"  # group of a mixture law that answers for a group without a fit


def quantity_of(facts: Mapping[str, Any]) -> str:
    """What a law card is fitted to, as a rule: the loss, or what all of its presets are of.

    >>> quantity_of({}), quantity_of({"RESPONSE": "error"})
    ('loss', 'error')
    >>> quantity_of({"PRESETS": {"a": {"response": "lr"}, "b": {"response": "batch"}}})
    'lr or batch'
    """
    presets = [one.get("response", RESPONSE) for one in facts.get("PRESETS", {}).values()]
    of_presets = RESPONSE if RESPONSE in presets else " or ".join(dict.fromkeys(presets))
    return facts.get("RESPONSE") or of_presets or RESPONSE


def equation(formula: str, quantity: str) -> str:
    """The formula of a law with the name of what is fitted in the place of the loss L.

    >>> equation("L = A N^γ", "llc_mean"), equation("L = A N^γ", "loss")
    ('llc_mean = A N^γ', 'L = A N^γ')
    >>> equation("(L - E) / (I - L)^α = β N^c", "llc_mean")
    '(L - E) / (I - L)^α = β N^c, L = llc_mean'
    >>> equation("loss = A / V**a - E", "nll")
    'nll = A / V**a - E'
    >>> equation("acc = 1 / (1 + A / N^α)", "acc")
    'acc = 1 / (1 + A / N^α)'
    """
    if quantity == RESPONSE:
        return formula
    left, equals, right = formula.partition(" = ")
    if quantity in {one.partition("=")[0].strip() for one in formula.split(";")}:
        return formula
    return f"{quantity}{equals}{right}" if left in ("L", RESPONSE) else f"{formula}, L = {quantity}"
