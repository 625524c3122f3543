"""How long does training take? The stage train beside loops of PyTorch as they are usually written.

Every contender trains the same models on the same examples, in a process of its own:

- `isoloss`: the stage train, two jobs at a time on one thread each, with its processes and files.
- `dataloader loop`: a `torch.utils.data.DataLoader`, shuffled, with the defaults of PyTorch, all
  cores and Adam; an image is read as torchvision's `FashionMNIST` with `ToTensor` does.
- `dataloader loop, tensors`: the same over a `TensorDataset` of inputs.
- `tensor loop`: batches are indexed from tensors, fused Adam, one thread; two such processes at a
  time.

Seconds are those of the training, without imports and without loading the data. The data are the
first 10 000 training images of Fashion-MNIST and its 10 000 test images, or where these are not
installed, made-up images of the same shape. `same_result` compares the validation losses.

Run `python benchmarks/train.py`, with `--quick` for a look that is over within 50 seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.core.tables import write_free
from isoloss.models._model import flops_per_example, model_of

HERE = Path(__file__).parent
N_TRAIN, N_VALID = 10_000, 10_000
BATCH, RATE = 128, 1e-3
EPOCHS = 80
REPEATS = 3
JOBS = 2  # at a time, each with a shard of its own
FORK = multiprocessing.get_context("fork")
SHAPES = {"inputs": 784, "classes": 10}
# Adam as the loops have it: a constant rate, no weight decay, no clipping
ADAM = {
    "batch_size": BATCH,
    "optimizer": "adam",
    "schedule": "constant",
    "peak_learning_rate": RATE,
    "learning_rate_exponent": 0.0,
    "warmup_fraction": 0.0,
    "beta2": 0.999,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
}


@dataclass(frozen=True)
class Contender:
    """What trains the models of a work.

    Attributes:
        train: given the runs of the plan and a folder with the data it returns the validation loss
            of every run, nats an example.
        part: of the epochs that it trains for, where all would take an hour, and at least one;
            its seconds are divided by it, and its losses are not compared.
    """

    train: Callable[[list[dict[str, Any]], Path], list[float]]
    part: float = 1.0


@dataclass(frozen=True)
class Work:
    """Models that are trained.

    Attributes:
        title: what they are.
        cells: of the sweep, as a study has them.
        settings: of all runs.
        contenders: by name.
    """

    title: str
    cells: Sequence[dict[str, Any]]
    settings: dict[str, Any]
    contenders: dict[str, Contender]
    model: str = "mlp"

    def runs(self) -> list[dict[str, Any]]:
        """Rows of the plan, in order of their ids."""
        from isoloss.train.plan import plan_runs, shard_runs

        sweep = {"model": self.model, "trainer": "builtin", "shards": 1}
        sweep |= {"n_params": "total", "n_flops": "model", "settings": self.settings}
        (runs,) = shard_runs(plan_runs({**sweep, "cells": self.cells}), 1).values()
        return sorted(runs, key=lambda run: run["run_id"])


def widths_of_the_sweep() -> list[int]:
    """First hidden widths of the published sweep: 25 targets of N from 800 to 35 000."""
    given = {**registry.defaults("model", "mlp"), **SHAPES}
    sizes = registry.card("model", "mlp").sizes
    targets = np.geomspace(800, 35_000, 25)
    return list(dict.fromkeys(sizes(n, given, "inverse")["width"] for n in targets))


def sizes_of_mlp(epochs: int) -> Work:
    """The N-scaling of small perceptrons: 19 sizes, trained on 10 000 images."""
    cells = [{"width": widths_of_the_sweep(), "n_samples": epochs * N_TRAIN}]
    return Work(f"19 sizes of an MLP, {epochs} epochs", cells, {**ADAM, **SHAPES}, OF_MLP)


def seeds_of_mlp(epochs: int) -> Work:
    """One small perceptron with 32 seeds, or fewer where the epochs are few."""
    seeds = range(min(32, 8 * epochs))
    cells = [{"width": 8, "seed": list(seeds), "n_samples": epochs * N_TRAIN}]
    return Work(f"{len(seeds)} seeds of an MLP, {epochs} epochs", cells, {**ADAM, **SHAPES}, OF_MLP)


# Contenders


def stage(runs: list[dict[str, Any]], folder: Path) -> list[float]:
    """The stage train, JOBS shards at a time, into a new store."""
    home = Path(tempfile.mkdtemp(dir=folder))
    train = partial(shard, folder, home)
    with ProcessPoolExecutor(JOBS, FORK) as pool:
        shards = list(pool.map(train, [runs[i::JOBS] for i in range(JOBS)]))
    losses = {run_id: loss for each in shards for run_id, loss in each.items()}
    return [losses[run["run_id"]] for run in runs]


def shard(folder: Path, home: Path, runs: list[dict[str, Any]]) -> dict[str, float]:
    """Run id to the validation loss of every run of a shard; NaN if it is not below a guess's."""
    from isoloss.train import job
    from isoloss.train.plan import runs_digest
    from isoloss.train.settings import task_of

    specification = {"task": task_of(runs[0]["model"]), "seed": 1, "valid_tokens": N_VALID}
    specification |= {"runs": runs_digest(runs), "schedules": {}}
    settings = {"code": "c", "code_here": "c", "among": {}, "where": {}}
    files = [folder / "load/rows.parquet"], [folder / "load/tokens.npy"]
    out, index = home / f"{runs[0]['run_id']}.parquet", [folder / "expand/index.parquet"]
    job.run(specification, runs, *files, index, home / "store", settings, out, {})
    table = pd.read_parquet(out)
    assert set(table["status"]) <= {"done", "diverged"}, list(table["status_reason"])
    return dict(zip(table["run_id"], table["loss_nats"], strict=True))


def sides(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split to its images, uint8 (n, 28, 28), and labels, int64 (n,)."""
    rows = pd.read_parquet(folder / "load/rows.parquet", columns=["split", "label"])
    images, labels = np.load(folder / "load/tokens.npy"), rows["label"].to_numpy()
    chosen = {split: np.flatnonzero(rows["split"] == split) for split in ("train", "valid")}
    return {split: (images[at], labels[at]) for split, at in chosen.items()}


def tensors(folder: Path) -> dict[str, tuple[Any, Any]]:
    """Split to its inputs, float32 (n, 784), and labels, int64 (n,)."""
    import torch

    return {
        split: (
            torch.from_numpy(images.reshape(len(images), -1)).float().div_(255),
            torch.from_numpy(labels),
        )
        for split, (images, labels) in sides(folder).items()
    }


def sequential(run: dict[str, Any]) -> Any:
    """The model of a run as it is usually written."""
    import torch

    torch.manual_seed(run["seed"])
    sizes = model_of(registry.card("model", run["model"]), run).widths()
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def loss_of(model: Any, side: tuple[Any, Any]) -> float:
    """The mean loss of a side."""
    import torch

    with torch.no_grad():
        return float(torch.nn.functional.cross_entropy(model(side[0]), side[1]))


def dataloader_loop(runs: list[dict[str, Any]], folder: Path) -> list[float]:
    """One run after the other, images from a DataLoader."""
    import torch
    from PIL import Image
    from torch.utils.data import Dataset

    pixels, labels = sides(folder)["train"]

    class Images(Dataset):
        def __len__(self) -> int:
            return len(pixels)

        def __getitem__(self, i: int) -> tuple[Any, int]:
            copied = np.array(Image.fromarray(pixels[i]), np.uint8)
            image = torch.from_numpy(copied).view(28, 28, 1).permute(2, 0, 1).contiguous()
            return image.to(torch.get_default_dtype()).div(255), int(labels[i])

    return loop(runs, Images(), tensors(folder)["valid"])


def dataloader_loop_of_tensors(runs: list[dict[str, Any]], folder: Path) -> list[float]:
    """One run after the other, inputs from a DataLoader."""
    from torch.utils.data import TensorDataset

    data = tensors(folder)
    return loop(runs, TensorDataset(*data["train"]), data["valid"])


def loop(runs: list[dict[str, Any]], dataset: Any, valid: tuple[Any, Any]) -> list[float]:
    """The validation loss of every run."""
    import torch
    from torch.utils.data import DataLoader

    losses = []
    for run in runs:
        model = sequential(run)
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
        loader = DataLoader(dataset, batch_size=BATCH, shuffle=True)
        for _ in range(max(1, round(run["n_samples"] / N_TRAIN))):
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(inputs.flatten(1)), targets)
                loss.backward()
                optimizer.step()
        losses.append(loss_of(model, valid))
    return losses


def tensor_loop(runs: list[dict[str, Any]], folder: Path) -> list[float]:
    """JOBS processes, each with a run after the other, batches indexed from tensors."""
    with ProcessPoolExecutor(JOBS, FORK) as pool:
        return list(pool.map(partial(tensor_run, folder), runs))


def tensor_run(folder: Path, run: dict[str, Any]) -> float:
    """The validation loss of a run."""
    import torch

    torch.set_num_threads(1)
    data = tensors(folder)
    model = sequential(run)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    inputs, targets = data["train"]
    for _ in range(round(run["n_samples"] / N_TRAIN)):
        for batch in torch.randperm(len(inputs)).split(BATCH):
            optimizer.zero_grad()
            model_loss = torch.nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
            model_loss.backward()
            optimizer.step()
    return loss_of(model, data["valid"])


OF_MLP = {
    "isoloss": Contender(stage),
    "dataloader loop": Contender(dataloader_loop, 1 / 16),
    "dataloader loop, tensors": Contender(dataloader_loop_of_tensors, 1 / 8),
    "tensor loop": Contender(tensor_loop),
}
WORKS = {work.__name__: work for work in (sizes_of_mlp, seeds_of_mlp)}


# Data


def prepare(folder: Path) -> str:
    """Load the images into a folder as the stages load and expand do; which images they are."""
    from isoloss.expand import job as expand
    from isoloss.load import job as load

    where, sides = images()
    names = ("images", "labels", "test_images", "test_labels")
    options: dict[str, Any] = {name: str(folder / name) for name in names}
    for name, values in zip(names, sides, strict=True):
        head = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
        (folder / name).write_bytes(head + values.tobytes())
    dataset = {"card": "idx_images", "options": {**options, "classes": []}, "valid_fraction": 0.1}
    dataset["on_bad_row"] = "stop"
    load.run({"dataset": dataset, "seed": 1, "content": None}, folder / "load", {}, folder)
    facts = {"weighting": "natural"}
    expand.run({"weights": {}, "seed": 1}, folder / "load/rows.parquet", folder / "expand", facts)
    return where


def images() -> tuple[str, list[np.ndarray]]:
    """What they are, and images and labels of the training and the validation side, uint8."""
    from isoloss.datasets._idx import read_labelled

    card = registry.card("dataset", "fashion_mnist")
    try:
        files = dict(card.sources("files", registry.defaults("dataset", "fashion_mnist")["folder"]))
    except IsolossError:
        return "made-up images", made_up(N_TRAIN, N_VALID)
    train, test = (
        read_labelled(files[f"{side}-images-idx3-ubyte"], files[f"{side}-labels-idx1-ubyte"], 10)
        for side in ("train", "t10k")
    )
    return "Fashion-MNIST", [*(part[:N_TRAIN] for part in train), *test]


def made_up(n_train: int, n_valid: int) -> list[np.ndarray]:
    """Images of ten classes in much noise, and their labels, of both sides."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, n_train + n_valid).astype(np.uint8)
    noise = rng.normal(128, 60, (len(labels), 28, 28))
    pixels = (noise + 20 * rng.normal(size=(10, 28, 28))[labels]).clip(0, 255).astype(np.uint8)
    return [pixels[:n_train], labels[:n_train], pixels[n_train:], labels[n_train:]]


# Measuring


def product(seconds: float) -> float:
    """GFLOP/s of products of matrices of 1024 x 1024, the fastest of those made in some seconds."""
    import torch

    torch.set_num_threads(1)
    a, b = torch.rand(2, 1024, 1024)
    best, ends = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < ends:
        began = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - began)
    return 2 * 1024**3 / best / 1e9


def peak() -> float:
    """GFLOP/s of JOBS processes of one thread that multiply matrices at the same time."""
    with multiprocessing.get_context("spawn").Pool(JOBS) as pool:
        return sum(pool.map(product, [2.0] * JOBS))


def measure(work: Work, contender: str, folder: Path) -> dict[str, Any]:
    """One contender's work here: wall and processor seconds, MiB, and losses."""
    import torch

    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # imports what optimisers need
    registry.card("task", registry.facts("model", work.model)["TASK"])
    entrant, runs = work.contenders[contender], work.runs()
    least = N_TRAIN / min(run["n_samples"] for run in runs)
    part = min(1.0, max(entrant.part, least))
    runs = [{**run, "n_samples": round(run["n_samples"] * part)} for run in runs]
    began = time.perf_counter(), processor()
    losses = entrant.train(runs, folder)
    seconds = (time.perf_counter() - began[0]) / part
    cpu_seconds = (processor() - began[1]) / part
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    most = max(resource.getrusage(who).ru_maxrss for who in whose) / 1024
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": most, "losses": losses}


def processor() -> float:
    """Seconds of processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def row(name: str, contender: str, folder: Path, epochs: int) -> dict[str, Any]:
    """What `measure` gives, from a process of its own, and the load of the machine before it."""
    load_average = os.getloadavg()[0]
    words = [sys.executable, __file__, "--work", name, "--contender", contender]
    words += ["--folder", str(folder), "--epochs", str(epochs)]
    ended = subprocess.run(words, check=True, stdout=subprocess.PIPE)
    measured = json.loads(ended.stdout.decode().splitlines()[-1])
    about = f"{measured['seconds']:.1f} s, processor {measured['cpu_seconds']:.1f} s"
    print(f"{name}, {contender}: {about}, load average {load_average:.1f}", flush=True)
    return {"contender": contender, "load_average": load_average, **measured}


def alike(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Whether losses differ by no more than chance: the mean difference in standard errors.

    Runs that are compared have a loss below that of a uniform guess on both sides.
    """
    ours, theirs = np.array(ours), np.array(theirs)
    difference = (theirs - ours)[(ours < math.log(10)) & (theirs < math.log(10))]
    error = difference.std(ddof=1) / math.sqrt(len(difference))
    same = "yes" if abs(difference.mean()) <= 3 * error else "NO"
    mean = f"mean difference {difference.mean():+.4f} nats, standard error {error:.4f}"
    return f"{same}: {mean}, {len(difference)} runs"


def table(work: Work, rows: list[dict[str, Any]], gflops: float, note: str) -> pd.DataFrame:
    """Medians of the repeats of a work, a row a contender."""
    card, runs = registry.card("model", work.model), work.runs()
    flops = sum(flops_per_example(model_of(card, run)) * run["n_samples"] for run in runs)
    each = pd.DataFrame(rows).groupby("contender", sort=False)
    medians = each[["seconds", "cpu_seconds", "peak_mib"]].median()
    ours = medians.loc["isoloss"]
    losses, load = each["losses"].last(), each["load_average"]
    whole = [name for name in medians.index if work.contenders[name].part == 1]
    same = {name: alike(losses["isoloss"], losses[name]) for name in whole}
    parts = {name: entrant.part for name, entrant in work.contenders.items()}
    result = medians.assign(
        work=work.title,
        ratio=medians["seconds"] / ours["seconds"],
        cpu_ratio=medians["cpu_seconds"] / ours["cpu_seconds"],
        peak_share=flops / medians["seconds"] / 1e9 / gflops,
        same_result=[same.get(name, "not compared") for name in medians.index],
        note=[
            f"{note}; {parts[name]:.3g} of the epochs, {load.size()[name]} repeats, "
            f"load average {load.min()[name]:.1f} to {load.max()[name]:.1f}"
            for name in medians.index
        ],
    )
    return result.reset_index()


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="an epoch, once; writes nothing")
    parser.add_argument("--epochs", type=int, help=f"of every run, for {EPOCHS}")
    parser.add_argument("--repeats", type=int, help=f"of every contender, for {REPEATS}")
    parser.add_argument("--work", choices=WORKS, help="only this one; writes nothing")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    epochs = given.epochs or (1 if given.quick else EPOCHS)
    repeats = given.repeats or (1 if given.quick else REPEATS)
    if given.contender:
        print(json.dumps(measure(WORKS[given.work](epochs), given.contender, given.folder)))
        return
    home = Path(tempfile.mkdtemp())
    tables = []
    try:
        where, gflops = prepare(home), peak()
        note = f"{where}; {gflops:.0f} GFLOP/s is the peak"
        for name in [given.work] if given.work else WORKS:
            work = WORKS[name](epochs)
            rows = [
                row(name, contender, home, epochs)
                for _ in range(repeats)
                for contender in work.contenders
            ]
            tables.append(table(work, rows, gflops, note))
    finally:
        shutil.rmtree(home)
    results = pd.concat(tables, ignore_index=True)
    print(results.drop(columns="note").to_string(index=False, float_format="{:.3g}".format))
    print(note)
    if not given.quick and not given.work:
        write_free(
            pa.Table.from_pandas(results, preserve_index=False), HERE / "results/train.parquet", {}
        )


if __name__ == "__main__":
    main()
