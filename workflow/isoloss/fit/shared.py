"""A law on several groups of runs that share some of its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core.escape import listed
from isoloss.core.problems import Problem, nearest
from isoloss.fit import profile
from isoloss.fit.coordinates import Scale, free_coordinates, scale_of
from isoloss.fit.descent import Affine, alone
from isoloss.fit.holdout import name_of, unseen
from isoloss.fit.objectives import Objective
from isoloss.fit.optimize import optimise
from isoloss.fit.solution import Replicates
from isoloss.fit.solve import Constraints, Minimum, grid_of, problem_of
from isoloss.laws._law import Data, Estimate, Law, LawOnRuns, Sums

SHOWN = 4  # groups that a problem names, at most

Part = tuple[Data, np.ndarray, np.ndarray]  # of a group: data, loss (n,) and weight (n,)


def shared_problems(
    law: Law, shared: Sequence[str], profiles: bool, holdout: Any, place: str
) -> list[Problem]:
    """What keeps groups from sharing parameters of a law.

    Args:
        law: the law.
        shared: terms of one value in all groups.
        profiles: whether profiles are asked for.
        holdout: rule, or settings of one.
        place: of the setting.
    """
    names = tuple(term.name for term in law.terms)
    wrong = [
        Problem(f"{place} {name}", "no such parameter", nearest(name, names))
        for name in shared
        if name not in names
    ]
    if law.recipe:
        wrong.append(Problem(place, "the law has a recipe of its own", "leave it out"))
    if profiles or not (unseen(holdout) or name_of(holdout) == "none"):
        do = "use interval bootstrap, and the hold-out largest_compute"
        wrong.append(Problem(place, "neither profiles nor folds are made of it", do))
    return wrong


def alone_problems(counts: Mapping[str, int | None], cluster: str, place: str) -> list[Problem]:
    """A problem if groups that share parameters are one cluster each: it cannot be drawn.

    Whatever is drawn of such a group is the same, and what is shared would seem better known than
    it is.

    Args:
        counts: of the clusters of the runs fitted, by group; None where runs are drawn one by one.
        cluster: column by which runs are drawn together.
        place: of the setting.
    """
    alone = [group for group, count in counts.items() if count == 1]
    if not alone:
        return []
    shown = listed(alone, SHOWN)
    reason = f"all runs of {shown} have one {cluster!r}, and groups share parameters"
    do = "draw by another column, leave such groups out, or ask for no intervals (interval none)"
    return [Problem(place, reason, do)]


class SharedFit(Minimum):
    """One group's part of an optimum over groups that share parameters; see `Solution`.

    Attributes:
        whole: the optimum.
        number: of the group, from 0.
        position: of the group's theta in that of all groups.
    """

    def __init__(self, whole: SharedOptimum, number: int):
        self.whole, self.number = whole, number
        terms = len(whole.law.terms)
        self.position = slice(number * terms, (number + 1) * terms)
        super().__init__(
            whole.law,
            whole.objective,
            whole.scale,
            whole.problem,
            whole.weight,
            whole.searched,
        )

    def at_bound(self) -> list[bool]:
        """Whether each parameter of the group lies on a bound, in the order of theta."""
        return self._on_bounds(self.problem.affine.matrix[self.position] != 0)

    def outer(self, free: np.ndarray) -> np.ndarray:
        """The group's theta in the user's units, (..., q) -> (..., p)."""
        return self.scale.outer(self.problem.affine.theta(free)[..., self.position])

    def profiles(self, clusters: np.ndarray, level: float) -> pd.DataFrame:
        """None: a profile would move the parameters of other groups too."""
        return profile.empty()

    def replicates(self, weight: np.ndarray, loss: np.ndarray | None = None) -> Replicates:
        """The group's part of the replicates of all groups; see `SharedOptimum.replicates`."""
        return self.whole.replicates(weight, loss)[self.number]


class SharedOptimum:
    """The optimum of a law over several groups of runs that share some terms.

    Args:
        law: the law.
        groups: data, loss and weight of every group.
        shared: terms of one value in all groups.
        objective: what is summed over the runs of all groups.
        constraints: terms held, tied or bounded, in every group.
        starts: as of Optimum.

    Attributes:
        fits: the part of each group.
    """

    def __init__(
        self,
        law: Law,
        groups: Sequence[Part],
        shared: Sequence[str],
        objective: Objective,
        constraints: Constraints,
        starts: np.ndarray | None = None,
    ):
        self.law, self.objective = law, objective
        data = {v: np.concatenate([part[0][v] for part in groups]) for v in law.variables}
        loss = np.concatenate([part[1] for part in groups])
        self.weight = np.concatenate([part[2] for part in groups])
        self.scale = scale_of(law, data, loss)
        affine = _shared_coordinates(law, self.scale, len(groups), shared, constraints)
        on_runs = [law.on(self.scale.data(part[0])) for part in groups]
        side_by_side = _GroupsOnRuns(law, on_runs, [len(part[1]) for part in groups])
        own = objective.of_groups([part[1] for part in groups])
        self.problem = problem_of(side_by_side, loss, own, self.scale, affine)
        sizes = [part[1] / np.exp(self.scale.loss) for part in groups]
        sides = zip(on_runs, sizes, strict=True)
        grid = np.hstack([grid_of(one, size, self.scale, starts) for one, size in sides])
        self.searched = optimise(self.problem, affine.free(grid), self.weight)
        self.fits = [SharedFit(self, number) for number in range(len(groups))]

    def replicates(self, weight: np.ndarray, loss: np.ndarray | None = None) -> list[Replicates]:
        """The replicates of every group, all groups refitted at once.

        Args:
            weight: of the runs of all groups, one group after the other, (r, n).
            loss: observed, (r, n), nats, where replicates have losses of their own.
        """
        if not len(weight):
            none = Estimate(np.empty((0, len(self.law.terms))))
            return [Replicates(none, np.empty(0, dtype=bool)) for _ in self.fits]
        ends, converged = alone(self.fits[0].refitting(weight, loss))
        return [Replicates(Estimate(fit.outer(ends.free)), converged) for fit in self.fits]


def _shared_coordinates(
    law: Law, scale: Scale, groups: int, shared: Sequence[str], constraints: Constraints
) -> Affine:
    """What is free over all groups: a shared term once, the others once for every group."""
    c, p = constraints, len(law.terms)
    # a scale in the user's units, so that a value shared there is one coordinate here
    scales = [t.name for t in law.terms if t.log and t.name in shared and t.name not in c.fixed]
    held = {name: c.bounds.get(name, (None, None)) for name in scales}
    base = free_coordinates(law, scale, c.fixed, c.tied, {**c.bounds, **held})
    columns, which = [], []
    for k, name in enumerate(base.terms):
        for group in [slice(None)] if name in shared else range(groups):
            column = np.zeros((groups, p))
            column[group] = base.matrix[:, k]
            columns.append(column.ravel())
            which.append(k)
    return Affine(
        np.stack(columns, axis=-1),
        np.tile(base.shift, groups),
        base.low[which],
        base.high[which],
        tuple(base.terms[k] for k in which),
    )


class _GroupsOnRuns(LawOnRuns):
    """A law on the runs of several groups, each with a theta of its own, laid end to end."""

    side_by_side = False

    def __init__(self, law: Law, groups: Sequence[LawOnRuns], counts: Sequence[int]):
        self.law, self.groups, self.descents = law, groups, groups[0].descents
        p, ends = len(law.terms), np.cumsum(counts)
        self.thetas = [slice(i * p, (i + 1) * p) for i in range(len(groups))]
        self.runs = [slice(end - n, end) for end, n in zip(ends, counts, strict=True)]

    def at(self, theta: np.ndarray):
        values = [g.at(theta[:, t]) for g, t in zip(self.groups, self.thetas, strict=True)]
        losses, inner = zip(*values, strict=True)
        return np.concatenate(losses, axis=-1), list(inner)

    def take(self, inner, which: np.ndarray):
        return [group.take(own, which) for group, own in zip(self.groups, inner, strict=True)]

    def project(self, theta: np.ndarray, loss: np.ndarray, weight: np.ndarray) -> np.ndarray:
        sides = zip(self.groups, self.thetas, self.runs, strict=True)
        moved = [g.project(theta[:, t], loss[r], weight[r]) for g, t, r in sides]
        return np.concatenate(moved, axis=-1)

    def sums(self, inner, slope: np.ndarray, curvature: np.ndarray, weight: np.ndarray) -> Sums:
        parts = [
            group.sums(own, slope[:, r], curvature[:, r], weight[:, r])
            for group, own, r in zip(self.groups, inner, self.runs, strict=True)
        ]
        size = self.thetas[-1].stop
        hessian, outer = np.zeros((2, len(slope), size, size))
        for part, t in zip(parts, self.thetas, strict=True):
            hessian[:, t, t], outer[:, t, t] = part.hessian, part.outer
        return Sums(
            np.concatenate([part.gradient for part in parts], axis=-1),
            np.concatenate([part.absolute for part in parts], axis=-1),
            hessian,
            outer,
        )
