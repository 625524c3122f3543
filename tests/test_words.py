"""Names of values are nouns that say what a value is."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BANNED = {"found", "said", "wanted", "mine", "done", "bend"}

FILES = [
    file.relative_to(ROOT).as_posix()
    for folder in ("workflow/isoloss", "tests", "benchmarks")
    for file in sorted((ROOT / folder).rglob("*.py"))
]


def banned_names(code: str) -> list[tuple[int, str]]:
    """Line and name of every value, argument or function that has a banned name.

    Fields of a class may have one: they are read as `problem.found`.
    """
    tree = ast.parse(code)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    fields = {
        id(part.target) for c in classes for part in c.body if isinstance(part, ast.AnnAssign)
    }
    names = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Store)
            and id(node) not in fields
        ):
            names.append((node.lineno, node.id))
        elif isinstance(node, ast.arg):
            names.append((node.lineno, node.arg))
        elif isinstance(node, ast.FunctionDef):
            names.append((node.lineno, node.name))
    return sorted((line, name) for line, name in names if name in BANNED)


@pytest.mark.parametrize("file", FILES)
def test_values_have_nouns_for_names(file):
    assert banned_names((ROOT / file).read_text(encoding="utf-8")) == []


def test_every_way_to_name_a_value_is_seen():
    code = """
class Problem:
    found: str

def wanted(mine, /, *, done=0):
    said, *bend = mine
    for found in said:
        with open(found) as said:
            if (done := 1):
                pass
"""
    names = [name for _, name in banned_names(code)]
    expected = ["bend", "done", "done", "found", "mine", "said", "said", "wanted"]
    assert sorted(names) == expected
