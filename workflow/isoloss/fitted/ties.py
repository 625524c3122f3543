"""Parameters of a fit that share one value (`tied`), and the formula of its law with that."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isoloss.fitted.result import Fit


def tied_symbols(fit: Fit) -> dict[str, str]:
    """The symbols of parameters that share the value of another: symbol -> that other's symbol.

    They share it in every group and response.

    Args:
        fit: any fit.

    Returns:
        The later symbol of each pair by the earlier, in the order of the law; empty for most fits.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from isoloss import fit_law, read_runs
        >>> n, d = np.repeat(np.geomspace(1e7, 1e9, 4), 4), np.tile(np.geomspace(1e9, 1e11, 4), 4)
        >>> table = pd.DataFrame({"N": n, "D": d, "loss": 1.7 + 40 / n**0.3 + 400 / d**0.3})
        >>> runs = read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> tied_symbols(fit_law(runs, "chinchilla", tied=[["alpha", "beta"]], bootstrap=0))
        {'β': 'α'}
    """
    symbols = {term.name: term.symbol for term in fit.law.terms}
    return {
        symbols[other]: symbols[first]
        for first, *others in fit.facts.get("asked", {}).get("tied", ())
        for other in others
    }


def with_ties(formula: str, leaders: dict[str, str]) -> str:
    """The formula of a law with one symbol for parameters that share a value.

    >>> with_ties("L = E + A / N^α + B / D^β", {"β": "α"})
    'L = E + A / N^α + B / D^α'
    """
    for symbol, leader in leaders.items():
        formula = re.sub(rf"(?<!\w){re.escape(symbol)}(?!\w)", leader, formula)
    return formula
