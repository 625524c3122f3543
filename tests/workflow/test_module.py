"""The workflow as a module of somebody else's Snakefile."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from running import ROOT, snakemake

from isoloss.core import tables
from isoloss.study import start, verify

TRUTH = {"E": 1.827, "A": 494.9, "B": 2668.0, "alpha": 0.3423, "beta": 0.3826}
OUTER = """
configfile: "outer.yaml"


{before}
module isoloss:
    snakefile:
        "{root}/Snakefile"
    config:
        config["laws"]
{prefix}

use rule * from isoloss as laws_*


rule all:
    default_target: True
    input:
        rules.laws_all.input,


{after}
"""
HOOK = """
onstart:
    print("the hook of the outer Snakefile")
"""
INNER = "results/inner"
SWEEP = {  # a study that trains, of the name that the other study has
    "study": "inner",
    "load": {"text": {"card": "markov_chain", "options": {"documents": 20}}},
    "train": {
        "sweep": {
            "dataset": "text",
            "model": "transformer",
            "trainer": "builtin",
            "shards": 1,
            "valid_tokens": 256,
            "settings": {"context": 16, "n_samples": 512, "n_layers": 1, "batch_size": 8},
            "cells": [{"d_model": 8, "seed": [0, 1]}],
        }
    },
}


def outer(folder, before="", after="", prefix="") -> tuple[str, ...]:
    """Write a Snakefile that uses the workflow, its study and a table; arguments of snakemake."""
    n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e12, 5)))
    t = TRUTH
    loss = t["E"] + t["A"] / n ** t["alpha"] + t["B"] / d ** t["beta"]
    pd.DataFrame({"params": n, "tokens": d, "val": loss}).to_csv(folder / "r.csv", index=False)
    columns = {"N": "params", "D": "tokens", "loss": "val"}
    study = {
        "study": "inner",
        "aggregate": {"mine": {"table": "r.csv", "columns": columns}},
        "fit": {"chinchilla": {"card": "chinchilla", "sweep": "mine", "bootstrap": 20}},
    }
    (folder / "outer.yaml").write_text(yaml.safe_dump({"paper": "demo", "laws": study}))
    text = OUTER.format(root=ROOT, before=before, after=after, prefix=prefix)
    (folder / "Snakefile").write_text(text)
    return "--snakefile", str(folder / "Snakefile")


@pytest.mark.parametrize(("before", "after"), [("", ""), (HOOK, ""), ("", HOOK)])
def test_a_module_writes_its_study_for_the_jobs_and_has_nothing_to_do_again(
    tmp_path, before, after
):
    arguments = outer(tmp_path, before, after)
    process = snakemake(tmp_path, *arguments, "-n")
    assert process.returncode == 0, process.stderr
    assert not (tmp_path / INNER).exists()
    process = snakemake(tmp_path, *arguments)
    assert process.returncode == 0, process.stderr
    assert ("the hook of the outer Snakefile" in process.stdout) == bool(before or after)
    params = tables.frame(tmp_path / INNER / "fit/mine/chinchilla/params.parquet")
    values = params.set_index("term")["estimate"].to_dict()
    assert values == pytest.approx(TRUTH, rel=1e-4)
    assert yaml.safe_load((tmp_path / INNER / "config.yaml").read_text())["study"] == "inner"
    assert (tmp_path / INNER / "provenance.json").is_file()
    assert "# inner" in process.stderr
    process = snakemake(tmp_path, *arguments)
    assert process.returncode == 0, process.stderr
    assert "Nothing to be done" in process.stdout + process.stderr


def test_a_module_whose_study_changes_makes_what_changed(tmp_path):
    arguments = outer(tmp_path)
    assert snakemake(tmp_path, *arguments).returncode == 0
    file = tmp_path / "outer.yaml"
    file.write_text(file.read_text().replace("bootstrap: 20", "bootstrap: 30"))
    process = snakemake(tmp_path, *arguments)
    assert process.returncode == 0, process.stderr
    output = process.stdout + process.stderr
    assert "fit chinchilla to mine" in output or "laws_fit_law" in output
    assert "laws_read_runs_table" not in output
    summary = tables.frame(tmp_path / INNER / "fit/mine/chinchilla/summary.parquet", "summary")
    assert summary.loc[0, "n_replicates"] == 30


def test_without_hooks_the_jobs_are_refused_with_the_reason(tmp_path):
    arguments = outer(tmp_path)
    process = snakemake(tmp_path, *arguments, "--no-hooks")
    assert process.returncode != 0
    assert "--no-hooks: jobs need the study" in process.stdout + process.stderr
    assert not (tmp_path / INNER).exists()


def test_a_prefix_is_refused_with_the_reason(tmp_path):
    arguments = outer(tmp_path, prefix='    prefix:\n        "sub"')
    process = snakemake(tmp_path, *arguments, "-n")
    assert process.returncode != 0
    assert "the module has a prefix" in process.stdout + process.stderr


def test_the_snakefile_of_the_docs_runs_two_studies_of_one_name_in_two_folders(tmp_path):
    arguments = outer(tmp_path)
    study = yaml.safe_load((tmp_path / "outer.yaml").read_text())["laws"]
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump({"laws": study, "others": SWEEP}))
    text = (ROOT / "docs/running.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(configfile: .*?)```", text, flags=re.S)
    (tmp_path / "isoloss").symlink_to(ROOT)
    (tmp_path / "Snakefile").write_text(example)
    process = snakemake(tmp_path, *arguments)
    assert process.returncode == 0, process.stderr
    assert "localrules" not in process.stdout + process.stderr
    folders = "paper/laws", "paper/others"
    assert (tmp_path / "paper/laws/inner/fit/mine/chinchilla/params.parquet").is_file()
    runs = tables.frame(tmp_path / "paper/others/inner/aggregate/sweep/runs.parquet", "runs")
    assert list(runs["status"]) == ["done"] * 2
    for folder in folders:
        assert (tmp_path / folder / "inner/config.yaml").is_file()
        assert (tmp_path / folder / ".cache").is_dir()
    assert not (tmp_path / "results").exists()
    process = snakemake(tmp_path, *arguments)
    assert "Nothing to be done" in process.stdout + process.stderr
    for folder in folders:
        study = [f"{folder}/inner/config.yaml", "--results", folder]
        command = [sys.executable, "-m", "isoloss", "verify", *study]
        process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("results", "snakemake --configfile s.yaml --forcerun results/inner/summary.md"),
        ("paper/laws", "snakemake --forcerun paper/laws/inner/summary.md"),
    ],
)
def test_the_command_that_makes_results_again_leaves_the_config_of_another_snakefile(
    folder, expected
):
    flow = SimpleNamespace(root=Path(folder, "inner"))
    wrong = verify.Finding("summary.md", "is damaged", "make it again", wrong=True)
    assert verify.remedy(flow, [wrong], "s.yaml") == expected


@pytest.mark.parametrize("folder", ["a b", "../out", "x/", "$(touch x)", "", "a'b"])
def test_a_folder_that_commands_cannot_name_is_refused(tmp_path, folder):
    arguments = outer(tmp_path, prefix=f"    pathvars:\n        results={folder!r},")
    process = snakemake(tmp_path, *arguments, "-n")
    assert process.returncode != 0
    assert "pathvars: results:" in process.stdout + process.stderr
    assert not (tmp_path / "x").exists()


CHANGED = """
use rule train_shard from isoloss as laws_train_shard with:
    threads: 2
"""


def test_a_rule_that_trains_can_be_changed_by_the_outer_snakefile(tmp_path):
    arguments = outer(tmp_path, after=CHANGED)
    (tmp_path / "outer.yaml").write_text(yaml.safe_dump({"laws": SWEEP}))
    table = f"{INNER}/train/sweep/0.parquet"  # its inputs are those that the checkpoint decides
    process = snakemake(tmp_path, *arguments, "-n", table)
    assert process.returncode == 0, process.stderr
    assert "laws_load_rows" in process.stdout + process.stderr


@pytest.mark.parametrize(
    ("study", "reason"),
    [
        (["inner"], "the `config` of the module is not a study"),
        ({"study": "inner", "fit": 3}, "(read for the module isoloss)"),
    ],
)
def test_a_config_that_is_not_a_study_is_refused_with_the_reason(tmp_path, study, reason):
    arguments = outer(tmp_path)
    (tmp_path / "outer.yaml").write_text(yaml.safe_dump({"laws": study}))
    process = snakemake(tmp_path, *arguments, "-n")
    assert process.returncode != 0
    assert reason in process.stdout + process.stderr


def test_a_file_in_the_place_of_the_results_is_named(tmp_path):
    arguments = outer(tmp_path)
    (tmp_path / "results").write_text("")
    process = snakemake(tmp_path, *arguments, "-n")
    assert process.returncode != 0
    output = process.stdout + process.stderr
    assert "results: results would be written below it, and it is not a folder" in output
    assert "Traceback" not in output


def test_a_link_to_nothing_or_a_long_name_cannot_be_a_folder_of_results(tmp_path):
    (tmp_path / "results").symlink_to(tmp_path / "nothing")
    assert start.blocks_folder(tmp_path / "results/a") == tmp_path / "results"
    assert start.blocks_folder(tmp_path / ("x" * 300) / "a") == tmp_path / ("x" * 300)
    assert start.blocks_folder(tmp_path / "new/a") is None
