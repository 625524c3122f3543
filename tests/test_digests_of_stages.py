"""The code that a stage runs is the code in its digest: what a real call imports is compared."""

import copy
import json
import os
import pickle
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import warm

from isoloss.core import registry, schema, tables
from isoloss.load import identity
from isoloss.models._model import model_of
from isoloss.records import provenance
from isoloss.study import flow
from isoloss.tasks._content import Files
from isoloss.tasks._dataset import read_dataset, read_index
from isoloss.train.plan import plan_runs, runs_digest, shard_runs
from isoloss.train.settings import cards_of, commanded
from isoloss.trainers.builtin import noise_of

TRAINERS = [name for name in registry.names("trainer") if not commanded({"trainer": name})]
RUN_CARDS = cards_of({"model": "transformer", "trainer": "builtin"})
ROOT = Path(__file__).parents[1]
# A stage in a Python that has not imported isoloss; also what the processes that it forks have.
CALL = """
import importlib, multiprocessing.util, pickle, sys
entry, arguments, report = pickle.load(open(sys.argv[1], "rb"))

def tell():
    names = [name for name in sys.modules if name.split(".")[0] == "isoloss"]
    print(*names, sep="\\n", file=open(report, "a"))

def forked(_):
    multiprocessing.util.Finalize(None, tell, exitpriority=1)

multiprocessing.util.register_after_fork(CALL := type("Call", (), {})(), forked)
importlib.import_module(entry).run(*arguments)
tell()
"""
# One run, without the stage around it: its cards, and data that are in memory.
RUN = """
import pickle, sys, types
settings, n_valid, arrays, report = pickle.load(open(sys.argv[1], "rb"))
values, starts, held_out, rows, copies = arrays
from isoloss.models import transformer
from isoloss.tasks import language_model
from isoloss.trainers import builtin

tokens = types.SimpleNamespace(values=values, release=lambda: None)
dataset = types.SimpleNamespace(tokens=tokens, starts=starts, held_out=held_out)
index = types.SimpleNamespace(rows=rows, copies=copies)
sides = language_model.training(dataset, index), language_model.validation(dataset)
task = language_model.task(*sides, n_valid, 3, context=settings["context"], vocabulary=256)
keeper = types.SimpleNamespace(load=lambda: None, due=lambda: False, steps=())
ticks = iter([None] * settings["n_steps"])
builtin.warm_up()
trained = builtin.train(settings, 3, transformer, task, ticks, keeper)
names = [name for name in sys.modules if name.split(".")[0] == "isoloss"]
print(*names, sep="\\n", file=open(report, "w"))
"""


def run_program(folder: Path, program: str, request: Path) -> None:
    """Run a program in a process that has not imported isoloss yet, with a file as its argument."""
    (folder / "a_program.py").write_text(program, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    ended = warm.run("a_program", str(request), folder=folder, environment=environment)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    """Call a stage's `run` in a process of its own; what of isoloss it has imported then."""
    folder = tmp_path_factory.mktemp("calls")

    def call(stage, *arguments) -> set[str]:
        request, report = folder / f"{stage}.pickle", folder / f"{stage}.txt"
        report.unlink(missing_ok=True)
        request.write_bytes(pickle.dumps((flow.STAGES[stage].entry, arguments, str(report))))
        run_program(folder, CALL, request)
        return set(report.read_text(encoding="utf-8").split())

    return call


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A small library, and all that the stages make of it in turn."""
    folder = tmp_path_factory.mktemp("study")
    for name in ("bisect", "queue", "sched", "fnmatch"):
        source = Path(sysconfig.get_path("stdlib")) / f"{name}.py"
        (folder / source.name).write_bytes(source.read_bytes())
    return folder


SWEEP = {
    "dataset": "few",
    "model": "transformer",
    "trainer": "builtin",
    "shards": 1,
    "n_params": "nonembed",
    "n_flops": "6nd",
    "settings": {"n_layers": 1, "context": 16, "n_samples": 640},
    "cells": [{"d_model": [4, 6, 8, 12]}],
}
FIT = {
    "card": "chinchilla",
    "options": registry.defaults("law", "chinchilla"),
    "points": "curves",
    "group": "group",
    "fixed": {"alpha": 0.3, "beta": 0.3},
    "tied": [],
    "bounds": {},
    "shared": [],
    "holdout": None,
    "interval": "bootstrap",
    "bootstrap": 5,
}
SIMULATION = {
    "truth": {"card": "chinchilla", "preset": "hoffmann"},
    "plan": {"kind": "runs", "sweep": "two"},
    "noise": {"kind": "normal", "sd": 0.01},
    "estimators": {"law": {"card": "chinchilla", "bootstrap": 2, "interval": "profile"}},
    "replicates": 11,
    "budgets": [],
}
FIGURE = {
    "card": "predicted_observed",
    "options": registry.defaults("figure", "predicted_observed"),
    "style": "screen",
}
CARDS = {
    "load": [("dataset", "python_stdlib")],
    "plan": RUN_CARDS,
    "train": RUN_CARDS,
    "fit": [("law", "chinchilla")],
    "choose": [("planner", "scale_up"), ("law", "chinchilla")],
    "observe": [("observable", "weight_norms")],
    "simulate": [("law", "chinchilla")],
    "plot": [("figure", "predicted_observed"), ("law", "chinchilla")],
    "summarize": [("law", "chinchilla")],
}


def arguments(home: Path) -> dict[str, tuple]:
    """What `run` of every stage is called with, each reading what those before it made."""
    dataset = {"card": "python_stdlib", "options": {"root": str(home)}, "valid_fraction": 0.4}
    dataset["on_bad_row"] = "stop"
    few, sweep = {"dataset": "few", "weighting": "natural"}, {"sweep": "two"}
    files = {
        table: home / "aggregate" / f"{table}.parquet" for table in flow.STAGES["aggregate"].writes
    }
    fits = [home / "fit" / f"{table}.parquet" for table in flow.STAGES["fit"].writes]
    where = {"sweep": "two", "shard": "0"}
    settings = {"code": "c", "code_here": "c", "among": {}, "where": where}
    rows, read = (
        home / "load/rows.parquet",
        ([home / "load/rows.parquet"], [home / "load/tokens.npy"]),
    )
    shard = home / "train/0.parquet"
    plan, natural = home / "plan/runs.parquet", home / "expand"
    units = {"token": "byte", "loss_unit": "nats/byte"}
    planned = shard_runs(plan_runs(SWEEP), 1)["0"]
    indices, audits = [natural / "index.parquet"], [natural / "audit.parquet"]
    trained = {
        "task": "language_model",
        "seed": 3,
        "valid_tokens": 256,
        "runs": runs_digest(planned),
        "schedules": {},
    }
    summed = [files["runs"], files["losses"], files["timing"], *fits]
    about = {
        "study": "two",
        "summary": {"budgets": [], "optima": []},
        "figures": ["seen"],
        "datasets": {},
    }
    about |= {"trials": [], "rounds": {}, "coefficients": {}}
    content = identity("python_stdlib", dataset["options"])
    return {
        "load": ({"dataset": dataset, "seed": 3, "content": content}, home / "load", few, home),
        "expand": ({"weights": {"kind": {"code": 1.5}}, "seed": 3}, rows, home / "expand", few),
        "plan": (SWEEP, [], home / "plan", sweep),
        "train": (trained, planned, *read, indices, home / "store", settings, shard, sweep),
        "observe": (
            {"observe": {"card": "weight_norms", "options": {"parts": "layers"}}},
            shard,
            Files([], [], []),
            home / "store",
            home / "observe/sizes/two/0.parquet",
            {**sweep, "observation": "sizes"},
        ),
        "aggregate": (
            {**sweep, **units, "schedules": {}},
            [plan],
            [shard],
            audits,
            [],
            home / "aggregate",
            sweep,
        ),
        "fit": (
            {"fit": FIT, "seed": 3},
            [files["runs"], files["curves"]],
            home / "fit",
            {**sweep, "law": "fitted"},
        ),
        "choose": (
            {"round": {"number": 1, "fit": "fitted", "planner": "scale_up"}, "seed": 3},
            [files["runs"], *fits],
            home / "choose",
            sweep,
        ),
        "simulate": (
            {"simulate": SIMULATION, "seed": 3},
            [files["runs"]],
            home / "simulate",
            {"simulation": "again"},
            2,
        ),
        "plot": ({"plot": FIGURE}, [files["runs"], *fits], home / "plot/seen.png"),
        "summarize": (about, summed, home / "summary.md"),
    }


@pytest.fixture(scope="module")
def imported(home, called) -> dict[str, set[str]]:
    """Stage to the modules that a real call of it has imported, from the first to the last."""
    calls = arguments(home)
    assert list(calls) == list(flow.STAGES)
    return {stage: called(stage, *given) for stage, given in calls.items()}


@pytest.mark.parametrize("stage", flow.STAGES)
def test_all_that_a_stage_runs_is_in_its_digest(imported, stage):
    digested = provenance.closure(flow.entries(stage, CARDS.get(stage, [])))
    assert imported[stage] - set(digested) == set()


def test_all_that_an_observable_of_data_runs_is_in_the_digest_of_its_observation(
    home, imported, called
):
    assert imported["train"]  # its runs are measured
    cards = [("observable", "llc"), *(card for card in RUN_CARDS if card[0] != "trainer")]
    options = registry.defaults("observable", "llc") | {"num_draws": 2, "num_chains": 2}
    about = {"observe": {"card": "llc", "options": options}, "task": "language_model"}
    files = Files(*([home / name] for name in ("load/rows.parquet", "load/tokens.npy",
                                               "expand/index.parquet")))  # fmt: skip
    shard, out = home / "train/0.parquet", home / "learned/0.parquet"
    modules = called("observe", {**about, "schedules": {}, "seed": 3}, shard, files,
                     home / "store", out, {})  # fmt: skip
    assert "isoloss.posterior.sampler" in modules
    assert modules - set(provenance.closure(flow.entries("observe", cards))) == set()
    written = {tables.facts(file)["table"] for file in out.parent.glob("*.parquet")}
    assert written == set(registry.tables_of("llc"))


def test_a_trained_run_imports_only_what_is_in_its_identity(home, imported, tmp_path):
    dataset = read_dataset(home / "load/rows.parquet", home / "load/tokens.npy")
    index = read_index(home / "expand/index.parquet")
    (run, *_) = shard_runs(plan_runs(SWEEP), 1)["0"]
    values = np.array(dataset.tokens.values)  # a mapped file cannot be pickled
    arrays = values, dataset.starts, dataset.held_out, index.rows, index.copies
    request, report = tmp_path / "run.pickle", tmp_path / "run.txt"
    request.write_bytes(pickle.dumps((run, 256 // run["context"], arrays, str(report))))
    run_program(tmp_path, RUN, request)
    names = set(report.read_text(encoding="utf-8").split())
    identity_of_run = provenance.run_code(RUN_CARDS)
    assert {f"isoloss.{registry.FOLDERS[kind]}.{name}" for kind, name in RUN_CARDS} <= names
    # the list of public names comes with every import of the package
    assert names - set(identity_of_run) == {"isoloss"}


@pytest.mark.parametrize("model", registry.names("model"))
@pytest.mark.parametrize("trainer", TRAINERS)
def test_what_makes_a_runs_numbers_needs_cards_and_seeds_only(model, trainer):
    cards = cards_of({"model": model, "trainer": trainer})
    folders = {registry.FOLDERS[kind] for kind, _ in cards}
    others = {m for m in provenance.run_code(cards) if m.split(".")[1] not in folders}
    assert others <= {"isoloss.core", "isoloss.core.seeds"}


def test_a_runs_numbers_do_not_depend_on_the_order_of_a_cards_options(monkeypatch):
    real = registry.options
    before = plan_runs(SWEEP)
    monkeypatch.setattr(registry, "options", lambda *of: dict(reversed(real(*of).items())))
    after = plan_runs(SWEEP)
    assert list(after[0]) != list(before[0])
    card = registry.card("model", SWEEP["model"])
    shapes = {"vocabulary": 256}
    noises = [[noise_of(model_of(card, run | shapes), run) for run in runs]
              for runs in (before, after)]  # fmt: skip
    assert noises[0] == noises[1]
    assert json.loads(noises[0][0])[2] == {
        "d_model": 4,
        "n_layers": 1,
        "head_width": 16,
        "context": 16,
        "vocabulary": 256,
    }


def test_every_table_that_a_stage_writes_is_part_of_its_code(home, imported):
    written = {
        stage: {tables.facts(file)["table"] for file in (home / stage).rglob("*.parquet")}
        for stage in flow.STAGES
        if (home / stage).is_dir()
    }
    contracts = {name: set(stage.writes) for name, stage in flow.STAGES.items() if stage.writes}
    assert contracts == {stage: names for stage, names in written.items() if stage in contracts}


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda spec: spec["columns"]["loss"].update(about="other words"), False),
        (lambda spec: spec.update(about="other words"), False),
        (lambda spec: spec["columns"]["loss"].update(role="setting"), False),
        (lambda spec: spec["columns"]["loss"].update(type="string"), True),
        (lambda spec: spec["columns"]["loss"].update(unit="bits"), True),
        (lambda spec: spec.update(key=["run_digest"]), True),
        (lambda spec: spec["columns"].update(more={"type": "int64"}), True),
        (lambda spec: spec["columns"].update(run_id=spec["columns"].pop("run_id")), True),
    ],
)
def test_the_contract_of_a_table_is_code_and_the_words_about_it_are_not(
    monkeypatch, change, differs
):
    before = tables.contract_digest("runs")
    edited = copy.deepcopy(tables.contract())
    change(edited["tables"]["runs"])
    monkeypatch.setattr(tables, "contract", lambda: edited)
    assert (tables.contract_digest("runs") != before) == differs


@pytest.mark.parametrize("stage", flow.STAGES)
def test_a_changed_contract_changes_the_code_of_the_stages_that_write_it(
    monkeypatch, source_study, stage
):
    whole = flow.Flow(source_study, "results")
    job = next(job for job in whole.jobs if job.stage == stage)
    before = whole.code_here(stage, **job.names)
    edited = copy.deepcopy(tables.contract())
    for table in flow.STAGES[stage].writes:
        edited["tables"][table]["columns"]["more"] = {"type": "int64"}
    monkeypatch.setattr(tables, "contract", lambda: edited)
    assert (whole.code_here(stage, **job.names) != before) == bool(flow.STAGES[stage].writes)


@pytest.mark.parametrize("stage", flow.STAGES)
def test_a_changed_role_changes_the_code_of_the_stages_that_go_by_it(
    monkeypatch, source_study, stage
):
    whole = flow.Flow(source_study, "results")
    job = next(job for job in whole.jobs if job.stage == stage)
    before = whole.code_here(stage, **job.names)
    edited = copy.deepcopy(tables.contract())
    for table in ("plan", "runs"):
        edited["tables"][table]["further"]["*"]["role"] = "outcome"
    monkeypatch.setattr(tables, "contract", lambda: edited)
    assert (whole.code_here(stage, **job.names) != before) == bool(flow.STAGES[stage].uses_roles)


def test_the_unit_of_a_dataset_is_among_what_matters_to_its_tables(monkeypatch, source_study):
    whole = flow.Flow(source_study, "results")
    before = whole.specification("aggregate", sweep="isoflop")
    real = registry.facts

    def renamed(kind, name):
        return {**real(kind, name), "TOKEN": "word"} if kind == "dataset" else real(kind, name)

    monkeypatch.setattr(registry, "facts", renamed)
    assert whole.specification("aggregate", sweep="isoflop") != before


@pytest.fixture
def source_study() -> dict:
    """The default study with an observation, a round and a simulation, complete."""
    study = schema.read(ROOT / "config.yaml")
    study["observe"] = {"norms": {"card": "weight_norms", "sweep": "isoflop"}}
    rounds = {"count": 1, "fit": "after", "planner": "scale_up"}
    study["train"]["further"] = {**study["train"]["isoflop"], "rounds": rounds}
    study["fit"]["after"] = {"card": "chinchilla", "sweep": "further"}
    plan = {"kind": "runs", "sweep": "isoflop"}
    study["simulate"] = {"again": {**SIMULATION, "plan": plan}}
    config, problems = schema.complete(study)
    assert not problems
    return config
