"""Optimisers of torch over the parameters of a module, which are kept in one vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


def flatten(parameters: Sequence[torch.nn.Parameter]) -> torch.nn.Parameter:
    """Move parameters and their gradients into one vector, of which they become views.

    One tensor makes the optimiser's step and the gradient's norm one operation each; for small
    models that is a fifth of a step's time.

    Args:
        parameters: in the order in which the vector holds them, of one dtype and device.

    Example:
        >>> layer = torch.nn.Linear(2, 3)
        >>> flat = flatten(list(layer.parameters()))
        >>> flat.data.fill_(0.5).shape, layer.bias
        (torch.Size([9]), Parameter containing:
        tensor([0.5000, 0.5000, 0.5000], requires_grad=True))
    """
    flat = torch.nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    start = 0
    for p in parameters:
        part = slice(start, start + p.numel())
        p.data = flat.data[part].view_as(p)
        p.grad = flat.grad[part].view_as(p)
        start += p.numel()
    return flat


def hidden_matrices(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The matrices that Muon trains: those between the input and the output of a module.

    A module names the matrices at its input and output in the attribute `edges`.

    Example:
        >>> layers = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(4, 2))
        >>> layers.edges = ["1.weight"]
        >>> [tuple(matrix.shape) for matrix in hidden_matrices(layers)]
        [(4, 8)]
    """
    edges = set(getattr(module, "edges", ()))
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    return [p for name, p in named if p.ndim == 2 and name not in edges]


class Optimizer:
    """The trained parameters of a module, and what changes them.

    Args:
        module: its parameters become views of one vector; those without gradients stay as they are.
        settings: of the run: `optimizer` and its options.

    Attributes:
        flat: the vector, with its gradient.
    """

    def __init__(self, module: torch.nn.Module, settings: Mapping[str, Any]):
        name = settings["optimizer"]
        trained = [p for p in module.parameters() if p.requires_grad]
        matrices = hidden_matrices(module) if name == "muon" else []
        apart = {id(p) for p in matrices}
        others = [p for p in trained if id(p) not in apart]
        self.flat = flatten([*others, *matrices])
        # AdamW and the like change the vector, or the part of it that Muon leaves, in one operation
        n_others = sum(p.numel() for p in others)
        rest = self.flat
        if matrices:
            rest = torch.nn.Parameter(self.flat.detach()[:n_others])
            rest.grad = self.flat.grad[:n_others]
        self._parts = [_OF_VECTORS[name](rest, settings)] if n_others else []
        if matrices:
            self._parts.append(_muon(matrices, settings))

    def step(self, rate: float) -> None:
        """Change the parameters by their gradients, at a learning rate."""
        for part in self._parts:
            part.param_groups[0]["lr"] = rate
            part.step()

    def state(self) -> dict[str, Any]:
        """Moments and counts of steps as tensors by name, and `slots`, which says what each is."""
        slots = [
            ([number, index, name], tensor)
            for number, part in enumerate(self._parts)
            for index, entries in part.state_dict()["state"].items()
            for name, tensor in entries.items()
        ]
        tensors = {f"slot {i}": tensor for i, (_, tensor) in enumerate(slots)}
        return {"slots": [place for place, _ in slots], **tensors}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        entries: list[dict[int, dict[str, torch.Tensor]]] = [{} for _ in self._parts]
        for i, (number, index, name) in enumerate(state["slots"]):
            entries[number].setdefault(index, {})[name] = state[f"slot {i}"]
        for part, each in zip(self._parts, entries, strict=True):
            part.load_state_dict({**part.state_dict(), "state": each})


def _adamw(vector: torch.nn.Parameter, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """AdamW: weight decay apart from the gradient (arXiv:1711.05101, algorithm 2)."""
    return torch.optim.AdamW(
        [vector],
        betas=(settings["beta1"], settings["beta2"]),
        eps=settings["epsilon"],
        weight_decay=settings["weight_decay"],
        fused=True,
    )


def _adam(vector: torch.nn.Parameter, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Adam: weight decay is added to the gradient (arXiv:1412.6980, algorithm 1)."""
    return torch.optim.Adam(
        [vector],
        betas=(settings["beta1"], settings["beta2"]),
        eps=settings["epsilon"],
        weight_decay=settings["weight_decay"],
        fused=True,
    )


def _sgd(vector: torch.nn.Parameter, settings: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Gradient descent with momentum; weight decay is added to the gradient."""
    return torch.optim.SGD(
        [vector],
        momentum=settings["momentum"],
        nesterov=settings["nesterov"] and settings["momentum"] > 0,
        weight_decay=settings["weight_decay"],
        fused=True,
    )


def _muon(
    matrices: Sequence[torch.nn.Parameter], settings: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """Muon, its updates scaled to those of AdamW (arXiv:2502.16982, equation 4).

    One learning rate and weight decay then serve both.
    """
    return torch.optim.Muon(
        matrices,
        momentum=settings["momentum"],
        nesterov=settings["nesterov"],
        weight_decay=settings["weight_decay"],
        adjust_lr_fn="match_rms_adamw",
    )


# what changes the vector; with Muon, the part that is not a hidden matrix
_OF_VECTORS = {"adamw": _adamw, "adam": _adam, "sgd": _sgd, "muon": _adamw}
