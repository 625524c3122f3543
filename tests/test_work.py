"""A job puts its outputs in place only if they are still wanted, and takes only what is current."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import sysconfig
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from isoloss.__main__ import main
from isoloss.core import locks, tables
from isoloss.fit import job as fit_job
from isoloss.records import environment
from isoloss.records.store import CLAIM, Store
from isoloss.study import work
from isoloss.study.flow import Flow
from isoloss.study.verify import findings
from isoloss.train import job as train_job


class Home:
    """A study beside its results, and its jobs as a person types them."""

    def __init__(self, folder: Path, study: dict):
        self.root, self.study = folder / "results" / study["study"], study
        self.root.mkdir(parents=True, exist_ok=True)
        self.file = self.root / "config.yaml"
        self.write()

    def copy(self, folder: Path) -> Home:
        """The same in another folder, with the times of its files."""
        shutil.copytree(self.root, folder / "results" / self.root.name)
        return Home(folder, copy.deepcopy(self.study))

    def write(self, text: str = "") -> None:
        self.file.write_text(yaml.safe_dump(self.study) + text, encoding="utf-8")

    def call(self, stage: str, out: str, *arguments) -> int:
        words = ["--study", self.file, *arguments, "--out", self.root / out]
        return main([stage, *map(str, words)])

    def fit(self) -> int:
        runs = self.root / "aggregate/mine/runs.parquet"
        return self.call("fit", "fit/mine/power", "--fit", "power", "--tables", runs)

    def aggregate(self) -> int:
        return self.call("aggregate", "aggregate/mine", "--sweep", "mine")

    def plot(self) -> int:
        names = ("params", "summary", "residuals", "points")
        fits = [self.root / f"fit/mine/power/{name}.parquet" for name in names]
        given = [self.root / "aggregate/mine/runs.parquet", *fits]
        return self.call("plot", "plot/seen.png", "--figure", "seen", "--tables", *given)

    def left_over(self) -> list[str]:
        hidden = [path.name for path in self.root.rglob(".*")]
        return [name for name in hidden if name.endswith((".tmp", ".owner"))]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


@pytest.fixture(scope="module")
def finished_home(tmp_path_factory) -> Home:
    """A study of a table of runs, gathered, fitted and drawn, which every test leaves as it is."""
    folder = tmp_path_factory.mktemp("home")
    size = np.geomspace(1e6, 1e9, 12)
    runs = pd.DataFrame({"n": size, "d": 20 * size, "loss": 2 + 100 / size**0.3})
    runs.to_csv(folder / "runs.csv", index=False)
    columns = {"N": "n", "D": "d", "loss": "loss"}
    table = {"table": str(folder / "runs.csv"), "columns": columns}
    law = {"card": "power_law", "options": {"variable": "N"}, "sweep": "mine", "bootstrap": 5}
    figure = {"card": "predicted_observed", "sweep": "mine", "fits": ["power"]}
    study = {"study": "mine", "aggregate": {"mine": table}, "fit": {"power": law}}
    home = Home(folder, study | {"plot": {"seen": figure}})
    assert home.aggregate() == 0
    assert home.fit() == 0
    assert home.plot() == 0
    return home


@pytest.fixture
def home(finished_home, tmp_path) -> Home:
    """A copy of it that belongs to one test."""
    return finished_home.copy(tmp_path)


@pytest.fixture
def during(monkeypatch):
    """Have something happen while a stage computes, once."""

    def arrange(stage, happens):
        real = stage.run

        def run(*arguments):
            files = real(*arguments)
            monkeypatch.setattr(stage, "run", real)
            happens()
            return files

        monkeypatch.setattr(stage, "run", run)

    return arrange


def objective_changes(home):
    home.study["fit"]["power"]["objective"] = "log_mse"
    home.write()


def seed_changes(home):
    home.study["seed"] = 5
    home.write()


def fit_is_removed(home):
    del home.study["fit"]["power"]
    home.study["plot"] = {}
    home.write()


def study_is_emptied(home):
    home.file.write_text("study: mine\n", encoding="utf-8")


def input_is_made_again(home):
    home.study["aggregate"]["mine"]["keep"] = ["loss < 2.5"]
    home.write()
    assert home.aggregate() == 0


OVERTAKEN = {
    objective_changes: "the study has changed since it started (fit.objective: was",
    seed_changes: "the study has changed since it started (seed: was 0, is 5)",
    fit_is_removed: "the study has no such job any more",
    study_is_emptied: "the study has no such job any more",
    input_is_made_again: "has changed since it started",
}


@pytest.mark.parametrize("happens", OVERTAKEN, ids=[one.__name__ for one in OVERTAKEN])
def test_a_fit_that_was_overtaken_puts_nothing_in_place(home, during, capsys, happens):
    before = contents(home.root / "fit/mine/power")
    during(fit_job, lambda: happens(home))
    assert home.fit() == 2
    error = capsys.readouterr().err
    assert f"fit/mine/power: {OVERTAKEN[happens]}" in error or OVERTAKEN[happens] in error
    assert "output of this job is discarded" in error
    assert contents(home.root / "fit/mine/power") == before
    assert not home.left_over()


def test_a_fit_whose_code_was_edited_meanwhile_puts_nothing_in_place(
    home, during, capsys, monkeypatch, tmp_path
):
    source = tmp_path / "code.py"
    source.write_text("one")
    monkeypatch.setattr(Flow, "code_files", lambda *_, **__: [source])
    monkeypatch.setattr(Flow, "code_here", lambda *_, **__: source.read_text())
    during(fit_job, lambda: source.write_text("another"))
    assert home.fit() == 2
    assert "its code has changed since it started" in capsys.readouterr().err
    during(fit_job, lambda: os.utime(source, (1, 1)))  # touched: the same code
    assert home.fit() == 0


def test_a_job_that_was_started_again_leaves_the_place_to_the_newer_one(home, during, capsys):
    folder = home.root / "fit/mine/power"

    def newer():
        assert home.fit() == 0
        newer.contents = contents(folder)

    during(fit_job, newer)
    assert home.fit() == 2
    assert "another process has started the same job since" in capsys.readouterr().err
    assert contents(folder) == newer.contents
    assert not home.left_over()


def test_a_change_of_the_study_that_does_not_matter_to_a_job_does_not_stop_it(home, during):
    def unrelated():
        home.study["summary"] = {"budgets": [1e20]}
        home.write("# a comment\n")

    during(fit_job, unrelated)
    assert home.fit() == 0


def test_a_job_that_fails_leaves_its_outputs_and_no_trace(home, during):
    before = contents(home.root / "fit/mine/power")
    during(fit_job, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        home.fit()
    assert contents(home.root / "fit/mine/power") == before
    assert not home.left_over()


def test_a_job_that_is_told_to_end_leaves_its_outputs_and_no_trace(home, during, capsys):
    before = contents(home.root / "fit/mine/power")
    during(fit_job, lambda: signal.raise_signal(signal.SIGTERM))
    assert home.fit() == 75
    assert capsys.readouterr().err == "isoloss fit: told to end (SIGTERM); run again\n"
    assert contents(home.root / "fit/mine/power") == before
    assert not home.left_over()
    assert home.fit() == 0


def test_a_stage_refuses_what_was_made_for_another_study(home, capsys):
    home.study["aggregate"]["mine"]["keep"] = ["loss < 2.5"]
    home.write()
    assert home.fit() == 2
    assert "runs.parquet: was made for another study (keep: was [], is [" in capsys.readouterr().err
    assert home.plot() == 2
    assert "was made for another study" in capsys.readouterr().err
    assert home.aggregate() == 0
    assert home.plot() == 2  # the fit is of the runs before
    assert "was made from another" in capsys.readouterr().err
    assert home.fit() == 0
    assert home.plot() == 0


def test_a_stage_refuses_what_a_job_made_that_the_study_does_not_have(home, capsys):
    runs, fit = home.study["aggregate"], home.study["fit"]["power"]
    home.study["aggregate"] = {"other": runs["mine"]}
    home.study["fit"]["power"] = {**fit, "sweep": "other"}
    home.study["plot"]["seen"]["sweep"] = "other"
    home.write()
    assert home.fit() == 2
    words = "is aggregate/mine/runs.parquet, which fit/other/power does not read"
    assert words in capsys.readouterr().err


def test_a_job_refuses_what_it_does_not_read_and_misses_what_it_does(home, capsys):
    fits = [home.root / f"fit/mine/power/{name}.parquet" for name in ("params", "scores")]
    runs = home.root / "aggregate/mine/runs.parquet"
    for given, words in (
        ([runs, *fits], "is fit/mine/power/scores.parquet, which plot/seen does not read"),
        ([runs, fits[0]], "fit/mine/power/summary.parquet is missing from its inputs"),
    ):
        assert home.call("plot", "plot/seen.png", "--figure", "seen", "--tables", *given) == 2
        assert words in capsys.readouterr().err


def test_verify_knows_the_inputs_that_a_job_has(home):
    place = home.root / "plot/seen.json"
    manifest = json.loads(place.read_text(encoding="utf-8"))
    manifest["inputs"] = {}
    place.write_text(json.dumps(manifest), encoding="utf-8")
    reasons = [one.reason for one in findings(Flow(work.read_study(home.file), home.root))]
    assert "was made without fit/mine/power/params.parquet" in reasons


def test_a_job_makes_what_snakemake_expects_of_it_or_nothing(home, capsys):
    flow = Flow(work.read_study(home.file), home.root)
    expected = flow.expectation("fit", sweep="mine", fit="power")
    runs = home.root / "aggregate/mine/runs.parquet"

    def fit(expects):
        given = ("--fit", "power", "--tables", runs, "--expects", expects)
        return home.call("fit", "fit/mine/power", *given)

    assert fit(expected) == 0
    objective_changes(home)
    assert fit(expected) == 2
    assert "is not what it was when snakemake started" in capsys.readouterr().err


def test_a_place_is_not_claimed_between_the_last_look_and_the_move(home, monkeypatch):
    """A job that looked and was stopped before it moved its files lets nobody in between."""
    place, held = home.root / "fit/mine/power", []
    real = work.RunningJob._unwanted

    def looked(job):
        with locks.locked(place / CLAIM, wait=False) as claim:
            held.append(claim is None)
        return real(job)

    monkeypatch.setattr(work.RunningJob, "_unwanted", looked)
    assert home.fit() == 0
    assert held == [True]


def test_the_results_that_a_job_belongs_to_are_those_it_writes_into(home, tmp_path):
    elsewhere = tmp_path / "mine.yaml"
    elsewhere.write_bytes(home.file.read_bytes())
    job = work.RunningJob(elsewhere, home.root / "fit/mine/power", "fit", {"fit": "power"})
    assert job.flow.root == home.root
    job = work.RunningJob(elsewhere, tmp_path / "out", "fit", {"fit": "power"})
    assert job.flow.root == tmp_path


def test_a_table_without_a_manifest_may_be_any(home):
    (home.root / "aggregate/mine/manifest.json").unlink()
    home.study["aggregate"]["mine"]["keep"] = ["loss < 2.5"]
    home.write()
    assert home.fit() == 0


@pytest.fixture
def trained(tmp_path) -> Home:
    """A study of two short runs, up to its shard."""
    library = tmp_path / "library"
    library.mkdir()
    for name in ("bisect", "queue", "sched", "fnmatch"):
        file = Path(sysconfig.get_path("stdlib")) / f"{name}.py"
        (library / file.name).write_bytes(file.read_bytes())
    sweep = {
        "dataset": "few",
        "model": "transformer",
        "shards": 1,
        "valid_tokens": 256,
        "settings": {"n_layers": 1, "context": 16, "n_samples": 640},
        "cells": [{"d_model": [4, 6]}],
    }
    few = {"card": "python_stdlib", "options": {"root": str(library)}, "valid_fraction": 0.4}
    home = Home(tmp_path, {"study": "two", "load": {"few": few}, "train": {"two": sweep}})
    rows = home.root / "load/few/rows.parquet"
    natural = home.root / "expand/few/natural"
    assert home.call("load", "load/few", "--dataset", "few") == 0
    given = ("--weighting", "natural", "--rows", rows)
    assert home.call("expand", "expand/few/natural", *given) == 0
    assert home.call("plan", "plan/two", "--sweep", "two") == 0
    dataset = ("--rows", rows, "--tokens", rows.with_name("tokens.npy"))
    shard = ("--sweep", "two", "--shard", "0", *dataset, "--index", natural / "index.parquet")
    home.train = lambda: home.call("train", "train/two/0.parquet", *shard, "--store", home.store)
    plan = ("--plan", home.root / "plan/two/runs.parquet", "--audits", natural / "audit.parquet")
    gather = ("--sweep", "two", *plan, "--shards", home.root / "train/two/0.parquet")
    home.gather = lambda: home.call("aggregate", "aggregate/two", *gather)
    home.store = home.root / "store"
    assert home.train() == 0
    return home


def measured_otherwise(home):
    home.study["train"]["two"]["valid_tokens"] = 512
    home.write()


def test_a_shard_that_was_overtaken_keeps_its_runs_and_puts_no_table_in_place(
    trained, during, capsys
):
    before = contents(trained.root / "train/two")
    trained.study["seed"] = 1
    trained.write()
    for stage, out, *given in (
        ("load", "load/few", "--dataset", "few"),
        (
            *("expand", "expand/few/natural", "--weighting", "natural"),
            *("--rows", trained.root / "load/few/rows.parquet"),
        ),
    ):
        assert trained.call(stage, out, *given) == 0
    during(train_job, lambda: measured_otherwise(trained))
    assert trained.train() == 2
    words = "train/two/0: the study has changed since it started (valid_tokens: was 256, is 512)"
    assert words in capsys.readouterr().err
    assert contents(trained.root / "train/two") == before
    assert len(Store(trained.store).kept()) == 4


def test_runs_are_not_gathered_from_a_shard_of_another_study(trained, capsys):
    measured_otherwise(trained)
    assert trained.gather() == 2
    words = "0.parquet: was made for another study (valid_tokens: was 256, is 512)"
    assert words in capsys.readouterr().err
    assert not (trained.root / "aggregate/two/runs.parquet").exists()
    assert trained.train() == 0
    assert trained.gather() == 0


def test_retries_owed_to_a_shard_do_not_outdate_it(trained):
    # a run that failed makes its shard due at the next start, and is gathered as failed until then
    store = Store(trained.store)
    store.note("retry", store.kept()[0], tables.frame(store.path(store.kept()[0]))["run_id"].item())
    assert trained.gather() == 0


def test_where_no_run_finished_the_reason_is_told_at_the_end_of_training(trained, capsys):
    trained.study["train"]["two"]["settings"]["peak_learning_rate"] = 1e9
    trained.write()
    assert trained.train() == 0
    assert trained.call("plan", "plan/two", "--sweep", "two") == 0
    assert trained.gather() == 2
    error = capsys.readouterr().err
    assert "sweep two: none of its 2 runs finished (2 diverged); the first, natural-D640" in error
    assert "guessing has" in error or "not finite" in error
    assert "isoloss status" in error and "the same ones diverge again" in error


@pytest.mark.parametrize(
    ("place", "package"),
    [("fit/mine/power/manifest.json", "scipy"), ("plot/seen.json", "matplotlib")],
)
def test_a_result_of_other_versions_is_named_at_the_start_and_by_verify(home, place, package):
    config = work.read_study(home.file)
    assert Flow(config, home.root).other_versions() == []
    manifest = json.loads((home.root / place).read_text(encoding="utf-8"))
    here, manifest["versions"][package] = manifest["versions"][package], "9.9"
    (home.root / place).write_text(json.dumps(manifest), encoding="utf-8")
    flow = Flow(config, home.root)
    label = place.removesuffix("/manifest.json").removesuffix(".json")
    assert flow.other_versions() == [f"{label}: made with {package} 9.9 (here {here})"]
    (finding,) = [one for one in findings(flow) if one.file == "versions"]
    assert not finding.wrong and "9.9" in finding.reason


def test_under_a_strict_environment_other_versions_make_a_fit_due(home, monkeypatch):
    strict = Flow({**work.read_study(home.file), "strict_environment": True}, home.root)
    names = {"sweep": "mine", "fit": "power"}
    before = strict.specification("fit", **names)
    here = environment.versions()
    monkeypatch.setattr(environment, "versions", lambda: {**here, "scipy": "9.9"})
    assert strict.specification("fit", **names) != before
    lax = Flow(work.read_study(home.file), home.root)
    assert "scipy" not in lax.specification("fit", **names)


def test_the_start_of_a_job_names_what_the_study_does_not_have(home, capsys):
    assert home.call("fit", "fit/x", "--fit", "powr", "--tables", "runs.parquet") == 2
    assert "'powr' is not in it" in (error := capsys.readouterr().err)
    assert "did you mean 'power'?" in error
    with pytest.raises(work.StudyError, match="did you mean 'mine'"):
        work.RunningJob(home.file, home.root / "x", "aggregate", {"sweep": "mines"})
