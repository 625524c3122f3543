"""A file with the arguments of a `Chinchilla`."""

from __future__ import annotations

import difflib
import inspect
import json
import os
import re
from collections.abc import Callable
from typing import Any

import yaml

from isoloss.core import escape

_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?")


class _Loader(yaml.SafeLoader):
    """YAML in which 1e18 is a number, as in version 1.2, and no key appears twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping; a key that appears twice is an error."""
        keys = [key.value for key, _ in node.value]
        for at, key in enumerate(keys):
            if key in keys[:at]:
                mark = node.value[at][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} appears twice", mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    key: list(kinds) for key, kinds in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(f"^{_FLOAT.pattern}$"), list("-+.0123456789")
)


def read_config(path: str | os.PathLike, function: Callable) -> dict[str, Any]:
    """The arguments of a function that a file in JSON or YAML gives.

    Raises:
        ValueError: it has another ending, or is not a mapping in that format.
        TypeError: a key is not an argument.
    """
    place, ending = escape.visible(path), os.path.splitext(path)[1].lower()
    with open(path, encoding="utf-8") as file:
        if ending not in (".json", ".yaml", ".yml"):
            raise ValueError(
                f"Unsupported file format: {place}; use JSON (.json) or YAML (.yaml, .yml)"
            )
        try:
            config = json.load(file) if ending == ".json" else yaml.load(file, Loader=_Loader)
        except (ValueError, yaml.YAMLError) as error:
            kind = "JSON" if ending == ".json" else "YAML"
            raise ValueError(f"{place}: is not {kind} ({error}); fix it") from error
    if not isinstance(config, dict):
        raise ValueError(f"{place}: must be a mapping of arguments to values")
    parameters = inspect.signature(function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):  # of a subclass, say
        return config
    allowed = list(parameters)[1:]
    for key in config:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, 1) or allowed
            remedy = f"did you mean {near[0]!r}?" if len(near) == 1 else f"allowed: {allowed}"
            raise TypeError(f"{place}: {escape.visible(key)!r} is not an argument; {remedy}")
    return config
