"""The contract of observable cards: what is measured of a trained model.

A card has the constants TITLE, ABOUT, FORMULA, SOURCE, QUANTITIES (quantity to its `title` and
`unit`) and OPTIONS (as JSON Schema properties with a default), and the function `observe`. A card
that only looks at the weights has `observe(weights, **options)` and returns the rows of the table
`observations` (`WeightsCard`); `weight_norms.py` is an example.

A card that also needs the training data has the constant READS = "data". Its function is
`observe(trained, **options)` (`DataCard`), and it can return further tables beside the
observations; the constant TABLES names them, each has a contract in tables.yaml, and in a study
they are in files of their own, `{shard}.{table}.parquet`. `llc.py` is an example.

A card can have COLUMNS: the columns that it gives the table `runs`, by name (core/joined.py), and a
function `problems(**options)` that yields what is wrong with options together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from isoloss.core.problems import Problem
    from isoloss.tasks._task import Task

Observed = Mapping[str, "pd.DataFrame"]  # `observations` and the card's TABLES, without `run_id`


@dataclass(frozen=True)
class TrainedModel:
    """A run that has ended, and what it was trained on.

    Attributes:
        module: the model with its trained weights, in eval mode, on the cpu.
        task: of the run; its items are those that batches of the run are drawn from.
        weights: name of a tensor to its trained values.
        seed: of what is drawn: by the study's seed, the card, and the content of the weights.
        progress: called now and then with the share of the work that is done, from 0 to 1.
    """

    module: torch.nn.Module
    task: Task
    weights: Mapping[str, np.ndarray]
    seed: int
    progress: Callable[[float], None] = lambda share: None


class WeightsCard(Protocol):
    """The function of a card that looks at weights only."""

    def observe(self, weights: Mapping[str, np.ndarray], **options: Any) -> pd.DataFrame:
        """Measure one model.

        Args:
            weights: name of a tensor to its values.
            options: the card's own.

        Returns:
            One row a part and quantity: `part`, `quantity`, `value` (float64).

        Raises:
            IsolossError: these weights cannot be measured.
        """


class DataCard(Protocol):
    """The functions of a card with READS = "data"."""

    def observe(self, trained: TrainedModel, **options: Any) -> Observed:
        """Measure one model; a measurement that fails is a row that says so, not an error.

        Returns:
            The rows of `observations` (`part`, `quantity`, `value`) and those of the card's TABLES.

        Raises:
            IsolossError: the options do not fit the model.
        """

    def problems(self, **options: Any) -> Iterable[Problem]:
        """What is wrong with the options together; places are their names."""
