"""The wheel holds all that the package needs, and works without the repository and its extras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[1]
# as where the extras are not installed: importing one of these fails
USE = """
import json, sys
extras = ("torch", "safetensors", "snakemake", "numba", "datasets", "tokenizers", "xarray")
sys.modules |= dict.fromkeys(extras)
from isoloss.__main__ import main
codes = [main(command) for command in json.loads(sys.argv[1])]
import isoloss
print(json.dumps([codes, isoloss.__file__]))
"""


def parts(folder: str) -> set[str]:
    """The files of a part of the repository, as the wheel carries them."""
    files = (ROOT / folder).rglob("*") if (ROOT / folder).is_dir() else [ROOT / folder]
    return {f"isoloss/project/{f.relative_to(ROOT).as_posix()}" for f in files if f.is_file()}


def test_the_wheel_has_types_every_module_and_the_workflow(wheel):
    names = {file.relative_to(wheel).as_posix() for file in wheel.rglob("*") if file.is_file()}
    assert {"isoloss/py.typed", "isoloss/__init__.pyi"} <= names
    for part in ("Snakefile", "config.yaml", "envs/isoloss.yaml", "profiles", "workflow/report"):
        assert parts(part) <= names
    assert parts("workflow/rules") | parts("workflow/schemas") <= names
    modules = (ROOT / "workflow/isoloss").rglob("*.py")
    assert {file.relative_to(ROOT / "workflow").as_posix() for file in modules} <= names


@pytest.fixture(scope="module")
def used(wheel, tmp_path_factory):
    """What commands of the wheel did in a folder where only the base is installed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    n = np.geomspace(1e7, 1e9, 8)
    runs = pd.DataFrame({"N": n, "D": 1e9, "loss": 2 + 400 / n**0.34})
    runs.to_csv(folder / "runs.csv", index=False)
    entry = {"table": "runs.csv", "columns": {"N": "N", "D": "D", "loss": "loss"}}
    study = {"study": "mine", "aggregate": {"mine": entry}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(study))
    law = ["law", "runs.csv", "--law", "power_law", "--option", "variable=N", "--bootstrap", "5"]
    commands = [
        [*law, "--out", "fit"],
        ["check", str(ROOT / "config.yaml")],  # a study that trains
        ["cards", "figure"],
        ["csv", "fit/params.parquet", "--columns", "term", "estimate"],
        ["run", "mine.yaml"],
    ]
    result = subprocess.run(
        [sys.executable, "-c", USE, json.dumps(commands)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        check=True,
        capture_output=True,
        text=True,
    )
    codes, package = json.loads(result.stdout.splitlines()[-1])
    names = [command[0] for command in commands]
    return folder, dict(zip(names, codes, strict=True)), Path(package), result


def test_the_wheel_fits_checks_and_lists_outside_the_repository_without_extras(wheel, used):
    folder, codes, package, result = used
    assert package.is_relative_to(wheel)
    assert [codes[name] for name in ("law", "check", "cards", "csv")] == [0] * 4
    assert (folder / "fit/law.png").stat().st_size > 1000
    assert "alpha,0.34" in result.stdout or "alpha,0.33999" in result.stdout
    assert "Traceback" not in result.stderr


def test_what_needs_an_extra_says_which(used):
    _, codes, _, result = used
    assert codes["run"] == 2
    line = "isoloss run: the package `snakemake` is not installed; "
    assert f"{line}`pip install 'isoloss[snakemake]'` helps" in result.stderr


NAMES = """
import sys
sys.modules |= dict.fromkeys(("torch", "safetensors"))
from isoloss import *
import isoloss
try:
    isoloss.llc
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_name_that_needs_an_extra_says_which_and_the_others_need_none(wheel):
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-c", NAMES]
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert result.stdout.startswith("IsolossError the package `torch` is not installed")
    assert "pip install 'isoloss[train]'" in result.stdout
