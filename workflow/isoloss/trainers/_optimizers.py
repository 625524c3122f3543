"""Optimisers over the parameters of a module, which are kept in one vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Protocol

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
        # the vector, or with Muon the part of it that is not a hidden matrix, changes as a whole
        rest = slice(sum(p.numel() for p in others))
        vector, gradient = self.flat.detach()[rest], self.flat.grad[rest]
        self._parts: list[_Part] = []
        if others:
            self._parts.append(_OF_VECTORS[name](vector, gradient, settings))
        if matrices:
            self._parts.append(_Muon(matrices, settings))

    def norm(self) -> float:
        """The norm of the gradient."""
        return torch.linalg.vector_norm(self.flat.grad).item()

    def step(self, rate: float) -> None:
        """Change the parameters by their gradients, at a learning rate."""
        for part in self._parts:
            part.step(rate)

    def state(self) -> dict[str, torch.Tensor]:
        """Moments and counts of steps by name, in the memory in which they are updated."""
        return {name: tensor for part in self._parts for name, tensor in part.tensors.items()}


class _Part(Protocol):
    """What changes some of the parameters; `tensors` are its state."""

    tensors: dict[str, torch.Tensor]

    def step(self, rate: float) -> None:
        """Change the parameters by their gradients."""


class _Adam:
    """Adam or AdamW of a vector, by the kernel that torch's own classes call.

    Around it those take 40 us, where a whole step of a small network takes 250.

    Args:
        vector: parameters, changed in place.
        gradient: of them.
        settings: `beta1`, `beta2`, `epsilon`, `weight_decay`.
        decoupled: whether weight decay is apart from the gradient (arXiv:1711.05101, algorithm 2)
            or added to it (arXiv:1412.6980, algorithm 1).
    """

    def __init__(
        self,
        vector: torch.Tensor,
        gradient: torch.Tensor,
        settings: Mapping[str, Any],
        decoupled: bool,
    ):
        self.tensors = {
            "mean": torch.zeros_like(vector),
            "square": torch.zeros_like(vector),
            "count": torch.zeros((), device=vector.device),
        }
        mean, square, self._count = self.tensors.values()
        self._lists = ([vector], [gradient], [mean], [square], [], [self._count])
        self._kernel = torch._fused_adamw_ if decoupled else torch._fused_adam_
        self._options = {"beta1": settings["beta1"], "beta2": settings["beta2"]}
        self._options |= {"eps": settings["epsilon"], "weight_decay": settings["weight_decay"]}
        self._options |= {"amsgrad": False, "maximize": False}

    def step(self, rate: float) -> None:
        """One step."""
        self._count.add_(1)
        self._kernel(*self._lists, lr=rate, **self._options)


class _Descent:
    """Gradient descent of a vector, with momentum; weight decay is added to the gradient.

    Args:
        vector: parameters, changed in place.
        gradient: of them.
        settings: `momentum`, `nesterov`, `weight_decay`.
    """

    def __init__(self, vector: torch.Tensor, gradient: torch.Tensor, settings: Mapping[str, Any]):
        self._vector, self._gradient, self._settings = vector, gradient, settings
        self.tensors = {"momentum": torch.zeros_like(vector)}

    def step(self, rate: float) -> None:
        """One step."""
        settings, velocity = self._settings, self.tensors["momentum"]
        decayed = self._gradient.add(self._vector, alpha=settings["weight_decay"])
        velocity.mul_(settings["momentum"]).add_(decayed)
        if settings["nesterov"]:
            velocity = decayed.add_(velocity, alpha=settings["momentum"])
        self._vector.add_(velocity, alpha=-rate)


class _Muon:
    """Muon of some matrices, its updates scaled to those of AdamW (arXiv:2502.16982, equation 4).

    One learning rate and weight decay then serve both.

    Args:
        matrices: changed in place by their gradients.
        settings: `momentum`, `nesterov`, `weight_decay`.
    """

    def __init__(self, matrices: Sequence[torch.nn.Parameter], settings: Mapping[str, Any]):
        self._muon = torch.optim.Muon(
            matrices,
            momentum=settings["momentum"],
            nesterov=settings["nesterov"],
            weight_decay=settings["weight_decay"],
            adjust_lr_fn="match_rms_adamw",
        )
        self.tensors = {}
        for i, matrix in enumerate(matrices):
            buffer = self.tensors[f"momentum {i}"] = torch.zeros_like(matrix.grad)
            self._muon.state[matrix]["momentum_buffer"] = buffer  # as torch's first step makes it

    def step(self, rate: float) -> None:
        """One step."""
        self._muon.param_groups[0]["lr"] = rate
        self._muon.step()


# what changes the vector; with Muon, the part of it that is not a hidden matrix
_OF_VECTORS = {
    "adamw": partial(_Adam, decoupled=True),
    "adam": partial(_Adam, decoupled=False),
    "sgd": _Descent,
    "muon": partial(_Adam, decoupled=True),
}
