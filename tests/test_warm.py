"""A program that is started warm does what it does when it is started cold."""

import os
import subprocess
import sys

import pytest
import warm
from running import ROOT

PROGRAMS = {
    "tells": """
import atexit, os, sys
atexit.register(print, "at the end")
print(sys.argv[1:], os.getcwd(), os.environ["WORD"], __name__, repr(sys.stdin.read()))
print("beside", file=sys.stderr)
""",
    "explains": "import sys; sys.exit('what went wrong')",
    "exits": "import sys; sys.exit(7)",
    "fails": "print('before'); 1 / 0",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "ours": "import sys; print([m for m in sys.modules if m.startswith('isoloss')])",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_output_and_exit_code_are_those_of_a_cold_start(tmp_path, name):
    (tmp_path / f"{name}.py").write_text(PROGRAMS[name], encoding="utf-8")
    environment = {**os.environ, "WORD": "été 源"}
    warmed = warm.run(name, "a b", "ü", folder=tmp_path, environment=environment)
    cold = subprocess.run(
        [sys.executable, "-m", name, "a b", "ü"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert warmed.returncode == cold.returncode
    assert warmed.stdout == cold.stdout
    assert warmed.stderr.splitlines()[-1:] == cold.stderr.splitlines()[-1:]


def test_programs_of_jobs_at_the_same_time_each_get_their_own_exit_code():
    python = str(warm.server() / "python")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    jobs = [
        subprocess.Popen([python, *words], env=environment, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
        for words in (["-m", "isoloss", "--help"], ["-m", "isoloss", "nonsense"],
                      ["-c", "raise SystemExit(5)"])
    ]  # fmt: skip
    outputs = [job.communicate() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 2, 5]
    assert outputs[0][0].startswith("usage: python -m isoloss")
    assert "no command is called 'nonsense'" in outputs[1][1]
