"""The examples in the docstrings of the sampler's modules run, and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from isoloss import posterior

MODULES = [module.name for module in pkgutil.iter_modules(posterior.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_hold(name):
    module = importlib.import_module(f"isoloss.posterior.{name}")
    assert doctest.testmod(module).failed == 0


def test_what_is_for_users_has_examples():
    for name in ("exact", "sampler", "settings", "potential", "health"):
        module = importlib.import_module(f"isoloss.posterior.{name}")
        assert any(test.examples for test in doctest.DocTestFinder().find(module)), name
