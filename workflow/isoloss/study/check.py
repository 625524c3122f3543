"""Check a study before any job runs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoloss.aggregate.stage import rules
from isoloss.aggregate.table import Rules, read_table
from isoloss.core import (
    filters,
    registry,
    rounds,
    schema,
    tables,
    tokenizer,
    weight_maps,
    weightings,
)
from isoloss.core.addresses import UnsetError
from isoloss.core.escape import listed
from isoloss.core.joined import Columns, join_problems, joined
from isoloss.core.problems import IsolossError, Problem, StudyError, TableError, nearest
from isoloss.core.sources import Sources
from isoloss.core.tables import WHOLE
from isoloss.fit.coordinates import free_coordinates, scale_of
from isoloss.fit.holdout import folds, held_out, name_of, rule_problems
from isoloss.fit.mixture import domains_of, responses_of
from isoloss.fit.prepare import check_values
from isoloss.fit.settings import response_problems
from isoloss.fit.shared import alone_problems, shared_problems
from isoloss.fit.solve import Constraints
from isoloss.fitted.names import OF_RUN, RESPONSE
from isoloss.fitted.optimum import asked_question, problems_of
from isoloss.laws._law import Law
from isoloss.laws._make import made_law
from isoloss.laws._mixture import LOSS
from isoloss.load.content import keywords
from isoloss.load.stage import CACHE, FETCHED
from isoloss.study import formulas
from isoloss.study.folder_weights import folder_weights
from isoloss.study.mixtures import fit_problems, mixture_problems
from isoloss.study.rounds import (
    as_written,
    command_problems,
    figure_problems,
    not_to_choose,
    round_problems,
    seeding_problems,
    trial,
    unsettled_problems,
)
from isoloss.study.schedules import phase_problems, schedule_problems
from isoloss.train import cells
from isoloss.train import settings as train_settings
from isoloss.train.plan import MOST_RUNS, Cards, too_many
from isoloss.train.plans import Plans
from isoloss.train.programs import program_problems
from isoloss.train.settings import commanded, task_of

# Columns that a planned run lacks, with the values of a run that is done.
MEASURED = {
    "run_digest": None,
    "n_unique": 1,
    "loss": 1.0,
    "status": "done",
    "status_reason": None,
    "fit_weight": 1.0,
    "group": WHOLE,
}
MOST_STEPS = 10**12
MOST_TOKENS = 10**15  # that one run is trained on
MOST_BYTES = 2**36  # that one run takes in memory, 64 GiB
MOST_COPIES = weight_maps.MOST  # of one row
_ENTRY = re.compile(r"[.\[:]")  # what stands behind the name of an entry
VALIDATED = 64  # items at once, where a run is measured
HINTS = 100  # most problems for which similar names are looked up


def checked(path: str | Path, fetch: bool = True, sources: Sources | None = None) -> dict[str, Any]:
    """Read, complete and check a study file; see `check`."""
    return check(schema.read(path), str(path), fetch, sources)


def check(
    config: Mapping[str, Any],
    source: str = "the study",
    fetch: bool = True,
    sources: Sources | None = None,
    plans: Plans | None = None,
    fetched: Path = Path("results", CACHE, FETCHED),
) -> dict[str, Any]:
    """Complete and check a study.

    Args:
        config: the study.
        source: what it is called in errors.
        fetch: whether to look into tables of runs made elsewhere, and what is fitted to them.
        sources: by which they are read; give it to `Flow` too, so that they are read once.
        plans: by which sweeps are spelled out; give it to `Flow` too, so that they are once.
        fetched: where dataset cards keep what they fetch from a network.

    Raises:
        StudyError: with every problem of the study.
    """
    look = (sources or Sources()) if fetch else None
    plans = plans or Plans()
    wrong = schema.unsound(weightings.with_text_keys(config))
    if wrong:
        raise StudyError(wrong, source)
    config, wrong = schema.complete(config)
    if wrong:
        # a section of the wrong shape cannot be looked into; sound ones still are
        wrong += _Sections(config, _sound_sections(config, wrong), look, plans, fetched).check()
        raise StudyError(_in_order(wrong, config), source)
    wrong = _Sections(config, lambda *_: True, look, plans, fetched).check()
    if wrong:
        raise StudyError(_in_order(as_written(wrong, config), config), source)
    return config


def _in_order(problems: Sequence[Problem], config: Mapping[str, Any]) -> list[Problem]:
    """Problems, each once, in the order of the sections and entries of a study."""
    sections = list(config)
    orders = {
        section: {str(name): at for at, name in enumerate(entries)}
        for section, entries in config.items()
        if isinstance(entries, dict)
    }

    def place_of(problem: Problem) -> tuple[int, int]:
        section, _, rest = problem.place.partition(".")
        if section not in sections:
            return -1, -1
        entry = _ENTRY.split(rest, maxsplit=1)[0]
        return sections.index(section), orders.get(section, {}).get(entry, -1)

    return sorted(dict.fromkeys(problems), key=place_of)


def _sound_sections(config: Mapping[str, Any], wrong: list[Problem]) -> Callable[..., bool]:
    places = [one.place for one in wrong]

    def sound(section: str, name: str) -> bool:
        place = f"{section}.{name}"
        well_formed = isinstance(config.get(section), dict)
        return well_formed and not any(
            p in ("study", section, place) or p.startswith((f"{place}.", f"{place}["))
            for p in places
        )

    return sound


class _Sections:
    """A pass over the sections of a study that collects what is wrong with them.

    Args:
        config: the completed study.
        sound: whether an entry of a section has the right shape, by section and name.
        sources: by which tables of runs are read; None: they are not.
        plans: by which sweeps are spelled out.
        fetched: where dataset cards keep what they fetch from a network.

    Attributes:
        problems: those collected so far, in the order of the sections.
        runs: the runs of every sweep and table that could be spelled out or read, by name.
        observed: the columns of the runs of a sweep that observations give them.
        fits: those with a law, by name: of a formula with its variables, None if not known.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        sound: Callable[..., bool],
        sources: Sources | None,
        plans: Plans,
        fetched: Path,
    ):
        self.config = config
        self.sound = sound
        self.sources = sources
        self.fetched = fetched
        self.plans = plans
        self.problems: list[Problem] = []
        self.runs: dict[str, pd.DataFrame] = {}
        self.observed: dict[str, set[str]] = {}
        self.fits: dict[str, Mapping[str, Any] | None] = {}

    def check(self) -> list[Problem]:
        """Every problem: names that do not exist, options of cards, tables, numbers of runs."""
        self._check_sweeps()
        self._check_observations()
        self._check_tables()
        for name, dataset in self._entries("load"):
            self.problems += self._dataset_problems(dataset, f"load.{name}")
        self._check_weightings()
        self._check_fits()
        self._check_simulations()
        for name, figure in self._entries("plot"):
            self._check_figure(figure, f"plot.{name}")
        if self.sound("summary", "optima"):
            self._check_optima()
        return self.problems

    def _entries(self, section: str) -> list[tuple[str, Any]]:
        """Names and entries of a section that have the right shape."""
        entries = self.config.get(section)
        named = entries.items() if isinstance(entries, dict) else ()
        return [(name, entry) for name, entry in named if self.sound(section, name)]

    def _is_known(self, place: str, name: str, sections: tuple[str, ...]) -> bool:
        """Whether one of the sections has an entry of this name; a problem where none has."""
        dicts = [self.config[s] for s in sections if isinstance(self.config.get(s), dict)]
        names = [known for entries in dicts for known in entries]
        if name not in names:
            reason = f"{name!r} is not in {' or '.join(sections)}"
            hint = nearest(name, names) if len(self.problems) < HINTS else "name one that is"
            self.problems.append(Problem(place, reason, hint))
        return name in names

    def _check_sweeps(self) -> None:
        tables = dict(self._entries("aggregate"))
        planned = 0
        for name, sweep in self._entries("train"):
            place = f"train.{name}"
            if name in tables:
                reason = f"{name!r} is also in aggregate"
                self.problems.append(Problem(place, reason, "rename one of them"))
            lacking = _lacking_keys(sweep, place)
            self.problems += lacking
            if lacking:
                continue
            if not commanded(sweep):
                self._is_known(f"{place}.dataset", sweep["dataset"], ("load",))
            if "round" in sweep:
                self._check_round(name, sweep, place)
                continue
            before = len(self.problems)
            self.problems += _sweep_problems(sweep, place)
            if len(self.problems) > before:
                continue
            planned += cells.count_runs(sweep)
            if planned > MOST_RUNS:
                self.problems.append(too_many(f"{place}.cells", planned))
            else:
                self._check_plan(name, sweep, place)

    def _check_round(self, name: str, sweep: Mapping[str, Any], place: str) -> None:
        """A round, whose runs are known later: what they are chosen by, and that they can be run.

        In the checks of fits and figures it has the seeding runs.
        """
        wrong = round_problems(self.config, name, self.sound) + command_problems(sweep, place)
        self.problems += wrong
        seeds = self.runs.get(rounds.so_far(self.config, name)[0])
        if seeds is None:
            return
        self.problems += seeding_problems(self.config, name, seeds)
        if not wrong and sweep["round"]["number"] == 1:  # the others are alike
            unfit = self._trial_problems(trial(sweep, seeds), place)
            self.problems += unfit or unsettled_problems(self.config, name)
        self.runs[name] = seeds

    def _trial_problems(self, sweep: Mapping[str, Any], place: str) -> list[Problem]:
        """Problems of settings with which no N and D can be chosen."""
        try:
            if wrong := _sweep_problems(sweep, place):
                return [not_to_choose(one, place) for one in wrong]
            self.plans.runs(sweep)
        except IsolossError as error:
            return [not_to_choose(one, place) for one in error.problems]
        return []

    def _check_plan(self, name: str, sweep: Mapping[str, Any], place: str) -> None:
        """The runs of a sweep whose settings are sound."""
        try:
            plan = pd.DataFrame(self.plans.runs(sweep))
        except IsolossError as error:
            self.problems += [one.within(place, ".") for one in error.problems]
            return
        if not commanded(sweep):
            used = weightings.of_sweep(self.config, name)
            for weighting in used:
                self._is_known(f"{place}.cells", weighting, ("expand",))
            self.problems += _plan_problems(plan, sweep, place)
            if self.sound("load", sweep["dataset"]):
                self.problems += _task_problems(self.config, sweep, place)
                self.problems += _vocabulary_problems(plan, self.config, sweep["dataset"], place)
            schedules = {
                weighting: entry["phases"]
                for weighting, entry in self._entries("expand")
                if weightings.form(entry) == "phases"
            }
            self.problems += schedule_problems(plan, schedules, f"{place}.cells")
            if any("mixtures" in _entry(self.config, "expand", weighting) for weighting in used):
                return  # a design is spelled out, and its runs are known, in a sound study
        self.runs[name] = plan.drop(columns="shard").assign(**MEASURED)

    def _check_observations(self) -> None:
        for name, observation in self._entries("observe"):
            place, sweep = f"observe.{name}", observation["sweep"]
            if self._is_known(f"{place}.sweep", sweep, ("train",)) and self.sound("train", sweep):
                self.problems += _weights_kept_problems(self.config["train"][sweep], sweep, place)
            if "problems" in registry.defined("observable", observation["card"]):
                card = registry.card("observable", observation["card"])
                wrong = card.problems(**observation["options"])
                self.problems += [one.within(f"{place}.options", ".") for one in wrong]
        observations = dict(self._entries("observe"))
        self.problems += join_problems(observations)
        for sweep in self.runs:
            given = joined({**self._ill_observed(), **observations}, sweep)
            self.observed[sweep] = {c for columns in given.values() for c in columns}
            for column in sorted(self.observed[sweep].intersection(self.runs[sweep])):
                reason = f"its runs get the column {column!r}, which is one of their settings"
                self.problems.append(Problem(f"train.{sweep}", reason, "rename the setting"))
            self.runs[sweep] = self.runs[sweep].assign(**_not_observed_yet(given))

    def _ill_observed(self) -> dict[str, Any]:
        """Observations with a mistake that still say which runs they give which columns."""
        names = self.config["observe"] if isinstance(self.config.get("observe"), dict) else ()
        entries = {name: _entry(self.config, "observe", name) for name in names}
        known = registry.names("observable")
        return {
            name: {"join": True, **entry}
            for name, entry in entries.items()
            if entry.get("card") in known and "sweep" in entry
        }

    def _check_tables(self) -> None:
        """Tables of runs that were made elsewhere."""
        for name, table in self._entries("aggregate"):
            place = f"aggregate.{name}"
            unread = _filter_problems(table["keep"], f"{place}, keep")
            self.problems += unread
            if unread or self.sources is None:
                continue
            try:
                content = self.sources.read(name, table)
                self.runs[name] = read_table(content, Rules(**rules(table), by_laws=True)).runs
            except UnsetError as error:
                self.problems += [one.within(f"{place}.table") for one in error.problems]
            except IsolossError as error:
                self.problems += [one.within(place) for one in error.problems]

    def _check_weightings(self) -> None:
        tags = _known_tags(self.config)
        for name, entry in self._entries("expand"):
            place, form = f"expand.{name}", weightings.form(entry)
            if form == "weights":
                below = f"{place}.weights" if form in entry else place
                self.problems += _weights_problems(weightings.tag_weights(entry), tags, below)
                if weightings.beside(entry):
                    self._check_folders(name, entry["files"], tags)
            elif form == "phases":
                self.problems += phase_problems(entry[form], self.config["expand"], place)
            else:
                design = entry[form].get("design")
                below = f"expand.{design}.mixtures" if design else f"{place}.{form}"
                self.problems += mixture_problems(entry[form], tags, below)
            self.problems += fit_problems(self.config, name, self.sound)

    def _dataset_problems(self, dataset: Mapping[str, Any], place: str) -> list[Problem]:
        """Problems of a dataset; without `sources` none of what is read from a network."""
        return _dataset_problems(dataset, place, self.fetched, self.sources is not None)

    def _check_folders(self, weighting: str, files: str, tags: set[str]) -> None:
        """The weights in the folders of the datasets."""
        place = f"expand.{weighting}"
        for _, entry in self._entries("load"):
            if self._dataset_problems(entry, ""):
                continue
            try:
                folders = folder_weights(entry, files, self.fetched)
            except IsolossError as error:
                self.problems += [one.within(place) for one in error.problems]
                continue
            for folder, weights in folders.items():
                at = f"{place}: {Path(folder, files)}"
                self.problems += _weights_problems(weights, tags, at)

    def _check_fits(self) -> None:
        for name, fit in self._entries("fit"):
            place, sweep = f"fit.{name}", fit["sweep"]
            unread = _filter_problems(filter(None, [fit["where"]]), f"{place}.where")
            self.problems += unread
            if not self._is_known(f"{place}.sweep", sweep, ("train", "aggregate")):
                continue
            self.fits[name], wrong = formulas.completed(fit, self.runs.get(sweep), place)
            self.problems += wrong
            if (fit := self.fits[name]) is None:
                continue
            tags = _tags(self.config, sweep)
            self.problems += _rows_problems(fit, tags, place)
            if sweep in self.runs and not unread:
                measured = None if tags is None else {*MEASURED, *self.observed.get(sweep, ())}
                self.problems += _fit_problems(fit, self.runs[sweep], measured, place)

    def _check_simulations(self) -> None:
        simulations = self._entries("simulate")
        if not simulations:
            return
        from isoloss.study.simulations import simulation_problems  # what fits is slow to import

        for name, entry in simulations:
            place, sweep = f"simulate.{name}", entry["plan"].get("sweep")
            if sweep is None or self._is_known(
                f"{place}.plan.sweep", sweep, ("train", "aggregate")
            ):
                self.problems += simulation_problems(entry, self.runs.get(sweep), place)

    def _check_figure(self, figure: Mapping[str, Any], place: str) -> None:
        """A figure's simulation, or its sweep, its fits, and what its card needs of them."""
        if figure.get("width") is not None and figure["style"] == "screen":
            reason, remedy = "a figure for a screen has its own", "add `style: paper`, or remove it"
            self.problems.append(Problem(f"{place}.width", reason, remedy))
        if wrong := _of_what_problems(figure, place):
            self.problems += wrong
            return
        if "simulation" in figure:
            self._is_known(f"{place}.simulation", figure["simulation"], ("simulate",))
            return
        config, fits, at_fits = self._with_laws(), figure["fits"], f"{place}.fits"
        card, inputs = registry.facts("figure", figure["card"]), registry.inputs(figure["card"])
        self._is_known(f"{place}.sweep", figure["sweep"], ("train", "aggregate"))
        self._check_shown_fits(figure, card.get("FITS_OF_ANY_SWEEP", False), at_fits)
        if figure["sweep"] in dict(self._entries("aggregate")):
            self.problems += _table_figure_problems(inputs, place)
            runs = self.runs.get(figure["sweep"])
            if runs is not None and "VARIABLES" in card:
                self.problems += _sizes_shown(runs, place)
        self.problems += _response_problems(config, fits, card, at_fits)
        count_problems = _fit_count_problems(card, len(fits), at_fits)
        self.problems += count_problems
        if not count_problems and "NEEDS" in card and self._has_law(fits[0]):
            self.problems += _ability_problems(config["fit"], figure, card["NEEDS"], at_fits)
        if "VARIABLES" in card and all(map(self._has_law, fits)):
            self.problems += _variable_problems(config, fits, card["VARIABLES"], at_fits)
        shown = [table.split("/")[1] for table in inputs if table.startswith("observe/")]
        if shown or figure.get("observation") is not None:
            self.problems += _observation_problems(config, figure, shown, place)
        if "choose/choices" in inputs:
            self.problems += figure_problems(config, figure, place)
        if "fit/profiles" in inputs:
            self.problems += _profile_problems(config["fit"], fits[:1], at_fits)
        if "fit/best_mixture" in inputs:
            self.problems += _unweighted_problems(config["fit"], fits, at_fits)
        self._check_options(figure, place)

    def _check_optima(self) -> None:
        """The questions of the summary: their fits, and whether these can be asked."""
        for i, asked in enumerate(self.config["summary"].get("optima", [])):
            place, name = f"summary.optima[{i}]", asked["fit"]
            if not (self._is_known(f"{place}.fit", name, ("fit",)) and self._has_law(name)):
                continue
            fit = self._with_laws()["fit"][name]
            if registry.of_mixtures(fit["card"]):
                do = "ask fits of other laws; the best mixture is in the summary anyway"
                self.problems.append(Problem(f"{place}.fit", f"{name!r} is of mixtures", do))
                continue
            law, quantity = made_law(fit["card"], fit["options"]), fit.get("response") or RESPONSE
            try:
                wrong = problems_of(asked_question(asked), law, quantity)
            except IsolossError as error:
                wrong = error.problems
            self.problems += [one.within(place) for one in wrong]

    def _with_laws(self) -> Mapping[str, Any]:
        """The study, its formulas with their variables, as far as they are known."""
        if not isinstance(self.config.get("fit"), dict):
            return self.config
        laws = {name: fit for name, fit in self.fits.items() if fit is not None}
        return {**self.config, "fit": {**self.config["fit"], **laws}}

    def _has_law(self, fit: str) -> bool:
        """Whether the law of a fit is known: of a formula its variables too."""
        return self.sound("fit", fit) and self.fits.get(fit, {}) is not None

    def _check_shown_fits(self, figure: Mapping[str, Any], any_sweep: bool, place: str) -> None:
        """The fits that a figure shows exist, and are fitted to its sweep where they have to be."""
        for name in figure["fits"]:
            if not self._is_known(place, name, ("fit",)):
                continue
            fit = self.config["fit"][name]
            if isinstance(fit, dict) and fit.get("sweep") != figure["sweep"] and not any_sweep:
                reason = f"{name!r} is fitted to {fit.get('sweep')!r}, not {figure['sweep']!r}"
                self.problems.append(Problem(place, reason, "show a fit of this sweep"))

    def _check_options(self, figure: Mapping[str, Any], place: str) -> None:
        """What the figure's card itself finds wrong with its options, given the runs."""
        card = registry.card("figure", figure["card"])
        if figure["sweep"] not in self.runs:
            return
        runs = self.runs[figure["sweep"]]
        for fit in figure["fits"][:1]:
            group = _entry(self.config, "fit", fit).get("group")
            runs = runs.assign(group=runs[group]) if group in tuple(runs) else runs
        self.problems += [one.within(place) for one in card.problems(figure["options"], runs)]


def _of_what_problems(figure: Mapping[str, Any], place: str) -> list[Problem]:
    """Problems of a figure that shows a sweep and not a simulation, or the other way."""
    right, other = "sweep", "simulation"
    if registry.of_simulation(figure["card"]):
        right, other = other, right
    if right not in figure:
        return [Problem(place, f"{right!r} is missing", "add it")]
    if other in figure:
        reason = f"the card {figure['card']!r} shows a {right}"
        return [Problem(f"{place}.{other}", reason, "leave it out")]
    if right == "simulation" and figure["fits"]:
        return [Problem(f"{place}.fits", "the figure shows no fits of the study", "leave them out")]
    return []


def _table_figure_problems(inputs: Iterable[str], place: str) -> list[Problem]:
    """A problem if a figure of a table of runs shows what only a trained sweep has."""
    lacking = sorted({"aggregate/losses", "aggregate/curves"}.intersection(inputs))
    if not lacking:
        return []
    reason = f"the figure shows {lacking[0].split('/')[1]}; a table of runs has none"
    return [Problem(f"{place}.sweep", reason, "show a sweep of `train`")]


def _sizes_shown(runs: pd.DataFrame, place: str) -> list[Problem]:
    """A problem if a figure in N and C is to show a table that lacks one of them."""
    lacking = [one for one in ("N", "C") if not _has_values(runs, filters.LETTERS[one])]
    if runs.empty or not lacking:
        return []
    reason = f"the figure needs N and C, and no run of the table has {' or '.join(lacking)}"
    return [Problem(f"{place}.sweep", reason, "show fit_residuals or predicted_observed")]


def _fit_count_problems(card: Mapping[str, Any], count: int, place: str) -> list[Problem]:
    """A problem if a figure shows fewer or more fits than its card allows."""
    least, most = card.get("MIN_FITS", 0), card.get("MAX_FITS", count)
    if count < least:
        return [Problem(place, f"{count} fits", f"name at least {least} of `fit`")]
    if count > most:
        return [Problem(place, f"{count} fits", f"the figure shows at most {most}")]
    return []


def _filter_problems(expressions: Iterable[str], place: str) -> list[Problem]:
    """Problems of filters that can be seen without a table."""
    wrong = []
    for expression in expressions:
        try:
            filters.check(expression, place)
        except IsolossError as error:
            wrong += error.problems
    return wrong


@cache
def _has_sources(card: str, options: str, fetched: Path) -> bool:
    """Whether a dataset card finds anything to read, or needs nothing; once a process."""
    given = keywords(card, json.loads(options), fetched)
    sources = registry.card("dataset", card).sources(**given)
    return bool(sources) or registry.facts("dataset", card).get("SYNTHETIC", False)


def _dataset_problems(
    dataset: Mapping[str, Any], place: str, fetched: Path, fetch: bool
) -> list[Problem]:
    """A problem if the dataset has nothing to read, or if what has no text is to be tokenised.

    Args:
        dataset: an entry of `load`.
        place: where it stands in the study.
        fetched: where cards keep what they fetch.
        fetch: whether to look at what is read from a network.
    """
    token = registry.token(dataset["card"], dataset["options"])
    if dataset["tokenizer"] != tokenizer.BYTES and token != "byte":
        reason = f"the card {dataset['card']!r} has no text: its unit is the {token}"
        return [Problem(f"{place}.tokenizer", reason, "leave it out")]
    try:
        if not fetch and registry.facts("dataset", dataset["card"]).get("FETCHES"):
            return []
        options = json.dumps(dataset["options"], sort_keys=True)
        if _has_sources(dataset["card"], options, fetched):
            return []
    except IsolossError as error:
        return [problem.within(place) for problem in error.problems]
    except (OSError, ValueError) as error:
        reason = f"its sources cannot be read ({getattr(error, 'strerror', None) or error})"
        return [Problem(place, reason, "check its options")]
    return [Problem(place, "the dataset has no sources", "check its options")]


def _known_tags(config: Mapping[str, Any]) -> set[str]:
    """The tag keys of a study's datasets."""
    datasets = config["load"] if isinstance(config.get("load"), dict) else ()
    return {tag for name in datasets for tag in _tag_keys(_entry(config, "load", name))}


def _weights_problems(
    weights: Mapping[str, Mapping[str, float]], tags: set[str], place: str
) -> list[Problem]:
    """Problems of tag weights: tag keys that no dataset has, too many copies."""
    unknown = [key for key in weights if tags and key not in tags]
    wrong = [
        Problem(f"{place}.{key}", "no row has this tag", nearest(key, tags)) for key in unknown
    ]
    copies = math.prod(max([1.0, *values.values()]) for values in weights.values())
    if copies > MOST_COPIES:
        reason = f"weights that multiply to {copies:.3g} copies of a row"
        wrong.append(Problem(place, reason, f"at most {MOST_COPIES:.0e} are allowed: lower them"))
    return wrong


def _task_problems(
    config: Mapping[str, Any], sweep: Mapping[str, Any], place: str
) -> list[Problem]:
    """A problem if a model is trained at images and its dataset has texts, or the other way."""
    dataset, models = _entry(config, "load", sweep["dataset"]), registry.names("model")
    if not dataset:
        return []
    counts = {"example": "example", "byte": "token"}
    given = counts.get(registry.token(dataset["card"], dataset["options"]))
    needed = {name: registry.facts("task", task_of(name))["EXAMPLE"] for name in models}
    kinds, model = {"example": "images", "token": "texts"}, sweep["model"]
    if given is None or needed[model] not in kinds or needed[model] == given:
        return []
    reason = f"{model!r} is a model of {kinds[needed[model]]}, and the dataset has {kinds[given]}"
    able = ", ".join(name for name in models if needed[name] == given)
    remedy = f"models of {kinds[given]}: {able}; or name another dataset"
    return [Problem(f"{place}.model", reason, remedy)]


def _vocabulary_problems(
    plan: pd.DataFrame, config: Mapping[str, Any], name: str, place: str
) -> list[Problem]:
    """A problem if a run has fewer words to choose from than its dataset's tokenizer has."""
    file = _entry(config, "load", name).get("tokenizer", tokenizer.BYTES)
    if file == tokenizer.BYTES or "vocabulary" not in plan:
        return []  # where a token is a byte, a dataset may need fewer than there are
    size, run = tokenizer.of(file).vocabulary, plan.loc[plan["vocabulary"].idxmin()]
    if run["vocabulary"] >= size:
        return []
    reason = f"vocabulary {run['vocabulary']}, where the tokenizer of load.{name} has {size} tokens"
    remedy = f"leave it out, or set it to {size} or more"
    return [Problem(f"{place}.cells", f"{reason} ({run['run_id']})", remedy)]


def _plan_problems(plan: pd.DataFrame, sweep: Mapping[str, Any], place: str) -> list[Problem]:
    """Problems of a plan: budgets that whole steps miss, size, too few validation examples."""
    wrong = []
    missed = plan[(plan["n_flops"] / plan["budget"] - 1).abs() > 0.1]
    if len(missed):
        run = missed.iloc[0]
        steps = f"{run['n_flops']:.3g} FLOP in whole steps ({run['run_id']})"
        reason = f"C = {run['budget']:g} gives {steps}"
        remedy = "raise the budget, or make batches or their items smaller"
        wrong.append(Problem(f"{place}.cells", reason, remedy))
    task = registry.facts("task", task_of(sweep["model"]))
    activations, per_item = _items(plan, sweep)
    memory = _memory(plan, activations)
    wrong += _size_problems(plan, memory, task["EXAMPLE"], f"{place}.cells")
    largest = per_item.max()
    if largest > sweep["valid_tokens"]:
        examples = f"{sweep['valid_tokens']} {task['EXAMPLE']}s"
        reason = f"{examples} do not fill a {task['ITEM']} of {largest}"
        wrong.append(Problem(f"{place}.valid_tokens", reason, "raise it"))
    return wrong


def _items(plan: pd.DataFrame, sweep: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that a model computes of one item, and examples in an item, of every run.

    Returns:
        float64 (runs,) and int64 (runs,).
    """
    cards = Cards.of(sweep)
    kinds = {"model": sweep["model"], "task": task_of(sweep["model"])}
    sizes = ["model", *(key for kind in kinds.items() for key in registry.options(*kind))]
    each = plan.drop_duplicates(sizes)[sizes].to_dict("records")
    sized = [cards.sized(settings) for settings in each]
    alike = plan.groupby(sizes, sort=False).ngroup().to_numpy()
    activations = np.array([model.activations() for model, _ in sized], dtype=float)
    return activations[alike], np.array([per_item for _, per_item in sized])[alike]


def _size_problems(
    plan: pd.DataFrame, memory: pd.Series, example: str, place: str
) -> list[Problem]:
    """Problems of runs that need too many steps, examples or bytes of memory."""
    wrong = []
    needs = {
        "steps": (plan["n_steps"], MOST_STEPS, "lower the budget"),
        f"training {example}s": (plan["n_samples"], MOST_TOKENS, "lower the budget"),
        "bytes of memory": (memory, MOST_BYTES, "make the model or batch smaller"),
    }
    for what, (need, most, remedy) in needs.items():
        need = need.astype(float)
        if need.max() > most:
            run = plan["run_id"].iloc[int(need.argmax())]
            reason = f"a run needs {need.max():.3g} {what} ({run})"
            wrong.append(Problem(place, reason, f"at most {most:.3g} are allowed: {remedy}"))
    return wrong


def _memory(plan: pd.DataFrame, activations: np.ndarray) -> pd.Series:
    """Bytes that a run takes at least: parameters as AdamW has them, and what a step computes.

    Four numbers of 4 bytes a parameter (itself, gradient, two moments). What a model computes of
    the items of a step (of a part of it, where a batch is learned in parts), or of those that are
    measured at once, is kept twice.
    """
    parts = plan.get("accumulate", 1)
    items = (plan["batch_items"].astype(float) / parts).clip(lower=VALIDATED)
    return 16 * plan["n_params_total"].astype(float) + 8 * items * activations


def _ability_problems(
    fits: Mapping[str, Any], figure: Mapping[str, Any], ability: str, place: str
) -> list[Problem]:
    """A problem if the first law of a figure lacks the ability that the figure needs."""
    first = figure["fits"][0]
    if first not in fits:
        return []  # another check reports it

    response = fits[first].get("response")
    if response is not None and ability not in ("curve", "variables"):
        reason = f"the figure is about the loss, and {first!r} is fitted to {response!r}"
        return [Problem(place, reason, "name a fit of the loss first")]

    def can(law: str, options: Mapping[str, Any]) -> bool:
        mixture = registry.of_mixtures(law)
        if mixture or ability == "mixture":
            return mixture and ability == "mixture"
        if ability == "variables":
            return True
        made = made_law(law, options)
        if ability == "curve":
            return made.allocates or len(made.variables) == 1
        return made.has_least_loss if ability == "compare" else made.allocates

    law = fits[first]["card"]
    if can(law, fits[first]["options"]):
        return []
    able = [name for name in registry.names("law") if can(name, registry.defaults("law", name))]
    kinds = {
        "mixture": "of mixtures, and {!r} is not one",
        "compare": "with a loss for every budget, and {!r} has none",
        "variables": "in numbers, and {!r} is one of mixtures",
        "curve": "in one variable, or one that can allocate, and {!r} is neither",
    }
    kind = kinds.get(ability, f"that can {ability}, and {{!r}} cannot")
    reason = f"the figure needs a law {kind.format(law)}"
    return [Problem(place, reason, f"name a fit of {' or '.join(able)} first")]


def _response_problems(
    config: Mapping[str, Any], fits: list[str], card: Mapping[str, Any], place: str
) -> list[Problem]:
    """Problems of a figure that shows fits of several quantities, or of one that it has not."""
    responses = {name: _entry(config, "fit", name).get("response") for name in fits}
    quantities = dict.fromkeys(response or RESPONSE for response in responses.values())
    if len(quantities) > 1:
        reason = f"the fits are of {len(quantities)} quantities: {listed(list(quantities))}"
        return [Problem(place, reason, "show fits of one quantity")]
    shown = card.get("FITS_OF")
    others = [name for name, response in responses.items() if (response or RESPONSE) != shown]
    if shown is None or not others:
        return []
    reason = f"the figure shows {shown}, and {others[0]!r} is fitted to {next(iter(quantities))}"
    return [Problem(place, reason, f"show a fit of {shown}")]


def _sweep_problems(sweep: Mapping[str, Any], place: str) -> list[Problem]:
    """Problems of a sweep's settings and cells, by the options of its trainer, model and task."""
    known = train_settings.known(sweep)
    wrong = [
        Problem(f"{place}.checkpoints[{i}]", f"found {at:g} steps", "give a whole number of steps")
        for i, at in enumerate(sweep["checkpoints"])
        if at > 1 and at != round(at)
    ]
    wrong += schema.complete_options(sweep["settings"], known, f"{place}.settings", fill=False)
    for i, cell in enumerate(sweep["cells"]):
        where = f"{place}.cells[{i}]"
        before = len(wrong)
        for key, value in cell.items():
            if isinstance(value, dict):
                wrong += _range_problems(key, value, known, where)
            else:
                cell[key] = _checked_values(key, value, known, where, wrong)
        if len(wrong) == before and not commanded(sweep):
            together = cells.problems(cell, sweep["settings"])
            wrong += [one.within(where, ".") for one in together]
    if commanded(sweep):
        return wrong or _program_problems(sweep, f"{place}.command")
    return wrong + _rule_problems(sweep, place)


def _program_problems(sweep: Mapping[str, Any], place: str) -> list[Problem]:
    """What is wrong with a program of the user; a formula that cannot be read is one problem."""
    try:
        return program_problems(sweep, place.removesuffix(".command"))
    except TableError as error:
        return [replace(one, place=f"{place}{one.place}") for one in error.problems]


def _lacking_keys(sweep: Mapping[str, Any], place: str) -> list[Problem]:
    """Problems of keys that the trainer of a sweep needs, or cannot use."""
    if commanded(sweep):
        needed, unused = ("command",), ("model", "dataset")
    else:
        needed, unused = ("dataset", "model"), ("command",)
    trainer = f"the trainer is {sweep['trainer']!r}"
    wrong = [Problem(place, f"{key!r} is missing", "add it") for key in needed if key not in sweep]
    if commanded(sweep) and "memory_mb" in sweep.get("resources", {}):
        reason, remedy = "found, and the memory of a command is its own", "write command.memory_mb"
        wrong.append(Problem(f"{place}.resources.memory_mb", reason, remedy))
    return wrong + [
        Problem(f"{place}.{key}", f"found, and {trainer}, which has none", "leave it out")
        for key in unused
        if key in sweep
    ]


def _checked_values(
    key: str, value: Any, known: Mapping[str, Any], place: str, wrong: list[Problem]
) -> Any:
    """A value of a cell, or a list of them, with numbers where text spells them."""
    values = value if isinstance(value, list) else [value]
    if not values:
        wrong.append(Problem(f"{place}.{key}", "an empty list", "give a value"))
    for j, single in enumerate(values):
        one = {key: single}
        wrong += schema.complete_options(one, known, place, fill=False)
        values[j] = one[key]
    return values if isinstance(value, list) else values[0]


def _range_problems(
    key: str, value: dict[str, Any], known: Mapping[str, Any], place: str
) -> list[Problem]:
    """Problems of a range in the place of a value: its keys, and whether its ends are allowed."""
    if key not in known:
        return schema.complete_options({key: value}, known, place, fill=False)
    if known[key]["type"] not in ("number", "integer"):
        reason, remedy = "a range of what is not a number", "give a value, or a list of values"
        return [Problem(f"{place}.{key}", reason, remedy)]
    wrong = schema.complete_options(value, cells.RANGE, f"{place}.{key}")
    lacking = [name for name in ("from", "to", "points") if name not in value]
    wrong += [Problem(f"{place}.{key}", f"{name!r} is missing", "add it") for name in lacking]
    if not wrong:  # the values between are rounded to what is allowed, so that the ends need not be
        bounds = {k: v for k, v in known[key].items() if k != "multipleOf"} | {"type": "number"}
        for end in (value["from"], value["to"]):
            wrong += schema.complete_options({key: end}, {key: bounds}, place, fill=False)
    return wrong


def _rule_problems(sweep: Mapping[str, Any], place: str) -> list[Problem]:
    """Problems of rules by which sizes are to be found, and which the model card does not know."""
    rules = registry.facts("model", sweep["model"]).get("SIZE_RULES", ["closest"])
    places = {place: sweep, f"{place}.settings": sweep["settings"]}
    places |= {f"{place}.cells[{i}]": cell for i, cell in enumerate(sweep["cells"])}
    wrong = []
    for where, given in places.items():
        rule = given.get("size_rule", rules[0])
        for name in rule if isinstance(rule, list) else [rule]:
            if name not in rules:
                reason = f"the model card {sweep['model']!r} has no rule {name!r}"
                wrong.append(Problem(f"{where}.size_rule", reason, nearest(name, rules)))
    return wrong


def _constraint_problems(fit: Mapping[str, Any], law: Law, place: str) -> list[Problem]:
    """Parameters fixed, tied or bounded that the law does not have, or held twice."""
    one = {name: np.ones(1) for name in law.variables}
    try:
        scale = scale_of(law, one, np.ones(1))
        free_coordinates(law, scale, fit["fixed"], fit["tied"], fit["bounds"])
    except IsolossError as error:
        return [one.within(place, ".") for one in error.problems]
    return []


def _variable_problems(
    config: Mapping[str, Any], fits: list[str], known: list[str], place: str
) -> list[Problem]:
    """Problems of a figure's laws that have variables which it cannot show."""
    wrong = []
    for name in fits:
        fit = _entry(config, "fit", name)
        if fit.get("card") not in registry.names("law") or not isinstance(fit.get("options"), dict):
            continue  # another check reports it
        if registry.of_mixtures(fit["card"]):
            variables = ["proportions"]
        else:
            variables = registry.card("law", fit["card"]).make(**fit["options"]).variables
        others = [v for v in variables if v not in known]
        if others:
            do = f"show a law in {', '.join(known)}"
            wrong.append(Problem(place, f"{name!r} is a law in {', '.join(others)} too", do))
    return wrong


def _weights_kept_problems(sweep: Mapping[str, Any], name: str, place: str) -> list[Problem]:
    """A problem if the models of an observed sweep are not kept."""
    if commanded(sweep):
        reason = f"the runs of {name!r} are those of a command, whose weights are not in the store"
        return [Problem(f"{place}.sweep", reason, "name a sweep with a model card")]
    if sweep["keep_weights"]:
        return []
    reason = f"{name!r} does not keep the weights of its runs"
    return [Problem(f"{place}.sweep", reason, f"set `keep_weights: true` in train.{name}")]


def _observation_problems(
    config: Mapping[str, Any], figure: Mapping[str, Any], shown: Sequence[str], place: str
) -> list[Problem]:
    """Problems of a figure's observation: missing, unknown, of another sweep or kind, not shown.

    Args:
        config: the study.
        figure: its entry.
        shown: the tables of an observation that its card reads.
        place: of the entry.
    """
    name, place = figure.get("observation"), f"{place}.observation"
    if not shown:
        return [Problem(place, f"the card {figure['card']!r} shows no observation", "leave it out")]
    known = config["observe"] if isinstance(config.get("observe"), dict) else {}
    if name is None:
        return [Problem(place, "the figure shows an observation", "name one of `observe`")]
    if name not in known:
        return [Problem(place, f"{name!r} is not in observe", nearest(name, known))]
    sweep = _entry(config, "observe", name).get("sweep")
    if sweep != figure["sweep"]:
        reason = f"{name!r} measures {sweep!r}, not {figure['sweep']!r}"
        return [Problem(place, reason, "show an observation of this sweep")]
    card = _entry(config, "observe", name).get("card")
    known = {one: registry.tables_of(one) for one in registry.names("observable")}
    if card in known and (lacking := sorted({*shown} - {*known[card]})):
        reason = f"the figure shows {lacking[0]}, which the observable {card!r} does not write"
        writers = ", ".join(one for one, written in known.items() if lacking[0] in written)
        return [Problem(place, reason, f"show an observation of {writers}")]
    return []


def _profile_problems(fits: Mapping[str, Any], names: list[str], place: str) -> list[Problem]:
    """A problem if a figure of profiles shows a fit that keeps none."""
    shown = [fits[name] for name in names if isinstance(fits.get(name), dict)]
    if all(fit.get("profiles") or fit.get("interval") == "profile" for fit in shown):
        return []
    return [Problem(place, f"{names[0]!r} keeps no profiles", "set its `profiles: true`")]


def _unweighted_problems(fits: Mapping[str, Any], names: list[str], place: str) -> list[Problem]:
    """Problems of a figure of best mixtures that shows a fit which seeks none."""
    do = "give it `domain_weights`"
    return [
        Problem(place, f"{name!r} seeks no best mixture", do)
        for name in names
        if isinstance(fits.get(name), dict) and not fits[name].get("domain_weights")
    ]


def _tags(config: Mapping[str, Any], sweep: str) -> tuple[str, ...] | None:
    """Tags of the rows that a sweep trains on; None of a table of runs."""
    if not (isinstance(config.get("train"), dict) and sweep in config["train"]):
        return None
    return _tag_keys(_entry(config, "load", _entry(config, "train", sweep).get("dataset")))


def _tag_keys(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys of the tags of a dataset; none if its card or options are not sound."""
    card, options = dataset.get("card"), dataset.get("options")
    if card not in registry.names("dataset") or not isinstance(options, dict):
        return ()  # another check reports it
    given = registry.defaults("dataset", card) | options
    if schema.complete_options(given, registry.options("dataset", card), "", fill=False):
        return ()
    return tuple(registry.tag_keys(card, given))


def _entry(config: Mapping[str, Any], section: str, name: Any) -> Mapping[str, Any]:
    """An entry of a section; empty if there is none, or if it is not a mapping."""
    entries = config.get(section)
    entry = entries.get(name) if isinstance(entries, dict) and isinstance(name, str) else None
    return entry if isinstance(entry, dict) else {}


def _rows_problems(
    fit: Mapping[str, Any], tags: tuple[str, ...] | None, place: str
) -> list[Problem]:
    """Problems of what a fit reads: its points, its intervals, its tag of domains."""
    mixture = registry.of_mixtures(fit["card"])
    if fit["points"] != "runs" and (mixture or tags is None):
        whose = (
            "a law of mixtures reads whole runs only"
            if mixture
            else "a table of runs has no curves"
        )
        return [Problem(f"{place}.points", f"found {fit['points']}; {whose}", "leave it out")]
    wrong = _response_kind_problems(fit, f"{place}.response")
    wrong += [one.within(place, ".") for one in rule_problems(fit["holdout"])]
    if wrong:
        return wrong
    together = fit["points"] != "runs" or fit.get("cluster")
    if together and fit["interval"] in ("residual", "parametric"):
        reason = f"{fit['interval']} draws runs one by one, and some are to be drawn together"
        return [Problem(f"{place}.interval", reason, "use bootstrap or profile")]
    wrong = _domain_weight_problems(fit.get("domain_weights"), mixture, f"{place}.domain_weights")
    if wrong:
        return wrong
    tag_key = fit.get("tag_key")
    if not mixture or tags is None:
        reason = "only a mixture law of a sweep reads it"
        return [Problem(f"{place}.tag_key", reason, "leave it out")] if tag_key else []
    if tag_key is None and len(tags) > 1:
        reason = f"the rows have {len(tags)} tags"
        return [Problem(f"{place}.tag_key", reason, f"name one: {', '.join(tags)}")]
    if tag_key is not None and tags and tag_key not in tags:
        return [Problem(f"{place}.tag_key", "no row has this tag", nearest(tag_key, tags))]
    return []


def _response_kind_problems(fit: Mapping[str, Any], place: str) -> list[Problem]:
    """Problems of a fit of another quantity than the loss: its law and its points."""
    response = fit.get("response")
    if response is None:
        return []
    if response == RESPONSE:
        reason = "the loss is fitted where no other column is named"
        return [Problem(place, reason, "leave it out")]
    wrong = response_problems(fit["card"], response, place)
    if fit["points"] != "runs":
        reason = f"points along runs have a loss, and no {response!r:.60}"
        wrong.append(Problem(place, reason, "set `points: runs`"))
    return wrong


def _domain_weight_problems(
    weights: Mapping[str, float] | None, mixture: bool, place: str
) -> list[Problem]:
    """Problems of the weights of losses for which a best mixture is sought."""
    if weights is None:
        return []
    if not mixture:
        return [Problem(place, "only a mixture law has a best mixture", "leave it out")]
    if not any(weights.values()):
        return [Problem(place, "no weight is above 0", "give a loss a weight")]
    return []


def _not_observed_yet(given: Mapping[str, Columns]) -> dict[str, Any]:
    """Columns that observations will give runs, with a value of the right type."""
    types = tables.contract()["tables"]
    return {
        name: "" if types[about["table"]]["columns"][about["column"]]["type"] == "string" else 1.0
        for columns in given.values()
        for name, about in columns.items()
    }


def _fit_problems(
    fit: Mapping[str, Any], runs: pd.DataFrame, measured: set[str] | None, place: str
) -> list[Problem]:
    """Problems of a fit's columns, selection and number of runs; planned runs count as done.

    Args:
        fit: the study's.
        runs: of a table, or planned.
        measured: columns that planned runs lack, and have a value of the right type for; None of
            a table, which has all its values.
        place: of the fit.
    """
    if fit["points"] != "runs":
        runs = runs.assign(of_run=runs["run_id"])
        runs = runs.assign(step=1) if fit["points"] == "curves" else runs
    missing_columns = _column_problems(fit, runs, place)
    if missing_columns:
        return missing_columns
    if measured is not None and (wrong := _response_value_problems(fit, runs, place)):
        return wrong
    if fit["where"]:
        reads = filters.names(fit["where"])
        unmeasured = measured is not None and (fit["points"] != "runs" or bool(reads & measured))
        try:  # of what is not measured yet only the types are known
            readable = runs.iloc[:0] if unmeasured else runs
            selected = filters.evaluate(readable, fit["where"], f"{place}.where")
        except IsolossError as error:
            return error.problems
        if unmeasured:
            return []  # which runs it selects is known when they are measured
        runs = runs[selected]
    if wrong := _holdout_problems(fit, runs, measured or set(), place):
        mixture = registry.of_mixtures(fit["card"])
        law = None if mixture else made_law(fit["card"], fit["options"])
        return wrong + ([] if law is None else _constraint_problems(fit, law, place))
    if wrong := _shared_problems(fit, runs, measured, place):
        return wrong
    if fit["points"] != "runs":
        return []  # how many points a run has is known when it is trained
    if registry.of_mixtures(fit["card"]):  # its terms depend on the domains of the runs
        return _domain_problems(fit, runs, place) if measured is None else []
    if measured is None and (wrong := _lacking_variables(fit, runs, place)):
        return wrong
    if wrong := _response_value_problems(fit, runs, place):
        return wrong
    return _run_count_problems(fit, made_law(fit["card"], fit["options"]), runs, place)


def _holdout_problems(
    fit: Mapping[str, Any], runs: pd.DataFrame, measured: set[str], place: str
) -> list[Problem]:
    """Problems of the runs that a fit holds out; see `_fit_problems`."""
    usable = runs[(runs["status"] == "done") & (runs["fit_weight"] > 0)]
    asked = fit["holdout"] if isinstance(fit["holdout"], dict) else {}
    by = asked.get("by")
    by = by if by in usable else filters.LETTERS.get(by, by)
    if measured.intersection(map(str, asked.values())) or fit["points"] != "runs":
        return []  # values are known when the runs are trained
    if by and name_of(fit["holdout"]) != "random" and usable[by].nunique() == 1:
        do = "name a column with several values"
        return [Problem(f"{place}.holdout.by", f"{by!r} has one value in all runs", do)]
    try:
        folds(usable, fit["holdout"], 0)
    except IsolossError as error:
        return [one.within(place, ".") for one in error.problems]
    return []


def _shared_problems(
    fit: Mapping[str, Any], runs: pd.DataFrame, measured: set[str] | None, place: str
) -> list[Problem]:
    """Problems of parameters that groups share; see `_fit_problems`."""
    if not fit["shared"] or registry.of_mixtures(fit["card"]):
        return []
    law, of_profile = made_law(fit["card"], fit["options"]), fit["interval"] == "profile"
    asked = of_profile or fit["profiles"], fit["holdout"], f"{place}.shared"
    wrong = shared_problems(law, fit["shared"], *asked)
    cluster = fit.get("cluster") or (OF_RUN if OF_RUN in runs else None)
    if cluster is None or cluster in (measured or ()):
        return wrong
    if fit["interval"] != "bootstrap" or not fit["bootstrap"]:
        return wrong
    usable = runs[(runs["status"] == "done") & (runs["fit_weight"] > 0)]
    counts = {}
    for group, members in usable.groupby(usable[fit["group"]].astype(str)):
        fitted = members[~held_out(members, fit["holdout"], law.variables)]
        counts[group] = int(fitted[cluster].nunique(dropna=False))
    return wrong + alone_problems(counts, cluster, f"{place}.cluster")


def _response_value_problems(
    fit: Mapping[str, Any], runs: pd.DataFrame, place: str
) -> list[Problem]:
    """Problems of the values of a response: they are no numbers, or not what its law can be."""
    if registry.of_mixtures(fit["card"]) or response_problems(
        fit["card"], fit.get("response") or RESPONSE
    ):
        return []  # another check refuses a response of theirs
    law, response = made_law(fit["card"], fit["options"]), fit.get("response") or RESPONSE
    if response == RESPONSE and response not in runs:
        return []  # not trained yet
    try:
        check_values(runs[runs["status"] == "done"], law, response, f"{place}.response")
    except IsolossError as error:
        return list(error.problems)
    return []


def _column_problems(fit: Mapping[str, Any], runs: pd.DataFrame, place: str) -> list[Problem]:
    """Problems of columns that a fit names and its runs lack."""
    holdout = fit["holdout"] if isinstance(fit["holdout"], dict) else {}
    named = {"group": fit["group"], "cluster": fit.get("cluster"), "holdout.by": holdout.get("by")}
    named["response"] = fit.get("response")
    return [
        Problem(f"{place}.{key}", f"no column {column!r}", nearest(column, tuple(runs)))
        for key, column in named.items()
        if column is not None
        and column not in runs
        and not (key == "holdout.by" and filters.LETTERS.get(column) in runs)
    ]


def _own_name(column: str) -> str:
    """The name that a column has in the user's table."""
    while column.endswith(tables.SET_ASIDE):
        column = column.removesuffix(tables.SET_ASIDE)
    return column


def _has_values(runs: pd.DataFrame, column: str) -> bool:
    return column in runs and bool(runs[column].notna().any())


def _lacking_variables(fit: Mapping[str, Any], runs: pd.DataFrame, place: str) -> list[Problem]:
    """Problems of variables of a law that no column of a table is, or of which no run has one.

    The loss is one of them where it is what the law is fitted to.
    """
    law = made_law(fit["card"], fit["options"])
    known = [letter for letter, column in filters.LETTERS.items() if _has_values(runs, column)]
    own = [str(name) for name in runs if name not in tables.schema("runs").names]
    own = [*known, *(_own_name(name) for name in own if _own_name(name) not in known)]
    wrong = []
    if not fit.get("response") and not runs.empty and runs[RESPONSE].isna().all():
        do = f"name it in `columns` of the table: {{{RESPONSE}: COLUMN}}"
        do += f", or say what is fitted: `response`; columns are {', '.join(own)}"
        wrong.append(Problem(place, "no run has a loss", do))
    for name in law.variables:
        column = filters.LETTERS.get(name, name)
        if _has_values(runs, column) or (runs.empty and column in runs):
            continue
        reason = "no run has a value" if column in runs else "no such column"
        do = f"name it in `columns` of the table: {{{name}: COLUMN}}; columns are {', '.join(own)}"
        wrong.append(Problem(f"{place}: variable {name}", reason, do if own else do.split(";")[0]))
    return wrong


def _domain_problems(fit: Mapping[str, Any], runs: pd.DataFrame, place: str) -> list[Problem]:
    """Problems of a table that lacks proportions and losses that a law of mixtures needs."""
    known = responses_of(runs)
    if domains_of(runs) and known:
        weights = fit.get("domain_weights") or {}
        unknown = [name for name in weights if not {name, f"{LOSS}{name}"}.intersection(known)]
        return [
            Problem(f"{place}.domain_weights.{name}", "no such loss", nearest(name, known))
            for name in unknown
        ]
    reason = "the table has no columns of proportions and losses by domain"
    remedy = "name them p_<domain> and loss_<domain>, such as p_web and loss_web"
    return [Problem(place, reason, remedy)]


def _run_count_problems(
    fit: Mapping[str, Any], law: Law, runs: pd.DataFrame, place: str
) -> list[Problem]:
    """Problems of groups that have fewer runs to fit than the law has free parameters."""
    parameters = Constraints(fit["fixed"], fit["tied"]).hold(law).count(False)
    wrong = _constraint_problems(fit, law, place)
    usable = runs[(runs["status"] == "done") & (runs["fit_weight"] > 0)]
    if usable.empty:
        return [Problem(place, "no runs are left to fit", "relax `where` or `keep`")]
    for group, members in usable.groupby(usable[fit["group"]].astype(str)):
        fitted = members[~held_out(members, fit["holdout"], law.variables)]
        if len(fitted) < parameters:
            count = f"{len(fitted)} runs to fit (group {group})"
            reason = f"{count} for the {parameters} parameters of the law"
            remedy = "add runs, hold out fewer, or fit a smaller law"
            wrong.append(Problem(place, reason, remedy))
    return wrong
