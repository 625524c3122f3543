"""Configurations of runs in files beside their logs: JSON or YAML."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from isoloss.core import yaml_text
from isoloss.core.problems import StudyError, TableError
from isoloss.core.sources import Source
from isoloss.formats.json_tables import flattened
from isoloss.formats.numbers import is_number
from isoloss.logs.log import Record, as_text

_NAME = re.compile(
    r"(?:(.+?)[._-])?(?:(?:training|train|model|run)[._-]?)?"
    r"(?:config|cfg|args|hparams|hyperparameters|params|settings|options|metadata)s?",
    re.IGNORECASE,
)
_HYDRA = ".hydra"  # the folder in a run's folder where Hydra writes its configuration
_ENDINGS = (".json", ".yaml", ".yml")


def owner(name: str) -> str | None:
    """The stem of the log that a file is the configuration of, by its name.

    Empty if it is of all logs of its folder; None if it is not a configuration.

    >>> owner("run/config.yaml"), owner("run-1.args.json"), owner("run-1.yaml"), owner("log.json")
    ('', 'run-1', 'run-1', None)
    """
    path = PurePosixPath(name)
    ending = path.suffix.lower()
    if ending not in _ENDINGS:
        return None
    match = _NAME.fullmatch(path.stem)
    if match:
        return match[1] or ""
    return None if ending == ".json" else path.stem


@dataclass(frozen=True)
class Config:
    """A configuration beside logs.

    Attributes:
        name: of its file.
        owner: the stem of the log that it belongs to; empty if it is of its folder.
        settings: what is in it.
    """

    name: str
    owner: str
    settings: Record

    @property
    def folder(self) -> str:
        """The folder whose logs it may belong to.

        >>> Config("a/.hydra/config.yaml", "", {}).folder
        'a'
        """
        folder = PurePosixPath(self.name).parent
        return str(folder.parent if folder.name == _HYDRA else folder)


def settings(file: Source) -> Record:
    """The settings in a file, nested ones joined by points, without empty ones.

    Lists are JSON text. What W&B writes as `{value: 3}` is 3.

    Raises:
        TableError: it is not JSON or YAML, or not a mapping.
    """
    values = _read(file)
    if not isinstance(values, dict):
        raise file.error("is not a mapping of names to settings", "write `name: value` lines")
    flat = flattened({str(name): _unwrapped(value) for name, value in values.items()})
    return {as_text(name): plain(value) for name, value in flat.items() if value is not None}


def _read(file: Source) -> Any:
    content = file.parts[0]
    if file.label.lower().endswith(".json"):
        try:
            return json.loads(content)
        except json.JSONDecodeError as error:
            reason = f"line {error.lineno} is not JSON ({error.msg}, character {error.colno})"
            raise file.error(reason, "write it again") from error
        except RecursionError as error:
            raise file.error("is nested too deeply", "write it with fewer levels") from error
        except ValueError as error:
            raise file.error(f"is not JSON ({error})", "write it again") from error
    try:
        return yaml_text.load(content, file.label, misread=True)
    except StudyError as error:
        raise TableError(*(one.within(file.label) for one in error.problems)) from error


def _unwrapped(value: Any) -> Any:
    if isinstance(value, dict) and "value" in value and set(value) <= {"value", "desc"}:
        return value["value"]
    return value


def plain(value: Any) -> Any:
    """A setting as a number, a truth value or a text; 1e-3, which YAML calls text, is a number."""
    if isinstance(value, list | dict):
        return as_text(json.dumps(value, ensure_ascii=False))
    if not isinstance(value, str):
        return value
    if "e" in value.lower() and is_number(value):
        return float(value)
    return as_text(value)
