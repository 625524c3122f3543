"""The settings of a run: those of every run, and the options of its trainer, model and task."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from isoloss.core import registry, rounds, schema
from isoloss.trainers import _quantities

_EXPONENT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")

# Every key a run can vary besides the options of its cards. JSON Schema properties, in plan order.
# Where a run is planned, n_params, size_rule, examples_per_parameter and epochs have become sizes
# and D (`resolved` in cells.py).
OF_EVERY_RUN = {
    "weighting": {
        "type": "string",
        "default": "natural",
        "description": "Weighting of the training rows, one of `expand`.",
    },
    "seed": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2**63 - 1,
        "default": 0,
        "description": "Seed of the run. With the study's seed, the model's sizes and D it decides "
        "the first weights and the order of the data; weighting and optimiser do not.",
    },
    "n_flops": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1e30,
        "unit": "FLOP",
        "description": "Budget C; D follows from it.",
    },
    "n_samples": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1e15,
        "unit": "examples",
        "description": "Examples to train on, D, rounded to whole steps; the task says what an "
        "example is, such as a token. Beyond the data they are repeated.",
    },
    "n_unique": {
        "type": "integer",
        "minimum": 1,
        "maximum": 10**15,
        "unit": "examples",
        "description": "Distinct examples to train on, rounded to whole items of a batch; all "
        "where it is absent. The seed of the study draws them: the same for every model, a part "
        "of those of a larger n_unique. `n_available` in tables; `n_unique` is what was seen.",
    },
    "epochs": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1e9,
        "unit": "epochs",
        "description": "D = epochs * n_unique.",
    },
    "n_params": {
        "type": "number",
        "minimum": 1,
        "maximum": 1e15,
        "unit": "parameters",
        "description": "N to aim at, by the sweep's convention: the model card finds the sizes. "
        "Targets that have the same sizes are one run.",
    },
    "size_rule": {
        "type": "string",
        "description": "How the model card finds the sizes for n_params: `closest`, if absent, "
        "those whose N is nearest; or another rule of the card (`mlp` and `vit_head`: `inverse`, "
        "by the formula of N without biases and with unrounded widths).",
    },
    "examples_per_parameter": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1e12,
        "unit": "examples / parameter",
        "description": "D = examples_per_parameter * N. With n_flops and without sizes N = "
        "sqrt(C / 6 examples_per_parameter), to the nearest size.",
    },
}


def task_of(model: str) -> str:
    """The task card that a model card is trained at."""
    return registry.facts("model", model)["TASK"]


def commanded(sweep: Mapping[str, Any]) -> bool:
    """Whether the runs of a sweep are those of a user's program."""
    return bool(registry.facts("trainer", sweep["trainer"]).get("PROGRAM"))


def cards_of(sweep: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The cards that decide what the runs of a sweep come to: kind and name of each."""
    if commanded(sweep):
        return [("trainer", sweep["trainer"])]
    model = sweep["model"]
    return [("trainer", sweep["trainer"]), ("model", model), ("task", task_of(model))]


def known(sweep: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a run of this sweep's cards, as JSON Schema properties."""
    if commanded(sweep):
        return free_settings(sweep)
    options = [registry.options(kind, name) for kind, name in cards_of(sweep)]
    return {**OF_EVERY_RUN, **{key: spec for each in options for key, spec in each.items()}}


def free_settings(sweep: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting that a sweep gives its runs, as JSON Schema properties by what it gives.

    The user names them: each has the type of its values. A text such as 1e-3, which YAML does not
    read as a number, is one.

    Example:
        >>> cells = [{"width": [8, 16], "lr": ["1e-3", 0.01], "name": "a"}]
        >>> properties = free_settings({"settings": {}, "cells": cells})
        >>> {name: spec["type"] for name, spec in properties.items()}
        {'seed': 'integer', 'width': 'integer', 'lr': 'number', 'name': 'string'}
    """
    values: dict[str, list[Any]] = {}
    chosen = [dict.fromkeys(rounds.CHOSEN, 1)] if "round" in sweep else []
    for given in (sweep.get("settings", {}), *sweep.get("cells", ()), *chosen):
        for key, value in given.items():
            values.setdefault(key, []).extend(_each(value))
    properties = {"seed": OF_EVERY_RUN["seed"]}
    for key, several in values.items():
        properties.setdefault(key, _quantity(key) or _spec(several))
    return properties


def _each(value: Any) -> list[Any]:
    """The values of a key of a cell; the ends of a range."""
    if isinstance(value, Mapping):
        return [value[end] for end in ("from", "to") if end in value]
    return value if isinstance(value, list) else [value]


def _quantity(key: str) -> dict[str, Any] | None:
    if key not in _quantities.QUANTITIES:
        return None
    kind = "integer" if key in _quantities.WHOLE else "number"
    return {"type": kind, "exclusiveMinimum": 0, "maximum": _quantities.GREATEST[key]}


def _spec(values: Iterable[Any]) -> dict[str, Any]:
    numbers = [_number(value) for value in values]
    if all(isinstance(number, bool) for number in numbers):
        return {"type": "boolean"}
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        return {"type": "string"}
    whole = all(isinstance(n, int) for n in numbers)
    most = 2**63 - 1 if whole else 1e300
    return {"type": "integer" if whole else "number", "minimum": -most, "maximum": most}


def _number(value: Any) -> Any:
    text = isinstance(value, str) and not _EXPONENT.fullmatch(value)
    return value if text else schema.number(value)
