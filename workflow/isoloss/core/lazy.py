"""Names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names come from other modules.

    Args:
        package: its name, for the error.
        homes: name to the module that defines it.

    Example:
        >>> fetch = names("shapes", {"pi": "math"})
        >>> round(fetch("pi"), 2)
        3.14
    """

    def fetch(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(homes[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return fetch
