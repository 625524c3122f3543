"""What a fit is to its tables, however the law was fitted: one protocol for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from isoloss.laws._law import Estimate, Law, joined


@dataclass(frozen=True, eq=False)
class Replicates:
    """The replicates of a fit.

    Attributes:
        estimates: one for each replicate, theta (r, p).
        converged: whether each is an optimum, or has an answer, bool (r,).
    """

    estimates: Estimate
    converged: np.ndarray

    def __len__(self) -> int:
        return len(self.converged)

    @property
    def kept(self) -> Estimate:
        """The estimates that converged: intervals are made of them."""
        return self.estimates[self.converged]


def join_replicates(blocks: Sequence[Replicates]) -> Replicates:
    """The replicates of several blocks as one."""
    estimates = joined([block.estimates for block in blocks])
    return Replicates(estimates, np.concatenate([block.converged for block in blocks]))


class Solution(Protocol):
    """A law fitted to runs, with the evidence for it.

    An optimum of an objective (`solve.Optimum`), one group's part of an optimum over groups that
    share parameters (`shared.SharedFit`), or what an estimator found (`solve.EstimatorFit`).

    Attributes:
        law: the law.
        estimate: its parameters, theta (p,), with what the law keeps of the runs.
        minimised: the objective or the recipe, in a few words.
        sound: whether the gradient vanishes, or the estimator has an answer.
    """

    law: Law
    estimate: Estimate
    minimised: str
    sound: bool

    def at_bound(self) -> list[bool]:
        """Whether each parameter lies on a bound, in the order of theta."""

    def undetermined(self, free: list[str]) -> list[str]:
        """The terms that the runs do not determine, of those that the gradient does not see."""

    def search(self) -> dict[str, float | int]:
        """What the search for it says of itself: columns of the table `summary`."""

    def starts(self) -> pd.DataFrame:
        """Where each start of the search began and ended: rows of the table `starts`."""

    def profiles(self, clusters: np.ndarray, level: float) -> pd.DataFrame:
        """The objective along every parameter: rows of the table `profiles`, or none.

        Args:
            clusters: the number of the cluster of every run, from 0, (n,).
            level: of the intervals that the profiles bound.
        """

    def replicates(self, weight: np.ndarray, loss: np.ndarray | None = None) -> Replicates:
        """The fit of every replicate.

        Args:
            weight: of every run that was fitted, (r, n); where parameters are shared, of the runs
                of all groups, one group after the other.
            loss: observed, (r, n), nats, where replicates have losses of their own.
        """
