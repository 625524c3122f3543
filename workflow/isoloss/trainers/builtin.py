"""AdamW with warm-up and a cosine, on one thread; every run ends bit for bit the same."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from isoloss.core.seeds import generator
from isoloss.models._model import Model, model_of
from isoloss.trainers._trainer import Checkpoint, DivergedError, Trained

if TYPE_CHECKING:
    import torch

    from isoloss.tasks._task import Task

TITLE = "Built-in trainer"
ABOUT = (
    "AdamW on one processor thread, clipped gradients, linear warm-up and a cosine that ends at the"
    " run's own last step."
)
SOURCE = (
    "AdamW: arXiv:1711.05101; a batch that grows with D: arXiv:2410.21676; a learning rate that"
    " grows with the square root of the batch: arXiv:2205.10287"
)
CURVE_POINTS = 32
RELEASE_STEPS = 64  # after so many steps the memory of the items that were read is given back
OPTIONS = {
    "batch_size": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "default": 4,
        "unit": "items",
        "description": "Items a step (windows of tokens) of a run that trains on batch_reference "
        "examples.",
    },
    "batch_reference": {
        "type": "number",
        "minimum": 1,
        "maximum": 1e18,
        "default": 500000.0,
        "unit": "examples",
        "description": "D at which a step has batch_size items.",
    },
    "batch_exponent": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.0,
        "description": "The items a step grow with D to this power, and the learning rate with "
        "their square root; 0 for the same step in every run.",
    },
    "peak_learning_rate": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1000,
        "default": 0.0125,
        "description": "Highest learning rate, at width learning_rate_width.",
    },
    "learning_rate_width": {
        "type": "integer",
        "minimum": 1,
        "maximum": 65536,
        "default": 16,
        "unit": "units",
        "description": "Width of the model (d_model of a transformer) at which the peak applies.",
    },
    "learning_rate_exponent": {
        "type": "number",
        "minimum": -10,
        "maximum": 10,
        "default": 1.0,
        "description": "The peak falls with the width to this power.",
    },
    "warmup_fraction": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.1,
        "unit": "of the steps",
        "description": "Linear warm-up.",
    },
    "final_fraction": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.05,
        "unit": "of the peak",
        "description": "Learning rate at the end of the cosine.",
    },
    "beta1": {
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.9,
        "description": "AdamW's first-moment decay.",
    },
    "beta2": {
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.95,
        "description": "AdamW's second-moment decay.",
    },
    "weight_decay": {
        "type": "number",
        "minimum": 0,
        "maximum": 1000,
        "default": 0.01,
        "description": "AdamW's decoupled weight decay.",
    },
    "clip_norm": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1e12,
        "default": 1.0,
        "description": "Largest norm of the gradient.",
    },
}


def plan(n_examples: float, per_item: int, settings: Mapping[str, Any]) -> dict[str, int]:
    """D in whole steps, the steps, and the items of each: the batch grows with D, at least 1.

    Args:
        n_examples: D as it was asked for.
        per_item: examples that an item holds.
        settings: of the run.
    """
    growth = (n_examples / settings["batch_reference"]) ** settings["batch_exponent"]
    batch_items = max(1, round(settings["batch_size"] * growth))
    a_step = batch_items * per_item
    n_steps = max(1, round(n_examples / a_step))
    return {"n_samples": n_steps * a_step, "n_steps": n_steps, "batch_items": batch_items}


def warm_up() -> None:
    """Import what torch imports with the first optimiser."""
    import torch

    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])


def learning_rate(step: int, width: float, settings: Mapping[str, Any]) -> float:
    """Linear warm-up, then a cosine down to a fraction of the peak at the run's own last step.

    The peak falls with the model's width to the power `learning_rate_exponent`, from its value at
    `learning_rate_width`, and grows with the square root of the batch (arXiv:2205.10287).
    """
    n_steps, relative_width = settings["n_steps"], width / settings["learning_rate_width"]
    peak = settings["peak_learning_rate"] * relative_width ** -settings["learning_rate_exponent"]
    peak *= (settings["batch_items"] / settings["batch_size"]) ** 0.5
    warmup = max(1, round(settings["warmup_fraction"] * n_steps))
    if step < warmup:
        return peak * (step + 1) / warmup
    final = settings["final_fraction"]
    cosine = 0.5 * (1 + math.cos(math.pi * (step + 1 - warmup) / max(1, n_steps - warmup)))
    return peak * (final + (1 - final) * cosine)


def flatten(model: torch.nn.Module) -> torch.nn.Parameter:
    """Move all parameters and gradients into one vector, of which the model keeps views.

    One tensor makes the optimiser's step and the gradient's norm one operation each; for small
    models that is a fifth of a step's time.
    """
    import torch

    parameters = list(model.parameters())
    flat = torch.nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    start = 0
    for p in parameters:
        part = slice(start, start + p.numel())
        p.data = flat.data[part].view_as(p)
        p.grad = flat.grad[part].view_as(p)
        start += p.numel()
    return flat


def curve_steps(n_steps: int) -> set[int]:
    """About CURVE_POINTS log-spaced steps, the last one among them."""
    import numpy as np

    return set(np.unique(np.geomspace(1, n_steps, CURVE_POINTS).round().astype(int)).tolist())


def prepare_torch(seed: int) -> None:
    """Put torch into the state in which every run is trained, whatever the process did before.

    Args:
        seed: of torch's own generator, for operations that draw from it.
    """
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


def noise_of(model: Model, settings: Mapping[str, Any]) -> str:
    """What the draws of a run depend on besides the seed of the study.

    Runs that differ in weighting or optimiser only share it, so that these are compared under one
    draw; another size, D or seed draws anew.
    """
    sizes = {key: value for key, value in asdict(model).items() if key in settings}
    return json.dumps([settings["seed"], settings["model"], sizes, settings["n_samples"]])


def train(
    settings: Mapping[str, Any],
    seed: int,
    card: Any,
    task: Task,
    ticks: Iterator[None],
    checkpoint: Checkpoint,
) -> Trained:
    """Train and measure one run on one thread; see `_trainer.Card`."""
    model = model_of(card, {**settings, **task.shapes})
    noise = noise_of(model, settings)
    prepare_torch(int(generator(seed, "torch", noise).integers(2**63)))
    module = model.build(generator(seed, "init", noise))
    batches = task.batches(settings["batch_items"], generator(seed, "order", noise))
    run = _Run(settings, task, module, model.nominal_width())
    run.restore(checkpoint.load())
    for step in range(settings["n_steps"]):
        items = next(batches)
        run.seen[items] = True
        if step >= run.first:
            run.step(step, items)
            if step % RELEASE_STEPS == 0:
                task.release()
            if checkpoint.due():
                checkpoint.save(run.state(step + 1))
        next(ticks)
    loss_nats, losses = task.evaluate(module)
    if not loss_nats < task.guess:
        raise DivergedError(f"validation loss {loss_nats:.3g} nats; guessing has {task.guess:.3g}")
    measured = {
        "loss_nats": loss_nats,
        "n_unique": task.n_unique(run.seen),
        "curve": run.curve,
        "losses": [{"step": settings["n_steps"], **row} for row in losses],
    }
    return Trained(measured, module.state_dict())


class _Run:
    """A model while it is trained: its parameters, its optimiser and its curve.

    Args:
        settings: of the run.
        task: what is trained.
        module: the model, which is trained in place.
        width: what the learning rate is scaled by.
    """

    def __init__(self, settings: Mapping[str, Any], task: Task, module: Any, width: float):
        import numpy as np
        import torch

        self.settings, self.task, self.module, self.width = settings, task, module, width
        self.flat = flatten(module)
        self.optimizer = torch.optim.AdamW(
            [self.flat],
            betas=(settings["beta1"], settings["beta2"]),
            weight_decay=settings["weight_decay"],
            fused=True,
        )
        self.seen = np.zeros(task.n_items, dtype=bool)
        self.marks = curve_steps(settings["n_steps"])
        self.curve: list[dict[str, Any]] = []
        self.since: list[float] = []  # losses since the last point of the curve
        self.first = 0  # the step that comes next

    def step(self, step: int, items: Any) -> None:
        """One step of the optimiser.

        Raises:
            DivergedError: loss or gradient is NaN or infinite.
        """
        settings, flat = self.settings, self.flat
        flat.grad.zero_()
        loss = self.task.learn(self.module, items)
        norm = float(flat.grad.norm())
        if not (math.isfinite(norm) and math.isfinite(value := loss.item())):
            where = f"step {step + 1} of {settings['n_steps']}"
            raise DivergedError(f"loss or gradient not finite at {where}")
        if norm > settings["clip_norm"]:
            flat.grad.mul_(settings["clip_norm"] / norm)
        self.optimizer.param_groups[0]["lr"] = learning_rate(step, self.width, settings)
        self.optimizer.step()
        self.since.append(value)
        if step + 1 in self.marks:
            n_samples = (step + 1) * (settings["n_samples"] // settings["n_steps"])
            mean = math.fsum(self.since) / len(self.since)
            self.curve.append({"step": step + 1, "n_samples": n_samples, "loss_nats": mean})
            self.since = []

    def state(self, n_steps: int) -> dict[str, Any]:
        """All that is needed to go on after `n_steps` steps; the order of items is drawn anew."""
        return {
            "step": n_steps,
            "curve": self.curve,
            "since": self.since,
            "parameters": self.flat.detach(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on from a state, if there is one."""
        if state is not None:
            self.first, self.curve, self.since = state["step"], state["curve"], state["since"]
            self.flat.data.copy_(state["parameters"])
            self.optimizer.load_state_dict(state["optimizer"])
