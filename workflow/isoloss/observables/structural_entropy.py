"""Structural entropies: how many paths lead from a hidden unit to the outputs, and how unlike."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from isoloss.core.arguments import checked
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.seeds import generator
from isoloss.observables import _paths

TITLE = "Structural entropies"
ABOUT = (
    "How the paths from a hidden unit to the outputs share the probability of their edges, over"
    " all paths, as means over hidden units: over a seeded sample of them (part `sample`), and over"
    " all (part `all`). The model is a chain of linear layers."
)
FORMULA = (
    "p(u→v) = softmax over v of |w(u→v)|, edges with p <= 1e-9 absent; c = sum over a path's edges"
    " of 1 - ln p; H_TSE = 1 / (sum of 1/c); H_SIE = -sum of q log2(q + 1e-9), q = exp(-c) / (sum"
    " of exp(-c)); sums over the paths from a hidden unit to any output"
)
SOURCE = (
    "the notebook Universality Verification Experiment for Scaling Law (N-Scaling), which"
    " enumerates paths; here by sweeps of matrix products and the trapezoidal rule (Trefethen and"
    " Weideman 2014)"
)
QUANTITIES = {
    "h_tse": {"title": "H_TSE of hidden units", "unit": "1"},
    "h_sie": {"title": "H_SIE of hidden units", "unit": "bit"},
}
COLUMNS = {
    "h_tse": {
        "table": "observations",
        "column": "value",
        "rows": {"quantity": "h_tse", "part": "all"},
        "about": "H_TSE, mean over all hidden units",
    },
    "h_sie": {
        "table": "observations",
        "column": "value",
        "rows": {"quantity": "h_sie", "part": "all"},
        "unit": "bit",
        "about": "H_SIE, mean over all hidden units",
    },
}
OPTIONS = {
    "units": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000_000,
        "default": 30,
        "unit": "units",
        "description": (
            "Hidden units of the sample, drawn without replacement from those of all layers; all"
            " of them where the model has fewer."
        ),
    },
    "seed": {
        "type": "integer",
        "minimum": 0,
        "maximum": 4_294_967_295,
        "default": 0,
        "description": "Seed of the sample, which depends on the number of hidden units beside it.",
    },
    "tensors": {
        "type": "array",
        "items": {"type": "string"},
        "default": [],
        "description": (
            "Names of the weight matrices from the first layer to the last; if empty all tensors"
            " with two dimensions, ordered by name, numbers in names by value."
        ),
    },
}
FLOOR = 1e-9  # added to q in H_SIE
WIDEST = 10**9  # in a layer so wide all edges of a unit could be absent


@checked()
def structural_entropies(weights: Sequence[np.ndarray]) -> pd.DataFrame:
    """Compute the structural entropies of every hidden unit of a network of linear layers.

    An edge u→v has the probability p = softmax over v of |w(u→v)| and the cost 1 - ln p; it is
    absent where p <= 1e-9. Over all paths from the unit to the outputs, c the cost of a path:
    H_TSE = 1 / (sum of 1/c), and H_SIE = -sum of q log2(q + 1e-9) with q proportional to exp(-c).
    Every unit has a path, for an edge has a probability of 1/width at least. A unit with a single
    path has H_TSE = c and H_SIE = -1.4e-9. With more than about 1e9 paths the 1e-9 in the
    definition keeps H_SIE below 29.9.

    The time is linear in the number of weights; see `_paths.py` for the method and its error.

    Args:
        weights: matrices (out, in) from the first layer to the last, as `torch.nn.Linear` stores
            them; two or more. The first one only says how many hidden units it feeds.

    Returns:
        One row a hidden unit, layer by layer: `layer` (1 for the first hidden layer), `unit` (its
        row in the matrix that feeds it, from 0), `h_tse` (to a relative 1e-9; 0 beyond about 1e308
        paths), `h_sie` (bits, to 1e-9).

    Raises:
        IsolossError: a matrix does not take what the one before it gives, has another number of
            dimensions, no unit, or a value that is NaN or infinite; or there is no hidden layer.

    Example:
        >>> import isoloss
        >>> isoloss.structural_entropies([[[0.5], [2.0]], [[1.0, -3.0], [1.0, 3.0]]]).round(6)
           layer  unit     h_tse  h_sie
        0      1     0  0.846574    1.0
        1      1     1  0.846574    1.0
    """
    named = {f"weights[{i}]": matrix for i, matrix in enumerate(weights)}
    return _entropies(named, "give matrices (out, in) from the first layer to the last")


def observe(
    weights: Mapping[str, np.ndarray], units: int = 30, seed: int = 0, tensors: Sequence[str] = ()
) -> pd.DataFrame:
    """Measure one model.

    Args:
        weights: name of a tensor, such as `layers.0.weight`, to its values.
        units: hidden units of the sample.
        seed: of the sample.
        tensors: names of the weight matrices from the first layer to the last; empty: all tensors
            with two dimensions, by name.

    Returns:
        One row a part and quantity: `part` (`sample`, `all`), `quantity`, `value` (mean over the
        hidden units; float64).

    Raises:
        IsolossError: the matrices are not a chain of layers, or there is no tensor of that name.

    Example:
        >>> layers = {"layers.0.weight": np.ones((4, 3)), "layers.1.weight": np.ones((2, 4))}
        >>> observe(layers)["value"].round(6).tolist()
        [0.846574, 0.846574, 1.0, 1.0]
    """
    names = list(tensors) or sorted((n for n in weights if weights[n].ndim == 2), key=_by_number)
    problems = [
        Problem("tensors", f"the model has no tensor {name!r}", nearest(name, weights))
        for name in names
        if name not in weights
    ]
    if problems:
        raise IsolossError(*problems)
    remedy = "name the matrices of a chain of linear layers, first to last, in the option `tensors`"
    table = _entropies({name: weights[name] for name in names}, remedy)
    rng = generator(seed, "sample of hidden units", str(len(table)))
    drawn = rng.choice(len(table), size=min(units, len(table)), replace=False)
    rows = [
        (part, quantity, float(of_part[quantity].mean()))
        for quantity in QUANTITIES
        for part, of_part in {"sample": table.iloc[np.sort(drawn)], "all": table}.items()
    ]
    return pd.DataFrame(rows, columns=["part", "quantity", "value"])


def _by_number(name: str) -> list[tuple[str, int]]:
    """A key that puts `layers.10.weight` after `layers.2.weight`."""
    return [(text, int(number or -1)) for text, number in re.findall(r"(\D*)(\d*)", name)]


def _entropies(named: Mapping[str, np.ndarray], remedy: str) -> pd.DataFrame:
    """The table of a chain of matrices by their names; `remedy` is for those that do not chain."""
    matrices = {name: np.asarray(matrix, dtype=np.float64) for name, matrix in named.items()}
    problems = list(_problems(matrices, remedy))
    if problems:
        raise IsolossError(*problems)
    logs = [_paths.log_probabilities(matrix) for matrix in list(matrices.values())[1:]]
    evenly = [np.where(layer > -np.inf, 0.0, -np.inf) for layer in logs]
    any_path, counts = _paths.chain(evenly)
    inverses = _paths.mean_inverse_cost(any_path, [1 - layer for layer in logs])
    likely_path, _ = _paths.chain(logs)
    ratios = _paths.mean_log_ratio(likely_path, FLOOR)
    widths = [len(count) for count in counts]
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(1, len(widths) + 1), widths),
            "unit": np.concatenate([np.arange(width) for width in widths]),
            "h_tse": np.exp(-np.concatenate(counts)) / np.concatenate(inverses),
            "h_sie": -math.log2(FLOOR) - np.concatenate(ratios) / math.log(2),
        }
    )


def _problems(matrices: Mapping[str, np.ndarray], remedy: str):
    """What keeps matrices by their names from being a chain of layers, one problem at a time."""
    if len(matrices) < 2:
        reason = f"a hidden layer needs 2 weight matrices or more, and there are {len(matrices)}"
        yield Problem("weights", reason, remedy)
    before = None
    for name, matrix in matrices.items():
        place = f"{name}, shape {matrix.shape}"
        if matrix.ndim != 2 or not all(0 < length < WIDEST for length in matrix.shape):
            reason = f"is not a matrix with 1 to {WIDEST - 1} rows and columns"
            yield Problem(place, reason, remedy)
            return
        if before and matrix.shape[1] != len(matrices[before]):
            reason = (
                f"takes {matrix.shape[1]} values, but {before}, shape {matrices[before].shape},"
                f" gives {len(matrices[before])}"
            )
            yield Problem(place, reason, remedy)
            return
        if not np.isfinite(matrix).all():
            row, column = np.argwhere(~np.isfinite(matrix))[0]
            reason = f"the weight in row {row}, column {column} is {matrix[row, column]}"
            yield Problem(place, reason, "take a model whose weights are finite")
        before = name
