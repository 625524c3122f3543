"""Problems of adaptive rounds: what they are chosen by, and whether what is chosen can be run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from isoloss.core import registry, rounds, units
from isoloss.core.problems import Problem, nearest
from isoloss.laws._make import allocating, made_law
from isoloss.planners._planner import law_problems
from isoloss.train.cells import OF_D
from isoloss.train.plan import Cards
from isoloss.train.settings import commanded, known
from isoloss.trainers import _command_line

Entry = Mapping[str, Any]
Sound = Callable[..., bool]  # whether an entry of a section has the right shape


def as_written(problems: Iterable[Problem], config: Entry) -> list[Problem]:
    """Problems with the places of the user's study, in which rounds are not spelled out.

    Args:
        problems: of a complete study.
        config: that study.
    """
    names = {name: rounds.written_as(config, name) for name in config["train"]}
    places = {f"train.{k}": f"train.{v}" for k, v in names.items() if k != v}
    return [_at(problem, places) for problem in problems]


def _at(problem: Problem, places: Mapping[str, str]) -> Problem:
    for place, written in places.items():
        rest = problem.place.removeprefix(place)
        if rest != problem.place and (not rest or rest[0] in ".[:"):
            return replace(problem, place=f"{written}{rest}")
    return problem


def round_problems(config: Entry, name: str, sound: Sound) -> list[Problem]:
    """Problems of the fit by which a round is chosen, and of when the rounds end.

    Args:
        config: a study in which rounds are spelled out.
        name: of the round's sweep.
        sound: whether an entry of a section has the right shape, by section and name.
    """
    about, place = config["train"][name]["round"], f"train.{name}.rounds"
    if rounds.number(config, about["before"]) != about["number"] - 1:
        reason = f"{about['before']!r} is not a round before it"
        return [Problem(place, reason, "write `rounds`, which is spelled out by itself")]
    wrong = _fit_problems(config, name, sound)
    if about.get("until") is not None and about.get("target") is None:
        reason = "the budget for which N is to be known so well is missing"
        wrong.append(Problem(f"{place}.until", reason, "give `target` too"))
    return wrong


def _fit_problems(config: Entry, name: str, sound: Sound) -> list[Problem]:
    """Problems of the fit by which a round is chosen: its sweep, its law."""
    fit, place = config["train"][name]["round"]["fit"], f"train.{name}.rounds.fit"
    if fit not in config["fit"]:
        return [Problem(place, f"{fit!r} is not in fit", nearest(fit, config["fit"]))]
    if not sound("fit", fit):
        return []  # another check reports it
    entry, seeds = config["fit"][fit], rounds.so_far(config, name)[0]
    if entry["sweep"] not in config["train"] or rounds.so_far(config, entry["sweep"])[0] != seeds:
        written, other = rounds.written_as(config, name), entry["sweep"]
        other = rounds.written_as(config, other) if other in config["train"] else other
        reason = f"{fit!r} is fitted to {other!r}, not to the runs of {written!r}"
        return [Problem(place, reason, f"name a fit of the sweep {written}")]
    if entry["card"] not in registry.names("law"):
        return []  # another check reports it
    law = entry["card"]
    if registry.of_mixtures(law) or not made_law(law, entry["options"]).allocates:
        reason = f"its law, {law!r}, does not divide a budget between N and D"
        return [Problem(place, reason, f"name a fit of {' or '.join(allocating())}")]
    if entry.get("response") is not None:
        reason = f"{fit!r} is fitted to {entry['response']!r}, and rounds lower the loss"
        return [Problem(place, reason, "name a fit of the loss")]
    planner = config["train"][name]["round"]["planner"]
    wrong = [problem.within(place) for problem in law_problems(planner, law)]
    drawn = entry["bootstrap"] and entry["interval"] != "none"
    if registry.facts("planner", planner).get("REPLICATES") and not drawn:
        reason = f"the planner {planner} weighs replicates, and {fit!r} has none"
        wrong.append(Problem(place, reason, "give the fit a `bootstrap` above 0 and an `interval`"))
    return wrong


def figure_problems(config: Entry, figure: Entry, place: str) -> list[Problem]:
    """Problems of a figure of rounds: its sweep has none, or its fit does not choose them.

    Nothing is said of rounds that are at fault themselves, which other checks report.

    Args:
        config: a study in which rounds are spelled out, if it can be.
        figure: an entry of `plot` whose card reads choices.
        place: where it stands.
    """
    sweep = config["train"].get(figure["sweep"], {})
    if "rounds" in sweep:  # a fault of the study keeps them from being spelled out
        return []
    if "round" not in sweep:
        reason = f"the figure shows rounds, and {figure['sweep']!r} has none"
        return [Problem(f"{place}.sweep", reason, "show a sweep of `train` with `rounds`")]
    chosen_by = sweep["round"]["fit"]
    if chosen_by not in config["fit"]:
        return []
    return [
        Problem(f"{place}.fits", f"{fit!r} does not choose the rounds", f"show {chosen_by!r}")
        for fit in figure["fits"]
        if fit != chosen_by
    ]


def seeding_problems(config: Entry, name: str, seeds: pd.DataFrame) -> list[Problem]:
    """A problem if the seeding runs alone take the budget of the rounds, or more.

    Args:
        config: a study in which rounds are spelled out.
        name: of a round's sweep.
        seeds: the planned seeding runs.
    """
    budget, takes = config["train"][name]["round"].get("budget"), seeds["n_flops_6nd"].sum()
    if budget is None or takes < budget:
        return []
    reason = (
        f"{units.power(budget)} FLOP, and the {len(seeds)} seeding runs take {units.power(takes)}"
    )
    return [Problem(f"train.{name}.rounds.budget", reason, "raise it, or cut the cells")]


def trial(sweep: Entry, seeds: pd.DataFrame) -> dict[str, Any]:
    """The sweep of a round as if the largest seeding run had been chosen, to see if it can be."""
    takes = seeds["n_flops_6nd"].astype(float).fillna(0.0)
    largest = seeds.iloc[int(takes.argmax())]
    sizes = [1.0 if pd.isna(largest[key]) else largest[key] for key in rounds.CHOSEN]
    return rounds.with_choices(sweep, *([size] for size in sizes))


def unsettled_problems(config: Entry, name: str) -> list[Problem]:
    """Settings that only the cells of the seeding runs give: chosen runs would have defaults.

    Args:
        config: a study in which rounds are spelled out.
        name: of a round's sweep, whose runs can be planned.
    """
    sweep, seeds = config["train"][name], rounds.so_far(config, name)[0]
    if commanded(sweep):
        return []  # its command would lack them, which is told
    specs = known(sweep)
    defaults = {key: spec["default"] for key, spec in specs.items() if "default" in spec}
    settings = {**defaults, **sweep["settings"]}
    sizes = Cards.of(sweep).sizes(1000.0, "closest", settings, sweep["n_params"])
    settled = {*sizes, *sweep["settings"], *OF_D, "n_params", "size_rule", "seed"}
    given = dict.fromkeys(key for cell in config["train"][seeds]["cells"] for key in cell)
    return [
        Problem(
            f"train.{seeds}.cells",
            f"the runs of rounds would not have {key!r}, which only the cells give",
            "put the value for these runs into `settings`",
        )
        for key in given
        if key not in settled
    ]


def not_to_choose(problem: Problem, place: str) -> Problem:
    """What is wrong with the run of a trial, as a problem of the settings of its sweep."""
    reason = f"a round chooses N and D of a run, and then: {problem.found}"
    return Problem(f"{place}.settings", reason, "what settles N or D goes into the cells")


def command_problems(sweep: Entry, place: str) -> list[Problem]:
    """Problems of a user's program that cannot be told N and D."""
    if not commanded(sweep):
        return []
    names = _command_line.names_of(sweep["command"]["run"], f"{place}.command.run")
    return [
        Problem(
            f"{place}.command.run", f"a round chooses {key}, and it is not told", f"write {{{key}}}"
        )
        for key in rounds.CHOSEN
        if key not in names
    ]
