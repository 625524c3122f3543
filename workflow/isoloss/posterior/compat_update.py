"""One update of the weights of a chain as devinterp 2.0.1 makes it, in its order of operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

NORMS = ("scaled_grad", "unscaled_grad", "localization", "weight_decay", "noise", "distance")
PRODUCTS = ("dot_grad_prior", "dot_grad_noise", "dot_prior_noise")
Coefficient = Tensor | float


@dataclass(frozen=True)
class Dynamics:
    """The constants of an update, by the names of devinterp.

    `alpha` and `eps` are those of RMSprop; None stands for plain SGLD.
    """

    lr: float
    n_beta: float
    localization: float
    noise_level: float
    weight_decay: float
    box: float | None
    alpha: float | None = None
    eps: float = 0.1


class Update:
    """The parameters of a chain that move, each with its mask and its own state.

    Args:
        model: its weights are the centre of localisation and of the box.
        masks: name of a parameter to its mask, or None for all of it; in the order in which noise
            is drawn. All other parameters are frozen.
        dynamics: the constants.
        measure: keep norms and products of the parts of each step in `metrics`.
    """

    def __init__(
        self,
        model: nn.Module,
        masks: Mapping[str, Tensor | None],
        dynamics: Dynamics,
        measure: bool = False,
    ):
        parameters = dict(model.named_parameters())
        for name, parameter in parameters.items():
            if name not in masks:
                parameter.requires_grad_(False)
        self._parts = [
            _Part(parameters[name], mask, dynamics, measure) for name, mask in masks.items()
        ]
        self._measure = measure
        self.metrics: dict[str, float] = {}

    @torch.no_grad()
    def disturb(self, scale: float) -> None:
        """Add normal noise of some standard deviation to what moves."""
        for part in self._parts:
            weights = part.parameter.data
            mask = 1.0 if part.mask is None else part.mask.to(weights.device)
            weights.add_(torch.randn_like(weights) * scale * mask)

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient, and clear the gradients."""
        for part in self._parts:
            part.step()
        if self._measure:
            self.metrics = _joined([part.metrics for part in self._parts])
        for part in self._parts:
            part.parameter.grad = None


class _Part:
    """One parameter: where it began, its mask, and its mean squared gradient."""

    def __init__(
        self, parameter: nn.Parameter, mask: Tensor | None, dynamics: Dynamics, measure: bool
    ):
        self.parameter, self.mask = parameter, mask
        self._start = parameter.detach().clone()
        self._overall: Coefficient = 1.0
        if mask is not None:
            self._overall = mask.to(parameter.device).float()
        self._dynamics, self._measure = dynamics, measure
        self._square: Tensor | None = None
        self.metrics: dict[str, Tensor] = {}

    def _preconditioner(self, gradient: Tensor) -> Coefficient:
        if self._dynamics.alpha is None:
            return 1.0
        if self._square is None:
            self._square = torch.zeros_like(gradient)
        alpha = self._dynamics.alpha
        self._square.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        return 1.0 / (torch.sqrt(self._square) + self._dynamics.eps)

    def step(self) -> None:
        """One step, unless the parameter has no gradient: then no noise is drawn either."""
        gradient, weights, rule = self.parameter.grad, self.parameter.data, self._dynamics
        self.metrics = {}
        if gradient is None:
            return
        scale = self._preconditioner(gradient)
        root = torch.sqrt(scale) if torch.is_tensor(scale) else scale
        pull = torch.zeros_like(weights)
        if rule.weight_decay > 0:
            pull += rule.weight_decay * weights
        distance = weights - self._start
        back = rule.localization * distance if rule.localization > 0 else torch.zeros_like(weights)
        drift = scale * gradient.mul(rule.n_beta)
        drift.add_(scale * (pull + back))
        drift = self._overall * drift
        weights.add_(drift, alpha=-0.5 * rule.lr)
        normal = torch.normal(0.0, rule.noise_level, drift.size(), device=drift.device)
        normal = self._overall * normal
        weights.add_(root * normal, alpha=rule.lr**0.5)
        if rule.box is not None:
            weights.clamp_(self._start - rule.box, self._start + rule.box)
        if self._measure:
            half = 0.5 * rule.lr
            push = gradient.mul(rule.n_beta)
            moved = half * scale * self._overall
            vectors = [half * (self._overall * (scale * push)), half * push, moved * back]
            vectors += [moved * pull, rule.lr**0.5 * root * normal, distance]
            self.metrics = _measured(dict(zip(NORMS, vectors, strict=True)))


def _measured(vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Norms of the parts of one parameter's step, and products of three of them; float32."""
    parts = {name: vector.float() for name, vector in vectors.items()}
    norms = {name: part.square().sum().sqrt() for name, part in parts.items()}
    gradient, noise = parts["scaled_grad"], parts["noise"]
    prior = (vectors["localization"] + vectors["weight_decay"]).float()
    pairs = ((gradient, prior), (gradient, noise), (prior, noise))
    products = [(first * second).sum() for first, second in pairs]
    return norms | dict(zip(PRODUCTS, products, strict=True))


def _joined(metrics: list[dict[str, Tensor]]) -> dict[str, float]:
    """The metrics of all parameters together: norms of all their parts, sums of the products."""
    total = {name: torch.zeros((), dtype=torch.float32) for name in (*NORMS, *PRODUCTS)}
    for one in metrics:
        for name, value in one.items():
            total[name] += value.cpu().square() if name in NORMS else value.cpu()
    return {name: float(sum_.sqrt() if name in NORMS else sum_) for name, sum_ in total.items()}
