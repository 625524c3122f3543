"""Public functions that name the nearest argument where they are called with an unknown one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from isoloss.core.problems import IsolossError, Problem, nearest

P, R, C = ParamSpec("P"), TypeVar("R"), TypeVar("C", bound=type)


class ArgumentError(IsolossError, TypeError):
    """A function was called with an argument that it does not have."""


def checked(
    passes_to: Callable | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator of a function: an argument that it does not have is an `ArgumentError`.

    Python's own error names the nearest argument from 3.13 on only, and is not an IsolossError,
    which is shown without a traceback. A function that takes any name (`**settings`) and does not
    say what it passes them to is left as it is.

    Args:
        passes_to: the function that gets the arguments of other names.

    Example:
        >>> @checked()
        ... def area(width, height=1.0):
        ...     return width * height
        >>> area(2.0, height=3.0)
        6.0
        >>> area(2.0, hieght=3.0)
        Traceback (most recent call last):
            ...
        isoloss.core.arguments.ArgumentError: area: no argument 'hieght'; did you mean 'height'?
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        known, any_name = _names(function)
        if passes_to is not None:
            known, any_name = {*known, *_names(passes_to)[0]}, False
        if any_name:
            return function

        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            if unknown := [name for name in kwargs if name not in known]:
                place = function.__name__
                raise ArgumentError(
                    *(Problem(place, f"no argument {n!r}", nearest(n, known)) for n in unknown)
                )
            return function(*args, **kwargs)

        return called

    return decorated


def methods_checked(cls: C) -> C:
    """A decorator of a class: its public methods, also those that it inherits, are `checked`."""
    for name in dir(cls):
        method = inspect.getattr_static(cls, name)
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(cls, name, checked()(method))
    return cls


def _names(function: Callable) -> tuple[set[str], bool]:
    """The names of a function's arguments, and whether it takes any other."""
    arguments = inspect.signature(function).parameters.values()
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {one.name for one in arguments if one.kind in by_name and one.name != "self"}
    return known, any(one.kind is inspect.Parameter.VAR_KEYWORD for one in arguments)
