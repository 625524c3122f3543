"""A study: defaults, and every problem named with its place, all of them at once."""

from __future__ import annotations

import copy
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from isoloss.__main__ import main
from isoloss.aggregate.stage import Aggregate
from isoloss.core import registry, schema
from isoloss.core.problems import StudyError
from isoloss.study import check

UNSET = "ISOLOSS_TEST_VARIABLE_THAT_IS_NOT_SET"


@pytest.fixture
def own(tmp_path):
    """A table of runs, its CSV rewritten with some values replaced: (row, column, value)."""
    path = tmp_path / "own.csv"

    def write(*changes) -> str:
        d = np.geomspace(1e8, 1e10, 12)
        table = pd.DataFrame({"size": 1e7, "tokens": d, "val_loss": 2 + 1e4 / d**0.5})
        for row, column, value in changes:
            table.loc[row, column] = value
        table.to_csv(path, index=False)
        return str(path)

    write()
    return write


@pytest.fixture
def config(own) -> dict:
    """A sound study with every section."""
    columns = {"N": "size", "D": "tokens", "loss": "val_loss"}
    cells = [{"n_flops": 1e9, "d_model": [8, 12, 16]}, {"n_flops": 2e9, "d_model": [8, 12]}]
    return {
        "study": "sound",
        "load": {"stdlib": {"card": "python_stdlib"}},
        "expand": {"natural": {}, "double": {"kind": {"docstring": 2.0}}},
        "train": {"sizes": {"dataset": "stdlib", "model": "transformer", "cells": cells}},
        "aggregate": {"own": {"table": own(), "columns": columns}},
        "fit": {
            "curve": {"card": "power_law", "sweep": "own", "options": {"variable": "D"}},
            "plane": {"card": "chinchilla", "sweep": "sizes"},
        },
        "plot": {
            "isoloss": {"card": "isoloss", "sweep": "sizes", "fits": ["plane"]},
            "curves": {"card": "learning_curves", "sweep": "sizes", "fits": ["plane"]},
        },
    }


def put(config: dict, path: str, value) -> None:
    """Set the value at a dotted path; `[i]` steps into a list."""
    *steps, last = [
        int(s[1:-1]) if s[0] == "[" else s for s in re.findall(r"\[\d+\]|[^.\[]+", path)
    ]
    for step in steps:
        config = config[step]
    config[last] = value


def problems(config: dict) -> list[str]:
    with pytest.raises(StudyError) as error:
        check.check(config)
    lines = [str(one) for one in error.value.problems]
    assert all(line in str(error.value) for line in lines)
    return lines


def test_a_sound_study_has_no_problems_and_every_default(config):
    study = check.check(config)
    assert study["seed"] == 0
    assert study["load"]["stdlib"] == {
        "card": "python_stdlib",
        "options": {"root": ""},
        "valid_fraction": 0.1,
        "on_bad_row": "stop",
        "tokenizer": "bytes",
    }
    assert study["train"]["sizes"]["shards"] == 8
    assert study["fit"]["plane"]["objective"] == "auto"
    assert study["fit"]["curve"]["options"] == {"variable": "D", "offset": True}
    assert study["plot"]["isoloss"]["options"]["reach"] == 10
    assert study["summary"] == {"budgets": [], "optima": []}


def test_a_bare_name_is_a_study_with_the_natural_weighting():
    study = check.check({"study": "bare"})
    assert study["expand"] == {"natural": {}}
    assert study["train"] == study["fit"] == study["plot"] == {}


def test_completing_a_complete_study_changes_nothing(config):
    given = copy.deepcopy(config)
    once, wrong = schema.complete(config)
    assert (schema.complete(once), wrong) == ((once, []), [])
    assert check.check(check.check(config)) == check.check(config)
    assert config == given


def test_numbers_that_yaml_reads_as_text_become_numbers(config, tmp_path):
    put(config, "train.sizes.cells[0]", {"n_flops": ["1e10", "2E9"], "d_model": ["8", 16.0]})
    put(config, "train.sizes.settings", {"peak_learning_rate": "1e-2"})
    put(config, "fit.plane.delta", "1e-4")
    put(config, "summary", {"budgets": ["5.76e+23", "1e12"]})
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(config).replace("'", ""))
    study = check.checked(file)
    assert study["train"]["sizes"]["cells"][0] == {"n_flops": [1e10, 2e9], "d_model": [8, 16]}
    assert study["train"]["sizes"]["settings"] == {"peak_learning_rate": 0.01}
    assert study["fit"]["plane"]["delta"] == 1e-4
    assert study["summary"]["budgets"] == [5.76e23, 1e12]
    assert all(isinstance(d, int) for d in study["train"]["sizes"]["cells"][0]["d_model"])


def test_a_batch_in_parts_needs_the_memory_of_a_part(config):
    config = {key: config[key] for key in ("study", "load", "expand", "train")}
    batch = {"batch_size": 1_000_000, "batch_reference": 1e9, "accumulate": 1000}
    put(config, "train.sizes.cells", [{"n_samples": 1e9, "d_model": 8}])
    put(config, "train.sizes.settings", batch)
    assert check.check(config)["train"]["sizes"]["settings"] == batch
    put(config, "train.sizes.settings.accumulate", 1)
    (line,) = problems(config)
    assert "bytes of memory" in line


def test_environment_variables_in_a_table_are_read_and_kept_as_written(
    config, monkeypatch, tmp_path
):
    monkeypatch.setenv(UNSET, str(tmp_path))
    put(config, "aggregate.own.table", f"${UNSET}/own.csv")
    assert check.check(config)["aggregate"]["own"]["table"] == f"${UNSET}/own.csv"


# What is wrong: where it is put, what, the place that is named, and what else is said.
WRONG = {
    "unknown section": ("trian", {}, "trian", "did you mean 'train'"),
    "unknown key": ("train.sizes.shard", 4, "train.sizes.shard", "did you mean 'shards'"),
    "unknown key of a fit": ("fit.plane.bootstraps", 4, "fit.plane.bootstraps", "'bootstrap'"),
    "unknown setting": (
        "train.sizes.settings",
        {"batchsize": 4},
        "train.sizes.settings.batchsize",
        "did you mean 'batch_size'",
    ),
    "unknown setting in a cell": (
        "train.sizes.cells[1].d_modl",
        8,
        "train.sizes.cells[1].d_modl",
        "did you mean 'd_model'",
    ),
    "wrong type": ("seed", "seven", "seed", '"seven"; needs an integer'),
    "text for a list": ("train.sizes.cells", "all", "train.sizes.cells", "needs an array"),
    "wrong type in a cell": (
        "train.sizes.cells[0].d_model",
        [8, "wide"],
        "train.sizes.cells[0].d_model",
        "needs an integer",
    ),
    "fraction for a count": ("fit.plane.bootstrap", 2.5, "fit.plane.bootstrap", "an integer"),
    "nothing where a section is": ("fit.plane", None, "fit.plane", "needs an object"),
    "points of a table": (
        "fit.curve.points",
        "curves",
        "fit.curve.points",
        "a table of runs has no curves",
    ),
    "domains of a law without": (
        "fit.plane.tag_key",
        "kind",
        "fit.plane.tag_key",
        "only a mixture",
    ),
    "domains by one of several tags": (
        "fit.plane.card",
        "transfer_power",
        "fit.plane.tag_key",
        "name one: kind, domain",
    ),
    "a tag that no row has": (
        "fit.plane",
        {"card": "transfer_power", "sweep": "sizes", "tag_key": "kin"},
        "fit.plane.tag_key",
        "did you mean 'kind'",
    ),
    "a best mixture of a law without": (
        "fit.plane.domain_weights",
        {"network": 1},
        "fit.plane.domain_weights",
        "only a mixture law has a best mixture",
    ),
    "weights of nothing": (
        "fit.plane",
        {"card": "transfer_power", "sweep": "sizes", "domain_weights": {"network": 0}},
        "fit.plane.domain_weights",
        "no weight is above 0",
    ),
    "a mixture law of runs without mixtures": (
        "fit.curve",
        {"card": "transfer_power", "sweep": "own"},
        "fit.curve",
        "no columns of proportions",
    ),
    "unknown column of groups": (
        "fit.plane.group",
        "d_modl",
        "fit.plane.group",
        "did you mean 'd_model'",
    ),
    "clusters that are not drawn": (
        "fit.plane",
        {"card": "chinchilla", "sweep": "sizes", "cluster": "seed", "interval": "residual"},
        "fit.plane.interval",
        "use bootstrap or profile",
    ),
    "unknown parameter that is shared": (
        "fit.curve.shared",
        ["alpah"],
        "fit.curve.shared alpah",
        "no such parameter; did you mean 'alpha'?",
    ),
    "folds of groups that share parameters": (
        "fit.curve",
        {
            **{"card": "power_law", "sweep": "own", "options": {"variable": "D"}},
            **{"shared": ["E"], "holdout": "roll_out"},
        },
        "fit.curve.shared",
        "neither profiles nor folds are made of it",
    ),
    "groups that share parameters and are one cluster": (
        "fit.curve",
        {
            **{"card": "power_law", "sweep": "own", "options": {"variable": "D"}},
            **{"shared": ["E"], "cluster": "n_params"},
        },
        "fit.curve.cluster",
        "all runs of all have one 'n_params', and groups share parameters; draw by another",
    ),
    "runs that are alone in groups that share parameters": (
        "fit.plane",
        {
            **{"card": "learning_curve", "sweep": "sizes", "points": "curves"},
            **{"group": "run_id", "shared": ["alpha"]},
        },
        "fit.plane.cluster",
        "have one 'of_run', and groups share parameters",
    ),
    "unknown cluster": ("fit.curve.cluster", "sed", "fit.curve.cluster", "did you mean 'seed'"),
    "unknown order of a roll-out": (
        "fit.plane.holdout",
        {"rule": "roll_out", "by": "d_modl"},
        "fit.plane.holdout.by",
        "did you mean 'd_model'",
    ),
    "a law without a curve": (
        "fit.plane.card",
        "data_constrained",
        "plot.curves.fits",
        "is a law in U too",
    ),
    "profiles that are not kept": (
        "plot.isoloss.card",
        "profile_curves",
        "plot.isoloss.fits",
        "set its `profiles: true`",
    ),
    "unknown card of a dataset": (
        "load.stdlib.card",
        "python_stdlb",
        "load.stdlib.card",
        "no dataset card is called 'python_stdlb'; did you mean 'python_stdlib'",
    ),
    "unknown card of a model": (
        "train.sizes.model",
        "byte_transfomer",
        "train.sizes.model",
        "did you mean 'transformer'",
    ),
    "unknown card of a law": ("fit.plane.card", "chinchila", "fit.plane.card", "'chinchilla'"),
    "unknown card of a figure": ("plot.isoloss.card", "isolos", "plot.isoloss.card", "'isoloss'"),
    "unknown option of a card": (
        "fit.curve.options",
        {"varable": "D"},
        "fit.curve.options.varable",
        "did you mean 'variable'",
    ),
    "option out of its choices": (
        "fit.curve.options",
        {"variable": "X"},
        "fit.curve.options.variable",
        "one of N, D, C",
    ),
    "negative weight": (
        "expand.double.kind.docstring",
        -0.5,
        "expand.double.kind.docstring",
        "found -0.5; needs at least 0",
    ),
    "empty sweep": ("train.sizes.cells", [], "train.sizes.cells", "at least one entry"),
    "cell with an empty list": (
        "train.sizes.cells[0].d_model",
        [],
        "train.sizes.cells[0].d_model",
        "an empty list",
    ),
    "both budgets": (
        "train.sizes.cells[1].n_samples",
        1e6,
        "train.sizes.cells[1]",
        "n_samples and n_flops: each of them gives D; give one of them",
    ),
    "neither budget": (
        "train.sizes.cells[1]",
        {"d_model": 8},
        "train.sizes.cells[1]",
        "nothing gives D: none of n_samples, n_flops, epochs, examples_per_parameter",
    ),
    "unknown dataset": (
        "train.sizes.dataset",
        "stdlb",
        "train.sizes.dataset",
        "'stdlb' is not in load; did you mean 'stdlib'",
    ),
    "unknown weighting": (
        "train.sizes.cells[0].weighting",
        ["natural", "doubel"],
        "train.sizes.cells",
        "'doubel' is not in expand; did you mean 'double'",
    ),
    "unknown sweep of a fit": ("fit.plane.sweep", "size", "fit.plane.sweep", "mean 'sizes'"),
    "unknown sweep of a figure": ("plot.curves.sweep", "size", "plot.curves.sweep", "'sizes'"),
    "unknown fit of a figure": (
        "plot.isoloss.fits",
        ["plain"],
        "plot.isoloss.fits",
        "'plain' is not in fit; did you mean 'plane'",
    ),
    "fit of another sweep": ("plot.isoloss.fits", ["curve"], "plot.isoloss.fits", "'own'"),
    "too few fits": ("plot.isoloss.fits", [], "plot.isoloss.fits", "name at least 1 of `fit`"),
    "not a number": ("seed", float("nan"), "seed", "a finite number is needed"),
    "a key that is no text": ("expand.natural", {None: {}}, "expand.natural", "put it in quotes"),
    "a budget that cannot be kept": (
        "train.sizes.cells",
        [{"n_flops": 1e3, "d_model": [8, 12, 16, 20]}, {"n_flops": 2e9, "d_model": [8, 12]}],
        "train.sizes.cells",
        "in whole steps",
    ),
    "validation below a window": (
        "train.sizes.valid_tokens",
        16,
        "train.sizes.valid_tokens",
        "do not fill a window of 64",
    ),
    "half a step": (
        "train.sizes.checkpoints",
        [0.5, 2.5],
        "train.sizes.checkpoints[1]",
        "found 2.5 steps; give a whole number",
    ),
    "a step in words": (
        "train.sizes.checkpoints",
        ["half"],
        "train.sizes.checkpoints[0]",
        "needs a number",
    ),
    "unknown optimiser": (
        "train.sizes.settings",
        {"n_flops": 2e9, "optimizer": "adamww"},
        "train.sizes.settings.optimizer",
        "adamw",
    ),
    "unknown tag": (
        "expand.double",
        {"knd": {"docstring": 2.0}},
        "expand.double.knd",
        "no row has this tag; did you mean 'kind'?",
    ),
    "dataset without sources": (
        "load.stdlib",
        {"card": "python_stdlib", "options": {"root": "/nowhere"}},
        "load.stdlib",
        "has no sources",
    ),
    "too many fits": ("plot.curves.fits", ["plane", "plane"], "plot.curves.fits", "at most 1"),
    "nothing to compare": (
        "plot.effects",
        {"card": "weighting_effects", "sweep": "sizes"},
        "plot.effects",
        "all runs have 'natural'",
    ),
    "unknown group": (
        "plot.isoloss.options",
        {"group": "zzz"},
        "plot.isoloss",
        "no run has 'zzz'",
    ),
    "law that cannot compare groups": (
        "plot.isoloss",
        {"card": "compute_gain", "sweep": "own", "fits": ["curve"]},
        "plot.isoloss.fits",
        "needs a law with a loss for every budget, and 'power_law' has none; name a fit of",
    ),
    "one group to compare": (
        "plot.isoloss",
        {"card": "compute_gain", "sweep": "sizes", "fits": ["plane"]},
        "plot.isoloss",
        "fits: all runs are one group; name a `group` in the fit",
    ),
    "law that cannot allocate": (
        "fit.plane",
        {"card": "power_law", "sweep": "sizes"},
        "plot.isoloss.fits",
        "needs a law that can allocate, and 'power_law' cannot; name a fit of chinchilla or",
    ),
    "curves of a table": (
        "plot.curves",
        {"card": "learning_curves", "sweep": "own"},
        "plot.curves.sweep",
        "the figure shows curves; a table of runs has none",
    ),
    "unset variable": (
        "aggregate.own.table",
        f"${{{UNSET}}}/own.csv",
        "aggregate.own.table",
        f"environment variable {UNSET} is not set",
    ),
    "no such table": ("aggregate.own.table", "nowhere.csv", "aggregate.own", "cannot be read"),
    "missing column": (
        "aggregate.own.columns.loss",
        "valloss",
        "aggregate.own",
        "columns.loss: no column 'valloss'; did you mean 'val_loss'",
    ),
    "one of N, D, C": (
        "aggregate.own.columns",
        {"N": "size", "loss": "val_loss"},
        "fit.curve",
        "variable D: no run has a value; name it in `columns` of the table: {D: COLUMN};"
        " columns are N, loss, tokens",
    ),
    "a table without a loss": (
        "aggregate.own.columns",
        {"N": "size", "D": "tokens"},
        "fit.curve",
        "no run has a loss; name it in `columns` of the table: {loss: COLUMN}",
    ),
    "the card of a formula without one": (
        "fit.curve",
        {"card": "formula", "sweep": "own"},
        "fit.curve.options.formula",
        "is missing; write the law, such as",
    ),
    "filter that is none": ("aggregate.own.keep", ["loss <"], "aggregate.own", "'loss <'"),
    "filter over an unknown column": (
        "aggregate.own.keep",
        ["los < 3"],
        "aggregate.own",
        "columns are",
    ),
    "filter that is not a yes-or-no value": (
        "aggregate.own.keep",
        ["loss + 1"],
        "aggregate.own",
        "'loss + 1' is not a yes-or-no value",
    ),
    "selection that is none": (
        "fit.plane.where",
        "weightin == 'natural'",
        "fit.plane.where",
        "columns are",
    ),
    "selection of nothing": ("fit.plane.where", "seed > 5", "fit.plane", "no runs"),
    "too few runs": (
        "train.sizes.cells",
        [{"n_flops": 1e9, "d_model": [8, 12, 16, 20]}],
        "fit.plane",
        "4 runs to fit (group all) for the 5 parameters",
    ),
    "too few runs left by a filter": (
        "aggregate.own.keep",
        ["index < 2"],
        "fit.curve",
        "2 runs to fit",
    ),
    "too few runs after the hold-out": (
        "fit.plane.holdout",
        "largest_compute",
        "fit.plane",
        "3 runs to fit",
    ),
    "name that is no name": ("study", "a/b", "study", "letters, digits"),
}


SECTIONS = ["study", "load", "expand", "train", "aggregate", "fit", "plot"]


def named(config: dict, section: str, name: str) -> dict:
    """The study with an entry of a section called otherwise."""
    if section == "study":
        config["study"] = name
    else:
        config[section][name] = copy.deepcopy(next(iter(config[section].values())))
    return config


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("name", ["a\n", "\n", "", "a b", "../a", "a/b", ".a", "-a", "é", "{a}"])
def test_a_name_is_letters_digits_and_three_signs(config, section, name):
    rule = "letters, digits, _ . and - only"
    assert is_told(problems(named(config, section, name)), section, rule)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_name_has_at_most_100_characters(config, section):
    assert check.check(named(copy.deepcopy(config), section, "a" * 100))
    assert is_told(problems(named(config, section, "a" * 101)), section, "at most 100 characters")


def is_told(lines: list[str], place: str, message: str) -> bool:
    return any(re.split(r"[:,] ", line)[0] == place and message in line for line in lines)


OF_ONE_SIZE = {
    "N alone": ("loss = E + A / N**alpha", [], None),
    "N and D": (
        "loss = E + A / N**alpha + B / D**beta",
        [],
        "no run has D; name it in `columns` of the table: {D: COLUMN}; if D is a parameter,",
    ),
    "a parameter D": ("loss = E + D / N**alpha", ["N"], None),
}


@pytest.mark.parametrize(("text", "variables", "message"), OF_ONE_SIZE.values(), ids=OF_ONE_SIZE)
def test_a_study_of_one_size(config, text, variables, message):
    config["aggregate"]["own"]["columns"] = {"N": "size", "loss": "val_loss"}
    options = {"formula": text, "variables": variables}
    config["fit"]["curve"] = {"card": "formula", "sweep": "own", "options": options}
    if message is None:
        assert check.check(config)["fit"]["curve"]["options"]["formula"] == text
    else:
        assert is_told(problems(config), "fit.curve.options.formula", message)


def test_a_figure_of_budgets_is_not_of_a_table_of_one_size(config):
    config["aggregate"]["own"]["columns"] = {"N": "size", "loss": "val_loss"}
    config["fit"]["curve"]["options"] = {"variable": "N"}
    config["plot"]["own"] = {"card": "isoflop_profiles", "sweep": "own", "fits": ["curve"]}
    assert is_told(problems(config), "plot.own.sweep", "needs N and C, and no run of the table has")


def test_problems_are_told_in_the_order_of_the_study(config):
    config["fit"] = {"z": config["fit"]["plane"], "a": config["fit"].pop("curve"), **config["fit"]}
    config["fit"]["z"] = {**config["fit"]["z"], "where": "seed > 5"}
    config["fit"]["a"] = {"card": "formula", "sweep": "own"}
    places = [re.split("[:,] ", line)[0] for line in problems(config)]
    ours = [place.split(".")[1] for place in places if place.startswith("fit.")]
    assert list(dict.fromkeys(ours)) == ["z", "a"]


@pytest.mark.parametrize(("path", "value", "place", "message"), WRONG.values(), ids=WRONG)
def test_a_problem_is_named_with_its_place_and_a_way_out(config, path, value, place, message):
    put(config, path, value)
    lines = problems(config)
    assert is_told(lines, place, message), lines


@pytest.mark.parametrize("value", [-1.0, 0.0, "abc"])
def test_a_bad_loss_is_named_by_its_row_and_column(config, own, tmp_path, value):
    file = tmp_path / "own.csv"
    lines = file.read_text().splitlines()
    lines[5] = ",".join([*lines[5].split(",")[:2], str(value)])
    file.write_text("\n".join(lines) + "\n")
    (line,) = problems(config)
    assert line.startswith("aggregate.own: ")
    assert "row 5, column 'val_loss'" in line


def paths(part, path=""):
    """The dotted path of everything in a study."""
    steps = part.items() if isinstance(part, dict) else ()
    steps = [(f"[{i}]", v) for i, v in enumerate(part)] if isinstance(part, list) else steps
    for step, value in steps:
        here = f"{path}{step}" if step[0] == "[" else f"{path}.{step}".lstrip(".")
        yield here
        yield from paths(value, here)


@pytest.mark.parametrize("value", [None, "x", -1, [], [["x"]], {"x": {}}])
def test_whatever_stands_anywhere_is_sound_or_told_never_a_crash(config, value):
    crashes = []
    for path in list(paths(config)):
        changed = copy.deepcopy(config)
        put(changed, path, value)
        try:
            check.check(changed)
        except StudyError as error:
            assert error.problems, path
        except Exception as error:
            crashes.append(f"{path}: {error!r}")
    assert crashes == []


TOGETHER = [
    *("unknown section", "wrong type", "negative weight", "unknown setting", "unknown dataset"),
    *("missing column", "unknown card of a law", "unknown option of a card", "too few fits"),
]


def test_all_problems_are_told_at_once(config):
    for name in TOGETHER:
        put(config, *WRONG[name][:2])
    lines = problems(config)
    for name in TOGETHER:
        assert is_told(lines, *WRONG[name][2:]), (name, lines)
    assert len(lines) == len(set(lines))


def test_problems_of_sound_sections_are_told_beside_those_of_unsound_ones(config):
    put(config, "seed", -1)
    put(config, "fit.plane.sweep", "size")
    lines = problems(config)
    assert is_told(lines, "seed", "needs at least 0")
    assert is_told(lines, "fit.plane.sweep", "did you mean 'sizes'")


def test_a_key_that_stands_twice_is_an_error_with_its_line(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text("study: twice\nfit:\n  a: {card: chinchilla, sweep: s}\n  a: {card: b}\n")
    with pytest.raises(StudyError, match=r"line 4: key 'a' appears twice"):
        schema.read(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("a: [1", "line 2: is not YAML"), ("- 1\n", "is not a mapping")],
)
def test_a_file_that_is_no_study_is_an_error_that_names_it(tmp_path, content, message):
    file = tmp_path / "study.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StudyError, match=message) as error:
        check.checked(file)
    assert str(file) in str(error.value)


def test_yaml_merges_are_followed(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "load: &a {x: {card: python_stdlib}}\nstudy: s\nplot: {<<: *a}\n"
    )
    assert schema.read(tmp_path / "s.yaml")["plot"] == {"x": {"card": "python_stdlib"}}


def test_a_figure_may_name_its_fits_by_the_earlier_key_and_is_told_the_new_one(config):
    earlier = copy.deepcopy(config)
    for figure in earlier["plot"].values():
        figure["laws"] = figure.pop("fits")
    assert check.check(earlier) == check.check(config)
    assert [str(one) for one in schema.renamed(earlier)[1]] == [
        f"plot.{name}.laws: this key is called `fits` now; rename it" for name in config["plot"]
    ]
    assert schema.renamed(config) == (config, [])


def test_a_figure_that_names_its_fits_by_both_keys_is_told_which_one_counts(config):
    config["plot"]["isoloss"]["laws"] = ["plane"]
    (line,) = problems(config)
    known = "card, fits, observation, options, simulation, style, sweep, width"
    assert line == f"plot.isoloss.laws: unknown key; known: {known}"


@pytest.mark.parametrize("value", [None, 3, [], {"p": None}, {"p": {"laws": 3}}])
def test_an_earlier_key_is_looked_for_wherever_it_could_not_be(config, value):
    renamed, messages = schema.renamed({"plot": value})
    assert len(messages) == (value == {"p": {"laws": 3}})
    assert messages or renamed == {"plot": value}


def test_the_check_command_tells_the_new_name_of_an_earlier_key(tmp_path, config, capsys):
    config["plot"]["isoloss"]["laws"] = config["plot"]["isoloss"].pop("fits")
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(config))
    assert main(["check", str(file)]) == 0
    output = capsys.readouterr()
    assert output.err == "plot.isoloss.laws: this key is called `fits` now; rename it\n"
    assert "nothing wrong" in output.out


def test_a_selection_by_what_is_measured_is_left_to_the_measurement(config):
    config["fit"]["plane"]["where"] = "loss > 1.5 and n_unique > 10"
    assert check.check(config)["fit"]["plane"]["where"]
    config["fit"]["plane"]["where"] = "los_nats > 1.5"
    assert len(problems(config)) == 1


@pytest.mark.parametrize("value", [3, True, [1], None, 1e300, {"rule": 3}, "largest"])
def test_a_holdout_of_a_wrong_type_is_a_problem_of_the_study(value):
    fit = {"card": "chinchilla", "sweep": "a", "holdout": value}
    table = {"table": "runs.csv", "columns": {"loss": "loss"}}
    with pytest.raises(StudyError, match=r"fit\.f\.holdout"):
        check.check({"study": "x", "aggregate": {"a": table}, "fit": {"f": fit}}, fetch=False)


@pytest.mark.parametrize(
    ("holdout", "message"),
    [
        ("largest:experts", None),
        ({"rule": "leave_one_out", "by": "experts"}, None),
        ({"rule": "leave_one_out", "by": "N"}, None),
        ("largest:expert", "fit.f.holdout largest, variable: no column 'expert'; did you mean"),
        ({"rule": "largest", "variable": "kind"}, "12 of 12 runs have no 'kind'"),
        (
            {"rule": "random", "apart": ["expert"]},
            "holdout random, apart: no column 'expert'",
        ),
        ({"rule": "random", "least": 3}, "fit.f.holdout random: unknown 'least'; known: apart, by"),
        ({"rule": "roll_out", "by": "kind"}, "fit.f.holdout.by: 'kind' has one value in all"),
    ],
    ids=str,
)
def test_a_holdout_goes_with_the_runs_of_its_table(tmp_path, holdout, message):
    sizes = np.repeat(np.geomspace(1e7, 1e9, 4), 3)
    runs = pd.DataFrame({"N": sizes, "D": 1e10, "experts": [1, 4, 16] * 4, "kind": "moe"})
    runs.assign(loss=2 + 50 / sizes**0.3).to_csv(tmp_path / "runs.csv", index=False)
    table = {"table": str(tmp_path / "runs.csv"), "columns": dict(N="N", D="D", loss="loss")}
    fit = {"card": "power_law", "options": {"variable": "N"}, "sweep": "a", "holdout": holdout}
    config = {"study": "x", "aggregate": {"a": table}, "fit": {"f": fit}}
    if message is None:
        assert check.check(config)["fit"]["f"]["holdout"] == holdout
    else:
        with pytest.raises(StudyError, match=re.escape(message)):
            check.check(config)


OF_IMAGES = {"card": "saved_dataset", "options": {"folder": "d", "image": "image"}}


@pytest.mark.parametrize(
    ("dataset", "model", "message"),
    [
        ({"card": "idx_images"}, "transformer", "of texts, and the dataset has images; .*: mlp, v"),
        (OF_IMAGES, "transformer", "of texts, and the dataset has images"),
        ({"card": "python_stdlib"}, "mlp", "of images, and the dataset has texts; .*: transformer"),
    ],
)
def test_a_model_that_cannot_read_its_dataset_is_told_with_those_that_can(
    config, dataset, model, message
):
    cell = {"n_samples": 1e5}
    sweep = {"dataset": "other", "model": model, "cells": [cell]}
    config = {"study": "s", "load": {"other": dataset}, "train": {"sizes": sweep}}
    at = "train.sizes.model: "
    (line,) = [line for line in problems(config) if line.startswith(at)]
    assert re.match(f"{at}{model!r} is a model {message}", line)


def test_losses_are_of_examples_where_the_options_of_a_dataset_say_that_it_has_images():
    def units(**options):
        options = registry.defaults("dataset", "saved_dataset") | options
        dataset = {"card": "saved_dataset", "options": options, "tokenizer": "bytes"}
        sweep = {"dataset": "own", "model": "mlp"}
        config = {
            "load": {"own": dataset},
            "train": {"sizes": sweep},
            "aggregate": {},
            "observe": {},
        }
        study = SimpleNamespace(config=config, schedules=lambda sweep: {})
        return Aggregate().settings(study, "sizes")

    assert units(image="image") == {
        "token": "example",
        "loss_unit": "nats/example",
        "schedules": {},
    }
    assert units()["loss_unit"] == "nats/byte"


def test_a_formula_of_a_program_that_cannot_be_read_is_told_with_its_place():
    command = {"run": "true {width}", "results": "x", "loss": "a", "n_params": "a + f(3)"}
    sweep = {"trainer": "command", "command": command, "cells": [{"width": 1, "n_samples": 1}]}
    with pytest.raises(StudyError, match=r"train\.s\.command: 'a \+ f\(3\)', character 5"):
        check.check({"study": "x", "train": {"s": sweep}}, "s.yaml")
