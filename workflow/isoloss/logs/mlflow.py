"""Runs in an MLflow file store: a folder a run, with a file a parameter, metric and tag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isoloss.core.sources import Source
from isoloss.formats.numbers import is_number
from isoloss.logs import configs
from isoloss.logs.log import UNKNOWN, Log, Record, Records

META = "meta.yaml"
_PARTS = ("params", "metrics", "tags")
# `mlflow.entities.RunStatus`
_STATUS = {1: "running", 2: "scheduled", 3: "finished", 4: "failed", 5: "killed"}


def meta(file: Source) -> Record:
    """What the `meta.yaml` of a run or an experiment says; empty if it is none of them.

    Raises:
        TableError: it is not YAML.
    """
    values = configs.settings(file)
    return values if "lifecycle_stage" in values else {}


def is_run(about: Mapping[str, Any]) -> bool:
    """Whether a `meta.yaml` is that of a run."""
    return "run_id" in about or "run_uuid" in about


def log(about: Record, files: Mapping[str, Source], experiment: Record) -> Log:
    """The log of a run.

    Args:
        about: what its `meta.yaml` says.
        files: the other files of its folder by name.
        experiment: what the `meta.yaml` of its experiment says.

    Raises:
        TableError: a line of a metric is not `timestamp value step`.
    """
    parts: dict[str, dict[str, Source]] = {part: {} for part in _PARTS}
    for name, file in files.items():
        part, _, key = name.partition("/")
        parts.get(part, {})[key] = file
    config = {name: _value(_text(file)) for name, file in parts["params"].items()}
    tags = {name: _text(file) for name, file in parts["tags"].items()}
    config |= {f"tags.{n}": text for n, text in tags.items() if not n.startswith("mlflow.")}
    named = {"run_name": about.get("run_name") or tags.get("mlflow.runName")}
    named["experiment"] = experiment.get("name")
    config |= {name: value for name, value in named.items() if value}
    status = _STATUS.get(about.get("status"), UNKNOWN)
    if about["lifecycle_stage"] == "deleted":
        status = "deleted"
    rows: list[Record] = []
    places: list[str] = []
    for metric, file in parts["metrics"].items():
        for number, line in enumerate(_text(file).splitlines(), 1):
            rows.append(_point(metric, file, number, line))
            places.append(f"line {number}")
    if not rows:
        return Log.of_settings(config, ("it has no metrics",), status)
    return Records(next(iter(files.values())), rows, places).log(config, status)


def _point(metric: str, file: Source, number: int, line: str) -> Record:
    """A line of a metric's file; those of old versions have no step."""
    try:
        _, value, *step = line.split()
        return {metric: float(value), "global_step": int(step[0]) if step else number - 1}
    except ValueError:
        reason = f"line {number} is {line[:80]!r}, not `timestamp value step`"
        raise file.error(reason, "correct it, or remove the line") from None


def _text(file: Source) -> str:
    try:
        return file.parts[0].decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise file.error(f"is not UTF-8 ({error})", "write it again") from error


def _value(text: str) -> Any:
    """A parameter, which MLflow keeps as text, as what it was."""
    if text in ("True", "False"):
        return text == "True"
    if text in ("", "None"):
        return None
    if not is_number(text):
        return text
    return int(text) if text.lstrip("+-").isdecimal() else float(text)
