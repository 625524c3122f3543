"""A sweep spelled out before anything is trained."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError
from isoloss.models._model import flops_per_example
from isoloss.train import plan as stage_of_plans
from isoloss.train.plan import plan_sweep, run_label, run_settings, shard_names

CELLS = [
    {"n_flops": 3e9, "d_model": [8, 12, 16]},
    {"n_flops": [1e9, 7e9], "d_model": 8, "seed": [0, 1]},
    {"n_samples": 50000, "d_model": [12, 16], "weighting": ["natural", "double"]},
]


def sweep(cells=CELLS, **changes) -> dict:
    """A sweep as a complete study has it."""
    plain = {"model": "transformer", "trainer": "builtin", "settings": {}, "shards": 4}
    return plain | {"n_params": "nonembed", "n_flops": "6nd", "cells": cells} | changes


positive = st.floats(1e-3, 1e12)
settings_of_a_run = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["transformer", "other"]),
        "weighting": st.text(max_size=8),
        "seed": st.integers(0, 10**6),
        "n_flops": positive,
        "peak_learning_rate": positive,
    },
    optional={"d_model": st.integers(4, 9999), "n_layers": st.integers(1, 99)},
)


@given(settings_of_a_run, settings_of_a_run)
def test_labels_are_equal_where_settings_are_and_only_there(one, other):
    assert (run_label(one, "d_model") == run_label(other, "d_model")) == (one == other)
    assert run_label(dict(reversed(one.items())), "d_model") == run_label(one, "d_model")


@given(settings_of_a_run, st.data())
def test_a_change_of_any_setting_is_another_label(settings, data):
    key = data.draw(st.sampled_from(sorted(settings)))
    value = settings[key]
    changed = f"{value}'" if isinstance(value, str) else value * 2 + 1
    assert run_label(settings | {key: changed}, "d_model") != run_label(settings, "d_model")


@given(settings_of_a_run, st.from_regex(r"[A-Za-z0-9_.-]{1,9}", fullmatch=True))
def test_labels_are_plain_file_names(settings, weighting):
    label = run_label(settings | {"weighting": weighting}, "d_model")
    assert label.isascii() and not set(label) & set("/\\ +*?'\"")


def test_lists_of_a_cell_are_crossed_and_cells_added_up():
    settings = run_settings(sweep(settings={"n_layers": 3}))
    assert len(settings) == 3 + 4 + 4
    assert all(s["n_layers"] == 3 and s["batch_size"] == 4 for s in settings)
    assert {(s["n_flops"], s["d_model"]) for s in settings[:3]} == {(3e9, 8), (3e9, 12), (3e9, 16)}
    assert len(plan_sweep(sweep())["run_id"].unique()) == 11


def test_the_order_of_cells_and_keys_does_not_change_the_runs():
    plain = plan_sweep(sweep()).set_index("run_id").sort_index()
    cells = [dict(reversed(cell.items())) for cell in reversed(CELLS)]
    turned = plan_sweep(sweep(cells)).set_index("run_id").sort_index()
    assert turned[plain.columns].equals(plain)


@pytest.mark.parametrize(
    "again",
    [CELLS[0], {"n_flops": 3000000000, "d_model": 8}, {"n_flops": 3e9, "d_model": [8], "seed": 0}],
)
def test_a_run_spelled_twice_is_one(again):
    once = plan_sweep(sweep())
    assert plan_sweep(sweep([*CELLS, again])).equals(once)


@pytest.mark.parametrize("n_params", ["total", "nonembed"])
@pytest.mark.parametrize("n_flops", ["6nd", "model"])
def test_the_budget_gives_d_to_within_half_a_step(n_params, n_flops):
    settings = {"n_layers": 2, "context": 32, "batch_size": 3}
    cells = [{"n_flops": [1e9, 7e9], "d_model": [8, 16]}]
    plan = plan_sweep(sweep(cells, n_params=n_params, n_flops=n_flops, settings=settings))
    card = registry.card("model", "transformer")
    for run in plan.itertuples():
        sizes = {
            "d_model": run.d_model,
            "n_layers": 2,
            "head_width": 16,
            "context": 32,
            "vocabulary": 256,
        }
        model = card.Model(**sizes)
        by_group = model.count()
        total = sum(by_group.values())
        nonembed = total - by_group["embedding"]
        n = {"total": total, "nonembed": nonembed}[n_params]
        assert (run.n_params, run.n_params_total, run.n_params_nonembed) == (n, total, nonembed)
        own = flops_per_example(model)
        a_token = {"6nd": 6 * n, "model": own}[n_flops]
        step = run.batch_items * run.context
        assert run.batch_items == 3
        assert run.n_samples == run.n_steps * step
        assert abs(run.n_samples - run.budget / a_token) <= step / 2
        assert run.n_flops == pytest.approx(a_token * run.n_samples, rel=1e-12)
        assert run.n_flops_6nd == pytest.approx(6 * n * run.n_samples, rel=1e-12)
        assert run.n_flops_model == pytest.approx(own * run.n_samples, rel=1e-12)


def test_tokens_asked_for_are_kept_and_leave_the_budget_empty():
    plan = plan_sweep(sweep([{"n_samples": [1, 50000], "d_model": 8}]))
    assert plan["budget"].isna().all()
    assert list(plan["n_samples"]) == [256, 195 * 256]


def test_the_batch_grows_with_d_by_its_exponent():
    cells = [{"n_samples": [125000, 500000, 8000000], "d_model": 8, "batch_exponent": [0, 0.5]}]
    plan = plan_sweep(sweep(cells))
    by_exponent = {e: list(runs["batch_items"]) for e, runs in plan.groupby("batch_exponent")}
    assert by_exponent == {0.0: [4, 4, 4], 0.5: [2, 4, 16]}


def test_a_shard_depends_on_the_label_and_the_number_of_shards_only():
    def shards(**changes) -> dict[str, str]:
        plan = plan_sweep(sweep(**changes))
        return dict(zip(plan["run_id"], plan["shard"], strict=True))

    names = shards()
    assert shards(cells=list(reversed(CELLS))) == names
    assert shards(n_params="total", n_flops="model") == names
    fewer = shards(cells=CELLS[:1])
    assert fewer.items() <= names.items()
    assert set(shards(shards=1).values()) == {"0"}
    assert len(set(names.values())) > 1


@pytest.mark.parametrize("shards", [1, 4, 10, 11])
def test_shard_names_sort_and_hold_every_run(shards):
    names = shard_names(shards)
    assert len(names) == shards
    assert names == sorted(names)
    assert [int(name) for name in names] == list(range(shards))
    assert set(plan_sweep(sweep(shards=shards))["shard"]) <= set(names)


def planned(folder, *sizes: float) -> pd.DataFrame:
    """The plan of a round that chose runs of some sizes, and left one out."""
    rows = [{"round": 1, "choice": i, "n_params": n} for i, n in enumerate([*sizes, 99.0])]
    choices = pd.DataFrame(rows).assign(n_samples=50_000.4, planner="p", reason="because")
    choices["choice"] = choices["choice"].astype("Int64").where(choices.index < len(sizes))
    absent = [name for name in tables.schema("choices").names if name not in choices]
    file = folder / "choices.parquet"
    tables.write("choices", choices.assign(**dict.fromkeys(absent)), file, {"token": "byte"})
    (plan,) = stage_of_plans.run(sweep(cells=[], round={}), [file], folder, {})
    return tables.frame(plan, "plan")


def test_a_round_plans_the_sizes_nearest_to_its_choices_and_a_run_once(tmp_path):
    plan = planned(tmp_path, 1500.0, 1550.0, 3400.0)
    assert list(plan["d_model"]) == [8, 12]
    assert plan["n_samples"].between(49_000, 51_000).all()
    assert planned(tmp_path).empty


def test_a_size_that_no_model_has_is_told_with_the_nearest_one(tmp_path):
    message = r"^the choices of the round: cells\[0\]: of all models .* is nearest to N = 10, "
    with pytest.raises(IsolossError, match=message):
        planned(tmp_path, 10.0)
