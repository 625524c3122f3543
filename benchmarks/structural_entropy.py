"""What do structural entropies cost? Processor time against the enumeration of all paths.

Two works: 30 hidden units of an MLP 784-43-22-10, and all 320 hidden units of one with five hidden
layers of 64, whose first units have a billion paths each. Contenders, which take turns:

- `isoloss`: `structural_entropies`, which computes all hidden units in both works;
- `networkx, path by path`: a `DiGraph` of all linear layers, and `all_simple_paths` from each unit
  to the outputs; its edges are read once for each path. On the deep network it would take years:
  no row.
- `numpy, path by path`: the costs of all paths in arrays, matrix by matrix, for all hidden units of
  the first work.

Weights are normal with variance 1 / fan-in. `seconds` is the median of a contender's processor
time by one thread, `ratio` that over ours.

Run `python benchmarks/structural_entropy.py`; `--quick` takes fewer turns and writes nothing.
Without networkx (`pip install networkx`) it says so and goes on.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import pyarrow as pa

import isoloss
from isoloss.core.tables import write_free

HERE = Path(__file__).parent
SMALL, DEEP = (784, 43, 22, 10), (784, 64, 64, 64, 64, 64, 10)
UNITS, TURNS, QUICK_TURNS = 30, 15, 3
COLUMNS = ["layer", "unit", "h_tse", "h_sie"]


def network(widths: tuple[int, ...]) -> list[np.ndarray]:
    """Weight matrices (out, in)."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal((b, a)) / np.sqrt(a) for a, b in pairwise(widths)]


def sample(widths: tuple[int, ...]) -> list[tuple[int, int]]:
    """Layer and number of the hidden units that paths are enumerated for."""
    hidden = [(layer, u) for layer, width in enumerate(widths[1:-1], 1) for u in range(width)]
    drawn = np.random.default_rng(0).choice(len(hidden), UNITS, replace=False)
    return [hidden[i] for i in drawn]


def costs_of_edges(matrix: np.ndarray) -> np.ndarray:
    """1 - ln p of every edge, (out, in), infinite where it is absent."""
    odds = np.exp(np.abs(matrix))
    p = odds / odds.sum(axis=0)
    return np.where(p > 1e-9, 1 - np.log(p), np.inf)


def entropies_of_costs(costs: np.ndarray) -> tuple[float, float]:
    """H_TSE and H_SIE of the costs of all paths."""
    q = np.exp(-costs) / np.exp(-costs).sum()
    return 1 / (1 / costs).sum(), -(q * np.log2(q + 1e-9)).sum()


def by_networkx(weights: list[np.ndarray]) -> pd.DataFrame:
    """Of a sample of hidden units, by networkx and its `all_simple_paths`."""
    import networkx

    graph = networkx.DiGraph()
    for layer, costs in enumerate(map(costs_of_edges, weights)):
        graph.add_weighted_edges_from(
            ((layer, u), (layer + 1, v), costs[v, u]) for v, u in np.argwhere(np.isfinite(costs))
        )
    outputs = [(len(weights), v) for v in range(len(weights[-1]))]
    widths = (weights[0].shape[1], *map(len, weights))
    rows = []
    for unit in sample(widths):
        paths = networkx.all_simple_paths(graph, unit, outputs)
        costs = [networkx.path_weight(graph, path, "weight") for path in paths]
        rows.append((*unit, *entropies_of_costs(np.array(costs))))
    return pd.DataFrame(rows, columns=COLUMNS)


def by_arrays(weights: list[np.ndarray]) -> pd.DataFrame:
    """Of all hidden units, by arrays of the costs of all paths."""
    costs, rows = np.zeros((1, len(weights[-1]))), []
    for layer in range(len(weights) - 1, 0, -1):
        onward = costs[:, :, None] + costs_of_edges(weights[layer])
        costs = onward.reshape(-1, onward.shape[2])
        for unit, of_unit in enumerate(costs.T):
            rows.append((layer, unit, *entropies_of_costs(of_unit[np.isfinite(of_unit)])))
    return pd.DataFrame(rows, columns=COLUMNS)


def seconds(compute: Callable, weights: list[np.ndarray]) -> float:
    """Processor time of one call, without that for objects that another contender left."""
    gc.collect()
    start = time.process_time()
    compute(weights)
    return time.process_time() - start


def compared(others: pd.DataFrame, ours: pd.DataFrame) -> str:
    """How far another contender's entropies are from ours."""
    both = others.merge(ours, on=["layer", "unit"], suffixes=("", "_ours"), validate="1:1")
    away = max((both[q] - both[f"{q}_ours"]).abs().max() for q in ("h_tse", "h_sie"))
    return f"{len(both)} units, both entropies within {away:.0e} of ours"


def measure(widths: tuple[int, ...], contenders: dict[str, Callable], turns: int) -> pd.DataFrame:
    """The rows of one work; the first contender is ours."""
    weights = network(widths)
    results = {name: compute(weights) for name, compute in contenders.items()}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, compute in contenders.items():
            taken[name].append(seconds(compute, weights))
    ours = next(iter(contenders))
    medians = {name: float(np.median(of_one)) for name, of_one in taken.items()}
    rows = [
        {
            "work": "-".join(map(str, widths)),
            "contender": name,
            "seconds": medians[name],
            "ratio": medians[name] / medians[ours],
            "same_result": "" if name == ours else compared(results[name], results[ours]),
            "note": f"{len(results[name])} hidden units, median processor time of {turns};"
            f" load {os.getloadavg()[0]:.1f}",
        }
        for name in contenders
    ]
    return pd.DataFrame(rows)


def main() -> None:
    """Let the contenders take turns, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns; writes nothing")
    turns = QUICK_TURNS if (quick := parser.parse_args().quick) else TURNS
    contenders = {"isoloss": isoloss.structural_entropies, "numpy, path by path": by_arrays}
    if importlib.util.find_spec("networkx"):
        contenders["networkx, path by path"] = by_networkx
    else:
        print("networkx is not installed, and has no row; `pip install networkx`")
    works = [
        measure(SMALL, contenders, turns),
        measure(DEEP, {"isoloss": isoloss.structural_entropies}, turns),
    ]
    results = pd.concat(works, ignore_index=True)
    print(results.to_string(index=False, float_format="{:.4f}".format))
    if not quick:
        arrow = pa.Table.from_pandas(results, preserve_index=False)
        write_free(arrow, HERE / "results" / "structural_entropy.parquet", {})


if __name__ == "__main__":
    main()
