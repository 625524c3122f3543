"""What several tests share: the published tables, and small synthetic rows and runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

# one thread, as a job has: read when numpy is imported, so before it
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pandas as pd
import pytest

from isoloss.core import registry, tables

# the same examples everywhere, and no clock: a machine may be busy
hypothesis.settings.register_profile("isoloss", derandomize=True, deadline=None)
hypothesis.settings.load_profile("isoloss")

# files that take more than half a minute, longest first: begun last, one would be alone at the end
SLOW_FILES = (
    "workflow/test_faults.py",
    "workflow/test_recomputation.py",
    "workflow/test_own_program.py",
    "workflow/test_tables_of_ones_own.py",
)


def pytest_make_parametrize_id(val, argname):
    """Bytes that are no text name no test: packed files hold a time, and workers compare names."""
    return argname if isinstance(val, bytes) and not val.isascii() else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of slow files first."""
    rank = {Path(__file__).parent / name: number for number, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the sources and unpacked: a folder to import from."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("workflow", "profiles", "envs"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    build += ["--no-index", "--wheel-dir", out, copy]
    subprocess.run(build, check=True, capture_output=True)
    (file,) = out.glob("*.whl")
    zipfile.ZipFile(file).extractall(out / "home")
    return out / "home"


TRUTH = {"E": 1.7, "A": 120.0, "B": 900.0, "alpha": 0.34, "beta": 0.41}


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of published tables; what needs it is skipped where it is not named."""
    named = os.environ.get("ISOLOSS_REFERENCE_DATA")
    if not named:
        pytest.skip("ISOLOSS_REFERENCE_DATA is not set: the published tables are not at hand")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"ISOLOSS_REFERENCE_DATA names {named}, which is no folder")
    return folder


@pytest.fixture(scope="session")
def fashion_mnist_folder() -> str:
    """The folder of Fashion-MNIST; what needs it is skipped where it is not installed.

    ISOLOSS_FASHION_MNIST names another folder, and insists on it.
    """
    folder = registry.defaults("dataset", "fashion_mnist")["folder"]
    named = os.environ.get("ISOLOSS_FASHION_MNIST", "")
    if not named and not Path(folder).is_dir():
        pytest.skip("the package dataset-fashion-mnist is not installed")
    if named and not Path(named).is_dir():
        pytest.fail(f"ISOLOSS_FASHION_MNIST names {named}, which is not a folder")
    return named or folder


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Forty rows of random words as `load` leaves them, every fourth one for validation."""
    rng = np.random.default_rng(0)
    words = np.array([b"def ", b"return ", b"value ", b"# note\n", b"self.", b"= 1\n", b"(x)"])
    texts = [b"%d " % i + b"".join(rng.choice(words, 25)) for i in range(40)]
    kinds, domains = ("code", "docstring", "comment"), ("data", "system")
    return pd.DataFrame(
        {
            "row_id": [f"row{i:02d}" for i in range(40)],
            "text": texts,
            "features": None,
            "label": None,
            "n_tokens": [len(text) for text in texts],
            "tags": [[("kind", kinds[i % 3]), ("domain", domains[i // 2 % 2])] for i in range(40)],
            "split": ["valid" if i % 4 == 3 else "train" for i in range(40)],
            "group": [f"file{i // 4}.py" for i in range(40)],
            "file": None,
        }
    )


@pytest.fixture(scope="module")
def make_runs():
    """A maker of `runs` tables: N, D and loss as arrays, further columns by name."""

    def make(n, d, loss, **columns) -> pd.DataFrame:
        known = {"n_params": n, "n_samples": d, "loss": loss}
        runs = pd.DataFrame({k: np.asarray(v, dtype=float) for k, v in known.items()})
        flops = 6.0 * runs["n_params"] * runs["n_samples"]
        plain = {"n_flops": flops, "n_flops_6nd": flops, "status": "done", "group": "all"}
        ids = [f"run{i}" for i in range(len(runs))]
        runs = runs.assign(**{"run_id": ids, "fit_weight": 1.0, **plain, **columns})
        absent = [c for c in tables.schema("runs").names if c not in runs]
        return runs.assign(**dict.fromkeys(absent))

    return make


@pytest.fixture(scope="module")
def truth() -> dict[str, float]:
    """The parameters behind `chinchilla_runs`."""
    return TRUTH


@pytest.fixture(scope="module")
def chinchilla_runs(make_runs):
    """A maker of runs that follow the Chinchilla law: 5 budgets by 7 sizes, log noise `noise`."""

    def make(noise=0.0, seed=0, offset=TRUTH["E"], **columns) -> pd.DataFrame:
        budget, ratio = np.meshgrid(np.geomspace(1e16, 1e20, 5), np.geomspace(0.1, 10, 7))
        n = (0.06 * budget**0.5 * ratio).ravel()
        d = budget.ravel() / 6 / n
        law = TRUTH["A"] / n ** TRUTH["alpha"] + TRUTH["B"] / d ** TRUTH["beta"] + offset
        blur = np.exp(noise * np.random.default_rng(seed).standard_normal(n.size))
        return make_runs(n, d, law * blur, budget=budget.ravel(), **columns)

    return make
