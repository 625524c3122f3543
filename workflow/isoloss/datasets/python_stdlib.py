"""The source of Python's standard library, which every machine with Python has."""

from __future__ import annotations

import ast
import os
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

TITLE = "Python standard library"
ABOUT = (
    "The library's own source, without its tests, cut into definition-sized pieces. About 700 "
    "files and 11 MB; which files exactly depends on the Python version."
)
SOURCE = "the `stdlib` folder of the running Python (PSF licence)"
TOKEN = "byte"
TAGS = {
    "kind": "code, docstring or comment (a block of two lines or more)",
    "domain": "data, encodings, interface, language, network or system, by top-level module",
}
OPTIONS = {
    "root": {
        "type": "string",
        "default": "",
        "description": "Folder to read instead of the running Python's standard library.",
    },
}

_SKIP = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idle_test",
    "pydoc_data",
    "__pycache__",
}
_DOMAINS = {
    "encodings": "encodings",
    "network": "asynchat asyncio asyncore cgi cgitb email ftplib http imaplib ipaddress mailbox "
    "mailcap mimetypes netrc nntplib nturl2path poplib selectors smtpd smtplib socket "
    "socketserver ssl telnetlib urllib uuid webbrowser wsgiref xdrlib xmlrpc",
    "interface": "argparse bdb cmd code codeop curses doctest getopt getpass idlelib optparse pdb "
    "pydoc rlcompleter tkinter turtle turtledemo",
    "language": "__future__ _collections_abc _weakrefset abc ast collections compileall contextlib "
    "copy copyreg ctypes dataclasses dis enum functools importlib inspect keyword lib2to3 "
    "linecache modulefinder opcode operator pickle pickletools pkgutil profile pstats py_compile "
    "pyclbr re reprlib runpy site sre_compile sre_constants sre_parse symtable timeit token "
    "tokenize trace traceback tracemalloc types typing unittest warnings weakref zipimport",
    "data": "_pydecimal _pyio _strptime aifc base64 binhex bisect bz2 calendar chunk codecs "
    "colorsys configparser csv datetime dbm decimal difflib filecmp fileinput fractions gettext "
    "graphlib gzip hashlib heapq hmac html io json locale lzma numbers plistlib pprint quopri "
    "random secrets shelve shlex sndhdr sqlite3 statistics string stringprep struct sunau tarfile "
    "textwrap tomllib uu wave xml zipfile zoneinfo",
}
_DOMAIN = {module: domain for domain, modules in _DOMAINS.items() for module in modules.split()}


def sources(root: str = "") -> list[tuple[str, Path]]:
    """The files that are read, as (name, path), sorted by name.

    Left out: build files that hold the machine's paths (`_sysconfigdata*`, `config-*`), and
    `pydoc_data`, which is one statement of 750 kB.
    """
    top = Path(root or sysconfig.get_path("stdlib"))
    files_read = []
    for folder, below, files in os.walk(top):
        below[:] = [name for name in below if name not in _SKIP]
        for name in files:
            file = Path(folder, name)
            place = file.relative_to(top)
            machine_made = place.parts[0].startswith(("_sysconfigdata", "config-"))
            if name.endswith(".py") and not machine_made and file.is_file():
                files_read.append((place.as_posix(), file))
    return sorted(files_read)


def pieces(root: str = "") -> Iterator[dict]:
    """Every piece of every file, in order: `text` (bytes), `tags`, `group` (the file's name).

    The pieces of a file, one after the other, are the file.
    """
    for name, file in sources(root):
        module = name.split("/")[0].removesuffix(".py")
        tags = {"domain": _DOMAIN.get(module, "system")}
        for kind, text in cut(file.read_bytes()):
            yield {"text": text, "tags": {"kind": kind, **tags}, "group": name}


def cut(source: bytes) -> list[tuple[str, bytes]]:
    """Cut Python source into (kind, text) pieces whose concatenation is the source.

    A piece is a run of lines of one kind under one owner: a function (with what is nested in it),
    a class without its methods, or the module's own lines. Blank lines go with what is above.
    Source that this Python cannot parse is one piece of code.
    """
    lines = source.splitlines(keepends=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # invalid escapes in old modules
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return [("code", source)] if source else []
    label: list[tuple[str, int]] = [("code", 0)] * len(lines)
    _own(tree.body, label, owner=0)
    nodes = list(ast.walk(tree))
    _mark_docstrings(nodes, lines, label)
    _mark_comments(nodes, lines, label)
    parts: list[tuple[str, bytes]] = []
    last = None
    for line, mark in zip(lines, label, strict=True):
        if parts and (mark == last or not line.strip()):
            parts[-1] = (parts[-1][0], parts[-1][1] + line)
        else:
            parts.append((mark[0], line))
            last = mark
    return parts


def _own(body: list[ast.stmt], label: list[tuple[str, int]], owner: int) -> None:
    """Label the lines of every function and class with an owner of their own (its first line)."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            for i in range(first - 1, node.end_lineno):
                label[i] = ("code", first)
            if isinstance(node, ast.ClassDef):
                _own(node.body, label, first)


def _mark_docstrings(
    nodes: list[ast.AST], lines: list[bytes], label: list[tuple[str, int]]
) -> None:
    for node in nodes:
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is None:
            continue
        string = node.body[0]
        alone = not lines[string.lineno - 1][: string.col_offset].strip()
        if alone:  # `def f(): "text"` stays code
            for i in range(string.lineno - 1, string.end_lineno):
                label[i] = ("docstring", string.lineno)


def _mark_comments(nodes: list[ast.AST], lines: list[bytes], label: list[tuple[str, int]]) -> None:
    """Blocks of two comment lines or more; a single one belongs to the code around it."""
    inside = set()  # lines that continue a string; found from the tree, as tokenizing takes 10 s
    for node in nodes:
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        ):
            inside.update(range(node.lineno, node.end_lineno))
    comment = {i for i, line in enumerate(lines) if line.lstrip().startswith(b"#")} - inside
    first = 0
    for i in sorted(comment):
        if i - 1 not in comment:
            first = i
        if first != i or i + 1 in comment:
            label[i] = ("comment", first)
