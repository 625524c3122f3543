"""Plan, shards and audits become the tables of a sweep."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rows_in_memory import expand_table

from isoloss.aggregate import gather_sweep, job, sweep
from isoloss.core import tables
from isoloss.core.problems import TableError
from isoloss.fit.law import fit_law
from isoloss.laws._make import made_law
from isoloss.train.plan import plan_sweep

SWEEP = {
    "model": "transformer",
    "trainer": "builtin",
    "settings": {},
    "n_params": "nonembed",
    "n_flops": "6nd",
}
CELL = {"n_flops": 1e9, "d_model": [8, 12], "weighting": ["natural", "double"]}

VERSIONS = {"torch_version": "2", "numpy_version": "2", "code": "c"}


@pytest.fixture
def plan():
    return plan_sweep({**SWEEP, "shards": 3, "cells": [CELL]})


def result(run_id: str, loss: float) -> dict:
    """A finished run of a shard."""
    point = {"step": 5, "split": "valid", "n_tokens": 64, "tag_key": "kind"}
    halves = [("code", loss - 0.1), ("docstring", loss + 0.1)]
    losses = [{**point, "domain": domain, "loss_nats": nats} for domain, nats in halves]
    curve = [{"step": s, "n_samples": 16 * s, "loss_nats": loss + 1 / s} for s in (1, 5)]
    plain = {"run_id": run_id, "run_digest": f"digest of {run_id}", "n_unique": 80}
    facts = {
        "status": "done",
        "attempts": 1,
        "seconds": 0.5,
        "device": "cpu",
        "torch_version": "2",
        "numpy_version": "2",
        "code": "c",
    }
    return {**plain, **facts, "loss_nats": loss, "losses": losses, "curve": curve}


def undone(run_id: str, status: str) -> dict:
    """A run of a shard that came to nothing."""
    facts = {
        "run_id": run_id,
        "run_digest": "d",
        "attempts": 1,
        "seconds": 0.1,
        "device": "cpu",
        "torch_version": "2",
        "numpy_version": "2",
        "code": "c",
    }
    return {**facts, "status": status, "status_reason": f"it {status}"}


def shard(*results) -> pd.DataFrame:
    """A shard's table as it is read back."""
    absent = dict.fromkeys(tables.schema("shard").names)
    frame = pd.DataFrame([absent | r for r in results], columns=list(absent), dtype=object)
    return tables.conform("shard", frame).to_pandas()


@pytest.fixture
def gathered(plan, rows):
    """Two runs done, one diverged, one failed, in shards of their own order; one shard is empty."""
    a, b, c, d = plan["run_id"]
    shards = [shard(result(d, 3.0), undone(b, "diverged")), shard(undone(c, "failed")), shard()]
    weights = {"natural": {}, "double": {"kind": {"docstring": 2.0, "comment": 0.0}}}
    audits = {name: expand_table(rows, w, seed=0)[1] for name, w in weights.items()}
    return gather_sweep(plan, [*shards, shard(result(a, 3.5))], audits, {})


def test_every_table_keeps_its_contract(gathered):
    for name, table in gathered.items():
        assert tables.conform(name, table).num_rows == len(table)
    assert set(gathered) == {"runs", "losses", "curves", "mixtures", "timing"}


def test_every_planned_run_is_a_row_in_the_order_of_the_plan(gathered, plan):
    runs = gathered["runs"]
    assert list(runs["run_id"]) == list(plan["run_id"])
    assert list(runs["status"]) == ["done", "diverged", "failed", "done"]
    assert list(runs["status_reason"][1:3]) == ["it diverged", "it failed"]
    assert list(runs["loss"].isna()) == [False, True, True, False]
    assert list(runs["loss"][[0, 3]]) == [3.5, 3.0]
    settings = ["d_model", "n_params", "n_flops", "seed", "weighting", "peak_learning_rate"]
    assert runs[settings].equals(plan[settings])
    assert list(gathered["timing"]["seconds"]) == [0.5, 0.1, 0.1, 0.5]


def test_repeats_are_how_often_a_distinct_token_was_seen(gathered):
    runs = gathered["runs"]
    assert list(runs["repeats"].isna()) == [False, True, True, False]
    assert runs["repeats"][0] == runs["n_samples"][0] / 80
    assert "repeats" not in tables.cell_columns(runs)


def test_epochs_of_a_part_of_the_data_reach_the_data_constrained_law_as_d_and_u():
    cell = {"n_unique": [4096, 16384], "epochs": [1, 4, 16], "d_model": [8, 16, 24]}
    plan = plan_sweep({**SWEEP, "shards": 1, "cells": [cell]})
    truth = {"E": 1.5, "A": 30.0, "B": 60.0, "alpha": 0.4, "beta": 0.35, "R_D": 5.0}
    law = made_law("data_constrained", {"decay": "data"})
    theta = np.array([np.log(v) if k in ("E", "A", "B", "R_D") else v for k, v in truth.items()])
    columns = {"N": "n_params", "D": "n_samples", "U": "n_available"}
    data = {letter: plan[column].to_numpy(float) for letter, column in columns.items()}
    loss = law.loss(theta, data)
    results = [
        result(run, nats) | {"n_unique": int(seen)}
        for run, nats, seen in zip(plan["run_id"], loss, data["U"], strict=True)
    ]
    runs = gather_sweep(plan, [shard(*results)], {}, {})["runs"]
    assert np.allclose(runs["repeats"], runs["n_samples"] / runs["n_available"])
    assert sorted(set(runs["repeats"].round(1))) == [1, 4, 16]
    fit = fit_law(runs, "data_constrained", {"decay": "data"}, bootstrap=0)
    assert fit.values == pytest.approx(truth, rel=0.02)
    assert list(fit.points["n_unique"]) == list(data["U"])


def test_losses_and_curves_are_those_of_finished_runs(gathered, plan):
    finished = [plan["run_id"][0], plan["run_id"][3]]
    losses = gathered["losses"].set_index(["run_id", "domain"])["loss"]
    expected = {(finished[0], "code"): 3.4, (finished[0], "docstring"): 3.6}
    expected |= {(finished[1], "code"): 2.9, (finished[1], "docstring"): 3.1}
    assert losses.to_dict() == pytest.approx(expected)
    curves = gathered["curves"]
    assert list(curves["run_id"]) == [finished[0]] * 2 + [finished[1]] * 2
    assert list(curves["step"]) == [1, 5, 1, 5]
    assert list(curves["n_samples"]) == [16, 80, 16, 80]


def test_mixtures_are_shares_of_the_expanded_training_tokens(gathered, plan, rows):
    mixtures = gathered["mixtures"]
    sums = mixtures.groupby(["run_id", "tag_key"])["proportion"].sum()
    assert len(sums) == 2 * len(plan)
    assert sums.to_numpy() == pytest.approx(1, abs=1e-12)
    train = rows[rows["split"] == "train"]
    tokens = train["n_tokens"].groupby(train["tags"].map(lambda tags: tags[0][1])).sum()
    shares = mixtures.set_index(["run_id", "tag_key", "domain"])["proportion"].sort_index()
    for run_id, weighting in zip(plan["run_id"], plan["weighting"], strict=True):
        times = {"natural": (1, 1, 1), "double": (1, 2, 0)}[weighting]
        kinds = zip(("code", "docstring", "comment"), times, strict=True)
        copied = {kind: n * tokens[kind] for kind, n in kinds}
        mixture = shares.loc[run_id, "kind"].to_dict()
        assert mixture == pytest.approx({k: v / sum(copied.values()) for k, v in copied.items()})


def test_the_mixture_of_a_schedule_is_the_mean_of_its_phases_by_their_steps(gathered, plan, rows):
    late = [{"weighting": "natural", "until": 0.7}, {"weighting": "double"}]
    weights = {"natural": {}, "double": {"kind": {"docstring": 2.0, "comment": 0.0}}}
    audits = {name: expand_table(rows, w, seed=0)[1] for name, w in weights.items()}
    runs = plan.assign(weighting="late", n_steps=5)
    results = shard(*(result(run_id, 3.0) for run_id in runs["run_id"]))
    mixtures = gather_sweep(runs, [results], audits, {"late": late})["mixtures"]
    tables.conform("mixtures", mixtures)
    key = ["run_id", "tag_key", "domain"]
    before = gathered["mixtures"].set_index(key)["proportion"]
    natural, double = (before.loc[run_id] for run_id in plan["run_id"][[0, 1]])
    for run_id in runs["run_id"]:
        mixed = mixtures.set_index(key)["proportion"].loc[run_id]
        assert mixed.to_dict() == pytest.approx((0.8 * natural + 0.2 * double).to_dict())


def test_a_sweep_in_which_nothing_is_done_still_gives_tables(plan, rows):
    everything = shard(*(undone(run_id, "failed") for run_id in plan["run_id"]))
    audits = {name: expand_table(rows, {}, seed=0)[1] for name in ("natural", "double")}
    made = gather_sweep(plan, [everything], audits, {})
    assert {name: len(tables.conform(name, made[name])) for name in made} | {"mixtures": 0} == {
        **{"runs": 4, "timing": 4, "losses": 0, "curves": 0, "mixtures": 0}
    }


def test_a_planned_run_without_a_result_is_an_error_that_names_it(plan):
    first, *others = plan["run_id"]
    with pytest.raises(TableError, match=f"no result for {first}"):
        gather_sweep(plan, [shard(*(result(run_id, 3.0) for run_id in others))], {}, {})


# ---- in batches


@pytest.fixture
def many():
    """A plan of 40 runs, their shards as tables, and the audits of its weightings."""
    plan = plan_sweep({**SWEEP, "shards": 3, "cells": [{**CELL, "seed": list(range(10))}]})
    ends = [result, lambda run_id, _: undone(run_id, "failed"), result, result]
    rows = [ends[i % 4](run_id, 2.0 + i) for i, run_id in enumerate(plan["run_id"])]
    rows[2]["curve"][0]["loss_nats"] = float("nan")  # empty in the table, as pandas had it
    rows[3]["losses"], rows[3]["curve"] = [], []
    rows = [row | {"run_digest": f"digest {i}"} for i, row in enumerate(rows)]
    by_shard = {name: shard(*(rows[i] for i in part.index)) for name, part in plan.groupby("shard")}
    tags = {"rows_before": 1, "rows_after": 1, "tokens_before": 9}
    audits = {
        name: pd.DataFrame({"tag_key": "kind", "tag_value": ["a", "b"], "tokens_after": n, **tags})
        for name, n in {"natural": [4, 5], "double": [4, 10]}.items()
    }
    return plan, {**by_shard, "none": shard()}, audits


def in_one_piece(name: str, results: pd.DataFrame, column: str) -> pd.DataFrame:
    """The entries of a nested column as rows, one after the other."""
    records = [
        {"run_id": run_id, **entry, "loss": entry["loss_nats"]}
        for run_id, entries in zip(results["run_id"], results[column], strict=True)
        if entries is not None
        for entry in entries
    ]
    return pd.DataFrame(records, columns=tables.schema(name).names)


def test_tables_in_batches_are_the_bytes_of_tables_in_one_piece(many, tmp_path, monkeypatch):
    plan, shards, audits = many
    facts = {"study": "s"}
    units = {"token": "token", "loss_unit": "nats/token"}
    files = [[tmp_path / "plan.parquet"], [], []]
    tables.write("plan", plan, files[0][0], facts)
    for i, tables_of in enumerate((shards, audits), 1):
        for name, table in tables_of.items():
            files[i].append(tmp_path / f"{name}.parquet")
            kind = "shard" if tables_of is shards else "audit"
            tables.write(kind, table, files[i][-1], {"weighting": name})
    plan = tables.frame(files[0][0])
    late = {"double": [{"weighting": "natural", "until": 0.7}, {"weighting": "double"}]}
    whole = gather_sweep(plan, list(shards.values()), audits, late)
    results = pd.concat(shards.values()).set_index("run_id").loc[plan["run_id"]].reset_index()
    for name, column in sweep.NESTED.items():
        whole[name] = in_one_piece(name, results, column)
    tables.write_all(whole, tmp_path / "whole", {**facts, **units})
    monkeypatch.setattr(sweep, "_BLOCK", 7)
    specification = {"sweep": "s", "schedules": late, **units}
    made = job.run(specification, *files, [], tmp_path / "blocks", facts)
    assert [file.stem for file in made] == ["runs", "losses", "curves", "mixtures", "timing"]
    for file in made:
        assert len(tables.read(file)) > 0
        assert file.read_bytes() == (tmp_path / "whole" / file.name).read_bytes()


def test_batches_are_the_row_groups_that_arrow_makes(tmp_path, monkeypatch):
    numbers = pa.table({"n": pa.array(np.arange(sweep.BATCH_ROWS + 5))})
    tables.write_free(numbers, tmp_path / "whole.parquet", {})
    about = pq.read_metadata(tmp_path / "whole.parquet")
    assert [about.row_group(i).num_rows for i in (0, 1)] == [sweep.BATCH_ROWS, 5]
    monkeypatch.setattr(sweep, "BATCH_ROWS", 8)
    parts = [numbers.slice(*cut) for cut in ((0, 3), (3, 0), (3, 20), (23, 1), (24, 2))]
    batches = list(sweep._in_batches(parts))
    assert [len(batch) for batch in batches] == [8, 8, 8, 2]
    assert pa.concat_tables(batches)["n"].to_pylist() == list(range(26))


def test_a_table_without_rows_has_the_bytes_of_one_in_one_piece(tmp_path):
    tables.write("losses", tables.empty("losses"), tmp_path / "whole.parquet", {})
    sweep.write("losses", iter(()), tmp_path / "batches.parquet", {})
    assert (tmp_path / "batches.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
