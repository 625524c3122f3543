"""A study that starts from a table of runs: nothing is trained."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
import yaml
from running import ROOT, snakemake, write

import isoloss
from isoloss import tables


def published(bootstrap: int) -> dict:
    """studies/published-runs.yaml with fewer replicates."""
    study = yaml.safe_load((ROOT / "studies/published-runs.yaml").read_text())
    for fit in study["fit"].values():
        fit["bootstrap"] = bootstrap
    return study


def test_published_runs_reach_the_plain_huber_optimum(reference_data, tmp_path):
    config = write(tmp_path, published(bootstrap=50))
    dag = snakemake(tmp_path, "--configfile", config, "--dag").stdout
    for rule in ("load_rows", "expand_rows", "plan_sweep", "train_shard"):
        assert rule not in dag
    done = snakemake(tmp_path, "--configfile", config)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "results/published-runs"
    summary = tables.frame(results / "fit/epoch/chinchilla/summary.parquet", "summary").iloc[0]
    assert summary["objective_value"] <= 0.0010182740179
    assert (summary["n_runs"], summary["n_dropped"]) == (240, 5)
    assert summary["status"] == "converged"
    params = tables.frame(results / "fit/epoch/chinchilla/params.parquet").set_index("term")
    for term, value in {"E": 1.817218, "A": 477.826, "B": 2143.42, "alpha": 0.34731}.items():
        assert params.loc[term, "estimate"] == pytest.approx(value, rel=1e-5)
    notebook = isoloss.fit_law(
        isoloss.read_runs(
            str(reference_data / "chinchilla_epoch/chinchilla_points.csv"),
            {"N": "n_params", "D": "tokens", "C": "flops", "loss": "loss"},
            keep=["loss < loss.nlargest(5).min()"],
        ),
        "chinchilla",
        bootstrap=50,
    )
    pd.testing.assert_frame_equal(notebook.params.set_index("term")[list(params)], params)
    assert "5 dropped" in (results / "summary.md").read_text()
    runs = tables.frame(results / "aggregate/epoch/runs.parquet", "runs")
    assert (runs["status"] == "dropped").sum() == 5
    assert set(runs.loc[runs["status"] == "dropped", "status_reason"]) == {
        "not: loss < loss.nlargest(5).min()"
    }


@pytest.fixture
def served(tmp_path):
    """A folder with a table of runs, served on loopback; its URL."""
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5)))
    loss = 1.7 + 400 / n**0.34 + 410 / d**0.28
    pd.DataFrame({"params": n, "tokens": d, "val": loss}).to_csv(tmp_path / "r.csv", index=False)
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/r.csv"
        server.shutdown()


def test_a_table_from_a_url_is_fitted_and_a_changed_table_is_fitted_again(served, tmp_path):
    study = {
        "study": "web",
        "aggregate": {
            "mine": {"table": served, "columns": {"N": "params", "D": "tokens", "loss": "val"}}
        },
        "fit": {"law": {"card": "chinchilla", "sweep": "mine", "bootstrap": 5}},
    }
    config = write(tmp_path, study)
    done = snakemake(tmp_path, "--configfile", config)
    assert done.returncode == 0, done.stderr
    params = tables.frame(tmp_path / "results/web/fit/mine/law/params.parquet").set_index("term")
    assert params.loc["beta", "estimate"] == pytest.approx(0.28, rel=1e-3)
    table = tmp_path / "r.csv"
    table.write_text(table.read_text().replace("params,", "params,", 1) + "5e8,5e10,2.6\n")
    dry = snakemake(tmp_path, "--configfile", config, "-n")
    assert "read_runs_table" in dry.stdout + dry.stderr


def of_rows(folder, keep) -> dict:
    """A study of a table in the folder, with names as long and as repetitive as they may be."""
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5)))
    loss = 1.7 + 400 / n**0.34 + 410 / d**0.28
    frame = pd.DataFrame({"self": n, "index": d, "val loss": loss, "status": "old"})
    frame.to_csv(folder / "r.csv", index=False)
    columns = {"N": "self", "D": "index", "loss": "val loss"}
    sweep, law, figure = "ab" * 50, "c" * 100, "d" * 100
    return {
        "study": "s" * 100,
        "aggregate": {sweep: {"table": "r.csv", "columns": columns, "keep": [keep]}},
        "fit": {law: {"card": "chinchilla", "sweep": sweep, "bootstrap": 5}},
        "plot": {figure: {"card": "isoloss", "sweep": sweep, "laws": [law]}},
    }


def test_names_may_have_100_characters_and_columns_any_name(tmp_path):
    config = write(tmp_path, of_rows(tmp_path, "`val loss` < max(loss)"))
    done = snakemake(tmp_path, "--configfile", config)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "results" / ("s" * 100)
    assert (results / "plot" / ("d" * 100 + ".png")).is_file()
    assert "24 finished" in (results / "summary.md").read_text()


def test_a_filter_of_a_study_runs_nothing(tmp_path):
    keep = '@pd.io.common.os.system("touch PWNED") == 0'
    config = write(tmp_path, of_rows(tmp_path, keep))
    done = snakemake(tmp_path, "--configfile", config)
    assert done.returncode != 0
    assert "character 1: '@' is not part of a filter" in done.stdout + done.stderr
    assert not list(tmp_path.rglob("PWNED*")) and not (tmp_path / "results").exists()
