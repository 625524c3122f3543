"""The benchmark of training: what is trained, and when two contenders' losses are the same."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    """The module benchmarks/train.py, which is run as a program."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("train")
    finally:
        sys.path.remove(str(FOLDER))


def test_the_works_are_19_sizes_and_32_seeds_of_the_published_experiment(benchmark):
    sizes, seeds = benchmark.sizes_of_mlp(80).runs(), benchmark.seeds_of_mlp(80).runs()
    assert len({run["width"] for run in sizes}) == len(sizes) == 19
    assert len({run["seed"] for run in seeds}) == len(seeds) == 32
    assert {(run["n_samples"], run["batch_items"]) for run in [*sizes, *seeds]} == {(800_000, 128)}


def test_losses_that_differ_by_more_than_chance_are_not_the_same(benchmark):
    noise = np.random.default_rng(0).normal(0, 0.01, (2, 30))
    ours = 0.5 + noise[0]
    assert benchmark.alike(ours, 0.5 + noise[1]).startswith("yes: mean difference")
    assert benchmark.alike(ours, 0.55 + noise[1]).startswith("NO: mean difference +0.0")
    worse = np.append(ours[:-1], np.nan)
    assert benchmark.alike(ours, worse + noise[1]).endswith("29 runs")


def test_a_row_has_medians_their_ratio_to_ours_and_the_share_of_the_peak(benchmark):
    work = benchmark.sizes_of_mlp(16)
    measured = {"peak_mib": 100.0, "load_average": 1.0, "losses": [0.5, 0.6]}
    rows = [
        {"contender": name, "seconds": seconds, "cpu_seconds": 2 * seconds, **measured}
        for name in work.contenders
        for seconds in ((4.0, 6.0, 50.0) if name == "isoloss" else (60.0,))
    ]
    table = benchmark.table(work, rows, 100.0, "images").set_index("contender")
    assert table.loc["isoloss", "seconds"] == 6
    assert set(table["ratio"]) == set(table["cpu_ratio"]) == {1, 10}
    assert table.loc["isoloss", "peak_share"] == pytest.approx(
        10 * table.loc["tensor loop", "peak_share"]
    )
    assert table.loc["dataloader loop", "same_result"] == "not compared"
    assert "3 repeats" in table.loc["isoloss", "note"]


@pytest.mark.parametrize(
    "contender", ["isoloss", pytest.param("dataloader loop", marks=pytest.mark.slow)]
)
def test_a_contender_trains_every_model_in_a_process_of_its_own(
    benchmark, tmp_path, monkeypatch, contender
):
    monkeypatch.setattr(benchmark, "images", lambda: ("made-up images", benchmark.made_up(300, 50)))
    assert benchmark.prepare(tmp_path) == "made-up images"
    row = benchmark.row("seeds_of_mlp", contender, tmp_path, 1)
    assert len(row["losses"]) == 8 and 0 < np.nanmean(row["losses"]) < 3
    assert row["seconds"] > 0 and row["cpu_seconds"] > 0 and row["peak_mib"] > 100
