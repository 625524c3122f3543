"""The built-in trainer: on one thread or a GPU; every run ends bit for bit the same."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from isoloss.core.seeds import generator
from isoloss.models._model import Model, model_of
from isoloss.trainers._schedules import learning_rate
from isoloss.trainers._trainer import Checkpoint, DivergedError, Trained

if TYPE_CHECKING:
    from isoloss.tasks._task import Task

TITLE = "Built-in trainer"
ABOUT = (
    "AdamW, Adam, SGD or Muon on one processor thread or a GPU; clipped gradients; linear warm-up, "
    "then a learning rate that follows a schedule to the run's own last step."
)
SOURCE = (
    "AdamW: arXiv:1711.05101; Adam: arXiv:1412.6980; Muon: Jordan et al. 2024, with the scale of "
    "arXiv:2502.16982, equation 4; cosine: arXiv:1608.03983; warm-up, stable, decay: "
    "arXiv:2404.06395; a batch that grows with D: arXiv:2410.21676; a learning rate that grows "
    "with the square root of the batch: arXiv:2205.10287"
)
CURVE_POINTS = 32
WORSE = 1.01  # losses over that of a guess: a model that has learned nothing is at it
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
    "accumulate": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "default": 1,
        "unit": "parts",
        "description": "Parts that a batch is divided into; the gradient is that of the whole "
        "batch, and only one part needs memory at a time. It saves memory only and "
        "costs time: a step has so many passes.",
    },
    "optimizer": {
        "type": "string",
        "enum": ["adamw", "adam", "sgd", "muon"],
        "default": "adamw",
        "description": "adamw decays weights apart from the gradient, adam and sgd add the decay "
        "to it. muon trains the matrices between a model's input and output, AdamW the rest; one "
        "learning rate serves both.",
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
    "schedule": {
        "type": "string",
        "enum": ["cosine", "linear", "constant", "wsd"],
        "default": "cosine",
        "description": "Learning rate after the warm-up: down to final_fraction by a cosine or a "
        "line, constant, or constant until the last decay_fraction of the steps (wsd).",
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
        "description": "Learning rate in the last step; not for the constant schedule.",
    },
    "decay_fraction": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.2,
        "unit": "of the steps",
        "description": "Linear decay at the end of the schedule wsd.",
    },
    "beta1": {
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.9,
        "description": "First-moment decay of AdamW and Adam.",
    },
    "beta2": {
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.95,
        "description": "Second-moment decay of AdamW and Adam.",
    },
    "epsilon": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "default": 1e-8,
        "description": "Added to the denominator of AdamW and Adam.",
    },
    "momentum": {
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.95,
        "description": "Momentum of SGD and Muon.",
    },
    "nesterov": {
        "type": "boolean",
        "default": True,
        "description": "Whether the momentum of SGD and Muon looks a step ahead.",
    },
    "weight_decay": {
        "type": "number",
        "minimum": 0,
        "maximum": 1000,
        "default": 0.01,
        "description": "Weight decay; the optimiser says how it is applied.",
    },
    "clip_norm": {
        "type": "number",
        "minimum": 0,
        "maximum": 1e12,
        "default": 1.0,
        "description": "Largest norm of the gradient; 0 for no limit.",
    },
    "device": {
        "type": "string",
        "enum": ["cpu", "cuda", "auto"],
        "default": "cpu",
        "description": "What a run is trained on; auto takes cuda where there is one. The column "
        "`device` of the timing table says what it was.",
    },
    "precision": {
        "type": "string",
        "enum": ["float32", "bfloat16"],
        "default": "float32",
        "description": "bfloat16 computes products of matrices in training with 8 bits of "
        "precision, weights and validation stay float32; it saves time on a GPU only.",
    },
}


def plan(n_examples: float, per_item: int, settings: Mapping[str, Any]) -> dict[str, int]:
    """D in whole steps, the steps, and the items of each: the batch grows with D, at least 1.

    Args:
        n_examples: D as it was asked for.
        per_item: examples that an item holds.
        settings: of the run.

    Raises:
        ValueError: warm-up and decay take more than all steps.
    """
    _check_schedule(settings)
    growth = (n_examples / settings["batch_reference"]) ** settings["batch_exponent"]
    batch_items = max(1, round(settings["batch_size"] * growth))
    a_step = batch_items * per_item
    n_steps = max(1, round(n_examples / a_step))
    return {"n_samples": n_steps * a_step, "n_steps": n_steps, "batch_items": batch_items}


def _check_schedule(settings: Mapping[str, Any]) -> None:
    """Raise an error if the decay of wsd would begin before its warm-up ends."""
    warmup, decay = settings["warmup_fraction"], settings["decay_fraction"]
    if settings["schedule"] == "wsd" and warmup + decay > 1 + 1e-9:
        raise ValueError(
            f"wsd with warmup_fraction {warmup:g} and decay_fraction {decay:g}; lower one of them: "
            "together they can be 1 at most"
        )


def warm_up() -> None:
    """Import what torch imports when it is prepared for a run; CUDA is not touched."""
    from isoloss.trainers._devices import prepare_torch

    prepare_torch(0)


def device(settings: Mapping[str, Any]) -> str:
    """What a run is trained on here, `cpu` or `cuda`; see `_devices.device_of`."""
    from isoloss.trainers._devices import device_of

    return device_of(settings)


def curve_steps(n_steps: int) -> set[int]:
    """About CURVE_POINTS log-spaced steps, the last one among them."""
    import numpy as np

    return set(np.unique(np.geomspace(1, n_steps, CURVE_POINTS).round().astype(int)).tolist())


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
    """Train and measure one run; see `_trainer.Card`."""
    from isoloss.trainers._devices import prepare_torch, tiny_numbers_are_zero

    model = model_of(card, {**settings, **task.shapes})
    noise, on = noise_of(model, settings), device(settings)
    prepare_torch(int(generator(seed, "torch", noise).integers(2**63)), on)
    module = model.build(generator(seed, "init", noise))
    batches = task.batches(settings["batch_items"], generator(seed, "order", noise))
    run = _Run(settings, task, module, model.nominal_width(), on)
    run.restore(checkpoint.load())
    with tiny_numbers_are_zero():
        for step in range(settings["n_steps"]):
            items = next(batches)
            run.seen[items] = True
            if step >= run.first:
                run.step(step, items)
                if step % RELEASE_STEPS == 0:
                    task.release()
                if step + 1 in checkpoint.steps:
                    checkpoint.keep(step + 1, run.weights())
                if checkpoint.due():
                    checkpoint.save(run.state(step + 1))
            next(ticks)
    return run.measured()


class _Run:
    """A model while it is trained: its parameters, its optimiser and its curve.

    Args:
        settings: of the run.
        task: what is trained.
        module: the model, which is trained in place.
        width: what the learning rate is scaled by.
        on: the device.
    """

    def __init__(self, settings: Mapping[str, Any], task: Task, module: Any, width: float, on: str):
        import numpy as np

        from isoloss.trainers._devices import precision_of
        from isoloss.trainers._optimizers import Optimizer

        self.settings, self.task, self.width, self.on = settings, task, width, on
        if on != "cpu":
            task.to(on)
        self.module = module.to(on)
        self.optimizer = Optimizer(module, settings)
        self.gradient = self.optimizer.flat.grad
        self.largest = settings["clip_norm"] or math.inf
        self.precision = precision_of(settings, on)
        self.parts = min(settings["accumulate"], settings["batch_items"])
        self.seen = np.zeros(task.n_items, dtype=bool)
        self.marks = curve_steps(settings["n_steps"])
        self.curve: list[dict[str, Any]] = []
        self.since: list[float] = []  # losses since the last point of the curve
        self.first = 0  # the step that comes next

    def learn(self, items: Any) -> float:
        """The mean loss of a batch; its gradient is left in the parameters'."""
        import numpy as np

        self.gradient.zero_()
        with self.precision:
            if self.parts == 1:
                return self.task.learn(self.module, items).item()
            parts = np.array_split(items, self.parts)
            shares = [len(part) / len(items) for part in parts]
            losses = [
                self.task.learn(self.module, part, share).item()
                for part, share in zip(parts, shares, strict=True)
            ]
        return math.fsum(share * loss for share, loss in zip(shares, losses, strict=True))

    def step(self, step: int, items: Any) -> None:
        """One step of the optimiser.

        Raises:
            DivergedError: loss or gradient is NaN or infinite.
        """
        settings, loss, norm = self.settings, self.learn(items), self.optimizer.norm()
        if not (math.isfinite(norm) and math.isfinite(loss)):
            where = f"step {step + 1} of {settings['n_steps']}"
            values = f"loss {loss:g} nats, norm of the gradient {norm:g}"
            raise DivergedError(f"loss or gradient not finite at {where}: {values}")
        if norm > self.largest:
            self.gradient.mul_(self.largest / norm)
        self.optimizer.step(learning_rate(step, self.width, settings))
        self.since.append(loss)
        if step + 1 in self.marks:
            n_samples = (step + 1) * (settings["n_samples"] // settings["n_steps"])
            mean = math.fsum(self.since) / len(self.since)
            self.curve.append({"step": step + 1, "n_samples": n_samples, "loss_nats": mean})
            self.since = []

    def weights(self) -> dict[str, Any]:
        """The tensors of the model but those that are not trained, in the module's memory."""
        named = self.module.named_parameters(remove_duplicate=False)
        frozen = {name for name, p in named if not p.requires_grad}
        return {n: value for n, value in self.module.state_dict().items() if n not in frozen}

    def measured(self) -> Trained:
        """What came of the run.

        Raises:
            DivergedError: the validation loss is not finite, or both losses are above a guess's.
        """
        n_steps = self.settings["n_steps"]
        loss_nats, losses = self.task.evaluate(self.module)
        at_the_end, most = self.curve[-1]["loss_nats"], WORSE * self.task.guess
        if not math.isfinite(loss_nats) or min(loss_nats, at_the_end) > most:
            reason = f"validation loss {loss_nats:.3g} and training loss {at_the_end:.3g} nats"
            after = f"guessing has {self.task.guess:.3g} (after step {n_steps} of {n_steps})"
            raise DivergedError(f"{reason}; {after}")
        measured = {
            "loss_nats": loss_nats,
            "n_unique": self.task.n_unique(self.seen),
            "curve": self.curve,
            "losses": [{"step": n_steps, **row} for row in losses],
        }
        return Trained(measured, self.weights())

    def state(self, n_steps: int) -> dict[str, Any]:
        """All that is needed to go on after `n_steps` steps; the order of items is drawn anew."""
        from isoloss.trainers._devices import draws

        return {
            "step": n_steps,
            "curve": self.curve,
            "since": self.since,
            **{f"weights {name}": value for name, value in self.weights().items()},
            **{f"optimizer {name}": value for name, value in self.optimizer.state().items()},
            **draws(self.on),
        }

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Go on from a state, if there is one."""
        from isoloss.trainers._devices import restore_draws

        if state is not None:
            self.first, self.curve, self.since = state["step"], state["curve"], state["since"]
            for name, value in self.weights().items():
                value.copy_(state[f"weights {name}"])
            for name, value in self.optimizer.state().items():
                value.copy_(state[f"optimizer {name}"])
            restore_draws(state, self.on)
