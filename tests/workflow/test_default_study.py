"""The matrix on the default study, by dry run, on the results that `make` left."""

from collections import Counter

import project as changes
import pytest
import yaml
from project import Project
from running import ROOT

pytestmark = pytest.mark.default_study
RESULTS = {"gather_sweep": 1, "fit_law": 2, "plot_figure": 5, "write_summary": 1}


@pytest.fixture
def project(tmp_path):
    """A copy of the project and of the default study's results."""
    if not (ROOT / "results/default/summary.md").is_file():
        pytest.fail("no results of the default study: run `make` first")
    study = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    return Project(tmp_path, ROOT, study, "isoflop", budget=2.2e10)


def test_a_change_of_no_consequence_makes_nothing_due(project):
    quiet = (changes.nothing, changes.touched, changes.reordered, changes.commented, changes.cloned)
    for change in quiet:
        change(project)
        assert project.due() == {}, change.__doc__


SHOWN = {"fit_law": 1, "plot_figure": 1, "write_summary": 1}
CASES = [
    (changes.styled, {"plot_figure": 1}),
    (changes.reset, {"plot_figure": 1}),
    (changes.drawn_otherwise, {"plot_figure": 5}),
    (changes.refitted, SHOWN),
    (changes.recarded, {**SHOWN, "plot_figure": 3}),
    (changes.one_more_law, SHOWN),
    (changes.retrained, {"plan_sweep": 1, "train_shard": 8, **RESULTS}),
    (changes.optimised_otherwise, {"plan_sweep": 1, "train_shard": 8, **RESULTS}),
]


@pytest.mark.parametrize(("change", "jobs"), CASES, ids=[c.__name__ for c, _ in CASES])
def test_a_change_makes_exactly_these_jobs_due(project, change, jobs):
    change(project)
    assert project.due() == jobs


MORE = [changes.one_more_size, changes.one_more_seed, changes.one_more_mixture]


@pytest.mark.parametrize("change", MORE, ids=lambda change: change.__name__)
def test_one_more_run_makes_its_shard_due(project, change):
    were = project.planned()
    change(project)
    assert len(set(project.planned()) - set(were)) == 1
    expanded = {"expand_rows": 1} if change is changes.one_more_mixture else {}
    assert project.due() == {"plan_sweep": 1, "train_shard": 1, **expanded, **RESULTS}


def test_a_weighting_makes_the_shards_due_that_use_it(project):
    of_it = {shard for run, shard in project.planned().items() if run.startswith("docstring_x2-")}
    changes.reweighted(project)
    assert project.due() == {"expand_rows": 1, "train_shard": len(of_it), **RESULTS}


def test_loading_decides_about_what_hangs_below_when_the_rows_are_there(project):
    changes.loaded_otherwise(project)
    due = Counter(project.due())
    assert due["load_rows"] == 1
    assert not due["train_shard"] and not due["plan_sweep"]
