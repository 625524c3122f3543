"""What a quick fit found, as facts, and as one JSON object for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isoloss.fitted.facts import (
    Allocation,
    BestMixture,
    BudgetLoss,
    OneFit,
    Record,
    RunCounts,
)
from isoloss.quickfit.report import Decisions, Meaning

FORMAT = 1  # of the JSON object: it grows by one where a key changes its meaning or goes


@dataclass(frozen=True)
class Answer:
    """What a quick fit found.

    Attributes:
        meaning: of the table's columns.
        counts: of its runs.
        facts: about the fit of all runs.
        held: about the fit without the runs of most compute, if there is one.
        decisions: what follows for budgets; of a law in sizes.
        best_mixtures: one a group, of a law of mixtures.
        not_fitted: losses without a fit, and why.
    """

    meaning: Meaning
    counts: RunCounts
    facts: Record
    held: Record | None = None
    decisions: Decisions = field(default_factory=Decisions)
    best_mixtures: Sequence[BestMixture] = ()
    not_fitted: Sequence[str] = ()


def as_json(answer: Answer, files: Sequence[Path] = ()) -> str:
    """The answer as one JSON object; docs/fitting.md lists its keys.

    Args:
        answer: of a quick fit.
        files: that were written.
    """
    facts, meaning = answer.facts, answer.meaning
    shown = {
        "format": FORMAT,
        "table": meaning.source,
        "law": meaning.law,
        "formula": facts.formula,
        "quantity": facts.quantity,
        "level": facts.level,
        "verdict": facts.worst.verdict,
        "judgement": facts.judgement,
        "variables": [
            {"name": name, "column": meaning.columns.get(name), "low": low, "high": high}
            for name, (low, high) in meaning.ranges.items()
        ],
        "parameters": list(meaning.parameters),
        "proposal": meaning.proposal,
        "columns": dict(meaning.columns),
        "guessed": [key for key in meaning.columns if key not in meaning.given],
        "not_used": [c for c in meaning.guess.unused if c not in meaning.columns.values()],
        "notes": list(meaning.notes),
        "runs": asdict(answer.counts),
        "fits": [_of_fit(one) for one in facts.fits],
        "held_out": [_held_out(one) for one in answer.held.fits] if answer.held else [],
        "budgets": _by_group(answer.decisions.allocations),
        "growth": [
            {"group": group, "n_exponent": asdict(one.n), "d_exponent": asdict(one.d)}
            for group, one in answer.decisions.growth.items()
        ],
        "losses": _by_group(answer.decisions.losses),
        "gains": [{**asdict(one), "needed": asdict(one.needed)} for one in answer.decisions.gains],
        "published": [asdict(one) for one in answer.decisions.beside],
        "best_mixtures": [asdict(one) for one in answer.best_mixtures],
        "not_fitted": list(answer.not_fitted),
        "files": [str(file) for file in files],
    }
    return json.dumps(plain(shown), indent=2, allow_nan=False)  # ASCII: any terminal shows it


def _by_group(decided: Mapping[str, Sequence[Allocation | BudgetLoss]]) -> list[dict[str, Any]]:
    """What is said of the budgets of every group, one after the other."""
    return [{"group": group, **asdict(one)} for group, ones in decided.items() for one in ones]


def _of_fit(one: OneFit) -> dict[str, Any]:
    """Every fact about the fit of a group and response."""
    return {**asdict(one), "method": one.method}


def _held_out(one: OneFit) -> dict[str, Any]:
    """The errors of a fit on the runs of most compute, which it did not see."""
    return {
        "group": one.group,
        "response": one.response,
        "baseline_rmse": one.held_out_baseline_rmse,
        **asdict(one.folds[0]),
    }


def plain(value: Any) -> Any:
    """A value of JSON's own types: null for a number that is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
