"""The transformer's own loss and gradient beside those of autograd."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from isoloss.models.transformer import Model
from isoloss.tasks._task import learn
from isoloss.trainers._devices import prepare_torch
from isoloss.trainers._optimizers import flatten

BATCHES = [(1, 2), (3, 7), (2, 12)]  # windows, tokens of each


def stirred(size: Model, dtype=torch.float32, seed: int = 0) -> torch.nn.Module:
    """A model in which every weight matters: those that begin at zero do not."""
    rng = np.random.default_rng(seed)
    module = size.build(rng)
    with torch.no_grad():
        for block in module.blocks:
            for weight in (block.attend, block.narrow):
                weight += torch.from_numpy(rng.normal(0, 0.3, weight.shape))
    return module.to(dtype)


def batch(size: Model, windows: int, context: int, seed: int = 0):
    tokens = np.random.default_rng(seed).integers(0, size.vocabulary, (windows, context + 1))
    tokens = torch.from_numpy(tokens)
    return tokens[:, :-1], tokens[:, 1:].reshape(-1)


def autograd(module, inputs, targets) -> tuple[float, list[torch.Tensor]]:
    loss = functional.cross_entropy(module(inputs), targets)
    gradient = torch.autograd.grad(loss, list(module.parameters()))
    return float(loss.detach()), list(gradient)


def error(gradient, expected) -> float:
    """The largest deviation, relative to the largest component."""
    pairs = zip(gradient, expected, strict=True)
    largest = max(float(g.abs().max()) for g in expected)
    return max(float((a - b).abs().max()) for a, b in pairs) / largest


def error_of(module, expected) -> float:
    return error([p.grad for p in module.parameters()], expected)


def sizes(*widths: int):
    return st.builds(
        Model,
        d_model=st.sampled_from(widths),
        n_layers=st.integers(1, 3),
        head_width=st.sampled_from([4, 8, 16, 64]),
        context=st.just(12),
        vocabulary=st.sampled_from([2, 3, 50, 256]),
    )


@settings(deadline=None, max_examples=60)
@given(
    sizes(6, 10, 12, 20, 24, 40),
    st.integers(1, 5),
    st.integers(2, 12),
    st.sampled_from([1.0, 0.25]),
    st.booleans(),
)
def test_loss_and_gradient_are_those_of_autograd(size, windows, context, share, flat):
    module = stirred(size)
    inputs, targets = batch(size, windows, context)
    _, exact = autograd(copy.deepcopy(module).double(), inputs, targets)
    loss, gradient = autograd(module, inputs, targets)
    rounding = 5 * error(gradient, exact)  # of autograd: where a norm divides by little
    if flat:
        flatten(list(module.parameters()))
    for times in (1, 2):  # what a second batch gives is added
        assert float(learn(module, inputs, targets, share)) == pytest.approx(loss, rel=1e-5)
        computed = [p.grad / (times * share) for p in module.parameters()]
        assert error(computed, exact) <= max(1e-5, rounding)


@settings(deadline=None, max_examples=30)
@given(sizes(2, 4, 6, 12, 40), st.sampled_from(BATCHES))
def test_in_double_precision_they_are_the_same_to_ten_places(size, shape):
    module = stirred(size, torch.float64)
    inputs, targets = batch(size, *shape)
    loss, gradient = autograd(module, inputs, targets)
    assert float(learn(module, inputs, targets)) == pytest.approx(loss, rel=1e-12)
    assert error_of(module, gradient) <= 1e-10


SMALL = Model(d_model=12, n_layers=2, head_width=6, context=12, vocabulary=40)


def test_batches_of_other_shapes_between_leave_no_trace():
    def gradient(shapes) -> torch.Tensor:
        module = stirred(SMALL)
        flat = flatten(list(module.parameters()))
        for shape in shapes:
            flat.grad.zero_()
            loss = learn(module, *batch(SMALL, *shape), 1 / 3)
        return torch.cat([flat.grad, loss.reshape(1)])

    expected = gradient([(3, 7)])
    assert expected.abs().max() > 0
    assert torch.equal(gradient([(3, 7), (1, 2), (2, 12), (3, 7)]), expected)
    assert torch.equal(gradient([(3, 7)]), expected)


def test_parameters_that_were_moved_are_read_where_they_are():
    module = stirred(SMALL)
    inputs, targets = batch(SMALL, 2, 12)
    learn(module, inputs, targets)
    flat = flatten(list(module.parameters()))
    with torch.no_grad():
        flat += 0.1 * torch.sin(torch.arange(len(flat)))
    loss, gradient = autograd(module, inputs, targets)
    assert float(learn(module, inputs, targets)) == pytest.approx(loss, rel=1e-5)
    assert error_of(module, gradient) <= 1e-5
    module.zero_grad(set_to_none=True)
    learn(module, inputs, targets)
    assert error_of(module, gradient) <= 1e-5


def test_log_odds_too_large_for_an_exponential_have_a_finite_loss():
    module = stirred(SMALL)
    with torch.no_grad():
        module.tokens *= 1000
    inputs, targets = batch(SMALL, 2, 12)
    loss, gradient = autograd(module, inputs, targets)
    assert loss > 100
    assert float(learn(module, inputs, targets)) == pytest.approx(loss, rel=1e-5)
    assert error_of(module, gradient) <= 1e-5


def test_a_weight_that_is_not_a_number_shows_in_the_loss():
    module = stirred(SMALL)
    with torch.no_grad():
        module.blocks[0].read[0, 0] = torch.nan
    assert torch.isnan(learn(module, *batch(SMALL, 2, 12)))


def test_the_state_in_which_runs_are_trained_changes_nothing():
    module = stirred(SMALL)
    before = learn(module, *batch(SMALL, 3, 7))
    prepare_torch(1)
    try:
        assert torch.equal(learn(module, *batch(SMALL, 3, 7)), before)
    finally:
        torch.use_deterministic_algorithms(False)
