"""Fits of typed formulas in a study: what they are of, by the columns of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from isoloss.core.problems import IsolossError, Problem
from isoloss.fit.formula import CARD, typed_law
from isoloss.fitted.names import RESPONSE
from isoloss.formulas import read_formula


def completed(
    fit: Mapping[str, Any], runs: pd.DataFrame | None, place: str
) -> tuple[Mapping[str, Any] | None, list[Problem]]:
    """A fit with the variables and the response of its formula, and what is wrong with it.

    Args:
        fit: an entry of the study's `fit`.
        runs: of its sweep; None where they are not known.
        place: of the entry.

    Returns:
        The entry; that of another card as it is, None where the variables are not known.
    """
    if fit["card"] != CARD:
        return fit, []
    options, at = fit["options"], f"{place}.options.formula"
    try:
        if runs is None:
            read_formula(options["formula"], at)
            return None, []
        named = options.get("variables")
        typed = typed_law(options["formula"], runs, fit.get("response"), named, at)
    except IsolossError as error:
        return None, [replace(one, place=one.place or at) for one in error.problems]
    response = None if typed.response == RESPONSE else typed.response
    return {**fit, "options": {**options, **typed.options}, "response": response}, []
