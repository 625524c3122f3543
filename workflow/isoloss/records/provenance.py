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
from contextlib import suppress
from dataclasses import astuple, dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from isoloss.core.registry import FOLDERS, tree_of
from isoloss.core.stamped import Stamped

HOME = Path(__file__).parent.parent
PACKAGE = "isoloss"
KEPT = "code.json"  # file in the cache of a start: what the sources said
# A card's words about itself; numbers that code reads are not among them.
WORDS = {
    *("TITLE", "ABOUT", "FORMULA", "LATEX", "SOURCE", "BIBTEX", "DOMAIN", "PRESETS", "OPTIONS"),
    "TAGS",
}


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
        (('isoloss.core', 'seeds', 's'),)
    """
    walk = _Walk()
    walk.node(tree)
    digest, end = _digest(walk.tokens), 0
    code: list[str] = []
    for start, stop in walk.words:
        code += walk.tokens[end:start]
        end = stop
    without_words = _digest(code + walk.tokens[end:]) if walk.words else digest
    return Reading(tuple(sorted(walk.imported)), digest, without_words)


def _digest(tokens: list[str]) -> str:
    """Digest of a tree's tokens."""
    return blake2b("\0".join([*tokens, ""]).encode(), digest_size=16).hexdigest()


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
    readings = _kept_in(kept)
    everything = blake2b(digest_size=16)
    for path in sorted(HOME.rglob("*.py")):
        _READ[path] = _from_json(readings.of(path))
        everything.update(f"{path.relative_to(HOME)}\0{_READ[path]}\0".encode())
    _forget_digests()
    return everything.hexdigest(), readings


def recall_unchanged(kept: Path) -> None:
    """Take from the cache of `recall` what files say that did not change; read the others later.

    A job needs the code of its stage only, and must not mind a fault in any other file.
    """
    readings = _kept_in(kept)
    for path in HOME.rglob("*.py"):
        with suppress(OSError):  # it is being replaced
            if (reading := readings.kept_of(path)) is not None:
                _READ[path] = _from_json(reading)
    _forget_digests()


def _kept_in(kept: Path) -> Stamped:
    reader = blake2b(Path(__file__).read_bytes(), digest_size=16).hexdigest()
    return Stamped(kept, _as_json, f"{sys.version} {reader}")


def _as_json(path: Path) -> list[Any]:
    imported, *digests = astuple(read_tree(tree_of(path)))
    return [list(map(list, imported)), *digests]


def _from_json(reading: list[Any]) -> Reading:
    imported, digest, without_words = reading
    return Reading(tuple(map(tuple, imported)), digest, without_words)


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
    return list(_closure(tuple(entries), root))


@cache
def _closure(entries: tuple[str, ...], root: bool) -> tuple[str, ...]:
    modules: set[str] = set()
    left = list(entries)
    while left:
        module = left.pop()
        if module not in modules and (root or module != PACKAGE):
            modules.add(module)
            left += imports(module)
            left += [package] if (package := module.rpartition(".")[0]) else []
    return tuple(sorted(modules))


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


def code_digest(modules: Iterable[str], words: bool = True, contracts: Iterable[str] = ()) -> str:
    """Digest of the code of some modules, such as a closure; their names do not matter.

    Args:
        modules: by name. What they import from modules that are not among them does not count.
        words: whether a card's words about itself count.
        contracts: digests of the contracts that the code keeps, which count as code.
    """
    return _code_digest(tuple(modules), words, tuple(contracts))


@cache
def _code_digest(modules: tuple[str, ...], words: bool, contracts: tuple[str, ...]) -> str:
    contents = {module: module_digest(module, words) for module in modules}
    parts = {_with_imports(module, contents) for module in contents}
    parts.discard(read_tree(ast.parse("")).digest)  # most packages' `__init__`: no code
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
    _forget_digests()


def _forget_digests() -> None:
    """Forget what was made of what was read."""
    for cached in (file_of, imports, _references, _closure, _code_digest):
        cached.cache_clear()


# fields that say nothing, or that only a newer Python has
_LEFT_OUT = {"ctx", "type_comment", "kind"}
_STATEMENTS = {"body", "orelse", "finalbody"}
_DOCUMENTED = {ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef}


@cache
def _fields(kind: type[ast.AST]) -> tuple[tuple[str, str], ...]:
    """The fields that count of a kind of node, in order, each with its opening bracket."""
    return tuple((field, f"({field}") for field in kind._fields if field not in _LEFT_OUT)


class _Walk:
    """One walk through a syntax tree, which is all that a start reads of a file that changed.

    Attributes:
        tokens: types and fields in order, brackets around what is nested.
        imported: (module, name, name that it is given) of what is imported from this package.
        words: where a card's words about itself begin and end among the tokens.
    """

    def __init__(self):
        self.tokens: list[str] = []
        self.imported: set[tuple[str, str, str]] = set()
        self.words: list[tuple[int, int]] = []

    def node(self, node: ast.AST) -> None:
        """Add the tokens of a node; what is empty adds none, it may be new in a newer Python."""
        kind, add = type(node), self.tokens.append
        add(kind.__name__)
        for field, bracket in _fields(kind):
            value = getattr(node, field, None)
            if isinstance(value, list):
                if field in _STATEMENTS:
                    value = self._statements(kind, field, value)
                elif kind is ast.JoinedStr:
                    value = _joined(value)
                if value:
                    add(bracket)
                    for item in value:
                        self._value(item)
                    add(")")
            elif value is not None:
                add(bracket)
                self._value(value)
                add(")")

    def _value(self, value: object) -> None:
        if not isinstance(value, ast.AST):
            self.tokens.append(f"{type(value).__name__}:{value!r}")
            return
        start = len(self.tokens)
        self.node(value)
        if isinstance(value, ast.Assign) and _names(value) <= WORDS:
            self.words.append((start, len(self.tokens)))
        elif isinstance(value, ast.Import):
            names = [(alias.name, "", "") for alias in value.names]
            self.imported.update(name for name in names if _is_ours(name[0]))

    def _statements(self, kind: type[ast.AST], field: str, body: list[ast.stmt]) -> list[ast.stmt]:
        """Statements without imports from this package, which are noted, and without docstring."""
        left = []
        for statement in body:
            if isinstance(statement, ast.ImportFrom) and _imports_ours(statement):
                given = [(name.name, name.asname or name.name) for name in statement.names]
                self.imported.update((statement.module or "", *names) for names in given)
            else:
                left.append(statement)
        documented = kind in _DOCUMENTED and field == "body"
        return left[1:] if documented and left and _is_text(left[0]) else left


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == PACKAGE


def _imports_ours(node: ast.ImportFrom) -> bool:
    return node.level == 0 and node.module is not None and _is_ours(node.module)


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a text, as a docstring is."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


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
