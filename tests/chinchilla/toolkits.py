"""The package `chinchilla` 0.2.0 and our facade, under one roof: every test of parity takes both.

A test that is marked with `differs(name)` holds the facade to what the package's documentation
says; the package itself must fail it, and DIFFERENCES says why. docs/parity.md lists the same.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

MODULES = ("core", "database", "visualizer", "simulator", "_utils", "_metrics", "_validator")
MODULES += ("_logger",)
HAS_PACKAGE = (spec := find_spec("chinchilla")) is not None and spec.origin is not None
# the package warns of much that our suite turns into errors
PACKAGE_MARKS = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not HAS_PACKAGE, reason="the package chinchilla is not installed"),
]
ROOTS = {"package": "chinchilla", "isoloss": "isoloss.chinchilla"}

DIFFERENCES = {
    "weight_fn": "the package looks at loss_fn where its documentation says weight_fn",
    "weights_of_whole_numbers": "the package divides the weights in place, and fails where they "
    "are whole numbers",
    "step_alone": "the package asks a dict for attributes, so that step(C=...) and "
    "step(scaling_factor=...) fail without a factor set before",
    "preset_factor": "the package's Simulator forgets the factor of `Chinchilla(scaling_factor=)`",
    "simulated_append": "`Simulator.append` of the package writes into the project's own file",
    "numpy_size": "the package refuses sizes that are numbers of NumPy in adjust_D_to_N",
    "list_of_budgets": "the package fails on a list, which its documentation allows",
    "is_between_arrays": "the package fails on arrays, which its documentation allows",
    "stale_cache": "the package's cache of sizes does not know that the grid changed",
    "nameless_penalty": "the package's report fails for a penalty without a name, such as a "
    "functools.partial",
    "counts_of_numpy": "6 N D of the package overflows where N and D are integers of NumPy",
    "root_logger": "the package replaces the handlers of the whole program's logger",
    "warning_filters": "importing the package changes the warning filters of the whole process",
    "global_style": "importing the package changes the style of every figure of the process",
}

# A law, and the start of a search near it
TRUTH = {"E": 1.7, "A": 120.0, "B": 900.0, "alpha": 0.34, "beta": 0.41}
GRID = {"E": [1.6], "a": [5.0], "b": [7.0], "alpha": [0.3], "beta": [0.4]}
SEED_RANGES = {"C": (1e15, 1e16), "N_to_D": (10, 100)}


def differs(name: str) -> Callable:
    """A mark for a test that only the facade passes; DIFFERENCES[name] says why."""

    def mark(test: Callable) -> Callable:
        test.difference = DIFFERENCES[name]
        return test

    return mark


@dataclass(frozen=True)
class Toolkit:
    """One implementation: its name, and its classes and functions as attributes of modules."""

    name: str

    def module(self, name: str) -> ModuleType:
        """The submodule of that name, as `import chinchilla.NAME` gives it."""
        return importlib.import_module(f"{ROOTS[self.name]}.{name}")

    @property
    def top(self) -> ModuleType:
        """The package itself, as `import chinchilla` gives it."""
        return importlib.import_module(ROOTS[self.name])

    def make(self, folder, runs: Iterable[tuple[int, int, float]] = (), *, draws=False, **settings):
        """A Chinchilla of that folder, quiet, with runs (N, D, loss) in its database.

        A fit leaves a picture only if it `draws`.
        """
        settings = {"param_grid": GRID, "log_level": 50, **settings}
        cc = self.top.Chinchilla(str(folder), **settings)
        if not draws:
            cc.visualizer.optim = lambda *_, **__: None
        for n, d, loss in runs:
            cc.append(N=n, D=d, loss=loss)
        return cc


def execute(module: ModuleType) -> None:
    """Run the code of a module as its import does, and leave the module as it is."""
    code = compile(Path(module.__file__).read_text(encoding="utf-8"), module.__file__, "exec")
    exec(code, {"__name__": module.__name__, "__package__": module.__package__})


def loss_of(n, d, law: dict[str, float] = TRUTH):
    """The loss of a law at N and D."""
    return law["E"] + law["A"] / n ** law["alpha"] + law["B"] / d ** law["beta"]


def some_runs(count: int = 12, noise: float = 0.0) -> list[tuple[int, int, float]]:
    """Runs of the seed regime that follow TRUTH: N, D, and the loss with exponential noise."""
    rng = np.random.default_rng(0)
    budget = np.exp(rng.uniform(*np.log(SEED_RANGES["C"]), count))
    ratio = np.exp(rng.uniform(*np.log(SEED_RANGES["N_to_D"]), count))
    n = np.rint(np.sqrt(budget / (6 * ratio)))
    d = np.rint(n * ratio)
    loss = loss_of(n, d) + noise * rng.exponential(size=count)
    return [(int(a), int(b), float(c)) for a, b, c in zip(n, d, loss, strict=True)]


@dataclass
class Records(logging.Handler):
    """What a logger says: the text of every record, and its level."""

    texts: list[str] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(level=logging.DEBUG)

    def __hash__(self):
        return id(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.texts.append(record.getMessage())
        self.levels.append(record.levelno)

    @property
    def text(self) -> str:
        """Everything in one text."""
        return "\n".join(self.texts)


class SerialPool:
    """Has the interface of multiprocessing.Pool and works in this process: a fork of a process
    that has threads can hang, and the tests are about numbers.
    """

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def imap_unordered(self, function: Callable, values: Iterable):
        """The values of a function, in order."""
        return map(function, values)
