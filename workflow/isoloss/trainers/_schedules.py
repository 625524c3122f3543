"""Learning rates: the peak of a run, and the course of the rate over its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def learning_rate(step: int, width: float, settings: Mapping[str, Any]) -> float:
    """The learning rate of a step: linear warm-up, then the course that `schedule` names.

    The peak falls with the model's width to the power `learning_rate_exponent`, from its value at
    `learning_rate_width`, and grows with the square root of the batch (arXiv:2205.10287).

    Args:
        step: counted from 0.
        width: of the model.
        settings: of the run.

    Example:
        >>> settings = {"n_steps": 10, "warmup_fraction": 0.2, "schedule": "linear"}
        >>> settings |= {"peak_learning_rate": 1.0, "final_fraction": 0.0, "decay_fraction": 0.2}
        >>> settings |= {"learning_rate_width": 16, "learning_rate_exponent": 1.0}
        >>> settings |= {"batch_items": 8, "batch_size": 8}
        >>> [learning_rate(step, 16, settings) for step in (0, 1, 5, 9)]
        [0.5, 1.0, 0.5, 0.0]
    """
    n_steps, relative_width = settings["n_steps"], width / settings["learning_rate_width"]
    peak = settings["peak_learning_rate"] * relative_width ** -settings["learning_rate_exponent"]
    peak *= (settings["batch_items"] / settings["batch_size"]) ** 0.5
    warmup = max(1, round(settings["warmup_fraction"] * n_steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    final = settings["final_fraction"]
    decay = max(1, round(settings["decay_fraction"] * n_steps))
    course = _COURSES[settings["schedule"]]
    height = course(step + 1 - warmup, max(1, n_steps - warmup), decay)
    return peak * (final + (1 - final) * height)


def _cosine(passed: int, steps: int, decay: int) -> float:
    """Half a cosine (arXiv:1608.03983, equation 5)."""
    return 0.5 * (1 + math.cos(math.pi * passed / steps))


def _linear(passed: int, steps: int, decay: int) -> float:
    """A straight line down."""
    return 1 - passed / steps


def _constant(passed: int, steps: int, decay: int) -> float:
    """The peak in every step."""
    return 1.0


def _wsd(passed: int, steps: int, decay: int) -> float:
    """The peak, and a straight line down in the last `decay` steps (arXiv:2404.06395)."""
    return min(1.0, (steps - passed) / decay)


# share of the way from the final rate to the peak, by steps passed after warm-up and their number
_COURSES = {"cosine": _cosine, "linear": _linear, "constant": _constant, "wsd": _wsd}
