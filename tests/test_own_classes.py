"""Code asks our own classes by their methods and attributes, never what they are or have."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import isoloss

HOME = Path(isoloss.__file__).parent
FILES = {file.relative_to(HOME).as_posix(): file for file in sorted(HOME.rglob("*.py"))}
# attributes of things that are not ours: exceptions, functions and torch modules of a user, streams
# that a notebook put in the place of Python's, types of columns, events of a YAML parser
OF_OTHERS = {"learn", "edges", "encode", "strerror", "__name__", "encoding", "reconfigure"}
OF_OTHERS |= {"numpy_dtype", "tz", "tag", "layout", "logits", "cfg", "n_heads", "__getitems__"}
EXCEPT = {
    ("core/sources.py", "open_source"),  # a user gives a path, an address, or what is open already
    ("records/provenance.py", "node"),  # nodes of syntax trees
}


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


@cache
def classes() -> set[str]:
    """The names of our own classes."""
    nodes = (node for name in FILES for node in ast.walk(tree_of(name)))
    return {node.name for node in nodes if isinstance(node, ast.ClassDef)}


def asked(tree: ast.Module) -> list[tuple[str, str]]:
    """Function and source of every question after a class or an attribute of our own."""
    foreign = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            foreign |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("isoloss"):
            foreign |= {alias.asname or alias.name for alias in node.names}
    questions = []
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if function.name == "__eq__":  # Python's own protocol: NotImplemented for other classes
            continue
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and is_question(call, foreign):
                questions.append((function.name, ast.unparse(call)))
    return questions


def is_question(call: ast.Call, foreign: set[str]) -> bool:
    """Whether a call asks what a thing of ours is or has."""
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name in ("isinstance", "issubclass"):
        named = {n.id for n in ast.walk(call.args[1]) if isinstance(n, ast.Name)}
        named |= {n.attr for n in ast.walk(call.args[1]) if isinstance(n, ast.Attribute)}
        return bool(named & classes() - foreign)
    if name == "hasattr" or (name == "getattr" and len(call.args) == 3):
        of, attribute = call.args[0], call.args[1]
        if isinstance(of, ast.Name) and of.id in foreign:
            return False
        return not (isinstance(attribute, ast.Constant) and attribute.value in OF_OTHERS)
    return False


@pytest.mark.parametrize("name", FILES)
def test_nothing_asks_what_our_own_classes_are_or_have(name):
    assert [q for q in asked(tree_of(name)) if (name, q[0]) not in EXCEPT] == []


def test_every_exception_is_still_one():
    assert {(name, f) for name in FILES for f, _ in asked(tree_of(name))} == EXCEPT


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(law, Estimator)",
        "isinstance(found, _law.Estimator)",
        "isinstance(found, Optimum | SharedFit)",
        "hasattr(law, 'allocate')",
        "getattr(card, 'NEEDS', None)",
    ],
)
def test_a_question_is_seen(source):
    assert asked(ast.parse(f"import numpy\ndef f(law):\n    return {source}\n")) == [("f", source)]


@pytest.mark.parametrize(
    "source",
    [
        "isinstance(law, dict | list)",
        "isinstance(node, ast.ClassDef)",
        "hasattr(mmap, 'MADV_DONTNEED')",
        "getattr(error, 'strerror', None)",
        "getattr(self, name)",
    ],
)
def test_what_is_asked_of_others_is_not(source):
    assert asked(ast.parse(f"import ast, mmap\ndef f(law):\n    return {source}\n")) == []
