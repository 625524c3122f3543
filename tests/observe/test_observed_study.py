"""What can be wrong with the observations of a study, and what they change in it."""

import copy

import pandas as pd
import pytest
from running import tiny

from isoloss.core import tables
from isoloss.core.problems import StudyError
from isoloss.plot.draw import inputs
from isoloss.records import provenance
from isoloss.study import check, flow
from isoloss.train.settings import cards_of

RUN_CARDS = cards_of({"model": "transformer", "trainer": "builtin"})
OBSERVE = {"norms": {"card": "weight_norms", "sweep": "grid"}}
FIGURE = {"card": "observations", "sweep": "grid", "observation": "norms"}


@pytest.fixture
def config(tmp_path):
    """The tiny study with an observation and a figure of it."""
    (tmp_path / "a.py").write_text("x = 1\n")
    return tiny(tmp_path) | {"observe": copy.deepcopy(OBSERVE), "plot": {"norms": dict(FIGURE)}}


def test_a_study_with_observations_is_complete_and_names_their_jobs(config):
    checked = check.check(config)
    assert checked["observe"]["norms"]["options"] == {"parts": "matrices"}
    whole = flow.Flow(checked, "results/tiny")
    jobs = [job for job in whole.jobs if job.stage == "observe"]
    assert [job.out for job in jobs] == [f"observe/norms/grid/{shard}.parquet" for shard in "01"]
    assert whole.inputs(jobs[0]) == ["train/grid/0.parquet"]
    assert set(whole.targets("observe")) < set(whole.targets())
    figure = whole.job("plot", figure="norms")
    assert [job.out for job in jobs] == whole.inputs(figure)[1:]


def test_without_observations_a_study_has_no_such_job(config):
    del config["observe"], config["plot"]
    whole = flow.Flow(check.check(config), "results/tiny")
    assert "observe" not in {job.stage for job in whole.jobs}


def test_observing_changes_nothing_of_what_makes_the_runs(config):
    plain = {key: value for key, value in config.items() if key not in ("observe", "plot")}
    with_, without = (flow.Flow(check.check(c), "results/tiny") for c in (config, plain))
    for job in without.jobs:
        if job.stage in ("plan", "train", "aggregate"):
            assert with_.specification(job.stage, **job.names) == without.specification(
                job.stage, **job.names
            )
            assert with_.code(job.stage, **job.names) == without.code(job.stage, **job.names)
    modules = provenance.run_code(RUN_CARDS)
    assert not [m for m in modules if "observ" in m or m == "isoloss.records.weights"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["observe"]["norms"].update(card="weight_norm"), "did you mean 'weight_norms'"),
        (lambda c: c["observe"]["norms"].update(sweep="gird"), "'gird' is not in train"),
        (lambda c: c["observe"]["norms"].update(options={"part": 1}), "did you mean 'parts'"),
        (lambda c: c["observe"]["norms"].update(options={"parts": "rows"}), 'found "rows"'),
        (lambda c: c["train"]["grid"].update(keep_weights=False), "does not keep the weights"),
        (lambda c: c["plot"]["norms"].pop("observation"), "name one of `observe`"),
        (lambda c: c["plot"]["norms"].update(observation="norm"), "did you mean 'norms'"),
        (lambda c: c["plot"]["norms"].update(sweep="short"), "measures 'grid', not 'short'"),
        (
            lambda c: c["plot"]["norms"].update(card="learning_curves"),
            "the card 'learning_curves' shows no observation",
        ),
        (
            lambda c: c["plot"]["norms"].update(card="llc_scaling"),
            "the figure shows llc, which the observable 'weight_norms' does not write",
        ),
    ],
)
def test_what_is_wrong_with_an_observation_is_said_before_anything_runs(config, change, words):
    change(config)
    with pytest.raises(StudyError, match=words):
        check.check(config)


def test_a_table_that_is_in_several_files_is_drawn_whole(tmp_path):
    rows = pd.DataFrame(
        {
            "run_id": ["a", "b"],
            "observable": "weight_norms",
            "quantity": "frobenius_norm",
            "part": "tokens",
            "value": [1.0, 2.0],
        }
    )
    files = [tmp_path / f"{i}.parquet" for i in range(2)]
    for i, file in enumerate(files):
        tables.write("observations", rows.iloc[[i]], file, {})
    assert inputs(files).tables["observations"]["value"].tolist() == [1.0, 2.0]
