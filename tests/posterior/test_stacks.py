"""Passes over several copies of a model at once, beside autograd on one copy after the other."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.func import functional_call
from torch.nn import functional

from isoloss.models import mlp, transformer, vit_head
from isoloss.posterior.stacks import stack_of

RNG = np.random.default_rng
MLPS = {
    "two layers": mlp.Model(width=7, depth=1, taper=1.0, inputs=12, classes=3),
    "three layers": mlp.Model(width=33, depth=2, taper=0.5, inputs=20, classes=10),
    "one unit": mlp.Model(width=1, depth=3, taper=1.0, inputs=5, classes=2),
}
TRANSFORMERS = {
    "one block": transformer.Model(8, 1, 4, context=6, vocabulary=11),
    "three blocks": transformer.Model(24, 3, 8, context=9, vocabulary=37),
}


def stirred(model) -> torch.nn.Module:
    """A module in which every weight matters."""
    module = model.build(RNG(0))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.from_numpy(RNG(1).normal(0, 0.2, parameter.shape))
    return module


def rows(module, copies: int) -> torch.Tensor:
    """Weights near those of the module, (copies, P); row i is the same for any number of copies."""
    start = torch.nn.utils.parameters_to_vector(module.parameters()).detach()
    return torch.stack(
        [start + 0.1 * torch.from_numpy(RNG(i).normal(size=len(start))) for i in range(copies)]
    ).to(start.dtype)


def batch(model, copies: int, size: int):
    """Inputs and targets, (copies, size, ...)."""
    if isinstance(model, mlp.Model):
        inputs = [RNG(i).random((size, model.inputs), dtype=np.float32) for i in range(copies)]
        targets = [RNG(i).integers(0, model.classes, size) for i in range(copies)]
    else:
        shape = (size, model.context + 1)
        tokens = [RNG(i).integers(0, model.vocabulary, shape) for i in range(copies)]
        inputs = [t[:, :-1] for t in tokens]
        targets = [t[:, 1:] for t in tokens]
    return torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(targets))


def by_autograd(module, weights, inputs, targets):
    """Losses and the gradient of their mean, copy by copy."""
    names = [name for name, _ in module.named_parameters()]
    losses, gradients = [], []
    for row, x, y in zip(weights, inputs, targets, strict=True):
        flat = row.clone().requires_grad_()
        sizes = [p.numel() for p in module.parameters()]
        parts = [a.view_as(b) for a, b in zip(flat.split(sizes), module.parameters(), strict=True)]
        x = x.to(row.dtype) if x.is_floating_point() else x
        odds = functional_call(module, dict(zip(names, parts, strict=True)), (x,))
        loss = functional.cross_entropy(odds, y.reshape(-1), reduction="none").view(y.shape)
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss.mean(), flat)[0])
    return torch.stack(losses), torch.stack(gradients)


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest deviation, relative to the largest value."""
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("copies", [1, 2, 5])
@pytest.mark.parametrize("model", [*MLPS.values(), *TRANSFORMERS.values()], ids=str)
def test_losses_and_gradients_are_those_of_autograd(model, copies):
    module = stirred(model)
    weights, (inputs, targets) = rows(module, copies), batch(model, copies, 8)
    exact = by_autograd(copy.deepcopy(module).double(), weights.double(), inputs, targets)
    stack, gradient = stack_of(module)(copies), torch.full_like(weights, torch.nan)
    for _ in range(2):  # a gradient that was there is overwritten
        losses = stack.learn(weights, gradient, inputs, targets)
        assert losses.shape == targets.shape
        assert apart(losses, exact[0]) < 1e-5
        assert apart(gradient, exact[1]) < 1e-5
    assert torch.equal(stack.losses(weights, inputs, targets), losses)


@pytest.mark.parametrize("model", [*MLPS.values(), *TRANSFORMERS.values()], ids=str)
def test_a_copy_depends_on_no_other_and_not_on_their_number_bit_for_bit(model):
    module = stirred(model)

    def learned(copies: int, spoilt: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        weights, gradient = rows(module, copies), torch.empty_like(rows(module, copies))
        if spoilt is not None:
            weights[spoilt] = torch.nan
        losses = stack_of(module)(copies).learn(weights, gradient, *batch(model, copies, 8))
        return losses, gradient

    losses, gradient = learned(5)
    for copies in (1, 2, 3):
        fewer = learned(copies)
        assert torch.equal(fewer[0], losses[:copies])
        assert torch.equal(fewer[1], gradient[:copies])
    spoilt = learned(5, spoilt=2)
    assert spoilt[0][2].isnan().all()
    others = torch.tensor([0, 1, 3, 4])
    assert torch.equal(spoilt[0][others], losses[others])
    assert torch.equal(spoilt[1][others], gradient[others])


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("model", [MLPS["three layers"], TRANSFORMERS["one block"]], ids=str)
def test_other_tensors_and_batches_of_other_sizes_leave_no_trace(model, copies):
    module = stirred(model)
    stack, weights = stack_of(module)(copies), rows(module, copies)
    inputs, targets = batch(model, copies, 8)
    expected = torch.empty_like(weights)
    losses = stack.learn(weights, expected, inputs, targets).clone()
    stack.learn(weights, expected.clone(), *batch(model, copies, 3))
    stack.losses(weights + 1, inputs, targets)
    gradient = torch.empty_like(weights)
    assert torch.equal(stack.learn(weights.clone(), gradient, inputs, targets), losses)
    assert torch.equal(gradient, expected)
    weights.mul_(0.5)  # in place: the tensor is the same
    halves = stack.learn(weights, gradient, inputs, targets)
    assert not torch.equal(halves, losses)
    assert apart(halves, by_autograd(module, weights, inputs, targets)[0]) < 1e-5


def test_the_head_of_a_vision_transformer_is_given_features():
    size = vit_head.Model(9, 2, 0.5, height=8, encoder_seed=3, inputs=64, classes=4)
    module, copies = stirred(size), 2
    images = torch.from_numpy(RNG(0).random((copies, 6, 64), dtype=np.float32))
    targets = torch.from_numpy(RNG(1).integers(0, 4, (copies, 6)))
    weights = rows(module, copies)
    exact = by_autograd(module, weights, images, targets)
    features, gradient = torch.stack([module.encode(x) for x in images]), torch.empty_like(weights)
    losses = stack_of(module.head)(copies).learn(weights, gradient, features, targets)
    assert apart(losses, exact[0]) < 1e-5
    assert apart(gradient, exact[1]) < 1e-5


def test_a_model_that_was_trained_has_the_same_stack():
    model = TRANSFORMERS["one block"]
    module = stirred(model)
    inputs, targets = batch(model, 2, 8)
    module.learn(inputs[0], targets[0].reshape(-1))
    before = [p.grad.clone() for p in module.parameters()]
    weights = rows(module, 2)
    gradient = torch.empty_like(weights)
    stack_of(module)(2).learn(weights, gradient, inputs, targets)
    assert all(torch.equal(p.grad, g) for p, g in zip(module.parameters(), before, strict=True))
    assert apart(gradient, by_autograd(module, weights, inputs, targets)[1]) < 1e-5
