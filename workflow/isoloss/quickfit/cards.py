"""What a law card takes from the columns of a table by itself: its response and its domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from isoloss.aggregate.guess import holds_numbers
from isoloss.aggregate.proportions import shares_of
from isoloss.core import registry
from isoloss.core.escape import listed
from isoloss.core.problems import IsolossError, Problem
from isoloss.fitted.names import RESPONSE
from isoloss.formats.names import bare, words_of
from isoloss.quickfit.ask import SIZES, pasted
from isoloss.quickfit.proposal import column_for

_CALLED = {  # words of columns, beside the name that a card gives its response
    "accuracy": ({"accuracy"}, {"acc"}),
    "error": ({"error"}, {"err"}),
}
_SPREADS = frozenset(
    "std stderr stdev stddev se sem sd var variance ci low high lower upper pred predicted".split()  # noqa: SIM905
)
DOMAINS = "domains"  # the option of a law in N, D and proportions that names their columns


def response_of(raw: pd.DataFrame, source: str, law: str, given: Mapping[str, str]) -> str | None:
    """The column that a law is fitted to, where that is not the loss: the one called as it says.

    Args:
        raw: the table.
        source: what it is called.
        law: law card.
        given: letter or word to column, by the user.

    Returns:
        The column; None where the law is fitted to the loss.

    Raises:
        IsolossError: no column, or more than one, is called so.

    Example:
        >>> table = pd.DataFrame({"loss": [3.0, 2.5], "mmlu_acc": [0.3, 0.4], "step": [1, 2]})
        >>> response_of(table, "runs.csv", "downstream_accuracy", {})
        'mmlu_acc'
        >>> response_of(table, "runs.csv", "chinchilla", {}) is None
        True
    """
    name = registry.facts("law", law).get("RESPONSE")
    if name is None:
        return None
    free = [one for one in raw if one not in given.values() and holds_numbers(raw[one])]
    if name in free:
        return name
    called = [column for column in free if _is_called(name, column)]
    if len(called) == 1:
        return called[0]
    which = f"each of {listed(called)} may be it" if called else "no column is called so"
    reason = f"the law {law} is fitted to the {name}, and {which}"
    do = f"name the column: --response {called[0] if called else 'COLUMN'}"
    raise IsolossError(Problem(source, f"{reason} (columns of numbers: {listed(free)})", do))


def _is_called(name: str, column: str) -> bool:
    """Whether a column is called after a response, and is not the spread of one."""
    words = set(words_of(bare(column)))
    known = any(one <= words for one in _CALLED.get(name, ({name},)))
    return known and not words & _SPREADS


def note_of_loss(raw: pd.DataFrame, law: str, columns: Mapping[str, str]) -> str | None:
    """What to say where a law that is of something else, such as of a setting, is fitted to losses.

    Args:
        raw: the table.
        law: law card.
        columns: letter or word to column.

    Example:
        >>> table = pd.DataFrame({"params": [1e8], "tokens": [1e9], "lr": [0.01], "loss": [3.0]})
        >>> columns = {"N": "params", "D": "tokens", "loss": "loss"}
        >>> note_of_loss(table, "best_setting", columns).partition("; ")[2]
        'fitted is the loss, loss: to fit lr: --response lr'
        >>> note_of_loss(table, "chinchilla", {"loss": "loss"}) is None
        True
    """
    presets = registry.facts("law", law).get("PRESETS", {}).values()
    responses = list(dict.fromkeys(one.get("response", RESPONSE) for one in presets))
    if not responses or RESPONSE in responses or "loss" not in columns:
        return None
    free = [one for one in raw if one not in columns.values() and holds_numbers(raw[one])]
    called = [column for column in (column_for(one, free) for one in responses) if column]
    do = f"to fit {called[0] if called else 'another column'}: --response "
    return (
        f"the law {law} is one of {' or '.join(responses)}; fitted is the loss, {columns['loss']}: "
        f"{do}{called[0] if called else 'COLUMN'}"
    )


def options_of(
    raw: pd.DataFrame, law: str, options: Mapping[str, Any] | None, given: Mapping[str, str]
) -> dict[str, Any]:
    """The options of a law, with the table's columns of proportions where it needs them.

    Args:
        raw: the table.
        law: law card.
        options: that the user gives.
        given: letter or word to column, by the user.

    Example:
        >>> table = pd.DataFrame({"p_a": [0.2, 0.5], "p_b": [0.8, 0.5], "loss": [3.0, 2.9]})
        >>> options_of(table, "mixture_scaling", {}, {})
        {'domains': ['p_a', 'p_b']}
    """
    own = dict(options or {})
    if DOMAINS not in registry.options("law", law) or DOMAINS in own:
        return own
    shares = shares_of(raw[[column for column in raw if column not in given.values()]])
    return {**own, DOMAINS: shares} if shares else own


def check_variables(
    source: str, law: str, variables: Sequence[str], columns: Mapping[str, str], numeric: list[str]
) -> None:
    """Refuse a law of which a variable beside N, D and C has no column.

    Args:
        source: the table, as it is shown.
        law: law card.
        variables: of the law.
        columns: letter or variable to column.
        numeric: columns of numbers that are none of these.

    Raises:
        IsolossError: there is one.
    """
    lacking = [name for name in variables if name not in columns and name not in SIZES]
    if not lacking:
        return
    of_mixture = DOMAINS in registry.options("law", law) and lacking[0].startswith("p_")
    if of_mixture:
        reason = f"the law {law} is one of proportions, and no columns are known as theirs"
        do = f"name columns that sum to 1: --option {DOMAINS}=p_web,p_code"
    else:
        reason = f"the law {law} reads {' and '.join(lacking)}, and no column is called so"
        do = f"say which: {pasted(dict.fromkeys(lacking, 'COLUMN'))}"
    raise IsolossError(Problem(source, f"{reason} (not used: {listed(numeric) or 'none'})", do))
