"""The grammar of cells: lists, ranges, targets for N and D. Every example of the documentation."""

from __future__ import annotations

import copy
import itertools
import math
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from idx_files import write_images

from isoloss.core import registry
from isoloss.core.problems import IsolossError, StudyError
from isoloss.study import check
from isoloss.train.cells import count_runs, values_of
from isoloss.train.plan import MOST_RUNS, plan_sweep

PAGE = Path(__file__).parents[2] / "docs" / "running.md"
ROW = re.compile(r"^\| (?P<sweep>[^|]+) \| `(?P<cell>\{.*\})` \| (?P<runs>\d+) \|$", re.MULTILINE)
ROWS = list(ROW.finditer(PAGE.read_text(encoding="utf-8")))
EXAMPLES = {row["sweep"]: (yaml.safe_load(row["cell"]), int(row["runs"])) for row in ROWS}
NUMBER, INTEGER = {"type": "number"}, {"type": "integer"}


def study(*cells, images=None, **changes) -> dict:
    """A study of one sweep with these cells, of texts or of the `images` of these files."""
    sweep = {"dataset": "stdlib", "model": "transformer", "cells": list(copy.deepcopy(cells))}
    expand = {"natural": {}, "docstring_x2": {"kind": {"docstring": 2.0}}}
    load = {"stdlib": {"card": "python_stdlib"}}
    if images:
        load, expand = {"stdlib": {"card": "idx_images", "options": images}}, {"natural": {}}
    return {"study": "a", "load": load, "expand": expand, "train": {"t": sweep | changes}}


def planned(*cells, **changes):
    """The plan of a study of one sweep."""
    sweep = check.check(study(*cells, **changes))["train"]["t"]
    plan = plan_sweep(sweep)
    assert len(plan) <= count_runs(sweep)
    return plan


def problems(*cells, **changes) -> list[str]:
    """What is wrong with such a study."""
    with pytest.raises(StudyError) as raised:
        check.check(study(*cells, **changes))
    return [str(problem) for problem in raised.value.problems]


def test_the_documentation_has_an_example_of_every_kind_of_sweep():
    assert {"N", "D", "N x D", "isoFLOP", "mixtures x N", "seeds"} < set(EXAMPLES)
    keys = {key for cell, _ in EXAMPLES.values() for key in cell}
    assert {"n_params", "n_unique", "epochs", "examples_per_parameter"} < keys


@pytest.mark.parametrize(("cell", "runs"), EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_of_the_documentation_has_the_runs_it_says_with_their_n_d_and_c(cell, runs):
    plan = planned(cell)
    assert len(plan) == runs == count_runs({"cells": [cell]})
    assert plan["run_id"].is_unique
    a_step = plan["batch_items"] * plan["context"]
    assert (plan["n_flops"] == 6.0 * plan["n_params"] * plan["n_samples"]).all()
    if "n_params" in cell:
        targets = values_of(cell["n_params"], NUMBER)
        reached = sorted(set(plan["n_params"]))
        assert reached == [nearest_n(target) for target in targets]
    if "n_flops" in cell:
        assert set(plan["budget"]) == set(cell["n_flops"])
        assert ((plan["n_flops"] - plan["budget"]).abs() <= 3 * plan["n_params"] * a_step).all()
    if "n_samples" in cell:
        asked = set(values_of(cell["n_samples"], NUMBER))
        assert all(min(abs(d - n) for n in asked) <= 128 for d in plan["n_samples"])
    if "examples_per_parameter" in cell and "n_flops" not in cell:
        ratios = plan["n_samples"] / plan["n_params"]
        for ratio, asked in zip(ratios, cell["examples_per_parameter"] * 5, strict=True):
            assert ratio == pytest.approx(asked, rel=0.1)
    if "epochs" in cell:
        epochs = cell["epochs"] * 3
        assert list(plan["n_samples"] / plan["n_available"]) == pytest.approx(epochs, rel=0.002)


def nearest_n(target: float) -> int:
    """The N of the two-block transformer that is nearest to a target, by trying all widths."""
    sizes = (24 * d_model**2 for d_model in range(2, 500, 2))
    return min(sizes, key=lambda n: abs(n - target))


def test_a_budget_and_a_ratio_give_the_size_at_which_both_hold():
    cell, _ = EXAMPLES["isoFLOP, by the ratio D / N"]
    plan = planned(cell)
    ratios = values_of(cell["examples_per_parameter"], NUMBER)
    cases = [(c, r) for c in cell["n_flops"] for r in ratios]
    for (budget, ratio), n in zip(cases, plan["n_params"], strict=True):
        assert n == nearest_n(math.sqrt(budget / (6 * ratio)))


def test_targets_with_the_same_sizes_are_one_run_and_the_same_as_one_of_these_sizes():
    cell = {"n_params": [2390, 2400, 2410], "n_samples": 1e5}
    (run,) = planned(cell).to_dict("records")
    (same,) = planned({"d_model": 10, "n_samples": 1e5}).to_dict("records")
    assert run["run_id"] == same["run_id"] and run["n_params"] == 2400


def test_the_convention_for_n_is_the_sweeps():
    cell = {"n_params": 20_000, "n_samples": 1e5}
    (total,) = planned(cell, n_params="total").to_dict("records")
    (nonembed,) = planned(cell).to_dict("records")
    assert total["n_params"] == total["n_params_total"] == 256 * 24 + 24 * 24**2
    assert nonembed["n_params_nonembed"] == 24 * 28**2


def test_a_rule_for_sizes_is_the_sweeps_or_the_cells(tmp_path):
    cell = {"n_params": [100, 400], "n_samples": 1e5, "inputs": 4, "classes": 3}
    images = {"model": "mlp", "n_params": "total", "images": write_images(tmp_path)}
    card = registry.card("model", "mlp")
    given = {"depth": 2, "taper": 0.5, "inputs": 4, "classes": 3}
    widths = {
        rule: [card.sizes(target, given, rule)["width"] for target in cell["n_params"]]
        for rule in ("closest", "inverse")
    }
    assert widths["closest"] != widths["inverse"]
    assert list(planned(cell, **images)["width"]) == widths["closest"]
    for plan in (
        planned(cell, **images, size_rule="inverse"),
        planned({**cell, "size_rule": "inverse"}, **images, size_rule="closest"),
        planned(cell, **images, settings={"size_rule": "inverse"}),
    ):
        assert list(plan["width"]) == widths["inverse"]
    (line,) = problems(cell, **images, size_rule="inverze")
    assert line.startswith("train.t.size_rule: ") and "did you mean 'inverse'" in line


def test_runs_without_and_with_a_number_of_distinct_examples_stand_side_by_side():
    cell = {"d_model": 8, "n_samples": 64_000}
    plan = planned(cell, {**cell, "n_unique": 6400})
    assert plan["n_available"].isna().tolist() == [True, False]


@given(
    st.floats(1e-3, 1e9),
    st.floats(1.001, 1e6),
    st.integers(2, 40),
    st.sampled_from(["log", "linear"]),
)
def test_a_range_has_its_ends_and_rises_in_equal_ratios_or_steps(low, factor, points, spacing):
    span = {"from": low, "to": low * factor, "points": points, "spacing": spacing}
    values = values_of(span, NUMBER)
    assert len(values) == points == count_runs({"cells": [{"x": span}]})
    assert values[0] == pytest.approx(low, rel=1e-11)
    assert values[-1] == pytest.approx(low * factor, rel=1e-11)
    pairs = itertools.pairwise(values)
    gaps = [b / a if spacing == "log" else b - a for a, b in pairs]
    assert gaps == pytest.approx([gaps[0]] * len(gaps), rel=1e-3)
    whole = values_of(span, {**INTEGER, "multipleOf": 2})
    assert whole == sorted(set(whole)) and all(value % 2 == 0 for value in whole)


# What is wrong: cell, place, and what is said of it.
WRONG = {
    "backwards": ({"n_samples": {"from": 1e6, "to": 1e5, "points": 3}}, ".n_samples", "below"),
    "no points": (
        {"n_samples": {"from": 1e5, "to": 1e6, "points": 0}},
        ".n_samples.points",
        "needs at least 2",
    ),
    "points missing": (
        {"n_samples": {"from": 1e5, "to": 1e6}},
        ".n_samples",
        "'points' is missing",
    ),
    "misspelled": (
        {"n_samples": {"from": 1e5, "to": 1e6, "points": 3, "spacin": "log"}},
        ".n_samples.spacin",
        "did you mean 'spacing'",
    ),
    "equal ratios from zero": (
        {"n_samples": 1e5, "seed": {"from": 0, "to": 3, "points": 4}},
        ".seed",
        "spacing: linear",
    ),
    "range of names": (
        {"n_samples": 1e5, "weighting": {"from": 1, "to": 3, "points": 4}},
        ".weighting",
        "not a number",
    ),
    "end out of bounds": (
        {"n_samples": 1e5, "d_model": {"from": 1, "to": 64, "points": 4}},
        ".d_model",
        "needs at least 2",
    ),
    "unknown key": ({"n_samples": 1e5, "d_modl": {"from": 4}}, ".d_modl", "did you mean 'd_model'"),
    "D thrice": (
        {"n_samples": 1e5, "n_flops": 1e9, "epochs": 2, "n_unique": 100},
        "",
        "n_samples and n_flops and epochs: each of them gives D",
    ),
    "no D": ({"d_model": 8}, "", "nothing gives D"),
    "epochs of what": ({"epochs": 2}, ".epochs", "give n_unique"),
    "N thrice": (
        {"n_flops": 1e9, "examples_per_parameter": 20, "n_params": 1e4},
        "",
        "leave one of the three out",
    ),
    "N twice": ({"n_samples": 1e5, "n_params": 1e4, "d_model": 8}, "", "N follows from d_model"),
    "N twice by a ratio": (
        {"n_flops": 1e9, "examples_per_parameter": 20, "d_model": 8},
        "",
        "N follows from d_model",
    ),
    "too small": ({"n_samples": 1e5, "n_params": [10, 20_000]}, "", "nearest to N = 10"),
    "too large": ({"n_samples": 1e5, "n_params": 1e15}, "", "nearest to N = 1e+15"),
    "rule without target": ({"n_samples": 1e5, "size_rule": "closest"}, ".size_rule", "n_params"),
    "unknown rule": (
        {"n_samples": 1e5, "n_params": 1e4, "size_rule": "closset"},
        ".size_rule",
        "did you mean 'closest'",
    ),
}


@pytest.mark.parametrize(("cell", "place", "words"), WRONG.values(), ids=WRONG)
def test_a_cell_that_makes_no_sense_is_told_with_its_place(cell, place, words):
    sound = {"n_samples": 1e5, "d_model": 8}
    (line,) = problems(sound, cell)
    assert line.startswith(f"train.t.cells[1]{place}: ")
    assert words in line


def test_what_a_card_says_of_a_cell_stands_behind_the_place_of_the_cell():
    cell = {"n_unique": 100, "epochs": 2, "n_params": 1e4, "height": 27}
    (line,) = problems(cell, model="vit_head")
    assert line.startswith("train.t.cells[0]: model vit_head: 784 inputs")


def test_a_warm_up_and_a_decay_of_more_than_all_steps_are_refused():
    cell = {"n_samples": 1e5, "d_model": 8, "warmup_fraction": [0.3, 0.5], "decay_fraction": 0.7}
    (line,) = problems(cell, settings={"schedule": "wsd"})
    assert line.startswith("train.t: wsd with warmup_fraction 0.5 and")
    assert len(planned({**cell, "warmup_fraction": 0.3}, settings={"schedule": "wsd"})) == 1
    assert len(planned(cell, settings={"schedule": "linear"})) == 2


def test_every_cell_without_a_model_near_its_target_is_told():
    lines = problems({"n_samples": 1e5, "n_params": 1}, {"n_samples": 1e5, "n_params": 2})
    assert [line.split(":")[0] for line in lines] == ["train.t.cells[0]", "train.t.cells[1]"]


def test_the_example_of_images_trains_as_the_fashion_mnist_study():
    (block,) = [part for part in PAGE.read_text(encoding="utf-8").split("```") if "mlp" in part]
    example = yaml.safe_load(block.removeprefix("yaml"))["train"]["sizes"]
    study = PAGE.parents[1] / "studies" / "fashion-mnist.yaml"
    real = yaml.safe_load(study.read_text(encoding="utf-8"))["train"]["sizes"]
    (cell,), (real_cell,) = example["cells"], real["cells"]
    real_settings = {"size_rule": real["size_rule"], **real["settings"], **real_cell}
    assert {**example["settings"], **cell} == {
        k: v for k, v in real_settings.items() if k != "seed"
    }
    assert {key: example[key] for key in ("model", "n_params", "valid_tokens")} == {
        key: real[key] for key in ("model", "n_params", "valid_tokens")
    }


def test_ranges_that_are_too_many_runs_together_are_refused_before_they_are_spelled_out():
    span = {"from": 1e5, "to": 1e9, "points": 20_000}
    cell = {"n_samples": span, "peak_learning_rate": {"from": 1e-4, "to": 1, "points": 20_000}}
    (line,) = problems({"d_model": 8, **cell})
    assert f"spell out 400000000 runs; at most {MOST_RUNS} are allowed" in line
    sweep = study({"d_model": 8, **cell})["train"]["t"]
    with pytest.raises(IsolossError, match="400000000 runs"):
        plan_sweep(sweep)


def test_numbers_that_yaml_reads_as_text_become_numbers_in_ranges():
    plan = planned({"d_model": 8, "n_flops": {"from": "1e8", "to": "1e9", "points": "3"}})
    assert list(plan["budget"]) == [1e8, 316227766.017, 1e9]
