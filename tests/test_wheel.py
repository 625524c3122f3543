"""The wheel holds all that the package needs, and works without the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
USE = """
import pathlib
import numpy as np, pandas as pd
import isoloss
from isoloss.core import registry, schema, tables

N = np.geomspace(1e7, 1e9, 8)
table = pd.DataFrame({"N": N, "D": 1e9, "loss": 2 + 400 / N**0.34})
runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
fit = isoloss.fit_law(runs, "power_law", {"variable": "N"}, bootstrap=5)
print(pathlib.Path(isoloss.__file__).parent, round(fit.values["alpha"], 2), len(schema.schema()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the sources."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "workflow", copy / "workflow", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*build, "--wheel-dir", out, copy], check=True, capture_output=True)
    (file,) = out.glob("*.whl")
    return file


def test_the_wheel_has_types_schemas_and_every_module(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"isoloss/py.typed", "isoloss/__init__.pyi"} <= names
    schemas = (ROOT / "workflow/schemas").iterdir()
    assert {f"isoloss/schemas/{file.name}" for file in schemas} <= names
    modules = (ROOT / "workflow/isoloss").rglob("*.py")
    assert {str(file.relative_to(ROOT / "workflow")) for file in modules} <= names


def test_the_wheel_fits_a_law_outside_the_repository(wheel, tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    zipfile.ZipFile(wheel).extractall(home)
    environment = {**os.environ, "PYTHONPATH": str(home)}
    command = [sys.executable, "-c", USE]
    result = subprocess.run(
        command, cwd=elsewhere, env=environment, check=True, capture_output=True, text=True
    )
    package, alpha, sections = result.stdout.rsplit(maxsplit=2)
    assert Path(package) == home / "isoloss"
    assert float(alpha) == 0.34 and int(sections) > 0
