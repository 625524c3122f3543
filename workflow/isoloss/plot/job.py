"""The stage plot: a figure, as PNG, PDF, its caption and the table that is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isoloss.plot.draw import draw


def run(specification: Mapping[str, Any], files: Sequence[Path], out: Path) -> list[Path]:
    """Draw a figure.

    Args:
        specification: what matters to the job: `plot` (the study's entry).
        files: the tables that its card reads.
        out: the PNG; PDF, caption and table go beside it.

    Returns:
        The files.
    """
    figure = specification["plot"]
    look = {"style": figure["style"], "width": figure.get("width")}
    return draw(figure["card"], figure["options"], files, out, **look)
