"""The settings of a run: the trainer's own, and the options of its model card."""

from __future__ import annotations

from typing import Any

from isoloss.core import registry

# Every key a run can vary besides its model's options. JSON Schema properties, in plan order.
TRAINER = {
    "weighting": {
        "type": "string",
        "default": "natural",
        "description": "Weighting of the training rows, one of `expand`.",
    },
    "seed": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2**63 - 1,
        "default": 0,
        "description": "Seed of the run. With the study's seed, the model's sizes and D it decides "
        "the first weights and the order of the data; weighting and optimiser do not.",
    },
    "n_flops": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1e30,
        "unit": "FLOP",
        "description": "Budget C; D follows from it. Give this or n_samples.",
    },
    "n_samples": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1e15,
        "unit": "tokens",
        "description": "Tokens to train on, D, rounded to whole steps. Give this or n_flops.",
    },
    "batch_size": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000_000,
        "default": 4,
        "unit": "windows",
        "description": "Windows a step of a run that trains on batch_reference tokens.",
    },
    "batch_reference": {
        "type": "number",
        "minimum": 1,
        "maximum": 1e18,
        "default": 500000.0,
        "unit": "tokens",
        "description": "D at which a step has batch_size windows.",
    },
    "batch_exponent": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.0,
        "description": "The windows a step grow with D to this power, and the learning rate with "
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
        "description": "Width (d_model) at which the peak applies.",
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


def known(model: str) -> dict[str, Any]:
    """Every setting of a run of this model card, as JSON Schema properties."""
    return {**TRAINER, **registry.options("model", model)}
