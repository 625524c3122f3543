"""Fit a linear model, and log as a Hugging Face `Trainer` does: trainer_state.json."""

import argparse
import json
from pathlib import Path

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--features", type=int)
parser.add_argument("--max_steps", type=int)
parser.add_argument("--seed", type=int)
parser.add_argument("--output_dir", type=Path)
given = parser.parse_args()

BATCH, LOGGING_STEPS, MOST = 32, 64, 512
shares = np.arange(1, MOST + 1) ** -0.75  # of the features in what is predicted


def examples(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, of which the model sees the first features, and noisy targets."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, MOST))
    return inputs[:, : given.features], inputs @ shares + 0.3 * rng.normal(size=count)


weights, history, validation = np.zeros(given.features), [], examples(1, 4000)
for step in range(1, given.max_steps + 1):
    inputs, targets = examples(given.seed + 1000 + step, BATCH)
    rate = 0.25 * (1 - step / given.max_steps) / (1 + given.features / BATCH)
    errors = inputs @ weights - targets
    gradient = 2 * inputs.T @ errors / BATCH
    weights -= rate * gradient
    if step % LOGGING_STEPS == 0:
        about = {"epoch": step / given.max_steps, "step": step}
        norm = float(np.linalg.norm(gradient))
        logged = {"grad_norm": norm, "learning_rate": rate, "loss": float((errors**2).mean())}
        measured = float(((validation[0] @ weights - validation[1]) ** 2).mean())
        history += [{**logged, **about}, {"eval_loss": measured, "eval_runtime": 0.01, **about}]

state = {  # as transformers.TrainerState.save_to_json writes it
    "best_global_step": None,
    "best_metric": None,
    "best_model_checkpoint": None,
    "epoch": 1.0,
    "eval_steps": LOGGING_STEPS,
    "global_step": given.max_steps,
    "is_hyper_param_search": False,
    "is_local_process_zero": True,
    "is_world_process_zero": True,
    "log_history": history,
    "logging_steps": LOGGING_STEPS,
    "max_steps": given.max_steps,
    "num_input_tokens_seen": given.max_steps * BATCH,
    "num_train_epochs": 1,
    "save_steps": 500,
    "stateful_callbacks": {},
    "total_flos": 6.0 * given.features * given.max_steps * BATCH,
    "train_batch_size": BATCH,
    "trial_name": None,
    "trial_params": None,
}
text = json.dumps(state, indent=2, sort_keys=True) + "\n"
(given.output_dir / "trainer_state.json").write_text(text, encoding="utf-8")
