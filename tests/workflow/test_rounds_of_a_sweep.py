"""Rounds of fit, choice and training: what is made, what is made again, and what is not."""

import os
import re
import shutil

import pytest
from running import snakemake, write

from isoloss.__main__ import main
from isoloss.core import tables
from isoloss.records.store import Store

RESULTS = "results/adaptive"


def study(source, count: int, **rounds) -> dict:
    """Four seeding runs, and rounds of one run each at twice the largest budget."""
    return {
        "study": "adaptive",
        "seed": 3,
        "load": {
            "few": {
                "card": "python_stdlib",
                "options": {"root": str(source)},
                "valid_fraction": 0.4,
            }
        },
        "train": {
            "ladder": {
                "dataset": "few",
                "model": "transformer",
                "shards": 1,
                "valid_tokens": 1024,
                "settings": {"n_layers": 1, "context": 16, "batch_size": 8},
                "cells": [{"d_model": [4, 8], "n_samples": [2048, 8192]}],
                "rounds": {
                    "count": count,
                    "fit": "law",
                    "planner": "scale_up",
                    "shards": 1,
                    **rounds,
                },
            }
        },
        "fit": {
            "law": {
                "card": "chinchilla",
                "sweep": "ladder",
                "fixed": {"alpha": 0.4, "beta": 0.4},
                "bootstrap": 20,
            }
        },
    }


def made(folder, config, *arguments) -> set[str]:
    """Run the study; the messages of the jobs that were run, one for each."""
    process = snakemake(folder, "--configfile", write(folder, config), *arguments)
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    return set(re.findall(r"^Job \d+: (.*)$", output, flags=re.M))


def starts(folder) -> int:
    """How many times the training of a run was started, by the journal."""
    journal = Store(folder / RESULTS / "store").journal()
    return sum(line["event"] == "start" for line in journal)


def runs(folder, sweep: str):
    """The runs gathered under the name of a sweep."""
    return tables.frame(folder / RESULTS / f"aggregate/{sweep}/runs.parquet", "runs")


def choices(folder, sweep: str):
    """What a round chose."""
    return tables.frame(folder / RESULTS / f"choose/{sweep}/choices.parquet", "choices")


def of_round(sweep: str) -> set[str]:
    """The jobs of a round."""
    return {
        f"choose {sweep}: the runs of the round",
        f"plan {sweep}: spell the runs out",
        f"train {sweep}: shard 0",
        f"aggregate {sweep}: gather its runs",
        f"fit law to {sweep}",
    }


def is_verified(folder) -> bool:
    """Whether `verify` finds nothing wrong with the results."""
    return main(["verify", str(folder / "study.yaml"), "--directory", str(folder)]) == 0


SUMMARY = "summary: what was found"


def test_a_round_trains_what_it_chose_and_one_more_beyond_the_budget_nothing(
    source, tmp_path, capsys
):
    budget = 2.2e8
    made(tmp_path, study(source, 1, budget=budget))
    assert starts(tmp_path) == 4 + 1
    assert list(runs(tmp_path, "ladder_1")["round"]) == [0, 0, 0, 0, 1]
    chosen, run = choices(tmp_path, "ladder_1").iloc[0], runs(tmp_path, "ladder_1").iloc[-1]
    largest = runs(tmp_path, "ladder_0")["n_flops_6nd"].max()
    assert chosen["n_flops"] == pytest.approx(2 * largest)
    assert run["n_samples"] == pytest.approx(chosen["n_samples"], rel=0.01)
    assert run["n_params"] == pytest.approx(chosen["n_params"], rel=0.5)
    assert made(tmp_path, study(source, 1, budget=budget), "-n") == set()

    assert made(tmp_path, study(source, 2, budget=budget)) == {*of_round("ladder_2"), SUMMARY}
    assert starts(tmp_path) == 4 + 1
    assert choices(tmp_path, "ladder_2")["choice"].isna().all()
    assert runs(tmp_path, "ladder_2").equals(runs(tmp_path, "ladder_1"))
    summary = (tmp_path / RESULTS / "summary.md").read_text(encoding="utf-8")
    assert "4 seeding runs, then 1 chosen in 2 rounds" in summary
    assert "round 2 trains nothing:" in summary
    assert is_verified(tmp_path), capsys.readouterr().out


@pytest.mark.slow
def test_one_more_round_trains_its_own_run_only(source, tmp_path):
    made(tmp_path, study(source, 1))
    assert made(tmp_path, study(source, 2)) == {*of_round("ladder_2"), SUMMARY}
    assert starts(tmp_path) == 4 + 1 + 1


@pytest.mark.slow
def test_what_is_chosen_again_is_not_trained_again(source, tmp_path):
    config = study(source, 2)
    made(tmp_path, config)
    assert starts(tmp_path) == 4 + 2

    config["fit"]["law"]["ci_level"] = 0.9  # the same optimum
    again = made(tmp_path, config)
    assert {"fit law to ladder_0", *of_round("ladder_1"), *of_round("ladder_2")} <= again
    assert "train ladder_0: shard 0" not in again
    assert starts(tmp_path) == 4 + 2

    config["train"]["ladder"]["rounds"]["options"] = {"factor": 3.0}
    assert "fit law to ladder_0" not in made(tmp_path, config)
    assert starts(tmp_path) == 4 + 2 + 2
    assert is_verified(tmp_path)

    config["train"]["ladder"]["cells"][0]["seed"] = [0, 1]
    made(tmp_path, config)
    trained = set(runs(tmp_path, "ladder_2")["run_digest"])
    assert len(trained) == 8 + 2
    assert starts(tmp_path) - (4 + 2 + 2) == len(trained) - 4
    assert made(tmp_path, config, "-n") == set()


@pytest.mark.slow
def test_rounds_go_on_where_they_were_interrupted_and_in_a_copy(source, tmp_path, capsys):
    config = study(source, 2)
    target = f"{RESULTS}/aggregate/ladder_1/runs.parquet"
    made(tmp_path, config, "--", target)
    assert starts(tmp_path) == 4 + 1
    assert main(["status", str(tmp_path / "study.yaml"), "--directory", str(tmp_path)]) == 0
    assert "ladder_2: its runs are chosen when ladder_1 is fitted" in capsys.readouterr().out
    rest = made(tmp_path, config)
    assert rest == {
        "fit law to ladder_0",
        "fit law to ladder_1",
        *of_round("ladder_2"),
        SUMMARY,
    } - {"fit law to ladder_0"}
    assert starts(tmp_path) == 4 + 2

    shutil.rmtree(tmp_path / ".snakemake")  # as in a copy without its times
    for file in (tmp_path / RESULTS).rglob("*.parquet"):
        os.utime(file)
    assert main(["adopt", str(tmp_path / "study.yaml"), "--directory", str(tmp_path)]) == 0
    assert made(tmp_path, config, "-n") == set()
