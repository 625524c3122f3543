"""What the cells of a sweep spell out: lists and ranges crossed, targets turned into settings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from isoloss.core.problems import IsolossError, Problem

if TYPE_CHECKING:
    from isoloss.train.plan import Cards

# A range in the place of a value, as JSON Schema properties.
RANGE = {
    "from": {"type": "number", "description": "First value."},
    "to": {"type": "number", "description": "Last value, above the first."},
    "points": {
        "type": "integer",
        "minimum": 2,
        "maximum": 20_000,
        "description": "How many values, both ends among them.",
    },
    "spacing": {
        "type": "string",
        "enum": ["log", "linear"],
        "default": "log",
        "description": "Equal ratios or equal steps between neighbours.",
    },
}
SIZE_FACTOR = 2.0  # the N found is at most so many times the target, or a part of it
# what gives a run its D; with n_flops, examples_per_parameter gives N
OF_D = ("n_samples", "n_flops", "epochs", "examples_per_parameter")


def count_runs(sweep: Mapping[str, Any]) -> int:
    """How many runs the cells of a sweep spell out at most, counted without spelling them out.

    Those that come out alike are one run: values of a range that round to one, targets with the
    same sizes, cells that repeat each other.
    """
    return sum(math.prod(map(_count, cell.values())) for cell in sweep["cells"])


def _count(value: Any) -> int:
    if isinstance(value, Mapping):
        return value["points"]
    return len(value) if isinstance(value, list) else 1


def values_of(value: Any, spec: Mapping[str, Any]) -> list[Any]:
    """The values that a key of a cell spells out.

    Args:
        value: a value, a list of them, or a range (RANGE).
        spec: JSON Schema of the setting. Of an integer, a range is rounded to what is allowed.

    Example:
        >>> values_of({"from": 1, "to": 100, "points": 3, "spacing": "log"}, {"type": "number"})
        [1.0, 10.0, 100.0]
        >>> values_of({"from": 8, "to": 9, "points": 9}, {"type": "integer"})
        [8, 9]
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, Mapping):
        return [value]
    low, high, steps = float(value["from"]), float(value["to"]), value["points"] - 1
    if value.get("spacing", "log") == "log":
        spaced = [low * (high / low) ** (i / steps) for i in range(steps)]
    else:
        spaced = [low + (high - low) * i / steps for i in range(steps)]
    # twelve digits: the same values, and so the same runs, on every machine
    spaced = [float(f"{x:.12g}") for x in [*spaced, high]]
    if spec["type"] != "integer":
        return spaced
    unit = spec.get("multipleOf", 1)
    return list(dict.fromkeys(round(x / unit) * unit for x in spaced))


def assignments(cell: Mapping[str, Any], properties: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a cell says of each of its runs: the product of the values of its keys.

    Args:
        cell: keys to values, lists and ranges.
        properties: JSON Schema of every key.
    """
    choices = {key: values_of(value, properties[key]) for key, value in cell.items()}
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def resolved(
    given: Mapping[str, Any], defaults: Mapping[str, Any], cards: Cards, convention: str
) -> dict[str, Any]:
    """The settings of a run, in which targets have become sizes and D.

    Args:
        given: what the study says of the run.
        defaults: of what it does not say.
        cards: of the sweep.
        convention: for N, `total` or `nonembed`.

    Returns:
        Settings without n_params, size_rule, examples_per_parameter and epochs.

    Raises:
        IsolossError: no size is near the target, or sizes are given besides it.
    """
    settings = {**defaults, **given}
    target, rule = settings.pop("n_params", None), settings.pop("size_rule", "closest")
    ratio, epochs = settings.pop("examples_per_parameter", None), settings.pop("epochs", None)
    if ratio is not None and "n_flops" in settings:
        target = math.sqrt(settings["n_flops"] / (6 * ratio))
    if target is not None:
        settings |= _sizes(target, rule, given, settings, cards, convention)
    if "n_unique" in settings:
        _, per_item = cards.sized(settings)
        settings["n_unique"] = max(1, round(settings["n_unique"] / per_item)) * per_item
    if epochs is not None:
        settings["n_samples"] = epochs * settings["n_unique"]
    if ratio is not None and "n_flops" not in settings:
        settings["n_samples"] = ratio * cards.n_params(settings, convention)
    return settings


def _sizes(
    target: float,
    rule: str,
    given: Mapping[str, Any],
    settings: Mapping[str, Any],
    cards: Cards,
    convention: str,
) -> dict[str, Any]:
    """The sizes that the model card finds for a target N."""
    sizes = cards.sizes(target, rule, settings, convention)
    both = [key for key in sizes if key in given]
    if both:
        reason = f"N follows from {both[0]}, and a target N is given too"
        raise IsolossError(Problem("", reason, "give one of them"))
    n = cards.n_params({**settings, **sizes}, convention)
    if not target / SIZE_FACTOR <= n <= target * SIZE_FACTOR:
        size = ", ".join(f"{key} {value}" for key, value in sizes.items())
        reason = f"of all models {size} is nearest to N = {target:g}, and it has N = {n}"
        raise IsolossError(Problem("", reason, "change the target or the other sizes"))
    return sizes


def problems(cell: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the keys of a cell together; places are keys of the cell, or empty.

    Args:
        cell: its keys and values, each of them sound.
        settings: of every run of the sweep.
    """
    keys = {*cell, *settings}
    wrong = [_range_problem(key, v) for key, v in cell.items() if isinstance(v, Mapping)]
    of_d = [key for key in OF_D if key in keys]
    if not of_d:
        reason = f"nothing gives D: none of {', '.join(OF_D)}"
        wrong.append(Problem("", reason, "give one of them"))
    elif of_d == ["n_flops", "examples_per_parameter"]:
        if "n_params" in keys:
            reason = "N follows from n_flops and examples_per_parameter, and n_params is given too"
            wrong.append(Problem("", reason, "leave one of the three out"))
    elif len(of_d) > 1:
        reason = f"{' and '.join(of_d)}: each of them gives D"
        wrong.append(Problem("", reason, "give one of them"))
    if "epochs" in keys and "n_unique" not in keys:
        reason = "epochs without n_unique: D = epochs * n_unique"
        wrong.append(Problem("epochs", reason, "give n_unique, the distinct examples"))
    if "size_rule" in keys and not keys & {"n_params", "examples_per_parameter"}:
        reason = "there is no target N for which sizes are to be found"
        wrong.append(Problem("size_rule", reason, "give n_params, or leave it out"))
    return [problem for problem in wrong if problem is not None]


def _range_problem(key: str, value: Mapping[str, Any]) -> Problem | None:
    """What is wrong with the ends of a range; None if they are sound."""
    low, high = value["from"], value["to"]
    if not low < high:
        return Problem(key, f"a range from {low:g} to {high:g}", "`from` has to be below `to`")
    if value.get("spacing", "log") == "log" and low <= 0:
        remedy = "write `spacing: linear`, or begin above 0"
        return Problem(key, f"a range from {low:g} with equal ratios", remedy)
    return None
