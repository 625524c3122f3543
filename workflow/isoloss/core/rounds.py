"""Adaptive sweeps of a study: rounds spelled out into sweeps that follow each other.

A sweep NAME with `rounds` stands for NAME_0, the seeding runs of its cells, and for a sweep a
round, NAME_1, NAME_2, ..., whose runs are chosen by the fit to all runs before them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from isoloss.core.problems import Problem, nearest

Entry = Mapping[str, Any]
_USERS = ("fit", "plot", "observe", "simulate")  # sections whose entries name a sweep
_OF_A_ROUND = ("fit", "planner", "options", "budget", "target", "until")
CHOSEN = ("n_params", "n_samples")  # settings of a run that a round decides
_LONGEST = 100  # characters of a name


def together_problems(entry: Entry, place: str) -> list[Problem]:
    """Problems of the keys of a sweep together: its runs are given by cells, or are of a round."""
    if "round" in entry:
        return [
            Problem(f"{place}.{key}", "a round has none of its own", "leave it out")
            for key in ("rounds", "cells")
            if entry.get(key)
        ]
    if not entry["cells"]:
        return [Problem(f"{place}.cells", "found []", "needs at least one entry")]
    return []


def spelled_out(config: Entry) -> tuple[dict[str, Any], list[Problem]]:
    """A study in which every sweep with `rounds` is spelled out, and what is wrong with the names.

    Args:
        config: a study whose keys are sound.

    Returns:
        The study with a sweep for the seeding runs and one for each round, and with the last of
        these in the place of the sweep's name in fits, figures, observations and simulations; as it
        is, if something is wrong.

    Example:
        >>> rounds = {"count": 2, "fit": "law", "planner": "scale_up", "options": {}, "shards": 2}
        >>> sweep = {"cells": [{"seed": 1}], "settings": {}, "rounds": rounds}
        >>> study, _ = spelled_out({"fit": {"law": {"sweep": "s"}}, "plot": {}, "observe": {},
        ...     "simulate": {}, "aggregate": {}, "train": {"s": sweep}})
        >>> list(study["train"]), study["fit"]
        (['s_0', 's_1', 's_2'], {'law': {'sweep': 's_2'}})
        >>> study["train"]["s_2"]["round"]
        {'number': 2, 'before': 's_1', 'fit': 'law', 'planner': 'scale_up', 'options': {}}
    """
    families = {
        name: dict(_sweeps(name, entry))
        for name, entry in config["train"].items()
        if "rounds" in entry
    }
    wrong = [one for name, sweeps in families.items() for one in _names(config, name, sweeps)]
    wrong += [one for name in families for one in _designs(config, name)]
    wrong += _begins(config)
    if wrong or not families:
        return dict(config), wrong
    train: dict[str, Any] = {}
    for name, entry in config["train"].items():
        train |= families.get(name, {name: entry})
    last = {name: list(sweeps)[-1] for name, sweeps in families.items()}
    users = {
        section: {name: _with_last(entry, last) for name, entry in config[section].items()}
        for section in _USERS
    }
    return {**config, "train": train, **users}, []


def _sweeps(name: str, entry: Entry) -> Iterator[tuple[str, dict[str, Any]]]:
    """The sweeps that one with `rounds` stands for, by name."""
    rounds = entry["rounds"]
    of_all = {key: value for key, value in entry.items() if key not in ("cells", "rounds")}
    yield f"{name}_0", copy.deepcopy({**of_all, "cells": entry["cells"]})
    chosen_by = {key: rounds[key] for key in _OF_A_ROUND if rounds.get(key) is not None}
    for number in range(1, rounds["count"] + 1):
        about = {"number": number, "before": f"{name}_{number - 1}", **chosen_by}
        entry = {**of_all, "shards": rounds["shards"], "cells": [], "round": about}
        yield f"{name}_{number}", copy.deepcopy(entry)  # nothing is shared: some is changed later


def _with_last(entry: Entry, last: Mapping[str, str]) -> dict[str, Any]:
    """An entry that names a sweep, with the last round in the place of a sweep with rounds.

    A simulation names one in its plan.
    """
    entry = {**entry, "plan": _with_last(entry["plan"], last)} if "plan" in entry else dict(entry)
    sweep = entry.get("sweep")
    return {**entry, "sweep": last[sweep]} if sweep in last else entry


def _begins(config: Entry) -> Iterator[Problem]:
    """Problems of rounds that are written out by hand, and follow no sweep of the study."""
    for name, entry in config["train"].items():
        before = entry.get("round", {}).get("before", name)
        if before not in config["train"]:
            place, remedy = f"train.{name}.round.before", nearest(before, config["train"])
            yield Problem(place, f"{before!r} is not in train", remedy)


def _names(config: Entry, name: str, sweeps: Entry) -> Iterator[Problem]:
    """Problems of the names of the sweeps that one with rounds stands for."""
    place = f"train.{name}"
    for sweep in sweeps:
        for section in ("train", "aggregate"):
            if sweep in config[section]:
                reason = f"with its rounds it has a sweep {sweep!r}, and {section} has one too"
                yield Problem(place, reason, "rename one of them")
    longest = max(sweeps, key=len)
    if len(longest) > _LONGEST:
        reason = f"a round is called {longest!r}"
        yield Problem(place, reason, f"a name has at most {_LONGEST} characters")


def _designs(config: Entry, name: str) -> list[Problem]:
    """A problem if the runs of rounds are to be trained under many weightings, a design's."""
    weighting = config["train"][name]["settings"].get("weighting")
    if not isinstance(weighting, str) or "mixtures" not in config["expand"].get(weighting, {}):
        return []
    reason = f"{weighting!r} stands for several weightings, and a chosen run has one"
    remedy = "name the design in the cells, and a point of it here"
    return [Problem(f"train.{name}.settings.weighting", reason, remedy)]


def so_far(config: Entry, sweep: str) -> list[str]:
    """The sweeps whose runs are gathered under the name of one: rounds before it, and itself.

    >>> train = {"s_0": {}, "s_1": {"round": {"before": "s_0"}}, "other": {}}
    >>> so_far({"train": train}, "s_1"), so_far({"train": train}, "other")
    (['s_0', 's_1'], ['other'])
    """
    sweeps = [sweep]
    while (about := config["train"].get(sweeps[0], {}).get("round")) is not None:
        if about["before"] in sweeps:  # a circle, which `check` refuses
            break
        sweeps.insert(0, about["before"])
    return sweeps


def number(config: Entry, sweep: str) -> int | None:
    """The number of a round, 0 for seeding runs; None for a sweep without rounds.

    >>> train = {"s_0": {}, "s_1": {"round": {"number": 1, "before": "s_0"}}, "other": {}}
    >>> [number({"train": train}, sweep) for sweep in train]
    [0, 1, None]
    """
    about = config["train"][sweep].get("round")
    if about is not None:
        return about["number"]
    return 0 if sweep in before_others(config) else None


def before_others(config: Entry) -> set[str]:
    """The sweeps that a round follows: their runs are among those of the last round."""
    train = config["train"].values()
    return {entry["round"]["before"] for entry in train if "round" in entry}


def decided_by(config: Entry, fit: str) -> list[str]:
    """The sweeps to which a fit is made so that a round can be chosen by it, in order."""
    train = config["train"].values()
    abouts = [entry["round"] for entry in train if "round" in entry]
    return [about["before"] for about in abouts if about["fit"] == fit]


def written_as(config: Entry, sweep: str) -> str:
    """The name in the user's study of a sweep that `rounds` may have been spelled out into."""
    which = number(config, sweep)
    return sweep if which is None else sweep.removesuffix(f"_{which}")


def with_choices(sweep: Entry, *chosen: Iterable[float]) -> dict[str, Any]:
    """The sweep of a round with a cell for each choice, in whole numbers.

    Args:
        sweep: the entry of the round.
        chosen: the values of every one of CHOSEN.

    >>> with_choices({"cells": []}, [812.4], [65_000.9])["cells"]
    [{'n_params': 812, 'n_samples': 65001}]
    """
    each = zip(*chosen, strict=True)
    cells = [{key: round(v) for key, v in zip(CHOSEN, one, strict=True)} for one in each]
    return {**sweep, "cells": cells}
