"""The order in which groups are shown: as numbers where they are numbers, else as text."""

from __future__ import annotations

import math
from collections.abc import Iterable


def ordered(labels: Iterable[str]) -> list[str]:
    """Labels of groups in their order.

    Args:
        labels: each once; a group by a column of numbers has these as text.

    Returns:
        The labels, by their values if every one of them is a finite number, else as text.

    Example:
        >>> ordered(["10", "2", "1e3", "0.5"])
        ['0.5', '2', '10', '1e3']
        >>> ordered(["10", "2", "muon"])
        ['10', '2', 'muon']
    """
    labels = sorted(labels)
    values = [_number(label) for label in labels]
    if not all(map(math.isfinite, values)):
        return labels
    return [label for _, label in sorted(zip(values, labels, strict=True))]


def label_of(name: str, labels: Iterable[str]) -> str | None:
    """The label that a name is, or whose number it is; None for another name.

    Example:
        >>> label_of("10", ["2.0", "10.0"]), label_of("muon", ["adamw"])
        ('10.0', None)
    """
    labels, value = list(labels), _number(name)
    alike = [label for label in labels if label == name] or [
        label for label in labels if _number(label) == value
    ]
    return alike[0] if len(alike) == 1 else None


def _number(label: str) -> float:
    """The number that a label is; NaN for another text."""
    try:
        return float(label)
    except ValueError:
        return math.nan
