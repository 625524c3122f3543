"""How long does a step of the default study take, and what share of the processor's peak is that?

Every batch of the default study (a width, and as many windows as its budget asks for) is learned
by two contenders, which take turns in one process on one thread:

- `isoloss`: `learn` of the module, a forward and a backward pass by hand.
- `autograd`: `forward` of the same module, torch's cross-entropy, and `backward`.

Both begin with the gradient of the step before, which they set to zero; reading tokens, clipping
and AdamW are no part of it. A row has the median processor seconds of a step, its GFLOP/s (training
FLOP by the model's own count), and their share of what products of 1024 x 1024 matrices reach in
the same process. The last rows are the sums over all steps of the study.

Run `python benchmarks/train_steps.py`, with `--quick` for a look that is over within 50 seconds: a
batch of every width, and sums as if all batches of a width went at its pace.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch.nn import functional

from isoloss.core import registry
from isoloss.core.tables import write_free
from isoloss.models._model import flops_per_example, model_of
from isoloss.study.check import checked
from isoloss.train.plan import plan_runs
from isoloss.trainers._devices import prepare_torch

HERE = Path(__file__).parent
REPEATS, SECONDS = 9, 0.05  # turns of a contender, and about how long a turn is
QUICK_REPEATS = 3


def batches() -> pd.DataFrame:
    """Batches of the default study: settings of a run with them, and `steps`, those of all runs."""
    sweep = checked(HERE.parent / "config.yaml", fetch=False)["train"]["isoflop"]
    plan = pd.DataFrame(plan_runs(sweep))
    alike = plan.groupby(["d_model", "batch_items"])
    return alike.first().assign(steps=alike["n_steps"].sum()).reset_index()


def by_hand(module: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss; its gradient is added to that of the parameters."""
    return module.learn(inputs, targets)


def autograd(module: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The loss; its gradient is added to that of the parameters."""
    loss = functional.cross_entropy(module(inputs), targets)
    loss.backward()
    return loss.detach()


CONTENDERS = {"isoloss": by_hand, "autograd": autograd}


def built(run: dict[str, Any]) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """The model of a run, whose weights all matter, and a batch: inputs and targets."""
    rng = np.random.default_rng(0)
    module = model_of(registry.card("model", run["model"]), run).build(rng)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = rng.normal(0, 0.02, parameter.shape).astype(np.float32)
            parameter.add_(torch.from_numpy(noise))
            parameter.grad = torch.zeros_like(parameter)
    tokens = rng.integers(0, run["vocabulary"], (run["batch_items"], run["context"] + 1))
    tokens = torch.from_numpy(tokens)
    return module, tokens[:, :-1], tokens[:, 1:].reshape(-1)


def step(learn: Callable, module: torch.nn.Module, *batch: torch.Tensor) -> torch.Tensor:
    """The loss and gradient of a batch: the loss, then every component of the gradient."""
    for parameter in module.parameters():
        parameter.grad.zero_()
    return learn(module, *batch)


def taken(work: Callable[[], Any], times: int) -> float:
    """Processor seconds that work takes, a mean of some times."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def peak() -> float:
    """GFLOP/s of products of 1024 x 1024 matrices, the fastest of some."""
    a, b = torch.rand(2, 1024, 1024)
    return 2 * 1024**3 / min(taken(lambda: a @ b, 3) for _ in range(9)) / 1e9


def measure(run: dict[str, Any], repeats: int) -> list[dict[str, Any]]:
    """A row a contender of one batch."""
    module, *batch = built(run)
    model = model_of(registry.card("model", run["model"]), run)
    flops = flops_per_example(model) * len(batch[1])
    results, work = {}, {}
    for name, learn in CONTENDERS.items():
        loss = step(learn, module, *batch)
        results[name] = torch.cat([p.grad.reshape(-1) for p in module.parameters()]), loss
        work[name] = lambda learn=learn: step(learn, module, *batch)
    times = {name: max(1, round(SECONDS / taken(work[name], 5))) for name in work}
    seconds = {name: [] for name in work}
    for _ in range(repeats):
        for name in work:
            seconds[name].append(taken(work[name], times[name]))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    same = difference(results["isoloss"], results["autograd"])
    return [
        {
            "work": f"d_model {run['d_model']}, {run['batch_items']} windows",
            "contender": name,
            "seconds": seconds_of_a_step,
            "ratio": seconds_of_a_step / medians["isoloss"],
            "gflops": flops / seconds_of_a_step / 1e9,
            "same_result": same,
            "steps": run["steps"],
            "flops": flops,
        }
        for name, seconds_of_a_step in medians.items()
    ]


def difference(ours: tuple[torch.Tensor, ...], theirs: tuple[torch.Tensor, ...]) -> str:
    """How far gradient and loss are apart, relative to their size."""
    apart = [float((a - b).norm() / b.norm()) for a, b in zip(ours, theirs, strict=True)]
    same = "yes" if max(apart) < 1e-5 else "NO"
    return f"{same}: gradient {apart[0]:.0e}, loss {apart[1]:.0e} apart"


def sums(table: pd.DataFrame) -> pd.DataFrame:
    """A row a contender: all steps of the study."""
    each = table.assign(
        seconds=table["seconds"] * table["steps"], flops=table["flops"] * table["steps"]
    )
    total = each.groupby("contender", sort=False)[["seconds", "flops", "steps"]].sum()
    total["work"] = "all steps of the default study"
    total["ratio"] = total["seconds"] / total.loc["isoloss", "seconds"]
    total["gflops"] = total["flops"] / total["seconds"] / 1e9
    same = table["same_result"].str.startswith("yes").all()
    return total.assign(same_result="yes" if same else "NO").reset_index()


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a batch a width; writes nothing")
    quick = parser.parse_args().quick
    prepare_torch(0)
    table, repeats = batches(), REPEATS
    if quick:
        steps = table.groupby("d_model")["steps"].sum()
        table = table.groupby("d_model").nth(-1).assign(steps=steps.to_numpy())
        repeats = QUICK_REPEATS
    loads, gflops = [os.getloadavg()[0]], peak()
    rows = [row for run in table.to_dict("records") for row in measure(run, repeats)]
    loads.append(os.getloadavg()[0])
    results = pd.DataFrame(rows)
    results = pd.concat([results, sums(results)], ignore_index=True)
    results["peak_share"] = results["gflops"] / gflops
    results["note"] = (
        f"{gflops:.0f} GFLOP/s is the peak; load average {min(loads):.1f} to {max(loads):.1f}"
    )
    results = results.drop(columns="flops")
    print(results.drop(columns="note").to_string(index=False, float_format="{:.3g}".format))
    print(results["note"].iloc[0])
    if not quick:
        arrow = pa.Table.from_pandas(results, preserve_index=False)
        write_free(arrow, HERE / "results" / "train_steps.parquet", {})


if __name__ == "__main__":
    main()
