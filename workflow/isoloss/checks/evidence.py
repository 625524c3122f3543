"""What a check looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from isoloss.checks import limits
from isoloss.checks.thresholds import Threshold
from isoloss.core import tables, units
from isoloss.core.escape import short, visible
from isoloss.core.filters import LETTERS
from isoloss.fitted.errors import Errors, errors_of
from isoloss.fitted.names import OF_RUN, RESPONSE
from isoloss.formulas import roles
from isoloss.laws._formula_limits import Unseen
from isoloss.laws._law import Doubt, Law
from isoloss.laws._tree import tree_of

NOTE, CARE, STOP = "note", "care", "stop"
GRADES = (NOTE, CARE, STOP)
MAD = 1.4826  # standard deviations of a normal in its median absolute deviation


@dataclass(frozen=True)
class Finding:
    """A doubt about a fit.

    Attributes:
        check: which check has it.
        grade: `note` (good to know), `care` (numbers may be off), `stop` (they are not to be used).
        found: what was found, with numbers and names.
        remedy: what would fix it; empty if nothing is known that does.
    """

    check: str
    grade: str
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Evidence:
    """A fit and the runs that it is of.

    Attributes:
        law: as it was fitted.
        theta: the estimate, (p,).
        runs: those fitted, n rows, with all columns of the user.
        data: the law's variables, (n,) each.
        loss: observed, (n,).
        predicted: by the law, (n,).
        lost: run_id of runs that diverged or failed.
        params: rows of the fit's table `params`.
        summary: the row of `summary`, its status included.
        clusters: how many sets of runs were drawn together; None where each was drawn by itself.
        untested: why the intervals are not to be believed, by simulations; a sentence each.
        doubts: what the law itself knows against its estimate.
        lower: whether the objective is a lower envelope, whose residuals are meant to be positive.
        quantity: what was fitted: the loss, or another column of the runs.
        replicates: estimates of the replicates that converged, (r, p).
        known: what the runs know of parameters that they do not tell apart, in words.
        in_the_form: whether no runs at all would tell them apart, as in A * B.
        thresholds: parameters that are only compared with something.
        bends: of a typed formula, which the runs do not show.
    """

    law: Law
    theta: np.ndarray
    runs: pd.DataFrame
    data: Mapping[str, np.ndarray]
    loss: np.ndarray
    predicted: np.ndarray
    lost: list[str]
    params: pd.DataFrame
    summary: Mapping[str, Any]
    clusters: int | None
    untested: Sequence[str] = ()
    doubts: Sequence[Doubt] = ()
    lower: bool = False
    quantity: str = RESPONSE
    replicates: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    known: Sequence[str] = ()
    in_the_form: bool = False
    thresholds: Sequence[Threshold] = ()
    bends: Sequence[Unseen] = ()

    @property
    def of_loss(self) -> bool:
        """Whether the loss was fitted, of which it is known how much seeds differ."""
        return self.quantity == RESPONSE

    @property
    def called(self) -> str:
        """What was fitted, by a name to be shown."""
        return short(visible(self.quantity), 40)

    @property
    def values(self) -> str:
        """What was observed, in the plural."""
        return "losses" if self.of_loss else f"values of {self.called}"

    @property
    def best_of(self) -> str:
        """The option that keeps the best of runs alike, of a law of the loss in sizes; or empty.

        A law in a learning rate or another setting is one of all its values, not of the best.
        """
        of_sizes = self.of_loss and set(self.law.variables) <= set(LETTERS)
        return f"--best-of {','.join(self.law.variables)}" if of_sizes else ""

    @cached_property
    def errors(self) -> Errors:
        """How errors are counted: as shares of the values, or as differences in their size."""
        return errors_of(self.loss, self.predicted, self.law.additive)

    @property
    def sized(self) -> str:
        """What a percentage is of: the values, or, of differences, their size."""
        return self.called if self.errors.relative else f"size of the {self.values}"

    def percent(self, error: float) -> str:
        """An error or spread as a percentage of `sized`, to two digits."""
        return units.percent(self.errors.share(error))

    @property
    def describes(self) -> bool:
        """Whether the law is meant to describe every run, so that residuals are noise."""
        return self.law.kind != "frontier" and not self.lower

    @cached_property
    def residuals(self) -> np.ndarray:
        """Log of observed over predicted loss, (n,); 0 where it is not a number.

        The difference, in their size, where errors are differences (`Errors`).
        """
        errors = self.errors.of(self.loss, self.predicted)
        return np.where(np.isfinite(errors), errors, 0.0)

    @cached_property
    def centred(self) -> np.ndarray:
        """The residuals less their median, (n,)."""
        return self.residuals - np.median(self.residuals)

    @cached_property
    def spread(self) -> float:
        """Robust SD of the residuals, but for as many that are about 0 as there are parameters."""
        sizes = np.sort(np.abs(self.centred))
        free = int((self.params["ci_method"] != "fixed").sum())
        return float(MAD * np.median(sizes[min(free, len(sizes) - 1) :]))

    @cached_property
    def gradient(self) -> np.ndarray:
        """d ln loss / d theta of the parameters estimated, columns of length 1, (n, q).

        Where errors are differences d loss / d theta.
        """
        free = (self.params["ci_method"] != "fixed").to_numpy()
        with np.errstate(all="ignore"):
            gradient = self.law.gradient(self.theta, self.data)[:, free]
        slopes = self.errors.slopes(gradient, self.predicted)
        slopes = np.nan_to_num(slopes, posinf=0.0, neginf=0.0)
        size = np.linalg.norm(slopes, axis=0)
        return slopes / np.where(size > 0, size, 1.0)

    @cached_property
    def outliers(self) -> np.ndarray:
        """Runs far from the others, bool (n,)."""
        return np.abs(self.centred) > max(limits.FAR * self.spread, limits.FAR_LEAST)

    @cached_property
    def clipped(self) -> np.ndarray:
        """The residuals less their median, those of outliers cut off, (n,)."""
        most = max(limits.FAR * self.spread, limits.FAR_LEAST)
        return np.clip(self.centred, -most, most)

    @cached_property
    def cells(self) -> np.ndarray:
        """Number of the cell of every run, (n,): runs alike in all variables to six digits."""
        logs = np.column_stack([_rounded(self.data[name]) for name in self.law.variables])
        return np.unique(logs, axis=0, return_inverse=True)[1].reshape(-1)

    @cached_property
    def unused(self) -> list[str]:
        """The user's columns that are neither variables of the law nor outcomes."""
        known = set(tables.schema("runs").names) - {"model", "weighting"} | {OF_RUN}
        names = [c for c in self.runs if c not in known and not str(c).endswith(tables.SET_ASIDE)]
        outcomes = [
            c for c, role in tables.roles_of_runs(self.runs[names]).items() if role == "outcome"
        ]
        left_out = {*outcomes, *self.law.variables, self.quantity}
        return [c for c in names if c not in left_out and not str(c).startswith("loss_")]

    @cached_property
    def seeds(self) -> float:
        """SD of log loss between runs that differ in their seed only; 0 if there are few."""
        known_seeds = "seed" in self.runs and self.runs["seed"].notna().all()
        if not known_seeds or self.clusters is not None:
            return 0.0
        known = {"cell": self.cells}
        known |= {f"of user {i}": self.runs[c].map(str) for i, c in enumerate(self.unused)}
        keys = pd.DataFrame({k: np.asarray(v) for k, v in known.items()})
        cells = keys.groupby(list(keys), sort=False).ngroup().to_numpy()
        if pd.DataFrame({"cell": cells, "seed": self.runs["seed"].to_numpy()}).duplicated().any():
            return 0.0  # runs of one seed differ in something that is not known
        return spread_within(cells, self.levels)

    @cached_property
    def levels(self) -> np.ndarray:
        """Log of the observed loss, (n,); where errors are differences the values in their size."""
        return self.errors.levels(self.loss)

    @property
    def usual(self) -> bool:
        """Whether it is known how much seeds differ: of losses above 0."""
        return self.of_loss and self.errors.relative

    @property
    def by_seeds(self) -> str:
        """How far apart seeds are: as the runs have it, or as is usual of a loss."""
        usual = "below 1 %" if self.usual else "an unknown amount"
        return self.percent(self.seeds) if self.seeds else usual

    def pure(self, term: str) -> bool:
        """Whether a parameter of the law is a pure number, as exponents are."""
        return self.law.terms[self.law.index(term)].unit == "1"

    @cached_property
    def exponents(self) -> set[str]:
        """Names of parameters in an exponent; all pure numbers of a law that is not a formula."""
        names = [term.name for term in self.law.terms]
        tree = None if self.law.proportions else tree_of(self.law)
        if tree is None:
            return {name for name in names if self.pure(name)}
        return {name for name, places in roles(tree, names).items() if "exponent" in places}

    def ids(self, which: np.ndarray, most: int = 4) -> str:
        """The labels of some runs, the first few of them."""
        labels = [str(label) for label in self.runs["run_id"].to_numpy()[which]]
        more = f" and {len(labels) - most} more" if len(labels) > most else ""
        return ", ".join(labels[:most]) + more

    def differs_along_runs(self, column: str) -> bool:
        """Whether a column has several values in one of the sets of runs drawn together."""
        if OF_RUN not in self.runs:
            return True
        return bool((self.runs.groupby(OF_RUN)[column].nunique(dropna=False) > 1).any())

    @property
    def variables(self) -> list[str]:
        """The law's variables among N, D and C."""
        return [name for name in self.law.variables if name in ("N", "D", "C")]

    @property
    def further(self) -> list[str]:
        """The law's variables that have no letter, such as experts; none of proportions."""
        names = () if self.law.proportions else self.law.variables
        return [name for name in names if name not in LETTERS]

    def shown(self, name: str, value: float) -> str:
        """A value of a variable: of N, D and C, and from 1000 up, as a count."""
        counted = name in self.variables or abs(value) >= 1000
        return units.count(value) if counted else f"{value:.4g}"


def spread_within(cells: np.ndarray, log_loss: np.ndarray) -> float:
    """SD of log loss between runs of one cell, pooled; 0 with less than two degrees of freedom.

    Args:
        cells: number of the cell of every run, (n,).
        log_loss: of every run, (n,); of values of any sign their levels (`Errors.levels`).

    Example:
        >>> spread_within(np.array([0, 0, 1, 1]), np.array([1.0, 1.2, 2.0, 2.2])).round(4)
        np.float64(0.1414)
    """
    counts = np.bincount(cells)
    degrees = int((counts - 1).sum())
    if degrees < 2:
        return 0.0
    means = np.bincount(cells, log_loss) / counts
    return np.sqrt(((log_loss - means[cells]) ** 2).sum() / degrees)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Values to six digits, (n,)."""
    with np.errstate(all="ignore"):
        scale = 10.0 ** (5 - np.floor(np.log10(np.abs(values))))
        return np.where(np.isfinite(scale), np.round(values * scale) / scale, values)
