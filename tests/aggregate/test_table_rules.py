"""What a user says about a table reaches the reading: from a study and from the command line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from isoloss.__main__ import main
from isoloss.core import tables
from isoloss.report.summary import summarize
from isoloss.study.check import checked

STUDY = """
study: many
aggregate:
  own:
    table: {folder}/sweep.csv
    columns: {{N: size, D: log_d, loss: ppl}}
    keep: ['status == "ok"']
    best_of: [N, D]
    scale: {{N: 1e6, D: log10}}
    loss_unit: perplexity
fit:
  chinchilla: {{card: chinchilla, sweep: own, interval: none}}
"""


@pytest.fixture
def folder(tmp_path):
    """A sweep of learning rates in units of its own; a run diverged, and one failed."""
    n, d = map(np.ravel, np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    loss = 1.8 + 480 / n**0.347 + 2100 / d**0.367
    parts = [
        pd.DataFrame({"size": n / 1e6, "log_d": np.log10(d), "ppl": np.exp(loss + more)})
        for more in (0.1, 0.0, 3.0)
    ]
    table = pd.concat(parts, ignore_index=True).assign(status="ok").astype({"ppl": object})
    table.loc[2, "ppl"] = "OOM"
    table.loc[4, ["ppl", "status"]] = ["-", "failed"]
    table.to_csv(tmp_path / "sweep.csv", index=False)
    (tmp_path / "study.yaml").write_text(STUDY.format(folder=tmp_path))
    return tmp_path


def test_a_study_says_how_its_table_is_read_and_keeps_what_was_decided(folder, capsys):
    out = folder / "own"
    study = str(folder / "study.yaml")
    assert main(["aggregate", "--study", study, "--sweep", "own", "--out", str(out)]) == 0
    facts = tables.facts(out / "runs.parquet")
    assert facts["loss_unit"] == "nats/token"
    assert facts["notes"] == [
        "N = size x 1e6",
        "D = 10 ^ log_d",
        "loss = ln(ppl): the column is a perplexity",
        "1 of 75 runs diverged, row 3: loss is 'OOM' (1)",
    ]
    output = capsys.readouterr().out
    assert all(note in output for note in facts["notes"])
    asked = {
        "study": "many",
        "summary": {"budgets": [], "optima": []},
        "datasets": {},
        "figures": [],
        "trials": [],
        "rounds": {},
        "coefficients": {},
    }
    summary = summarize(asked, sorted(out.glob("*.parquet")))
    assert "**Table** (own): N = size x 1e6; D = 10 " in summary
    runs = tables.frame(out / "runs.parquet", "runs")
    assert runs["status"].value_counts().to_dict() == {"dropped": 49, "done": 25, "diverged": 1}


def test_what_a_study_says_of_a_table_is_checked_before_anything_runs(folder):
    study = folder / "study.yaml"
    for right, wrong, message in (
        ("log10", "log11", "'log11' is not a scale"),
        ("1e6", "-1", "scale.N"),
        ("perplexity", "perplexed", "loss_unit"),
        ("best_of: [N, D]", "best_of: [N, depth]", "best_of: no column 'depth'"),
    ):
        study.write_text(STUDY.format(folder=folder).replace(right, wrong))
        with pytest.raises(Exception, match=message):
            checked(study)


def test_the_command_line_says_the_same(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    arguments = ["law", "sweep.csv", "--columns", "N=size", "D=log_d", "loss=ppl"]
    arguments += ["--keep", 'status == "ok"', "--best-of", "N,D", "--scale", "N=1e6", "D=log10"]
    arguments += ["--loss-unit", "perplexity", "--bootstrap", "0", "--out", "law"]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    for part in (
        "75 rows, 25 runs",
        '1 dropped (not: status == "ok")',
        "48 dropped (not the best of its N, D)",
        "1 diverged",
        "N = size x 1e6",
        "D = 10 ^ log_d",
    ):
        assert part in output
    params = tables.frame(folder / "law" / "params.parquet", "params")
    estimates = dict(zip(params["term"], params["estimate"], strict=True))
    assert estimates["alpha"] == pytest.approx(0.347, rel=1e-3)
    assert estimates["E"] == pytest.approx(1.8, rel=1e-3)
