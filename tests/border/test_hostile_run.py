"""A study whose texts are all commands of a shell, run for real with secrets in the environment."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from full_study import full_study, write_inputs
from running import ROOT, snakemake, write

from isoloss.__main__ import main
from isoloss.study import flow
from isoloss.trainers.command import Program

# what would make a file, if any of it were run or filled in
SHELL = "$(touch PWNED);`touch PWNED`|touch PWNED&&touch PWNED #{input}{wildcards.x}<results>%s'\""
SECRETS = {
    "HF_TOKEN": "hf_" + "S3cr3tOfAHub" * 2,
    "OPENAI_API_KEY": "sk-" + "s3cr3tOfAnApi" * 2,
    "AWS_SECRET_ACCESS_KEY": "s3cr3t/of+a/cloud/0123456789",
    "WANDB_API_KEY": "5ec4e7ab" * 5,
    "RUNS_PASSWORD": "open-s3same-77",
    "http_proxy": "http://somebody:pr0xy-s3cret@127.0.0.1:9",
    "https_proxy": "http://somebody:pr0xy-s3cret@127.0.0.1:9",
}


def hostile_study() -> dict:
    """A small study with a command of a shell in every text that can be any text."""
    full = full_study()
    notes = full["load"]["notes"] | {"valid_fraction": 0.4}
    notes["options"] |= {"tags": {SHELL: SHELL}, "maps": {SHELL: {"a": SHELL}}, "path_tags": ""}
    notes["options"] |= {"files": [f"data/{SHELL.replace('/', '_')}.jsonl"]}
    cells = [{"d_model": 4, "n_samples": 320, "weighting": "twice"}]
    grid = full["train"]["grid"] | {"dataset": "notes", "cells": cells}
    own = full["train"]["own"]
    own["settings"] = {"name": SHELL}
    own["command"] |= {
        "run": own["command"]["run"] + f' --loss={{name}} --file={{name}} "{_quoted(SHELL)}"',
        "resume": f'"{_quoted(SHELL)}"',
        "results": SHELL,
        "loss": SHELL,
        "losses": {SHELL: SHELL},
        "curve": SHELL,
        "loss_unit": SHELL[:40],
        "example": SHELL[-40:],
    }
    own["command"]["run"] += " {resume}" if "{resume}" not in own["command"]["run"] else ""
    table = full["aggregate"]["mine"] | {"table": f"{SHELL.replace('/', '_')}.json"}
    line = {key: value for key, value in full["fit"]["line"].items() if key != "where"}
    return {
        "study": "hostile",
        "load": {"notes": notes},
        "expand": {"natural": {}, "twice": {SHELL: {SHELL: 2}}},
        "train": {"grid": grid, "own": own},
        "aggregate": {"mine": table},
        "fit": {"law": {"card": "chinchilla", "sweep": "mine", "bootstrap": 0}, "line": line},
    }


def _quoted(text: str) -> str:
    """A text as a word of a command line in which braces stand for themselves."""
    text = text.replace("{", "{{").replace("}", "}}")
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`").replace("$", "\\$")


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory):
    """The folder in which the study ran once, and all that was printed."""
    outer = tmp_path_factory.mktemp("outer")
    folder = outer / "folder"
    folder.mkdir()
    write_inputs(folder, source=SHELL, group=SHELL)
    shutil.move(folder / "data/web/1.jsonl", folder / f"data/{SHELL.replace('/', '_')}.jsonl")
    shutil.move(folder / "runs.json", folder / f"{SHELL.replace('/', '_')}.json")
    study = write(folder, hostile_study())
    process = snakemake(folder, "--configfile", study, "-p", **SECRETS)
    return folder, process.returncode, process.stdout + process.stderr


def test_texts_of_a_study_that_are_commands_are_run_as_texts(hostile_run):
    folder, code, printed = hostile_run
    assert code == 0, printed
    assert list(folder.parent.rglob("PWNED*")) == []
    assert not (ROOT / "PWNED").exists()
    provenance = json.loads((folder / "results/hostile/provenance.json").read_text())
    assert provenance["study"] == "hostile"
    for made in ("fit/mine/law/law.py", "fit/own/line/law.py", "summary.md"):
        assert (folder / "results/hostile" / made).is_file(), made


def test_a_run_writes_nothing_outside_its_results(hostile_run):
    folder, _, _ = hostile_run
    inputs = {"data", "lib", "train.py", "study.yaml", f"{SHELL.replace('/', '_')}.json"}
    assert {path.name for path in folder.iterdir()} == {*inputs, "results", ".snakemake"}
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    assert {path.name for path in (folder / "results").iterdir()} == {"hostile", ".cache"}


def test_secrets_of_the_environment_are_in_no_file_and_not_printed(
    hostile_run, monkeypatch, capsys
):
    folder, _, printed = hostile_run
    assert "this size always fails" in printed or "1 failed" in printed
    monkeypatch.chdir(folder)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for command in ("status", "verify"):
        main([command, "study.yaml"])
    of_commands = capsys.readouterr()
    texts = [printed, of_commands.out, of_commands.err]
    texts += [p.read_bytes().decode("latin-1") for p in folder.rglob("*") if p.is_file()]
    assert len(texts) > 50
    secrets = [value.rpartition("://")[2].partition("@")[0] for value in SECRETS.values()]
    secrets.append("pr0xy-s3cret")
    assert [secret for secret in secrets for text in texts if secret in text] == []


def test_a_link_out_of_the_results_stops_a_run_and_commands_that_write(
    hostile_run, tmp_path, monkeypatch
):
    made = hostile_run[0]
    away = tmp_path / "away"
    away.mkdir()
    folder = tmp_path / "folder"
    shutil.copytree(made, folder, symlinks=True)
    monkeypatch.chdir(folder)
    results = folder / "results" / "hostile"
    (results / "plot").symlink_to(away)
    (results / "store" / "journal.jsonl").unlink()
    (results / "store" / "journal.jsonl").symlink_to(away / "victim")
    study = str(folder / "study.yaml")
    process = snakemake(folder, "--configfile", study, "--forcerun", "read_runs_table")
    assert process.returncode != 0
    printed = process.stdout + process.stderr
    assert f"results/hostile/plot: is a link to {away}; remove it" in printed
    assert "store/journal.jsonl: is a link to" in printed
    for command in (["adopt"], ["retry"], ["accept", "--reason", "x"], ["gc", "--remove"]):
        assert main([*command, "study.yaml"]) == 2
    assert list(away.iterdir()) == []
    (results / "plot").unlink()
    (results / "plot").symlink_to(results / "fit")  # a link that stays inside is allowed
    (results / "store" / "journal.jsonl").unlink()
    assert main(["retry", "study.yaml"]) == 0


def test_the_study_that_was_run_says_what_was_written(hostile_run):
    folder, _, _ = hostile_run
    effective = yaml.safe_load((folder / "results/hostile/config.yaml").read_text("utf-8"))
    assert effective["train"]["own"]["settings"]["name"] == SHELL
    (output, *_) = sorted(Path(folder, "results/hostile/store").glob("*/output.txt"))
    assert output.read_text().startswith("$ python train.py")


def test_files_of_python_in_the_folder_of_a_study_are_not_imported(tmp_path, monkeypatch):
    for name in ("yaml", "json", "isoloss", "random"):
        (tmp_path / f"{name}.py").write_text("open('PWNED', 'w')\nraise SystemExit('imported')\n")
    monkeypatch.setattr(os, "environ", {**os.environ, "PYTHONPATH": str(ROOT / "workflow")})
    flow.put_this_python_first()  # as the workflow does for its jobs
    arguments = ["python", "-m", "isoloss", "cards", "law"]
    job = subprocess.run(arguments, cwd=tmp_path, env=os.environ, capture_output=True, text=True)
    assert (job.returncode, job.stderr) == (0, "")
    assert "chinchilla" in job.stdout
    assert not (tmp_path / "PWNED").exists()
    # a script of the user's own imports what lies beside it
    program = Program("r", {"seed": 0}, {"threads": 1}, tmp_path, "")
    assert "PYTHONSAFEPATH" in os.environ
    assert "PYTHONSAFEPATH" not in program.environment()
