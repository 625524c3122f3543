"""What is printed and written does not depend on the terminal, the locale, or who listens."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import isoloss
from isoloss.__main__ import main

HOME = Path(isoloss.__file__).parent
ROOT = Path(__file__).parents[1]
SOURCES = [*HOME.rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
RULES = [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]


@pytest.fixture
def table(chinchilla_runs, tmp_path):
    """A CSV in a folder of its own, its groups and one column with Greek names."""
    runs = chinchilla_runs(noise=0.003)[["n_params", "n_samples", "loss"]]
    runs.columns = ["N", "D", "λ"]
    runs.assign(group="α–β").to_csv(tmp_path / "runs.csv", index=False, encoding="utf-8")
    return tmp_path


def law(folder, *arguments: str | bytes, shell: str = "", **environment: str):
    """The command typed in a folder; output as bytes."""
    words = ["-m", "isoloss", "law", *arguments, "--bootstrap", "2"]
    command = [sys.executable, *words]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    env = {**os.environ, "PYTHONPATH": str(HOME.parent), **environment}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, check=False)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1:strict"},
    ],
    ids=str,
)
def test_what_cannot_be_encoded_is_printed_as_escapes_and_all_files_are_there(table, environment):
    ended = law(table, "runs.csv", "--columns", "loss=λ", "--keep", "λ < 99", **environment)
    assert ended.returncode == 0, ended.stderr
    assert b"E + A / N^\\u03b1 + B / D^\\u03b2" in ended.stdout
    assert b"loss = \\u03bb" in ended.stdout
    text = (table / "runs-law" / "law.py").read_text(encoding="utf-8")
    assert '"α–β"' in text and "N^α" in text
    for name in ("explain.md", "params.tex"):
        (table / "runs-law" / name).read_bytes().decode("utf-8")


def test_an_error_that_cannot_be_encoded_is_printed_as_escapes(table):
    ended = law(table, "runs.csv", "--columns", "loss=ψ", PYTHONIOENCODING="ascii")
    assert ended.returncode == 2
    assert b"no column '\\u03c8'" in ended.stderr and b"Traceback" not in ended.stderr


@pytest.mark.parametrize("shell", ["| head -1", "| true", ">&-", "> /dev/full"])
def test_a_reader_that_leaves_costs_nothing_that_was_fitted(table, shell):
    ended = law(table, "runs.csv", "--columns", "loss=λ", shell=shell)
    assert b"Traceback" not in ended.stderr and b"Exception" not in ended.stderr
    assert (b"No space left" in ended.stderr) == ("full" in shell)
    assert (table / "runs-law" / "params.tex").exists()


def test_what_was_fitted_is_printed_where_it_cannot_be_saved(table, capsys):
    (table / "out").write_text("a file", encoding="utf-8")
    source = str(table / "runs.csv")
    options = ["--columns", "loss=λ", "--bootstrap", "2", "--out", str(table / "out" / "x")]
    assert main(["law", source, *options]) == 2
    printed = capsys.readouterr()
    assert "evidence: converged" in printed.out and "Not a directory" in printed.err


def test_names_of_files_may_have_any_bytes(table):
    name = b"r\xff\xce\xb1.csv"
    os.rename(os.fsencode(table / "runs.csv"), os.path.join(os.fsencode(table), name))
    ended = law(table, name, b"--columns", "loss=λ".encode())
    assert ended.returncode == 0, ended.stderr
    assert "\nr\\udcffα.csv: 35 rows".encode() in ended.stdout
    folder = os.path.join(os.fsencode(table), b"r\xff\xce\xb1-law")
    assert {b"law.py", b"law.png", b"params.parquet"} < set(os.listdir(folder))
    ended = law(table, b"gone\xff.csv")
    assert ended.returncode == 2
    assert b"gone\\udcff.csv: cannot be read" in ended.stderr


def test_a_study_is_printed_as_yaml_whatever_the_terminal(table):
    study = {
        "study": "x",
        "aggregate": {
            "a": {
                "table": "runs.csv",
                "columns": {"N": "N", "D": "D", "loss": "λ"},
                "keep": ["λ < 9", "group != '\x1b[2J\u202e'"],
            }
        },
    }
    (table / "s.yaml").write_text(yaml.safe_dump(study), encoding="utf-8")
    for coding in ("ascii", "utf-8"):
        ended = subprocess.run(
            [sys.executable, "-m", "isoloss", "check", "s.yaml", "--effective"],
            cwd=table, env={**os.environ, "PYTHONIOENCODING": coding}, capture_output=True,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert b"\x1b" not in ended.stdout and "\u202e".encode() not in ended.stdout
        effective = yaml.safe_load(ended.stdout.decode(coding))["aggregate"]["a"]
        assert effective["keep"] == study["aggregate"]["a"]["keep"]


# Files are UTF-8 because every call says so

TEXT = {"open", "read_text", "write_text"}
PROGRAMS = {"run", "Popen", "check_output", "check_call", "call"}  # whose output may be text


def unsaid(node: ast.AST) -> bool:
    """Whether a call reads or writes text in the encoding of whatever locale there is."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = getattr(function, "attr", getattr(function, "id", ""))
    given = {keyword.arg for keyword in node.keywords}
    if name in PROGRAMS and given & {"text", "universal_newlines"}:
        return "encoding" not in given
    if (
        name not in TEXT
        or "encoding" in given
        or ast.unparse(function).startswith(
            ("os.", "tables.", "self.opener.", "archive.", "tarfile.", "Image.")
        )
        or ast.unparse(function) == "write_text"  # of isoloss.core.tables
    ):
        return False
    constants = [a.value for a in node.args if isinstance(a, ast.Constant)]
    modes = [m for m in constants if isinstance(m, str) and re.fullmatch("[rwxabt+]+", m)]
    return "utf-8" not in constants and not any("b" in mode for mode in modes)


@pytest.mark.parametrize("file", SOURCES, ids=lambda f: f.relative_to(ROOT).as_posix())
def test_every_file_of_text_has_its_encoding_said(file):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    calls = [f"line {node.lineno}: {ast.unparse(node)}" for node in ast.walk(tree) if unsaid(node)]
    assert calls == []


@pytest.mark.parametrize("file", RULES, ids=lambda f: f.name)
def test_rules_say_the_encoding_of_what_they_read(file):
    text = file.read_text(encoding="utf-8")
    for call in re.findall(r"(?<!tables)\.(?:read_text|write_text|open)\(.*", text):
        assert "encoding=" in call


def test_a_call_without_an_encoding_would_be_found():
    for call in ("open('x')", "p.read_text()", "p.write_text(t)", "p.open('a')",
                 "subprocess.run(c, text=True)"):  # fmt: skip
        assert unsaid(ast.parse(call).body[0].value), call
    for call in ("open('x', 'rb')", "p.read_text('utf-8')", "p.write_text(t, encoding='utf-8')",
                 "tables.write_text(p, t)", "subprocess.run(c)"):  # fmt: skip
        assert not unsaid(ast.parse(call).body[0].value), call
