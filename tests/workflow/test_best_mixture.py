"""A best mixture is trained: designed mixtures, a law of them, and a sweep under its best one."""

import os
import re
import shutil

import pytest
from running import snakemake, write

from isoloss.__main__ import main
from isoloss.core import tables
from isoloss.records.store import Store

SWEEP = {"dataset": "few", "model": "transformer", "shards": 1, "valid_tokens": 1024}
SETTINGS = {"n_layers": 1, "context": 16, "n_samples": 2048, "d_model": 4}
KINDS = ["code", "comment", "docstring"]


def study(source) -> dict:
    """A design of mixtures of code, comments and docstrings, and a sweep under the best one."""
    return {
        "study": "mix",
        "seed": 3,
        "load": {
            "few": {
                "card": "python_stdlib",
                "options": {"root": str(source)},
                "valid_fraction": 0.4,
            }
        },
        "expand": {
            "design": {
                "mixtures": {"tag_key": "kind", "points": 1, "corners": 0.8, "domains": KINDS}
            },
            "best": {"mixture": {"tag_key": "kind", "fit": "law"}},
        },
        "train": {
            "search": {**SWEEP, "settings": SETTINGS, "cells": [{"weighting": "design"}]},
            "trial": {
                **SWEEP,
                "settings": SETTINGS,
                "cells": [{"weighting": "best"}],
            },
        },
        "fit": {
            "law": {
                "card": "linear_mixture",
                "sweep": "search",
                "tag_key": "kind",
                "domain_weights": dict.fromkeys(KINDS, 1),
                "bootstrap": 20,
            }
        },
    }


def made(folder, config, *arguments) -> set[str]:
    """Run the study; the messages of the jobs that were run, one for each."""
    path = write(folder, config)
    process = snakemake(folder, "--configfile", path, *arguments)
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    return set(re.findall(r"^Job \d+: (.*)$", output, flags=re.M))


def starts(folder) -> list[str]:
    """The runs whose training was started, by the journal."""
    journal = Store(folder / "results/mix/store").journal()
    return [line["run_id"] for line in journal if line["event"] == "start"]


def verified(folder, capsys) -> str:
    """What `verify` says of the results, which match the study."""
    assert main(["verify", str(folder / "study.yaml"), "--directory", str(folder)]) == 0
    return capsys.readouterr().out


BELOW = {
    "expand few: weighting best",
    "train trial: shard 0",
    "aggregate trial: gather its runs",
    "summary: what was found",
}


def test_the_best_mixture_of_a_fit_is_trained_and_only_it_when_the_fit_changes(
    source, tmp_path, capsys
):
    config, results = study(source), tmp_path / "results/mix"
    made(tmp_path, config)
    assert len(starts(tmp_path)) == 4 + 1
    best = tables.frame(results / "fit/search/law/best_mixture.parquet", "best_mixture")
    mixture = tables.frame(results / "expand/few/best/mixture.parquet", "mixture")
    of_kind = mixture[mixture["tag_key"] == "kind"].set_index("domain")
    assert of_kind["target"].to_dict() == pytest.approx(
        dict(zip(best["domain"], best["proportion"], strict=True)), abs=1e-6
    )
    trained = tables.frame(results / "aggregate/trial/mixtures.parquet", "mixtures")
    shares = trained[trained["tag_key"] == "kind"].set_index("domain")["proportion"]
    assert shares.to_dict() == of_kind["achieved"].to_dict()
    log = (results / "logs/expand/few/best.log").read_text()
    assert "share of tokens by kind" in log
    assert "all results match" in verified(tmp_path, capsys)

    config["fit"]["law"]["domain_weights"] = {"code": 1}
    assert made(tmp_path, config) == {"fit law to search"} | BELOW
    assert len(starts(tmp_path)) == 4 + 1 + 1
    assert "all results match" in verified(tmp_path, capsys)

    shutil.rmtree(tmp_path / ".snakemake")  # as in a copy without its times
    for file in results.rglob("*.parquet"):
        os.utime(file)
    assert main(["adopt", str(tmp_path / "study.yaml"), "--directory", str(tmp_path)]) == 0
    assert made(tmp_path, config, "-n") == set()


@pytest.mark.slow
def test_a_fit_that_ends_at_the_same_mixture_trains_nothing(source, tmp_path, capsys):
    config = study(source)
    made(tmp_path, config)
    before = starts(tmp_path)
    index = tmp_path / "results/mix/expand/few/best/index.parquet"
    content = index.read_bytes()
    config["fit"]["law"]["ci_level"] = 0.9
    assert "fit law to search" in made(tmp_path, config)
    assert starts(tmp_path) == before
    assert index.read_bytes() == content
    assert "all results match" in verified(tmp_path, capsys)
