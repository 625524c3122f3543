"""The examples in the docstrings of the public names run, and print what they say."""

from __future__ import annotations

import doctest
import importlib

import matplotlib
import pytest

import isoloss
from isoloss.fitted import facts
from isoloss.laws import _law, _mixture

matplotlib.use("Agg")


def examples(thing, module) -> list[doctest.DocTest]:
    """The examples of an object of a module, its methods included."""
    finder = doctest.DocTestFinder()
    docstrings = finder.find(thing, thing.__name__, module=module, globs={})
    return [test for test in docstrings if test.examples]


@pytest.mark.parametrize("name", isoloss.__all__)
def test_the_examples_of_every_public_name_hold(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    thing = getattr(isoloss, name)
    tests = examples(thing, importlib.import_module(thing.__module__))
    assert tests, f"{name} has no example"
    for test in tests:
        assert doctest.DocTestRunner().run(test).failed == 0
    assert list(tmp_path.iterdir()) == []  # what an example writes is taken away


@pytest.mark.parametrize("module", [facts, _law, _mixture], ids=lambda module: module.__name__)
def test_the_examples_of_a_module_hold(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted and not outcome.failed
