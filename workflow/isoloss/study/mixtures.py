"""Checks of weightings that are mixtures: their tag, and the fit that they are taken from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from isoloss.core import registry, rounds, weightings
from isoloss.core.phases import phases_of
from isoloss.core.problems import Problem, nearest


def mixture_problems(mixture: Mapping[str, Any], tags: set[str], place: str) -> list[Problem]:
    """A problem if no row has the tag that divides the rows into domains.

    Args:
        mixture: a mixture or a design of mixtures.
        tags: the tag keys of the rows; empty where they are not known.
        place: of the mixture.
    """
    key = mixture["tag_key"]
    if not tags or key in tags:
        return []
    return [Problem(f"{place}.tag_key", f"no row has the tag {key!r}", nearest(key, tags))]


def fit_problems(config: Mapping[str, Any], name: str, sound: Callable[..., bool]) -> list[Problem]:
    """Problems of the fit whose best mixture a weighting is.

    Args:
        config: the completed study.
        name: of the weighting.
        sound: whether an entry of a section has the right shape, by section and name.
    """
    fit_name, place = weightings.fit_of(config, name), f"expand.{name}.mixture.fit"
    if fit_name is None:
        return []
    fits = config["fit"] if isinstance(config.get("fit"), dict) else {}
    if fit_name not in fits:
        return [Problem(place, f"{fit_name!r} is not in fit", nearest(fit_name, fits))]
    if not sound("fit", fit_name):
        return []  # another check reports it
    fit, key = fits[fit_name], config["expand"][name]["mixture"]["tag_key"]
    if not registry.of_mixtures(fit["card"]):
        reason = f"{fit_name!r} fits the law {fit['card']!r}, which is not a law of mixtures"
        able = [law for law in registry.names("law") if registry.of_mixtures(law)]
        return [Problem(place, reason, f"name a fit of {' or '.join(able)}")]
    if not fit.get("domain_weights"):
        reason = f"{fit_name!r} looks for no best mixture"
        return [Problem(place, reason, f"give fit.{fit_name} its `domain_weights`")]
    if fit.get("tag_key") not in (None, key):
        reason = f"the domains of {fit_name!r} are values of {fit['tag_key']!r}, not of {key!r}"
        return [Problem(f"expand.{name}.mixture.tag_key", reason, "name the tag of the fit")]
    circle = _circle(config, name, sound)
    if circle:
        remedy = "train the best mixture in a sweep of its own"
        return [Problem(place, f"a circle: {' -> '.join(circle)}", remedy)]
    return []


def _circle(config: Mapping[str, Any], name: str, sound: Callable[..., bool]) -> list[str]:
    """What a weighting needs, up to the weighting itself; empty if it does not need itself."""
    looked_at = set()

    def needs(weighting: str, way: list[str]) -> list[str]:
        if weighting in looked_at or not sound("expand", weighting):
            return []
        looked_at.add(weighting)
        for phase in phases_of(config["expand"][weighting]) or ():
            there = [*way, f"weighting {phase['weighting']}"]
            circle = there if phase["weighting"] == name else needs(phase["weighting"], there)
            if circle:
                return circle
        fit_name = weightings.fit_of(config, weighting)
        if fit_name not in config["fit"] or not sound("fit", fit_name):
            return []
        sweep = config["fit"][fit_name]["sweep"]
        if sweep not in config["train"] or not sound("train", sweep):
            return []
        gathered = rounds.so_far(config, sweep)
        for other in [used for one in gathered for used in weightings.of_sweep(config, one)]:
            there = [*way, f"fit {fit_name}", f"sweep {sweep}", f"weighting {other}"]
            circle = there if other == name else needs(other, there)
            if circle:
                return circle
        return []

    return needs(name, [f"weighting {name}"])
