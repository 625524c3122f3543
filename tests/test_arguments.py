"""A wrong argument of a public function is an error that names the nearest one."""

from __future__ import annotations

import doctest
import inspect

import pytest

import isoloss
from isoloss.core import arguments
from isoloss.core.arguments import ArgumentError
from isoloss.core.problems import IsolossError
from isoloss.fitted.presets import Preset


def takes_any_name(function) -> bool:
    kinds = [one.kind for one in inspect.signature(function).parameters.values()]
    return inspect.Parameter.VAR_KEYWORD in kinds


PUBLIC = [getattr(isoloss, name) for name in isoloss.__all__ if name != "Fit"]
METHODS = [
    method
    for cls in (isoloss.Fit, Preset)
    for name, method in inspect.getmembers(cls, inspect.isfunction)
    if not name.startswith("_") and not takes_any_name(method)
]


def test_the_examples_hold():
    assert doctest.testmod(arguments).failed == 0


@pytest.mark.parametrize("function", [*PUBLIC, *METHODS], ids=lambda one: one.__qualname__)
def test_an_unknown_argument_is_told_with_the_place(function):
    """A new public function gets the decorator `checked` of core/arguments.py."""
    with pytest.raises(ArgumentError) as error:
        function(no_such_argument=1)
    assert str(error.value).startswith(f"{function.__name__}: no argument 'no_such_argument'; ")
    assert isinstance(error.value, TypeError) and isinstance(error.value, IsolossError)


@pytest.mark.parametrize("compare", [isoloss.compare_laws, isoloss.sensitivity])
def test_what_is_passed_on_is_checked_before_anything_is_fitted(compare):
    with pytest.raises(ArgumentError, match="did you mean 'bootstrap'"):
        compare(None, None, boostrap=3)


def test_a_slip_in_the_settings_of_one_law_is_an_error_and_not_its_status(chinchilla_runs):
    with pytest.raises(ArgumentError, match="did you mean 'options'"):
        isoloss.compare_laws(chinchilla_runs(noise=0), {"power_law": {"optoins": {}}})
