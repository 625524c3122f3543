"""Cutting Python source into pieces."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.datasets.python_stdlib import cut

CRAFTED = {
    "empty": b"",
    "blank lines only": b"\n\n\n",
    "one line": b"x = 1\n",
    "no trailing newline": b"def f():\n    return 1",
    "decorators": b"import a\n@a.b\n@a.c(\n    1,\n)\ndef f():\n    pass\n@a.d\nclass C: pass\n",
    "nested functions": b"def f():\n  def g():\n    '''Inner.'''\n    return 1\n  return g\n",
    "methods": b"class C:\n    '''Doc.'''\n    a = 1\n    def m(self):\n        pass\n    b = 2\n",
    "one-line docstring": b'def f(): "x"\ndef g(): "y"; z = 1\n',
    "hash inside a string": b"x = '''\n# a\n# b\n'''\n# c\n# d\n",
    "hash inside an f-string": b"y = 1\nx = f'''\n# {y}\n# b {y!r}\n'''\n",
    "hash inside bytes": b"x = b'''\n# a\n# b\n'''\n",
    "form feed": b"x = 1\n\x0c\n# a\n# b\n\x0cdef f():\n    pass\n",
    "carriage return and line feed": b"# a\r\n# b\r\ndef f():\r\n    '''D.'''\r\n    x = 1\r\n",
    "mixed line ends": b"x = 1\r\ny = 2\n# a\r\n# b\n",
    "lone carriage returns": b"'''Doc.'''\rdef f():\r    return 1\r",
    "lone carriage return in a string": b"x = '''a\rb'''\ndef f():\n    pass\n",
    "continued line": b"x = 1 + \\\n    2\n# a\n# b\n",
    "byte order mark": b"\xef\xbb\xbf'''Doc.'''\nx = 1\n",
    "declared encoding": b"# -*- coding: latin-1 -*-\n'''Caf\xe9.'''\nx = '\xe9'\n",
    "not ASCII": "def f():\n    '''Größe.'''\n    return 'é'\n".encode(),
    "not UTF-8": b"x = '\xff'\n",
    "does not parse": b"def f(:\n    # a\n    # b\n",
    "null byte": b"x = 1\0\n",
    "escape that is none": b"x = '\\d'\n",
}


def joined(source: bytes) -> bytes:
    return b"".join(text for _, text in cut(source))


@pytest.mark.parametrize("source", CRAFTED.values(), ids=CRAFTED)
def test_pieces_concatenate_to_the_source(source):
    assert joined(source) == source
    assert all(text for _, text in cut(source))
    assert {kind for kind, _ in cut(source)} <= {"code", "docstring", "comment"}


FRAGMENTS = [
    *(b"'''Doc.'''", b"# note", b"def f():", b"class C:", b"@d", b"pass", b"x = f'{1}'", b"'''"),
    *(b"\n", b"\r\n", b"\r", b"\x0c", b"    ", b"        ", b"\\", b"; ", "é".encode(), b"\xe9"),
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map(b"".join))
def test_any_source_is_cut_without_loss(source):
    assert joined(source) == source


def test_real_files_are_cut_without_loss():
    top = Path(sysconfig.get_path("stdlib"))
    files = [*sorted(top.glob("*.py"))[::12], *sorted(top.glob("encodings/*.py"))[::20]]
    assert len(files) > 15
    for file in files:
        source = file.read_bytes()
        assert joined(source) == source, file.name


PIECES = [
    ("docstring", b'"""Module."""\n\n'),
    ("code", b"import a\n# alone\nx = 1  # behind\n"),
    ("comment", b"# two\n# lines\n\n"),
    ("code", b'@a.b\ndef f(): "no docstring of its own"\n\n'),
    ("code", b"def g(x):\n"),
    ("docstring", b"    '''Several\n    lines.\n    '''\n"),
    ("code", b"    y = '''\n# not a comment\n# nor this\n'''\n    def h():\n        return x\n"),
    ("comment", b"    # inside\n    # a function\n"),
    ("code", b"    return f'''\n# {h}\n# {y}\n'''\n"),
    ("code", b"class C(a.B):\n"),
    ("docstring", b'    """Class."""\n\n'),
    ("code", b"    size = 1\n"),
    ("code", b"    async def m(self):\n        pass\n"),
    ("code", b"    other = 2\n"),
    ("code", b"print(x)\n"),
]


def test_kinds_and_borders_are_as_documented():
    assert cut(b"".join(text for _, text in PIECES)) == PIECES


@pytest.mark.parametrize("name", ["does not parse", "null byte", "not UTF-8"])
def test_unparsable_source_is_one_piece_of_code(name):
    assert cut(CRAFTED[name]) == [("code", CRAFTED[name])]
