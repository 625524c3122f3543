"""Optimisers of torch over the parameters of a module, which are kept in one vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

Slot = tuple[list[Any], torch.Tensor]  # a tensor of an optimiser's state, and where it belongs


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
        self._parts: list[_Adam | _OfTorch] = []
        if n_others:
            self._parts.append(_OF_VECTORS[name](rest, settings))
        if matrices:
            self._parts.append(_muon(matrices, settings))

    def step(self, rate: float) -> None:
        """Change the parameters by their gradients, at a learning rate."""
        for part in self._parts:
            part.step(rate)

    def state(self) -> dict[str, Any]:
        """Moments and counts of steps as tensors by name, and `slots`, which says what each is."""
        slots = [
            ([number, *place], tensor)
            for number, part in enumerate(self._parts)
            for place, tensor in part.slots()
        ]
        tensors = {f"slot {i}": tensor for i, (_, tensor) in enumerate(slots)}
        return {"slots": [place for place, _ in slots], **tensors}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        slots: list[list[Slot]] = [[] for _ in self._parts]
        for i, (number, *place) in enumerate(state["slots"]):
            slots[number].append((place, state[f"slot {i}"]))
        for part, each in zip(self._parts, slots, strict=True):
            part.restore(each)


class _OfTorch:
    """An optimiser of torch, which keeps its own state."""

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer

    def step(self, rate: float) -> None:
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()

    def slots(self) -> list[Slot]:
        state = self.optimizer.state_dict()["state"]
        return [([i, name], value) for i, each in state.items() for name, value in each.items()]

    def restore(self, slots: Sequence[Slot]) -> None:
        state: dict[int, dict[str, torch.Tensor]] = {}
        for (index, name), tensor in slots:
            state.setdefault(index, {})[name] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


class _Adam:
    """Adam or AdamW on one vector: a call of torch's fused kernel, and nothing else.

    The numbers are those of `torch.optim` with `fused=True`, whose classes take four times as long
    for a vector of some thousand numbers: they check and group what never changes here.

    Args:
        vector: what is changed, with its gradient.
        settings: of the run.
        kernel: `torch._fused_adam_` or `torch._fused_adamw_`.
    """

    def __init__(self, vector: torch.nn.Parameter, settings: Mapping[str, Any], kernel: Any):
        self.state = {
            "first_moment": torch.zeros_like(vector, requires_grad=False),
            "second_moment": torch.zeros_like(vector, requires_grad=False),
            "count": torch.zeros((), device=vector.device),
        }
        first, second, count = ([tensor] for tensor in self.state.values())
        self.kernel = partial(
            kernel,
            *([vector.detach()], [vector.grad], first, second, [], count),
            beta1=settings["beta1"],
            beta2=settings["beta2"],
            eps=settings["epsilon"],
            weight_decay=settings["weight_decay"],
            amsgrad=False,
            maximize=False,
        )

    def step(self, rate: float) -> None:
        self.state["count"].add_(1)
        self.kernel(lr=rate)

    def slots(self) -> list[Slot]:
        return [([0, name], tensor) for name, tensor in self.state.items()]

    def restore(self, slots: Sequence[Slot]) -> None:
        for (_, name), tensor in slots:
            self.state[name].copy_(tensor)


def _adamw(vector: torch.nn.Parameter, settings: Mapping[str, Any]) -> _Adam:
    """AdamW: weight decay apart from the gradient (arXiv:1711.05101, algorithm 2)."""
    return _Adam(vector, settings, torch._fused_adamw_)


def _adam(vector: torch.nn.Parameter, settings: Mapping[str, Any]) -> _Adam:
    """Adam: weight decay is added to the gradient (arXiv:1412.6980, algorithm 1)."""
    return _Adam(vector, settings, torch._fused_adam_)


def _sgd(vector: torch.nn.Parameter, settings: Mapping[str, Any]) -> _OfTorch:
    """Gradient descent with momentum; weight decay is added to the gradient."""
    optimizer = torch.optim.SGD(
        [vector],
        momentum=settings["momentum"],
        nesterov=settings["nesterov"] and settings["momentum"] > 0,
        weight_decay=settings["weight_decay"],
        fused=True,
    )
    return _OfTorch(optimizer)


def _muon(matrices: Sequence[torch.nn.Parameter], settings: Mapping[str, Any]) -> _OfTorch:
    """Muon, its updates scaled to those of AdamW (arXiv:2502.16982, equation 4).

    One learning rate and weight decay then serve both.
    """
    optimizer = torch.optim.Muon(
        matrices,
        momentum=settings["momentum"],
        nesterov=settings["nesterov"],
        weight_decay=settings["weight_decay"],
        adjust_lr_fn="match_rms_adamw",
    )
    return _OfTorch(optimizer)


# what changes the vector; with Muon, the part that is not a hidden matrix
_OF_VECTORS = {"adamw": _adamw, "adam": _adam, "sgd": _sgd, "muon": _adamw}
