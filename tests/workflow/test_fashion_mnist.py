"""The study of Fashion-MNIST: a small copy of it from made-up images, and the real one."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import yaml
from idx_files import write_images
from running import ROOT, snakemake, write

from isoloss.__main__ import main
from isoloss.core import tables
from isoloss.study import check
from isoloss.train.plan import plan_sweep

STUDY = yaml.safe_load((ROOT / "studies/fashion-mnist.yaml").read_text(encoding="utf-8"))
# widths of the two hidden layers of the experiment's 19 models
WIDTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 15, 17, 20, 23, 27, 32, 37, 43]


def test_the_sizes_and_the_training_are_those_of_the_experiment(fashion_mnist_folder):
    study = check.check(STUDY)
    plan = plan_sweep(study["train"]["sizes"])
    assert sorted(set(plan["width"])) == WIDTHS
    assert plan.groupby("width")["seed"].apply(lambda s: sorted(s) == [*range(42, 47)]).all()
    same = plan[["n_available", "n_samples", "batch_items", "n_steps"]].drop_duplicates()
    assert same.to_dict("records") == [
        {"n_available": 10000, "n_samples": 800_000, "batch_items": 128, "n_steps": 6250}
    ]
    assert set(plan["optimizer"]) == {"adam"} and set(plan["schedule"]) == {"constant"}
    h1 = plan["width"]
    h2 = h1.map(lambda width: max(1, round(width / 2)))
    assert (plan["n_params_total"] == 785 * h1 + (h1 + 1) * h2 + (h2 + 1) * 10).all()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Results of the study with few, small and short runs on made-up images."""
    folder = tmp_path_factory.mktemp("fashion")
    study = yaml.safe_load(yaml.safe_dump(STUDY))
    options = write_images(folder, n=400, n_test=60, size=28)
    study["load"] = {"fashion": {"card": "idx_images", "options": options}}
    few = {"n_params": {"from": 2000, "to": 20000, "points": 4}, "seed": [42, 43]}
    for name, cell in (("sizes", few), ("data", {"n_unique": [100, 200, 300], "seed": [42, 43]})):
        sweep = study["train"][name]
        sweep.update(cells=[cell], valid_tokens=60, shards=1)
        sweep["settings"].update(epochs=12, batch_size=20, n_unique=300)
    study["train"]["data"]["settings"].pop("n_unique")
    for fit in study["fit"].values():
        fit["bootstrap"] = 20
    process = snakemake(folder, "--configfile", write(folder, study), cold=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder / "results" / "fashion-mnist"


@pytest.mark.slow
def test_five_panels_of_each_sweep_are_drawn_from_what_was_measured(small):
    table = tables.frame(small / "plot/n_scaling.parquet")
    runs = tables.frame(small / "aggregate/sizes/runs.parquet", "runs").set_index("run_id")
    drawn = table[table["kind"] == "run"].set_index("run_id")
    assert len(drawn) == len(runs) == 8
    assert (runs.loc[drawn.index, "n_params"] == drawn["num_params_N"]).all()
    assert (runs.loc[drawn.index, "loss"] == drawn["final_test_loss"]).all()
    assert drawn[["final_htse", "final_hsie"]].notna().all(axis=None)
    lines = table.loc[table["kind"] != "run", "kind"].tolist()
    assert lines == [f"line {n}" for n in ("performance", "abstraction", "compression", "core")]
    by_data = tables.frame(small / "plot/d_scaling.parquet")
    assert sorted(by_data["dataset_size_D"].dropna().unique()) == [100, 200, 300]
    for name in ("n_scaling", "d_scaling"):
        assert (small / f"plot/{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_columns_of_the_experiment_are_exported(small, capsys):
    columns = ["num_params_N", "final_test_loss", "final_htse", "final_hsie"]
    where = 'kind == "run" and seed == 42'
    table = str(small / "plot/n_scaling.parquet")
    assert main(["csv", table, "--where", where, "--columns", *columns]) == 0
    export = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(export) == columns and len(export) == 4
    assert export["num_params_N"].is_monotonic_increasing
    assert np.isfinite(export).all(axis=None)


@pytest.mark.slow
def test_the_real_study_finishes_with_losses_of_trained_models(fashion_mnist_folder, tmp_path):
    study = yaml.safe_load(yaml.safe_dump(STUDY))
    study["load"]["fashion"]["options"] = {"source": "files", "folder": fashion_mnist_folder}
    study["train"]["sizes"]["cells"][0]["seed"] = 42
    study["train"]["data"]["cells"][0]["seed"] = 42
    process = snakemake(tmp_path, "--configfile", write(tmp_path, study), cold=True)
    assert process.returncode == 0, process.stdout + process.stderr
    runs = tables.frame(tmp_path / "results/fashion-mnist/aggregate/sizes/runs.parquet", "runs")
    assert len(runs) == 19 and (runs["status"] == "done").all()
    assert (runs["n_unique"] == 10000).all()
    best = runs["loss"].min()
    assert 0.4 < best < 0.65  # nats an image
    # the largest model has the data by heart sooner than it gets better
    largest = runs.loc[runs["n_params"].idxmax(), "loss"]
    assert best < largest < 1.0
