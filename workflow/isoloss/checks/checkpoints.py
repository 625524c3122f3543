"""Points along one training run that pass for runs of their own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from isoloss.checks import limits
from isoloss.checks.evidence import CARE, NOTE, Evidence, Finding
from isoloss.core.escape import short, visible
from isoloss.fitted.names import OF_RUN

CHECK = "checkpoints"
LONG = 5  # points of a run, at least


def check(evidence: Evidence) -> Iterator[Finding]:
    """Doubts that every row is a run of its own."""
    if evidence.clusters is not None and OF_RUN in evidence.runs:
        points = f"{len(evidence.loss)} points of {evidence.clusters} runs"
        before = "a point before the end of a run has not seen the end of its learning rate"
        yield Finding(CHECK, NOTE, f"{points}: {before}")
        return
    if not evidence.describes or evidence.clusters is not None or "D" not in evidence.data:
        return
    for name, codes in _labels(evidence):
        correlation, pairs = following(evidence.clipped, codes, evidence.data["D"])
        if correlation > limits.FOLLOWING and correlation * np.sqrt(pairs) > limits.FOLLOWING_Z:
            shown = short(visible(name), 40)
            called = "of_run=COLUMN (of their run)" if name == "N" else f"'of_run={name}'"
            yield Finding(
                CHECK,
                CARE,
                f"{evidence.values} of rows alike in {shown} follow each other along D "
                f"(correlation {correlation:.2f}), as checkpoints of one run do: intervals are too "
                "narrow",
                f"--columns {called} if they are; if not, the law does not fit their shape",
            )
            return


def _labels(evidence: Evidence) -> Iterator[tuple[str, np.ndarray]]:
    """Columns whose values may name runs, and N, with a number a value, (n,)."""
    n = len(evidence.loss)
    for name in [*evidence.unused, *(["N"] if "N" in evidence.data else [])]:
        column = pd.Series(evidence.data["N"]) if name == "N" else evidence.runs[name]
        if name != "N" and pd.api.types.is_numeric_dtype(column):
            continue
        try:
            codes, values = pd.factorize(column, use_na_sentinel=False)
        except TypeError:
            continue
        if "N" in evidence.data and name != "N":  # a run has one size
            sizes = np.unique(np.column_stack([codes, evidence.data["N"]]), axis=0)
            if len(sizes) > len(values):
                continue
        if 2 <= len(values) <= n // LONG:
            yield str(name), codes


def following(residuals: np.ndarray, codes: np.ndarray, d: np.ndarray) -> tuple[float, int]:
    """Correlation of a residual with the next one of its label along D, and how many pairs.

    Rows alike in label and D are one by their mean, so that their order does not matter.

    Args:
        residuals: (n,).
        codes: number of the label of every row, (n,).
        d: tokens, (n,).
    """
    rows = pd.DataFrame({"label": codes, "d": d, "residual": residuals})
    means = rows.groupby(["label", "d"], as_index=False)["residual"].mean()
    values, label = (means["residual"] - means["residual"].mean()).to_numpy(), means["label"]
    pair = (label.to_numpy()[1:] == label.to_numpy()[:-1]).nonzero()[0]
    first, second = values[pair], values[pair + 1]
    size = np.sqrt((first**2).sum() * (second**2).sum())
    if len(first) < LONG or size <= 0:
        return 0.0, len(first)
    return float((first * second).sum() / size), len(first)
