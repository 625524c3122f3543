"""The arrows between the parts of the house point one way."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import isoloss
from isoloss.core import registry
from isoloss.core.stages import stages

HOME = Path(isoloss.__file__).parent
ROOMS = {stage.entry.split(".")[1] for stage in stages().values()}
CARDS = set(registry.FOLDERS.values())
GROUND = {"core", "formulas", "records", "formats"}
FACADES = {"chinchilla", "discovery", "quickfit", "simulate", "study", "__main__", "__init__"}


def imported(file: Path) -> set[str]:
    """Every module that a file imports, wherever in the file, by its full name."""
    package = ["isoloss", *file.relative_to(HOME).parts[:-1]]
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            modules |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return modules


def unit(file: Path) -> str:
    """The part of the house that a file belongs to: a folder, or a file beside them."""
    return file.relative_to(HOME).parts[0].removesuffix(".py")


FILES = {file.relative_to(HOME).as_posix(): file for file in sorted(HOME.rglob("*.py"))}
UNITS = {unit(file) for file in FILES.values()}


def parts_used(file: Path) -> set[str]:
    """The parts of the house that a file imports from, its own left out."""
    used = {name.split(".")[1] for name in imported(file) if name.startswith("isoloss.")}
    return (used & UNITS) - {unit(file)}


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_file_imports_only_what_stands_below_it(file):
    used = parts_used(file)
    if unit(file) in FACADES:
        return_arrows = {"__main__"}
    elif unit(file) in ROOMS:
        return_arrows = (ROOMS | FACADES) - {unit(file)}
    elif unit(file) == "core":
        return_arrows = UNITS
    elif unit(file) in GROUND:
        return_arrows = UNITS - {"core"}
    else:
        return_arrows = ROOMS | FACADES
    assert not used & return_arrows
    outside = {name.split(".")[0] for name in imported(file)}
    assert "snakemake" not in outside
    assert "argparse" not in outside or unit(file) == "__main__"


def test_the_walk_sees_the_parts_and_their_imports():
    assert ROOMS | CARDS | FACADES <= UNITS
    assert {"train", "aggregate", "core"} <= parts_used(FILES["study/check.py"])
    assert "torch" in imported(FILES["models/transformer.py"])
    assert "argparse" in imported(FILES["__main__.py"])


def modules_after(code: str) -> set[str]:
    """What a fresh Python has imported after some code."""
    code += "\nimport sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


HEAVY = {"torch", "pandas", "matplotlib", "numpy", "scipy", "pyarrow"}


def test_importing_isoloss_is_light():
    assert not modules_after("import isoloss") & HEAVY


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        (
            "import isoloss.train.plan, isoloss.study.check, isoloss.study.flow",
            {"torch", "matplotlib"},
        ),
        ("import isoloss; isoloss.fit_law, isoloss.read_runs", {"torch", "matplotlib"}),
        ("import isoloss.__main__", HEAVY),
    ],
)
def test_what_needs_no_torch_and_no_figures_imports_none(code, heavy):
    assert not modules_after(code) & heavy


def test_dir_lists_the_public_names_and_nothing_else():
    assert dir(isoloss) == sorted([*isoloss.__all__, "chinchilla", "llc"])


def test_type_checkers_are_told_of_every_public_name():
    assert (HOME / "py.typed").is_file()
    stub = ast.parse((HOME / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    named = {(alias.asname, node.module) for node in imports for alias in node.names}
    assert {name for name, _ in named} == set(dir(isoloss))
    for name, module in named:
        assert getattr(importlib.import_module(module), name) is getattr(isoloss, name)


def test_the_module_chinchilla_is_fetched_when_it_is_asked_for():
    use = "import isoloss; assert isoloss.chinchilla.Chinchilla.__name__ == 'Chinchilla'"
    assert "isoloss.chinchilla" not in modules_after("import isoloss")
    assert not modules_after(use) & {"torch", "matplotlib"}


def test_every_public_name_is_there():
    assert all(callable(getattr(isoloss, name)) for name in isoloss.__all__)
    with pytest.raises(AttributeError, match="fit_lawn"):
        isoloss.fit_lawn  # noqa: B018
