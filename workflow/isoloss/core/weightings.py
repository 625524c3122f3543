"""The weightings of a study: their forms, and designs spelled out into single mixtures.

A weighting is written as tag weights, tag key to tag value to number, or has one of the keys of
the schema's `weighting`: `weights` (tag weights too), `mixture`, `mixtures` or `phases`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from isoloss.core import weight_maps
from isoloss.core.problems import Problem

Entry = Mapping[str, Any]
# the keys of a weighting that are not tags, each with those that can stand beside it
FORMS: Mapping[str, tuple[str, ...]] = {
    "weights": ("files",),
    "mixture": (),
    "mixtures": (),
    "phases": (),
}
TARGETS = ("proportions", "corner", "draw", "fit")  # what gives a mixture its proportions
_LONGEST = 100  # characters of a name


def form(entry: Entry) -> str:
    """How a weighting is written: `weights` (in the short form too), or another one of FORMS.

    >>> form({"kind": {"code": 2}}), form({"mixture": {"tag_key": "kind"}})
    ('weights', 'mixture')
    """
    return next((key for key in FORMS if key in entry), "weights")


def tag_weights(entry: Entry) -> Mapping[str, Mapping[str, float]]:
    """The tag weights of a weighting that is written as such, in the short form or the long one.

    >>> tag_weights({"kind": {"code": 2}}), tag_weights({"weights": {"kind": {"code": 2}}})
    ({'kind': {'code': 2}}, {'kind': {'code': 2}})
    """
    return entry.get("weights", entry)


def beside(entry: Entry) -> dict[str, Any]:
    """What a weighting has beside its form.

    >>> beside({"weights": {}, "files": "weights.yaml"}), beside({"files": {"x": 2}})
    ({'files': 'weights.yaml'}, {})
    """
    allowed = next((FORMS[key] for key in FORMS if key in entry), ())
    return {key: entry[key] for key in allowed if key in entry}


def with_text_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """A study whose tags in weightings are text where YAML reads them as booleans or numbers.

    >>> with_text_keys({"expand": {"w": {"generated": {True: 0.5}}}})
    {'expand': {'w': {'generated': {'true': 0.5}}}}
    """
    entries = config.get("expand")
    if not isinstance(entries, Mapping):
        return dict(config)
    return {**config, "expand": {name: _with_text_keys(entry) for name, entry in entries.items()}}


def _with_text_keys(entry: Any) -> Any:
    entry = weight_maps.with_text_keys(entry)
    if not isinstance(entry, Mapping):
        return entry
    texts: dict[str, Any] = {}
    for key, below in entry.items():
        if key == "mixture" and isinstance(below, Mapping) and "proportions" in below:
            shares = weight_maps.with_text_keys(below["proportions"])
            texts[key] = {**below, "proportions": shares}
        else:
            texts[key] = weight_maps.with_text_keys(below, 2 if key == "weights" else 1)
    return texts


def together_problems(entry: Entry, place: str) -> list[Problem]:
    """Problems of the keys of a weighting together: forms that are mixed, several targets."""
    key = form(entry)
    others = [other for other in entry if other not in (key, *FORMS[key])] if key in entry else []
    if others:
        reason = f"it is beside {key!r}, which is another form of a weighting"
        remedy = "a tag that is called like a form goes below `weights`, with all other tags"
        return [Problem(f"{place}.{other}", reason, remedy) for other in others]
    if "files" in entry and "weights" not in entry:
        reason = "the weights that those of folders are put over are missing"
        return [
            Problem(f"{place}.files", reason, "add `weights`, which can be {}; a tag goes there")
        ]
    if key == "mixture":
        return _target_problems(entry[key], f"{place}.{key}")
    if key == "mixtures" and "corners" in entry[key] and "domains" not in entry[key]:
        reason = "which domains there are is known only when the rows are loaded"
        return [Problem(f"{place}.{key}.corners", reason, "name them in `domains`")]
    return []


def _target_problems(mixture: Entry, place: str) -> list[Problem]:
    targets = [key for key in TARGETS if key in mixture]
    if len(targets) != 1:
        reason = f"{' and '.join(targets)} give the target" if targets else "nothing is the target"
        return [Problem(place, reason, f"give one of {', '.join(TARGETS)}")]
    wrong = []
    if "group" in mixture and "fit" not in mixture:
        wrong.append(Problem(f"{place}.group", "only a mixture of a fit has it", "leave it out"))
    proportions = mixture.get("proportions")
    if isinstance(proportions, Mapping):
        total = sum(proportions.values())
        if abs(total - 1) > 1e-6:
            reason = f"the proportions sum to {total:.7g}"
            wrong.append(Problem(f"{place}.proportions", reason, "they have to sum to 1"))
    if "domains" in mixture and (isinstance(proportions, Mapping) or "fit" in mixture):
        reason = "the target names its domains itself"
        wrong.append(Problem(f"{place}.domains", reason, "leave it out"))
    corner = mixture.get("corner", {}).get("domain")
    if corner is not None and corner not in mixture.get("domains", [corner]):
        reason = f"{corner!r} is not among the domains of the mixture"
        wrong.append(Problem(f"{place}.corner.domain", reason, "add it to `domains`"))
    return wrong


def spelled_out(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """A study in which every design of mixtures is spelled out, and what is wrong with their names.

    Args:
        config: a study whose keys are sound.

    Returns:
        The study with a weighting for each point of a design, and with these in the place of the
        design's name in cells.

    Example:
        >>> design = {"tag_key": "kind", "points": 2, "concentration": 5, "size": 1}
        >>> study, _ = spelled_out({"expand": {"d": {"mixtures": design}},
        ...     "train": {"t": {"cells": [{"weighting": "d"}], "settings": {}}}})
        >>> study["expand"]["d_01"]["mixture"]["draw"]
        {'label': 'd/1', 'concentration': 5}
        >>> study["train"]["t"]["cells"]
        [{'weighting': ['d_00', 'd_01']}]
    """
    entries: dict[str, Any] = {}
    names: dict[str, list[str]] = {}
    wrong = []
    for name, entry in config["expand"].items():
        if "mixtures" not in entry:
            entries[name] = entry
            continue
        points = dict(_points(name, entry["mixtures"]))
        names[name] = list(points)
        place = f"expand.{name}"
        for taken in (point for point in points if point in config["expand"]):
            reason = f"the design has a point {taken!r}, and there is a weighting of that name"
            wrong.append(Problem(place, reason, "rename one of them"))
        if len(max(points, key=len)) > _LONGEST:
            reason = f"a point is called {max(points, key=len)!r}"
            wrong.append(Problem(place, reason, f"a name has at most {_LONGEST} characters"))
        entries |= {point: {"mixture": mixture} for point, mixture in points.items()}
    if not names:
        return dict(config), []
    sweeps = {sweep: _with_points(entry, names) for sweep, entry in config["train"].items()}
    return {**config, "expand": entries, "train": sweeps}, wrong


def _points(name: str, design: Entry) -> Iterator[tuple[str, dict[str, Any]]]:
    """The weightings that a design stands for, by name."""
    shared = {key: design[key] for key in ("tag_key", "domains", "size") if key in design}
    shared["design"] = name
    for i in range(design["points"]):
        draw = {"label": f"{name}/{i}", "concentration": design["concentration"]}
        yield f"{name}_{i:02d}", {**shared, "draw": draw}
    if "corners" in design:
        for i, domain in enumerate(design["domains"]):
            corner = {"domain": domain, "share": design["corners"]}
            yield f"{name}_corner_{i}", {**shared, "corner": corner}


def _with_points(sweep: Entry, names: Mapping[str, list[str]]) -> dict[str, Any]:
    """A sweep in which the points of designs stand in the place of the designs' names."""
    settings, cells = dict(sweep["settings"]), [dict(cell) for cell in sweep["cells"]]
    of_all = settings.get("weighting")
    if isinstance(of_all, str) and of_all in names:
        del settings["weighting"]
        cells = [{"weighting": of_all, **cell} for cell in cells]
    for cell in cells:
        value = cell.get("weighting")
        given = value if isinstance(value, list) else [value]
        if any(isinstance(one, str) and one in names for one in given):
            spelled = [names.get(one, [one]) if isinstance(one, str) else [one] for one in given]
            cell["weighting"] = [point for points in spelled for point in points]
    return {**sweep, "settings": settings, "cells": cells}


def of_sweep(config: Mapping[str, Any], sweep: str) -> list[str]:
    """The weightings that the runs of a sweep use, sorted."""
    section = config["train"][sweep]
    base = section["settings"].get("weighting", "natural")
    names = set() if section["cells"] else {base}  # of a round, whose runs are chosen later
    for cell in section["cells"]:
        value = cell.get("weighting", base)
        names.update(value if isinstance(value, list) else [value])
    return sorted(names)


def fit_of(config: Mapping[str, Any], name: str) -> str | None:
    """The fit whose best mixture a weighting is; None for any other weighting."""
    return config["expand"].get(name, {}).get("mixture", {}).get("fit")
