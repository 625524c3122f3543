"""Train a small network on made-up data: it passes 128 numbers on through a narrow layer."""

import argparse
import json
from pathlib import Path

import torch

parser = argparse.ArgumentParser()
for name, kind in {"width": int, "learning-rate": float, "steps": int, "seed": int}.items():
    parser.add_argument(f"--{name}", type=kind)
parser.add_argument("--out", type=Path)
parser.add_argument("--checkpoints", type=Path)
parser.add_argument("--resume", action="store_true")
given = parser.parse_args()


def loss_on(model: torch.nn.Module, seed: int, count: int) -> torch.Tensor:
    """Mean squared error on fresh examples, whose numbers vary less and less."""
    rng = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 128, generator=rng) * torch.arange(1, 129) ** -0.75
    targets = inputs + 0.05 * torch.randn(count, 128, generator=rng)
    return (model(inputs) - targets).square().sum(1).mean()


torch.manual_seed(given.seed)
read, write = torch.nn.Linear(128, given.width, bias=False), torch.nn.Linear(given.width, 128)
model = torch.nn.Sequential(read, write)
optimiser = torch.optim.Adam(model.parameters(), lr=given.learning_rate)
first, checkpoint = 1, given.checkpoints / "state.pt"
if given.resume:
    state = torch.load(checkpoint)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    first = state["step"] + 1
for step in range(first, given.steps + 1):
    optimiser.zero_grad()
    loss = loss_on(model, given.seed * 10**6 + step, count=64)
    loss.backward()
    optimiser.step()
    if step % 50 == 0:
        with torch.no_grad():
            measured = {"loss": loss.item(), "eval_loss": loss_on(model, 10**9, 1024).item()}
        with (given.out / "metrics.jsonl").open("a") as log:
            log.write(json.dumps({"step": step, **measured}) + "\n")
        state = {"step": step, "model": model.state_dict(), "optimiser": optimiser.state_dict()}
        torch.save(state, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)
