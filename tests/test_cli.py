"""The command line as a person types it."""

import subprocess
import sys

import pytest

from isoloss.__main__ import main, parser

COMMANDS = list(parser()._subparsers._group_actions[0].choices)


def isoloss(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "isoloss", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    output = capsys.readouterr().out
    assert len(output.splitlines()) > 4
    assert "None" not in output


def test_a_wrong_study_is_said_in_full_with_exit_code_2(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text("study: x\nload: {a: {card: python_stdlb}}\nsed: 1\n")
    process = isoloss("check", str(study))
    assert process.returncode == 2
    assert "2 problems" in process.stderr
    assert "python_stdlib" in process.stderr
    assert "Traceback" not in process.stderr


def test_a_sound_study_can_be_printed_with_every_default(tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text("study: x\nload: {a: {card: python_stdlib}}\n")
    process = isoloss("check", str(study), "--effective")
    assert process.returncode == 0
    assert "valid_fraction: 0.1" in process.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["load", "--dataset", "stdlb"], "did you mean 'stdlib'?"),
        (["expand", "--weighting", "natural", "--rows", "gone.parquet"], "no such file"),
        (["fit", "--fit", "c", "--tables", "gone.parquet"], "none is known"),
    ],
)
def test_a_stage_says_what_is_wrong_and_writes_nothing(tmp_path, arguments, words):
    study = tmp_path / "study.yaml"
    study.write_text("study: x\nload: {stdlib: {card: python_stdlib}}\n")
    stage, *rest = arguments
    process = isoloss(stage, "--study", str(study), "--out", str(tmp_path / "out"), *rest)
    assert process.returncode == 2
    assert words in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("jobs", ["0", "-2"])
def test_a_sweep_without_a_job_at_once_is_refused(tmp_path, jobs):
    study = tmp_path / "study.yaml"
    study.write_text("study: x\nload: {stdlib: {card: python_stdlib}}\n")
    process = isoloss("sweep", str(study), "--jobs", jobs)
    assert process.returncode == 2
    assert f"--jobs: found {jobs}; give 1 or more" in process.stderr
    assert "Traceback" not in process.stderr


def test_cards_are_listed_with_their_formula(capsys):
    assert main(["cards", "law"]) == 0
    assert "chinchilla" in (output := capsys.readouterr().out)
    assert "L = E + A / N^α + B / D^β" in output
