"""A study that starts from a table of runs: nothing is trained."""

import json
import threading
from functools import partial
from hashlib import blake2b
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
import yaml
from running import ROOT, snakemake, write
from serving import Site, answer

import isoloss
from isoloss.__main__ import main
from isoloss.core import tables


def published(bootstrap: int) -> dict:
    """studies/published-runs.yaml with fewer replicates and folds; fewest of its slowest law."""
    study = yaml.safe_load((ROOT / "studies/published-runs.yaml").read_text())
    for name, fit in study["fit"].items():
        fit["bootstrap"] = 5 if name == "mixture" else bootstrap
        fit["holdout"]["repeats"] = 2
    return study


@pytest.mark.slow
def test_published_runs_reach_the_plain_huber_optimum(reference_data, tmp_path):
    config = write(tmp_path, published(bootstrap=20))
    dag = snakemake(tmp_path, "--configfile", config, "--dag").stdout
    for rule in ("load_rows", "expand_rows", "plan_sweep", "train_shard"):
        assert rule not in dag
    process = snakemake(tmp_path, "--configfile", config)
    assert process.returncode == 0, process.stderr
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
        bootstrap=20,
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
    process = snakemake(tmp_path, "--configfile", config)
    assert process.returncode == 0, process.stderr
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
        "plot": {figure: {"card": "isoloss", "sweep": sweep, "fits": [law]}},
    }


def test_names_may_have_100_characters_and_columns_any_name(tmp_path):
    config = write(tmp_path, of_rows(tmp_path, "`val loss` < max(loss)"))
    process = snakemake(tmp_path, "--configfile", config)
    assert process.returncode == 0, process.stderr
    results = tmp_path / "results" / ("s" * 100)
    assert (results / "plot" / ("d" * 100 + ".png")).is_file()
    assert "24 finished" in (results / "summary.md").read_text()


def test_a_filter_of_a_study_runs_nothing(tmp_path):
    keep = '@pd.io.common.os.system("touch PWNED") == 0'
    config = write(tmp_path, of_rows(tmp_path, keep))
    process = snakemake(tmp_path, "--configfile", config)
    assert process.returncode != 0
    assert "character 1: '@' is not part of a filter" in process.stdout + process.stderr
    assert not list(tmp_path.rglob("PWNED*")) and not (tmp_path / "results").exists()


def csv(last: float) -> bytes:
    """A table of runs of which the last loss is given."""
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e6, 1e9, 3), np.geomspace(1e8, 1e11, 3)))
    loss = 1.7 + 400 / n**0.34 + 410 / d**0.28
    loss[-1] = last
    return pd.DataFrame({"params": n, "tokens": d, "val": loss}).to_csv(index=False).encode()


def from_the_web(table: str) -> dict:
    """A study of a table at an address."""
    columns = {"N": "params", "D": "tokens", "loss": "val"}
    return {
        "study": "web",
        "aggregate": {"mine": {"table": table, "columns": columns}},
        "fit": {"law": {"card": "power_law", "sweep": "mine", "bootstrap": 5}},
    }


def test_a_table_is_fetched_once_and_its_manifest_is_of_the_bytes_of_its_rows(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    loss = iter(range(3, 100))
    answers = {"/r.csv": lambda _: answer(csv(next(loss)))}
    with Site(answers) as site:
        config = write(tmp_path, from_the_web(f"{site.url}/r.csv"))
        for count in (1, 2):  # every answer is another table
            run = snakemake(tmp_path, "--configfile", config)
            assert run.returncode == 0, run.stderr
            assert len(site.requests) == count
            made = tmp_path / "results/web/aggregate/mine"
            rows = tables.frame(made / "runs.parquet")
            assert rows["loss"].iloc[-1] == 2 + count
            content = json.loads((made / "manifest.json").read_text())["specification"]["content"]
            assert content == blake2b(csv(2 + count), digest_size=16).hexdigest()
        answers["/r.csv"] = answer(csv(4))  # as the last one
        run = snakemake(tmp_path, "--configfile", config)
        assert "Nothing to be done" in run.stdout + run.stderr
        assert len(site.requests) == 3
        assert main(["verify", config]) == 0
        assert len(site.requests) == 4
    # without a network
    capsys.readouterr()
    run = snakemake(tmp_path, "--configfile", config)
    assert run.returncode == 1
    copy = "results/web/fetched/mine/table"
    assert f"the bytes fetched last are {copy}: give that path" in run.stdout + run.stderr
    assert main(["verify", config]) == 2
    assert f"the bytes fetched last are {copy}" in capsys.readouterr().err
    assert main(["verify", "results/web/config.yaml"]) == 0  # by what was fetched last
    # a process of a job elsewhere reads what its main process fetched
    job = ("--mode", "subprocess", "--force", "--allowed-rules", "read_runs_table", "--target-jobs")
    run = snakemake(tmp_path, "--configfile", config, *job, "read_runs_table:study=web,sweep=mine")
    assert run.returncode == 0, run.stderr
    config = write(tmp_path, from_the_web(copy))
    run = snakemake(tmp_path, "--configfile", config)
    assert "Nothing to be done" in run.stdout + run.stderr


def test_no_byte_that_a_study_leaves_or_says_has_its_secrets(tmp_path):
    secret, password = "sesame-42-sesame$HOME", "open/sesame"
    variables = {"RUNS_TOKEN": secret, "RUNS_PASSWORD": password.replace("/", "%2F")}
    variables["RUNS_URL"] = "http://127.0.0.1:1/x.csv?token=" + secret
    away = f"HTTP/1.1 302 Found\r\nLocation: ftp://x/?{secret}\r\n\r\n".encode()
    with Site(
        {"/r.csv": answer(csv(3)), "/away": away, "/page": answer("<html>" + secret)}
    ) as site:
        texts = []
        for path in ("r.csv", "gone", "away", "page"):
            table = f"http://ann:$RUNS_PASSWORD@{site.host}/{path}?token=${{RUNS_TOKEN}}"
            config = write(tmp_path, from_the_web(table))
            run = snakemake(tmp_path, "--configfile", config, "--printshellcmds", **variables)
            assert (run.returncode == 0) == (path == "r.csv"), run.stderr
            assert f"GET /{path}?token={secret} " in site.requests[-1]
            texts.append(run.stdout + run.stderr)
            if path == "r.csv":
                effective = yaml.safe_load((tmp_path / "results/web/config.yaml").read_text())
                assert effective["aggregate"]["mine"]["table"] == table
                run = snakemake(tmp_path, "--configfile", config, "--report", "r.html", **variables)
                assert run.returncode == 0, run.stderr
                texts.append(run.stdout + run.stderr)
        for table in ("$RUNS_URL", "$RUNS_NOWHERE/x.csv"):
            config = write(tmp_path, from_the_web(table))
            run = snakemake(tmp_path, "--configfile", config, **variables)
            assert run.returncode == 1
            texts.append(run.stdout + run.stderr)
    assert "environment variable RUNS_NOWHERE is not set" in texts[-1]
    assert "404 Not Found" in texts[2] and "$RUNS_URL: cannot be read" in texts[-2]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"summary.md", "config.yaml", "provenance.json", "r.html"} <= {f.name for f in files}
    left = [(str(file), file.read_bytes()) for file in files]
    left += [(f"output {i}", text.encode()) for i, text in enumerate(texts)]
    for name, content in left:
        for word in (secret, "sesame", password):
            assert word.encode() not in content and word not in name, name
