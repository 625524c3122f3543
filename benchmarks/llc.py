"""What does the local learning coefficient of a model cost? Processor time beside devinterp 2.0.1.

Three works, each of 4 chains: a multilayer perceptron with 43,000 parameters and one with 1,500,
batches of 32, and a transformer with 57,000, batches of 16 windows of 33 tokens. Contenders, which
take turns in one process on one thread:

- `isoloss`: `sample` of `isoloss.posterior` and its `summary`;
- `plain loop`: chain after chain, autograd, updates by torch's functions for lists of tensors;
- `devinterp`: `llc` of devinterp 2.0.1, chains of different batches, its samples in a new folder;
- `devinterp, collector frozen`: the same after `gc.freeze()`, so that the two garbage collections
  that it makes for each chain do not look at the objects of the libraries.

`seconds` is the median processor time of a whole call, `marginal_us` that of a further step of a
chain: the difference between two lengths. `floor_us` is what the matrix products of a step take in
this process, each alone, and its normal draws; `floor_share` is that over `marginal_us`. An LLC is
the same if it is within 4 standard errors of ours, those of the chains; all are taken against
the mean loss of the trained weights over all items.

Run `python benchmarks/llc.py`; `--quick` takes shorter chains and one turn, and writes nothing.
Without devinterp (`pip install devinterp==2.0.1`, the extra `bench`) it says so and goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import importlib.util
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from isoloss.core.seeds import generator
from isoloss.core.tables import write_free
from isoloss.models import mlp, transformer
from isoloss.posterior.health import summary
from isoloss.posterior.model_potential import ModelPotential, cross_entropy
from isoloss.posterior.sampler import sample
from isoloss.posterior.settings import Settings

HERE = Path(__file__).parent
DEVINTERP = importlib.util.find_spec("devinterp") is not None
CHAINS, ITEMS, LR, LOCALIZATION = 4, 4000, 1e-5, 100.0
TURNS = 3  # of a contender
TRAINING, TRAINING_RATE = 500, 0.1  # steps by which weights are trained, and their size


@dataclass(frozen=True)
class Work:
    """A trained module, its items and the lengths of chains, in steps."""

    name: str
    module: torch.nn.Module
    inputs: torch.Tensor
    targets: torch.Tensor
    batch: int
    products: list[tuple[int, int, int, int]]  # of a chain and step: how many, m, k, n
    lengths: tuple[int, int]

    def settings(self, steps: int) -> Settings:
        """Of the sampler; n_beta is n / ln n."""
        return Settings(
            lr=LR,
            n_beta=ITEMS / np.log(ITEMS),
            num_chains=CHAINS,
            num_draws=steps,
            batch_size=self.batch,
            localization=LOCALIZATION,
        )


# --- works ----------------------------------------------------------------------------------------


def perceptron(name: str, inputs: int, hidden: list[int], lengths: tuple[int, int]) -> Work:
    """A multilayer perceptron on classes that a random linear map decides."""
    model = mlp.Model(hidden[0], len(hidden), 1.0, inputs, 10)
    rng = generator(0, "bench", name)
    x = rng.standard_normal((ITEMS, inputs)).astype(np.float32)
    odds = x @ rng.standard_normal((inputs, 10)) + 0.5 * rng.gumbel(size=(ITEMS, 10))
    products = []
    for i, (a, b) in enumerate(pairwise(model.widths())):
        products += [(1, b, a, 32), (1, b, 32, a), *([(1, a, b, 32)] if i else [])]
    data = torch.from_numpy(x), torch.from_numpy(odds.argmax(1))
    return Work(name, trained(model.build(rng), *data, 32), *data, 32, products, lengths)


def language_model(name: str, lengths: tuple[int, int]) -> Work:
    """A transformer on tokens of a random Markov chain."""
    model = transformer.Model(d_model=48, n_layers=2, head_width=16, context=32, vocabulary=37)
    rng = generator(0, "bench", name)
    chances = rng.dirichlet(np.full(37, 0.1), 37).cumsum(1)
    tokens = rng.integers(0, 37, (ITEMS, 33))
    for at in range(1, 33):
        tokens[:, at] = (rng.random((ITEMS, 1)) > chances[tokens[:, at - 1]]).sum(1).clip(max=36)
    n, d, windows = 16 * 32, model.d_model, 16 * model.n_heads()
    products = [(9 * model.n_layers, n, d, d), (3, n, d, 37)]  # read's three and attend's one, ...
    products += [(3 * model.n_layers, n, d, d), (6 * model.n_layers, n, d, 4 * d)]
    products += [(6 * model.n_layers * windows, 32, 32, d // model.n_heads())]
    data = torch.from_numpy(tokens[:, :-1]).contiguous(), torch.from_numpy(tokens[:, 1:])
    return Work(name, trained(model.build(rng), *data, 16), *data, 16, products, lengths)


def trained(
    module: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor, batch: int
) -> torch.nn.Module:
    """The module after some steps of gradient descent."""
    rng, weights = generator(0, "bench", "training"), list(module.parameters())
    for _ in range(TRAINING):
        items = torch.from_numpy(rng.integers(0, ITEMS, batch))
        loss = cross_entropy(module(inputs[items]), targets[items]).mean()
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            torch._foreach_add_(weights, gradients, alpha=-TRAINING_RATE)
    return module


# --- contenders -----------------------------------------------------------------------------------


def by_isoloss(work: Work, steps: int) -> np.ndarray:
    """Losses of a call, (chains, steps)."""
    samples = sample(ModelPotential(work.module, work.inputs, work.targets), work.settings(steps))
    assert summary(samples)["chains_ok"] == CHAINS
    return samples.losses


def by_loop(work: Work, steps: int) -> np.ndarray:
    """Losses of a call, (chains, steps)."""
    settings, losses = work.settings(steps), np.empty((CHAINS, steps))
    half, spread = settings.lr / 2, settings.lr**0.5
    for chain in range(CHAINS):
        torch.manual_seed(chain)
        module, items = copy.deepcopy(work.module).eval(), torch.randperm(ITEMS)
        weights = list(module.parameters())
        centers = [p.detach().clone() for p in weights]
        batches = items[: ITEMS // work.batch * work.batch].view(-1, work.batch)
        for step in range(steps):
            batch = batches[step % len(batches)]
            loss = cross_entropy(module(work.inputs[batch]), work.targets[batch]).mean()
            gradients = torch.autograd.grad(loss, weights)
            losses[chain, step] = float(loss.detach())
            with torch.no_grad():
                pulls = torch._foreach_sub(weights, centers)
                torch._foreach_add_(weights, gradients, alpha=-half * settings.n_beta)
                torch._foreach_add_(weights, pulls, alpha=-half * settings.localization)
                torch._foreach_add_(weights, [torch.randn_like(p) for p in weights], alpha=spread)
    return losses


def by_devinterp(work: Work, steps: int) -> np.ndarray:
    """Losses of a call, (chains, steps)."""
    from datasets import Dataset
    from devinterp.slt.llc import llc

    settings = work.settings(steps)
    numbers = np.repeat(np.arange(ITEMS)[:, None], 2 if work.targets.dim() == 1 else 33, axis=1)
    dataset = Dataset.from_dict({"input_ids": numbers}).with_format("torch")

    def loss_fn(model: torch.nn.Module, input_ids: torch.Tensor) -> torch.Tensor:
        items = input_ids[:, 0]
        losses = cross_entropy(model(work.inputs[items]), work.targets[items])
        return losses.view(len(items), -1)

    silence = contextlib.redirect_stderr(io.StringIO())  # of progress bars
    with tempfile.TemporaryDirectory() as folder, silence, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = llc(
            work.module,
            dataset,
            {},
            lr=settings.lr,
            n_beta=settings.n_beta,
            num_chains=CHAINS,
            num_draws=steps,
            batch_size=work.batch,
            localization=settings.localization,
            match_sampling_input_ids_across_chains=False,
            loss_fn=loss_fn,
            output_path=Path(folder) / "samples",
            device="cpu",
        )
        return result["loss_trace"].to_numpy()


def by_devinterp_frozen(work: Work, steps: int) -> np.ndarray:
    """Losses of a call, (chains, steps)."""
    gc.freeze()
    try:
        return by_devinterp(work, steps)
    finally:
        gc.unfreeze()


CONTENDERS: dict[str, Callable[[Work, int], np.ndarray]] = {
    "isoloss": by_isoloss,
    "plain loop": by_loop,
    "devinterp": by_devinterp,
    "devinterp, collector frozen": by_devinterp_frozen,
}


# --- measured -------------------------------------------------------------------------------------


def floor_us(work: Work) -> tuple[float, float]:
    """Microseconds that the products and the normal draws of a chain's step take at least."""
    products = 0.0
    for count, m, k, n in work.products:
        a, b, out = torch.rand(m, k), torch.rand(k, n), torch.empty(m, n)
        products += count * fastest_us(partial(torch.mm, a, b, out=out))
    draws = torch.empty(sum(p.numel() for p in work.module.parameters()))
    return products, fastest_us(draws.normal_)


def fastest_us(function: Callable[[], object]) -> float:
    """Microseconds of processor time that a call takes, the fastest of some means."""
    means = []
    for _ in range(9):
        began = time.process_time()
        for _ in range(20):
            function()
        means.append((time.process_time() - began) / 20 * 1e6)
    return min(means)


def estimate(work: Work, losses: np.ndarray) -> tuple[float, float]:
    """The LLC of losses, (chains, steps), and its standard error."""
    with torch.no_grad():
        start = float(cross_entropy(work.module(work.inputs), work.targets).mean())
    of_chains = work.settings(1).n_beta * (losses.mean(axis=1) - start)
    return float(of_chains.mean()), float(of_chains.std(ddof=1) / CHAINS**0.5)


def compared(theirs: tuple[float, float], ours: tuple[float, float]) -> str:
    """Whether two LLCs are the same, and what they are."""
    error = np.hypot(theirs[1], ours[1])
    same = "yes" if abs(theirs[0] - ours[0]) <= 4 * error else "NO"
    return f"{same}: LLC {theirs[0]:.2f}, ours {ours[0]:.2f}, standard error {error:.2f}"


def measure(work: Work, turns: int) -> pd.DataFrame:
    """The rows of a work."""
    names = [name for name in CONTENDERS if DEVINTERP or not name.startswith("devinterp")]
    taken = {(name, steps): [] for name in names for steps in work.lengths}
    for name in names[:2]:
        CONTENDERS[name](work, 2)  # what torch makes at first
    for _ in range(turns):
        for name, steps in taken:
            gc.collect()
            began = time.process_time()
            losses = CONTENDERS[name](work, steps)
            taken[name, steps].append((time.process_time() - began, *estimate(work, losses)))
    products, normals = floor_us(work)
    medians = {key: np.median(values, axis=0) for key, values in taken.items()}
    short, long = work.lengths
    marginal = {
        n: (medians[n, long][0] - medians[n, short][0]) / ((long - short) * CHAINS) * 1e6
        for n in names
    }
    return pd.DataFrame(
        {
            "work": work.name,
            "contender": name,
            "seconds": medians[name, short][0],
            "ratio": medians[name, short][0] / medians["isoloss", short][0],
            "marginal_us": marginal[name],
            "marginal_ratio": marginal[name] / marginal["isoloss"],
            "floor_us": products + normals,
            "floor_share": (products + normals) / marginal[name],
            "same_result": compared(medians[name, long][1:], medians["isoloss", long][1:]),
            "note": f"{CHAINS} chains of {short} steps, marginal from {long}; floor: products"
            f" {products:.0f} us, draws {normals:.0f} us; load {os.getloadavg()[0]:.1f}",
        }
        for name in names
    )


def main() -> None:
    """Let the contenders take turns, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="short chains; writes nothing")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    if not DEVINTERP:
        print("devinterp is not installed, and has no row; `pip install devinterp==2.0.1`")
    else:
        by_devinterp(perceptron("its imports", 4, [4], (2, 2)), 2)
    works = [
        perceptron("MLP 196-128-128-10", 196, [128, 128], (100, 200) if quick else (200, 600)),
        perceptron("MLP 64-20-10", 64, [20], (100, 200) if quick else (200, 600)),
        language_model("transformer, 57k", (10, 30) if quick else (200, 400)),
    ]
    results = pd.concat([measure(work, 1 if quick else TURNS) for work in works], ignore_index=True)
    print(results.drop(columns="note").to_string(index=False, float_format="{:.3f}".format))
    print(
        "\n".join(f"{row.work}: {row.note}" for row in results.drop_duplicates("work").itertuples())
    )
    if not quick:
        arrow = pa.Table.from_pandas(results, preserve_index=False)
        write_free(arrow, HERE / "results" / "llc.parquet", {"torch": torch.__version__})


if __name__ == "__main__":
    main()
