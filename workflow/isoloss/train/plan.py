"""A sweep spelled out: every run with its settings, its N, D and C, and its shard."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.core import registry, rounds, tables
from isoloss.core.canonical import canonical
from isoloss.core.problems import IsolossError, Problem
from isoloss.models._model import flops_per_example, model_of, n_params_of
from isoloss.train.cells import assignments, count_runs, resolved
from isoloss.train.programs import program_runs
from isoloss.train.settings import commanded, known, task_of

if TYPE_CHECKING:
    import pandas as pd

    from isoloss.models._model import Model

MOST_RUNS = 20_000  # of a study
_CONVENTIONS = ("total", "nonembed")  # for N
_Pairs = tuple[tuple[str, Any], ...]  # names and values
_REPLACED = ("n_flops", "n_samples", "n_unique")  # in a plan: by what comes of them


def too_many(place: str, count: int) -> Problem:
    """What is wrong with cells that spell out more runs than a study can have."""
    reason = f"the cells spell out {count} runs"
    return Problem(place, reason, f"at most {MOST_RUNS} are allowed: shorten the lists and ranges")


def run_label(settings: Mapping[str, Any], size: str) -> str:
    """The run's id: what a person looks for first, then a hash of all settings.

    Never parsed back. Injective up to collisions of 48 bits, which the plan's key would show.

    Args:
        settings: of the run.
        size: the setting that says best how large the model is.
    """
    text = json.dumps(dict(settings), sort_keys=True, separators=(",", ":"))
    digest = blake2b(text.encode(), digest_size=6).hexdigest()
    spent = f"C{settings['n_flops']:g}" if "n_flops" in settings else f"D{settings['n_samples']:g}"
    width = f"{size[0]}{settings[size]}" if size in settings else settings["model"]
    head = f"{settings['weighting']}-{spent}-{width}-s{settings['seed']}"
    return f"{head.replace('+', '')}-{digest}"


def shard_name(number: int, shards: int) -> str:
    """Shard names are numbers of one width, so that they sort."""
    return f"{number:0{len(str(shards - 1))}d}"


def shard_names(shards: int) -> list[str]:
    """All shards of a sweep; known before the plan is made."""
    return [shard_name(i, shards) for i in range(shards)]


def run_settings(sweep: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of every run: the product of each cell's values, the cells one after the other.

    What a cell does not say comes from the sweep's `settings`, then from the defaults of the
    trainer's, the model's and the task's card. Runs that come out alike are one run.

    Raises:
        IsolossError: there are more than a study can have, or no model is near a target N; with
            a problem for every such cell.
    """
    if (count := count_runs(sweep)) > MOST_RUNS:
        raise IsolossError(too_many("cells", count))
    cards, properties = Cards.of(sweep), known(sweep)
    defaults = {key: spec["default"] for key, spec in properties.items() if "default" in spec}
    of_all = {key: sweep[key] for key in ("size_rule",) if key in sweep} | sweep["settings"]
    by_text: dict[str, dict[str, Any]] = {}
    wrong: list[Problem] = []
    for i, cell in enumerate(sweep["cells"]):
        try:
            for assignment in assignments(cell, properties):
                given = {**of_all, **assignment}
                settings = resolved(given, defaults, cards, sweep["n_params"])
                ordered = {"model": sweep["model"], "trainer": sweep["trainer"]}
                for key, spec in properties.items():
                    if key in settings:
                        number = spec["type"] == "number"
                        ordered[key] = float(settings[key]) if number else settings[key]
                by_text.setdefault(json.dumps(ordered, sort_keys=True), ordered)
        except IsolossError as error:
            wrong += [one.within(f"cells[{i}]") for one in error.problems]
    if wrong:
        raise IsolossError(*wrong)
    return list(by_text.values())


def plan_runs(sweep: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The planned runs of a sweep, as rows of its `plan` table, in the order of its cells.

    N is `n_params_total` or `n_params_nonembed`, C is 6 N D or the model card's estimate, by the
    sweep's conventions; a budget C gives D = C / 6N or C / (FLOP an example), which the trainer
    rounds to whole steps.

    Raises:
        IsolossError: there are more runs than a study can have, no model is near a target N, or
            settings contradict each other.
    """
    if (count := count_runs(sweep)) > MOST_RUNS:
        raise IsolossError(too_many("cells", count))
    if commanded(sweep):
        shards = shard_names(sweep["shards"])
        return [{**run, "shard": _shard(run["run_id"], shards)} for run in program_runs(sweep)]
    each = run_settings(sweep)
    cards, shards = Cards.of(sweep), shard_names(sweep["shards"])
    return [_planned(settings, sweep, cards, shards) for settings in each]


@dataclass(frozen=True)
class Cards:
    """The cards of a sweep: what is trained, at what, and by what."""

    model: Any
    task: Any
    trainer: Any
    task_options: tuple[str, ...]
    model_options: tuple[str, ...]

    @property
    def size(self) -> str:
        """The model card's first option, by which a run is called; empty if it has none."""
        return next(iter(self.model_options), "")

    @classmethod
    def of(cls, sweep: Mapping[str, Any]) -> Cards:
        """The cards that a sweep names."""
        task = task_of(sweep["model"])
        return cls(
            registry.card("model", sweep["model"]),
            registry.card("task", task),
            registry.card("trainer", sweep["trainer"]),
            tuple(registry.options("task", task)),
            tuple(registry.options("model", sweep["model"])),
        )

    def sized(self, settings: Mapping[str, Any]) -> tuple[Model, int]:
        """The model of a run, and the examples that an item of its batches holds.

        Raises:
            IsolossError: the model card asks for what is neither an option nor a shape.
        """
        sized = self.counted(settings)
        return sized.model, sized.per_item

    def counted(self, settings: Mapping[str, Any]) -> Sized:
        """The model of a run with what is counted of it."""
        task_options = tuple((key, settings[key]) for key in self.task_options)
        options = tuple((key, settings[key]) for key in self.model_options)
        return _sized(self.model, self.task, options, task_options)

    def n_params(self, settings: Mapping[str, Any], convention: str) -> int:
        """N of the model of a run, by a convention, `total` or `nonembed`."""
        return self.counted(settings).n_params[convention]

    def sizes(
        self, target: float, rule: str, settings: Mapping[str, Any], convention: str
    ) -> dict[str, Any]:
        """The sizes that the model card finds for a target N."""
        shapes = self.task.shapes(**{key: settings[key] for key in self.task_options})
        options = ((key, settings[key]) for key in self.model_options)
        return dict(_sizes(self.model, target, rule, (*options, *shapes.items()), convention))


@dataclass(frozen=True)
class Sized:
    """A model of given sizes, and what is counted of it.

    Attributes:
        model: of the sizes.
        per_item: examples that an item of a batch holds.
        n_params: N by convention.
        flops_per_example: training FLOP an example.
    """

    model: Model
    per_item: int
    n_params: Mapping[str, int]
    flops_per_example: float


@cache
def _sized(model_card: Any, task: Any, options: _Pairs, task_options: _Pairs) -> Sized:
    """A model of some sizes; cached, for the many runs of a sweep that share it."""
    try:
        model = model_of(model_card, {**dict(options), **task.shapes(**dict(task_options))})
    except KeyError as error:
        card, reason = model_card.__name__, f"Model has the field {error}"
        remedy = "add it to OPTIONS, or take one of the task's shapes"
        raise IsolossError(Problem(card, reason, remedy)) from error
    except ValueError as error:
        card = model_card.__name__.rpartition(".")[2]
        raise IsolossError(Problem(f"model {card}", str(error), "change its settings")) from error
    count = model.count()
    n_params = {convention: n_params_of(count, convention) for convention in _CONVENTIONS}
    per_item = task.examples_per_item(**dict(task_options))
    return Sized(model, per_item, n_params, flops_per_example(model))


@cache
def _sizes(model: Any, target: float, rule: str, given: _Pairs, convention: str) -> dict[str, Any]:
    """What a model card finds; cached, for the many runs of a sweep that ask for the same."""
    return model.sizes(target, {**dict(given), "n_params": convention}, rule)


def _planned(
    settings: Mapping[str, Any], sweep: Mapping[str, Any], cards: Cards, shards: Sequence[str]
) -> dict[str, Any]:
    label = run_label(settings, cards.size)
    sized = cards.counted(settings)
    n_params, an_example = sized.n_params, sized.flops_per_example
    n = n_params[sweep["n_params"]]
    by_convention = {"6nd": 6.0 * n, "model": an_example}[sweep["n_flops"]]
    budget = settings.get("n_flops", float("nan"))
    asked = settings["n_samples"] if "n_samples" in settings else budget / by_convention
    try:
        trained = cards.trainer.plan(asked, sized.per_item, settings)
    except ValueError as error:  # of settings that contradict each other
        raise IsolossError(Problem("", str(error), "")) from error
    n_samples = trained["n_samples"]
    given = {k: v for k, v in settings.items() if k not in _REPLACED}
    return {
        **given,
        **({"n_available": float(settings["n_unique"])} if "n_unique" in settings else {}),
        "run_id": label,
        "shard": _shard(label, shards),
        "n_params": n,
        "n_params_total": n_params["total"],
        "n_params_nonembed": n_params["nonembed"],
        **trained,
        "n_flops": by_convention * n_samples,
        "n_flops_6nd": 6.0 * n * n_samples,
        "n_flops_model": an_example * n_samples,
        "budget": budget,
    }


def _shard(label: str, shards: Sequence[str]) -> str:
    hashed = int.from_bytes(blake2b(label.encode(), digest_size=8).digest(), "big")
    return shards[hashed % len(shards)]


def plan_sweep(sweep: Mapping[str, Any]) -> pd.DataFrame:
    """The `plan` table of a sweep (tables.yaml); see `plan_runs`."""
    import pandas as pd

    runs = plan_runs(sweep)
    return pd.DataFrame(runs) if runs else tables.empty("plan")


def run(
    sweep: Mapping[str, Any], choices: Sequence[Path], out: Path, facts: Mapping[str, Any]
) -> list[Path]:
    """Write the plan of a sweep into a folder: the stage plan.

    Args:
        sweep: the study's entry.
        choices: choices.parquet of a round; none for other sweeps.
        out: folder for runs.parquet.
        facts: kept in the file.

    Returns:
        The file.

    Raises:
        IsolossError: no model has the size that was chosen.
    """
    for file in choices:
        sweep = with_choices(sweep, tables.frame(file, "choices"))
    try:
        planned = plan_sweep(sweep)
    except IsolossError as error:
        if not choices:
            raise
        place = "the choices of the round"
        raise IsolossError(*(problem.within(place) for problem in error.problems)) from error
    tables.write("plan", planned, out / "runs.parquet", facts)
    return [out / "runs.parquet"]


def with_choices(sweep: Mapping[str, Any], choices: pd.DataFrame) -> dict[str, Any]:
    """The sweep of a round with a cell for each run that was chosen.

    Args:
        sweep: the study's entry.
        choices: the `choices` table; rows without a number are of what is not trained.
    """
    chosen = choices[choices["choice"].notna()]
    return rounds.with_choices(sweep, *(chosen[key] for key in rounds.CHOSEN))


def shard_runs(runs: Iterable[Mapping[str, Any]], shards: int) -> dict[str, list[dict[str, Any]]]:
    """Shard to its runs, each as a row of the plan without its shard and what it does not have."""
    by_shard: dict[str, list[dict[str, Any]]] = {name: [] for name in shard_names(shards)}
    for run in runs:
        has = {k: v for k, v in run.items() if k != "shard" and v is not None and v == v}
        by_shard[run["shard"]].append(has)
    return by_shard


def runs_digest(runs: Sequence[Mapping[str, Any]]) -> str:
    """Digest of the planned runs of a shard, in order."""
    return blake2b(canonical(list(runs)).encode(), digest_size=16).hexdigest()
