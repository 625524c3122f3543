"""Keep Python from importing what lies in the folder in which a job works."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_NAME, _VALUE = "PYTHONSAFEPATH", "isoloss"  # any value switches it on; this one is ours


def keep_to_the_path(environment: MutableMapping[str, str]) -> None:
    """Have each `python -m ...` of an environment import from its path alone.

    Without it the folder in which it is started comes first: a file `yaml.py` in the folder of
    somebody else's study would be run.

    Example:
        >>> environment = {}
        >>> keep_to_the_path(environment)
        >>> without_it(environment), without_it({"PYTHONSAFEPATH": "1"})
        ({}, {'PYTHONSAFEPATH': '1'})
    """
    environment.setdefault(_NAME, _VALUE)


def without_it(environment: MutableMapping[str, str]) -> dict[str, str]:
    """The environment for a program of the user, whose scripts import what lies beside them."""
    return {name: v for name, v in environment.items() if (name, v) != (_NAME, _VALUE)}


def with_this_package(environment: MutableMapping[str, str]) -> dict[str, str]:
    """The environment for `python -P -m isoloss...`, wherever this package was imported from.

    Example:
        >>> with_this_package({"PYTHONPATH": "mine"})["PYTHONPATH"].endswith(":mine")
        True
    """
    home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = [home, *filter(None, [environment.get("PYTHONPATH")])]
    return {**environment, "PYTHONPATH": os.pathsep.join(path)}
