"""`python -m isoloss law` on a table of mixtures: no study, no options."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from isoloss.__main__ import main
from isoloss.core.problems import IsolossError
from isoloss.fitted import load_fit
from isoloss.quickfit.law import law_of_table

DOMAINS = ("web", "code", "books")


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A table in columns that a stranger may have, at two sizes of model."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    p = np.round(rng.dirichlet(np.ones(3), 20), 3)
    p[4, 0] = np.nan
    table = {f"prop_{d}": np.tile(p[:, i], 2) for i, d in enumerate(DOMAINS)}
    whole = np.tile(np.nan_to_num(p), (2, 1))
    for i, d in enumerate((*DOMAINS, "all")):
        worth = np.full(3, 0.05)
        worth[i % 3] = 1.0
        table[f"{d}_loss"] = 2 + 0.3 * (whole @ worth) ** -0.3 + 0.003 * rng.normal(size=40)
    table = pd.DataFrame(table)
    table["size"] = np.repeat(["small", "large"], 20)
    table.loc[7, "prop_web"] = -0.2
    table.to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


def test_every_loss_is_fitted_scored_and_the_best_mixture_said(file, capsys):
    assert main(["law", "mine.csv", "--columns", "group=size", "--bootstrap", "5"]) == 0
    output = capsys.readouterr().out
    assert "3 proportions, 4 losses by domain (guessed)" in output
    assert "1 dropped (a proportion is negative or no finite number)" in output
    assert "mixture_power: L = c + K" in output
    for group in ("group large", "group small", "all runs"):
        assert f"[{group}" in output
    assert "loss of" in output and "held out: R2" in output and "10 random choices" in output
    for group in ("large", "small", "all runs"):
        assert f"best mixture [{group}]" in output
    assert "mean of 3 losses (5 replicates)" in output
    assert max(map(len, output.splitlines())) < 140
    fit = load_fit(file.parent / "mine-law")
    assert fit.groups == ["large", "small", "ALL"]
    assert list(fit.summary["n_dropped"]) == [0] * 4 + [1] * 8
    assert (fit.summary["n_replicates"] == 5).all()
    assert (fit.summary.loc[fit.summary["group"] != "ALL", "r2"] > 0.9).all()


def test_replicates_of_mixtures_are_fewer_unless_asked_for(file):
    quick_fit = law_of_table("mine.csv", "linear_mixture", bootstrap=None)
    assert set(quick_fit.fit.summary["n_replicates"]) == {200}
    assert quick_fit.fit.groups == ["all"] and quick_fit.held is None
    assert law_of_table("mine.csv", "linear_mixture").text == quick_fit.text


def test_a_table_with_one_proportion_is_no_table_of_mixtures(file):
    table = pd.read_csv(file).drop(columns=["prop_web", "prop_code", "prop_books"])
    table.to_csv(file, index=False)
    with pytest.raises(IsolossError, match="no column of proportions"):
        law_of_table("mine.csv", "mixture_power")


def saved(folder, table, split=None):
    """A table as `datasets` saves it to disk: an Arrow stream, and what is in it as JSON."""
    whole = folder if split is None else folder / split
    whole.mkdir(parents=True)
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    with pa.ipc.new_stream(whole / "data-00000-of-00001.arrow", arrow.schema) as stream:
        stream.write_table(arrow, max_chunksize=7)
    files = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
    (whole / "state.json").write_text(json.dumps(files))
    (whole / "dataset_info.json").write_text("{}")
    if split is not None:
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": [split]}))


@pytest.mark.parametrize("split", [None, "train"])
def test_a_dataset_on_disk_becomes_a_law_that_stands_alone(tmp_path, monkeypatch, split):
    """Columns proportion_domain_1.., loss_domain_1.., a group: the whole way to `law.py`."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 40)
    table = pd.DataFrame({f"proportion_domain_{i + 1}": p[:, i] for i in range(3)})
    for i in range(3):
        table[f"loss_domain_{i + 1}"] = 2 + 0.2 * np.where(np.arange(40) < 20, 1, 2) - p[:, i]
    table["model_group"] = np.repeat(["small", "large"], 20)
    saved(tmp_path / "data", table, split)
    assert main(["law", "data", "--law", "log_linear", "--bootstrap", "3", "--out", "out"]) == 0
    fit = load_fit("out")
    assert set(fit.groups) == {"large", "small", "ALL"}
    space: dict = {}
    exec(compile((tmp_path / "out" / "law.py").read_text("utf-8"), "law.py", "exec"), space)
    law = space["law"]
    point = {"proportion_domain_1": 0.2, "proportion_domain_2": 0.5, "proportion_domain_3": 0.3}
    (prediction,) = law([point], "small")
    assert set(prediction) == {"loss_domain_1", "loss_domain_2", "loss_domain_3"}
    shares = {f"p_domain_{i + 1}": v for i, v in enumerate(point.values())}
    for response, loss in prediction.items():
        assert loss == pytest.approx(fit.loss("small", response, **shares).item(), rel=1e-9)
    # another group falls back on ALL; a share that is missing counts 0
    assert law([point], "tiny") == law([point], "ALL") != law([point], "small")
    some = {k: v for k, v in point.items() if k != "proportion_domain_3"}
    assert law([some], "small") == law([{**some, "proportion_domain_3": 0.0}], "small")


def test_a_folder_that_is_no_dataset_is_told(tmp_path, capsys):
    assert main(["law", str(tmp_path)]) == 2
    assert "folder without a saved dataset" in capsys.readouterr().err


def test_domains_of_any_name_are_fitted_and_columns_of_another_pattern_are_none(file, capsys):
    table = pd.read_csv(file)
    names = {"prop_web": "prop_self", "web_loss": "self_loss", "prop_code": "prop_a\nb"}
    table = table.rename(columns=names).assign(theta=1.0, domain="x", data=2.0)
    table.to_csv(file, index=False)
    assert main(["law", "mine.csv", "--bootstrap", "2"]) == 0
    assert "3 proportions, 4 losses by domain" in capsys.readouterr().out
    table.assign(share_self=0.1).to_csv(file, index=False)
    assert main(["law", "mine.csv", "--bootstrap", "2"]) == 0
    output = capsys.readouterr().out
    assert (
        "3 proportions, 4 losses by domain" in output
        and "not used: data, theta, share_self" in output
    )


def test_a_letter_that_there_is_not_is_told(file, capsys):
    assert main(["law", "mine.csv", "--columns", "V=size"]) == 2
    assert "columns.V: is not a known quantity" in capsys.readouterr().err
