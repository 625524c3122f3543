"""A dataset of proportions and losses that `datasets` saved becomes a law in a file of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import isoloss
from isoloss.__main__ import main

STUDY = Path(__file__).parents[1] / "studies" / "mixture-table.yaml"
SHARES = [f"proportion_domain_{i}" for i in range(1, 6)]
LOSSES = [f"loss_domain_{i}" for i in range(1, 6)]
ALONE = """
import json, sys
sys.modules["isoloss"] = None
from law import law
points, groups = json.load(sys.stdin)
print(json.dumps([law(points, group) for group in groups]))
"""


@pytest.fixture(scope="module")
def folder(reference_data, tmp_path_factory):
    """A folder in which the program of the study's comment has saved the runs."""
    pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("mixtures")
    lines = re.findall(r"^#(?:     (.*))?$", STUDY.read_text(encoding="utf-8"), flags=re.M)
    environment = {
        **os.environ,
        "ISOLOSS_REFERENCE_DATA": str(reference_data),
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
    }
    program = [sys.executable, "-c", "\n".join(lines)]
    subprocess.run(program, cwd=folder, env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """What was saved."""
    import datasets

    return datasets.load_from_disk(str(folder / "5mix")).to_pandas()


def ridge(runs) -> np.ndarray:
    """Coefficients of ln L on 1 and ln(p + 1e-12) for every loss, (losses, 6): augmented rows."""
    features = np.column_stack([np.ones(len(runs)), np.log(runs[SHARES].to_numpy() + 1e-12)])
    penalty = np.sqrt(1e-3) * np.eye(6)[1:]
    target = np.log(runs[LOSSES].to_numpy())
    return np.linalg.lstsq(
        np.vstack([features, penalty]), np.vstack([target, np.zeros((5, 5))]), rcond=None
    )[0].T


def test_the_study_writes_a_law_that_predicts_alone(folder, runs, monkeypatch):
    study = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    study["fit"] = {"log_linear": study["fit"]["log_linear"] | {"bootstrap": 3}}
    study["plot"] = {}
    monkeypatch.chdir(folder)
    Path("config.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    given = ["--study", "config.yaml", "--out"]
    assert main(["aggregate", *given, "aggregate/mixtures", "--sweep", "mixtures"]) == 0
    results = folder / "fit/mixtures/log_linear"
    table = "aggregate/mixtures/runs.parquet"
    assert main(["fit", *given, str(results), "--fit", "log_linear", "--tables", table]) == 0
    assert "<!-- PARAMS START -->" in (results / "explain.md").read_text(encoding="utf-8")
    page = (results / "paper.md").read_text(encoding="utf-8")
    assert "runs of the sweep mixtures" in page and "@misc{" not in page and "@article{" in page
    points = runs[SHARES].head(7).to_dict("records")
    groups = ["70M", "410M", "ALL", "a size that was not fitted"]
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE],
        cwd=results,
        input=json.dumps([points, groups]),
        check=True,
        capture_output=True,
        text=True,
    )
    predicted = dict(zip(groups, json.loads(answer.stdout), strict=True))
    assert predicted["a size that was not fitted"] == predicted["ALL"]
    x = np.log(runs[SHARES].head(7).to_numpy() + 1e-12)
    for group in groups[:3]:
        theta = ridge(runs if group == "ALL" else runs[runs["group"] == group])
        expected = np.exp(theta[:, :1] + theta[:, 1:] @ x.T)
        for i, loss in enumerate(LOSSES):
            np.testing.assert_allclose([p[loss] for p in predicted[group]], expected[i], rtol=1e-9)
        assert all(set(point) == set(LOSSES) for point in predicted[group])


def test_its_parameters_are_those_of_ridge_regression(folder, runs, tmp_path):
    """Also of a `DatasetDict`: the rows of all its splits are fitted."""
    import datasets

    parts = {"train": runs.head(60), "test": runs.tail(len(runs) - 60)}
    sides = {name: datasets.Dataset.from_pandas(part) for name, part in parts.items()}
    datasets.DatasetDict(sides).save_to_disk(str(tmp_path / "both"))
    for saved in (folder / "5mix", tmp_path / "both"):
        fit = isoloss.law_of_table(saved, "log_linear", {"group": "group"}, bootstrap=0).fit
        assert set(fit.groups) == {"70M", "160M", "305M", "410M", "ALL"}
        for group in fit.groups:
            theta = ridge(runs if group == "ALL" else runs[runs["group"] == group])
            fitted = [fit.theta(group, loss) for loss in LOSSES]
            np.testing.assert_allclose(fitted, theta, rtol=1e-8, atol=1e-12)
