"""Rounds of a sweep in a study: how they are spelled out, and what is wrong with them."""

import copy

import pytest

from isoloss.core import rounds, schema
from isoloss.core.problems import StudyError
from isoloss.study import check

LADDER = {
    "dataset": "words",
    "model": "transformer",
    "settings": {"context": 16, "n_layers": 1},
    "cells": [{"d_model": [4, 6, 8], "n_samples": [2048, 4096, 8192]}],
    "rounds": {"count": 2, "fit": "law", "planner": "scale_up"},
}
TRUTH = {"E": 1.7, "A": 40.0, "B": 60.0, "alpha": 0.4, "beta": 0.4}


@pytest.fixture
def study() -> dict:
    """A sweep of nine seeding runs and two rounds, with a fit and a figure of it."""
    config = {
        "study": "adaptive",
        "load": {"words": {"card": "markov_chain"}},
        "train": {"ladder": LADDER},
        "fit": {"law": {"card": "chinchilla", "sweep": "ladder"}},
        "plot": {"map": {"card": "isoloss", "sweep": "ladder", "fits": ["law"]}},
    }
    return copy.deepcopy(config)


def told(config: dict) -> list[str]:
    """The problems of a study, as text."""
    with pytest.raises(StudyError) as error:
        check.check(config)
    return [str(problem) for problem in error.value.problems]


def test_a_sweep_with_rounds_stands_for_a_sweep_a_round(study):
    config = check.check(study)
    train = config["train"]
    assert list(train) == ["ladder_0", "ladder_1", "ladder_2"]
    assert train["ladder_0"]["cells"] == LADDER["cells"]
    assert train["ladder_2"]["cells"] == []
    assert train["ladder_2"]["round"] == {
        "number": 2,
        "before": "ladder_1",
        "fit": "law",
        "planner": "scale_up",
        "options": {"factor": 2.0, "runs": 1},
    }
    assert [train[name]["shards"] for name in train] == [8, 2, 2]
    assert config["fit"]["law"]["sweep"] == config["plot"]["map"]["sweep"] == "ladder_2"
    assert rounds.so_far(config, "ladder_2") == list(train)


def test_simulations_and_observations_of_a_sweep_with_rounds_are_of_its_last(study):
    study["observe"] = {"norms": {"card": "weight_norms", "sweep": "ladder"}}
    study["simulate"] = {
        "again": {
            "truth": {"card": "chinchilla", "values": TRUTH},
            "plan": {"kind": "runs", "sweep": "ladder"},
            "estimators": {"same": {"card": "chinchilla"}},
        }
    }
    config = check.check(study)
    assert config["observe"]["norms"]["sweep"] == "ladder_2"
    assert config["simulate"]["again"]["plan"]["sweep"] == "ladder_2"


def test_a_round_that_is_written_out_follows_a_sweep_of_the_study(study):
    config, _ = schema.complete(study)
    config["train"]["ladder_1"]["round"]["before"] = "lader_0"
    _, (problem,) = schema.complete(config)
    assert str(problem) == (
        "train.ladder_1.round.before: 'lader_0' is not in train; did you mean 'ladder_0'?"
    )


def test_what_is_spelled_out_is_a_study_that_stays_as_it_is(study):
    config = check.check(study)
    again, problems = schema.complete(copy.deepcopy(config))
    assert (again, problems) == (config, [])


def test_one_more_round_leaves_the_sweeps_before_as_they_are(study):
    fewer = check.check(copy.deepcopy(study))["train"]
    study["train"]["ladder"]["rounds"]["count"] = 3
    more = check.check(study)["train"]
    assert {name: more[name] for name in fewer} == fewer
    assert list(more)[3:] == ["ladder_3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "train.ladder.rounds.count: found 0; needs at least 1"),
        ({"count": 51}, "train.ladder.rounds.count: found 51; needs at most 50"),
        ({"fit": "lau"}, "train.ladder.rounds.fit: 'lau' is not in fit; did you mean 'law'?"),
        (
            {"planner": "scale_out"},
            "train.ladder.rounds.planner: no planner card is called 'scale_out'; "
            "did you mean 'scale_up'?",
        ),
        (
            {"options": {"factr": 2}},
            "train.ladder.rounds.options.factr: unknown key; did you mean 'factor'?",
        ),
        (
            {"budget": "1e6"},
            "train.ladder.rounds.budget: 1e6 FLOP, and the 9 seeding runs take 1.2e8; "
            "raise it, or cut the cells",
        ),
        (
            {"until": 1.5},
            "train.ladder.rounds.until: the budget for which N is to be known so well is missing; "
            "give `target` too",
        ),
    ],
)
def test_what_is_wrong_with_rounds_is_told_once_and_as_it_is_written(study, change, message):
    study["train"]["ladder"]["rounds"] |= change
    assert told(study) == [message]


def test_a_figure_of_rounds_repeats_no_fault_of_theirs(study):
    study["plot"] = {"story": {"card": "rounds", "sweep": "ladder", "fits": ["law"]}}
    for change in ({"count": 0}, {"fit": "lau"}):
        faulty = copy.deepcopy(study)
        faulty["train"]["ladder"]["rounds"] |= change
        assert [line.split(":")[0] for line in told(faulty)] == [
            f"train.ladder.rounds.{key}" for key in change
        ]


def test_a_fit_of_another_sweep_decides_nothing(study):
    study["train"]["other"] = {key: value for key, value in LADDER.items() if key != "rounds"}
    study["fit"]["law"]["sweep"] = "other"
    del study["plot"]
    assert told(study) == [
        "train.ladder.rounds.fit: 'law' is fitted to 'other', not to the runs of 'ladder'; "
        "name a fit of the sweep ladder"
    ]


def test_a_law_that_does_not_divide_a_budget_decides_nothing(study):
    study["fit"]["law"]["card"] = "log_linear"
    del study["plot"]
    (message,) = told(study)
    assert "'log_linear', does not divide a budget between N and D; name a fit of chin" in message


def test_a_fit_of_another_quantity_than_the_loss_decides_nothing(study):
    study["observe"] = {"llc": {"card": "llc", "sweep": "ladder"}}
    study["fit"]["law"]["response"] = "llc_mean"
    del study["plot"]
    (message,) = told(study)
    assert "rounds.fit: 'law' is fitted to 'llc_mean', and rounds lower the loss" in message


def test_a_planner_that_cannot_choose_by_the_law_is_told_before_anything_runs(study):
    study["fit"]["law"]["card"] = "envelope"
    study["train"]["ladder"]["rounds"] |= {"planner": "least_variance", "options": {}}
    (message,) = told(study)
    place = "train.ladder.rounds.fit: planner least_variance: "
    assert message.startswith(f"{place}it cannot choose by 'envelope', a law of kind frontier")


def test_a_planner_that_weighs_replicates_needs_them_before_anything_runs(study):
    study["fit"]["law"]["bootstrap"] = 0
    study["train"]["ladder"]["rounds"] |= {"planner": "disagreement", "options": {}}
    assert told(study) == [
        "train.ladder.rounds.fit: the planner disagreement weighs replicates, and 'law' has none; "
        "give the fit a `bootstrap` above 0 and an `interval`"
    ]


def test_names_of_rounds_collide_with_other_names(study):
    study["train"]["ladder_2"] = {key: value for key, value in LADDER.items() if key != "rounds"}
    assert told(study) == [
        "train.ladder: with its rounds it has a sweep 'ladder_2', and train has one too; "
        "rename one of them"
    ]


def test_settings_that_leave_nothing_to_choose_are_told_before_anything_runs(study):
    ladder = study["train"]["ladder"]
    ladder["settings"]["d_model"] = ladder["cells"][0].pop("d_model")[0]
    messages = told(study)
    assert (
        "train.ladder.settings: a round chooses N and D of a run, and then: N follows from "
        "d_model, and a target N is given too; what settles N or D goes into the cells"
    ) in messages


def test_what_only_the_cells_give_is_not_left_to_a_default(study):
    cells = study["train"]["ladder"]["cells"]
    cells[0] |= {"peak_learning_rate": 0.01, "seed": [0, 1]}
    assert told(study) == [
        "train.ladder.cells: the runs of rounds would not have 'peak_learning_rate', which only "
        "the cells give; put the value for these runs into `settings`"
    ]
    study["train"]["ladder"]["settings"]["peak_learning_rate"] = 0.02
    assert check.check(study)["train"]["ladder_1"]["settings"]["peak_learning_rate"] == 0.02


def test_null_is_no_limit(study):
    unlimited = copy.deepcopy(study)
    unlimited["train"]["ladder"]["rounds"] |= dict.fromkeys(("budget", "target", "until"))
    assert check.check(unlimited) == check.check(study)


def test_problems_of_cells_and_settings_are_told_at_the_sweep_as_it_is_written(study):
    study["train"]["ladder"]["settings"]["contxt"] = 3
    assert told(study) == [
        "train.ladder.settings.contxt: unknown key; did you mean 'context'?",
    ]


def test_only_a_round_can_be_without_cells(study):
    study["train"]["ladder"]["cells"] = []
    assert "train.ladder.cells: found []; needs at least one entry" in told(study)


def test_rounds_of_a_program_need_one_that_is_told_n_and_d(study):
    study["train"]["ladder"] = {
        "trainer": "command",
        "command": {
            "run": "train --n {n_params} --steps {steps}",
            "results": "out.json",
            "loss": "loss",
        },
        "cells": [{"n_params": [1000, 2000], "n_samples": [4000, 8000], "steps": 3}],
        "rounds": LADDER["rounds"],
    }
    del study["plot"]
    messages = told(study)
    assert (
        "train.ladder.command.run: a round chooses n_samples, and it is not told; write {n_samples}"
    ) in messages
