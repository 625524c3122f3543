"""Only what changed is computed again, and no finished run is trained twice: the matrix."""

import shutil
from pathlib import Path

import project as changes
import pytest
import yaml
from project import Project

FIGURES = {"learning_curves", "isoflop_profiles", "isoloss", "predicted_observed"}
FIGURES |= {"weighting_effects"}
LOADED = {"load few: rows"}
EXPANDED = {f"expand few: weighting {name}" for name in ("natural", "docstring_x2")}
PLANNED = {f"plan {sweep}: spell the runs out" for sweep in ("grid", "short")}
TRAINED = {f"train {sweep}: shard {name}" for sweep in ("grid", "short") for name in "01"}
SUMMARY = {"summary: what was found"}


def drawn(*figures):
    return {f"plot {name}" for name in figures}


def fitted(law, sweep="grid"):
    return {f"fit {law} to {sweep}"}


BELOW_SHORT = {"aggregate short: gather its runs", *fitted("in_n", "short")} | SUMMARY
# the same of `small_project`
BELOW_TRAINING = {"aggregate grid: gather its runs", *fitted("power_law")}
BELOW_TRAINING |= drawn("learning_curves") | SUMMARY
BELOW_BOTH = BELOW_TRAINING | BELOW_SHORT


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the project and of the tiny study's results, and of its small library."""
    folder, config, _ = finished
    study = yaml.safe_load(Path(config).read_text())
    # beside the results, so that the study says where it is in the same words
    return Project(tmp_path, folder, study, "grid")


@pytest.fixture
def small_project(project):
    """The project with one fit of the sweep and one figure, for changes that train runs."""
    del project.study["fit"]["chinchilla"]
    project.study["plot"] = {"learning_curves": project.study["plot"]["learning_curves"]}
    return project


@pytest.fixture
def own_library(small_project, tmp_path):
    """The project with its own library that can be edited, and results made from it."""
    source = tmp_path / "library"
    shutil.copytree(small_project.study["load"]["few"]["options"]["root"], source)
    small_project.study["load"]["few"]["options"]["root"] = str(source)
    small_project.source = source
    small_project.call()
    return small_project


def shards(names):
    return {f"train grid: shard {name}" for name in names}


def test_a_change_of_no_consequence_runs_no_job(project):
    # without Snakemake's records, as in the clone, only times count: so both are looked at
    for several in ((changes.touched, changes.reordered, changes.commented), (changes.cloned,)):
        for change in several:
            change(project)
        assert project.due() == {}, [change.__doc__ for change in several]


CHEAP = [
    (changes.nothing, set()),
    (changes.styled, drawn("isoloss")),
    (changes.reset, drawn("isoloss")),
    (changes.refitted, fitted("power_law") | drawn("predicted_observed") | SUMMARY),
    (
        changes.recarded,
        fitted("chinchilla") | drawn(*FIGURES - {"learning_curves", "weighting_effects"}) | SUMMARY,
    ),
    (changes.one_more_law, fitted("in_d") | drawn("predicted_observed") | SUMMARY),
    (changes.drawn_otherwise, drawn(*FIGURES)),
    (changes.loaded_otherwise, LOADED),
]


def test_a_change_runs_exactly_these_jobs_and_trains_nothing(project):
    before = project.starts()
    # one after the other: what a change leaves to do would be among the jobs of the next
    for change, jobs in CHEAP:
        change(project)
        assert project.made() == jobs, change.__doc__
    assert project.starts() == before
    assert project.due() == {}


def test_one_more_run_is_trained_and_no_other(small_project):
    for change in (changes.one_more_size, changes.one_more_seed, changes.one_more_mixture):
        before, were = small_project.starts(), small_project.planned()
        change(small_project)
        new = {run: shard for run, shard in small_project.planned().items() if run not in were}
        jobs = {"plan grid: spell the runs out"} | shards(new.values()) | BELOW_TRAINING
        if change is changes.one_more_mixture:
            jobs |= {"expand few: weighting no_comments"}
        assert small_project.made() == jobs, change.__doc__
        assert len(new) == 1
        assert small_project.starts()[len(before) :] == list(new)
    assert small_project.due() == {}


def test_a_training_setting_trains_its_sweep_and_no_other(small_project):
    before = small_project.starts()
    changes.retrained(small_project)
    assert small_project.made() == {"plan grid: spell the runs out"} | shards("01") | BELOW_TRAINING
    assert sorted(small_project.starts()[len(before) :]) == sorted(small_project.planned())


def test_a_weighting_trains_the_runs_that_use_it(small_project):
    before = small_project.starts()
    of_it = {r: s for r, s in small_project.planned().items() if r.startswith("docstring_x2-")}
    changes.reweighted(small_project)
    jobs = {"expand few: weighting docstring_x2"} | shards(of_it.values()) | BELOW_TRAINING
    assert small_project.made() == jobs
    assert sorted(small_project.starts()[len(before) :]) == sorted(of_it)


def test_a_dataset_trains_nothing_until_its_rows_change_and_then_everything(own_library):
    before = own_library.starts()
    changes.same_rows(own_library)
    assert own_library.made() == LOADED
    assert own_library.starts() == before
    assert own_library.due() == {}
    changes.other_rows(own_library)
    assert own_library.made() == LOADED | EXPANDED | TRAINED | BELOW_BOTH
    assert len(own_library.starts()) == len(before) + 20


def test_code_that_makes_numbers_trains_everything_and_makes_what_hangs_below(small_project):
    before = small_project.starts()
    changes.optimised_otherwise(small_project)
    # a trainer's card says which steps a run takes as well, so the plans are made again, the same
    assert small_project.made() == PLANNED | TRAINED | BELOW_BOTH
    assert sorted(small_project.starts()[len(before) :]) == sorted(before)


def test_code_that_writes_files_trains_nothing(project):
    before = project.starts()
    changes.written_otherwise(project)
    assert project.made("runs") >= TRAINED
    assert project.starts() == before


def test_lost_tables_are_gathered_from_the_store_and_the_same(project):
    runs = project.results / "aggregate/grid/runs.parquet"
    before, was = project.starts(), runs.read_bytes()
    shutil.rmtree(project.results / "train")
    shutil.rmtree(project.results / "aggregate")
    project.call("runs")
    assert project.starts() == before
    assert runs.read_bytes() == was
