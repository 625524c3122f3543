"""Parameters of a fit that share one value (`tied`), found in its table of parameters."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from isoloss.fitted.facts import FIXED

if TYPE_CHECKING:
    from isoloss.fitted.result import Fit

NUMBERS = ["estimate", "std_error", "ci_low", "ci_high"]  # the same for all that share a value
SAME = 1e-9  # relative difference


def tied_symbols(fit: Fit) -> dict[str, str]:
    """The symbols of parameters that share the value of another: symbol -> that other's symbol.

    Parameters share a value in every group and response of a fit, or in none. Those that were
    given their values, or lie at a bound, may be equal by chance and do not count.

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
    shown = fit.params[
        (fit.params["group"] == fit.groups[0]) & (fit.params["response"] == fit.responses[0])
    ]
    free = shown[(shown["ci_method"] != FIXED) & ~shown["at_bound"].astype(bool)]
    rows, leaders = list(free.to_dict("records")), {}
    for at, row in enumerate(rows):
        if row["symbol"] in leaders:
            continue
        for other in rows[at + 1 :]:
            if _same(row, other):
                leaders[other["symbol"]] = row["symbol"]
    return leaders


def _same(one: dict, other: dict) -> bool:
    """Whether two parameters have the same estimate, and the same of all else that is known."""
    if one["unit"] != other["unit"]:
        return False
    pairs = [(float(one[name]), float(other[name])) for name in NUMBERS]
    known = [pair for pair in pairs if not all(map(pd.isna, pair))]
    return bool(known) and bool(np.allclose(*zip(*known, strict=True), rtol=SAME, atol=0))


def with_ties(formula: str, leaders: dict[str, str]) -> str:
    """The formula of a law with one symbol for parameters that share a value.

    >>> with_ties("L = E + A / N^α + B / D^β", {"β": "α"})
    'L = E + A / N^α + B / D^α'
    """
    for symbol, leader in leaders.items():
        formula = re.sub(rf"(?<!\w){re.escape(symbol)}(?!\w)", leader, formula)
    return formula
