"""`isoloss run`: the command that it becomes."""

import os
import sys
import tomllib
from pathlib import Path

import pytest

from isoloss.__main__ import main
from isoloss.core import extras, home
from isoloss.core.problems import IsolossError, StudyError
from isoloss.study import launch

ROOT = Path(__file__).parents[1]


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("study: mine\n")
    return "mine.yaml"


def test_the_workflow_of_the_project_runs_with_its_profile_whatever_the_folder_holds(study):
    Path("default").mkdir()  # snakemake would take it for the profile
    words = launch.command(study, ["fits", "-n"])
    assert words[words.index("--snakefile") + 1] == str(ROOT / "Snakefile")
    assert words[words.index("--workflow-profile") + 1] == str(ROOT / "profiles/default")
    assert words[-3:] == ["--configfile=mine.yaml", "fits", "-n"]


@pytest.mark.parametrize("given", [["--workflow-profile", "none"], ["--workflow-profile=none"]])
def test_a_profile_that_is_given_is_the_only_one(study, given):
    words = launch.command(study, given)
    assert sum(word.startswith("--workflow-profile") for word in words) == 1


def test_a_profile_of_the_project_is_known_by_its_name_where_none_is_here(study, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert launch.command(study, ["--profile", "slurm"])[-1] == str(ROOT / "profiles/slurm")
    assert launch.command(study, ["--profile", "other"])[-1] == "other"
    assert launch.command(study, ["slurm"])[-1] == "slurm"  # a target
    Path("slurm").mkdir()
    assert launch.command(study, ["--profile", "slurm"])[-1] == "slurm"


def test_bars_are_drawn_where_nobody_names_a_logger(study, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert "rich" in launch.command(study, bars=True)
    assert "rich" not in launch.command(study)
    assert launch.command(study, ["--logger", "plain"], bars=True).count("--logger") == 1


def test_a_study_that_is_not_there_or_empty_is_named(study):
    with pytest.raises(StudyError, match=r"not there\.yaml"):
        launch.command("not there.yaml")
    Path("empty.yaml").touch()
    with pytest.raises(StudyError, match=r"empty\.yaml.*\n.*is not a mapping"):
        launch.command("empty.yaml")


def test_another_study_among_the_words_for_snakemake_is_refused(study):
    for words in (["--configfile", "b.yaml"], ["-n", "--configfile=b.yaml"]):
        with pytest.raises(IsolossError, match="the study is given"):
            launch.command(study, words)


def test_the_extra_that_is_named_is_the_least_that_the_study_needs(study, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(IsolossError, match=r"isoloss\[snakemake\]"):
        launch.command(study)
    Path("sweep.yaml").write_text("study: mine\ntrain: {widths: {}}\n")
    with pytest.raises(IsolossError, match=r"isoloss\[workflow\]"):
        launch.command("sweep.yaml")


def test_the_profile_of_a_cluster_says_which_extra_it_needs(study, monkeypatch):
    there = {"snakemake": True, "snakemake_executor_plugin_slurm": None}
    monkeypatch.setattr("importlib.util.find_spec", there.get)
    with pytest.raises(IsolossError, match=r"isoloss\[slurm\]"):
        launch.command(study, ["--profile", "slurm"])


@pytest.mark.parametrize("words", [["-n"], ["--directory", "there"], ["-dthere"]])
def test_a_folder_that_cannot_be_written_is_refused(study, monkeypatch, capsys, words):
    Path("there").mkdir()
    monkeypatch.setattr("os.access", lambda place, mode: False)  # the tests may run as root
    assert main(["run", study, *words]) == 2
    place = Path.cwd() if words == ["-n"] else Path.cwd() / "there"
    assert f"{place}: cannot be written" in capsys.readouterr().err


def test_the_package_is_imported_from_where_it_is_now(monkeypatch):
    package = str(home.PACKAGE.parent)
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])
    assert launch.environment({"PYTHONPATH": "mine"})["PYTHONPATH"] == f"{package}{os.pathsep}mine"
    assert launch.environment({"PYTHONPATH": package}) == {"PYTHONPATH": package}
    monkeypatch.setattr(sys, "path", ["", package])  # installed
    assert launch.environment({}) == {}


def test_the_command_to_type_again_runs_where_it_is_typed(study):
    assert launch.again(study, ".", ["-n"]) == ["isoloss", "run", study, "-n"]
    assert launch.again(study, "/data")[3:] == ["--directory", "/data"]
    Path("Snakefile").touch()
    assert launch.again(study) == ["snakemake", "--configfile", study]


def test_every_extra_that_is_named_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.EXTRAS.values()) <= set(project["optional-dependencies"])
