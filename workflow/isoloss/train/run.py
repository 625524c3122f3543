"""One run: build the model, train it to its own D, measure it.

All that can change a run's numbers is here or imported here: the digest of this code is part of a
run's identity. The process around it (shard.py) hands over the identity and keeps what comes back.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch.nn import functional

from isoloss.core import registry
from isoloss.core.seeds import generator
from isoloss.train.batches import Stream, take, training_batches, validation_digest
from isoloss.train.checkpoint import Checkpoint

CURVE_POINTS = 32
RELEASE_STEPS = 64  # after so many steps the memory of the tokens that were read is given back


class DivergedError(Exception):
    """The loss is not a number any more, or worse than knowing nothing."""


def learning_rate(step: int, n_steps: int, settings: Mapping[str, Any]) -> float:
    """Linear warm-up, then a cosine down to a fraction of the peak at the run's own last step.

    The peak falls with the width to the power `learning_rate_exponent`, from its value at
    `learning_rate_width`, and grows with the square root of the batch (arXiv:2205.10287).
    """
    relative_width = settings["d_model"] / settings["learning_rate_width"]
    peak = settings["peak_learning_rate"] * relative_width ** -settings["learning_rate_exponent"]
    peak *= (settings["n_windows"] / settings["batch_size"]) ** 0.5
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
    return set(np.unique(np.geomspace(1, n_steps, CURVE_POINTS).round().astype(int)).tolist())


def model_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's settings that its model card takes, in the order in which it does."""
    build = registry.card("model", settings["model"]).build
    _, *names = inspect.signature(build).parameters
    return {name: settings[name] for name in names}


def prepare_torch(seed: int) -> None:
    """Put torch into the state in which every run is trained, whatever the process did before.

    Args:
        seed: of torch's own generator, for operations that draw from it.
    """
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


def train_run(
    identity: Mapping[str, Any],
    held_out: pa.Table,
    data: Stream,
    valid: Stream,
    ticks: Iterator[None],
    checkpoint: Checkpoint,
) -> tuple[dict[str, Any], torch.nn.Module]:
    """Train and measure one run on one thread.

    Args:
        identity: all that decides what comes of the run, as `Content.identity` spells it out:
            `settings` (the run's row of the plan), `seed` of the study, `valid_windows` measured,
            the digests of the `training` and `validation` tokens.
        held_out: the rows of the validation side: `row` (position), `n_tokens`, `tags`.
        data: training tokens.
        valid: validation tokens.
        ticks: advanced once a step.
        checkpoint: where the run goes on from if it was cut off, and where it saves its state.

    Returns:
        Columns of the `shard` table (`loss_nats`, `n_unique`, `curve`, `losses`), and the trained
        model.

    Raises:
        DivergedError: with the step at which it was seen.
        ValueError: too few training or validation tokens, or other tokens than the identity's.
    """
    settings, seed = identity["settings"], identity["seed"]
    valid_windows = identity["valid_windows"]
    tokens = {"training": data.digest, "validation": validation_digest(held_out, valid)}
    for side, digest in tokens.items():
        if digest != identity[side]:
            raise ValueError(f"the {side} tokens are not those of the run's identity")
    context, n_steps = settings["context"], settings["n_steps"]
    if min(valid_windows, valid.windows(context)) == 0:
        raise ValueError(f"no validation window of {context} tokens: raise valid_fraction")
    sizes = model_options(settings)
    # the noise of a run: shared by runs that differ in weighting or optimiser only, so that these
    # are compared under one draw; another N, D or seed draws anew
    noise = json.dumps([settings["seed"], settings["model"], sizes, settings["n_samples"]])
    prepare_torch(int(generator(seed, "torch", noise).integers(2**63)))
    model = registry.card("model", settings["model"]).build(generator(seed, "init", noise), **sizes)
    flat = flatten(model)
    optimizer = torch.optim.AdamW(
        [flat],
        betas=(settings["beta1"], settings["beta2"]),
        weight_decay=settings["weight_decay"],
        fused=True,
    )
    batches = training_batches(
        data, context, settings["n_windows"], generator(seed, "order", noise)
    )
    marks = curve_steps(n_steps)
    seen = np.zeros(data.windows(context), dtype=bool)
    curve: list[dict[str, Any]] = []
    since: list[float] = []
    first = 0
    if state := checkpoint.load():
        first, curve, since = state["step"], state["curve"], state["since"]
        flat.data.copy_(state["parameters"])
        optimizer.load_state_dict(state["optimizer"])
    for step in range(n_steps):
        windows = next(batches)
        seen[windows] = True
        if step < first:
            next(ticks)
            continue
        tokens = torch.from_numpy(take(data, windows, context)).long()
        loss = functional.cross_entropy(model(tokens[:, :-1]), tokens[:, 1:].reshape(-1))
        flat.grad.zero_()
        loss.backward()
        norm = float(flat.grad.norm())
        if not (math.isfinite(norm) and math.isfinite(value := loss.item())):
            raise DivergedError(f"loss or gradient not finite at step {step + 1} of {n_steps}")
        if norm > settings["clip_norm"]:
            flat.grad.mul_(settings["clip_norm"] / norm)
        optimizer.param_groups[0]["lr"] = learning_rate(step, n_steps, settings)
        optimizer.step()
        since.append(value)
        if step + 1 in marks:
            n_samples = (step + 1) * settings["n_windows"] * context
            curve.append(
                {
                    "step": step + 1,
                    "n_samples": n_samples,
                    "loss_nats": math.fsum(since) / len(since),
                }
            )
            since = []
        if step % RELEASE_STEPS == 0:
            data.source.release()
        if checkpoint.due():
            checkpoint.save(
                {
                    "step": step + 1,
                    "curve": curve,
                    "since": since,
                    "parameters": flat.detach(),
                    "optimizer": optimizer.state_dict(),
                }
            )
        next(ticks)
    positions, nats, counts = validate(model, valid, valid_windows, context, seed)
    loss_nats = float(nats.sum() / counts.sum())
    vocabulary = registry.facts("model", settings["model"])["VOCABULARY"]
    if not loss_nats < math.log(vocabulary):
        raise DivergedError(
            f"validation loss {loss_nats:.3g} nats; guessing has {math.log(vocabulary):.3g}"
        )
    measured = {
        "loss_nats": loss_nats,
        "n_unique": data.n_distinct(seen, context),
        "curve": curve,
        "losses": losses_by_tag(held_out, positions, nats, counts, n_steps),
    }
    return measured, model


@torch.no_grad()
def validate(
    model: torch.nn.Module, valid: Stream, n_windows: int, context: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss on fixed windows, drawn once a study, summed by the row that each target comes from.

    Returns:
        row positions (r,), summed nats float64 (r,), tokens (r,).
    """
    order = generator(seed, "validation", f"{context}").permutation(valid.windows(context))
    chosen = np.sort(order[:n_windows])
    nats = []
    for part in np.array_split(chosen, max(1, len(chosen) // 64)):
        tokens = torch.from_numpy(take(valid, part, context)).long()
        logits = model(tokens[:, :-1])
        targets = tokens[:, 1:].reshape(-1)
        nats.append(functional.cross_entropy(logits, targets, reduction="none").double().numpy())
    targets = (chosen[:, None] * context + np.arange(1, context + 1)).reshape(-1)
    rows, inverse, counts = np.unique(valid.row(targets), return_inverse=True, return_counts=True)
    return rows, np.bincount(inverse, weights=np.concatenate(nats)), counts


def losses_by_tag(
    held_out: pa.Table, positions: np.ndarray, nats: np.ndarray, counts: np.ndarray, step: int
) -> list[dict[str, Any]]:
    """Sum the loss of validation rows over every value of every tag.

    Args:
        held_out: the rows of the validation side: `row` (position), `tags`.
        positions: rows that were measured, by position, sorted.
        nats: their summed loss.
        counts: their tokens.
        step: optimiser steps done.
    """
    measured = np.searchsorted(held_out["row"].to_numpy(), positions)
    row_tags = held_out["tags"].take(pa.array(measured)).to_pylist()
    long = pd.DataFrame(
        [
            (key, value, nat, count)
            for tags, nat, count in zip(row_tags, nats, counts, strict=True)
            for key, value in tags
        ],
        columns=["tag_key", "domain", "nats", "n_tokens"],
    )
    sums = long.groupby(["tag_key", "domain"], as_index=False, sort=True).sum()
    return [
        {
            "step": step,
            "split": "valid",
            "tag_key": s.tag_key,
            "domain": s.domain,
            "loss_nats": s.nats / s.n_tokens,
            "n_tokens": int(s.n_tokens),
        }
        for s in sums.itertuples()
    ]
