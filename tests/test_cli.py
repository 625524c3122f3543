"""The command line as a person types it."""

import subprocess
import sys
from importlib import metadata

import pytest

from isoloss import __main__ as program
from isoloss.__main__ import main, parser
from isoloss.aggregate import loss_units
from isoloss.core import registry
from isoloss.fit.holdout import RULES
from isoloss.fit.objectives import OBJECTIVES
from isoloss.fit.resample import INTERVALS

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


def test_without_a_command_the_usual_ways_in_are_shown(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["isoloss"])
    assert main([]) == 0
    output = capsys.readouterr().out
    for line in ("isoloss law runs.csv", "isoloss init runs.csv", "isoloss init --sweep"):
        assert f"  {line}" in output
    assert len(output.splitlines()) < 20


@pytest.mark.parametrize(
    ("typed", "shown"), [("/env/bin/isoloss", "isoloss"), ("/x/__main__.py", "python -m isoloss")]
)
def test_help_shows_what_was_typed_and_every_command_once(typed, shown, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [typed])
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"usage: {shown} COMMAND ..."
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted(listed) == sorted(COMMANDS)


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"isoloss {metadata.version('isoloss')}\n"


def test_a_command_that_is_not_known_is_answered_with_the_nearest(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["lwa", "runs.csv"])
    assert stopped.value.code == 2
    assert "no command is called 'lwa'; did you mean 'law'?" in capsys.readouterr().err


def test_the_help_of_law_is_in_groups_with_all_that_can_be_chosen(capsys):
    with pytest.raises(SystemExit):
        main(["law", "--help"])
    output = capsys.readouterr().out
    for group in ("of the table", "of the fit", "intervals", "decisions", "output"):
        assert f"\n{group}:\n" in output
    known = {
        tuple(registry.names("law")): registry.names("law"),
        program.LOSS_UNITS: loss_units.UNITS,
        program.OBJECTIVES: ("auto", *OBJECTIVES),
        program.INTERVALS: INTERVALS,
        program.HOLDOUTS: RULES,
    }
    for shown, there in known.items():
        assert sorted(shown) == sorted(there)
        assert ", ".join(shown) in " ".join(output.split())


def test_no_help_imports_what_computes():
    code = "import sys; from isoloss.__main__ import main\ntry: main(['law', '--help'])\n"
    code += "except SystemExit: print(*sorted(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0 and not set(process.stdout.split()) & {
        "numpy",
        "pandas",
        "scipy",
    }
