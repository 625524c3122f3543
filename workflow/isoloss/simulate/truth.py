"""The law that simulated runs obey, and the runs of one simulated study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoloss.core import registry
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.schema import complete_options, lacking_options
from isoloss.laws._law import Law
from isoloss.laws._make import made_law
from isoloss.simulate.kinds import check_mapping

VARIABLES = ("N", "D", "C")  # what a plan gives of a run, with C = 6 N D


@dataclass(frozen=True)
class Runs:
    """Runs of a simulated study, (n,) each.

    Attributes:
        N, D, C: parameters, tokens and FLOP (6 N D).
        loss: by the law, without noise.
        reducible: what of it is above the law's E, all of it where the law has none.
    """

    N: np.ndarray
    D: np.ndarray
    C: np.ndarray
    loss: np.ndarray
    reducible: np.ndarray

    def __len__(self) -> int:
        return len(self.N)


@dataclass(frozen=True)
class Truth:
    """A law with its parameters.

    Attributes:
        card: the law card.
        law: with its options.
        values: of every parameter, in the user's units.
        theta: the same in the law's coordinates, (p,).
    """

    card: str
    law: Law
    values: Mapping[str, float]
    theta: np.ndarray

    def runs(self, N: np.ndarray, D: np.ndarray) -> Runs:
        """Runs at some sizes and lengths, (n,) each, with the losses of the law."""
        data = {"N": N, "D": D, "C": 6.0 * N * D}
        loss = self.law.loss(self.theta, {name: data[name] for name in self.law.variables})
        return Runs(**data, loss=loss, reducible=loss - self.values.get("E", 0.0))

    def knows(self, law: Law, card: str) -> bool:
        """Whether terms of a law mean the same as those of this law that have their names."""
        return card == self.card or set(law.variables) == set(self.law.variables)


def truth_of(settings: Mapping[str, Any] | str) -> Truth:
    """The true law that is asked for.

    Args:
        settings: `card`, `options` of it, and `values` of its parameters or `preset`, the name of
            published ones; or a law card alone, with its first preset.

    Raises:
        IsolossError: no such card or preset, a parameter that is missing, or a law that needs more
            of a run than N, D and C.

    Example:
        >>> truth = truth_of({"card": "chinchilla", "preset": "hoffmann"})
        >>> round(truth.values["alpha"], 3)
        0.339
    """
    given = {"card": settings} if isinstance(settings, str) else settings
    check_mapping("truth", given, "give `card`, a law, and its parameters")
    if "card" not in given:
        raise IsolossError(Problem("truth.card", "is missing", "name a law in N, D or C"))
    card = given["card"]
    registry.path("law", card)
    if registry.of_mixtures(card):
        remedy = "name a law in N, D or C"
        raise IsolossError(Problem("truth.card", f"{card!r} is a law of mixtures", remedy))
    options = {**registry.defaults("law", card), **given.get("options", {})}
    wrong = complete_options(options, registry.options("law", card), "truth.options", fill=False)
    wrong += lacking_options("law", card, given.get("options", {}), "truth.options")
    if wrong:
        raise IsolossError(*wrong)
    law = made_law(card, options)
    more = [name for name in law.variables if name not in VARIABLES]
    if more:
        reason = f"{card!r} needs {', '.join(more)}, and a simulated run has N, D and C"
        raise IsolossError(Problem("truth.card", reason, "name another law"))
    values = _values(card, given)
    try:
        theta = law.theta(values)
    except IsolossError as error:
        raise IsolossError(*[one.within("truth.values", ": ") for one in error.problems]) from None
    return Truth(card, law, values, theta)


def _values(card: str, given: Mapping[str, Any]) -> Mapping[str, float]:
    """The values of the parameters: those given, or a preset's."""
    presets = registry.facts("law", card).get("PRESETS", {})
    values, preset = given.get("values"), given.get("preset")
    if values and preset:
        raise IsolossError(Problem("truth", "found both values and preset", "give one of them"))
    if values:
        check_mapping("truth.values", values, "give a number for every parameter")
        wrong = [
            Problem(f"truth.values.{name}", f"found {value!r:.60}", "needs a number")
            for name, value in values.items()
            if isinstance(value, bool) or not isinstance(value, int | float | np.number)
        ]
        if wrong:
            raise IsolossError(*wrong)
        return values
    if not presets:
        raise IsolossError(Problem("truth", f"{card} has no presets", "give `values`"))
    name = preset or next(iter(presets))
    if name not in presets:
        known = nearest(name, presets)
        raise IsolossError(Problem("truth.preset", f"{card} has no preset {name!r}", known))
    return presets[name]["values"]
