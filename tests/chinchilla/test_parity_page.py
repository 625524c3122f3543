"""docs/parity.md has a row for every public name of the package, and each row a test."""

from __future__ import annotations

import ast
import importlib
import inspect
import random
import re
from pathlib import Path

import pytest
from toolkits import DIFFERENCES, MODULES, Toolkit

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "parity.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (.+) \|$", flags=re.M)
ROWS = [[cell.strip() for cell in row.split("|")] for row in ROW.findall(PAGE)]
NAMES = {row[0].strip("`"): row for row in ROWS if len(row) == 5 and row[0].startswith("`")}
SPECIAL = ("__init__", "__call__", "__getattr__")  # of the API reference


def the_tests_in(file: Path) -> dict[str, str | None]:
    """Every test of a file, and the name of its difference."""
    tests = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marks = [m for m in node.decorator_list if "differs(" in ast.unparse(m)]
            tests[node.name] = marks[0].args[0].value if marks else None
    return tests


TESTS = {
    f"{file.name}::{test}": difference
    for file in HERE.glob("test_*.py")
    for test, difference in the_tests_in(file).items()
}


def public_names(module) -> set[str]:
    """Classes with their methods and properties, and functions, that a module defines."""
    names = set()
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__ or name.startswith("_"):
            continue
        if inspect.isfunction(value):
            names.add(name)
        if inspect.isclass(value):
            names.add(name)
            names |= {f"{name}.{member}" for member in members(value)}
    return names


def members(cls) -> set[str]:
    """The public methods and properties that a class defines."""
    return {
        name
        for name, value in vars(cls).items()
        if (name in SPECIAL or not name.startswith(("_", "model_")))
        and (callable(value) or isinstance(value, property | classmethod | staticmethod))
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_of_the_package_has_a_row(name):
    pytest.importorskip("attrdictx", reason="the package chinchilla is not installed")
    names = public_names(Toolkit("package").module(name))
    assert {f"{name}.{public}" for public in names} | {name} <= NAMES.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_every_row_names_something_of_the_package(name):
    pytest.importorskip("attrdictx", reason="the package chinchilla is not installed")
    assert resolved("chinchilla", name) is not None


def resolved(root: str, name: str):
    """What a name below a package stands for."""
    module, *rest = name.split(".")
    value = importlib.import_module(f"{root}.{module}")
    for part in rest:
        value = inspect.getattr_static(value, part)
    return value


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_in_our_code(name):
    assert resolved("isoloss.chinchilla", NAMES[name][2].strip("`")) is not None


@pytest.mark.parametrize("test", sorted({row[-1].strip("`") for row in ROWS if "::" in row[-1]}))
def test_the_test_of_every_row_exists(test):
    assert test in TESTS


def test_every_difference_of_the_tests_is_on_the_page_and_used():
    differing = {test: name for test, name in TESTS.items() if name}
    assert set(differing.values()) == set(DIFFERENCES)
    listed = {row[-1].strip("`") for row in ROWS if len(row) == 3}
    assert differing.keys() <= listed


def plain(default):
    """A default as it counts: None and an empty mapping, a list and a tuple, a generator of noise
    and the pair that makes one are alike.
    """
    if default in (None, {}):
        return None
    if inspect.isgenerator(default) or default == (random.expovariate, (10,)):
        return "noise"
    if isinstance(default, list | tuple):
        return tuple(default)
    return getattr(default, "__name__", default)


def arguments(root: str, name: str) -> list[tuple]:
    """Name, kind and default of the arguments of a function or class of a package."""
    module, *rest = name.split(".")
    value = importlib.import_module(f"{root}.{module}")
    for part in rest:
        value = getattr(value, part)
    parameters = inspect.signature(value).parameters.values()
    return [(p.name, p.kind, plain(p.default)) for p in parameters if p.name != "self"]


CALLABLE = [name for name, row in NAMES.items() if row[1].startswith("`(")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLABLE)
def test_arguments_are_those_of_the_package(name):
    """Ours may take more, after those or by name."""
    pytest.importorskip("attrdictx", reason="the package chinchilla is not installed")
    theirs, ours = arguments("chinchilla", name), arguments("isoloss.chinchilla", name)
    assert [argument for argument in ours if argument in theirs] == theirs
    for argument in ours:
        assert argument in theirs or argument[2] is None  # has a default
    written = re.match(r"`\((.*?)\)`", NAMES[name][1]).group(1)
    assert [argument[0] for argument in theirs] == [
        part.partition("=")[0].strip().lstrip("*") for part in parts(written)
    ]


def parts(text: str) -> list[str]:
    """The arguments of a signature: split at the commas that stand in no bracket."""
    split, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            split.append("")
        else:
            split[-1] += letter
    return [part for part in split if part.strip()]
