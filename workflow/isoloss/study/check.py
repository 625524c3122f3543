"""All that can be known to be wrong with a study before any job runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoloss.aggregate.table import read_runs
from isoloss.core import filters, registry, schema
from isoloss.core.addresses import UnsetError
from isoloss.core.problems import IsolossError, Problem, StudyError, nearest
from isoloss.core.sources import Sources
from isoloss.fit.coordinates import free_coordinates, scale_of
from isoloss.fit.holdout import held_out
from isoloss.fit.mixture import domains_of, responses_of
from isoloss.fit.solve import Constraints
from isoloss.laws._law import Law
from isoloss.train import settings as train_settings
from isoloss.train.plan import MOST_RUNS, count_runs, too_many
from isoloss.train.plans import Plans

# What a planned run does not have yet, as if it were done.
MEASURED = {
    "run_digest": None,
    "n_unique": 1,
    "loss_nats": 1.0,
    "status": "done",
    "status_reason": None,
    "fit_weight": 1.0,
    "group": "all",
}
MOST_STEPS = 10**12
MOST_TOKENS = 10**15  # that one run is trained on
MOST_BYTES = 2**36  # that one run takes in memory, 64 GiB
MOST_COPIES = 10**6  # of one row
VALIDATED = 64  # windows at once, where a run is measured
HINTS = 100  # problems for which near names are looked up


def checked(path: str | Path, fetch: bool = True, sources: Sources | None = None) -> dict[str, Any]:
    """Read, complete and check a study file; see `check`."""
    return check(schema.read(path), str(path), fetch, sources)


def check(
    config: Mapping[str, Any],
    source: str = "the study",
    fetch: bool = True,
    sources: Sources | None = None,
    plans: Plans | None = None,
) -> dict[str, Any]:
    """Complete and check a study.

    Args:
        config: the study.
        source: what it is called in errors.
        fetch: whether to look into tables of runs made elsewhere, and what is fitted to them.
        sources: by which they are read; give it to `Flow` too, so that they are read once.
        plans: by which sweeps are spelled out; give it to `Flow` too, so that they are once.

    Raises:
        StudyError: with every problem of the study.
    """
    look = (sources or Sources()) if fetch else None
    plans = plans or Plans()
    wrong = schema.unsound(config)
    if wrong:
        raise StudyError(wrong, source)
    config, wrong = schema.complete(config)
    if wrong:
        # a section of the wrong shape cannot be looked into; sound ones still are
        wrong += _beyond(config, _sound_sections(config, wrong), look, plans)
        raise StudyError(list(dict.fromkeys(wrong)), source)
    wrong = _beyond(config, lambda *_: True, look, plans)
    if wrong:
        raise StudyError(list(dict.fromkeys(wrong)), source)
    return config


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


def _beyond(
    config: Mapping[str, Any], sound: Callable[..., bool], sources: Sources | None, plans: Plans
) -> list[Problem]:
    """Names that must exist, settings of cards, tables that must be readable, runs enough."""
    wrong: list[Problem] = []

    def known(place: str, name: str, sections: tuple[str, ...]) -> bool:
        names = [n for s in sections if isinstance(config.get(s), dict) for n in config[s]]
        if name not in names:
            reason = f"{name!r} is not in {' or '.join(sections)}"
            hint = nearest(name, names) if len(wrong) < HINTS else "name one that is"
            wrong.append(Problem(place, reason, hint))
        return name in names

    def each(section: str):
        entries = config.get(section)
        named = entries.items() if isinstance(entries, dict) else ()
        return [(name, entry) for name, entry in named if sound(section, name)]

    runs: dict[str, pd.DataFrame] = {}
    planned = 0
    for name, sweep in each("train"):
        place = f"train.{name}"
        if name in dict(each("aggregate")):
            wrong.append(Problem(place, f"{name!r} is also in aggregate", "rename one of them"))
        known(f"{place}.dataset", sweep["dataset"], ("load",))
        before = len(wrong)
        wrong += _sweep_problems(sweep, place)
        planned += count_runs(sweep)
        if planned > MOST_RUNS:
            wrong.append(too_many(f"{place}.cells", planned))
        if len(wrong) == before:
            for weighting in schema.weightings(config, name):
                known(f"{place}.cells", weighting, ("expand",))
            plan = pd.DataFrame(plans.runs(sweep))
            wrong += _plan_problems(plan, sweep, place)
            runs[name] = plan.drop(columns="shard").assign(**MEASURED)
    for name, observation in each("observe"):
        place, sweep = f"observe.{name}", observation["sweep"]
        if known(f"{place}.sweep", sweep, ("train",)) and sound("train", sweep):
            wrong += _weights_kept_problems(config["train"][sweep], sweep, place)
    for name, table in each("aggregate"):
        unread = _filter_problems(table["keep"], f"aggregate.{name}, keep")
        wrong += unread
        if unread or sources is None:
            continue
        try:
            content = sources.read(name, table)
            runs[name] = read_runs(content, table["columns"], table["keep"])
        except UnsetError as error:
            wrong += [one.within(f"aggregate.{name}.table") for one in error.problems]
        except IsolossError as error:
            wrong += [one.within(f"aggregate.{name}") for one in error.problems]
    for name, dataset in each("load"):
        wrong += _dataset_problems(dataset, f"load.{name}")
    for name, weights in each("expand"):
        wrong += _weights_problems(weights, config, f"expand.{name}")
    for name, fit in each("fit"):
        place = f"fit.{name}"
        unread = _filter_problems(filter(None, [fit["where"]]), f"{place}.where")
        wrong += unread
        if not known(f"{place}.sweep", fit["sweep"], ("train", "aggregate")):
            continue
        tags = _tags(config, fit["sweep"])
        wrong += _rows_problems(fit, tags, place)
        if fit["sweep"] in runs and not unread:
            wrong += _fit_problems(fit, runs[fit["sweep"]], tags is None, place)
    for name, figure in each("plot"):
        place = f"plot.{name}"
        known(f"{place}.sweep", figure["sweep"], ("train", "aggregate"))
        for fit in figure["fits"]:
            if known(f"{place}.fits", fit, ("fit",)):
                of = config["fit"][fit]
                if isinstance(of, dict) and of.get("sweep") != figure["sweep"]:
                    found = f"{fit!r} is fitted to {of.get('sweep')!r}, not {figure['sweep']!r}"
                    wrong.append(Problem(f"{place}.fits", found, "show a fit of this sweep"))
        card, inputs = registry.facts("figure", figure["card"]), registry.inputs(figure["card"])
        if figure["sweep"] in dict(each("aggregate")):
            lacking = sorted({"aggregate/losses", "aggregate/curves"}.intersection(inputs))
            if lacking:
                found = f"the figure shows {lacking[0].split('/')[1]}; a table of runs has none"
                wrong.append(Problem(f"{place}.sweep", found, "show a sweep of `train`"))
        lowest, most = card.get("MIN_LAWS", 0), card.get("MAX_LAWS", len(figure["fits"]))
        if len(figure["fits"]) < lowest:
            found = f"{len(figure['fits'])} fits"
            wrong.append(Problem(f"{place}.fits", found, f"name at least {lowest} of `fit`"))
        elif len(figure["fits"]) > most:
            found = f"{len(figure['fits'])} fits"
            wrong.append(Problem(f"{place}.fits", found, f"the figure shows at most {most}"))
        elif "NEEDS" in card and sound("fit", figure["fits"][0]):
            wrong += _ability_problems(config["fit"], figure, card["NEEDS"], f"{place}.fits")
        if "VARIABLES" in card:
            wrong += _variable_problems(config, figure["fits"], card["VARIABLES"], f"{place}.fits")
        if "observe/observations" in inputs or figure.get("observation") is not None:
            wrong += _observation_problems(config, figure, "observe/observations" in inputs, place)
        if "fit/profiles" in inputs:
            wrong += _profile_problems(config["fit"], figure["fits"][:1], f"{place}.fits")
        drawn = registry.card("figure", figure["card"])
        if hasattr(drawn, "problems") and figure["sweep"] in runs:
            seen = runs[figure["sweep"]]
            for fit in figure["fits"][:1]:
                by = _entry(config, "fit", fit).get("group")
                seen = seen.assign(group=seen[by]) if by in tuple(seen) else seen
            wrong += [one.within(place) for one in drawn.problems(figure["options"], seen)]
    return wrong


def _filter_problems(expressions: Iterable[str], place: str) -> list[Problem]:
    """Filters that are none, whatever the table is."""
    wrong = []
    for expression in expressions:
        try:
            filters.check(expression, place)
        except IsolossError as error:
            wrong += error.problems
    return wrong


@cache
def _has_sources(card: str, options: str) -> bool:
    """Whether a dataset card finds anything to read; looked up once a process."""
    return bool(registry.card("dataset", card).sources(**json.loads(options)))


def _dataset_problems(dataset: Mapping[str, Any], place: str) -> list[Problem]:
    """The dataset has something to read."""
    try:
        if _has_sources(dataset["card"], json.dumps(dataset["options"], sort_keys=True)):
            return []
    except (OSError, ValueError) as error:
        reason = f"its sources cannot be read ({getattr(error, 'strerror', None) or error})"
        return [Problem(place, reason, "check its options")]
    return [Problem(place, "the dataset has no sources", "check its options")]


def _weights_problems(
    weights: Mapping[str, Any], config: Mapping[str, Any], place: str
) -> list[Problem]:
    """Every tag key is one that a dataset of the study gives its rows."""
    datasets = config["load"].values() if isinstance(config.get("load"), dict) else ()
    cards = [d["card"] for d in datasets if isinstance(d, dict) and "card" in d]
    cards = [card for card in cards if card in registry.names("dataset")]
    tags = {tag for card in cards for tag in registry.facts("dataset", card)["TAGS"]}
    unknown = [key for key in weights if tags and key not in tags]
    wrong = [
        Problem(f"{place}.{key}", "no row has this tag", nearest(key, tags)) for key in unknown
    ]
    copies = math.prod(max([1.0, *values.values()]) for values in weights.values())
    if copies > MOST_COPIES:
        reason = f"weights that multiply to {copies:.3g} copies of a row"
        wrong.append(Problem(place, reason, f"at most {MOST_COPIES:.0e} are allowed: lower them"))
    return wrong


def _plan_problems(plan: pd.DataFrame, sweep: Mapping[str, Any], place: str) -> list[Problem]:
    """Budgets can be kept, and validation fills a window."""
    wrong = []
    missed = plan[(plan["n_flops"] / plan["budget"] - 1).abs() > 0.1]
    if len(missed):
        run = missed.iloc[0]
        found = f"C = {run['budget']:g} makes {run['n_flops']:.3g} in whole steps ({run['run_id']})"
        wrong.append(
            Problem(f"{place}.cells", found, "raise the budget, or lower batch or context")
        )
    wrong += _size_problems(plan, sweep["model"], f"{place}.cells")
    if plan["context"].max() > sweep["valid_tokens"]:
        found = f"{sweep['valid_tokens']} tokens do not fill a window of {plan['context'].max()}"
        wrong.append(Problem(f"{place}.valid_tokens", found, "raise it"))
    return wrong


def _size_problems(plan: pd.DataFrame, model: str, place: str) -> list[Problem]:
    """What the largest runs need, where it is more than a run can have: steps, tokens, memory."""
    wrong = []
    needs = {
        "steps": (plan["n_steps"], MOST_STEPS, "lower the budget"),
        "training tokens": (plan["n_samples"], MOST_TOKENS, "lower the budget"),
        "bytes of memory": (_memory(plan, model), MOST_BYTES, "make the model or batch smaller"),
    }
    for what, (need, most, remedy) in needs.items():
        need = need.astype(float)
        if need.max() > most:
            run = plan["run_id"].iloc[int(need.argmax())]
            reason = f"a run needs {need.max():.3g} {what} ({run})"
            wrong.append(Problem(place, reason, f"at most {most:.3g} are allowed: {remedy}"))
    return wrong


def _memory(plan: pd.DataFrame, model: str) -> pd.Series:
    """Bytes that a run takes at least: parameters as AdamW has them, and what a step computes.

    Four numbers a parameter (itself, gradient, two moments). Of every token of a step, or of the
    windows that are measured at once, its number and window, the log-odds twice, and twice what
    the matrices give: for each of them as many numbers as it is high.
    """
    vocabulary = registry.facts("model", model)["VOCABULARY"]
    parameters = plan["n_params_total"].astype(float)
    tokens = plan["n_windows"].astype(float).clip(lower=VALIDATED) * plan["context"].astype(float)
    width = plan["d_model"].astype(float) if "d_model" in plan else np.sqrt(parameters)
    return 16 * parameters + tokens * (16 + 8 * vocabulary + 8 * parameters / width)


def _ability_problems(
    fits: Mapping[str, Any], figure: Mapping[str, Any], ability: str, place: str
) -> list[Problem]:
    """The first law of a figure can do what the figure asks of it."""
    first = figure["fits"][0]
    if first not in fits:
        return []  # said already

    def can(law: str, options: Mapping[str, Any]) -> bool:
        mixture = registry.of_mixtures(law)
        if mixture or ability == "mixture":
            return mixture and ability == "mixture"
        return registry.card("law", law).make(**options).allocates

    law = fits[first]["card"]
    if can(law, fits[first]["options"]):
        return []
    able = [name for name in registry.names("law") if can(name, registry.defaults("law", name))]
    kind = (
        "law of mixtures, and {!r} is none"
        if ability == "mixture"
        else (f"law that can {ability}, and {{!r}} cannot")
    )
    found = f"the figure needs a {kind.format(law)}"
    return [Problem(place, found, f"name a fit of {' or '.join(able)} first")]


def _sweep_problems(sweep: Mapping[str, Any], place: str) -> list[Problem]:
    """Settings and cells against the trainer's and the model card's own properties."""
    known = train_settings.known(sweep["model"])
    wrong = schema.complete_options(sweep["settings"], known, f"{place}.settings", fill=False)
    for i, cell in enumerate(sweep["cells"]):
        where = f"{place}.cells[{i}]"
        for key, value in cell.items():
            values = value if isinstance(value, list) else [value]
            if not values:
                wrong.append(Problem(f"{where}.{key}", "an empty list", "give a value"))
            for j, single in enumerate(values):
                one = {key: single}
                wrong += schema.complete_options(one, known, where, fill=False)
                values[j] = one[key]
            cell[key] = values if isinstance(value, list) else values[0]
        sized = {"n_flops", "n_samples"} & {*cell, *sweep["settings"]}
        if len(sized) != 1:
            found = "both n_flops and n_samples" if sized else "neither n_flops nor n_samples"
            wrong.append(Problem(where, found, "give one of them"))
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
    """A figure shows laws in some variables only."""
    wrong = []
    for name in fits:
        fit = _entry(config, "fit", name)
        if fit.get("card") not in registry.names("law") or not isinstance(fit.get("options"), dict):
            continue  # said already
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
    """The models of a sweep that is observed are kept."""
    if sweep["keep_weights"]:
        return []
    found = f"{name!r} does not keep the weights of its runs"
    return [Problem(f"{place}.sweep", found, f"set `keep_weights: true` in train.{name}")]


def _observation_problems(
    config: Mapping[str, Any], figure: Mapping[str, Any], shows: bool, place: str
) -> list[Problem]:
    """A figure of observations names one of its sweep, another figure none."""
    name, place = figure.get("observation"), f"{place}.observation"
    if not shows:
        return [Problem(place, f"the card {figure['card']!r} shows none", "leave it out")]
    known = config["observe"] if isinstance(config.get("observe"), dict) else {}
    if name is None:
        return [Problem(place, "the figure shows an observation", "name one of `observe`")]
    if name not in known:
        return [Problem(place, f"{name!r} is not in observe", nearest(name, known))]
    sweep = _entry(config, "observe", name).get("sweep")
    if sweep != figure["sweep"]:
        found = f"{name!r} is of {sweep!r}, not {figure['sweep']!r}"
        return [Problem(place, found, "show an observation of this sweep")]
    return []


def _profile_problems(fits: Mapping[str, Any], names: list[str], place: str) -> list[Problem]:
    """A figure of profiles shows a fit that keeps them."""
    shown = [fits[name] for name in names if isinstance(fits.get(name), dict)]
    if all(fit.get("profiles") or fit.get("interval") == "profile" for fit in shown):
        return []
    return [Problem(place, f"{names[0]!r} keeps no profiles", "set its `profiles: true`")]


def _tags(config: Mapping[str, Any], sweep: str) -> tuple[str, ...] | None:
    """Tags of the rows that a sweep trains on; None of a table of runs."""
    if not (isinstance(config.get("train"), dict) and sweep in config["train"]):
        return None
    card = _entry(config, "load", _entry(config, "train", sweep).get("dataset")).get("card")
    if card not in registry.names("dataset"):
        return ()  # said already
    return tuple(registry.facts("dataset", card)["TAGS"])


def _entry(config: Mapping[str, Any], section: str, name: Any) -> Mapping[str, Any]:
    """An entry of a section; empty where there is none, or none that can be looked into."""
    entries = config.get(section)
    found = entries.get(name) if isinstance(entries, dict) and isinstance(name, str) else None
    return found if isinstance(found, dict) else {}


def _rows_problems(
    fit: Mapping[str, Any], tags: tuple[str, ...] | None, place: str
) -> list[Problem]:
    """What is fitted: curves only of a sweep, domains by a tag of its rows."""
    mixture = registry.of_mixtures(fit["card"])
    if fit["points"] != "runs" and (mixture or tags is None):
        whose = "a law of mixtures reads none" if mixture else "a table of runs has none"
        return [Problem(f"{place}.points", f"found {fit['points']}; {whose}", "leave it out")]
    together = fit["points"] != "runs" or fit.get("cluster")
    if together and fit["interval"] in ("residual", "parametric"):
        found = f"{fit['interval']} draws runs one by one, and some are to be drawn together"
        return [Problem(f"{place}.interval", found, "use bootstrap or profile")]
    tag_key = fit.get("tag_key")
    if not mixture or tags is None:
        said = "only a mixture law of a sweep reads it"
        return [Problem(f"{place}.tag_key", said, "leave it out")] if tag_key else []
    if tag_key is None and len(tags) > 1:
        found = f"the rows have {len(tags)} tags"
        return [Problem(f"{place}.tag_key", found, f"name one: {', '.join(tags)}")]
    if tag_key is not None and tags and tag_key not in tags:
        return [Problem(f"{place}.tag_key", "no row has this tag", nearest(tag_key, tags))]
    return []


def _fit_problems(
    fit: Mapping[str, Any], runs: pd.DataFrame, table: bool, place: str
) -> list[Problem]:
    """Columns, selection and number of runs; of a sweep every run is taken to finish.

    Args:
        fit: the study's.
        runs: of a table, or planned.
        table: which of the two.
        place: of the fit.
    """
    if fit["points"] != "runs":
        runs = runs.assign(of_run=runs["run_id"])
        runs = runs.assign(step=1) if fit["points"] == "curves" else runs
    holdout = fit["holdout"] if isinstance(fit["holdout"], dict) else {}
    named = {"group": fit["group"], "cluster": fit.get("cluster"), "holdout.by": holdout.get("by")}
    wrong = [
        Problem(f"{place}.{key}", f"no column {column!r}", nearest(column, tuple(runs)))
        for key, column in named.items()
        if column is not None and column not in runs
    ]
    if wrong:
        return wrong
    if fit["where"]:
        measured = fit["points"] != "runs" or filters.names(fit["where"]) & set(MEASURED)
        planned = not table and bool(measured)
        try:  # of what is not measured yet only the types are known
            seen = runs.iloc[:0] if planned else runs
            selected = filters.evaluate(seen, fit["where"], f"{place}.where")
        except IsolossError as error:
            return error.problems
        if planned:
            return []  # which runs it selects is known when they are measured
        runs = runs[selected]
    if fit["points"] != "runs":
        return []  # how many points a run has is known when it is trained
    if registry.of_mixtures(fit["card"]):  # its terms depend on the domains of the runs
        lacks = table and not (domains_of(runs) and responses_of(runs))
        do = "name them p_<domain> and loss_<domain>, such as p_web and loss_web"
        found = "the table has no columns of proportions and losses by domain"
        return [Problem(place, found, do)] if lacks else []
    law = registry.card("law", fit["card"]).make(**fit["options"])
    need = Constraints(fit["fixed"], fit["tied"]).hold(law).count(False)
    wrong = _constraint_problems(fit, law, place)
    usable = runs[(runs["status"] == "done") & (runs["fit_weight"] > 0)]
    if usable.empty:
        return [Problem(place, "no runs", "loosen `where` or `keep`")]
    for group, mine in usable.groupby(usable[fit["group"]].astype(str)):
        fitted = mine[~held_out(mine, fit["holdout"])]
        if len(fitted) < need:
            found = (
                f"{len(fitted)} runs to fit (group {group}) for the {need} parameters of the law"
            )
            wrong.append(Problem(place, found, "add runs, hold out fewer, or fit a smaller law"))
    return wrong
