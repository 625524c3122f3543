"""Fits of typed formulas in a study: what they are of, by the columns of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from isoloss.core.filters import LETTERS
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
        if wrong := [] if named else _sizes_that_lack(options["formula"], runs, at):
            return None, wrong
        typed = typed_law(options["formula"], runs, fit.get("response"), named, at)
    except IsolossError as error:
        return None, [replace(one, place=one.place or at) for one in error.problems]
    response = None if typed.response == RESPONSE else typed.response
    return {**fit, "options": {**options, **typed.options}, "response": response}, []


def _sizes_that_lack(text: str, runs: pd.DataFrame, place: str) -> list[Problem]:
    """Problems of N and D in a formula where runs have but the other of them, or C."""
    sizes = [size for size in ("N", "D", "C") if _has_values(runs, LETTERS[size])]
    used = set(read_formula(text, place).names) - set(map(str, runs)) if sizes else set()
    return [
        Problem(
            place,
            f"no run has {size}",
            f"name it in `columns` of the table: {{{size}: COLUMN}}; if {size} is a parameter, name"
            " the variables beside the formula: `variables`",
        )
        for size in ("N", "D")
        if size in used and size not in sizes
    ]


def _has_values(runs: pd.DataFrame, column: str) -> bool:
    return column in runs and bool(runs[column].notna().any())
