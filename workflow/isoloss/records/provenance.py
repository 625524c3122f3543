"""Digests of the code that a stage's results depend on, without comments and docstrings.

A module's digest is a walk of its syntax tree by node types and fields, without positions,
docstrings and empty fields, so that it is the same on every Python version. A stage's code is the
import closure of its entry module, with the cards that it uses; imports that a card makes by name
are given by whoever knows the card.

Digests are by content. What one module imports from another counts by the content of the other, not
by its name, and imports count as a set: moving a file, and the changes of imports that this takes,
changes no digest.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeGuard

from isoloss.core.registry import FOLDERS, tree_of
from isoloss.core.stamped import Stamped

HOME = Path(__file__).parent.parent
PACKAGE = "isoloss"
# A card's words about itself; numbers that code reads are not among them.
WORDS = {"TITLE", "ABOUT", "FORMULA", "LATEX", "SOURCE", "DOMAIN", "PRESETS", "OPTIONS", "TAGS"}


@cache
def file_of(module: str) -> Path | None:
    """The source file of a module of this package; None if there is no such module."""
    parts = module.split(".")[1:]
    package = HOME.joinpath(*parts, "__init__.py")
    if package.is_file():
        return package
    plain = HOME.joinpath(*parts).with_suffix(".py") if parts else None
    return plain if plain is not None and plain.is_file() else None


@dataclass(frozen=True)
class Reading:
    """What digests need to know of one source file.

    Attributes:
        imported: (module, name, name that it is given) of every import of this package, sorted; the
            names are empty where a module is imported by itself.
        digest: of its code but for these imports.
        without_words: the same without a card's words about itself.
    """

    imported: tuple[tuple[str, str, str], ...]
    digest: str
    without_words: str


def read_tree(tree: ast.Module) -> Reading:
    """Read the syntax tree of a module.

    Example:
        >>> read_tree(ast.parse("from isoloss.core import seeds as s")).imported
        (('isoloss', 'seeds', 's'),)
    """
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update((name.name, "", "") for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            given = [(name.name, name.asname or name.name) for name in node.names]
            imported.update((node.module, *names) for names in given)
    own = sorted(each for each in imported if each[0].split(".")[0] == "isoloss")
    code = _without_imports(tree)
    digest = tree_digest(code)
    has_words = any(isinstance(n, ast.Assign) and _names(n) <= WORDS for n in ast.walk(code))
    return Reading(tuple(own), digest, tree_digest(code, words=False) if has_words else digest)


_READ: dict[Path, Reading] = {}  # files that were read in this process; `forget` empties it


def _reading(path: Path) -> Reading:
    if path not in _READ:
        _READ[path] = read_tree(tree_of(path))
    return _READ[path]


def recall(kept: Path) -> tuple[str, Stamped]:
    """Read all code of this package, from a cache where a file did not change.

    Args:
        kept: the file in which it is kept what the sources said.

    Returns:
        A digest of all of it, and what the sources say now, to be kept by its `save`.
    """
    reader = blake2b(Path(__file__).read_bytes(), digest_size=16).hexdigest()
    readings = Stamped(kept, _as_json, f"{sys.version} {reader}")
    everything = blake2b(digest_size=16)
    for path in sorted(HOME.rglob("*.py")):
        imported, digest, without_words = readings.of(path)
        _READ[path] = Reading(tuple(map(tuple, imported)), digest, without_words)
        everything.update(f"{path.relative_to(HOME)}\0{_READ[path]}\0".encode())
    return everything.hexdigest(), readings


def _as_json(path: Path) -> list[Any]:
    imported, *digests = astuple(read_tree(tree_of(path)))
    return [list(map(list, imported)), *digests]


def _of(module: str) -> Reading:
    path = file_of(module)
    if path is None:
        raise ModuleNotFoundError(module)
    return _reading(path)


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of this package that a module imports, anywhere in its code."""
    modules = set()
    for source, name, _ in _of(module).imported:
        modules |= {source, f"{source}.{name}"} if name else {source}
    return frozenset(m for m in modules if file_of(m) is not None)


def closure(entries: Iterable[str], root: bool = True) -> list[str]:
    """The modules given and all that they import from this package, sorted.

    The `__init__` of every package that a module is in counts: Python runs it first.

    Args:
        entries: by name.
        root: whether the `__init__` of this package counts, which lists the public names.
    """
    modules: set[str] = set()
    left = list(entries)
    while left:
        module = left.pop()
        if module not in modules and (root or module != PACKAGE):
            modules.add(module)
            left += imports(module)
            left += [package] if (package := module.rpartition(".")[0]) else []
    return sorted(modules)


def module_digest(module: str, words: bool = True) -> str:
    """Digest of a module without its imports from this package.

    Args:
        module: by name.
        words: whether a card's words about itself count.
    """
    reading = _of(module)
    return reading.digest if words else reading.without_words


@cache
def _references(module: str) -> tuple[tuple[str, str, str], ...]:
    """What a module imports from this package, sorted.

    Returns:
        (module that it is imported from, name in that module, name that it is given) each; the
        second is empty where the module itself is imported.
    """
    references = set()
    for source, name, given in _of(module).imported:
        if name:
            inner = f"{source}.{name}"
            references.add(
                (inner, "", given) if file_of(inner) is not None else (source, name, given)
            )
    return tuple(sorted(references))


def tree_digest(tree: ast.AST, words: bool = True) -> str:
    """Digest of a syntax tree."""
    tokens: list[str] = []
    _walk(tree, words, tokens)
    return blake2b("".join(f"{t}\0" for t in tokens).encode(), digest_size=16).hexdigest()


def code_digest(modules: Iterable[str], words: bool = True, contracts: Iterable[str] = ()) -> str:
    """Digest of the code of some modules, such as a closure; their names do not matter.

    Args:
        modules: by name. What they import from modules that are not among them does not count.
        words: whether a card's words about itself count.
        contracts: digests of the contracts that the code keeps, which count as code.
    """
    contents = {module: module_digest(module, words) for module in modules}
    parts = {_with_imports(module, contents) for module in contents}
    parts.discard(tree_digest(ast.parse("")))  # most packages' `__init__`: no code
    digest = blake2b(digest_size=16)
    for part in sorted(parts):
        digest.update(f"module={part}\0".encode())
    for contract in contracts:
        digest.update(f"contract={contract}\0".encode())
    return digest.hexdigest()


def _with_imports(module: str, contents: Mapping[str, str]) -> str:
    """A module's digest and, by their content, the modules that it imports from."""
    imported = sorted(
        f"{given}={contents.get(source, 'another')}.{name}"
        for source, name, given in _references(module)
    )
    return "\0".join([contents[module], *imported])


def run_code(cards: Iterable[tuple[str, str]]) -> list[str]:
    """The modules whose code is part of the identity of a run: its cards and all they import.

    What is around them (the store, the plan, the reading of files) hands over what is in the
    identity by its content.

    Args:
        cards: kind and name of the cards of its trainer, model and task.
    """
    entries = [f"{PACKAGE}.{FOLDERS[kind]}.{name}" for kind, name in cards]
    return closure(entries, root=False)


def forget() -> None:
    """Forget what was read, so that edited code is read at the next call."""
    _READ.clear()
    for cached in (file_of, imports, _references):
        cached.cache_clear()


def _is_import(node: ast.AST) -> TypeGuard[ast.ImportFrom]:
    """Whether a statement imports from this package."""
    if not isinstance(node, ast.ImportFrom) or not node.module or node.level:
        return False
    return node.module.split(".")[0] == "isoloss"


def _without_imports(tree: ast.Module) -> ast.Module:
    """A syntax tree without the statements that import from this package."""
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            if isinstance(statements, list):
                setattr(node, field, [each for each in statements if not _is_import(each)])
    return tree


def _walk(node: object, words: bool, tokens: list[str]) -> None:
    """Add a tree's tokens: types and fields in order, brackets around what is nested."""
    if isinstance(node, ast.AST):
        if not words and isinstance(node, ast.Assign) and _names(node) <= WORDS:
            return
        tokens.append(type(node).__name__)
        for field in node._fields:
            value = getattr(node, field, None)
            if field == "body" and isinstance(value, list):
                value = _without_docstring(node, value)
            if isinstance(node, ast.JoinedStr):
                value = _joined(value)
            # fields that a newer Python adds are empty in code written for an older one
            if field in ("ctx", "type_comment", "kind") or value is None or value == []:
                continue
            tokens.append(f"({field}")
            _walk(value, words, tokens)
            tokens.append(")")
    elif isinstance(node, list):
        for item in node:
            _walk(item, words, tokens)
    else:
        tokens.append(f"{type(node).__name__}:{node!r}")


def _joined(parts: list) -> list:
    """The parts of an f-string, its literal text in pieces as long as can be: versions differ."""
    pieces: list = []
    for part in parts:
        text = isinstance(part, ast.Constant)
        if text and pieces and isinstance(pieces[-1], ast.Constant):
            pieces[-1] = ast.Constant(pieces[-1].value + part.value)
        elif not text or part.value:
            pieces.append(part)
    return pieces


def _names(node: ast.Assign) -> set[str]:
    return {target.id if isinstance(target, ast.Name) else "" for target in node.targets}


def _without_docstring(node: ast.AST, body: list) -> list:
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
        return body[1:]
    return body
