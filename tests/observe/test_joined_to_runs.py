"""Columns that observations give runs: what a study says of them, and the runs with them."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from running import tiny

from isoloss.aggregate.observed import with_observed
from isoloss.core import registry, tables
from isoloss.core.joined import columns_of
from isoloss.core.problems import StudyError, TableError
from isoloss.study import check, flow

OBSERVE = {"paths": {"card": "structural_entropy", "sweep": "grid"}}
FIT = {"card": "growth", "sweep": "grid", "options": {"variable": "N"}, "response": "h_tse"}
CARDS = [name for name in registry.names("observable") if columns_of(name)]


@pytest.fixture
def config(tmp_path):
    """The tiny study with structural entropies, and a law of them."""
    (tmp_path / "a.py").write_text("x = 1\n")
    study = tiny(tmp_path) | {"observe": copy.deepcopy(OBSERVE), "plot": {}}
    return study | {"fit": {"entropy": dict(FIT)}}


@pytest.mark.parametrize("name", CARDS)
def test_columns_of_a_card_are_in_its_tables_and_outcomes_of_runs(name):
    facts = registry.facts("observable", name)
    for column, about in columns_of(name).items():
        assert about["table"] in ("observations", *facts.get("TABLES", ()))
        table = tables.schema(about["table"]).names
        assert {about["column"], *about.get("rows", {})} <= set(table)
        assert about.get("status", column) in columns_of(name)
        assert about["about"] and tables.role("runs", column) == "outcome"


def test_the_job_that_gathers_the_runs_reads_what_is_joined(config):
    whole = flow.Flow(check.check(config), "results/tiny")
    job = whole.job("aggregate", sweep="grid")
    observed = [f"observe/paths/grid/{shard}.parquet" for shard in "01"]
    assert set(observed) < set(whole.inputs(job))
    columns = flow.STAGES["aggregate"].settings(whole, sweep="grid")["observed"]["paths"]
    assert set(columns) == {"h_tse", "h_sie"} and "about" not in columns["h_tse"]


def test_an_observation_that_is_not_joined_leaves_that_job_as_it_is(config):
    del config["fit"]
    config["observe"]["paths"]["join"] = False
    bare = {key: value for key, value in config.items() if key != "observe"}
    with_, without = (flow.Flow(check.check(c), "results/tiny") for c in (config, bare))
    names = {"sweep": "grid"}
    same = with_.specification("aggregate", **names), with_.inputs(with_.job("aggregate", **names))
    assert same == (
        without.specification("aggregate", **names),
        without.inputs(without.job("aggregate", **names)),
    )


CHANGES = {
    "fit.entropy.response: no column 'h_tes'; did you mean 'h_tse'": {"response": "h_tes"},
    "fit.entropy.response: the column 'weighting' does not hold numbers": {"response": "weighting"},
    "fit.entropy.response: the column 'model' does not hold numbers": {
        "response": "model",
        "where": "h_tse > 3",
    },
    "fit.entropy.response: found 'h_tse'; the law envelope is one of": {"card": "envelope"},
    "fit.entropy.response: the loss is fitted where no other": {"response": "loss"},
    "fit.entropy.response: points along runs have a loss": {"points": "curves"},
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_fit_of_what_cannot_be_fitted_is_told_before_anything_runs(config, message):
    config["fit"]["entropy"] |= CHANGES[message]
    if "card" in CHANGES[message]:
        del config["fit"]["entropy"]["options"]
    with pytest.raises(StudyError) as told:
        check.check(config)
    assert message in str(told.value) and len(told.value.problems) == 1


def test_without_the_observation_there_is_nothing_to_fit(config):
    del config["observe"]
    with pytest.raises(StudyError, match=r"fit\.entropy\.response: no column 'h_tse'"):
        check.check(config)


@pytest.mark.parametrize("mistake", [{"options": {"no_such": 1}}, {"sweep": []}, {"card": "none"}])
def test_a_mistake_in_an_observation_is_told_alone(config, mistake):
    config["observe"]["paths"] |= mistake
    with pytest.raises(StudyError) as told:
        check.check(config)
    places = {problem.place.split(".")[0] for problem in told.value.problems}
    assert places == ({"observe"} if "options" in mistake else {"observe", "fit"})


def test_two_observations_give_no_run_the_same_column(config):
    config["observe"]["again"] = {"card": "structural_entropy", "sweep": "grid"}
    with pytest.raises(StudyError, match="'paths' gives the runs of 'grid' 'h_tse' too"):
        check.check(config)
    config["observe"]["again"]["join"] = False
    assert check.check(config)["observe"]["again"]["join"] is False


@pytest.mark.parametrize(
    ("card", "fits", "message"),
    [
        ("isoloss", ["entropy"], "about the loss, and 'entropy' is fitted to 'h_tse'"),
        ("learning_curves", ["entropy"], "shows loss, and 'entropy' is fitted to h_tse"),
        ("llc_scaling", ["entropy"], "shows llc_mean, and 'entropy' is fitted to h_tse"),
        ("predicted_observed", ["of_loss", "entropy"], "2 quantities: loss, h_tse"),
    ],
)
def test_a_figure_shows_no_fit_of_another_quantity_than_its_own(config, card, fits, message):
    config["fit"]["of_loss"] = {"card": "power_law", "sweep": "grid", "options": {"variable": "N"}}
    config["plot"] = {"shown": {"card": card, "sweep": "grid", "fits": fits}}
    with pytest.raises(StudyError) as told:
        check.check(config)
    assert message in str(told.value)


def test_a_filter_of_what_is_observed_is_left_to_the_observation(config):
    config["fit"]["entropy"]["where"] = "h_tse > 3 and h_sie < 2"
    assert check.check(config)["fit"]["entropy"]["response"] == "h_tse"


def observations(folder, values: dict[str, float]):
    """A table of one quantity in two parts, in a file."""
    rows = [
        {"run_id": run, "observable": "card", "quantity": "q", "part": part, "value": value + more}
        for run, value in values.items()
        for part, more in (("all", 0.0), ("sample", 0.5))
    ]
    tables.write("observations", pd.DataFrame(rows), folder, {"observation": "seen"})
    return folder


COLUMN = {"table": "observations", "column": "value", "rows": {"part": "all"}}


def test_runs_have_their_own_values_in_any_order_and_none_where_they_were_not_observed(tmp_path):
    runs = pd.DataFrame({"run_id": ["a", "b", "c"]})
    files = [
        observations(tmp_path / "1.parquet", {"c": 3.0}),
        observations(tmp_path / "2.parquet", {"a": 1.0, "c": 3.0}),  # chosen in two rounds
    ]
    joined = with_observed(runs, {"seen": {"q_all": COLUMN}}, files)
    np.testing.assert_array_equal(joined["q_all"], [1.0, np.nan, 3.0])
    both = {"seen": {"q_all": {**COLUMN, "rows": {}}}}
    with pytest.raises(TableError, match="observation seen, table observations: has several rows"):
        with_observed(runs, both, files)


def test_a_table_that_is_not_given_is_named(tmp_path):
    runs, columns = pd.DataFrame({"run_id": ["a"]}), {"q": COLUMN}
    files = [observations(tmp_path / "1.parquet", {"a": 1.0})]
    with pytest.raises(TableError, match="observation more, table observations: is not given"):
        with_observed(runs, {"seen": columns, "more": columns}, files)
