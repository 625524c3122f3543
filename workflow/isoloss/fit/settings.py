"""How a law is fitted: what `fit_law` is asked for, checked."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from isoloss.core import registry
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.schema import complete_options
from isoloss.fit import resample, shapes
from isoloss.fit.holdout import rule_problems
from isoloss.fit.objectives import Objective, objective_of
from isoloss.fit.solution import Solution
from isoloss.fit.solve import Constraints, solve_all
from isoloss.fitted.names import RESPONSE
from isoloss.laws._law import Data, Estimate, Law, Sample

# least and greatest value of the numbers that `fit_law` is given, as in config.schema.yaml
LIMITS = {
    "bootstrap": (0, 100_000),
    "seed": (0, 2**63 - 1),
    "ci_level": (0.01, 0.9999),
    "delta": (1e-9, 1e9),
}
LARGEST = 1e30  # value of a parameter that is fixed or bounded


class Progress(Protocol):
    """An object that counts the steps of a fit, such as `isoloss.core.progress.Steps`."""

    def expect(self, count: int) -> None:
        """There are so many more steps."""

    def step(self) -> None:
        """A step is done."""


@dataclass(frozen=True)
class Settings:
    """How a law is fitted; see `fit_law`.

    Attributes:
        card: the law card.
        options: of the card, every one.
        objective: what is minimised.
        constraints: parameters that are fixed, tied or bounded, in the user's units.
        shared: parameters that all groups have in common.
        starts: in the law's coordinates, (s, p); None for those of the law.
        holdout: rule, as of `holdout.folds`.
        interval: one of resample.INTERVALS.
        cluster: column by which runs are drawn together; None where they are drawn one by one.
        bootstrap: replicates; 0 without.
        level: of the intervals, such as 0.95.
        profiles: whether the objective along every parameter is kept.
        seed: of replicates and random folds.
        loss_unit: of what is fitted.
        response: column of the runs that is fitted; a mixture law is fitted to losses by domain.
        progress: counts fits and folds; None where nobody looks.
    """

    card: str
    options: Mapping[str, Any]
    objective: Objective
    constraints: Constraints
    shared: Sequence[str]
    starts: Any
    holdout: Any
    interval: str
    cluster: str | None
    bootstrap: int
    level: float
    profiles: bool
    seed: int
    loss_unit: str
    response: str = RESPONSE
    progress: Progress | None = field(default=None, compare=False)

    def step(self) -> None:
        """Tell that a fit or fold is done."""
        if self.progress is not None:
            self.progress.step()

    @property
    def of_loss(self) -> bool:
        """Whether the loss is fitted, or losses by domain."""
        return self.response == RESPONSE

    @property
    def place(self) -> str:
        """The place of a problem: the law."""
        return f"law {self.card}"

    def chosen(self, law: Law, values: Sequence[np.ndarray]) -> Settings:
        """The settings with the objective that `auto` is for values to be fitted.

        A law with a method of its own minimises none.

        Args:
            law: of all fits.
            values: the responses of each fit, (m,).
        """
        relative = not law.additive and all((one > 0).all() for one in values)
        return replace(self, objective=self.objective.chosen(relative))

    @property
    def asked(self) -> dict[str, Any]:
        """What a user asked of the parameters, as JSON; empty where that is nothing."""
        held = self.constraints
        limits = {
            term: [None if end is None else float(end) for end in pair]
            for term, pair in held.bounds.items()
        }
        asked = {"tied": [list(terms) for terms in held.tied], "bounds": limits}
        return {k: v for k, v in {**asked, "shared": list(self.shared)}.items() if v}

    def solve(self, law: Law, data: Data, loss: np.ndarray, weight: np.ndarray) -> Solution:
        """The law fitted to runs, none of its parameters shared with other groups."""
        return self.solve_all([law], [(data, loss, weight)])[0]

    def solve_all(self, laws: Sequence[Law], samples: Sequence[Sample]) -> list[Solution]:
        """Laws of the card fitted to samples of runs each, side by side."""
        return solve_all(laws, samples, self.objective, self.constraints, self.starts)

    def estimates(self, law: Law, samples: Sequence[Sample]) -> list[Estimate]:
        """The law fitted to several samples of runs, each by itself: folds, which need no more."""
        if law.recipe:
            return law.estimates(samples)
        return [one.estimate for one in self.solve_all([law] * len(samples), samples)]


def settings_of(
    card: str, options: Mapping[str, Any] | None, fixed, tied, bounds, **asked
) -> Settings:
    """The settings that `fit_law` is asked for, by its arguments.

    Raises:
        IsolossError: a name is not known, or a number is out of its range; all problems at once.
    """
    held = {"fixed": fixed, "tied": tied, "bounds": bounds}
    if wrong := shapes.problems({"options": options, **held, **asked}):
        raise IsolossError(*wrong)
    chosen = {**registry.defaults("law", card), **(options or {})}
    known, place = registry.options("law", card), f"options of {card}"
    wrong = complete_options(chosen, known, place, fill=False) if options else []
    wrong += _value_problems(card, fixed or {}, bounds or {}, asked)
    delta, level = asked.pop("delta"), asked.pop("ci_level")
    try:
        asked["objective"] = objective_of(asked["objective"], delta)
    except IsolossError as error:
        wrong += error.problems
    if wrong:
        raise IsolossError(*wrong)
    if asked["interval"] == "none":
        asked["bootstrap"] = 0
    asked["profiles"] = asked["profiles"] or asked["interval"] == "profile"
    constraints = Constraints(fixed or {}, tied, bounds or {})
    return Settings(card=card, options=chosen, constraints=constraints, level=level, **asked)


def _value_problems(
    card: str, fixed: Mapping[str, Any], bounds: Mapping[str, Any], asked: Mapping[str, Any]
) -> list[Problem]:
    """Numbers out of their range, names that are not known, and choices that do not go together."""
    wrong, interval, cluster = [], asked["interval"], asked.get("cluster")
    if interval not in resample.INTERVALS:
        near = nearest(interval, resample.INTERVALS)
        wrong.append(Problem("interval", f"unknown {interval!r}", near))
    wrong += [one for name in LIMITS for one in _out_of_range(name, asked[name])]
    wrong += _too_large(fixed, bounds)
    wrong += response_problems(card, asked.get("response", RESPONSE))
    wrong += rule_problems(asked.get("holdout"))
    if cluster and interval in ("residual", "parametric"):
        alike = f"runs alike in {cluster} share noise; {interval} draws one by one"
        wrong.append(Problem(f"law {card}, interval", alike, "use bootstrap or profile"))
    return wrong


def response_problems(card: str, response: str, place: str = "response") -> list[Problem]:
    """What keeps a law from being fitted to a column of the runs that is not the loss."""
    facts = registry.facts("law", card)
    kind = facts["KIND"]
    if response == RESPONSE and "RESPONSE" in facts:
        reason = f"found 'loss', which the law {card} reads: it is of another column by the loss"
        return [Problem(place, reason, f"name the column, such as {facts['RESPONSE']}")]
    if response == RESPONSE or kind not in ("mixture", "frontier"):
        return []
    reads = "the losses by domain" if kind == "mixture" else "the least loss of every budget"
    reason = f"found {response!r:.60}; the law {card} is one of {reads}"
    return [Problem(place, reason, "take a law of kind joint or curve, or leave it out")]


def _out_of_range(name: str, value: Any) -> list[Problem]:
    """What is wrong with a number that has limits."""
    low, high = LIMITS[name]
    whole = isinstance(low, int)
    kind = numbers.Integral if whole else numbers.Real
    if isinstance(value, bool | np.bool) or not isinstance(value, kind):
        needed = f"needs {'an integer' if whole else 'a number'}, {low} to {high}"
        return [Problem(name, f"found {value!r:.60}", needed)]
    if not low <= value <= high:
        long = whole and int(value).bit_length() > 1023
        shown = "a number of very many digits" if long else f"{value:.6g}"
        return [Problem(name, f"found {shown}", f"needs {low} to {high}")]
    return []


def _too_large(fixed: Mapping[str, Any], bounds: Mapping[str, Any]) -> list[Problem]:
    """Values and bounds of parameters that are not numbers, or beyond what can be computed."""
    given = {f"fixed {name}": [value] for name, value in fixed.items()}
    given |= {f"bounds {name}": [v for v in pair if v is not None] for name, pair in bounds.items()}
    return [
        Problem(place, f"found {value!r:.60}", f"needs a number, -{LARGEST:g} to {LARGEST:g}")
        for place, values in given.items()
        for value in values
        if not (isinstance(value, numbers.Real) and abs(value) <= LARGEST)
    ]
