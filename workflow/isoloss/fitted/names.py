"""Names that fits share with what makes them and what reads them."""

from __future__ import annotations

from isoloss.core.registry import FIT_TABLES

TABLES = FIT_TABLES
LOSS = "loss"  # what a fit is of, unless it is of another column of the runs
OF_RUN = "of_run"  # column of points along runs: the run that a point belongs to
FALLBACK = "ALL"  # group of a mixture law that answers for a group without a fit
